"""python -m alexnet, and the `alexnet` command."""

from alexnet.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="alexnet")


if __name__ == "__main__":
    main()
