"""Look at training data: thumbnails over a spectrogram with a tick at every event.

One picture shows whether the film moves where the events are, and whether the sound begins there; a page of
them with the captions is looked at before anything is trained (docs/training.md).
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.files import write_whole

Image = npt.NDArray[np.uint8]
Wave = npt.NDArray[np.float32]

THUMBNAIL: Final = 80  # pixels
WIDTH: Final = 1200
SPECTROGRAM: Final = 150  # pixels high
WINDOW: Final = 1024
FLOOR_DB: Final = -90.0


@dataclass(frozen=True)
class Panel:
    """What one picture shows. frames (F, h, w, 3) uint8 RGB or None when there is no picture; timestamps (F,)
    s; wave at 48 kHz; events (time s, strength 0..1); activity 0..1 at 50 Hz; lines of text under it."""

    frames: Image | None
    timestamps: npt.NDArray[np.float64]
    wave: Wave
    events: Sequence[tuple[float, float]]
    activity: Sequence[float]
    lines: Sequence[str]


def spectrogram(wave: Wave, width: int = WIDTH, height: int = SPECTROGRAM) -> Image:
    """(height, width, 3) uint8 RGB: time to the right, log frequency 60 Hz to 24 kHz upwards, -90 dB to 0 dB
    below full scale from black to white."""
    hop = max(1, len(wave) // width)
    padded = np.pad(wave, (WINDOW // 2, WINDOW // 2 + hop))
    starts = np.arange(width) * len(wave) // width
    frames = padded[starts[:, None] + np.arange(WINDOW)] * np.hanning(WINDOW)
    power = np.square(np.abs(np.fft.rfft(frames))) / (WINDOW / 4) ** 2
    edges = np.geomspace(60, SAMPLE_RATE / 2, height + 1) / (SAMPLE_RATE / WINDOW)
    low = np.minimum(edges[:-1].astype(int), power.shape[1] - 1)
    high = np.maximum(np.minimum(edges[1:].astype(int), power.shape[1] - 1), low) + 1
    sums = np.concatenate([np.zeros((len(power), 1)), np.cumsum(power, axis=1)], axis=1)
    level = 10 * np.log10((sums[:, high] - sums[:, low]) / (high - low) + 1e-12)
    shade = np.clip((level - FLOOR_DB) / -FLOOR_DB, 0, 1) * 255
    coloured = cv2.applyColorMap(shade.T[::-1].astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(coloured[:, :, ::-1], np.uint8).copy()


def draw(panel: Panel) -> Image:
    """The panel as one picture, WIDTH pixels wide, RGB."""
    seconds = len(panel.wave) / SAMPLE_RATE
    rows = []
    if panel.frames is not None:
        count = WIDTH // THUMBNAIL
        shown = (
            np.searchsorted(panel.timestamps, (np.arange(count) + 0.5) * seconds / count, side="right") - 1
        )
        small = [cv2.resize(panel.frames[max(0, i)], (THUMBNAIL, THUMBNAIL)) for i in shown]
        rows.append(np.concatenate(small, axis=1))
    picture = spectrogram(panel.wave)
    for time, strength in panel.events:
        x = min(WIDTH - 1, int(time / seconds * WIDTH))
        cv2.line(picture, (x, 0), (x, 6 + int(24 * strength)), (80, 255, 80), 1)
    curve = np.full((24, WIDTH, 3), 20, np.uint8)
    if len(panel.activity):
        at = np.linspace(0, len(panel.activity) - 1, WIDTH)
        level = np.interp(at, np.arange(len(panel.activity)), panel.activity)
        points = np.stack([np.arange(WIDTH), 22 - 20 * level], axis=1).astype(np.int32)
        cv2.polylines(curve, [points], False, (120, 200, 255), 1)
    return np.concatenate([*rows, picture, curve], axis=0).astype(np.uint8)


def write_wav(path: Path, wave: Wave) -> None:
    """16-bit WAV at 48 kHz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def write_page(folder: Path, panels: Sequence[Panel], title: str) -> Path:
    """``index.html`` in ``folder``: picture, player and texts of every panel. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, panel in enumerate(panels):
        name = f"{number:03d}"
        cv2.imwrite(str(folder / f"{name}.png"), draw(panel)[:, :, ::-1])
        write_wav(folder / f"{name}.wav", panel.wave)
        texts = "".join(f"<p>{html.escape(line)}</p>" for line in panel.lines)
        parts.append(
            f'<section><img src="{name}.png" alt="{name}"><audio controls src="{name}.wav"></audio>'
            f"{texts}</section>"
        )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font:14px sans-serif;max-width:1200px;margin:2em auto}img{width:100%}p{margin:.2em 0}"
        f"section{{margin-bottom:2em}}</style><h1>{html.escape(title)}</h1>{''.join(parts)}</html>\n"
    )
    write_whole(folder / "index.html", page)
    return folder / "index.html"
