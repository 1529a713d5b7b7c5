"""What the sync encoder's trainer does with films: crops, twins, their agreement, calibration."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.train.scenes.pool import Crop, Pool  # noqa: E402
from edgefoley.train.sync import calibrate, located  # noqa: E402
from edgefoley.train.sync_crops import (  # noqa: E402
    FAR,
    Batches,
    agreement,
    augment,
    held,
    placed,
    spots,
    targets,
    vivid,
)
from edgefoley.train.video_look import rewrite  # noqa: E402


def test_a_kept_pool_gives_the_frames_of_a_plain_one(pool, films):
    plain = Pool(films)
    for start in (0.0, 0.5, 0.0):
        kept, read = pool.crop(1, start, 30), plain.crop(1, start, 30)
        assert np.array_equal(kept.frames, read.frames) and np.array_equal(kept.ages, read.ages)


def test_every_second_frame_makes_frames_older_not_events_other(pool):
    whole, thin = pool.crop(0, 0.0, 50), pool.crop(0, 0.0, 50, every=2)
    assert np.array_equal(whole.times, thin.times)
    assert thin.ages.mean() > whole.ages.mean()
    fresh = thin.ages < whole.ages + 1e-6  # where the newest frame was kept, it is the same frame
    assert fresh.any() and np.array_equal(thin.frames[fresh], whole.frames[fresh])


def test_targets_have_a_bump_of_one_at_each_event():
    crop = Crop(
        np.zeros((25, 4, 4), np.uint8), np.zeros(25, np.float32), np.array([0.2, 0.7]), np.array([0.3, 0.9]),
        np.full((2, 2), 0.5), np.zeros(50, np.float32), "drop",
    )  # fmt: skip
    bumps, strength = targets(crop)
    assert bumps[10] == pytest.approx(1) and bumps[35] == pytest.approx(1)
    assert bumps[11] == pytest.approx(math.exp(-0.5 * (0.02 / 0.015) ** 2), rel=1e-4)
    assert strength[10] == pytest.approx(0.3) and strength[35] == pytest.approx(0.9)


def test_twins_show_the_same_stretch_otherwise(pool):
    batch = Batches(pool, 6, 40, seed=3, twins=2)(7)
    assert len(batch["frames"]) == 6
    for k in range(2):
        one, other = k, 4 + k
        assert torch.equal(batch["bumps"][one], batch["bumps"][other])
        assert batch["action"][one] == batch["action"][other]
        assert not torch.equal(batch["frames"][one], batch["frames"][other])
    again = Batches(pool, 6, 40, seed=3, twins=2)(7)
    assert all(torch.equal(batch[key], again[key]) for key in batch)
    with pytest.raises(ValueError, match="twins"):
        Batches(pool, 6, 40, seed=3, twins=4)


def test_augmentation_keeps_a_moving_thing_moving_at_the_same_frames():
    frames = np.full((30, 112, 112), 90, np.uint8)
    frames[17:, 30:70, 30:70] = 200
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moved, _ = placed(rng, frames, np.zeros((0, 2)))
        change = np.abs(np.diff(moved.astype(int), axis=0)).mean((1, 2))
        assert change.argmax() == 16 and change[:16].max() == 0 and change[17:].max() == 0
        noisy, _ = augment(rng, frames, np.zeros((0, 2)))
        assert noisy.shape == frames.shape and noisy.dtype == np.uint8
        assert np.abs(np.diff(noisy.astype(int), axis=0)).mean((1, 2)).argmax() == 16


def test_spots_are_where_and_when_events_are_seen():
    times, places = np.array([0.2, 0.5, 0.7]), np.array([[0.25, 0.75], [0.5, 1.2], [0.9, 0.1]])
    found = spots(times, places, 25, 7).astype(float)
    assert found.shape == (50, 7, 7)
    assert np.unravel_index(found[:20].argmax(), (20, 7, 7)) == (10, 5, 1)
    assert found[25].max() == 0  # outside the picture
    assert np.unravel_index(found[30:].argmax(), (20, 7, 7)) == (5, 0, 6)
    assert 0.7 < found[10].max() <= 1 and found[14:20].max() < 1e-4


def test_only_the_place_of_an_event_lowers_the_loss_of_places():
    target = torch.from_numpy(spots(np.array([0.2]), np.array([[0.2, 0.8]]), 10, 7)).float()[None]
    nowhere = torch.full_like(target, -6.0)
    right, wrong = nowhere.clone(), nowhere.clone()
    right[0, 10, 5, 1] = wrong[0, 10, 1, 5] = 4.0
    assert located(right, target) < 0.8 * located(nowhere, target) < located(wrong, target)
    exact = torch.logit(target.clamp(1e-4, 1 - 1e-4))
    assert located(exact, target) < 1e-3


def test_what_hardly_changes_stands_still_and_what_moves_is_seen():
    rng = np.random.default_rng(0)
    scene = rng.integers(80, 120, (112, 112))
    frames = np.stack([scene + rng.integers(0, 2, scene.shape) for _ in range(20)])
    frames[10:, 40:60, 40:60] = 220
    frames = frames.astype(np.uint8)
    for seed in range(8):
        shown = held(np.random.default_rng(seed), frames).astype(int)
        step = np.abs(np.diff(shown, axis=0))
        assert np.array_equal(shown[0], frames[0]) and step[9, 40:60, 40:60].min() > 80
        step[9, 38:62, 38:62] = 0
        assert step.max() == 0
    slow = np.repeat(np.arange(100, 160)[:, None, None], 112, 1).repeat(112, 2).astype(np.uint8)
    lag = slow.astype(int) - held(np.random.default_rng(0), slow)
    assert lag.max() <= 7  # a slow change is shown in steps, and never forgotten


def test_a_vivid_film_has_the_contrast_and_edges_of_video():
    soft = np.zeros((16, 112, 112), np.float32)
    soft[:, 30:80, 30:80] = 60
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 2.0) + 60 for frame in soft]).astype(np.uint8)
    spread, edges = [], []
    for seed in range(20):
        made = vivid(np.random.default_rng(seed), soft)
        assert made.dtype == np.uint8
        spread.append(made.std())
        edges.append(np.abs(np.diff(made.astype(float), axis=2)).max() / made.std())
    assert 35 < np.mean(spread) < 60
    assert np.median(edges) > 1.05 * np.abs(np.diff(soft.astype(float), axis=2)).max() / soft.std()
    assert np.array_equal(made[0], made[15])  # one look for the whole stretch


def test_films_that_look_like_video_keep_their_truth(pool, films, tmp_path):
    assert rewrite(films, tmp_path / "video") == 3
    made = Pool(tmp_path / "video")
    for k in range(3):
        assert np.array_equal(made.films[k]["times"], pool.films[k]["times"])
        assert np.array_equal(made.films[k]["timestamps"], pool.films[k]["timestamps"])
        one, other = pool.frames(k), made.frames(k)
        assert one.shape == other.shape and not np.array_equal(one, other)
        same = [np.array_equal(a, b) for a, b in itertools.pairwise(one)]
        assert all(
            np.array_equal(a, b) for (a, b), kept in zip(itertools.pairwise(other), same, strict=True) if kept
        )


def test_agreement_is_small_for_equal_twins_and_chance_for_strangers():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(3, 40, 32, generator=generator)
    strangers = torch.randn(3, 40, 32, generator=generator)
    assert agreement(one, one) < 0.1
    assert agreement(one, strangers) > math.log(40 - 2 * FAR + 2) - 0.5
    # Instants nearer than FAR are not asked to differ: a slow feature is no fault.
    slow = one.clone()
    slow[:, 1::2] = slow[:, 0::2]
    assert agreement(slow, slow) < 0.1


def test_calibration_finds_the_share_of_true_peaks():
    """Peaks of logit a are true with probability sigmoid(1.5 a + 0.5): the fit must find that."""
    rng = np.random.default_rng(0)
    curves, films = [], []
    for _ in range(300):
        curve, times = np.full(250, -9.0, np.float32), []
        for place in range(12, 240, 20):
            logit = rng.uniform(-3, 2)
            curve[place] = logit
            if rng.random() < 1 / (1 + math.exp(-1.5 * logit - 0.5)):
                times.append(place / 50)
        curves.append(curve)
        films.append({"times": np.array(times)})
    fake = type("Films", (), {"films": films})()
    gain, bias = calibrate(curves, fake)
    assert gain == pytest.approx(1.5, abs=0.15) and bias == pytest.approx(0.5, abs=0.15)
