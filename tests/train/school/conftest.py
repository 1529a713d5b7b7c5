"""A sound library small enough for tests: two knocks, a bark, a voice and rain, made on the spot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("pybullet")
pytest.importorskip("pyroomacoustics")

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.school.lessons import Composer
from edgefoley.train.school.rooms import RoomBank
from edgefoley.train.school.sheets import write_wav
from edgefoley.train.sounds.library import SoundLibrary

COLUMNS = ("path", "label", "seconds", "sample_rate", "lossy", "group", "licence", "source", "attribution")


def _burst(seconds: float, decay_s: float, tone_hz: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = (np.sin(2 * np.pi * tone_hz * time) + 0.3 * rng.normal(size=len(time))) * np.exp(-time / decay_s)
    lead = np.zeros(SAMPLE_RATE // 10)
    return (0.5 * np.concatenate([lead, sound, np.zeros(SAMPLE_RATE // 4)])).astype(np.float32)


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with manifest.tsv."""
    folder = tmp_path_factory.mktemp("sounds")
    rain = np.random.default_rng(9).normal(0, 0.1, 6 * SAMPLE_RATE).astype(np.float32)
    made = {
        "hits materials wood wood hit": [_burst(0.4, 0.03, 300 + 60 * i, i) for i in range(4)],
        "dog bark": [_burst(0.4, 0.15, 500 + 90 * i, 10 + i) for i in range(4)],
        "footsteps gravel": [_burst(0.3, 0.02, 900 + 90 * i, 20 + i) for i in range(4)],
        "rain": [rain],
    }
    rows = ["\t".join(COLUMNS)]
    for label, waves in made.items():
        for number, wave in enumerate(waves):
            name = f"{label.replace(' ', '_')}_{number}.wav"
            write_wav(folder / name, wave)
            group = f"made/{label}/{number}"
            rows.append("\t".join([name, label, "1", "48000", "no", group, "CC0", "made here", "nobody"]))
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def composer(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Composer:
    """Lessons from that library."""
    cache = tmp_path_factory.mktemp("cache")
    return Composer(SoundLibrary.build([sounds], cache / "library"), RoomBank.open(cache / "rooms.npz", 3))
