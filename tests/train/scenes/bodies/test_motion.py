"""Prescribed motion: strokes, steps and hinges are where they must be at their contacts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pybullet_data")

from edgefoley.train.scenes.bodies.gaits import Gait
from edgefoley.train.scenes.bodies.hinges import Swings
from edgefoley.train.scenes.bodies.mocap import landings, perform
from edgefoley.train.scenes.bodies.person import Build
from edgefoley.train.scenes.bodies.rhythm import Strokes, moments
from edgefoley.train.scenes.bodies.script import Hit, heard
from edgefoley.train.scenes.bodies.tracks import aimed, bend, clock, sample, still


@pytest.mark.parametrize("seed", range(6))
def test_strokes_are_down_at_their_times_and_only_then(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = moments(rng, 5.0, 0.2, 1.0)
    assert (np.diff(times) >= 0.2 - 1e-9).all()
    assert times[0] > 0 and times[-1] < 5.0
    strokes = Strokes.random(rng, times, 0.3)
    np.testing.assert_allclose(strokes.above(times), 0, atol=1e-9)
    t = np.arange(0, 5, 1e-3)
    away = np.abs(t[:, None] - times).min(axis=1) > 0.01
    assert strokes.above(t)[away].min() > 1e-4
    speed = (strokes.above(times - 2e-5) - strokes.above(times - 1e-5)) / 1e-5
    np.testing.assert_allclose(speed, strokes.speeds, rtol=1e-2)
    assert np.abs(np.diff(strokes.above(np.arange(0, 5, 1e-3)))).max() < 0.02, "a tool does not jump"


def test_feet_stand_still_between_landing_and_lifting() -> None:
    t = clock(4.0)
    gait = Gait(t, 0.3 + 0.9 * t, 1.3, 0.6, 0.1, 0.0)
    path, _ = gait.foot(0.5, 0.1)
    steps = gait.landings(0.5, 0.1)
    assert [time for time, _ in steps] == pytest.approx([(k - 0.8) / 0.9 for k in range(1, 5)])
    for time, point in steps:
        stands = (t >= time) & (t < time + 0.6 / 0.9 - 0.005)
        np.testing.assert_allclose(path[stands], np.broadcast_to(point, path[stands].shape), atol=1e-9)
        swings = (t > time - 0.3) & (t < time - 0.02)
        assert path[swings, 2].min() > 1e-3


def test_recorded_walkers_land_with_a_foot_low_and_slow() -> None:
    t = clock(4.0)
    build = Build.random(np.random.default_rng(2))
    joints = perform("walk", build, t)
    steps = landings(joints, build, t)
    assert 5 <= len(steps) <= 9, "a clip of 1.25 s holds two steps"
    gaps = np.diff([time for time, *_ in steps])
    assert 0.4 < gaps.mean() < 0.85
    for time, speed, point in steps:
        i = round(time * 240)
        ankle = min((joints[f"ankle_{s}"][i] for s in "lr"), key=lambda a: float(np.hypot(*(a - point)[:2])))
        assert np.hypot(*(ankle - point)[:2]) < build.foot
        assert ankle[2] < build.sole + 0.09, "a heel may still be up"
        assert 0 < speed < 3 and point[2] == 0
    thigh = np.linalg.norm(joints["knee_l"] - joints["hip_l"], axis=1)
    np.testing.assert_allclose(thigh, build.thigh, rtol=1e-6)


def test_two_bones_keep_their_lengths() -> None:
    rng = np.random.default_rng(0)
    root, tip = np.zeros((50, 3)), rng.uniform(-0.4, 0.4, (50, 3))
    middle = bend(root, tip, (0.4, 0.35), [0, 0, 1])
    np.testing.assert_allclose(np.linalg.norm(middle - root, axis=1), 0.4, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(tip - middle, axis=1), 0.35, rtol=1e-6)


def test_aimed_turns_point_where_they_are_told() -> None:
    axis = np.random.default_rng(1).normal(0, 1, (20, 3))
    got = aimed(axis, [1, 0, 0]).apply([0, 0, 1])
    np.testing.assert_allclose(got, axis / np.linalg.norm(axis, axis=1, keepdims=True), atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_a_door_is_shut_exactly_when_it_slams(seed: int) -> None:
    t = clock(6.0)
    swings = Swings(np.random.default_rng(seed), 6.0, t)
    for time, speed in swings.slams:
        if 0.1 < time < 5.9:
            assert np.interp(time + 0.01, t, swings.at) == pytest.approx(0, abs=1e-6)
            before = np.interp(time - 0.02, t, swings.at)
            assert before > 0
            assert before / 0.02 == pytest.approx(speed, rel=0.25)
    moving = swings.rub(6.0, 1.5)[0] > 0
    still_there = np.abs(np.diff(np.interp(np.arange(0, 6.0, 0.02), t, swings.at))) < 1e-9
    assert not (moving[1:-1] & still_there[:-1][: len(moving) - 2] & still_there[1:][: len(moving) - 2]).any()


def test_poses_between_samples_lie_between() -> None:
    track = np.stack([still([0, 0, 0]), still([1.0, 0, 0]), still([1.0, 2.0, 0])])
    np.testing.assert_allclose(sample(track, 0.5 / 240)[:3], [0.5, 0, 0])
    np.testing.assert_allclose(sample(track, 1.25 / 240)[:3], [1, 0.5, 0])
    np.testing.assert_allclose(sample(track, 9.0)[:3], [1, 2, 0])


def test_only_what_is_heard_counts() -> None:
    point = np.zeros(3)
    given = [(0.01, 1.0, 0), (1.0, 0.5, 0), (1.02, 0.6, 0), (1.5, 0.01, 0), (2.0, 0.1, 0), (2.02, 0.9, 0)]
    given += [(2.03, 0.5, 1), (5.0, 1.0, 0)]
    hits = [Hit(time, strength, point, source) for time, strength, source in given]
    kept = heard(hits, 5.0)
    assert [(h.time_s, h.strength, h.source) for h in kept] == [
        (1.0, 0.6, 0),  # two within 40 ms are one, from the first on, as loud as the louder
        (2.02, 0.9, 0),  # unless the first is next to nothing
        (2.03, 0.5, 1),
    ]
