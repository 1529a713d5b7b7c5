"""Rendered scenes: same seed same bytes, event times against independent physics, the picture agrees with
the events.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("cv2")

import itertools

from edgefoley.train.scenes.contacts import Drop, Impact, Scrape
from edgefoley.train.scenes.draw import Canvas, affine
from edgefoley.train.scenes.flat import ARCHETYPES, grid, render_scene, scene_events
from edgefoley.train.scenes.motion import MIN_GAP_S, Bounce, Calls, Phase, Strikes, rhythm
from edgefoley.train.scenes.pool import Pool, render_shard
from edgefoley.train.scenes.programs import Burst, Step


@pytest.mark.parametrize("archetype", ARCHETYPES)
def test_every_archetype_is_deterministic_and_well_formed(archetype: str) -> None:
    one, two = (render_scene(7, 2.0, 25, archetype=archetype) for _ in range(2))
    assert np.array_equal(one.frames, two.frames) and one.events == two.events
    assert not np.array_equal(
        one.frames, render_scene(8, 2.0, 25, archetype=archetype).frames[: len(one.frames)]
    )
    assert one.frames.dtype == np.uint8 and one.frames.shape == (len(one.timestamps), 112, 112)
    assert one.timestamps[0] == 0 and np.all(np.diff(one.timestamps) > 0) and one.timestamps[-1] < 2.05
    times = [e.time_s for e in one.events]
    assert times == sorted(times) and all(0 <= t < 2 for t in times)
    assert all(0 < e.strength <= 1 for e in one.events)
    assert one.activity.shape == (100,) and 0 <= one.activity.min() <= one.activity.max() <= 1
    if archetype in ("quiet", "texture"):
        assert not one.events
    if archetype == "texture":
        assert one.activity.min() > 0


def test_the_pool_of_kinds_has_events_and_motion() -> None:
    for archetype in set(ARCHETYPES) - {"quiet", "texture"}:
        scenes = [render_scene(s, 3.0, 12, archetype=archetype) for s in range(4)]
        assert sum(bool(s.events) for s in scenes) >= 3, archetype
        moving = [np.abs(np.diff(s.frames.astype(int), axis=0)).mean() for s in scenes]
        assert max(moving) > 0.3, archetype


def test_events_without_drawing_are_those_of_the_drawn_scene() -> None:
    for seed in range(20, 30):
        scene = render_scene(seed, 1.0)
        events, activity = scene_events(seed, 1.0)
        assert events == scene.events and np.array_equal(activity, scene.activity)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown archetype .bang..*impact"):
        render_scene(0, 2.0, archetype="bang")
    with pytest.raises(ValueError, match=r"0\.1 s"):
        render_scene(0, 0.1)


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
    for t in fine[heights < 1e-9]:  # nowhere else does it touch, but for the dwell after a contact
        assert min((t - c for c in strikes.times if c <= t + 1e-6), default=9.0) <= 0.13


def test_rhythms_keep_a_gap_and_the_range() -> None:
    for seed in range(40):
        times = rhythm(np.random.default_rng(seed), 5.0)
        assert all(b - a >= MIN_GAP_S - 1e-9 for a, b in itertools.pairwise(times))
        assert all(0.05 <= t <= 4.95 for t in times)


def test_feet_land_where_the_phase_crosses() -> None:
    phase = Phase([0.0, 1.0, 1.5], [2.0, 0.0, 4.0])
    assert phase.at(1.2) == 2.0 and phase.at(2.0) == 4.0
    assert phase.crossings(0.5, 2.0) == pytest.approx([0.25, 0.75, 1.625, 1.875])
    step = Step(np.random.default_rng(3), 5.0)
    for leg, offset in enumerate(step.offsets):
        for t in step.phase.crossings(offset, 5.0):
            assert step._foot(leg, step.phase.at(t + 1e-9))[1] == pytest.approx(0, abs=1e-6)
            assert step._foot(leg, step.phase.at(t) - 0.05)[1] > 0  # in the air just before


def test_a_call_is_half_open_at_its_time() -> None:
    calls = Calls((1.0,), (0.3,), 0.06, (0.8,))
    assert calls.openness(1.0) == pytest.approx(0.4)
    assert calls.openness(0.9) == 0 and calls.openness(1.2) == pytest.approx(0.8)


def _draw(program: object, t: float) -> np.ndarray:
    canvas = Canvas(224)
    canvas.begin(np.full((64, 64), 128, np.uint8), 3.0, affine(112, 112, 80))
    program.draw(canvas, t)
    return canvas.image.astype(int)


def test_the_drawn_ball_is_lowest_at_its_contact() -> None:
    drops = [Drop(np.random.default_rng(seed), 4.0, dribble=True) for seed in range(12)]
    for seed, drop in enumerate(
        d for d in drops if d.shapes == ["disc"]
    ):  # a polygon may not reach its square
        drop.hand, drop.floor = None, None
        lowest = []
        for t in drop.events[1].time_s + np.array([-0.08, -0.04, 0.0, 0.04, 0.08]):
            rows = np.flatnonzero((np.abs(_draw(drop, t) - 128) > 12).any(1))
            lowest.append(rows.max() if len(rows) else 0)
        assert lowest[2] == max(lowest), (seed, lowest)
        assert lowest[2] == pytest.approx(112, abs=3)  # the floor is y = 0


def test_a_flash_is_brightest_just_after_the_shot_and_absent_before() -> None:
    burst = next(
        b
        for b in (Burst(np.random.default_rng(s), 4.0) for s in range(100))
        if b.flash > 0.03 and not b.firework and b.events
    )
    t = burst.events[0].time_s
    bright = [int((_draw(burst, t + d) > 225).sum()) for d in (-0.02, 0.001, 0.3)]
    assert bright[1] > bright[0] + 20 and bright[1] > bright[2]


def test_a_tool_meets_its_target_at_the_event_and_a_scrape_reverses_there() -> None:
    impact = Impact(np.random.default_rng(5), 5.0)
    for i, event in enumerate(impact.events):
        assert impact._target(event.time_s) == pytest.approx(impact.targets[i])
    scrape = Scrape(np.random.default_rng(5), 5.0)
    for event in scrape.events:
        assert abs(scrape.strokes.state(event.time_s)[0]) == pytest.approx(1.0, abs=1e-6)


def test_grid_takes_the_newest_frame_at_or_before() -> None:
    scene = render_scene(3, 2.0, 15, archetype="drop")
    frames, ages = grid(scene)
    assert frames.shape == (50, 112, 112) and ages.shape == (50,)
    for k in range(50):
        shown = [i for i, t in enumerate(scene.timestamps) if t <= k / 25 + 1e-6][-1]
        assert np.array_equal(frames[k], scene.frames[shown])
        assert ages[k] == pytest.approx(max(0.0, k / 25 - scene.timestamps[shown]), abs=1e-6)


def test_pool_crops_keep_pictures_and_events_together(tmp_path) -> None:
    render_shard(tmp_path, 0, 50, 3, 3.0)
    before = (tmp_path / "shard_000.npy").stat().st_mtime_ns
    render_shard(tmp_path, 0, 50, 3, 3.0)
    assert (tmp_path / "shard_000.npy").stat().st_mtime_ns == before  # a whole shard is not drawn again
    pool = Pool(tmp_path)
    scene = render_scene(51, 3.0)
    whole, crop = pool.crop(1, 0.0, 75), pool.crop(1, 1.0, 40, speed=1.25)
    assert np.array_equal(whole.frames, grid(scene)[0]) and np.array_equal(whole.ages, grid(scene)[1])
    times = np.array([e.time_s for e in scene.events])
    assert crop.times == pytest.approx(((times - 1) / 1.25)[(times >= 1) & (times < 3)])
    newest = np.flatnonzero(scene.timestamps <= 1.0 + 0.4 * 1.25 + 1e-6)[-1]  # grid place 10 is 0.4 s
    assert np.array_equal(crop.frames[10], scene.frames[newest])
    with pytest.raises(FileNotFoundError, match="no shards"):
        Pool(tmp_path / "empty")
