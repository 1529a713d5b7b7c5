"""A page of lessons to look at and listen to before anything is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgefoley.train.scenes.film import film
from edgefoley.train.school.lessons import Lesson, Voice
from edgefoley.train.school.shards import Plan, captions_of, open_composer
from edgefoley.train.school.sheets import Panel, Wave, write_page


def panel_of(wave: Wave, lesson: Lesson) -> Panel:
    """The lesson with its film drawn, and what its voices are."""
    frames, timestamps = None, np.zeros(0)
    look = "no picture"
    if lesson.film_seed is not None:
        drawn = film(
            lesson.film_seed,
            lesson.seconds,
            action=lesson.action,
            striker=lesson.striker,
            struck=lesson.struck,
        )
        frames, timestamps = drawn.frames, drawn.timestamps
        look = ", ".join(f"{key} {value}" for key, value in drawn.look.items())
    captions = captions_of(lesson)
    voices = "; ".join(_tell(voice) for voice in lesson.voices)
    lines = [
        f"seed {lesson.seed} · {lesson.action or 'no picture'} · {look} · {lesson.room or 'dry'}",
        voices or "silence",
        *(" · ".join(captions[language]["levels"]) for language in ("en", "zh")),
        " · ".join(
            f"{captions[language]['sound_only']} − {captions[language]['negative']}"
            for language in ("en", "zh")
        ),
    ]
    return Panel(frames, timestamps, wave, lesson.events, lesson.activity, lines)


def _tell(voice: Voice) -> str:
    sounding = "continuous" if voice.looped else f"{len(voice.hits)} events"
    return f"{voice.concept} ({voice.role}, {sounding}, {voice.distance_m:.1f} m)"


def write_lesson_page(plan: Plan, count: int, first: int = 0) -> Path:
    """``plan.out/page/index.html`` with the lessons of the seeds ``first ... first + count - 1``."""
    composer = open_composer(plan)
    panels = [panel_of(*composer.compose(seed, plan.seconds)) for seed in range(first, first + count)]
    return write_page(plan.out / "page", panels, f"{count} lessons from seed {first}")
