"""Do a generator's controls do what they say? Figures on sets of sounds: what is broken, how takes of one
prompt differ, how often a tagger hears what nobody asked for, what a change moves. Pure functions, NumPy
only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgefoley.loudness import loudness_lufs
from edgefoley.metrics.artefacts import clipped_runs, pops
from edgefoley.types import Audio

SILENT_LUFS = -60.0
FLOOR = -120.0  # LUFS or dBFS that stand for digital silence

Distance = Callable[[NDArray[np.float32], NDArray[np.float32]], float]


@dataclass(frozen=True)
class Faults:
    """What is broken in one sound: no sound at all, values that are not finite, ``clipped`` flat tops and
    ``pops`` (counts, see ``artefacts``). Impacts begin like pops, so only steady sounds should have none."""

    silent: bool
    not_finite: bool
    clipped: int
    pops: int

    @property
    def broken(self) -> bool:
        """Anything but pops."""
        return self.silent or self.not_finite or self.clipped > 0


def faults(made: ArrayLike, heard: ArrayLike, rate: int = 48_000) -> Faults:
    """Faults of a sound: ``made`` (T,) by the model, whose level tells silence (below ``SILENT_LUFS``), and
    ``heard`` (T,) with its loudness set, in which clipping and pops are looked for. Full scale is 1."""
    raw, wave = np.asarray(made, np.float64), np.asarray(heard, np.float64)
    if not (np.isfinite(raw).all() and np.isfinite(wave).all()):
        return Faults(False, True, 0, 0)
    return Faults(lufs(raw, rate) < SILENT_LUFS, False, len(clipped_runs(wave)), len(pops(wave, rate)))


def lufs(wave: ArrayLike, rate: int = 48_000) -> float:
    """Integrated loudness of a finite wave (T,) in LUFS, not below ``FLOOR``. A sound whose every block is
    below the meter's own gate (-70 LUFS) has ``FLOOR``."""
    return max(FLOOR, loudness_lufs(Audio(np.asarray(wave, np.float32), rate)))


def rms_dbfs(wave: ArrayLike) -> float:
    """Root mean square of a wave (T,) in dB re full scale, not below ``FLOOR``: unlike loudness it has no
    gate, so it tells how deep a silence is."""
    power = float(np.square(np.asarray(wave, np.float64)).mean()) if np.size(wave) else 0.0
    return max(FLOOR, 10 * math.log10(power)) if power > 0 else FLOOR


def take_distances(
    takes: Sequence[Sequence[NDArray[np.float32]]], distance: Distance
) -> tuple[list[float], list[float]]:
    """``takes[prompt][seed]``, all of one length -> for every prompt the mean ``distance`` between its own
    takes, and between its takes and those of every other prompt.

    Two takes are compared only where their seeds differ, since equal seeds begin with equal noise. Raises
    ValueError for fewer than two prompts or two seeds.
    """
    count = min((len(group) for group in takes), default=0)
    if len(takes) < 2 or count < 2 or any(len(group) != count for group in takes):
        raise ValueError("two prompts or more with the same two seeds or more are needed")
    within, between = [], []
    for i, group in enumerate(takes):
        within.append(np.mean([distance(group[a], group[b]) for a in range(count) for b in range(a)]))
        others = [other for j, other in enumerate(takes) if j != i]
        between.append(
            np.mean([distance(group[k], other[(k + 1) % count]) for other in others for k in range(count)])
        )
    return [float(x) for x in within], [float(x) for x in between]


def relative_change(changed: ArrayLike, before: ArrayLike) -> float:
    """Norm of the difference over the norm of ``before``; arrays of one shape, ``before`` not all 0."""
    a, b = np.asarray(changed, np.float64), np.asarray(before, np.float64)
    if a.shape != b.shape or not np.any(b):
        raise ValueError(f"two arrays of one shape are wanted, not all 0, got {a.shape} and {b.shape}")
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def heard(scores: ArrayLike, labels: Sequence[str], wanted: Sequence[str], top: int = 5) -> list[bool]:
    """For each sound whether one of the labels ``wanted`` is among its ``top`` strongest. ``scores`` (sounds,
    labels). Raises ValueError for a label that does not exist."""
    rows = np.asarray(scores, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(labels):
        raise ValueError(f"scores (sounds, {len(labels)}) are wanted, got shape {rows.shape}")
    if missing := sorted(set(wanted) - set(labels)):
        raise ValueError(f"there is no label {missing[0]!r}")
    places = [labels.index(name) for name in wanted]
    best = np.argsort(-rows, axis=1, kind="stable")[:, :top]
    return [bool(np.isin(places, row).any()) for row in best]


def likeness(embedding: ArrayLike, references: ArrayLike, centre: ArrayLike) -> float:
    """Cosine -1 … 1 of an ``embedding`` (D,) to the nearest of ``references`` (n, D), after the ``centre``
    (D,) of many sounds is taken off: embedders of sounds put all of them on one side of the origin."""
    middle = np.asarray(centre, np.float64)
    a, rows = np.asarray(embedding, np.float64) - middle, np.asarray(references, np.float64) - middle
    norms = np.linalg.norm(rows, axis=-1) * np.linalg.norm(a)
    return float((rows @ a / np.maximum(norms, 1e-12)).max())
