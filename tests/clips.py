"""Clips made on the spot whose every frame shows its own number: a test knows which one was picked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

DIGITS = 3  # columns; each shows one hexadecimal digit as one of 16 grey levels, so numbers go to 4095


@dataclass(frozen=True)
class Sound:
    """``samples`` (channels, n) float in [-1, 1]; ``at`` seconds: when the stream begins."""

    samples: np.ndarray
    rate: int = 48000
    at: Fraction = Fraction(0)
    codec: str = "aac"


def number_picture(number: int, size: tuple[int, int]) -> np.ndarray:
    """(h, w) uint8 that shows ``number``; ``size`` (width, height)."""
    width, height = size
    digits = [(number >> (4 * i)) & 15 for i in range(DIGITS)]
    columns = np.repeat([8 + 15 * digit for digit in digits], -(-width // DIGITS))[:width]
    return np.tile(columns.astype(np.uint8), (height, 1))


def shown_number(picture: np.ndarray) -> int:
    """The number on a decoded picture (h, w) or (h, w, 3) of any size."""
    gray = picture if picture.ndim == 2 else picture.mean(axis=2)
    height, width = gray.shape
    middle = gray[height // 3 : 2 * height // 3].mean(axis=0)
    total = 0
    for i in range(DIGITS):
        level = middle[round((i + 0.35) * width / DIGITS) : round((i + 0.65) * width / DIGITS)].mean()
        digit = round((level - 8) / 15)
        assert abs(level - (8 + 15 * digit)) < 5, f"grey level {level} is no digit"
        total += digit << (4 * i)
    return total


def make_clip(
    path: Path,
    fps: Fraction | int = 25,
    count: int = 50,
    size: tuple[int, int] = (96, 64),
    codec: str = "libx264",
    times: Sequence[Fraction] | None = None,
    sound: Sound | None = None,
    rotate: tuple[float, bool] = (0, False),
    pictures: Sequence[np.ndarray] | None = None,
    options: dict[str, str] | None = None,
    pixel_format: str = "yuv420p",
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a clip. ``times``: time stamp (s) of every frame, in ticks of 1/90000 s (None: constant ``fps``).
    ``rotate``: (degrees counter-clockwise, mirrored) written into the display matrix."""
    base = Fraction(1, 90000) if times is not None else 1 / Fraction(fps)
    ticks = [round(time / base) for time in times] if times is not None else list(range(count))
    with av.open(str(path), "w", options=container_options or {}) as out:
        extra = {"crf": "8", "preset": "ultrafast", "bf": "0"} if codec == "libx264" else {}
        stream = out.add_stream(codec, rate=Fraction(fps), options=extra | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = base
        if rotate != (0, False):
            stream.set_display_rotation(rotate[0], hflip=rotate[1])
        voice = _add_sound(out, sound) if sound is not None else None
        for i, tick in enumerate(ticks):
            picture = number_picture(i, size) if pictures is None else pictures[i]
            frame = av.VideoFrame.from_ndarray(picture, "gray" if picture.ndim == 2 else "rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = tick, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if sound is not None and voice is not None:
            _write_sound(out, voice, sound)
    return path


def make_sound_file(path: Path, sound: Sound) -> Path:
    """A file without pictures."""
    with av.open(str(path), "w") as out:
        _write_sound(out, _add_sound(out, sound), sound)
    return path


def _add_sound(out, sound: Sound):
    voice = out.add_stream(sound.codec, rate=sound.rate)
    voice.codec_context.layout = "mono" if sound.samples.shape[0] == 1 else "stereo"
    voice.codec_context.time_base = Fraction(1, sound.rate)
    return voice


def _write_sound(out, voice, sound: Sound) -> None:
    layout = "mono" if sound.samples.shape[0] == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(sound.samples, dtype=np.float32), format="fltp", layout=layout
    )
    frame.sample_rate = sound.rate
    frame.time_base = Fraction(1, sound.rate)
    frame.pts = round(sound.at * sound.rate)
    for piece in av.AudioResampler(
        format=voice.codec_context.format, layout=layout, rate=sound.rate
    ).resample(frame):
        out.mux(voice.encode(piece))
    out.mux(voice.encode(None))


def packets(path: Path, kind: str = "video", which: int = 0) -> list[bytes]:
    """The encoded packets of one stream, in file order."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[which]
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def clicks(seconds: float, at: Sequence[float], rate: int = 48000, channels: int = 1) -> np.ndarray:
    """Silence with a 4 ms burst of 2 kHz at each time."""
    samples = np.zeros((channels, round(seconds * rate)), dtype=np.float32)
    burst = 0.5 * np.sin(2 * np.pi * 2000 * np.arange(rate // 250) / rate)
    for time in at:
        first = round(time * rate)
        piece = samples[:, first : first + burst.size]
        piece += burst[: piece.shape[1]].astype(np.float32)
    return samples
