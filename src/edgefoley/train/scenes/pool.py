"""A pool of rendered scenes on disk: shards of uint8 frames (memory-mapped) with timestamps and events.

Shard i holds scenes of seeds `first + i * per_shard ...`; a shard is written whole or not at all, so an
interrupted render continues. `Pool.crop` cuts, resamples in time and lays a stretch on the sync grid.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgefoley.train.scenes.flat import ACTIVITY_RATE, RENDERER_VERSION, grid_index, render_scene

SYNC_RATE, EVENT_RATE = 25, 50


@dataclass(frozen=True)
class Crop:
    """A stretch on the grid: frames (S, h, w) uint8, ages (S,) s, event times (E,) s and strengths (E,),
    activity (2S,).
    """

    frames: NDArray[np.uint8]
    ages: NDArray[np.float32]
    times: NDArray[np.float64]
    strengths: NDArray[np.float64]
    activity: NDArray[np.float32]
    archetype: str


def render_shard(folder: Path, index: int, first_seed: int, count: int, seconds: float) -> None:
    """Render scenes first_seed .. first_seed + count - 1 into shard `index` unless it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    meta_path = folder / f"shard_{index:03d}.json"
    if meta_path.exists() and json.loads(meta_path.read_text())["renderer"] == RENDERER_VERSION:
        return
    scenes = [render_scene(first_seed + i, seconds) for i in range(count)]
    frames_path = folder / f"shard_{index:03d}.npy"
    with (part := frames_path.with_suffix(".part")).open("wb") as file:
        np.save(file, np.concatenate([s.frames for s in scenes]))
    os.replace(part, frames_path)
    meta = {
        "renderer": RENDERER_VERSION,
        "seconds": seconds,
        "scenes": [
            {
                "seed": first_seed + i,
                "archetype": s.archetype,
                "timestamps": s.timestamps.tolist(),
                "times": [e.time_s for e in s.events],
                "strengths": [e.strength for e in s.events],
                "activity": np.round(s.activity, 3).astype(float).tolist(),
            }
            for i, s in enumerate(scenes)
        ],
    }
    (part := meta_path.with_suffix(".json.part")).write_text(json.dumps(meta))
    os.replace(part, meta_path)


class Pool:
    """Every whole shard of a folder. `len` is the number of scenes; scene i is read through a memory map."""

    def __init__(self, folder: Path) -> None:
        self.scenes: list[dict] = []
        self._frames: list[NDArray[np.uint8]] = []
        for path in sorted(folder.glob("shard_*.json")):
            meta = json.loads(path.read_text())
            if meta["renderer"] != RENDERER_VERSION:
                raise ValueError(
                    f"{path} was drawn by renderer {meta['renderer']}, this is {RENDERER_VERSION}; "
                    f"delete {folder} and render again"
                )
            frames = np.load(path.with_suffix(".npy"), mmap_mode="r")
            start = 0
            for scene in meta["scenes"]:
                stop = start + len(scene["timestamps"])
                self.scenes.append(
                    {k: v if isinstance(v, str | int) else np.array(v) for k, v in scene.items()}
                )
                self._frames.append(frames[start:stop])
                start = stop
            self.seconds = float(meta["seconds"])
        if not self.scenes:
            raise FileNotFoundError(f"no shards in {folder}; render them first (edgefoley.train.sync does)")

    def __len__(self) -> int:
        return len(self.scenes)

    def frames(self, index: int) -> NDArray[np.uint8]:
        """The decoded frames (F, h, w) of scene `index`, at its timestamps."""
        return self._frames[index]

    def crop(self, index: int, start_s: float, count: int, speed: float = 1.0) -> Crop:
        """`count` grid frames of scene `index` from start_s (scene time) on, played `speed` times as fast."""
        scene = self.scenes[index]
        picked, ages = grid_index((scene["timestamps"] - start_s) / speed, count, SYNC_RATE)
        times = (scene["times"] - start_s) / speed
        keep = (times >= 0) & (times < count / SYNC_RATE)
        at = (start_s + np.arange(2 * count) / EVENT_RATE * speed) * ACTIVITY_RATE
        activity = np.interp(at, np.arange(len(scene["activity"])), scene["activity"]).astype(np.float32)
        frames = np.asarray(self._frames[index][picked])
        return Crop(frames, ages, times[keep], scene["strengths"][keep], activity, scene["archetype"])
