"""Spectrogram pairs of six sounds made here: python benchmarks/codec_pictures.py --codec runs/codec OUT.png

A click, a struck plate, steps on gravel, rain, a whistle and an engine; left the true sound, right what the
codec makes of it. Window 2048, hop 256, mel scale to 24 kHz, 80 dB. Needs torch and opencv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edgefoley.metrics.audio_quality import mel_filters
from edgefoley.train.codec import load_codec

RATE, SECONDS = 48_000, 2
Wave = np.ndarray[Any, np.dtype[np.float64]]


def sounds() -> dict[str, Wave]:
    """Name -> wave, peak 0.5."""
    rng = np.random.default_rng(0)
    instants = np.arange(RATE * SECONDS) / RATE
    made: dict[str, Wave] = {"click": np.zeros(len(instants))}
    made["click"][[24_000, 48_500, 72_777]] = 1
    modes = 180 * np.array([1, 1.52, 2.31, 3.05, 4.2, 5.43, 7.9, 11.3])
    late = np.clip(instants - 0.3, 0, None)
    rings = [
        np.sin(2 * np.pi * f * late) * np.exp(-late * (2 + f / 500)) / (1 + i) for i, f in enumerate(modes)
    ]
    made["struck plate"] = np.sum(rings, axis=0)
    steps = np.zeros(len(instants))
    for begin in (0.2, 0.75, 1.3):
        for _ in range(60):
            at, size = int((begin + rng.exponential(0.04)) * RATE), int(rng.integers(40, 400))
            grain = rng.standard_normal(size) * np.exp(-np.arange(size) / (size / 4))
            steps[at : at + size] += grain * rng.uniform(0.1, 1)
    made["steps on gravel"] = steps
    rain = 0.05 * rng.standard_normal(len(instants))
    for at in rng.integers(0, len(instants) - 2000, 250):
        n = np.arange(2000)
        rain[at : at + 2000] += rng.exponential(0.1) * np.sin(n * rng.uniform(0.1, 0.8)) * np.exp(-n / 150)
    made["rain"] = rain
    pitch = 1200 + 600 * np.sin(2 * np.pi * 0.8 * instants) + 25 * np.sin(2 * np.pi * 6 * instants)
    made["whistle"] = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(len(instants))
    turn = 2 * np.pi * np.cumsum(np.linspace(40, 95, len(instants))) / RATE
    engine = sum(np.sin(k * turn + rng.uniform(0, 6)) / k**0.7 for k in range(1, 40))
    made["engine"] = np.asarray(engine) + 0.2 * rng.standard_normal(len(instants))
    return {name: 0.5 * wave / np.abs(wave).max() for name, wave in made.items()}


def picture(wave: Wave) -> np.ndarray[Any, Any]:
    """(240, 420, 3) uint8."""
    hann = np.hanning(2049)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 1024), 2048)[::256] * hann
    power = np.square(np.abs(np.fft.rfft(frames)) * 2 / hann.sum()) @ mel_filters(2048, 240)
    level = np.clip(1 + 10 * np.log10(power.T[::-1] + 1e-12) / 80, 0, 1)
    gray = cv2.resize((255 * level).astype(np.uint8), (420, 240), interpolation=cv2.INTER_AREA)
    return cv2.applyColorMap(gray, cv2.COLORMAP_INFERNO)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--codec", type=Path, default=Path("runs/codec"))
    arguments = parser.parse_args()
    codec = load_codec(arguments.codec)
    rows = []
    for name, wave in sounds().items():
        with torch.inference_mode():
            made = codec.decode(codec.encode(torch.tensor(wave[None], dtype=torch.float32)))[0, 0].numpy()
        pair = [cv2.copyMakeBorder(picture(w), 2, 2, 2, 2, cv2.BORDER_CONSTANT) for w in (wave, made)]
        cv2.putText(pair[0], name, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        rows.append(np.hstack(pair))
    sheet = np.hstack([np.vstack(rows[:3]), np.vstack(rows[3:])])
    if not cv2.imwrite(str(arguments.out), sheet):
        raise SystemExit(f"{arguments.out} could not be written")


if __name__ == "__main__":
    main()
