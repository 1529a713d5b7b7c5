"""Events of a stream against the events of the whole clip."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgefoley.errors import UsageError
from edgefoley.live import EventStream
from edgefoley.pipeline import Pipeline
from edgefoley.timeline import grid_count, pick_frames
from edgefoley.types import Clip, FrameView, VideoInfo

SECONDS = 6


def hops(rate: float) -> tuple[np.ndarray, list[Fraction]]:
    """A bright block that falls and comes back up, 112 pixels, with time stamps a little off the grid."""
    stamps = [Fraction(round(1000 * k / rate), 1000) for k in range(round(SECONDS * rate))]
    frames = np.full((len(stamps), 112, 112), 60, np.uint8)
    frames[:, 100:] = 90
    for frame, stamp in zip(frames, stamps, strict=True):
        phase = (float(stamp) + 0.3) % 0.9 / 0.9
        y = round(84 - 300 * phase * (1 - phase))
        frame[y : y + 16, 48:64] = 230
    return frames, stamps


@pytest.fixture(scope="module")
def pipeline():
    with Pipeline.open("nano", threads=1) as opened:
        yield opened


def streamed(stream: EventStream, frames: np.ndarray, stamps: list[Fraction]) -> list[tuple[float, float]]:
    found = []
    for frame, stamp in zip(frames, stamps, strict=True):
        for event in stream.push(frame, float(stamp)):
            assert event.time_s >= float(stamp) - stream.delay_s - 0.06  # never later than promised
            found.append(event)
    found += stream.finish(SECONDS)
    return [(event.time_s, event.confidence) for event in found]


@pytest.mark.parametrize(("rate", "chunk"), [(15.0, 5), (29.97, 1), (50.0, 40)])
def test_a_stream_finds_what_the_whole_clip_has(pipeline, rate, chunk):
    frames, stamps = hops(rate)
    count = grid_count(Fraction(SECONDS), Fraction(25))
    picked, ages = pick_frames(stamps, Fraction(25), count, "at_or_before")
    view = FrameView(frames[picked], np.array([float(age) for age in ages], np.float32))
    info = VideoInfo(Path("hops"), Fraction(SECONDS), Fraction(25), (112, 112), 0, "", None)
    whole = pipeline.events(Clip(info, Fraction(0), Fraction(SECONDS), {"sync": view}))
    expected = [(event.time_s, event.confidence) for event in whole.events]
    assert len(expected) >= 5
    stream = EventStream.open(pipeline, chunk)
    # Twice: a finished stream begins anew.
    for _ in range(2):
        np.testing.assert_allclose(streamed(stream, frames, stamps), expected, atol=2e-3)


def test_memory_does_not_grow(pipeline):
    frames, _ = hops(25.0)
    stream = EventStream.open(pipeline)
    held = []
    for k in range(400):
        stream.push(frames[k % len(frames)], k / 25)
        held.append(len(stream._grid.frames))
    assert max(held[200:]) == max(held[100:200])


def test_bad_frames_are_refused(pipeline):
    stream = EventStream.open(pipeline)
    good = np.zeros((112, 112), np.uint8)
    with pytest.raises(UsageError, match="takes uint8"):
        stream.push(np.zeros((240, 320), np.uint8), 0.0)
    stream.push(good, 1.0)
    with pytest.raises(UsageError, match="came after"):
        stream.push(good, 1.0)
    with pytest.raises(UsageError, match="chunk"):
        EventStream.open(pipeline, 0)


def test_nano_looks_ahead_as_far_as_it_says(pipeline):
    """Another frame changes no event odds earlier than the model says. A peak looks 3 places of 20 ms
    further, for which the model counts 3 frames."""
    ahead = int(pipeline.bundle.components["sync"].attributes["lookahead_frames"])
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, 90, 112, 112)).astype(np.uint8)
    other = frames.copy()
    other[:, 60] = rng.integers(0, 256, (112, 112))
    one, two = (
        pipeline.graphs.run("sync", {"frames": x, "ages": np.zeros((1, 90), np.float32)})["event_logits"][0]
        for x in (frames, other)
    )
    first = int(np.flatnonzero(np.abs(one - two) > 1e-6).min()) // 2
    assert 60 - first == ahead - 3
