"""Which concept a sound is like: its place among the library's training recordings, by sound embeddings.

It hears neither the evaluation's clips and prompts nor its tagger, so things may be chosen by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.evaluation.embedders import Embedder
from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.words.concepts import Concept

Floats = npt.NDArray[np.float64]
Wave = npt.NDArray[np.float32]

SECONDS: Final = 4  # of a recording, from its beginning
MOST: Final = 30  # recordings of one concept on one side of the split, at most


def recordings(library: SoundLibrary, concept: Concept, held_out: bool) -> Iterator[Wave]:
    """The first seconds of the real recordings on one side of the split."""
    found = [library.pool.recordings[i] for i in library.members(concept.id, held_out)]
    real = [r for r in found if r.held_out == held_out and not r.label.startswith("synthetic ")]
    for recording in real[:MOST]:
        yield library.pool.wave(recording, 0, SECONDS * SAMPLE_RATE)


class SoundMap:
    """Training recordings by embedding. ``ids``: of the ``concepts`` that have any, in their order."""

    def __init__(self, library: SoundLibrary, embed: Embedder, concepts: Sequence[Concept]) -> None:
        self.embed, self.ids = embed, list[str]()
        rows, owners = list[Floats](), list[int]()
        for concept in concepts:
            found = [embed(wave).mean(0) for wave in recordings(library, concept, False)]
            if found:
                rows += found
                owners += [len(self.ids)] * len(found)
                self.ids.append(concept.id)
        self._centre = np.mean(rows, 0)
        self._rows, self._owners = self._unit(np.stack(rows)), np.array(owners)

    def _unit(self, x: Floats) -> Floats:
        centred = x - self._centre
        unit: Floats = centred / (np.linalg.norm(centred, axis=-1, keepdims=True) + 1e-9)
        return unit

    def likeness(self, wave: Wave) -> Floats:
        """Cosine (C,) of the nearest recording of each of ``ids``, of embeddings less their common mean."""
        near = self._rows @ self._unit(self.embed(wave).mean(0))
        return np.array([near[self._owners == k].max() for k in range(len(self.ids))])

    def rank(self, wave: Wave, concept: str) -> int:
        """Place of the concept among all, 0 for the nearest."""
        likeness = self.likeness(wave)
        return int((likeness > likeness[self.ids.index(concept)]).sum())

    def margin(self, wave: Wave, concept: str) -> float:
        """How much nearer the concept is than the nearest other one."""
        likeness, own = self.likeness(wave), self.ids.index(concept)
        return float(likeness[own] - np.delete(likeness, own).max())
