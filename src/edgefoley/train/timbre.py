"""The timbre of a sound from its latents, and which lessons are examples of a concept.

What is measured must not tell *when* things happen: means over the loudest to the quietest frames, how they
fluctuate, and the course of one event, averaged over those of the lesson.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file

from edgefoley.models.timbre import COURSE, Timbre
from edgefoley.train.school.lessons import Lesson

Array = npt.NDArray[np.float32]

LATENT_RATE = 50
SHARES = (0.0, 0.1, 0.35, 0.7, 1.0)  # bounds of the groups of frames, from the loudest to the quietest
LOUD = 0.35  # share of the frames whose fluctuation is measured
EVENTS = 16  # of a lesson, the strongest ones


def timbre(latents: Array, hits: Sequence[tuple[float, float]], loudness: float) -> Array:
    """Raw statistics (R,) of ``latents`` (D, L). ``hits``: (time s, strength) of its events, none for a
    continuous sound, whose course is its mean; ``loudness``: sign with which the first channel is loudness.
    """
    x = latents.astype(np.float32)
    count = x.shape[1]
    order = np.argsort(-loudness * x[0], kind="stable")
    bounds = [round(share * count) for share in SHARES]
    levels = [x[:, order[a : max(b, a + 1)]].mean(1) for a, b in pairwise(bounds)]
    loud = order[: max(2, round(LOUD * count))]
    change = x[:, np.minimum(loud + 1, count - 1)] - x[:, loud]
    strongest = sorted(hits, key=lambda hit: -hit[1])[:EVENTS]
    at = np.array([int(time * LATENT_RATE + 1e-6) for time, _ in strongest], dtype=np.int64)
    at = at[at < count]
    if len(at):
        course = [x[:, np.minimum(at + after, count - 1)].mean(1) for after in COURSE]
    else:
        course = [x[:, loud].mean(1)] * len(COURSE)
    spread = [x[:, loud].std(1), np.sqrt(np.square(change).mean(1))]
    return np.concatenate([*levels, *spread, *course, [float(len(at) > 0)]]).astype(np.float32)


def is_example(lesson: Lesson) -> bool:
    """Whether nothing but one source is heard in the lesson."""
    return len(lesson.voices) == 1 and not lesson.silent


def fit(module: Timbre, rows: Array) -> float:
    """Set ``module``'s whitening from raw statistics (n, R); the share of the variance that it keeps.

    Each statistic counts by its own standard deviation, so that the flag weighs as much as a channel.
    """
    mean, deviation = rows.mean(0), rows.std(0) + 1e-3
    scaled = ((rows - mean) / deviation).astype(np.float64)
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(rows))
    kept = module.basis.shape[0]
    values, vectors = values[::-1], vectors[:, ::-1]
    basis = vectors[:, :kept].T / np.sqrt(values[:kept, None] + 1e-6) / deviation
    module.mean.copy_(torch.from_numpy(mean))
    module.basis.copy_(torch.from_numpy(basis.astype(np.float32)))
    return float(values[:kept].sum() / values.sum())


def loudness_sign(codec: Path) -> float:
    """With which sign the first latent is loudness: it is the first component, and an eigenvector's sign is
    arbitrary."""
    return 1.0 if load_file(codec / "codec.safetensors")["encoder.synthesis"][0].sum() > 0 else -1.0


def lesson_shards(school: Path, last: bool) -> list[Path]:
    """The shards of latents that train, or (``last``) the last one, which validates. Raises SystemExit where
    there are not both."""
    paths = sorted(school.glob("latents_*.npy"))
    if len(paths) < 2:
        raise SystemExit(f"fewer than two shards of latents in {school}: run edgefoley train make-data first")
    return paths[-1:] if last else paths[:-1]


def read_lessons(shard: Path) -> list[Lesson]:
    """The lessons whose latents are the file ``shard``."""
    path = shard.with_name(shard.name.replace("latents", "lessons")).with_suffix(".json")
    rows = json.loads(path.read_text())
    return [Lesson.from_json({k: v for k, v in row.items() if k != "captions"}) for row in rows]


class Example(NamedTuple):
    """``place``: which lesson, "shard:row"; ``raw`` (R,): its timbre."""

    place: str
    raw: Array


def examples_in(shards: Sequence[Path], loudness: float) -> dict[str, list[Example]]:
    """Concept -> the lessons that are examples of it."""
    found: dict[str, list[Example]] = {}
    for shard in shards:
        latents = np.load(shard, mmap_mode="r")
        for number, (row, lesson) in enumerate(zip(latents, read_lessons(shard), strict=True)):
            if is_example(lesson):
                voice = lesson.voices[0]
                made = Example(f"{shard.stem}:{number}", timbre(row, voice.hits, loudness))
                found.setdefault(voice.concept, []).append(made)
    return found
