"""What benchmarks/controls.py asks for: prompts, refusals, and pictures in which nothing moves."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgefoley.timeline import grid_count
from edgefoley.types import Clip, FrameView, VideoInfo, View

# Prompts without speech or music, and whether the sound is steady.
PROMPTS: tuple[tuple[str, bool], ...] = (
    ("surf rolls onto a pebble beach", True),
    ("hammering nails into a plank", False),
    ("drizzle on the canvas of a tent", True),
    ("a little terrier yaps at the gate", False),
    ("一辆摩托车停着怠速", True),
    ("玻璃杯掉在地上碎了", False),
    ("a rusty hinge creaks", False),
    ("山口的风呼呼地吹", True),
)


@dataclass(frozen=True)
class Refusal:
    """A prompt of two sounds, a negative prompt for the second, and one for a sound that is not there. The
    concepts (train/words/concepts.tsv) of what is kept and refused, with words that ask for them alone, and
    the tagger's labels of what is refused."""

    prompt: str
    negative: str
    control: str
    kept: tuple[str, str]
    refused: tuple[str, str]
    labels: tuple[str, ...]


REFUSALS = (
    Refusal("wind in the trees and birds singing", "birds singing", "a car engine", ("wind", "wind blowing"),
            ("bird_song", "birds singing"),
            ("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet")),
    Refusal("steady rain with thunder", "thunder", "a dog barking", ("rain", "rain falling"),
            ("thunder", "thunder"), ("Thunder", "Thunderstorm")),
    Refusal("海浪声，还有海鸥叫", "海鸥叫", "汽车引擎", ("ocean_waves", "海浪声"), ("seagull_cry", "海鸥叫"),
            ("Bird", "Bird vocalization, bird call, bird song", "Animal", "Wild animals")),
    Refusal("a bonfire crackles while crickets chirp", "crickets", "footsteps",
            ("fire_crackle", "a bonfire crackles"), ("cricket_chirp", "crickets chirping"),
            ("Cricket", "Insect")),
    Refusal("cars pass by and a dog barks", "a dog barking", "rain", ("car_pass", "a car passes"),
            ("dog_bark", "a dog barking"), ("Dog", "Bark")),
)  # fmt: skip

SILENCE = (
    "silence, nothing moves",
    "not a sound, everything stands still",
    "一片寂静，什么都没有动",
    "没有任何声音",
)
STILL: dict[str, tuple[str, ...]] = {
    "asks for silence": SILENCE,
    "no prompt": ("",),
    "asks for a sound": ("a dog barks", "rain falls on a roof"),
}


def still_clip(views: dict[str, View], seconds: Fraction, seed: int) -> Clip:
    """A clip in which nothing moves: one smooth coloured picture, never older than its frame."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (6, 8, 3))
    made = {}
    for name, view in views.items():
        height, width = view.size
        rows, columns = np.linspace(0, 5, height), np.linspace(0, 7, width)
        tall = np.stack([np.interp(rows, np.arange(6), line) for line in coarse.reshape(6, 24).T])
        wide = tall.reshape(8, 3, height)
        picture = np.stack(
            [[np.interp(columns, np.arange(8), wide[:, c, y]) for y in range(height)] for c in range(3)], -1
        )
        frame = picture if view.pixel == "rgb" else picture.mean(-1)
        count = grid_count(seconds, view.rate)
        frames = np.repeat(frame.round().astype(np.uint8)[None], count, axis=0)
        made[name] = FrameView(frames, np.zeros(count, np.float32))
    info = VideoInfo(Path("still.mp4"), seconds, Fraction(25), (320, 240), 0, "h264", None)
    return Clip(info, Fraction(0), seconds, made)
