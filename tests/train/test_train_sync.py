"""What the sync encoder's trainer does with films: crops, twins, their agreement, calibration."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.train.scenes.pool import Crop, Pool, render_shard  # noqa: E402
from edgefoley.train.sync import calibrate  # noqa: E402
from edgefoley.train.sync_crops import (  # noqa: E402
    FAR,
    Batches,
    agreement,
    augment,
    distant,
    overlaid,
    panned,
    placed,
    targets,
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    render_shard(folder, 0, 5_000_000, 3, 3.0)
    return Pool(folder, keep=True)


def test_a_kept_pool_gives_the_frames_of_a_plain_one(pool, tmp_path):
    render_shard(tmp_path, 0, 5_000_000, 3, 3.0)
    plain = Pool(tmp_path)
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
        np.zeros(50, np.float32), "drop",
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


def test_what_lies_over_or_around_a_stretch_is_repeated_where_it_is(pool):
    thin = pool.crop(0, 0.0, 50, every=4)
    other = np.random.default_rng(0).integers(0, 256, thin.frames.shape).astype(np.uint8)
    new = np.diff(np.arange(50) - thin.ages * 25) > 0.5  # another frame than at the place before
    assert 0 < new.sum() < len(new)
    for change in (overlaid, distant):
        moving = 0
        for seed in range(6):
            made = change(np.random.default_rng(seed), thin, other)
            step = np.abs(np.diff(made.astype(int), axis=0)).max((1, 2))
            assert np.all(step[~new] == 0)
            moving += bool(np.all(step[new] > 0))
        assert moving >= 2  # around a distant one the picture may stand still
    swayed = panned(np.random.default_rng(0), thin, np.repeat(other[:1], 50, 0))
    step = np.abs(np.diff(swayed.astype(int), axis=0)).max((1, 2))
    assert np.all(step[new] > 0) and np.all(step[~new] == 0)


def test_a_distant_stretch_fills_a_part_of_the_picture(pool):
    crop = pool.crop(0, 0.0, 10)
    white = replace(crop, frames=np.full_like(crop.frames, 255))
    for seed in range(10):
        made = distant(np.random.default_rng(seed), white, np.zeros_like(crop.frames))
        share = made[3].mean() / 255
        assert 0.03 < share < 0.6 and made.max() >= 254 and made.min() == 0


def test_augmentation_keeps_a_moving_thing_moving_at_the_same_frames():
    frames = np.full((30, 112, 112), 90, np.uint8)
    frames[17:, 30:70, 30:70] = 200
    for seed in range(20):
        rng = np.random.default_rng(seed)
        moved = placed(rng, frames)
        change = np.abs(np.diff(moved.astype(int), axis=0)).mean((1, 2))
        assert change.argmax() == 16 and change[:16].max() == 0 and change[17:].max() == 0
        noisy = augment(rng, frames)
        assert noisy.shape == frames.shape and noisy.dtype == np.uint8
        assert np.abs(np.diff(noisy.astype(int), axis=0)).mean((1, 2)).argmax() == 16


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
