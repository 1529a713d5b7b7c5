"""Encoders' work in segments and pieces: the same as the whole, with frames followed by their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgefoley import encoders
from edgefoley.errors import BundleIntegrityError
from edgefoley.timeline import Timeline, grid_count
from edgefoley.types import FrameView

TIMELINE = Timeline(visual_rate=Fraction(8), sync_rate=Fraction(25), rule="at_or_after")
ATTRIBUTES = {
    "visual": {"batch": 3},
    "sync": {"segment_frames": 16, "segment_stride": 8, "segment_rows": 8, "batch": 4},
}


class Numbered:
    """Stands in for ``Graphs``: a picture's row is its number, a segment's eight rows those of every second
    frame."""

    def __init__(self, rows: int = 8) -> None:
        components = {
            name: SimpleNamespace(attributes=attributes, width=lambda tensor: 1)
            for name, attributes in ATTRIBUTES.items()
        }
        self.bundle: Any = SimpleNamespace(components=components, timeline=TIMELINE, name="numbered")
        self.rows = rows
        self.batches: list[int] = []

    def run(self, component: str, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        frames = feeds["frames"]
        self.batches.append(len(frames))
        if component == "visual":
            return {"visual_feat": frames[:, 0, 0].astype(np.float32)[:, None]}
        return {"sync_feat": frames[:, ::2, 0, 0].astype(np.float32)[:, : self.rows, None]}


def numbered(rate: Fraction, first: Fraction, seconds: Fraction) -> FrameView:
    """Frames that show their number on the clip's grid (below 2^16), from ``first`` seconds on."""
    count = grid_count(seconds, rate)
    numbers = (int(first * rate) + np.arange(count)).astype(np.uint16)
    return FrameView(numbers[:, None, None], np.zeros(count, np.float32))  # type: ignore[arg-type]


def clip_of(first: Fraction, seconds: Fraction) -> Any:
    rates = {"visual": TIMELINE.visual_rate, "sync": TIMELINE.sync_rate}
    return SimpleNamespace(views={name: numbered(rate, first, seconds) for name, rate in rates.items()})


@pytest.mark.parametrize(("frames", "starts"), [(16, [0]), (23, [0]), (24, [0, 8]), (200, range(0, 185, 8))])
def test_segments_begin_every_stride(frames: int, starts: Any) -> None:
    rows = np.concatenate(list(encoders.segment_frames(frames, 16, 8, batch=5)))
    np.testing.assert_array_equal(rows, np.array(list(starts))[:, None] + np.arange(16))


def test_the_last_frame_is_held_below_one_segment() -> None:
    (row,) = encoders.segment_frames(5, 16, 8, batch=5)
    assert row.tolist() == [[0, 1, 2, 3, *[4] * 12]]


def test_segments_run_in_batches() -> None:
    graphs: Any = Numbered()
    feat, events = encoders.sync_features(graphs, numbered(Fraction(25), Fraction(0), Fraction(4)))
    assert events is None
    assert feat.shape == (1, 88, 1)  # 100 frames: 11 segments of 8 rows
    assert graphs.batches == [4, 4, 3]


def test_segments_with_other_rows_than_promised_are_an_error() -> None:
    graphs: Any = Numbered(rows=7)
    with pytest.raises(BundleIntegrityError, match="the manifest says 8 each"):
        encoders.sync_features(graphs, numbered(Fraction(25), Fraction(0), Fraction(1)))


@pytest.mark.parametrize("seconds", ["0.3", "15.9", "16", "16.1", "16.2", "16.3", "32", "33.33", "47.999"])
def test_pieces_give_what_the_whole_gives(seconds: str) -> None:
    graphs: Any = Numbered()
    duration = Fraction(seconds)
    spans = encoders.piece_spans(graphs.bundle, duration)
    assert spans[-1][1] == duration
    assert all(stop - start <= encoders.PIECE + Fraction(8, 25) for start, stop in spans)
    heard: list[float] = []
    visual, sync, _ = encoders.piecewise_features(
        graphs,
        duration,
        (clip_of(start, stop - start) for start, stop in spans),
        lambda stage, fraction: heard.append(fraction),
    )
    whole = clip_of(Fraction(0), duration)
    np.testing.assert_array_equal(visual, encoders.visual_features(graphs, whole.views["visual"]))
    np.testing.assert_array_equal(sync, encoders.sync_features(graphs, whole.views["sync"])[0])
    assert heard[-1] == 1.0
    assert len(heard) == len(spans)


@pytest.mark.parametrize("seconds", ["9.9", "15.1", "16.5", "40"])
def test_pieces_see_the_cuts_that_the_whole_shows(seconds: str) -> None:
    """Also one just where a piece begins; none are looked for in a clip of one window."""
    graphs: Any = Numbered()
    duration, moments = Fraction(seconds), [0, 200, 400, 625]
    count = grid_count(duration, Fraction(25))
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (4, 28, 28), dtype=np.uint8)
    pictures[1::2] //= 4
    film = pictures[np.searchsorted(moments, np.arange(count), side="right") - 1]
    ages = np.zeros(count, np.float32)

    def pieces() -> Iterator[Any]:
        for start, stop in encoders.piece_spans(graphs.bundle, duration):
            first, last = int(start * 25), int(start * 25) + grid_count(stop - start, Fraction(25))
            clip = clip_of(start, stop - start)
            clip.views["sync"] = FrameView(film[first:last], ages[first:last])
            yield clip

    whole = encoders.Cuts(graphs.bundle, duration)
    whole.look(FrameView(film, ages))
    *_, cuts = encoders.piecewise_features(graphs, duration, pieces(), lambda stage, fraction: None)
    expected = [Fraction(moment, 25) for moment in moments[1:] if moment + 1 < count]
    assert list(cuts) == list(whole.found()) == (expected if duration > TIMELINE.window else [])


def test_only_segments_can_be_cut_into_pieces() -> None:
    graphs: Any = Numbered()
    assert encoders.can_encode_pieces(graphs.bundle)
    graphs.bundle.components["sync"].attributes = {"context_frames": 2}
    assert not encoders.can_encode_pieces(graphs.bundle)
