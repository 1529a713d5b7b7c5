"""Which concept a sound is like: its nearest recordings, whatever all of them have in common."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from edgefoley.train.likeness import SoundMap, recordings
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.words.concepts import Concept, load_concepts

A, B, C = load_concepts()[:3]
COMMON = np.array([50.0, 0, 0])  # in all embeddings
# label, held out, direction of the embedding
SOUNDS = {
    A.id: [("a", False, (0, 1, 0)), ("a", False, (0, 1, 0.5)), ("a", True, (0, 0.9, 0.1))],
    B.id: [("b", False, (0, 0, 1)), ("synthetic b", False, (0, 1, 0)), ("b", True, (0, -1, 0))],
    C.id: [("c", True, (0, -1, -1)), ("synthetic c", False, (0, -1, -1))],
}


class Ears:
    name = "none"

    def __call__(self, wave: np.ndarray) -> np.ndarray:
        return (COMMON + wave)[None]


def library(sounds: dict[str, Sequence[tuple[str, bool, tuple[float, ...]]]]) -> SoundLibrary:
    rows = [(concept, *sound) for concept, found in sounds.items() for sound in found]
    kept = [SimpleNamespace(label=label, held_out=held, wave=np.array(w)) for _, label, held, w in rows]
    pool = SimpleNamespace(recordings=kept, wave=lambda recording, start, stop: recording.wave)

    def members(concept: str, held_out: bool) -> list[int]:
        return [i for i, row in enumerate(rows) if row[0] == concept]

    return cast(SoundLibrary, SimpleNamespace(pool=pool, members=members))


@pytest.fixture
def made() -> SoundMap:
    return SoundMap(library(SOUNDS), Ears(), [A, B, C])


def test_synthetic_and_held_out_sounds_are_not_on_the_map(made: SoundMap) -> None:
    assert made.ids == [A.id, B.id]
    count = lambda concept, side: len(list(recordings(library(SOUNDS), concept, side)))  # noqa: E731
    assert [(count(c, False), count(c, True)) for c in (A, B, C)] == [(2, 1), (1, 1), (0, 1)]


@pytest.mark.parametrize(("wave", "order"), [((0, 1, 0.2), (A, B)), ((0, 0.1, 1), (B, A))])
def test_the_nearest_recording_counts(
    made: SoundMap, wave: tuple[float, ...], order: tuple[Concept, Concept]
) -> None:
    """Against cosines written out; what all embeddings have in common is taken out first."""
    sound = np.array(wave, np.float32)
    assert [made.rank(sound, concept.id) for concept in order] == [0, 1]
    rows = np.array([(0, 1, 0), (0, 1, 0.5), (0, 0, 1)])
    centre = rows.mean(0)
    cosines = [
        (row - centre) @ (sound - centre) / np.linalg.norm(row - centre) / np.linalg.norm(sound - centre)
        for row in rows
    ]
    assert np.allclose(made.likeness(sound), [max(cosines[:2]), cosines[2]], atol=1e-6)
    difference = max(cosines[:2]) - cosines[2]
    assert made.margin(sound, A.id) == pytest.approx(difference, abs=1e-6)
    assert made.margin(sound, B.id) == pytest.approx(-difference, abs=1e-6)
