"""Motions of drawn actions: contact times against independent physics and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("cv2")

from edgefoley.train.scenes.motion import MIN_GAP_S, Bounce, Calls, Phase, Strikes, rhythm
from edgefoley.train.scenes.program import Emitter, Level


def test_bounce_times_agree_with_integrated_physics() -> None:
    body = Bounce(0.3, 1.2, 9.81, 0.7)
    first = 0.3 + math.sqrt(2 * 1.2 / 9.81)
    assert body.times[0] == pytest.approx(first)
    assert body.times[1] - body.times[0] == pytest.approx(0.7 * 2 * math.sqrt(2 * 9.81 * 1.2) / 9.81)
    height, speed, t, step, hits = 1.2, 0.0, 0.3, 1e-5, []
    while len(hits) < 3:  # an independent integrator, small steps
        speed -= 9.81 * step
        height, t = height + speed * step, t + step
        if height <= 0 and speed < 0:
            hits.append(t)
            height, speed = 0.0, -0.7 * speed
    assert body.times[:3] == pytest.approx(hits, abs=1e-3)
    for hit in body.times:
        assert body.height(hit) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_strikes_touch_exactly_at_their_times_and_reverse(seed: int) -> None:
    strikes = Strikes(np.random.default_rng(seed), 5.0)
    fine = np.arange(0, 5, 0.002)
    heights = np.array([strikes.height(t) for t in fine])
    assert heights.min() >= 0
    for t in strikes.times:
        assert strikes.height(t - 1e-7) < 1e-3 and strikes.height(t + 1e-7) < 1e-3
        assert strikes.height(t - 0.01) > 0.001  # still falling just before
    for t in fine[heights < 1e-9]:  # nowhere else does it touch, but where it lies after a contact
        newest = max(c for c in strikes.times if c <= t + 1e-6)
        assert heights[(fine >= newest) & (fine <= t)].max(initial=0) < 1e-9


def test_rhythms_keep_a_gap_and_the_range() -> None:
    for seed in range(40):
        times = rhythm(np.random.default_rng(seed), 5.0)
        assert all(b - a >= MIN_GAP_S - 1e-9 for a, b in itertools.pairwise(times))
        assert all(0.05 <= t <= 4.95 for t in times)


def test_a_phase_crosses_whole_numbers_where_arithmetic_says() -> None:
    phase = Phase([0.0, 1.0, 1.5], [2.0, 0.0, 4.0])
    assert phase.at(1.2) == 2.0 and phase.at(2.0) == 4.0
    assert phase.crossings(0.5, 2.0) == pytest.approx([0.25, 0.75, 1.625, 1.875])


def test_a_call_is_half_open_at_its_time() -> None:
    calls = Calls((1.0,), (0.3,), 0.06, (0.8,))
    assert calls.openness(1.0) == pytest.approx(0.4)
    assert calls.openness(0.9) == 0 and calls.openness(1.2) == pytest.approx(0.8)


@pytest.mark.parametrize("seed", range(6))
def test_a_level_stays_in_range_and_its_total_is_its_integral(seed: int) -> None:
    level = Level(np.random.default_rng(seed), 4.0)
    fine = np.arange(0, 4, 0.0005)
    values = np.array([level.at(t) for t in fine])
    assert values.min() >= 0 and values.max() <= 1 and values.max() >= 0.3
    assert level.total(4.0) - level.total(0.0) == pytest.approx(values.mean() * 4.0, rel=2e-3)
    for t in level.onsets():
        assert level.at(t) == 0 and level.at(t + 0.015) > 0


def test_particles_live_their_life_and_are_as_many_as_the_level_says() -> None:
    level = Level.of(np.r_[np.zeros(201), np.full(300, 0.5)])  # 0 until 1 s, then a half
    emitter = Emitter(np.random.default_rng(0), 400.0, 0.5, level)
    assert len(emitter.alive(0.9)[0]) == 0
    ages, traits, births = emitter.alive(2.5)
    assert ages.min() >= 0 and ages.max() <= 0.5 and traits.shape == (len(ages), 4)
    assert len(ages) == pytest.approx(0.5 * 0.5 * 400, rel=0.25) and np.all(births == 0.5)
    first = emitter.first(0.0)
    assert len(emitter.alive(first - 1e-6)[0]) == 0 and len(emitter.alive(first + 1e-6)[0]) == 1
