"""Lessons: what is said to be there is there, at its time, and nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.scenes import film
from edgefoley.train.school.lessons import Composer, Hit, Lesson, slow_swell, spaced
from edgefoley.train.school.mixing import Wave
from edgefoley.train.school.rhythms import natural_hits

SECONDS = 4.0
SEEDS = range(40)


@pytest.fixture(scope="module")
def lessons(composer: Composer) -> list[tuple[Wave, Lesson]]:
    return [composer.compose(seed, SECONDS) for seed in SEEDS]


def test_a_lesson_is_a_function_of_its_seed(composer: Composer, lessons: list[tuple[Wave, Lesson]]) -> None:
    for seed in (0, 7, 23):
        wave, lesson = composer.compose(seed, SECONDS)
        assert lesson == lessons[seed][1]
        np.testing.assert_array_equal(wave, lessons[seed][0])
    assert len({lesson.voices for _, lesson in lessons}) > 20


def test_events_are_visible_contacts_of_the_film(lessons: list[tuple[Wave, Lesson]]) -> None:
    seen = 0
    for _, lesson in lessons:
        if lesson.film_seed is None:
            assert not lesson.events and not lesson.activity
            continue
        truth = film.plan(lesson.film_seed, SECONDS, lesson.action, lesson.striker, lesson.struck)
        visible = {round(c.time_s, 4) for c in truth.contacts if c.visible}
        assert {time for time, _ in lesson.events} <= visible
        seen += len(lesson.events)
    assert seen > 30


def test_sound_rises_at_every_well_separated_event(lessons: list[tuple[Wave, Lesson]]) -> None:
    """By energy just after against just before: not the detector that cut the recordings."""
    rises = []
    for wave, lesson in lessons:
        if len(lesson.voices) != 1 or lesson.voices[0].looped:
            continue
        times = [time for time, _ in lesson.voices[0].hits]
        for time, before in zip(times, [-1.0, *times], strict=False):
            if time - before > 0.5 and 0.1 < time < SECONDS - 0.1:
                at = int(time * SAMPLE_RATE)
                after = float(np.square(wave[at : at + 960]).mean())
                rises.append(
                    10 * np.log10(after / (float(np.square(wave[at - 1440 : at - 480]).mean()) + 1e-9))
                )
    assert len(rises) > 15
    assert np.mean(np.array(rises) > 6) > 0.95


def test_silence_is_silent_and_sound_is_not(lessons: list[tuple[Wave, Lesson]]) -> None:
    assert any(lesson.silent for _, lesson in lessons)
    for wave, lesson in lessons:
        assert len(wave) == SECONDS * SAMPLE_RATE and np.abs(wave).max() <= 0.951
        assert lesson.silent == (not wave.any()) == (not lesson.voices)
        if lesson.silent:
            assert not lesson.events


def test_facts_count_what_sounds(lessons: list[tuple[Wave, Lesson]]) -> None:
    for _, lesson in lessons:
        facts = lesson.facts()
        assert facts.silent == lesson.silent and facts.room == lesson.room
        for fact, voice in zip(facts.sounds, lesson.voices, strict=True):
            assert fact.count == (0 if voice.looped else len(voice.hits))
            assert fact.onscreen == (voice.role == "seen")


def test_json_round_trip(lessons: list[tuple[Wave, Lesson]]) -> None:
    for _, lesson in lessons:
        assert Lesson.from_json(json.loads(json.dumps(asdict(lesson)))) == lesson


def test_spaced_keeps_the_strongest() -> None:
    hits = [Hit(0.0, 0.5), Hit(0.1, 0.9), Hit(0.2, 0.4), Hit(1.0, 0.1)]
    assert spaced(hits, 0.15 * SAMPLE_RATE) == [1, 3]
    assert spaced(hits, 0) == [0, 1, 2, 3]


def test_times_without_a_picture_stay_inside() -> None:
    for seed in range(50):
        rng = np.random.default_rng(seed)
        for concept, kind in (("horse_walk", "step"), ("typing", "impact"), ("dog_bark", "vocal")):
            hits = natural_hits(concept, kind, SECONDS, rng)
            assert hits and all(0 <= hit.time_s < SECONDS and 0 < hit.strength <= 1 for hit in hits)
            assert all(a.time_s <= b.time_s for a, b in pairwise(hits))
        swell = slow_swell(int(SECONDS * SAMPLE_RATE), rng)
        assert len(swell) == 200 and swell.min() >= 0 and swell.max() <= 1


def test_some_lessons_are_their_main_sound_alone(lessons: list[tuple[Wave, Lesson]]) -> None:
    """About two in five by design: one source (a film may show more), no bed, no room."""
    heard = [lesson for _, lesson in lessons if not lesson.silent]
    plain = [x for x in heard if not x.room and not {v.role for v in x.voices} - {x.voices[0].role}]
    assert 0.3 < len(plain) / len(heard) < 0.9


def test_concepts_with_recordings_are_drawn_more_often(
    composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composer, "recorded", composer.ids[:1])
    found = [composer.compose(seed, 1.0)[1] for seed in range(40)]
    mains = [lesson.voices[0].concept for lesson in found if lesson.voices]
    assert mains.count(composer.ids[0]) / len(mains) > 0.35  # half of the draws, and its part of the others


def test_most_sounding_lessons_are_never_digitally_silent(lessons: list[tuple[Wave, Lesson]]) -> None:
    sounding = [wave for wave, lesson in lessons if not lesson.silent]
    still = [float(np.mean(np.abs(wave) < 1e-6)) for wave in sounding]
    assert np.mean(np.array(still) < 0.2) > 0.6
