"""The sound library: every recording of several folders, decoded once, without doubles, cut and weighted.

`SoundLibrary.build` reads folders with a manifest.tsv, decodes to 48 kHz mono int16 in one memory-mapped
file, drops copies of the same sound (``sounds.fingerprint``), cuts events and loops (``sounds.cuts``,
``sounds.loops``) and keeps all of it below a cache folder. A changed manifest or a changed way of cutting
makes the affected part again. `draw` then gives a mixer one sound of a concept.

Recordings of one group share an origin, and so do groups that hold copies of one sound, in whichever folder:
an origin is either learnt from or held out. Left out: drawing by similarity of timbre.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.sounds.catalogue import Catalogue, LibraryError, open_catalogue
from edgefoley.train.sounds.cuts import CUT_KINDS, RULE_OF_KIND, Cut, event_wave
from edgefoley.train.sounds.events import Wave
from edgefoley.train.sounds.loops import loop_wave
from edgefoley.train.sounds.recordings import Pool, Recording
from edgefoley.train.words.concepts import Concept, load_concepts

LONG_LOOP = 4 * SAMPLE_RATE  # samples: loops of this length or longer are drawn alike
SYNTHETIC_RANK = 1  # synthesised sounds of a concept weigh as much as its second label
CLOSENESS = 0.18  # how near a drawn cut's intensity comes to the strength asked for


def labels_of(concept: Concept) -> tuple[str, ...]:
    """The labels whose recordings sound like the concept, its synthesised ones among them."""
    return (*concept.labels, f"synthetic {concept.id}")


@dataclass(frozen=True, slots=True)
class Take:
    """What `SoundLibrary.draw` gives: one cut of one recording, drawn for the concept with id ``concept``."""

    recording: Recording
    cut: Cut
    concept: str


@dataclass(frozen=True)
class _Choice:
    """Takes of one concept and kind with their weights (sum 1) and intensities."""

    takes: tuple[Take, ...]
    weights: npt.NDArray[np.float64]
    intensities: npt.NDArray[np.float64]


class SoundLibrary:
    """Recordings cut into events and loops, by concept.

    ``pool``: all recordings that are used (no doubles), for whatever needs plain sound. ``concepts``: the
    concepts that have any sound, by id. ``dropped``: (path of the double, path of what was kept).
    """

    def __init__(self, catalogue: Catalogue, concepts: Sequence[Concept]) -> None:
        self.pool: Pool = catalogue.pool
        self.dropped = catalogue.dropped
        self.folders = catalogue.folders
        self._cuts = catalogue.cuts
        self._by_label: dict[str, list[int]] = {}
        for index, recording in enumerate(self.pool.recordings):
            self._by_label.setdefault(recording.label, []).append(index)
        self.concepts: dict[str, Concept] = {
            c.id: c for c in concepts if any(label in self._by_label for label in labels_of(c))
        }
        self._choices: dict[tuple[str, str, bool], _Choice] = {}

    @classmethod
    def build(
        cls,
        folders: Sequence[Path],
        cache: Path,
        concepts: Sequence[Concept] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> SoundLibrary:
        """The library of ``folders``, made below ``cache`` or opened again from there.

        ``concepts``: default ``load_concepts()``. ``say`` hears of progress. Raises LibraryError for a folder
        without a manifest or a file that cannot be decoded.
        """
        table = tuple(load_concepts() if concepts is None else concepts)
        rules: dict[str, set[str]] = {}
        for concept in table:
            for label in labels_of(concept):
                rules.setdefault(label, set()).add(RULE_OF_KIND[concept.kind])
        frozen: Mapping[str, tuple[str, ...]] = {label: tuple(sorted(r)) for label, r in rules.items()}
        return cls(open_catalogue(folders, cache, frozen, say or (lambda _: None)), table)

    def cuts(self, recording: int, kind: str, rule: str = "") -> tuple[Cut, ...]:
        """Cuts of the recording with this index in ``pool.recordings``; ``rule`` (``cuts.RULES``) for
        events."""
        return self._cuts.get((recording, rule if kind == "event" else kind), ())

    def members(self, concept_id: str, held_out: bool = False) -> list[int]:
        """Indices of the recordings of a concept. All of them where the asked side of the split has none: a
        concept without sound could not be learnt, nor heard in an evaluation."""
        found = [i for label in labels_of(self._concept(concept_id)) for i in self._by_label.get(label, [])]
        return [i for i in found if self.pool.recordings[i].held_out == held_out] or found

    def recorded(self, concept_id: str) -> bool:
        """Whether the concept has a recording of anything real, not synthesised sounds alone."""
        return any(label in self._by_label for label in self._concept(concept_id).labels)

    def has(self, concept_id: str, kind: str = "event", held_out: bool = False) -> bool:
        """Whether `draw` would give a cut of exactly this kind and side of the split."""
        concept = self._concept(concept_id)
        return any(
            self.pool.recordings[i].held_out == held_out and self.cuts(i, kind, RULE_OF_KIND[concept.kind])
            for i in self.members(concept_id, held_out)
        )

    def draw(
        self,
        concept_id: str,
        rng: np.random.Generator,
        kind: str = "event",
        strength: float | None = None,
        held_out: bool = False,
    ) -> Take:
        """One sound of a concept: a single event, a loop, or the whole recording.

        ``strength`` (0..1): prefer cuts of about that intensity. Where a concept has no cut of the kind, the
        whole recording is drawn (``take.cut.kind`` tells). The first labels of a concept weigh most, and many
        takes of one label or recording do not drown the others. Raises ValueError for an unknown kind or
        concept.
        """
        choice = self._choice(concept_id, kind, held_out)
        return choice.takes[_pick(choice, rng, strength)]

    def draw_like(self, take: Take, rng: np.random.Generator, strength: float | None = None) -> Take:
        """Another cut of the same source: the same recording, or its label and group; the take itself where
        there is no other. For a row of steps that one foot makes."""
        mine = take.recording
        rule = RULE_OF_KIND[self._concept(take.concept).kind]
        takes = tuple(
            Take(self.pool.recordings[i], cut, take.concept)
            for i in self._by_label[mine.label]
            if self.pool.recordings[i].group == mine.group
            for cut in self.cuts(i, take.cut.kind, rule)
        )
        if not takes:
            return take
        return takes[_pick(_choice_of(takes, np.ones(len(takes))), rng, strength)]

    def wave(self, take: Take) -> Wave:
        """Samples of a take at 48 kHz, full scale 1.0: an event or whole with faded ends, its onset at
        ``take.cut.onset``; a loop ready to be repeated end to end."""
        part = self.pool.wave(take.recording, take.cut.start, take.cut.stop)
        return loop_wave(part) if take.cut.kind == "loop" else event_wave(part, take.cut.onset)

    @cached_property
    def labels_without_concept(self) -> dict[str, float]:
        """Labels that no concept uses, with their seconds of sound."""
        used = {label for c in self.concepts.values() for label in labels_of(c)}
        return {
            label: sum(self.pool.recordings[i].length for i in members) / SAMPLE_RATE
            for label, members in sorted(self._by_label.items())
            if label not in used
        }

    def _concept(self, concept_id: str) -> Concept:
        if concept_id not in self.concepts:
            raise LibraryError(
                f"no concept {concept_id!r} with sound; known: {', '.join(sorted(self.concepts))}"
            )
        return self.concepts[concept_id]

    def _choice(self, concept_id: str, kind: str, held_out: bool) -> _Choice:
        if kind not in CUT_KINDS:
            raise LibraryError(f"unknown kind of cut {kind!r}; known: {', '.join(CUT_KINDS)}")
        key = (concept_id, kind, held_out)
        if key not in self._choices:
            concept = self._concept(concept_id)
            members = self.members(concept_id, held_out)
            rule = RULE_OF_KIND[concept.kind]
            usable = [i for i in members if self.cuts(i, kind, rule)]
            actual = kind if usable else "whole"
            usable = usable or [i for i in members if self.cuts(i, "whole")]
            if not usable:
                raise LibraryError(f"every recording of {concept_id!r} is silent")
            self._choices[key] = self._weighted(concept, usable, actual, rule)
        return self._choices[key]

    def _weighted(self, concept: Concept, usable: Sequence[int], kind: str, rule: str) -> _Choice:
        labels = [self.pool.recordings[i].label for i in usable]
        ranks = {label: k for k, label in enumerate(concept.labels)}
        rank = {label: 1 / (1 + 0.5 * ranks.get(label, SYNTHETIC_RANK)) for label in labels_of(concept)}
        takes, weights = [], []
        for i, label in zip(usable, labels, strict=True):
            cuts = self.cuts(i, kind, rule)
            for cut in cuts:
                takes.append(Take(self.pool.recordings[i], cut, concept.id))
                weight = rank[label] / labels.count(label) ** 0.7 / len(cuts)
                if kind == "loop":  # a short loop is soon noticed
                    weight *= min(cut.stop - cut.start, LONG_LOOP) / LONG_LOOP
                weights.append(weight)
        return _choice_of(tuple(takes), np.array(weights))


def _choice_of(takes: tuple[Take, ...], weights: npt.NDArray[np.float64]) -> _Choice:
    return _Choice(takes, weights / weights.sum(), np.array([t.cut.intensity for t in takes]))


def _pick(choice: _Choice, rng: np.random.Generator, strength: float | None) -> int:
    weights = choice.weights
    if strength is not None:
        distance = (choice.intensities - np.clip(strength, 0.0, 1.0)) / CLOSENESS
        weights = weights * (np.exp(-0.5 * np.square(distance)) + 0.01)
        weights = weights / weights.sum()
    return int(rng.choice(len(weights), p=weights))
