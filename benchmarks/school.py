"""Figures of the training data: python benchmarks/school.py --sounds FOLDER [FOLDER ...] [--lessons 1500]

1. Onsets: in sparse lessons (one source of single events, at most 12, 0.4 s or more apart), how many have
   an onset within 20 ms, found by edgefoley.train.sounds.onsets (what generated sound is judged by, too;
   its known bias, EARLY_S, is taken out). Times are those of the truth, not of the mix.
2. Contacts: instants of a dropped ball against sqrt(2 h / g), in frames of the film.
3. Speed: finished films, plans and lessons per hour of one core, by process time.
4. Sound: hours of distinct sound per licence.

Prints one table and one last line of JSON, and writes benchmarks/results/school.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgefoley.train.scenes.film import RENDERER_VERSION, film, plan
from edgefoley.train.school.lessons import Composer
from edgefoley.train.school.rooms import RoomBank
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.sounds.onsets import EARLY_S, onset_times, to_16k
from edgefoley.train.sounds.report import hours_by

WITHIN_S = 0.020
SPARSE_GAP_S, SPARSE_EVENTS = 0.4, 12
FIRST = 1_000_000  # seeds of these lessons: none is trained on


def onsets(composer: Composer, count: int) -> dict[str, Any]:
    """Shares of events and of sparse lessons whose onsets are where the truth says."""
    events, heard, lessons, whole = 0, 0, 0, 0
    by_kind: dict[str, list[int]] = {}
    lags: list[float] = []
    for seed in range(FIRST, FIRST + count):
        wave, lesson = composer.compose(seed)
        if len(lesson.voices) != 1 or lesson.voices[0].looped or not lesson.voices[0].hits:
            continue
        times = np.array([t for t, _ in lesson.voices[0].hits])
        if len(times) > SPARSE_EVENTS or (len(times) > 1 and np.diff(times).min() < SPARSE_GAP_S):
            continue
        kind = composer.library.concepts[lesson.voices[0].concept].kind
        if kind == "texture":  # a stretch of rattling has onsets of its own
            continue
        if lesson.film_seed is None and lesson.voices[0].hits[0][1] == 0.6:  # as recorded: no times of ours
            continue
        found = onset_times(to_16k(wave)) + EARLY_S
        nearest = np.array([np.abs(found - t).min() if len(found) else 9.0 for t in times])
        hit = nearest <= WITHIN_S + 1e-9
        row = by_kind.setdefault(kind, [0, 0])
        row[0] += int(hit.sum())
        row[1] += len(times)
        lags += [float(found[np.abs(found - t).argmin()] - t) for t, ok in zip(times, hit, strict=True) if ok]
        events, heard = events + len(times), heard + int(hit.sum())
        lessons, whole = lessons + 1, whole + bool(hit.all())
    return {
        "events": events,
        "events_within_20_ms": heard / max(1, events),
        "sparse_lessons": lessons,
        "lessons_with_every_event_within_20_ms": whole / max(1, lessons),
        "mean_lag_ms": 1000 * float(np.mean(lags)),
        "by_kind": {kind: {"share": a / b, "events": b} for kind, (a, b) in sorted(by_kind.items())},
    }


def contacts() -> dict[str, float]:
    """Error of a dropped ball's first contact against the closed form, for several heights."""
    from edgefoley.train.scenes.bodies.figures import ball
    from edgefoley.train.scenes.bodies.impacts import impacts
    from edgefoley.train.scenes.bodies.things import make
    from edgefoley.train.scenes.bodies.tracks import still
    from edgefoley.train.scenes.bodies.world import GRAVITY, STEP_RATE, Grip, World

    errors, release, radius = [], 0.2, 0.05
    for height in (0.2, 0.5, 1.0, 1.7):
        world, place = World("concrete", bounce=1.0), (0.0, 0.0, radius + height)
        item = make("ball", "rubber", ball(radius), "sphere")
        world.put(item, still(place), grips=(Grip(-1.0, release, place),), bounce=0.7)
        landed = impacts(world.run(2.0), 5.0, lambda a, b: 0)[0].time_s
        errors.append(abs(landed - release - (2 * height / GRAVITY) ** 0.5))
    return {"worst_error_ms": 1000 * max(errors), "step_ms": 1000 / STEP_RATE}


def speed(composer: Composer, count: int) -> dict[str, float]:
    """Finished 112-pixel frames per second, films of 5 s, plans and lessons of 10 s per hour; one core."""
    cv2.setNumThreads(1)
    frames: dict[str, list[float]] = {"flat": [0, 1e-9], "bodies": [0, 1e-9]}
    for seed in range(FIRST, FIRST + count):
        begin = time.process_time()
        drawn = film(seed, 5.0)
        row = frames["bodies" if "bodies" in drawn.look["engine"] else "flat"]
        row[0] += len(drawn.frames)
        row[1] += time.process_time() - begin
    begin = time.process_time()
    for seed in range(FIRST, FIRST + count):
        plan(seed, 10.0)
    planned = time.process_time() - begin
    begin = time.process_time()
    for seed in range(FIRST, FIRST + count):
        composer.compose(seed)
    composed = time.process_time() - begin
    seconds = sum(row[1] for row in frames.values())
    return {
        **{f"frames_per_s_{name}": row[0] / row[1] for name, row in frames.items()},
        "frames_per_s": sum(row[0] for row in frames.values()) / seconds,
        "films_per_hour": 3600 * count / seconds,
        "plans_per_hour": 3600 * count / planned,
        "lessons_per_hour": 3600 * count / composed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=Path, nargs="+", required=True, help="folders with a manifest.tsv")
    parser.add_argument("--cache", type=Path, default=Path("runs"), help="holds library and rooms")
    parser.add_argument("--lessons", type=int, default=1500)
    parser.add_argument("--films", type=int, default=60)
    args = parser.parse_args()
    library = SoundLibrary.build(args.sounds, args.cache / "library", say=print)
    composer = Composer(library, RoomBank.open(args.cache / "rooms_90.npz", 90))
    result = {
        "card": {"python": platform.python_version(), "numpy": np.__version__, "renderer": RENDERER_VERSION},
        "onsets": onsets(composer, args.lessons),
        "contacts": contacts(),
        "speed": speed(composer, args.films),
        "hours_by_licence": {k: round(v[1], 3) for k, v in hours_by(library, "licence").items()},
        "recordings": len(library.pool.recordings),
        "doubles_dropped": len(library.dropped),
    }
    Path("benchmarks/results/school.json").write_text(json.dumps(result, indent=1) + "\n")
    for part in ("onsets", "contacts", "speed", "hours_by_licence"):
        for name, value in result[part].items():
            print(f"{part:18s} {name:42s} {value if isinstance(value, dict) else round(value, 4)}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
