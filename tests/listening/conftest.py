"""A small test to listen to: three clips, two systems, and the clips' own sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefoley.listening.definition import Definition, define
from edgefoley.output import write_wav
from edgefoley.types import Audio
from tests.clips import Sound, clicks, make_clip

CLIPS = ("bird", "door", "walk")
RATE = 48_000
SECONDS = 1.2


def noise(seed: int, seconds: float = SECONDS, level: float = 0.1) -> np.ndarray:
    """Low-pass noise: (n,) float32."""
    white = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (level * np.convolve(white, np.ones(8) / 8, "same")).astype(np.float32)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clips/ and systems/{fp32,int8}: int8 is half as loud as fp32, one of its sounds is too long, one mono
    at another rate, one stereo."""
    root = tmp_path_factory.mktemp("listening")
    (root / "clips").mkdir()
    for system in ("fp32", "int8"):
        (root / "systems" / system).mkdir(parents=True)
    for index, clip in enumerate(CLIPS):
        make_clip(root / "clips" / f"{clip}.mp4", count=30, sound=Sound(clicks(SECONDS, [0.3, 0.8])))
        for scale, system in ((1.0, "fp32"), (0.5, "int8")):
            wave, rate = scale * noise(index), RATE
            if clip == "door" and system == "int8":
                wave, rate = scale * noise(index, 2.0)[::2], RATE // 2
            if clip == "walk" and system == "int8":
                wave = np.stack([wave, wave])
            path = root / "systems" / system / f"{clip}.wav"
            write_wav(path, Audio(wave.astype(np.float32), rate), {})
    return root


@pytest.fixture
def defined(folder: Path) -> Callable[..., Definition]:
    """``defined(method="dcr", ...)``: the test with these keys."""

    def make(**values: Any) -> Definition:
        systems = {name: f"systems/{name}" for name in ("fp32", "int8")}
        return define({"title": "Steps", "clips": "clips", "systems": systems, **values}, folder)

    return make
