"""``edgefoley sound``: a sound effect from words alone, without a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from edgefoley import api
from edgefoley.cli.options import Moment, generation_options, settings_of, tell_plan
from edgefoley.cli.progress import Course, reporter
from edgefoley.cli.report import Talk, collected, show_takes
from edgefoley.pipeline import Pipeline
from edgefoley.settings import MAX_SOUND_SECONDS
from edgefoley.targets import stem_of

EPILOG = """\b
Examples:
  edgefoley sound "rain on a tin roof"
  edgefoley sound "敲门声" --seconds 3 --seed 7 -o knock.wav
  edgefoley sound -p "a dog barks" --seconds 4 --takes 5 -o dogs/
  edgefoley sound "a knock on a wooden door" --seconds 3 --events knocks.csv
"""


@click.command(name="sound", epilog=EPILOG)
@click.argument("words", nargs=-1, metavar="[PROMPT]")
@click.option(
    "-p", "--prompt", metavar="TEXT", help="What is heard, in English or Chinese: the same as PROMPT."
)
@click.option(
    "--seconds",
    default="8",
    show_default=True,
    type=Moment(),
    metavar="S",
    help=f"Length of the sound, above 0 and up to {MAX_SOUND_SECONDS}.",
)
@click.option(
    "-o", "--output", metavar="PATH", help="A .wav file, or a folder. Default: here, named after the prompt."
)
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What sounds when, in place of a rhythm that the model chooses: a list as `edgefoley events` writes "
    "it (JSON; or CSV: the word time_s, then a time in each line). All takes share it.",
)
@generation_options
def command(
    words: tuple[str, ...], prompt: str | None, seconds: Fraction, output: str | None, quiet: bool,
    as_json: bool, **flags: Any,
) -> None:  # fmt: skip
    """Make a sound effect from words alone.

    Writes a WAV file (24 bit, 48 kHz), by default PROMPT.foley.wav in the current folder, and prints its path
    on stdout. Further takes are PROMPT.foley.take2.wav and so on.
    """
    if (prompt is None) == (not words):
        raise click.UsageError('say once what is to be heard, for example: edgefoley sound "a dog barks"')
    prompt = " ".join(words) if prompt is None else prompt
    settings = settings_of(flags)
    with Pipeline.open(
        flags["model"], flags["backend"], flags["threads"], memory_limit=flags["memory_limit"]
    ) as pipeline:
        talk = Talk(stem_of(prompt), quiet, as_json)
        course = Course(
            settings["takes"], settings["num_steps"] or pipeline.bundle.defaults.steps, reads=False
        )
        tell_plan(pipeline, talk.title, quiet)
        with collected() as notes, reporter(talk.title, course, quiet) as report:
            takes = api.sound(
                prompt, seconds, output=output or ".", model=pipeline, on_progress=report, **settings
            )
        show_takes(None, takes, notes, talk)
