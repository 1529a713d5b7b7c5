"""``edgefoley advise``: which model, precision, steps and threads suit a device, and what will not work
there."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from edgefoley.cli.options import Moment
from edgefoley.cli.report import echo_json

if TYPE_CHECKING:
    from edgefoley.bench.advice import Advice, Choice

EPILOG = """\b
Examples:
  edgefoley advise
  edgefoley advise --device raspberry-pi-4b --clip-length 30
  edgefoley advise --device coral-dev-board-mini --quality fast
  edgefoley advise --device mine.toml --json
"""


@click.command(name="advise", epilog=EPILOG)
@click.option("--device", default="this", show_default=True, metavar="NAME|FILE",
              help="this: this machine. Otherwise a profile (docs/devices.md lists them), or a TOML file of "
                   "the same form.")  # fmt: skip
@click.option("--clip-length", type=Moment(), default="10", show_default=True, metavar="S",
              help="Seconds of video.")  # fmt: skip
@click.option("--quality", type=click.Choice(["fast", "balanced", "best"]), default="balanced",
              show_default=True,
              help="fast: half the steps, no guidance, the quickest model. balanced: the largest model that "
                   "works at most ten times as long as the clip lasts. best: the largest that "
                   "fits.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(device: str, clip_length: Fraction, quality: Any, as_json: bool) -> int:
    """Say what to use on a device, how long it takes there (projected), and what will not work.

    Only installed models are chosen; those that can be downloaded are listed with what is known of them.
    Times come from this machine's calibration (`edgefoley bench calibrate`) or the one in the package, and
    the device's profile. The exit code is 1 when nothing fits.
    """
    from edgefoley.bench.advice import advise

    found = advise(device, clip_length, quality)
    if as_json:
        echo_json(found.to_json())
    else:
        for line in lines(found):
            click.echo(line)
    return 0 if found.chosen is not None else 1


def lines(found: Advice) -> Iterator[str]:
    """The advice in words."""
    yield f"{found.name}, {found.clip_seconds:g} s of 720p video, {found.quality}"
    chosen = found.chosen
    if chosen is None or chosen.projection is None:
        yield "  Nothing that is installed fits into its memory."
    else:
        one = chosen.projection
        yield f"  model      {chosen.model}"
        yield f"  precision  {found.precision}"
        yield f"  steps      {chosen.num_steps}, guidance {chosen.guidance:g}: {chosen.remark}"
        yield f"  threads    {one.threads}"
        yield f"  time       about {duration(chosen.seconds)}, PROJECTED, not measured"
        yield f"  memory     {one.memory_words}"
        yield f"  longest    {longest_words(chosen)}"
        yield (
            f"  command    edgefoley generate VIDEO --model {chosen.model} --steps {chosen.num_steps} "
            f"--guidance {chosen.guidance:g} --threads {one.threads}"
        )
    for choice in found.others:
        time = "time not known" if choice.seconds is None else f"about {duration(choice.seconds)}"
        how = (
            " (projected)"
            if choice.projection is not None
            else " (very coarse)" * (choice.seconds is not None)
        )
        yield f"  or {choice.model}: {time}{how}; {choice.remark}"
    if found.notes:
        yield "What will not work, or not well:"
        for note in found.notes:
            yield f"  {note.topic}: {note.text} [{note.source}]"
    for verdict in found.verdicts:
        whole = "could run there" if verdict.possible else "cannot run there as a whole"
        yield f"  Edge TPU, {verdict.component}: {whole}. {verdict.words}"
    if chosen is not None and chosen.projection is not None:
        one, miss = chosen.projection, chosen.projection.miss
        whose = ", the package's reference" if one.reference else ""
        off = (
            ""
            if miss is None
            else f"; off by a factor of {miss[0]:.2f} there (median), {miss[1]:.2f} at the most"
        )
        yield f"Projected from {one.calibrated_on}{whose}{off}. docs/devices.md says how."


def longest_words(choice: Choice) -> str:
    """Of the longest clip."""
    if choice.longest is None:
        return "not known here"
    words = f"{choice.longest} s of clip fit into memory"
    return words + " (an hour is the most that was looked at)" if choice.longest >= 3600 else words


def duration(seconds: float | None) -> str:
    """ "7.7 s", "3 min", "2.5 h"."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 20 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
