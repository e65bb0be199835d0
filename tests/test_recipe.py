from __future__ import annotations

import json
import typing
from dataclasses import fields
from types import NoneType

import numpy as np
import pytest

from fenlei.recipe import (
    CHOICES,
    COUNTS,
    FROM_ZERO,
    MOST_SEED,
    OPEN,
    PRESETS,
    RATES,
    SHARES,
    STRENGTHS,
    USUAL,
    Recipe,
    preset,
)

HINTS = typing.get_type_hints(Recipe)
COUNT = "the setting {} must be a whole number of at least {}, got {}"
SHARE = r"the setting {} must be a number in \[0, 1\), got {}"


def test_every_whole_number_is_checked() -> None:
    whole = {name for name, hint in HINTS.items() if hint is int or int in typing.get_args(hint)}
    assert whole == {*COUNTS, *FROM_ZERO}
    assert {name for name in whole if NoneType in typing.get_args(HINTS[name])} == {*OPEN} - {
        *RATES,
        *SHARES,
        *STRENGTHS,
        *CHOICES,
        "beside",
    }
    assert all(HINTS[name] is float for name in SHARES if name not in OPEN)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, "3", True, np.int64(3), [1]], ids=repr)
def test_a_count_is_a_whole_number_from_one_on(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=COUNT.format(name, 1, "")):
        Recipe().change(**{name: value})
    assert getattr(Recipe().change(**{name: 1}), name) == 1


@pytest.mark.parametrize("name", FROM_ZERO)
@pytest.mark.parametrize("value", [-1, 0.0, None, False], ids=repr)
def test_a_seed_and_epochs_before_the_first_are_whole_numbers_from_zero_on(name: str, value: object) -> None:
    if value is None and name in OPEN:
        assert getattr(Recipe().change(**{name: None}), name) is None
        return
    with pytest.raises(ValueError, match=COUNT.format(name, 0, value)):
        Recipe().change(**{name: value})
    assert getattr(Recipe().change(**{name: 0}), name) == 0


@pytest.mark.parametrize("name", COUNTS)
def test_only_what_is_decided_from_the_data_may_be_left_open(name: str) -> None:
    if name in OPEN:
        assert getattr(Recipe().change(**{name: None}), name) is None
    else:
        with pytest.raises(ValueError, match=COUNT.format(name, 1, None)):
            Recipe().change(**{name: None})


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("value", [-0.1, 1, 1.0, 2, "0.5", None, float("nan")], ids=repr)
def test_a_share_is_a_number_below_one(name: str, value: object) -> None:
    if value is None and name in OPEN:
        assert Recipe().change(**{name: None}).usual(name) == USUAL[name]
        return
    with pytest.raises(ValueError, match=SHARE.format(name, "")):
        Recipe().change(**{name: value})
    for good in (0, 0.0, 0.999):
        assert getattr(Recipe().change(**{name: good}), name) == good


@pytest.mark.parametrize("name", ["learning_rate", "table_rate", "clip_norm", "weight_decay"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "fast", [1.0]])
def test_a_rate_is_a_finite_number(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"the setting {name} must be a finite number .*, got "):
        Recipe().change(**{name: value})
    assert Recipe(weight_decay=0).weight_decay == 0


@pytest.mark.parametrize("beside", [{"rcnn": None}, {"rcnn": 3}, {"rcnn": "lstm"}], ids=str)
def test_networks_beside_have_options(beside: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="the setting beside must be networks and the options of each, got"):
        Recipe().change(beside=beside)


def test_networks_take_turns_each_with_its_own_seed_and_options() -> None:
    recipe = Recipe(model="bilstm", options={"hidden_size": 8}, seed=5, beside={"rcnn": {}, "textcnn": {"filters": 4}})
    found = [recipe.of_network(number) for number in (1, 2, 3, 4)]
    assert [each.model for each in found] == ["bilstm", "rcnn", "textcnn", "bilstm"]
    assert Recipe(seed=MOST_SEED).of_network(10).seed == 8, "past the last seed comes the first"
    assert [each.options for each in found] == [{"hidden_size": 8}, {}, {"filters": 4}, {"hidden_size": 8}]
    assert [each.seed for each in found] == [5, 6, 7, 8]
    assert [each.model for each in recipe.kinds] == ["bilstm", "rcnn", "textcnn"]
    assert Recipe().kinds == [Recipe()]
    assert Recipe(**json.loads(json.dumps(recipe.to_json()))).kinds[2].options == {"filters": 4}


@pytest.mark.parametrize("views", [(), ("chars",), (("chars", 0),), (("chars", "2"),), (("chars",),), ((3, "chars"),)])
def test_views_are_names_with_sizes(views: object) -> None:
    with pytest.raises(ValueError, match="the setting views must be pairs of a name and a size like chars, 3, got"):
        Recipe().change(views=views)
    assert Recipe(views=(("chars", 1), ("tokens", 9))).views == (("chars", 1), ("tokens", 9))


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="a recipe without a model needs the wide branch"):
        Recipe(model=None, wide=False)


@pytest.mark.parametrize("name", CHOICES)
def test_a_setting_with_choices_takes_no_other(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown {name} 'other'; the choices are {', '.join(CHOICES[name])}"):
        Recipe().change(**{name: "other"})
    for value in CHOICES[name]:
        assert getattr(Recipe().change(**{name: value}), name) == value


def test_an_unknown_setting_is_refused_with_the_settings() -> None:
    names = ", ".join(each.name for each in fields(Recipe))
    with pytest.raises(ValueError, match=f"unknown setting 'branch'; the settings are {names}"):
        Recipe().change(branch=3)


def test_a_change_leaves_the_recipe_itself_alone() -> None:
    recipe = Recipe(epochs=3)
    assert recipe.change(branches=3) == Recipe(epochs=3, branches=3)
    assert recipe == Recipe(epochs=3)


def test_json_holds_a_recipe() -> None:
    recipe = Recipe(options={"hidden_size": 8}, streams=("bigrams",), views=(("chars", 3),), epochs=2)
    held = json.loads(json.dumps(recipe.to_json()))
    assert held.keys() == HINTS.keys()
    assert (held["options"], held["streams"], held["views"]) == ({"hidden_size": 8}, ["bigrams"], [["chars", 3]])


def test_presets_are_recipes_and_the_first_changes_nothing() -> None:
    assert Recipe().change(**PRESETS["default"]) == Recipe()
    assert Recipe().change(**PRESETS["fast"]).pace == "fast"
    assert all(preset(name) == Recipe().change(**settings) for name, settings in PRESETS.items())


def test_a_preset_takes_further_settings_and_another_network_its_own_options() -> None:
    assert preset("fast", epochs=5, seed=2) == Recipe(epochs=5, branches=1, seed=2, pace="fast")
    assert preset("classic", model="lstm2").options == PRESETS["classic"]["options"]
    other = preset("classic", model="bilstm")
    assert (other.options, other.steps) == ({}, 10_000)
    assert preset("classic", model="bilstm", options={"hidden_size": 3}).options == {"hidden_size": 3}
    over = preset("classic", options={"hidden_size": 3}).options
    assert over == {**PRESETS["classic"]["options"], "hidden_size": 3}
    with pytest.raises(ValueError, match="unknown preset 'huge'; the choices are default, fast, best, classic"):
        preset("huge")
