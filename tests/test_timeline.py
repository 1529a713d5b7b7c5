from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
import pytest

from edgefoley.errors import BundleIntegrityError
from edgefoley.timeline import Timeline, grid_count, pick_frames, segment_count, shot_windows, windows

F = Fraction

RATES = [F(12), F(24000, 1001), F(24), F(25), F(30000, 1001), F(30), F(50), F(60000, 1001), F(60), F(240)]


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("rule", ["at_or_before", "at_or_after"])
def test_eight_seconds_are_200_sync_frames_at_every_rate(fps, rule):
    times = [n / fps for n in range(int(8 * fps) + 1)]
    indices, ages = pick_frames(times, F(25), grid_count(F(8), F(25)), rule)
    assert len(indices) == len(ages) == 200


@pytest.mark.parametrize("fps", RATES)
def test_at_or_before_is_the_newest_frame_not_in_the_future(fps):
    times = [n / fps for n in range(int(4 * fps))]
    indices, ages = pick_frames(times, F(25), 90, "at_or_before")
    for k, (index, age) in enumerate(zip(indices, ages, strict=True)):
        assert index == int(F(k, 25) * fps)
        assert age == F(k, 25) - times[index]
        assert 0 <= age < 1 / fps


@pytest.mark.parametrize("fps", RATES)
def test_at_or_after_is_the_first_frame_not_in_the_past(fps):
    times = [n / fps for n in range(int(4 * fps))]
    indices, ages = pick_frames(times, F(25), 90, "at_or_after")
    for k, (index, age) in enumerate(zip(indices, ages, strict=True)):
        assert index == -int(-F(k, 25) * fps // 1)
        assert -1 / fps < age <= 0


def test_borders_hold_the_first_and_the_last_frame():
    times = [F(1, 10), F(2, 10)]
    assert pick_frames(times, F(10), 5, "at_or_before") == (
        [0, 0, 1, 1, 1],
        [F(-1, 10), 0, 0, F(1, 10), F(1, 5)],
    )
    assert pick_frames(times, F(10), 5, "at_or_after") == (
        [0, 0, 1, 1, 1],
        [F(-1, 10), 0, 0, F(1, 10), F(1, 5)],
    )


def test_of_frames_at_the_same_instant_the_last_is_shown():
    assert pick_frames([F(0), F(0), F(1)], F(1), 1, "at_or_before")[0] == [1]


def test_no_time_stamp_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        pick_frames([], F(25), 1, "at_or_before")


@pytest.mark.parametrize(
    ("duration", "rate", "count"),
    [
        (F(8), F(25), 200),
        (F(81, 10), F(2), 17),
        (F(1, 1000), F(25), 1),
        (F(1001, 125), F(25), 201),
        (F(8), F(2), 16),
    ],
)
def test_grid_count_counts_instants_before_the_end(duration, rate, count):
    assert grid_count(duration, rate) == count
    assert count == 1 or (count - 1) / rate < duration <= count / rate


def test_samples_and_latents():
    timeline = Timeline()
    assert timeline.hop == 960
    assert timeline.samples(F(10)) == 480_000
    assert timeline.samples(F(1001, 30000)) == 1602  # 1601.6, rounded half up
    assert timeline.samples(F(1, 96000)) == 1
    for duration in (F(10), F(1001, 120), F(3, 10), F(1, 7)):
        samples, latents = timeline.samples(duration), timeline.latents(duration)
        assert (latents - 1) * timeline.hop < samples <= latents * timeline.hop


def test_manifest_form_comes_back_the_same():
    timeline = Timeline(visual_rate=F(8), sync_rate=F(25), rule="at_or_after", window=F(17, 2))
    assert Timeline.from_json(timeline.to_json()) == timeline


@pytest.mark.parametrize(
    "change",
    [
        {"rule": "nearest"},
        {"latent_rate": 7},
        {"visual_rate": "1/0"},
        {"sync_rate": "fast"},
        {"window": None},
    ],
)
def test_senseless_manifest_is_refused(change):
    with pytest.raises(BundleIntegrityError, match="timeline of the manifest"):
        Timeline.from_json(Timeline().to_json() | change)


def test_missing_field_is_named():
    data = Timeline().to_json()
    del data["latent_rate"]
    with pytest.raises(BundleIntegrityError, match="latent_rate"):
        Timeline.from_json(data)


@pytest.mark.parametrize(
    ("count", "size", "overlap"), [(500, 500, 100), (501, 500, 100), (30000, 500, 100), (7, 3, 2)]
)
def test_windows_cover_everything_and_overlap(count, size, overlap):
    stretches = windows(count, size, overlap)
    assert stretches[0][0] == 0
    assert stretches[-1][1] == count
    assert all(stop - start == min(size, count) for start, stop in stretches)
    assert all(a[1] - b[0] >= overlap for a, b in pairwise(stretches))


def test_window_not_longer_than_the_overlap_is_refused():
    with pytest.raises(ValueError, match="longer than the overlap"):
        windows(10, 2, 2)


@pytest.mark.parametrize("count", [751, 800, 1000, 1499, 2000, 29_999, 30_000])
@pytest.mark.parametrize("shortest", [False, True])
def test_windows_begin_at_multiples_of_the_step(count, shortest):
    stretches = windows(count, 750, 150, step=16, shortest=shortest)
    assert stretches[0][0] == 0
    assert stretches[-1][1] == count
    assert all(start % 16 == 0 for start, _ in stretches)
    assert len({stop - start for start, stop in stretches}) == 1
    assert stretches[0][1] <= 750
    assert all(a[1] - b[0] >= 150 and b[0] > a[0] for a, b in pairwise(stretches))


def test_shortest_windows_are_as_few_but_no_longer_than_they_must_be():
    assert windows(800, 750, 150, step=16) == [(0, 736), (64, 800)]
    assert windows(800, 750, 150, step=16, shortest=True) == [(0, 480), (320, 800)]


@pytest.mark.parametrize(
    ("frames", "count"), [(1, 1), (15, 1), (16, 1), (23, 1), (24, 2), (200, 24), (375, 45)]
)
def test_segments_lie_wholly_within_the_frames(frames, count):
    assert segment_count(frames, 16, 8) == count
    assert frames < 16 or 8 * (count - 1) + 16 <= frames < 8 * count + 16


# --- windows that meet where the video cuts


def parts_at(chosen, count, overlap, step):
    """What is fed on each side of the chosen cuts."""
    half = -(-overlap // 4)
    starts = [0, *((cut - half) // step * step for cut in chosen)]
    stops = [*(2 * cut - start for cut, start in zip(chosen, starts[1:], strict=True)), count]
    return list(zip(starts, stops, strict=True))


def by_trying(count, cuts, size, overlap, step, shortest):
    """The least (work, seams within shots, windows) over all subsets of the cuts, one by one."""
    least = None
    for number in range(len(cuts) + 1):
        for chosen in combinations(cuts, number):
            if min(b - a for a, b in pairwise([0, *chosen, count])) < overlap:
                continue
            parts = parts_at(chosen, count, overlap, step)
            divided = [windows(b - a, size, overlap, step, shortest) for a, b in parts]
            lengths = [stop - start for part in divided for start, stop in part]
            cost = (sum(lengths), len(lengths) - len(divided), len(lengths))
            least = cost if least is None else min(least, cost)
    return least


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("size", "overlap", "step", "shortest"), [(750, 150, 16, True), (250, 50, 1, False)])
def test_the_best_division_at_cuts_is_found(seed, size, overlap, step, shortest):
    random = np.random.default_rng(seed)
    count = int(random.integers(size + 1, 5 * size))
    cuts = sorted(random.choice(count, 8, replace=False).tolist())
    made = shot_windows(count, cuts, size, overlap, step, shortest)
    assert made[0][0] == 0 and made[-1][1] == count
    assert all(start % step == 0 and stop - start <= size for start, stop in made)
    at_cuts = 0
    for (_, stop), (start, _) in pairwise(made):
        middle, shared = (stop + start) // 2, stop - start
        if shared < overlap or (middle in cuts and shared <= overlap / 2 + 2 * step):
            assert middle in cuts and overlap / 2 <= shared < overlap / 2 + 2 * step + 2
            at_cuts += 1
    lengths = [stop - start for start, stop in made]
    found = (sum(lengths), len(made) - 1 - at_cuts, len(made))
    assert found == by_trying(count, cuts, size, overlap, step, shortest)
    assert found[0] <= sum(stop - start for start, stop in windows(count, size, overlap, step, shortest))


def test_without_fitting_cuts_windows_are_as_ever():
    for cuts in ([], [0, 100, 1990, 2000]):
        assert shot_windows(2000, cuts, 750, 150, 16, True) == windows(2000, 750, 150, 16, True)
    assert shot_windows(750, [300], 750, 150) == [(0, 750)]


def test_windows_that_meet_at_cuts_share_half_of_the_overlap_around_it():
    assert shot_windows(875, [225, 438, 650], 250, 50) == [(0, 238), (212, 451), (425, 663), (637, 875)]
    made = shot_windows(1900, [600, 1250], 750, 150, 16, True)
    assert made == [(0, 640), (560, 1300), (1200, 1900)]  # starts are multiples of 16, cuts in the middle


def test_no_shot_gets_a_window_of_its_own_that_needs_none():
    made = shot_windows(2000, list(range(50, 2000, 50)), 750, 150, 16, True)
    assert len(made) == 3
