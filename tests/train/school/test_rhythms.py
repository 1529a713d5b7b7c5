"""Sounds without a picture come in the rhythm that things have."""

import numpy as np
import pytest

from edgefoley.rhythms import LAST_S, RHYTHMS, Rhythm
from edgefoley.train.school.rhythms import natural_hits
from edgefoley.train.words.concepts import load_concepts


def gaps(name: str) -> np.ndarray:
    return np.diff(RHYTHMS[name].times(60.0, np.random.default_rng(3)))


def test_rhythms_are_those_of_concepts_of_short_sounds() -> None:
    kinds = {concept.id: concept.kind for concept in load_concepts()}
    assert {kinds[name] for name in RHYTHMS} <= {"impact", "step", "burst"}


@pytest.mark.parametrize(
    ("name", "low", "high"), [("typing", 0.05, 0.25), ("door_knock", 0.12, 0.35), ("running", 0.2, 0.42)]
)
def test_within_a_run_hits_follow_at_their_pace(name: str, low: float, high: float) -> None:
    assert low < float(np.median(gaps(name))) < high


def test_a_clock_ticks_evenly_and_typing_does_not() -> None:
    clock, keys = gaps("clock_tick"), gaps("typing")
    assert clock.std() < 0.02 * clock.mean()
    assert keys[keys < 0.25].std() > 0.15 * keys[keys < 0.25].mean()


def test_knocks_come_in_runs_with_pauses() -> None:
    found = gaps("door_knock")
    assert (found > 0.7).any() and (found < 0.4).mean() > 0.4


def test_times_do_not_leave_the_sound() -> None:
    for seconds in (0.3, 1.0, 7.0):
        times = Rhythm((0.1, 0.2)).times(seconds, np.random.default_rng(1))
        assert (np.diff(times) > 0).all() and (times >= 0).all() and (times < seconds - LAST_S).all()


def test_a_rhythm_is_not_the_only_way_a_thing_sounds() -> None:
    counts = [len(natural_hits("typing", "impact", 10.0, np.random.default_rng(s))) for s in range(60)]
    assert min(counts) < 8 < 20 < max(counts)
