"""What a recipe may be, and its two schedules walked through by hand."""

from __future__ import annotations

from dataclasses import fields, replace
from math import inf, nan
from typing import Any

import pytest

from alexnet import TrainingError
from alexnet.learning.recipe import (
    DEFAULT,
    DROPS,
    PAPER,
    PLATEAU_EPOCHS,
    RECIPES,
    Plateau,
    Recipe,
    cosine,
    get_recipe,
)

OUT_OF_RANGE: dict[str, tuple[Any, ...]] = {
    "batch_size": (0, -1, 2.5, True),
    "learning_rate": (0.0, -0.1, nan, inf),
    "schedule": ("linear", ""),
    "momentum": (1.0, -0.1, nan),
    "weight_decay": (-1e-9, nan, inf),
    "warmup": (1.0, -0.1, nan),
    "clip_norm": (0.0, -1.0, nan),
    "crop": ("corner",),
    "least_area": (0.0, 1.01, nan),
    "shift": (1.01, -0.1, nan),
    "jitter": (1.0, -0.1, nan),
    "colour_noise": (-0.1, nan, inf),
    "cutmix": (1.01, -0.1, nan),
    "label_smoothing": (1.0, -0.1, nan),
    "dropout": (1.0, -0.1, nan),
    "averaging": (1.0, -0.1, nan),
    "smallest_side": (0.0, -0.1, 1.01, nan),
    "build_up": (-1.0, nan, inf),
    "balance": ("even",),
}
AT_THE_EDGE: dict[str, tuple[Any, ...]] = {
    "batch_size": (1,),
    "schedule": ("cosine", "plateau"),
    "momentum": (0.0,),
    "weight_decay": (0.0,),
    "warmup": (0.0,),
    "clip_norm": (inf, 1e-9),
    "crop": ("resized", "shifted", "centre"),
    "least_area": (1.0, 1e-3),
    "shift": (0.0, 1.0),
    "jitter": (0.0,),
    "colour_noise": (0.0, 2.0),
    "cutmix": (0.0, 1.0),
    "label_smoothing": (0.0,),
    "dropout": (0.0,),
    "averaging": (0.0,),
    "smallest_side": (0.01, 1.0),
    "build_up": (0.0,),
    "balance": ("none", "weights", "sampling"),
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in OUT_OF_RANGE.items() for value in values]
)
def test_a_recipe_out_of_range_is_refused_with_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(TrainingError, match=rf"^recipe: {field}={value}; must be"):
        Recipe(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in AT_THE_EDGE.items() for value in values]
)
def test_values_at_the_edge_of_what_is_allowed_are_taken(field: str, value: Any) -> None:
    assert getattr(Recipe(**{field: value}), field) == value


def test_every_field_but_mirror_has_a_rule() -> None:
    assert {field.name for field in fields(Recipe)} - {"mirror"} == OUT_OF_RANGE.keys()


def test_a_choice_is_refused_with_what_there_is_to_choose_from() -> None:
    with pytest.raises(TrainingError, match=r"crop=corner; must be one of resized, shifted, centre$"):
        Recipe(crop="corner")  # type: ignore[arg-type]


# --- by name ----------------------------------------------------------------------------------------------


def test_recipes_are_found_by_their_names() -> None:
    assert get_recipe("default") == DEFAULT == Recipe(smallest_side=0.7)
    assert get_recipe("paper") == PAPER
    assert list(RECIPES) == ["default", "long", "paper"]
    changed = {"cutmix=0.5", "weight_decay=0.001"}
    assert get_recipe("long") == get_recipe("default", *changed)


def test_the_paper_s_recipe_is_what_the_paper_says() -> None:
    # Krizhevsky et al. 2012: sections 4.1 (patches, reflections, 0.1 times the eigenvalues), 4.2, 5.
    assert (PAPER.batch_size, PAPER.momentum, PAPER.weight_decay, PAPER.learning_rate) == (
        128,
        0.9,
        0.0005,
        0.01,
    )
    assert (PAPER.crop, PAPER.mirror, PAPER.colour_noise, PAPER.dropout) == ("shifted", True, 0.1, 0.5)
    assert (PAPER.schedule, PAPER.clip_norm, PAPER.warmup) == ("plateau", inf, 0.0)
    assert (PAPER.label_smoothing, PAPER.cutmix, PAPER.jitter, PAPER.averaging) == (0.0, 0.0, 0.0, 0.0)
    assert PAPER.build_up == 0.0  # at full strength from the first step
    assert PAPER.smallest_side == 1.0  # all pictures of the network's size


def test_what_varies_pictures_and_units_grows_in_a_line_and_then_stays() -> None:
    grown: dict[str, Any] = {
        "least_area": 0.2,
        "shift": 1.0,
        "jitter": 0.4,
        "colour_noise": 0.1,
        "cutmix": 0.8,
        "dropout": 0.5,
    }
    recipe = Recipe(**grown, averaging=0.9, build_up=8.0)
    early = recipe.after(2.0)
    found = [getattr(early, name) for name in grown]
    assert found == pytest.approx([0.8, 0.25, 0.1, 0.025, 0.2, 0.125])
    assert replace(early, **grown) == recipe
    nothing = recipe.after(0.0)
    assert [getattr(nothing, name) for name in grown] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert recipe.after(8.0) == recipe == recipe.after(100.0)
    assert replace(recipe, build_up=0.0).after(0.0) == replace(recipe, build_up=0.0)


def test_another_schedule_is_of_pictures_of_one_size_unless_they_are_asked_for() -> None:
    assert get_recipe("default", "schedule=plateau").smallest_side == 1.0
    assert get_recipe("default", "schedule=cosine").smallest_side == DEFAULT.smallest_side
    with pytest.raises(TrainingError, match=r"smallest_side=0\.6 with schedule=plateau; must be 1"):
        get_recipe("default", "schedule=plateau", "smallest_side=0.6")


def test_fields_are_changed_in_their_own_kind() -> None:
    changes = ["batch_size=7", "learning_rate=1e-3", "mirror=false", "crop=centre", "clip_norm=inf"]
    recipe = get_recipe("default", *changes)
    expected = Recipe(batch_size=7, learning_rate=0.001, mirror=False, crop="centre", clip_norm=inf)
    assert recipe == replace(expected, smallest_side=DEFAULT.smallest_side)
    assert type(recipe.batch_size) is int
    assert get_recipe("default", "mirror=false", "mirror=true").mirror is True


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("papers", [], "recipe 'papers': unknown; must be one of default, long, paper"),
        ("default", ["drop=0"], "recipe: drop: unknown; must be one of batch_size, learning_rate,"),
        ("default", [""], "recipe: : unknown; must be one of"),
        ("default", ["dropout=much"], "recipe: dropout=much; must be a number"),
        ("default", ["dropout"], "recipe: dropout; must be a number"),
        ("default", ["dropout=1"], "recipe: dropout=1.0; must be from 0 to below 1"),
        ("default", ["batch_size=1.5"], "recipe: batch_size=1.5; must be a whole number"),
        ("default", ["batch_size=0"], "recipe: batch_size=0; must be a whole number of at least 1"),
        ("default", ["mirror=yes"], "recipe: mirror=yes; must be true or false"),
        ("default", ["mirror=True"], "recipe: mirror=True; must be true or false"),
        ("default", ["balance=even"], "recipe: balance=even; must be one of none, weights, sampling"),
        ("default", ["learning_rate=nan"], "recipe: learning_rate=nan; must be above 0"),
    ],
)
def test_what_is_no_recipe_is_refused(name: str, changes: list[str], message: str) -> None:
    with pytest.raises(TrainingError) as caught:
        get_recipe(name, *changes)
    assert str(caught.value).startswith(message)


# --- schedules --------------------------------------------------------------------------------------------


# Warm-up to 0.2 in a line; then cos(0) = 1, cos(pi/4), cos(pi/2), cos(pi) of half a cosine.
@pytest.mark.parametrize(
    ("progress", "factor"),
    [
        (0.0, 0.0),
        (0.05, 0.25),
        (0.2, 1.0),
        (0.4, (1 + 0.5**0.5) / 2),
        (0.6, 0.5),
        (0.8, (1 - 0.5**0.5) / 2),
        (1.0, 0.0),
        (1.3, 0.0),
    ],
)
def test_the_cosine_rises_in_a_line_and_falls_in_half_a_cosine(progress: float, factor: float) -> None:
    assert cosine(progress, warmup=0.2) == pytest.approx(factor, abs=1e-12)


def test_without_warm_up_the_cosine_begins_at_its_peak() -> None:
    assert cosine(0.0, warmup=0.0) == 1.0
    assert cosine(0.5, warmup=0.0) == pytest.approx(0.5)


def test_a_plateau_schedule_walked_through_by_hand() -> None:
    """Five epochs without a better one are a plateau; the count begins anew with a better one or a drop."""
    assert (PLATEAU_EPOCHS, DROPS) == (5, 3)
    walk = [
        *[(0.1, 0), (0.3, 0), (0.2, 0), (0.3, 0), (0.3, 0), (0.1, 0)],  # four epochs after 0.3
        (0.31, 0),  # better just in time
        *[(0.31, 0), (0.3, 0), (0.3, 0), (0.3, 0), (0.3, 1)],  # equal is not better: the fifth drops
        *[(0.2, 1), (0.2, 1), (0.2, 1), (0.2, 1), (0.2, 2)],  # a drop alone begins a new count
        *[(0.2, 2), (0.2, 2), (0.5, 2)],  # better: the rate stays where it is
        *[(0.4, 2), (0.4, 2), (0.4, 2), (0.4, 2), (0.4, 3)],
        *[(0.4, 3), (0.4, 3), (0.4, 3), (0.4, 3)],
    ]
    accuracies: list[float] = []
    assert Plateau.after(accuracies) == Plateau(drops=0, over=False)
    for accuracy, drops in walk:
        accuracies.append(accuracy)
        found = Plateau.after(accuracies)
        assert found == Plateau(drops=drops, over=False), accuracies
        assert found.factor == pytest.approx((1.0, 0.1, 0.01, 0.001)[drops])
    assert Plateau.after([*accuracies, 0.6]) == Plateau(drops=3, over=False)
    # After three drops, a fourth plateau is the end; and it stays the end.
    assert Plateau.after([*accuracies, 0.4]) == Plateau(drops=3, over=True)
    assert Plateau.after([*accuracies, 0.4, 0.9]) == Plateau(drops=3, over=True)
