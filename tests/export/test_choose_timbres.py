"""Choosing examples: those that make the right sound, not those that are near each other."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from edgefoley.export.choose_timbres import KEPT, SINGLES, Maker, choose, choose_all
from edgefoley.export.timbres import SILENCE, indexed, timbre_table
from edgefoley.models.timbre import Timbre
from edgefoley.train.likeness import SoundMap
from edgefoley.train.words.concepts import load_concepts

DOG, CAT = load_concepts()[:2]
TARGET = np.array([1.0, 1.0, 0.0])  # a sound is its timbre, and the nearer to this the better


class Heard:
    """The likeness of a sound is that of its timbre; counts what it hears."""

    ids = (DOG.id, CAT.id)

    def __init__(self) -> None:
        self.count = 0

    def margin(self, wave: np.ndarray, concept: str) -> float:
        self.count += 1
        return -float(np.linalg.norm(wave - TARGET))


def maker(broken_after: int | None = None) -> Maker:
    """Sounds are the timbres themselves."""
    made = {"count": 0}

    def sound(concept: object, language: str, parts: torch.Tensor, seed: int) -> np.ndarray:
        made["count"] += 1
        if made["count"] == broken_after:
            raise KeyboardInterrupt
        return parts.numpy()

    same = SimpleNamespace(whiten=lambda raw: raw)
    return cast(Maker, SimpleNamespace(sound=sound, module=same))


def test_a_mean_is_taken_where_it_sounds_better_than_its_parts() -> None:
    parts = torch.tensor([[2.0, 0, 0], [0, 2, 0], [5, 5, 5], [-1, -1, -1]])
    groups = choose(maker(), cast(SoundMap, Heard()), DOG, parts)
    assert sorted(groups[0]) == [0, 1]  # their mean is the target
    assert len(groups) == KEPT


def test_one_that_sounds_right_is_kept_alone() -> None:
    parts = torch.tensor([[9.0, 0, 0], [1, 1, 0], [0, 0, 9], [0, 9, 0]])
    assert choose(maker(), cast(SoundMap, Heard()), DOG, parts)[0] == [1]
    assert choose(maker(), cast(SoundMap, Heard()), DOG, parts[:1]) == [[0]]


def test_of_many_examples_the_most_typical_are_tried() -> None:
    heard, parts = Heard(), torch.zeros(30, 3)
    parts[:, 2] = torch.arange(30.0)
    groups = choose(maker(), cast(SoundMap, heard), DOG, parts)
    assert {i for group in groups for i in group} <= set(range(14 - SINGLES // 2, 16 + SINGLES // 2))
    assert heard.count == 2 * (SINGLES + 3 + 4)


def test_a_stopped_choice_goes_on(tmp_path: Path) -> None:
    out, rng = tmp_path / "timbres.json", np.random.default_rng(0)
    examples = {c.id: list(rng.normal(size=(4, 3)).astype(np.float32)) for c in (DOG, CAT)}
    places = {c.id: [f"latents_0000:{i}" for i in range(4)] for c in (DOG, CAT)}
    arguments = ([DOG, CAT], examples, places, out)
    with pytest.raises(KeyboardInterrupt):
        choose_all(maker(2 * 4 + 2 * 6 + 3), cast(SoundMap, Heard()), *arguments)  # in the second concept
    assert list(json.loads(out.read_text())) == [DOG.id]
    heard = Heard()
    chosen = choose_all(maker(), cast(SoundMap, heard), *arguments)
    assert heard.count == 2 * 4 + 2 * 6
    whole = choose_all(maker(), cast(SoundMap, Heard()), *arguments[:3], tmp_path / "whole.json")
    assert chosen == whole == json.loads(out.read_text())
    assert {place for group in chosen[CAT.id] for place in group} <= set(places[CAT.id])


def test_a_group_is_one_row_of_the_table_its_mean() -> None:
    raw = np.random.default_rng(1).normal(size=(5, 20)).astype(np.float32)
    torch.manual_seed(0)
    module = Timbre(20, 5, 8)
    module.basis.copy_(torch.randn(5, 20))
    embed = lambda texts: np.ones((len(texts), 8), np.float32)  # noqa: E731
    examples = {DOG.id: list(raw), CAT.id: list(raw[:2])}
    made = timbre_table(module, examples, [DOG, CAT], embed, {DOG.id: [[0, 3], [1]]})
    assert made.names == (DOG.id, CAT.id, SILENCE) and made.owner.tolist() == [0, 0, 1, 1]
    with torch.no_grad():
        row, gain = module(module.whiten(torch.from_numpy((raw[[0]] + raw[[3]]) / 2)))
    assert np.allclose(made.rows[0], row[0], atol=1e-5) and np.allclose(made.pooled[0], gain[0], atol=1e-5)


def test_a_choice_from_another_school_is_refused() -> None:
    places = {"dog": ["latents_0000:1", "latents_0002:7"]}
    chosen = {"dog": [["latents_0002:7"], ["latents_0002:7", "latents_0000:1"]]}
    assert indexed(chosen, places) == {"dog": [[1], [1, 0]]}
    with pytest.raises(SystemExit, match="latents_0009:9 is no example of dog"):
        indexed({"dog": [["latents_0009:9"]]}, places)
    with pytest.raises(SystemExit, match="no example of cat"):
        indexed({"cat": [["latents_0000:1"]]}, places)
