"""How long the explorer makes its visitor wait: python benchmarks/explorer.py WEIGHTS PICTURE

The page served on loopback, in Debian's chromium: the first paint of its content, the network drawn, and for
each layer from the click until its maps and a value's arithmetic are there. Medians of some visits.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from time import monotonic

from playwright.sync_api import Page, sync_playwright

VISITS = 5
CLICK = """async (layer) => {
  const view = document.querySelector(".view");
  const begun = performance.now();
  const shown = new Promise((resolve) => {
    const watch = () => view.dataset.ready.startsWith(`layer ${layer} `) && resolve(performance.now());
    new MutationObserver(watch).observe(view, { attributes: true });
  });
  document.querySelector(`.strip [data-layer=${layer}]`).dispatchEvent(new MouseEvent("click"));
  return (await shown) - begun;
}"""


def main(weights: str, picture: str) -> None:
    """Start the server, and visit it."""
    program = shutil.which("chromium") or sys.exit("explorer.py: chromium is not installed")
    command = [sys.executable, "-m", "alexnet", "explore", weights, "--picture", picture, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        told = server.stderr.readline()
        if not told.startswith("open "):
            sys.exit(told)
        try:
            visit(program, told.removeprefix("open ").strip())
        finally:
            server.terminate()


def visit(program: str, address: str) -> None:
    """Print milliseconds."""
    paints, starts = [], []
    waits: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(VISITS):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            begun = monotonic()
            page.goto(address)
            page.wait_for_selector("body[data-ready]")
            starts.append(1000 * (monotonic() - begun))
            paints.append(
                page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
            for layer in reversed(layers_of(page)):
                waits.setdefault(layer, []).append(wait(page, layer))
            page.close()
        browser.close()
    print(f"first contentful paint {statistics.median(paints):6.0f} ms")
    print(f"the network drawn      {statistics.median(starts):6.0f} ms")
    for layer, taken in reversed(waits.items()):
        print(f"{layer:22s} {statistics.median(taken):6.0f} ms")


def layers_of(page: Page) -> list[str]:
    """The layers that can be clicked, in order."""
    return [str(each.get_attribute("data-layer")) for each in page.locator(".strip .layer").all()]


def wait(page: Page, layer: str) -> float:
    """Milliseconds from the click on a layer until it is shown, as the page itself has them."""
    page.wait_for_timeout(300)
    return float(page.evaluate(CLICK, layer))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/explorer.py WEIGHTS PICTURE")
    main(*sys.argv[1:])
