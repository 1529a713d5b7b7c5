"""The class table: probabilities, what sound they suggest, and where a picture changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefoley.classes import ClassTable, Sound, prompts, read_class_table
from edgefoley.errors import BundleIntegrityError

BARK = Sound("bark", "vocal", "a dog barks", "狗叫")
WHINE = Sound("whine", "vocal", "a dog whines", "狗呜咽")
WAVES = Sound("waves", "texture", "waves break", "海浪")
NAMES = ("beagle", "collie", "sea shore", "website")
WEIGHTS = np.array([[1, 0.8, 0], [0.9, 0.7, 0], [0, 0, 0.95], [0, 0, 0]], np.float32)


@pytest.fixture
def table() -> ClassTable:
    return ClassTable(NAMES, (BARK, WHINE, WAVES), WEIGHTS, temperature=0.5)


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_probabilities_are_the_softmax_at_the_tables_temperature(table: ClassTable) -> None:
    logits = np.log([[1, 2, 4, 1], [3, 1, 1, 1]])
    squared = np.array([[1, 4, 16, 1], [9, 1, 1, 1]])  # a temperature of one half squares the odds
    assert np.allclose(table.probabilities(logits), squared / squared.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.allclose(table.probabilities(logits + 1e4), table.probabilities(logits), atol=1e-6)


def test_the_top_classes_come_in_order(table: ClassTable) -> None:
    assert table.top(row(0.1, 0.5, 0.1, 0.3), 2) == [("collie", 0.5), ("website", pytest.approx(0.3))]
    assert len(table.top(row(0.25, 0.25, 0.25, 0.25), 10)) == 4


def test_breeds_add_up_to_one_sound(table: ClassTable) -> None:
    """Neither breed is likely enough, both together are, and the whine does not come along with the bark."""
    found = table.suggest(row(0.15, 0.15, 0, 0.7))
    assert [sound.id for sound, _ in found] == ["bark"]
    assert found[0][1] == pytest.approx(0.15 * 1 + 0.15 * 0.9)


@pytest.mark.parametrize(
    ("seen", "ids"),
    [
        ((0.6, 0, 0.4, 0), ["bark", "waves"]),
        ((0, 0.3, 0.7, 0), ["waves"]),  # 0.27 is less than half of 0.665
        ((0.1, 0, 0.15, 0.75), []),
        ((0, 0, 0, 1), []),
    ],
)
def test_suggestions(table: ClassTable, seen: tuple[float, ...], ids: list[str]) -> None:
    assert [sound.id for sound, _ in table.suggest(row(*seen))] == ids


def test_one_prompt_in_each_language(table: ClassTable) -> None:
    assert prompts(table.suggest(row(0.6, 0, 0.4, 0))) == {
        "en": "a dog barks, waves break",
        "zh": "狗叫，海浪",
    }
    assert prompts([]) == {"en": "", "zh": ""}
    assert len(table.suggest(row(0.6, 0, 0.4, 0), most=1)) == 1


def test_things_without_sounds_suggest_nothing_and_change_like_others() -> None:
    silent = ClassTable(NAMES, (BARK,), np.zeros((4, 1), np.float32))
    assert silent.suggest(row(1, 0, 0, 0)) == []
    assert silent.stretches(np.repeat([row(1, 0, 0, 0), row(0, 1, 0, 0)], 5, axis=0)) == [(0, 5), (5, 10)]


def test_stretches_are_cut_where_the_picture_changes(table: ClassTable) -> None:
    random = np.random.default_rng(0)
    shown = np.repeat([row(0.9, 0, 0, 0.1), row(0, 0, 0.8, 0.2), row(0.9, 0, 0, 0.1)], [7, 3, 40], axis=0)
    noisy = np.clip(shown + random.normal(0, 0.05, shown.shape), 0, 1).astype(np.float32)
    assert table.stretches(noisy) == [(0, 7), (7, 10), (10, 50)]


def test_another_breed_or_one_odd_picture_is_no_new_stretch(table: ClassTable) -> None:
    breeds = np.repeat([row(0.9, 0, 0, 0.1), row(0, 0.9, 0, 0.1)], 10, axis=0)
    assert table.stretches(breeds) == [(0, 20)]
    flash = np.repeat([row(0.9, 0, 0, 0.1)], 20, axis=0)
    flash[8] = row(0, 0, 1, 0)
    assert table.stretches(flash) == [(0, 20)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_clips_of_few_pictures_are_one_stretch(table: ClassTable, count: int) -> None:
    shown = np.array([row(1, 0, 0, 0), row(0, 0, 1, 0), row(0, 0, 0, 1)][:count])
    assert table.stretches(shown) == [(0, count)]


def test_the_file_holds_the_table(table: ClassTable, tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(table.to_json(), ensure_ascii=False), encoding="utf-8")
    again = read_class_table(path)
    assert (again.names, again.sounds, again.temperature) == (table.names, table.sounds, 0.5)
    assert np.allclose(again.weights, WEIGHTS)


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "schema": (lambda d: d.update(schema=2), "schema 2"),
    "no classes": (lambda d: d.pop("classes"), "classes"),
    "unknown sound": (lambda d: d["classes"]["beagle"].update(moo=1), "moo"),
    "weight": (lambda d: d["classes"]["beagle"].update(bark=1.5), "outside 0 … 1"),
    "temperature": (lambda d: d.update(temperature=0), "temperature"),
    "phrase": (lambda d: d["sounds"]["bark"].pop("zh"), "zh"),
    "list": (lambda d: d.update(classes=[]), "class table"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(table: ClassTable, tmp_path: Path, name: str) -> None:
    change, words = DAMAGE[name]
    data = table.to_json()
    change(data)
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(BundleIntegrityError, match=words) as caught:
        read_class_table(path)
    assert str(path) in str(caught.value)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(BundleIntegrityError, match="cannot be read"):
        read_class_table(tmp_path / "classes.json")
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(BundleIntegrityError, match="not a class table"):
        read_class_table(tmp_path / "classes.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": NAMES[:3]}, "3 classes"),
        ({"names": ("a", "a", "b", "c")}, "class is named twice"),
        ({"sounds": (BARK, BARK, WAVES)}, "sound is named twice"),
        ({"weights": -WEIGHTS}, "outside"),
        ({"sounds": (), "weights": WEIGHTS[:, :0]}, "at least one"),
    ],
)
def test_a_table_fits_together(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ClassTable(**{"names": NAMES, "sounds": (BARK, WHINE, WAVES), "weights": WEIGHTS, **change})
