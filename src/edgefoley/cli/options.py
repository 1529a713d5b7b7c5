"""Flags that ``generate`` and ``sound`` share, and how their values are read."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

import click

from edgefoley.cli.progress import announce
from edgefoley.pipeline import Pipeline
from edgefoley.plan import gigabytes
from edgefoley.settings import DRAWN_SEEDS, LOUDNESS_RANGE, MAX_GUIDANCE, MAX_SEED

Function = TypeVar("Function", bound=Callable[..., Any])

# Flag -> keyword of the Python API where the two differ.
_KEYWORDS = {"negative": "negative_prompt", "steps": "num_steps", "guidance": "guidance_scale"}
_FORWARDED = ("negative", "steps", "guidance", "seed", "takes", "loudness", "overwrite",
              "start", "end", "original", "max_height", "events", "offset_ms")  # fmt: skip


class Moment(click.ParamType):
    """A time in seconds (``12``, ``12.5``) or as a clock shows it (``1:02.5``, ``1:00:00``), kept exactly."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        match = re.fullmatch(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)", str(value).strip())
        if match is not None:
            hours, minutes, seconds = int(match[1] or 0), int(match[2] or 0), Fraction(match[3])
            if (match[2] is None or seconds < 60) and (match[1] is None or minutes < 60):
                return hours * 3600 + minutes * 60 + seconds
        self.fail(
            f"{value!r} is not a time; write seconds (12.5) or minutes and seconds (1:02.5).", param, ctx
        )


GENERATION = [
    click.option("--negative", metavar="TEXT",
                 help="What the sound should not hold; twice the time per step."),
    click.option("--model", default="nano", show_default=True, metavar="NAME|DIR",
                 help="A built-in or converted model (see `edgefoley models`), or a bundle's folder."),
    click.option("--backend", default="ort", show_default=True, metavar="NAME",
                 help="Inference engine. `edgefoley doctor` lists them."),
    click.option("--steps", type=click.IntRange(1, 1000), metavar="N",
                 help="Denoising steps; more is slower and may be finer. Default: what the model asks for."),
    click.option("--guidance", type=click.FloatRange(0, MAX_GUIDANCE), metavar="G",
                 help="How strongly to follow prompt and picture; above 1 every step takes twice the time. "
                      "Default: what the model asks for."),
    click.option("--seed", type=click.IntRange(0, MAX_SEED), metavar="S",
                 help="The same seed on the same machine gives the same sound. Default: drawn and printed."),
    click.option("--takes", type=click.IntRange(1, 100), default=1, show_default=True, metavar="N",
                 help="Variations, with the seeds S, S+1, …"),
    click.option("--loudness", type=click.FloatRange(*LOUDNESS_RANGE), default=-23.0, show_default=True,
                 metavar="LUFS", help="Integrated loudness of the new sound, from -70 to -5. "
                                      "The true peak stays at or below -1 dBTP whatever is asked."),
    click.option("--threads", type=click.IntRange(1, 1024), metavar="N",
                 help="Compute threads. Default: one for each core this process may use."),
    click.option("--memory-limit", metavar="SIZE",
                 help="The most memory to use, for example 4GB. A large model is then opened part by part; "
                      "what cannot fit is refused before it starts, with what would. Default: what is free."),
    click.option("--overwrite", is_flag=True, help="Replace output files that exist."),
    click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON object per input on stdout."),
]  # fmt: skip


def generation_options(function: Function) -> Function:
    """Add the shared flags to a command, in the order of ``GENERATION``."""
    for option in reversed(GENERATION):
        function = option(function)
    return function


def tell_plan(pipeline: Pipeline, title: str, quiet: bool) -> None:
    """Have the plan of a run that has a memory limit told in one line on stderr, before the run begins."""
    limit = pipeline.memory_limit
    if quiet or limit is None:
        pipeline.on_plan = None
    else:
        words = f"{title}: memory limit {gigabytes(limit)}"
        pipeline.on_plan = lambda plan: announce(f"{words}; the run needs {plan.words}.")


def settings_of(flags: Mapping[str, Any]) -> Any:
    """The flags as keyword arguments of ``api.generate`` or ``api.sound``, with a seed drawn when none was
    given.

    The type is left open: it is a SoundValues or a SettingValues, as the command's flags are. One seed serves
    all inputs of a run, so that the one number printed repeats all of it.
    """
    values = {_KEYWORDS.get(name, name): flags[name] for name in _FORWARDED if name in flags}
    if values["seed"] is None:
        values["seed"] = secrets.randbelow(DRAWN_SEEDS)
    return values
