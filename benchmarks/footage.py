"""Real clips for benchmarks/events.py: small pictures, onsets of the true sound, the baseline's events.

Nothing of a clip is kept but in the cache folder, which lies outside the project.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from evaluate import SCORED

from edgefoley import media
from edgefoley.metrics.event_scores import lags
from edgefoley.metrics.onsets import Times, classical_onsets
from edgefoley.types import FrameView, View

EVERY = Fraction(60)  # grid on which no source frame is lost, for the baseline
STICKS = "The Greatest Hits dataset"  # begins the manifest's content_origin


@dataclass(frozen=True)
class Footage:
    """One real clip: ``seconds`` of pictures, its frames on the sync grid, the baseline's events, and the
    true onsets of the part that is scored."""

    name: str
    sticks: bool
    frame_rate: float
    seconds: float
    view: FrameView
    classical: Times
    true: Times

    @property
    def scored(self) -> float:
        return min(SCORED, self.seconds)


class Footages:
    """Reads clips at one view, with a cache of small pictures in ``cache``."""

    def __init__(self, shared: Path, cache: Path, view: View, threads: int | None) -> None:
        self.clips, self.cache, self.view, self.threads = shared / "data" / "clips", cache, view, threads
        path = shared / "eval" / "score.py"
        self.ruler, self.ruler_bytes = load_ruler(path), path.read_bytes()
        with (self.clips / "manifest.tsv").open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file, delimiter="\t"))

    def choose(self, wanted: Callable[[dict[str, str]], bool], limit: int | None) -> list[Footage]:
        found = []
        for row in [row for row in self.rows if wanted(row)][:limit]:
            found.append(self.read(row))
            print(f"\r{len(found)} clips read", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return found

    def read(self, row: dict[str, str]) -> Footage:
        path = self.clips / row["name"]
        facts = (row["name"], path.stat().st_size, path.stat().st_mtime_ns, str(self.view), self.ruler_bytes)
        kept = self.cache / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:24]}.npz"
        if not kept.exists():
            self._decode(path, kept)
        with np.load(kept) as data:
            view, seconds = FrameView(data["frames"], data["ages"]), float(data["seconds"])
            plain = classical_onsets(data["every"], data["timestamps"])
            true = data["true"]
        sticks = row["content_origin"].startswith(STICKS)
        return Footage(row["name"], sticks, float(row["fps"]), seconds, view, plain, true)

    def _decode(self, path: Path, kept: Path) -> None:
        every = View(EVERY, self.view.size, self.view.pixel, "at_or_before")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", media.MediaWarning)  # damaged frames are held, as for a user
            clip = media.read_clip(path, {"sync": self.view, "every": every}, threads=self.threads)
        grid, dense = clip.views["sync"], clip.views["every"]
        stamps = np.round(np.arange(len(dense.ages)) / float(EVERY) - dense.ages, 5)
        stamps, first = np.unique(stamps, return_index=True)
        seconds = float(clip.duration)
        sound = self.ruler.load_mono(path)
        rate = self.ruler.RATE
        true = self.ruler.onsets(sound[: max(int(min(SCORED, seconds) * rate), rate)])  # as score.py cuts it
        self.cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(
            part, frames=grid.frames, ages=grid.ages, every=dense.frames[first], timestamps=stamps, true=true,
            seconds=seconds,
        )  # fmt: skip
        os.replace(part, kept)


def load_ruler(path: Path) -> ModuleType:
    """score.py of the evaluation folder as a module."""
    spec = importlib.util.spec_from_file_location("ruler", path)
    if spec is None or spec.loader is None:
        sys.exit(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ruler_offset(ruler: ModuleType) -> dict[str, float]:
    """Mean of (time that the ruler gives) minus (time at which it began), ms, for bursts of noise that begin
    at once and fade with 30 to 300 ms, 54 each."""
    rng, found = np.random.default_rng(0), {}
    for fade in (0.03, 0.1, 0.3):
        errors: list[float] = []
        for _ in range(3):
            sound = rng.normal(0, 1e-3, int(SCORED * ruler.RATE))
            starts = np.arange(0.5, 7.5, 0.4) + rng.uniform(0, 0.1, 18)
            for start in starts:
                after = np.arange(len(sound) - round(start * ruler.RATE)) / ruler.RATE
                sound[-len(after) :] += 0.2 * rng.normal(0, 1, len(after)) * np.exp(-after / fade)
            errors += lags(ruler.onsets(sound.astype(np.float32)), starts, 0.05).tolist()
        found[f"fade_{1000 * fade:.0f}"] = round(1000 * float(np.mean(errors)), 1)
    found["mean"] = round(float(np.mean(list(found.values()))), 1)
    return found
