"""Where a run stands, on disk and back: every bit of it or the one before; damage is never taken for it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from math import nextafter, pi
from pathlib import Path
from shutil import copytree, rmtree

import pytest
import torch
from safetensors import safe_open

from alexnet import OutputError, TrainingError
from alexnet.images.shards import Drawn
from alexnet.learning import state as state_module
from alexnet.learning.progress import Tally
from alexnet.learning.runs import Epoch, Steps
from alexnet.learning.state import State, load_state, remove_before, save_state
from alexnet.learning.weights import write_tensors

NEWEST, BEFORE = "state.safetensors", "state-before.safetensors"


def tally(loss: float, right: float, pictures: int) -> Tally:
    as_sums = (torch.tensor(each, dtype=torch.float64) for each in (loss, right))
    return Tally(loss=next(as_sums), right=next(as_sums), pictures=pictures)


def state(step: int) -> State:
    """A state whose figures have no short decimal form, and whose tensors differ by `step`."""
    generator = torch.Generator().manual_seed(step)
    weights = torch.randn(8, 3, 5, 5, generator=generator)
    odd = nextafter(pi / 3, 2)
    return State(
        tensors={
            "model/conv1.weight": weights.to(memory_format=torch.channels_last),
            "average/conv1.weight": weights.to(torch.bfloat16),
            "momentum/0": torch.tensor([0.0, -0.0, torch.inf, 1e-45, 3.4e38]),
            "model/empty": torch.empty(0, 3),
            "model/number": torch.tensor(odd, dtype=torch.float64),
        },
        step=step,
        seconds=1000 * odd,
        pictures=128 * step,
        tally=tally(1 / 3, 17, 48),
        few=tally(0.1 + 0.2, 2, 6),
        epochs=(
            Epoch(
                epoch=1,
                pictures=128,
                seconds=odd,
                pictures_per_second=99.9,
                learning_rate=odd / 10,
                train_loss=odd,
                train_accuracy=1 / 7,
                validation_loss=None,
                validation_accuracy=None,
            ),
        ),
        lines=(
            Steps(pictures=10, seconds=odd, learning_rate=1e-320, train_loss=odd, train_accuracy=2 / 3),
            Steps(pictures=20, seconds=odd, learning_rate=0.1, train_loss=2 / 3, train_accuracy=2 / 3),
        ),
        best=2 / 3,
        drawn=(Drawn(pictures=12), Drawn(pictures=14, passes=1, before=10)),
        learning_rate=odd / 100,
        validation_seconds=odd / 3,
        twins=("two look alike: a \N{MULTIPLICATION SIGN} b \udcff",),
    )


def assert_same(found: State | None, expected: State) -> None:
    assert found is not None
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        got = found.tensors[name]
        assert (got.dtype, got.shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(bits(got), bits(tensor)), name
    for each in fields(State):
        if each.name in ("tensors", "tally", "few"):
            continue
        assert getattr(found, each.name) == getattr(expected, each.name), each.name
    for name in ("tally", "few"):
        was, now = getattr(expected, name), getattr(found, name)
        assert (now.loss.item(), now.right.item(), now.pictures) == (
            was.loss.item(),
            was.right.item(),
            was.pictures,
        )
        assert now.loss.dtype == torch.float64


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def load(folder: Path) -> tuple[State | None, list[str]]:
    told: list[str] = []
    return load_state(folder, on_notice=told.append), told


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A folder with the states of steps 1 and 2."""
    save_state(tmp_path, state(1))
    save_state(tmp_path, state(2))
    return tmp_path


# --- round trip -------------------------------------------------------------------------------------------


def test_a_state_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    save_state(tmp_path, state(3))
    found, told = load(tmp_path)
    assert_same(found, state(3))
    assert told == []


def test_the_seconds_of_an_epoch_so_far_go_on(tmp_path: Path) -> None:
    saved = state(3)
    saved.tally.started -= 500.0
    save_state(tmp_path, saved)
    found, _ = load(tmp_path)
    assert found is not None
    # 48 pictures in 500 s and the moment that this took
    assert 48 / 510 < found.tally.rate() <= 48 / 500


def test_a_tally_of_an_accelerator_without_float64_comes_back_as_what_it_was(tmp_path: Path) -> None:
    third = torch.tensor(1 / 3, dtype=torch.float32)
    saved = replace(state(1), tally=Tally(loss=third, right=torch.tensor(3.0), pictures=6))
    save_state(tmp_path, saved)
    found, _ = load(tmp_path)
    assert found is not None
    assert torch.equal(found.tally.loss.float(), third)


def test_there_is_none_in_an_empty_folder(tmp_path: Path) -> None:
    assert load(tmp_path) == (None, [])


def test_the_newest_and_the_one_before_are_kept_and_nothing_else(two: Path) -> None:
    save_state(two, state(3))
    assert {path.name for path in two.iterdir()} == {NEWEST, BEFORE}
    assert_same(load(two)[0], state(3))
    (two / NEWEST).unlink()
    assert_same(load(two)[0], state(2))


def test_the_end_of_a_run_removes_the_one_before(two: Path) -> None:
    remove_before(two)
    remove_before(two)  # it may be gone
    assert [path.name for path in two.iterdir()] == [NEWEST]


# --- damage -----------------------------------------------------------------------------------------------


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip_weights(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 16]) + content[-4:]


def change_a_figure(content: bytes) -> bytes:
    assert content.count(b'\\"pictures\\": 256') == 1
    return content.replace(b'\\"pictures\\": 256', b'\\"pictures\\": 266')


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut in its first bytes": lambda content: content[:5],
    "cut in its description": lambda content: content[:300],
    "cut in its tensors": cut_short,
    "without its last byte": lambda content: content[:-1],
    "with a byte more": lambda content: content + b"\0",
    "a bit of a tensor flipped": flip_weights,
    "another number in its description": change_a_figure,
    "zeros": lambda content: bytes(len(content)),
    "another file": lambda content: b"PK\x03\x04" + content,
    "of another format": lambda content: content.replace(b'\\"format\\": 2', b'\\"format\\": 9'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_where_the_newest_is_damaged_the_one_before_is_taken_and_that_is_told(
    two: Path, damage: Callable[[bytes], bytes]
) -> None:
    (two / NEWEST).write_bytes(damage((two / NEWEST).read_bytes()))
    found, told = load(two)
    assert_same(found, state(1))
    assert len(told) == 1
    assert told[0].startswith(f"{two / NEWEST}: damaged (")
    # 128 pictures in the epochs before, 48 in this one
    assert told[0].endswith(f"going on from {BEFORE}, 176 pictures in")


def test_a_state_of_the_format_before_is_gone_on_from(tmp_path: Path) -> None:
    expected = replace(state(2), drawn=(Drawn(pictures=12), Drawn()))
    save_state(tmp_path, expected)
    with safe_open(tmp_path / NEWEST, framework="pt") as file:
        described = json.loads(file.metadata()["alexnet"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
    text = json.dumps(described | {"format": 1, "drawn": [12, 0]})
    checksum = str(state_module._description_checksum(text, tensors))
    write_tensors(tmp_path / NEWEST, tensors, {"alexnet": text, "checksum": checksum})
    assert_same(load(tmp_path)[0], expected)


def test_a_state_that_is_another_thing_altogether_is_damaged(two: Path) -> None:
    (two / NEWEST).unlink()
    (two / NEWEST).mkdir()
    found, told = load(two)
    assert_same(found, state(1))
    assert len(told) == 1


def test_where_both_are_damaged_it_is_an_error_that_names_both(two: Path) -> None:
    for name in (NEWEST, BEFORE):
        (two / name).write_bytes(cut_short((two / name).read_bytes()))
    with pytest.raises(TrainingError) as caught:
        load(two)
    assert f"{two / NEWEST}: damaged" in str(caught.value)
    assert f"{two / BEFORE}: damaged" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_no_byte_of_a_state_can_change_unnoticed(two: Path) -> None:
    """Whichever bit is changed, of every third byte: the newest as it was is loaded, or the one before."""
    whole = (two / NEWEST).read_bytes()
    taken = {1: 0, 2: 0}
    for place in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (two / NEWEST).write_bytes(changed)
        found, told = load(two)
        assert found is not None
        assert_same(found, state(found.step))
        assert len(told) == (found.step == 1), place
        taken[found.step] += 1
    assert taken[1] > taken[2] * 20


def test_a_run_that_goes_on_after_damage_always_has_a_whole_state(
    two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (two / NEWEST).write_bytes(b"damaged")
    plain = Path.replace

    def check() -> None:
        with monkeypatch.context() as unpatched:  # what is found is put in its place
            unpatched.setattr(Path, "replace", plain)
            copied = copytree(two, tmp_path / "copied")
            assert load(copied)[0] is not None
            rmtree(copied)

    def checked(path: Path, target: Path) -> Path:
        check()
        moved = plain(path, target)
        check()
        return moved

    monkeypatch.setattr(Path, "replace", checked)
    save_state(two, state(3))
    assert load(two)[1] == []
    save_state(two, state(4))
    (two / NEWEST).write_bytes(b"damaged")
    assert_same(load(two)[0], state(3))


# --- a write that fails or is cut off ---------------------------------------------------------------------


def full(*_arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_write_that_fails_leaves_both_as_they_were(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {path.name: path.read_bytes() for path in two.iterdir()}
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            save_state(two, state(3))
    assert {path.name: path.read_bytes() for path in two.iterdir()} == kept
    save_state(two, state(3))
    assert_same(load(two)[0], state(3))


class Killed(BaseException):
    """What a kill at this point would be: nothing after it is done."""


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_between_any_two_renames_loses_nothing(
    two: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """The first rename puts the new file beside the two, the second and third into place."""
    done = 0
    plain = Path.replace

    def counted(path: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise Killed
        done += 1
        return plain(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", counted)
        with pytest.raises(Killed):
            save_state(two, state(3))
    found, told = load(two)
    assert told == []
    assert_same(found, state(3 if renames else 2))
    assert {path.name for path in two.iterdir()} == {NEWEST, BEFORE}
    save_state(two, state(4))
    assert_same(load(two)[0], state(4))
    assert {path.name for path in two.iterdir()} == {NEWEST, BEFORE}


def test_what_cannot_be_put_in_place_is_an_output_error(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.replace

    def refused(path: Path, target: Path) -> Path:
        if Path(target).name == BEFORE:
            full()
        return plain(path, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(OutputError, match=r"state\.safetensors: cannot be written"):
        save_state(two, state(3))
