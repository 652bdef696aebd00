"""The main job, with little time and digits, and what it does where its pictures cannot be had."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from alexnet.cli import app
from alexnet.demo import open_pictures
from alexnet.errors import DataError
from alexnet.images import named
from alexnet.images.decode import decode
from alexnet.learning.weights import load_weights


@pytest.mark.slow
def test_the_demo_goes_from_the_table_to_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = CliRunner().invoke(
        app, ["demo", "--data", "digits", "--time-limit", "3s", "--output", str(folder)]
    )
    assert done.exit_code == 0, done.output
    assert "28,813,344" in done.stdout  # the notes' layers, added up
    assert "on 179 pictures" in done.stdout
    assert done.stdout.count("says ") == 6
    assert str(folder / "report.html") in done.stdout
    assert "<svg" in (folder / "report.html").read_text(encoding="utf-8")
    assert len(list((folder / "pictures").glob("*.png"))) == 6
    assert decode(folder / "pictures" / "1.png").shape == (8, 8, 3)
    weights = load_weights(folder / "best.safetensors")
    assert sum(parameter.numel() for parameter in weights.model.parameters()) == (
        28_823_912 - 990 * 4_096 - 990  # the notes' network with 10 classes instead of 1,000
    )


def test_where_the_pictures_cannot_be_had_digits_are_used_and_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(*_: object, **__: object) -> Path:
        raise DataError("fashion-mnist: not to be had")

    monkeypatch.setattr(named, "find_or_fetch", absent)
    told: list[str] = []
    assert open_pictures("fashion-mnist", say=told.append).name == "digits"
    assert "not to be had" in told[0]
    assert "digits" in told[0]


def test_a_name_that_is_no_data_set_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data set"):
        open_pictures(str(tmp_path / "absent"), say=lambda _: None)
