"""Engines: that running them leaves nothing behind and tells nobody."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from alexnet.errors import WeightsError
from alexnet.images import cores
from alexnet.inference import engines, onnx_engine, openvino_engine
from alexnet.inference.engines import open_classifier

Start = tuple[list[str], dict[str, str]]

# What tells a package that it runs in a test, where some are silent that are not elsewhere.
TEST_VARIABLES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")


@pytest.mark.parametrize(("engine", "module"), [("onnxruntime", onnx_engine), ("openvino", openvino_engine)])
def test_weights_that_an_engine_cannot_run_are_told_in_one_line(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch, engine: str, module: ModuleType
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise RuntimeError("Check 'shapes agree' failed\nat conv.cpp:12")

    monkeypatch.setattr(module, "open_model", refuse)
    with pytest.raises(WeightsError) as caught:
        open_classifier(weights_file, engine=engine)
    assert str(caught.value) == (
        f"{weights_file}: {engine} cannot run network 'small' (Check 'shapes agree' failed at conv.cpp:12); "
        "take another engine, such as torch"
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_running_an_engine_writes_nothing_anywhere(
    python: Start, weights_file: Path, coloured: Path, tmp_path: Path, engine: str
) -> None:
    # ONNX Runtime keeps an identifier and what it is to report in these places, before it reports it.
    command, environment = python
    places = {name: tmp_path / name for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    for place in places.values():
        place.mkdir()
    kept = {name: value for name, value in environment.items() if name not in TEST_VARIABLES}
    done = subprocess.run(
        [*command, "-m", "alexnet", "predict", weights_file, coloured / "red", "--engine", engine],
        env={**kept, **{name: str(place) for name, place in places.items()}, "PYTEST_CURRENT_TEST": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [path for place in places.values() for path in place.rglob("*")] == []


@pytest.mark.slow  # torch has one number of threads for the whole process
def test_torch_computes_with_as_many_threads_as_it_is_told(python: Start, weights_file: Path) -> None:
    code = (
        "import sys, torch, numpy; from alexnet.inference.engines import open_classifier\n"
        "classifier = open_classifier(sys.argv[1], engine='torch', device='cpu', threads=3)\n"
        "classifier(numpy.zeros((2, 24, 24, 3), numpy.uint8))\n"
        "print(torch.get_num_threads())"
    )
    command, environment = python
    done = subprocess.run(
        [*command, "-c", code, weights_file], env=environment, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.stderr) == ("3", "")


def threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="Linux's list of a process's threads")
def test_an_engine_has_a_thread_for_each_core_of_a_quota(
    weights_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "core_quota", lambda: 3)
    monkeypatch.setattr(cores, "available_cores", lambda: 3)
    before = threads_of_this_process()
    classifier = engines.open_classifier(weights_file, engine="onnxruntime")
    assert threads_of_this_process() - before == 2  # the third is the one that asks
    assert classifier.engine == "onnxruntime"
