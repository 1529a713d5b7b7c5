"""The event curve that a transformer in training sees of what nobody sees."""

from __future__ import annotations

import numpy as np
import pytest

from edgefoley.timbres import TimbreTable
from edgefoley.train.examples import bed_activity, told_curve
from edgefoley.train.school.lessons import Lesson, Voice

KINDS = {"knock": "impact", "rain": "lasting", "wind": "lasting", "scrape": "texture", "dog": "vocal"}
STEADY, FAINT = np.float32(0.7), np.float32(0.3)


def lesson(*voices: Voice, silent: bool = False) -> Lesson:
    return Lesson(1, 10.0, None, "", "", "", voices, silent=silent)


KNOCKS = Voice("knock", "unseen", hits=((0.4, 0.9), (2.0, 0.5), (2.5, 0.7), (9.0, 1.0)))
RAIN = Voice("rain", "bed", looped=True)
SCRAPE = Voice("scrape", "unseen", looped=True)


def test_events_of_words_alone_are_where_they_are_heard() -> None:
    """In the stretch from 1 s to 5 s: at 1.0 and 1.5 s of it."""
    curve = told_curve(lesson(KNOCKS), KINDS, np.zeros(200), 50)
    assert curve is not None and curve.shape == (100, 4)
    grid = curve[:, :2].reshape(-1)
    assert np.flatnonzero(grid > 0.9).tolist() == [50, 75]
    assert curve[25, 2] == np.float32(0.5) and curve[37, 2] == np.float32(0.7)
    assert not curve[:, 3].any()


@pytest.mark.parametrize("faint", [15, 60, 100, 140, 190])
def test_a_continuous_sound_is_steady_if_it_is(faint: int) -> None:
    """It is not if it is faint for ``faint`` of 200 latents."""
    curve = told_curve(lesson(RAIN), KINDS, np.zeros(200), 0)
    assert curve is not None and (curve[:, 3] == STEADY).all() and not curve[:, :3].any()
    loudness = np.where(np.arange(200) < faint, -2.0, 0.0)
    assert told_curve(lesson(RAIN), KINDS, loudness, 0) is None
    assert told_curve(lesson(RAIN), KINDS, loudness[::-1], 0) is None


def test_a_continuous_sound_in_the_background_is_faint() -> None:
    curve = told_curve(lesson(KNOCKS, RAIN), KINDS, np.zeros(200), 0)
    assert curve is not None and (curve[:, 3] == FAINT).all() and curve[:, :2].max() > 0.9
    for voices in ((RAIN, KNOCKS), (SCRAPE,), (SCRAPE, RAIN)):
        main = told_curve(lesson(*voices), KINDS, np.zeros(200), 0)
        assert main is not None and (main[:, 3] == STEADY).all() and not main[:, :3].any()
    beside = told_curve(lesson(KNOCKS, SCRAPE), KINDS, np.zeros(200), 0)
    assert beside is not None and not beside[:, 3].any()


def test_silence_is_a_curve_of_nothing_and_unknown_onsets_are_none() -> None:
    silent = told_curve(lesson(KNOCKS, silent=True), KINDS, np.zeros(200), 0)
    assert silent is not None and silent.shape == (100, 4) and not silent.any()
    assert told_curve(lesson(Voice("dog", "unseen")), KINDS, np.zeros(200), 0) is None


@pytest.mark.parametrize(
    ("voices", "activity"),
    [
        ((RAIN,), STEADY),
        ((RAIN, Voice("wind", "unseen")), STEADY),
        ((KNOCKS, RAIN), FAINT),
        ((SCRAPE, RAIN), FAINT),
        ((SCRAPE,), 0),  # it is bound to what is seen
        ((Voice("rain", "seen"),), 0),  # its own activity is known
        ((KNOCKS, Voice("dog", "unseen"), RAIN), 0),  # a third sound has no timbre
        ((), 0),
    ],
)
def test_the_bed_that_the_curve_shows(voices: tuple[Voice, ...], activity: float) -> None:
    assert np.float32(bed_activity(lesson(*voices), KINDS, np.zeros(200))) == activity
    pausing = np.where(np.arange(200) < 80, -2.0, 0.0)
    after = 0 if activity == STEADY else activity
    assert np.float32(bed_activity(lesson(*voices), KINDS, pausing)) == after


@pytest.mark.parametrize(
    "named", [("rain",), ("rain", "wind"), ("knock", "rain"), ("scrape",), ("dog", "rain")]
)
def test_training_and_runtime_have_the_same_activity(named: tuple[str, ...]) -> None:
    """Of sounds that nobody sees, over a picture in which nothing moves."""
    kinds, count = tuple(KINDS.values()), len(KINDS)
    keys, rows = np.eye(count, dtype=np.float32), np.zeros((0, count), np.float32)
    table = TimbreTable(tuple(KINDS), kinds, keys, np.zeros(0, np.int64), rows, rows, 0.6)
    still = np.zeros((1, 100, 4), np.float32)
    shown = table.lasting(still, [list(KINDS).index(name) for name in named])
    voices = [Voice(name, "unseen", hits=((1.0, 0.5),)) for name in named]
    assert (shown[0, :, 3] == np.float32(bed_activity(lesson(*voices), KINDS, np.zeros(200)))).all()
