"""Sheets: a tone is drawn at its frequency and time, ticks at their events, the page holds every text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.school import sheets
from edgefoley.train.school.sheets import Panel


def tone(frequency: float, begin: float, end: float, seconds: float = 4.0) -> np.ndarray:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * frequency * time) * (time >= begin) * (time < end)).astype(np.float32)


def test_a_tone_is_where_it_belongs() -> None:
    picture = sheets.spectrogram(tone(3000, 1.0, 2.0)).astype(int).sum(2)
    row, column = np.unravel_index(picture.argmax(), picture.shape)
    share = (sheets.SPECTROGRAM - row) / sheets.SPECTROGRAM
    assert 60 * (24000 / 60) ** share == pytest.approx(3000, rel=0.12)
    assert 0.25 < column / sheets.WIDTH < 0.5
    assert picture[row, : int(0.2 * sheets.WIDTH)].max() < 0.3 * picture[row, column]


def test_panel_shows_frames_and_ticks() -> None:
    frames = np.zeros((40, 20, 20, 3), np.uint8)
    frames[20:, :, :, 0] = 255  # red from 2 s on
    panel = Panel(frames, np.arange(40) / 10, tone(100, 0, 4), [(1.0, 1.0)], [0.0, 1.0], ["a"])
    picture = sheets.draw(panel)
    assert picture.shape == (sheets.THUMBNAIL + sheets.SPECTROGRAM + 24, sheets.WIDTH, 3)
    thumbnails = picture[40, :, 0]
    assert (
        thumbnails[: int(0.45 * sheets.WIDTH)].max() == 0
        and thumbnails[int(0.55 * sheets.WIDTH) :].min() == 255
    )
    green = np.flatnonzero((picture[sheets.THUMBNAIL + 2] == (80, 255, 80)).all(1))
    assert green.tolist() == [sheets.WIDTH // 4]


def test_page_escapes_and_lists(tmp_path: Path) -> None:
    panel = Panel(None, np.zeros(0), tone(100, 0, 1, 1.0), [], [], ["<b> & 雨声"])
    text = sheets.write_page(tmp_path, [panel, panel], "two").read_text(encoding="utf-8")
    assert "&lt;b&gt; &amp; 雨声" in text and text.count("<audio") == 2
    assert (tmp_path / "001.png").stat().st_size > 1000
    assert (tmp_path / "001.wav").stat().st_size == pytest.approx(2 * SAMPLE_RATE, abs=200)
