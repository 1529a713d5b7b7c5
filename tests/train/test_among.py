"""What else is in the picture of a training stretch: other films, people and things that move, a camera that
pans."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.train.among import Among, distant, overlaid, panned, stamps_of  # noqa: E402
from edgefoley.train.restless import (  # noqa: E402
    PATCH,
    Part,
    Restless,
    cycle,
    driven,
    flutter,
    moves,
)
from edgefoley.train.scenes.photos import Panoramas  # noqa: E402
from edgefoley.train.scenes.pool import QUIET, Crop, Pool  # noqa: E402
from edgefoley.train.sync import known_error  # noqa: E402
from edgefoley.train.sync_crops import Batches, placed  # noqa: E402
from edgefoley.train.video_look import rewrite  # noqa: E402


@pytest.fixture(scope="module")
def panoramas():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, 32, 64, 3)).astype(np.uint8)
    return Panoramas({str(i): cv2.resize(image, (512, 256)) for i, image in enumerate(coarse)})


@pytest.fixture(scope="module")
def others(panoramas):
    return Restless(panoramas, 112, layers=4)


def test_what_lies_over_or_around_a_stretch_is_repeated_where_it_is(pool):
    thin = pool.crop(0, 0.0, 50, every=4)
    other = np.random.default_rng(0).integers(0, 256, thin.frames.shape).astype(np.uint8)
    new = np.diff(np.arange(50) - thin.ages * 25) > 0.5  # another frame than at the place before
    assert 0 < new.sum() < len(new)
    stamps = stamps_of(thin.ages)
    at = np.unique(stamps, return_inverse=True)[1]
    for change in (
        lambda rng: overlaid(rng, thin.frames, other[at]),
        lambda rng: distant(rng, thin.frames, thin.places, other[at])[0],
    ):
        moving = 0
        for seed in range(6):
            made = change(np.random.default_rng(seed))
            step = np.abs(np.diff(made.astype(int), axis=0)).max((1, 2))
            assert np.all(step[~new] == 0)
            moving += bool(np.all(step[new] > 0))
        assert moving >= 2  # around a distant one the picture may stand still
    swayed, _ = panned(np.random.default_rng(0), other[:1].repeat(50, 0), stamps, thin.times, thin.places)
    step = np.abs(np.diff(swayed.astype(int), axis=0)).max((1, 2))
    assert np.all(step[new] > 0) and np.all(step[~new] == 0)


def test_a_distant_stretch_fills_a_part_of_the_picture(pool):
    crop = pool.crop(0, 0.0, 10)
    white = np.full_like(crop.frames, 255)
    for seed in range(10):
        made, _ = distant(np.random.default_rng(seed), white, crop.places, np.zeros_like(crop.frames))
        share = made[3].mean() / 255
        assert 0.03 < share < 0.6 and made.max() >= 254 and made.min() == 0


def _dot(places, size=112):
    """A stretch that is black but for a white spot of 7 pixels at each of its events' places, all in it."""
    frames = np.zeros((30, size, size), np.uint8)
    for x, y in places:
        a, b = round(y * size - 0.5), round(x * size - 0.5)
        frames[:, a - 3 : a + 4, b - 3 : b + 4] = 255
    times = np.full(len(places), 0.6)
    return Crop(
        frames, np.zeros(30, np.float32), times, np.ones(len(places)), np.array(places),
        np.zeros(60, np.float32), "strike",
    )  # fmt: skip


def test_places_of_events_go_where_the_pictures_go():
    crop = _dot([(0.3, 0.6)])
    dark = replace(crop, frames=np.zeros_like(crop.frames))
    changes = (
        lambda rng, seen: distant(rng, seen.frames, seen.places, dark.frames),
        lambda rng, seen: panned(rng, seen.frames, stamps_of(seen.ages), seen.times, seen.places),
        lambda rng, seen: placed(rng, seen.frames, seen.places),
    )
    for change in changes:
        shifts = []
        for seed in range(12):
            (frames, places), (plain, _) = (change(np.random.default_rng(seed), x) for x in (crop, dark))
            picture = frames[15].astype(float) - plain[15]  # 0.6 s
            if picture.max() < 200:  # outside the picture, or behind a soft edge
                continue
            y, x = (np.argwhere(picture > 128).mean(0) + 0.5) / 112
            assert (x, y) == pytest.approx(tuple(places[0]), abs=0.012)
            shifts.append(abs(x - 0.3) + abs(y - 0.6))
        assert len(shifts) > 5 and max(shifts) > 0.03


def test_nothing_restless_turns_as_suddenly_as_a_blow():
    """A blow reverses a tool's speed within a frame, by twice its greatest speed; no track changes within
    20 ms by three quarters of that."""
    t = np.arange(0, 20, 0.001)
    for seed in range(60):
        for make in (cycle, moves, driven):
            track = make(np.random.default_rng(seed), t)
            assert np.abs(track).max() < 5
            speed = np.diff(track) / 0.001
            jump = np.abs(speed[20:] - speed[:-20]).max()
            assert jump < 2 * 0.75 * np.abs(speed).max()


def test_a_part_covers_what_is_behind_it_where_it_is():
    whole = np.full((PATCH, PATCH), 255, np.uint8)
    at = np.array([56.0]), np.array([30.0]), np.array([0.0])
    part = Part(np.full_like(whole, 200), whole, *at, 40.0, 10.0)
    colour, cover = np.zeros((112, 112), np.uint8), np.zeros((112, 112), np.uint8)
    part.paint(colour, cover, 0)
    y, x = np.nonzero(cover > 128)
    assert (x.min(), x.max()) == pytest.approx((36, 76), abs=1)
    assert (y.min(), y.max()) == pytest.approx((25, 35), abs=1)
    assert np.all(colour[cover == 255] == 200) and colour[60:].max() == 0
    Part(np.full_like(whole, 50), whole, *at, 10.0, 10.0).paint(colour, cover, 0)
    assert colour[30, 56] == 50 and colour[30, 40] == 200  # the later one lies over the earlier
    part = Part(whole, whole, np.array([500.0]), at[1], at[2], 40.0, 10.0)
    before = colour.copy()
    part.paint(colour, cover, 0)  # outside the picture
    assert np.array_equal(colour, before)


def test_what_moves_in_front_hides_and_what_does_not_stays(others):
    frames = np.full((40, 112, 112), 90, np.uint8)
    stamps = np.floor(np.arange(40) / 2) / 12.5  # every frame twice
    moved = 0
    for seed in range(8):
        out = others.stir(np.random.default_rng(seed), frames, stamps)
        change = np.abs(np.diff(out.astype(int), axis=0)).max((1, 2))
        assert np.all(change[::2] == 0)
        moved += change[1::2].max() > 20
        assert (np.abs(out.astype(int) - 90) <= 1).mean() > 0.1
    assert moved >= 6
    again = others.stir(np.random.default_rng(3), frames, stamps)
    assert np.array_equal(again, others.stir(np.random.default_rng(3), frames, stamps))
    with pytest.raises(ValueError, match=r"a layer lasts 3\.48 s"):
        others.stir(np.random.default_rng(0), frames, np.arange(40) / 10)


def test_a_fluttering_picture_moves_by_a_few_pixels(others):
    view = np.repeat(np.arange(112, dtype=np.uint8)[None], 112, 0)  # shades say where a pixel came from
    frames, stamps = view[None].repeat(30, 0), np.arange(30) / 25
    for seed in range(5):
        way = flutter(np.random.default_rng(seed), frames, stamps).astype(int) - view
        assert 0 < np.abs(way[:, :, 20:-20]).max() < 25
        assert np.abs(np.diff(way, axis=0)).max() > 0


def test_restless_stretches_have_no_events_and_no_known_activity(pool, others):
    batches = Batches(pool, 12, 40, seed=3, twins=2, others=others)
    kinds = 0
    for step in range(6):
        batch = batches(step)
        unknown = batch["activity"].isnan()
        for row in range(12):
            if not unknown[row].any():
                continue
            kinds += 1
            assert unknown[row].all() and batch["bumps"][row].max() == 0 and batch["where"][row].max() == 0
            assert row not in (0, 1, 10, 11)  # a twin shows the same stretch
    assert 4 <= kinds <= 25
    again = Batches(pool, 12, 40, seed=3, twins=2, others=others)(5)
    assert all(torch.equal(batch[k].nan_to_num(), again[k].nan_to_num()) for k in batch)


def test_what_is_unknown_is_no_error():
    target = torch.tensor([[0.5, float("nan")], [float("nan"), 1.0]])
    values = torch.tensor([[0.0, 9.0], [7.0, 0.0]], requires_grad=True)
    error = known_error(values, target)
    assert error.item() == pytest.approx((0.25 + 1.0) / 2)
    error.backward()
    assert values.grad.tolist() == [[-0.5, 0.0], [0.0, -1.0]]
    assert known_error(values, torch.full((2, 2), float("nan"))).item() == 0


def test_a_stretch_keeps_its_events_among_others(pool, others):
    """White events on black: whatever lies over or around, they are where the places say."""
    crop = _dot([(0.3, 0.6)])
    among, seen = Among(pool, others), 0
    for seed in range(40):
        made = [
            among(np.random.default_rng(seed), frames, stamps_of(crop.ages), crop.times, crop.places)
            for frames in (crop.frames, np.zeros_like(crop.frames))
        ]
        (frames, places), (plain, _) = made
        picture = frames[15].astype(float) - plain[15]
        if picture.max() < 100:  # behind something, or outside
            continue
        y, x = (np.argwhere(picture > 0.6 * picture.max()).mean(0) + 0.5) / 112
        seen += abs(x - places[0, 0]) + abs(y - places[0, 1]) < 0.04
    assert seen > 25


def test_held_out_films_among_others_keep_their_times(pool, films, panoramas, tmp_path):
    assert rewrite(films, tmp_path / "both", panoramas) == 6
    rewrite(films, tmp_path / "video")
    made, plain = Pool(tmp_path / "both"), Pool(tmp_path / "video")
    for k in range(3):
        assert np.array_equal(made.frames(k), plain.frames(k))
    for k in range(3):
        # A camera may pan away from a contact.
        assert set(made.films[3 + k]["times"]) <= set(pool.films[k]["times"])
        assert np.array_equal(made.films[3 + k]["timestamps"], pool.films[k]["timestamps"])
        assert made.films[3 + k]["action"] == pool.films[k]["action"]
        assert not np.array_equal(made.frames(3 + k), pool.frames(k))
    quiet = [k for k in range(3) if pool.films[k]["action"] == QUIET]
    assert len(quiet) == 1  # another picture altogether
    one, other = (made.frames(k)[0].astype(float).ravel() for k in (quiet[0], 3 + quiet[0]))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.6
