"""Read the sound that a clip already has, laid on the clip's clock to the sample; move a sound on that clock.

The sound stream has a clock of its own: it may begin before or after the pictures, stop early, or have holes.
What is returned starts at the first picture and is as long as the pictures; where the file has no sound there
is silence.

Layer 1: numpy and PyAV.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from edgefoley.source import MediaWarning, excerpt, inspect, open_source, packets
from edgefoley.timeline import SAMPLE_RATE, Timeline
from edgefoley.types import Audio, FloatArray

# A jump of the sound's clock smaller than this (seconds) is rounding of the container, not a hole.
_JITTER = Fraction(1, 50)
# Decoding starts this long (seconds) before an excerpt, so that codecs with memory have settled.
_RUN_IN = Fraction(1)
# Seconds: a cut through a sounding wave clicks without it; an attack of 2 ms is still an attack.
_FADE = 0.002


def read_audio(
    path: str | Path, rate: int = SAMPLE_RATE, start: Fraction | None = None, end: Fraction | None = None
) -> Audio | None:
    """The clip's own sound in [start, end) seconds: (channels, n) float32 at ``rate`` Hz, or None without
    any.

    One channel stays one, more become two. n is ``Timeline.samples`` of the excerpt; sample 0 is sounding
    when the excerpt's first instant is shown. Errors as ``media.read_clip``.
    """
    path = Path(path)
    source = inspect(path)
    begin, stop = excerpt(path, source.info.duration, start, end)
    count = Timeline(sample_rate=rate).samples(stop - begin)
    with open_source(path) as container:
        streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
        if not streams:
            return None
        stream = streams[0]
        channels = 1 if stream.codec_context.channels == 1 else 2
        samples = np.zeros((channels, count), dtype=np.float32)
        zero = source.origin + begin
        if begin > _RUN_IN:
            container.seek(int((zero - _RUN_IN) / Fraction(stream.time_base or 1)), stream=stream)
        for at, block in _stretches(container, stream, rate, path):
            position = round((at - zero) * rate)
            _place(samples, block, position)
            if position >= count:
                break
    return Audio(samples, rate)


def moved(audio: Audio, count: int) -> Audio:
    """``audio`` sounding ``count`` samples later (negative: earlier), as long as before. What leaves at one
    end is lost; at the other end silence comes in, and the sound is faded over 2 ms at both of its cuts."""
    samples = audio.samples
    if count == 0:
        return audio
    length = samples.shape[-1]
    kept = samples[..., max(0, -count) : length - max(0, count)].copy()
    fade = min(round(_FADE * audio.rate), kept.shape[-1])
    rise = np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / max(fade, 1), dtype=np.float32) ** 2
    kept[..., :fade] *= rise
    kept[..., kept.shape[-1] - fade :] *= rise[::-1]
    out = np.zeros_like(samples)
    first = min(max(0, count), length)
    out[..., first : first + kept.shape[-1]] = kept
    return Audio(out, audio.rate)


def _place(samples: FloatArray, block: FloatArray, position: int) -> None:
    """Copy ``block`` to ``position``, cutting what lies outside."""
    first, last = max(0, position), min(samples.shape[1], position + block.shape[1])
    if first < last:
        samples[:, first:last] = block[:, first - position : last - position]


def _stretches(
    container: InputContainer, stream: AudioStream, rate: int, path: Path
) -> Iterator[tuple[Fraction, FloatArray]]:
    """Resampled blocks with their time (seconds, container's clock). A hole starts a new resampler, so that
    no block is moved by it."""
    layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    resampler: AudioResampler | None = None
    begun, sent, expected = Fraction(0), 0, Fraction(0)

    def push(frame: AudioFrame | None) -> Iterator[tuple[Fraction, FloatArray]]:
        nonlocal sent
        if resampler is None:
            return
        for piece in resampler.resample(frame):
            block = piece.to_ndarray().astype(np.float32, copy=False)
            yield begun + Fraction(sent, rate), block
            sent += block.shape[1]

    for frame in _frames(container, stream, path):
        time = expected if frame.pts is None else frame.pts * Fraction(frame.time_base or 1)
        if resampler is None or abs(time - expected) > _JITTER:
            yield from push(None)
            resampler = AudioResampler(format="fltp", layout=layout, rate=rate)
            begun, sent, expected = time, 0, time
        expected += Fraction(frame.samples, frame.sample_rate)
        yield from push(frame)
    yield from push(None)


def _frames(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[AudioFrame]:
    damaged = 0
    for packet in packets(container, stream, path):
        try:
            for frame in packet.decode():
                if isinstance(frame, AudioFrame):
                    yield frame
        except av.FFmpegError:
            damaged += 1
    if damaged:
        warnings.warn(f"{path}: {damaged} damaged pieces of sound skipped", MediaWarning, stacklevel=2)
