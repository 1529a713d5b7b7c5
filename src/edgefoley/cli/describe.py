"""``edgefoley describe``: what the model sees in a video, and the prompt that it would fit."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from edgefoley.classes import prompts
from edgefoley.cli.options import Moment
from edgefoley.cli.report import collected, echo_json
from edgefoley.description import Description, EventSummary, Seen, Stretch, describe
from edgefoley.pipeline import Pipeline

IN_A_LINE = 3  # classes of one stretch

EPILOG = """\b
Examples:
  edgefoley describe clip.mp4
  edgefoley describe clip.mp4 --top 10 --start 1:05 --end 1:12.5
  edgefoley describe clip.mp4 --json
  edgefoley generate clip.mp4 -p "a dog is barking"    # what describe suggested, or your own words
"""


@click.command(name="describe", epilog=EPILOG)
@click.argument("video", metavar="VIDEO", type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="How many of the things seen to list.",
)
@click.option("--start", type=Moment(), metavar="S", help="Begin here, in seconds or as 1:02.5.")
@click.option("--end", type=Moment(), metavar="S", help="Stop here.")
@click.option(
    "--model",
    default="nano",
    show_default=True,
    metavar="NAME|DIR",
    help="A built-in model, or the folder of a bundle.",
)
@click.option("--backend", default="ort", show_default=True, metavar="NAME", help="Inference engine.")
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Compute threads. Default: one for each core this process may use.",
)
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
def command(
    video: Path,
    as_json: bool,
    top: int,
    start: Fraction | None,
    end: Fraction | None,
    model: str,
    backend: str,
    threads: int | None,
    quiet: bool,
) -> None:
    """Show what the model sees in VIDEO, how much happens, and a prompt that would fit.

    Lists the things seen with their probability (over the clip, and by stretch of time where they change),
    sums up the events that `edgefoley events` lists one by one, and suggests a prompt in English and in
    Chinese. Makes no sound.

    The suggestion is a guess from names of things: the model knows 1000 of them, and no people. Where it
    suggests nothing, or the wrong thing, say with -p what sounds. docs/describe.md has the JSON fields.
    """
    with collected(), Pipeline.open(model, backend, threads=threads) as pipeline:

        def report(stage: str, fraction: float) -> None:
            if fraction == 0 and not quiet:
                click.echo(f"{video.name}: {stage}", err=True)

        found = describe(video, start=start, end=end, model=pipeline, on_progress=report)
        for reason in found.missing:
            click.echo(f"Warning: {reason}", err=True)
        if as_json:
            echo_json(as_object(found, video, pipeline.bundle.name, top))
        else:
            click.echo("\n".join(lines(found, top)))


def lines(found: Description, top: int) -> list[str]:
    """The description in words, a line per entry."""
    told: list[str] = []
    if found.seen is not None:
        table, whole = found.seen.table, found.seen.whole
        told += [f"{'probability':>11}  seen"]
        told += [f"{p:>11.2f}  {name}" for name, p in table.top(whole.probabilities, top)]
        if len(found.seen.stretches) > 1:
            told += ["", *(stretch_line(found.seen, stretch) for stretch in found.seen.stretches)]
    if found.events is not None:
        told += [""] * bool(told) + [events_line(found.events)]
    if found.seen is not None:
        told += ["", *prompt_lines(found.seen)]
    return told


def stretch_line(seen: Seen, stretch: Stretch) -> str:
    """ "   0.00 s to    3.50 s  tabby cat 0.62, tiger cat 0.10 -> a cat meows"."""
    shown = ", ".join(f"{name} {p:.2f}" for name, p in seen.table.top(stretch.probabilities, IN_A_LINE))
    fitting = " -> " + prompts(list(stretch.sounds))["en"] if stretch.sounds else ""
    return f"{stretch.start_s:>7.2f} s to {stretch.end_s:>7.2f} s  {shown}{fitting}"


def events_line(events: EventSummary) -> str:
    """How many events, how many likely, how often, how strong, and how much goes on besides."""
    strength = "" if events.strength is None else f", mean strength {events.strength:.2f}"
    return (
        f"{events.count} event{'' if events.count == 1 else 's'}, {events.likely} of them likely (confidence "
        f"{events.confidence:.2g} or more): {events.rate_hz:.2f} per second{strength}; "
        f"activity {events.activity:.2f}"
    )


def prompt_lines(seen: Seen) -> list[str]:
    """The suggested prompts, or that there is none."""
    if not seen.whole.sounds:
        if any(stretch.sounds for stretch in seen.stretches):
            return ["no prompt for all of it: too many things; take the stretches with --start and --end"]
        return ["no prompt suggested: nothing is seen clearly enough that makes a sound the model knows"]
    return [f"prompt ({language})  {text}" for language, text in seen.prompts.items()]


def as_object(found: Description, video: Path, model: str, top: int) -> dict[str, Any]:
    """The object that ``--json`` prints; docs/describe.md lists its fields."""
    seen, events = found.seen, found.events
    return {
        "video": video.name,
        "model": model,
        "start_s": round(found.start_s, 3),
        "duration_s": round(found.duration_s, 3),
        **({"classes": None, "sounds": None} if seen is None else _stretch_object(seen, seen.whole, top)),
        "stretches": None
        if seen is None
        else [
            {
                "start_s": round(stretch.start_s, 3),
                "end_s": round(stretch.end_s, 3),
                **_stretch_object(seen, stretch, top),
            }
            for stretch in seen.stretches
        ],
        "prompt": None if seen is None or not seen.whole.sounds else seen.prompts,
        "events": None
        if events is None
        else {
            "count": events.count,
            "likely": events.likely,
            "confidence": round(events.confidence, 3),
            "rate_hz": round(events.rate_hz, 3),
            "strength": None if events.strength is None else round(events.strength, 3),
            "activity": round(events.activity, 3),
        },
        "missing": list(found.missing),
    }


def _stretch_object(seen: Seen, stretch: Stretch, top: int) -> dict[str, Any]:
    return {
        "classes": [
            {"name": name, "probability": round(p, 3)}
            for name, p in seen.table.top(stretch.probabilities, top)
        ],
        "sounds": [
            {"id": sound.id, "kind": sound.kind, "score": round(score, 3), "en": sound.en, "zh": sound.zh}
            for sound, score in stretch.sounds
        ],
    }
