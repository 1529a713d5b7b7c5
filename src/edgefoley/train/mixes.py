"""Compose training sound: recordings placed at the events of rendered scenes, loops under them, captions'
concepts.

``python -m edgefoley.train.mixes --data ../shared/data/sfx --out runs/mixes --shards 60``

Each mix is ten seconds: two scenes' events, one after the other, or no picture at all. Written as shards of
int16 sound and JSON, whole or not at all; every shard is a pure function of its number.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.scenes.flat import scene_events
from edgefoley.train.sounds.events import Wave, fade, loop_to, resample_speed, room, single_events
from edgefoley.train.sounds.recordings import Pool, Recording, load_pool
from edgefoley.train.words.concepts import Concept, load_concepts

SECONDS = 10
SAMPLES = SECONDS * SAMPLE_RATE
FIRST_SEED = 2_000_000  # scenes whose pictures no encoder has seen
GAP_S = {"impact": 0.06, "step": 0.06, "burst": 0.12, "vocal": 0.12, "texture": 1.0}


@dataclass(frozen=True)
class Mix:
    """What a mix is about: ``concepts`` ids (first the main one; later ones are heard too), ``scenes`` seeds
    (empty: no picture) with their ``events`` (time s, strength) and ``activity`` (50 Hz), ``silent``: nothing
    happens or sounds."""

    concepts: tuple[str, ...]
    scenes: tuple[int, ...]
    events: tuple[tuple[float, float], ...] = ()
    activity: tuple[float, ...] = ()
    silent: bool = False


class Library:
    """Recordings by concept, cut into events on demand. A concept whose recordings are all held out uses them
    all the same: a concept without sound could not be learnt."""

    def __init__(self, pool: Pool, held_out: bool = False) -> None:
        self.pool = pool
        by_label: dict[str, list[Recording]] = {}
        for recording in pool.recordings:
            if recording.length > 960:
                by_label.setdefault(recording.label, []).append(recording)
        self.concepts: dict[str, Concept] = {}
        self.recordings: dict[str, list[Recording]] = {}
        self.weights: dict[str, np.ndarray] = {}
        for concept in load_concepts():
            found = [r for label in concept.labels for r in by_label.get(label, [])]
            chosen = [r for r in found if r.held_out == held_out] or found
            if chosen:
                self.concepts[concept.id] = concept
                self.recordings[concept.id] = chosen
                # The first labels fit best; many takes of one label do not drown the others.
                counts = {label: sum(r.label == label for r in chosen) for label in concept.labels}
                rank = {label: 1 / (1 + 0.5 * i) for i, label in enumerate(concept.labels)}
                weight = np.array([rank[r.label] / counts[r.label] ** 0.7 for r in chosen])
                self.weights[concept.id] = weight / weight.sum()
        self._events: dict[tuple[str, str], list[tuple[int, int]]] = {}

    def draw(self, concept: str, rng: np.random.Generator) -> Recording:
        return self.recordings[concept][int(rng.choice(len(self.weights[concept]), p=self.weights[concept]))]

    def events(self, recording: Recording, kind: str) -> list[tuple[int, int]]:
        key = (recording.path, kind)
        if key not in self._events:
            wave = self.pool.wave(recording)
            self._events[key] = single_events(wave, GAP_S[kind]) or [(0, recording.length)]
        return self._events[key]


def place_events(
    library: Library, concept: Concept, times: list[tuple[float, float]], rng: np.random.Generator
) -> Wave:
    """One event of one or two recordings at each (time, strength): one source keeps its timbre over a
    scene."""
    out = np.zeros(SAMPLES, dtype=np.float32)
    sources = [library.draw(concept.id, rng) for _ in range(int(rng.integers(1, 3)))]
    same = [r for r in library.recordings[concept.id] if r.label == sources[0].label]
    sources += [same[int(rng.integers(len(same)))] for _ in range(4)]
    speed = float(rng.uniform(0.92, 1.08))
    for index, (time, strength) in enumerate(times):
        source = sources[int(rng.integers(len(sources)))] if rng.random() < 0.5 else sources[0]
        events = library.events(source, concept.kind)
        start, stop = events[int(rng.integers(len(events)))]
        wave = resample_speed(library.pool.wave(source, start, stop), speed * float(rng.uniform(0.98, 1.02)))
        peak = float(np.abs(wave).max()) if len(wave) else 0.0
        if peak <= 0:
            continue
        if index + 1 < len(times) and concept.kind in (
            "vocal",
            "burst",
        ):  # a voice stops before its next call
            room_left = int((times[index + 1][0] - time) * SAMPLE_RATE)
            wave = wave[: max(2400, room_left)]
        wave = fade(wave, 48, min(2400, len(wave) // 3)) * np.float32(0.5 / peak * (0.35 + 0.65 * strength))
        begin = max(0, round(time * SAMPLE_RATE) - 144)
        wave = wave[: SAMPLES - begin]
        out[begin : begin + len(wave)] += wave
    return out


def texture(library: Library, concept: Concept, rng: np.random.Generator, activity: Wave | None) -> Wave:
    """A continuous sound of the concept; ``activity`` (50 Hz, 0..1) sets its loudness where the picture shows
    it."""
    recording = library.draw(concept.id, rng)
    longest = SAMPLES + SAMPLES // 8
    begin = int(rng.integers(0, max(1, recording.length - longest)))
    wave = library.pool.wave(recording, begin, begin + longest)
    wave = loop_to(resample_speed(wave, float(rng.uniform(0.94, 1.06))), SAMPLES, rng)
    wave = wave / (np.sqrt(np.square(wave).mean()) + 1e-4) * 0.08
    if activity is not None and activity.max() > 0.05:
        at = np.arange(SAMPLES) * (50 / SAMPLE_RATE)
        wave = wave * np.interp(at, np.arange(len(activity)), 0.15 + 0.85 * activity)
    return fade(wave.astype(np.float32), 480, 480)


def natural_times(rng: np.random.Generator, kind: str) -> list[tuple[float, float]]:
    """Event times without a picture: from a single one to a steady walk."""
    if kind == "step" or (kind == "impact" and rng.random() < 0.5):
        period = float(rng.uniform(0.18, 0.9))
        times = np.arange(rng.uniform(0.05, 1.0), SECONDS, period)
        times = times + rng.uniform(-0.08, 0.08, len(times)) * period
    else:
        times = np.sort(rng.uniform(0.05, SECONDS - 0.5, int(rng.integers(1, 7))))
    level = float(rng.uniform(0.4, 1.0))
    return [
        (float(t), float(np.clip(level + rng.normal(0, 0.15), 0.1, 1)))
        for t in times
        if 0 <= t < SECONDS - 0.05
    ]


def compose(library: Library, rng: np.random.Generator) -> tuple[Wave, Mix]:
    """Draw one mix."""
    names = list(library.concepts)
    main = library.concepts[names[int(rng.integers(len(names)))]]
    textures = [c for c in library.concepts.values() if c.kind == "texture"]
    other = textures[int(rng.integers(len(textures)))]
    picked: tuple[int, ...] = ()
    activity, times = None, natural_times(rng, main.kind)
    if rng.random() < 0.68:
        picked = tuple(int(seed) for seed in rng.integers(FIRST_SEED, 2**31, 2))
        parts = [scene_events(seed, SECONDS / 2) for seed in picked]
        activity = np.concatenate([a for _, a in parts])
        times = [
            (k * SECONDS / 2 + e.time_s, e.strength) for k, (events, _) in enumerate(parts) for e in events
        ]
    silent = False
    if main.kind == "texture":
        wave = texture(library, main, rng, activity)
    elif picked or rng.random() < 0.6:
        wave = place_events(library, main, times, rng)
        silent = not times
    else:  # the recording as it is
        source = library.pool.wave(library.draw(main.id, rng), 0, SAMPLES)
        wave = np.zeros(SAMPLES, dtype=np.float32)
        begin = int(rng.integers(0, max(1, min(SAMPLE_RATE * 2, SAMPLES - len(source) + 1))))
        part = source[: SAMPLES - begin]
        wave[begin : begin + len(part)] = fade(part, 96, min(4800, len(part) // 4)) * 0.5
    concepts: tuple[str, ...] = (main.id,)
    if not silent and rng.random() < 0.14 and other.id != main.id:
        bed = texture(library, other, rng, None)
        wave = wave + bed * np.float32(10 ** (-rng.uniform(0, 12) / 20))
        concepts = (main.id, other.id)
    elif not silent and rng.random() < 0.1:  # faint background that no caption mentions
        wave = wave + texture(library, other, rng, None) * np.float32(10 ** (-rng.uniform(18, 32) / 20))
    if rng.random() < 0.2:
        wave = room(wave, rng)
    peak = float(np.abs(wave).max())
    if peak > 0:
        # Loud enough to fill the latents, never clipped; the runtime sets the loudness.
        rms = float(np.sqrt(np.square(wave).mean()))
        wave = wave * min(0.95 / peak, 10 ** (-20 / 20) / (rms + 1e-6)) * float(rng.uniform(0.8, 1.0))
    seen = tuple((round(t, 4), round(s, 3)) for t, s in times) if picked else ()
    curve = () if activity is None else tuple(round(float(a), 2) for a in activity)
    return wave.astype(np.float32), Mix(concepts, picked, seen, curve, silent)


def write_shard(library: Library, folder: Path, number: int, count: int) -> None:
    """One shard, unless it is there already."""
    target = folder / f"mix_{number:04d}.json"
    if target.exists():
        return
    rng = np.random.default_rng([7, number])
    waves, mixes = [], []
    for _ in range(count):
        wave, mix = compose(library, rng)
        waves.append((wave * 32767).astype(np.int16))
        mixes.append(asdict(mix))
    sound = target.with_suffix(".npy")
    with (part := sound.with_suffix(".part")).open("wb") as file:
        np.save(file, np.stack(waves))
    os.replace(part, sound)
    (part := target.with_suffix(".json.part")).write_text(json.dumps(mixes))
    os.replace(part, target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/sfx"))
    parser.add_argument("--out", type=Path, default=Path("runs/mixes"))
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    parser.add_argument("--per-shard", type=int, default=64)
    args = parser.parse_args()
    library = Library(load_pool(args.data, args.out.parent / "recordings"))
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.shards):
        write_shard(library, args.out, number, args.per_shard)
        print(f"shard {number + 1} of {args.shards}", flush=True)


if __name__ == "__main__":
    main()
