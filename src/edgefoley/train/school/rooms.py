"""Rooms for training sound: impulse responses of shoebox rooms by image sources.

The image-source method (Allen and Berkley 1979) as pyroomacoustics computes it, with wall absorption drawn
per room and absorption by air. A response is cut so that the direct sound is its first sample with amplitude
1: a sound stays where its contact is, whatever its distance (people edit foley to the picture, not to the
travel time of sound), and level by distance is the mixer's business. Left out: furniture, directivity,
stereo.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.files import whole

Wave = npt.NDArray[np.float32]

# name -> (smallest and largest floor side in m, height in m, absorption of the walls, distances in m)
KINDS: Final[dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]]] = {
    "small room": ((1.6, 3.5), (2.2, 2.8), (0.12, 0.5)),
    "room": ((3.5, 8.0), (2.4, 3.5), (0.12, 0.5)),
    "hall": ((10.0, 28.0), (4.0, 12.0), (0.1, 0.35)),
}
DISTANCES: Final = (0.12, 0.3, 0.7)  # of a source from the listener, as shares of the room's shorter side
LONGEST_S: Final = 1.6
FILE_VERSION: Final = 1


@dataclass(frozen=True)
class Room:
    """One room: kind (a key of KINDS), reverberation time in s (Sabine's formula, so that no measurement of a
    truncated response is needed) and one response per entry of DISTANCES, direct sound first."""

    kind: str
    rt60_s: float
    responses: tuple[Wave, ...]


def sabine(sides: npt.NDArray[np.float64], absorption: float) -> float:
    """Reverberation time in s of a box with the given sides (3,) in m (Sabine: 0.161 V / (a S))."""
    volume = float(np.prod(sides))
    surface = 2.0 * float(sides[0] * sides[1] + sides[0] * sides[2] + sides[1] * sides[2])
    return 0.161 * volume / (absorption * surface)


def make_room(kind: str, rng: np.random.Generator) -> Room:
    """One random room of a kind. Raises KeyError for an unknown kind."""
    import pyroomacoustics as pra

    floor, height, absorption = KINDS[kind]
    sides = np.array([_spread(rng, floor), _spread(rng, floor), rng.uniform(*height)])
    absorbed = _spread(rng, absorption)
    rt60 = sabine(sides, absorbed)
    # Images up to where the sound has decayed by 45 dB; the order is bounded because their number is cubic.
    order = int(np.clip(0.75 * rt60 * 343 / sides.min(), 3, 14))
    room = pra.ShoeBox(
        sides, fs=SAMPLE_RATE, materials=pra.Material(absorbed), max_order=order, air_absorption=True
    )
    listener = sides * rng.uniform(0.35, 0.65, 3)
    room.add_microphone(listener)
    for share in DISTANCES:
        angle = rng.uniform(0, 2 * np.pi)
        place = listener + share * sides[:2].min() * np.array([np.cos(angle), np.sin(angle), 0.2])
        room.add_source(np.clip(place, 0.05 * sides, 0.95 * sides))
    room.compute_rir()
    return Room(kind, rt60, tuple(_from_direct(np.asarray(response)) for response in room.rir[0]))


def _spread(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A draw that is uniform in the logarithm."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _from_direct(response: npt.NDArray[np.float64]) -> Wave:
    """From the direct sound on, which becomes 1; the end fades out where the images stop."""
    first = int(np.argmax(np.abs(response) > 0.6 * np.abs(response).max()))
    first += int(np.argmax(np.abs(response[first : first + 24])))
    kept = response[first : first + int(LONGEST_S * SAMPLE_RATE)] / response[first]
    fade = min(len(kept) // 2, SAMPLE_RATE // 10)
    kept[len(kept) - fade :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(fade) / max(1, fade))
    return kept.astype(np.float32)


class RoomBank:
    """Rooms made once and kept in a file: drawing one costs nothing."""

    def __init__(self, rooms: tuple[Room, ...]) -> None:
        self.rooms = rooms

    @classmethod
    def open(cls, cache: Path, count: int = 90, seed: int = 0) -> RoomBank:
        """Read ``cache`` (an .npz), or make ``count`` rooms, a third of each kind, and write it whole."""
        if not cache.exists():
            _write(cache, [make_room(kind, np.random.default_rng([seed, i])) for i, kind in _numbered(count)])
        with np.load(cache) as data:
            if int(data["version"]) != FILE_VERSION:
                raise ValueError(f"{cache} is of another version: delete it and run again")
            lengths = data["lengths"].tolist()
            ends = np.cumsum([0, *lengths])
            parts = [data["samples"][a:b].astype(np.float32) for a, b in pairwise(ends)]
            kinds, times = data["kinds"].tolist(), data["rt60"].tolist()
        step = len(DISTANCES)
        return cls(
            tuple(
                Room(kind, time, tuple(parts[i * step : (i + 1) * step]))
                for i, (kind, time) in enumerate(zip(kinds, times, strict=True))
            )
        )

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of room that can be drawn."""
        return frozenset(room.kind for room in self.rooms)

    def draw(self, kind: str, rng: np.random.Generator) -> Room:
        """A random room of a kind. Raises KeyError when the bank has none."""
        found = [room for room in self.rooms if room.kind == kind]
        if not found:
            raise KeyError(f"no {kind!r} among the rooms; there are {sorted({r.kind for r in self.rooms})}")
        return found[int(rng.integers(len(found)))]


def _numbered(count: int) -> list[tuple[int, str]]:
    kinds = tuple(KINDS)
    return [(i, kinds[i % len(kinds)]) for i in range(count)]


def _write(cache: Path, rooms: list[Room]) -> None:
    responses = [response for room in rooms for response in room.responses]
    cache.parent.mkdir(parents=True, exist_ok=True)
    with whole(cache) as part, part.open("wb") as file:
        np.savez(
            file,
            version=FILE_VERSION,
            kinds=np.array([room.kind for room in rooms]),
            rt60=np.array([room.rt60_s for room in rooms]),
            lengths=np.array([len(response) for response in responses]),
            samples=np.concatenate(responses).astype(np.float16),
        )
