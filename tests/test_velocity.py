"""What the windows of a clip are told, in a model whose sync encoder works in segments."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgefoley.errors import BundleIntegrityError
from edgefoley.timeline import Timeline, grid_count, segment_count
from edgefoley.types import Conditioning
from edgefoley.velocity import Spans, VelocityField

TIMELINE = Timeline(
    visual_rate=Fraction(8),
    sync_rate=Fraction(25),
    rule="at_or_after",
    window=Fraction(15),
    overlap=Fraction(3),
)
SEGMENTS = {"segment_frames": 16, "segment_stride": 8, "segment_rows": 8}


def bundle_of(timeline: Timeline = TIMELINE, **sync: int) -> Any:
    conditioner = SimpleNamespace(attributes={"absent": "rows"}, width=lambda tensor: 2)
    components = {
        "sync": SimpleNamespace(attributes=sync or SEGMENTS),
        "denoiser": SimpleNamespace(attributes={"latent_multiple": 1}, parts=()),
        "conditioner": conditioner,
    }
    return SimpleNamespace(timeline=timeline, components=components, name="model")


def field_of(seconds: str) -> tuple[VelocityField, Conditioning]:
    """A clip whose features are their own numbers."""
    duration = Fraction(seconds)
    pictures = grid_count(duration, TIMELINE.visual_rate)
    segments = segment_count(grid_count(duration, TIMELINE.sync_rate), 16, 8)
    rows = lambda count: np.arange(count, dtype=np.float32)[None, :, None].repeat(2, axis=2)  # noqa: E731
    text = np.ones((1, 3, 2), np.float32)
    conditioning = Conditioning(duration, text, -text, rows(pictures), rows(8 * segments))
    graphs: Any = SimpleNamespace(bundle=bundle_of())
    return VelocityField(graphs, conditioning, 4.5), conditioning


def seen(feeds: Any) -> list[np.ndarray]:
    """Number of the sync row of each token; numbers and places of the pictures."""
    rows = feeds["sync_feat"][0, feeds["sync_index"], 0]
    return [rows, feeds["visual_feat"][0, :, 0], feeds["visual_position"]]


@pytest.mark.parametrize("seconds", ["0.3", "0.64", "8", "9.97", "15"])
def test_one_window_has_all_rows_spread_evenly(seconds: str) -> None:
    """The reference's rule: row floor((i + 1/2) S / N) for token i, place 2 floor((j + 1/2) N / M) + 1."""
    field, conditioning = field_of(seconds)
    ((start, stop),) = field.places.spans
    n, s, m = stop, conditioning.sync_feat.shape[1], conditioning.visual_feat.shape[1]  # type: ignore[union-attr]
    rows, pictures, places = seen(field._condition_feeds(start, stop, True))
    assert rows.tolist() == [int((i + 0.5) * s / n) for i in range(n)]
    assert pictures.tolist() == list(range(m))
    assert places.tolist() == [2 * int((j + 0.5) * n / m) + 1 for j in range(m)]


@pytest.mark.parametrize("seconds", ["15.02", "24.5", "61", "600"])
def test_a_window_is_like_a_clip_of_its_own(seconds: str) -> None:
    field, _ = field_of(seconds)
    for start, stop in field.places.spans:
        assert start % 16 == 0  # 16 latents are 8 frames: a segment begins here
        own, _ = field_of(str(Fraction(stop - start, 50)))
        rows = seen(field._condition_feeds(start, stop, True))[0]
        alone = seen(own._condition_feeds(0, stop - start, True))[0]
        first = 8 * (start // 16)
        if stop < field.places.tokens:
            assert (rows - first).tolist() == alone.tolist()
        else:  # the last window has the clip's last frames, of which there may be one more or less
            assert rows[0] == first
            assert abs((rows - first)[-1] - alone[-1]) <= 8


def test_windows_share_the_clip_without_gaps() -> None:
    field, conditioning = field_of("40")
    told = np.concatenate([seen(field._condition_feeds(*span, True))[1] for span in field.places.spans])
    assert set(told) == set(range(conditioning.visual_feat.shape[1]))  # type: ignore[union-attr]


def test_absent_pictures_are_as_many_as_there_would_be() -> None:
    """The reference attends to as many learned rows as there are pictures, and repeats one segment."""
    field, conditioning = field_of("8")
    absent = field._condition_feeds(0, 400, False)
    present = field._condition_feeds(0, 400, True)
    assert absent["visual_feat"].shape == present["visual_feat"].shape == (1, 64, 2)
    np.testing.assert_array_equal(absent["visual_position"], present["visual_position"])
    assert absent["sync_feat"].shape == (1, 8, 2)
    np.testing.assert_array_equal(absent["sync_index"], present["sync_index"] % 8)
    assert not absent["visual_feat"].any() and not absent["sync_feat"].any()
    assert (absent["visual_present"], absent["sync_present"]) == (0, 0)
    assert absent["text_feat"] is conditioning.negative_text_feat


def test_an_event_curve_that_is_always_there_is_in_both_passes() -> None:
    field, conditioning = field_of("8")
    always = VelocityField(field.graphs, replace(conditioning, sync_always=True), 4.5)
    usual, both = (each._condition_feeds(0, 400, False) for each in (field, always))
    with_all = always._condition_feeds(0, 400, True)
    assert (usual["sync_present"], both["sync_present"], both["visual_present"]) == (0, 1, 0)
    assert np.array_equal(both["sync_feat"], with_all["sync_feat"])
    assert np.array_equal(both["text_feat"], conditioning.negative_text_feat)  # type: ignore[arg-type]


def test_sound_without_a_clip_has_the_same_rows() -> None:
    field, conditioning = field_of("8")
    wordy = Conditioning(conditioning.duration, conditioning.text_feat, None, None, None)
    graphs: Any = SimpleNamespace(bundle=bundle_of())
    alone = VelocityField(graphs, wordy, 1.0)._condition_feeds(0, 400, True)
    absent = field._condition_feeds(0, 400, False)
    for name in ("visual_feat", "visual_position", "sync_feat", "sync_index"):
        np.testing.assert_array_equal(alone[name], absent[name])


def test_a_window_after_a_cut_is_like_a_clip_of_its_own() -> None:
    """It begins with a segment; the cut lies in the middle of what it shares with the window before."""
    spans = Spans(bundle_of(), Fraction(38), [Fraction(12), Fraction("25.01"), Fraction("37.9")])
    assert spans.spans == [(0, 640), (560, 1302), (1200, 1900)]
    field, _ = field_of("38")
    for start, stop in spans.spans[:-1]:
        own, _ = field_of(str(Fraction(stop - start, 50)))
        rows, _, places = seen(field._condition_feeds(start, stop, True))
        alone = seen(own._condition_feeds(0, stop - start, True))
        assert (rows - 8 * (start // 16)).tolist() == alone[0].tolist()
        assert ((places >= 0) & (places < 2 * (stop - start))).all()


def test_latents_on_both_sides_of_a_cut_come_from_their_window() -> None:
    """Every window puts out its own number: far from a cut that number, at the cut the mean of both."""
    field, conditioning = field_of("38")
    graphs: Any = SimpleNamespace(bundle=field.graphs.bundle, run_many=numbered)
    cuts = (Fraction(12), Fraction("25.01"))
    field = VelocityField(graphs, replace(conditioning, cuts=cuts), 1.0)
    field._prepared, field._clocks[1.0] = True, {}
    field._conditions = {(index, True): {} for index in range(3)}
    velocity = field(np.zeros((1, 2, 1900), np.float32), 1.0)[0, 0]
    np.testing.assert_array_equal(velocity[:560], 0)
    np.testing.assert_array_equal(velocity[640:1200], 1)
    np.testing.assert_array_equal(velocity[1302:], 2)
    assert velocity[599:601].mean() == pytest.approx(0.5, abs=0.05)  # the longer one has a little less
    assert velocity[1250:1252].mean() == pytest.approx(1.5, abs=0.05)
    assert (np.diff(velocity) >= 0).all()


def numbered(component: str, passes: Any) -> Any:
    for number, (feeds, _) in enumerate(passes):
        yield {"velocity": np.full_like(feeds["latents"], number)}


@pytest.mark.parametrize("overlap", ["15", "14.9", "-1"])
def test_windows_that_cannot_move_on_are_refused(overlap: str) -> None:
    timeline = Timeline(window=Fraction(15), overlap=Fraction(overlap))
    with pytest.raises(BundleIntegrityError, match="cannot move on"):
        Spans(bundle_of(timeline), Fraction(20))


def test_segments_that_fall_between_latents_are_refused() -> None:
    with pytest.raises(BundleIntegrityError, match="by 50/3 tokens"):
        Spans(bundle_of(Timeline(sync_rate=Fraction(24))), Fraction(20))
