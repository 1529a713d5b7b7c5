"""A pool of rendered films on disk: shards of JPEG frames (one file of bytes) and a JSON of all else.

A shard is written whole or not at all, so an interrupted render continues, and its bytes depend on its
arguments alone. `Pool.crop` cuts, resamples in time and lays a stretch on the sync grid in gray, decoding
only the frames that it needs; `Pool.pictures` gives them in colour.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edgefoley.train.files import whole, write_whole
from edgefoley.train.scenes import photos
from edgefoley.train.scenes.clock import grid_index
from edgefoley.train.scenes.film import QUIET, RENDERER_VERSION, film
from edgefoley.train.scenes.truth import ACTIVITY_RATE, Contact, Film, Source, Truth

SYNC_RATE, EVENT_RATE = 25, 50
QUALITY: Final = 90


@dataclass(frozen=True)
class Crop:
    """A stretch on the grid: gray frames (S, h, w) uint8, ages (S,) s, times (E,) s, strengths (E,) and
    places (E, 2) (x, y of the picture, 0..1) of the visible contacts, activity (2S,) of the loudest visible
    source, the film's action.
    """

    frames: NDArray[np.uint8]
    ages: NDArray[np.float32]
    times: NDArray[np.float64]
    strengths: NDArray[np.float64]
    places: NDArray[np.float64]
    activity: NDArray[np.float32]
    action: str


def encode(frames: NDArray[np.uint8]) -> list[bytes]:
    """Each picture of (F, h, w, 3) RGB as JPEG; a frame like the one before it as b""."""
    out: list[bytes] = []
    for i, frame in enumerate(frames):
        if i and np.array_equal(frame, frames[i - 1]):
            out.append(b"")
            continue
        coded = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        out.append(coded.tobytes())
    return out


def spans(coded: list[bytes], start: int) -> list[tuple[int, int]]:
    """Offset and length of each frame that ``encode`` gave, written one after the other from byte `start`; a
    repeated one lies where it was first."""
    at: list[tuple[int, int]] = []
    for data in coded:
        at.append((start, len(data)) if data else at[-1])
        start += len(data)
    return at


def _record(seed: int, drawn: Film, start: int, coded: list[bytes]) -> dict[str, Any]:
    """The JSON of one film whose frames start at byte `start`; `at` holds their spans."""
    contacts = [
        [c.time_s, c.strength, c.source, *c.place, c.distance_m, c.impulse_ns] for c in drawn.truth.contacts
    ]
    return {
        "seed": seed,
        "action": drawn.look["action"],
        "look": drawn.look,
        "timestamps": drawn.timestamps.tolist(),
        "at": spans(coded, start),
        "sources": [asdict(source) for source in drawn.truth.sources],
        "contacts": [[None if v != v else v for v in row] for row in contacts],  # JSON has no nan
        "activity": [np.round(row.astype(float), 3).tolist() for row in drawn.truth.activity],
    }


def render_shard(
    folder: Path, index: int, first_seed: int, count: int, seconds: float, size: int = 112
) -> None:
    """Render films first_seed .. first_seed + count - 1 into shard `index` unless it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    meta_path = folder / f"films_{index:04d}.json"
    made = {"renderer": RENDERER_VERSION, "photos": photos.opened_digest()}
    if meta_path.exists() and {"photos": None, **json.loads(meta_path.read_text())}.items() >= made.items():
        return
    frames_path = meta_path.with_suffix(".jpegs")
    records, position = [], 0
    with whole(frames_path) as part, part.open("wb") as file:
        for seed in range(first_seed, first_seed + count):
            drawn = film(seed, seconds, size=size)
            coded = encode(drawn.frames)
            records.append(_record(seed, drawn, position, coded))
            position += file.write(b"".join(coded))
    meta = {**made, "seconds": seconds, "size": size, "films": records}
    write_whole(meta_path, json.dumps(meta))


class Pool:
    """Every whole shard of a folder. `len` is the number of films; `films[i]` is the record of film i, with
    its seed, action, look, timestamps (F,), and the visible contacts' times, strengths (E,)
    and places (E, 2). Frames are
    read through a memory map. ``keep``: every gray frame is decoded once and kept (12.5 kB at 112 pixels).
    Raises FileNotFoundError for a folder without shards and ValueError for shards of another renderer, or of
    several lengths."""

    def __init__(self, folder: Path, keep: bool = False) -> None:
        self._kept: dict[tuple[int, int], NDArray[np.uint8]] | None = {} if keep else None
        self.films: list[dict[str, Any]] = []
        self._bytes: list[NDArray[np.uint8]] = []
        lengths: set[float] = set()
        for path in sorted(folder.glob("films_*.json")):
            meta = json.loads(path.read_text())
            if meta["renderer"] != RENDERER_VERSION:
                raise ValueError(
                    f"{path} was drawn by renderer {meta['renderer']}, this is {RENDERER_VERSION}; "
                    f"delete {folder} and render again"
                )
            data = np.memmap(path.with_suffix(".jpegs"), np.uint8, "r")
            lengths.add(float(meta["seconds"]))
            for record in meta["films"]:
                self.films.append(_unpacked(record, float(meta["seconds"])))
                self._bytes.append(data)
        if not self.films:
            raise FileNotFoundError(f"no films in {folder}; make them first: edgefoley train make-data")
        if len(lengths) > 1:
            raise ValueError(
                f"{folder} mixes films of {sorted(lengths)} s; render each length to its own folder"
            )
        self.seconds = lengths.pop()

    def __len__(self) -> int:
        return len(self.films)

    def truth(self, index: int) -> Truth:
        """The truth of film `index`; its activity is rounded to thousandths."""
        found: Truth = self.films[index]["truth"]
        return found

    def start(self, rng: np.random.Generator, count: int, speed: float = 1.0) -> float:
        """Where a stretch of ``count`` grid frames, played ``speed`` times as fast, may begin (s of film)."""
        return float(rng.uniform(0, max(0.0, self.seconds - count / SYNC_RATE * speed)))

    def _decoded(self, index: int, picked: NDArray[np.int64], flag: int) -> list[NDArray[np.uint8]]:
        data, at = self._bytes[index], self.films[index]["at"]
        seen: dict[int, NDArray[np.uint8]] = {}
        for start, length in at[picked]:
            if start not in seen:
                seen[int(start)] = np.asarray(cv2.imdecode(data[start : start + length], flag), np.uint8)
        return [seen[int(start)] for start in at[picked, 0]]

    def _gray(self, index: int, picked: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        if self._kept is None:
            return self._decoded(index, picked, cv2.IMREAD_GRAYSCALE)
        starts = [(index, int(start)) for start in self.films[index]["at"][picked, 0]]
        new = [k for k, key in enumerate(starts) if key not in self._kept]
        for k, frame in zip(new, self._decoded(index, picked[new], cv2.IMREAD_GRAYSCALE), strict=True):
            self._kept[starts[k]] = frame
        return [self._kept[key] for key in starts]

    def frames(self, index: int) -> NDArray[np.uint8]:
        """The gray frames (F, h, w) of film `index`, at its timestamps."""
        every = np.arange(len(self.films[index]["at"]))
        return np.stack(self._decoded(index, every, cv2.IMREAD_GRAYSCALE))

    def pictures(self, index: int, picked: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Frames `picked` (N,) of film `index` in colour: (N, h, w, 3) RGB."""
        return np.stack(self._decoded(index, picked, cv2.IMREAD_COLOR))[..., ::-1]

    def crop(self, index: int, start_s: float, count: int, speed: float = 1.0, every: int = 1) -> Crop:
        """`count` grid frames of film `index` from start_s (film time) on, played `speed` times as fast, with
        only every so many of the film's frames."""
        record = self.films[index]
        picked, ages = grid_index((record["timestamps"][::every] - start_s) / speed, count, SYNC_RATE)
        picked = picked * every
        times = (record["times"] - start_s) / speed
        keep = (times >= 0) & (times < count / SYNC_RATE)
        at = (start_s + np.arange(2 * count) / EVENT_RATE * speed) * ACTIVITY_RATE
        activity = np.interp(at, np.arange(len(record["activity"])), record["activity"]).astype(np.float32)
        frames = np.stack(self._gray(index, picked))
        strengths, places = record["strengths"][keep], record["places"][keep]
        return Crop(frames, ages, times[keep], strengths, places, activity, record["action"])


def _unpacked(record: dict[str, Any], seconds: float) -> dict[str, Any]:
    sources = tuple(Source(**source) for source in record["sources"])
    contacts = tuple(
        Contact(t, s, k, (x, y), distance, math.nan if impulse is None else impulse)
        for t, s, k, x, y, distance, impulse in record["contacts"]
    )
    count = math.ceil(seconds * ACTIVITY_RATE)
    activity = np.array(record["activity"], np.float32).reshape(len(sources), count)
    seen = [c for c in contacts if c.visible]
    return {
        "seed": record["seed"],
        "action": record["action"],
        "look": record["look"],
        "timestamps": np.array(record["timestamps"]),
        "at": np.array(record["at"], np.int64),
        "truth": Truth(sources, contacts, activity, seconds),
        "times": np.array([c.time_s for c in seen], np.float64),
        "strengths": np.array([c.strength for c in seen], np.float64),
        "places": np.array([c.place for c in seen], np.float64).reshape(-1, 2),
        "activity": _visible_activity(sources, contacts, activity),
    }


def _visible_activity(
    sources: tuple[Source, ...], contacts: tuple[Contact, ...], activity: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The loudest of what can be seen: no ambience, no source whose contacts are all outside."""
    rows = [np.zeros(activity.shape[1], np.float32)]
    for k, source in enumerate(sources):
        mine = [c.visible for c in contacts if c.source == k]
        if source.action != "ambience" and (not mine or any(mine)):
            rows.append(activity[k])
    return np.max(rows, axis=0)


__all__ = ["EVENT_RATE", "QUIET", "SYNC_RATE", "Crop", "Pool", "encode", "render_shard", "spans"]
