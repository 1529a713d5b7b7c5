"""``edgefoley events``: when things happen in a video, to look at and to edit."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import click

from edgefoley import api
from edgefoley.cli.options import Moment
from edgefoley.cli.report import collected
from edgefoley.errors import OutputError, UsageError
from edgefoley.event_files import COLUMNS, to_csv, to_json
from edgefoley.events import LOWEST, EventList
from edgefoley.output import check_target
from edgefoley.pipeline import Pipeline
from edgefoley.plot import plot_events

EPILOG = """\b
Examples:
  edgefoley events clip.mp4
  edgefoley events clip.mp4 --plot events.png
  edgefoley events clip.mp4 --json -o e.json    # edit e.json: move, add or delete events; then
  edgefoley generate clip.mp4 --events e.json
  edgefoley events clip.mp4 --csv --threshold 0.5 -o e.csv
  edgefoley events clip.mp4 --start 1:05 --end 1:12.5
"""


@click.command(name="events", epilog=EPILOG)
@click.argument("video", metavar="VIDEO", type=click.Path(readable=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON, for `edgefoley generate --events`.")
@click.option("--csv", "as_csv", is_flag=True, help="As CSV: time_s,strength,confidence.")
@click.option(
    "--curves",
    is_flag=True,
    help="With --json: also the curves at 50 Hz (probability, strength, activity).",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    metavar="PNG",
    help="Draw them: thumbnails, probability, strength and the video's own sound over one time axis.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the list into a file, .json or .csv, instead of to stdout.",
)
@click.option("--start", type=Moment(), metavar="S", help="Begin here, in seconds or as 1:02.5.")
@click.option("--end", type=Moment(), metavar="S", help="Stop here.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="P",
    help=f"Leave out events of less confidence. Default: all that the model heeds, from {LOWEST:g}.",
)
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
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
def command(
    video: Path,
    as_json: bool,
    as_csv: bool,
    curves: bool,
    plot: Path | None,
    output: Path | None,
    start: Fraction | None,
    end: Fraction | None,
    threshold: float | None,
    model: str,
    backend: str,
    threads: int | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Show when things happen in VIDEO that probably sound: time, strength and confidence of each.

    Times are seconds from the video's beginning, also with --start. Strength and confidence go from 0 to 1.
    Prints a table, or the list as JSON or CSV; with --plot alone, the path of the picture.

    An edited list goes back in with `edgefoley generate VIDEO --events FILE`; an unedited one gives the same
    sound as none. docs/events.md has the file formats.
    """
    form = chosen_form(as_json, as_csv, output)
    if curves and form != "json":
        raise UsageError("--curves adds to a JSON list; ask for one with --json.")
    if plot is not None and plot.suffix.lower() != ".png":
        raise UsageError(f"--plot writes a PNG picture; {plot} must end in .png.")
    for path in (output, plot):
        if path is not None:
            check_target(path, overwrite, video)
    with collected(), Pipeline.open(model, backend, threads=threads) as pipeline:

        def report(stage: str, fraction: float) -> None:
            if fraction == 0 and not quiet:
                click.echo(f"{video.name}: {stage}", err=True)

        found = api.find_events(video, start=start, end=end, model=pipeline, on_progress=report)
        if threshold is not None:
            found = found.above(threshold)
        text = written(found, form, video, pipeline.bundle.name, curves)
        if plot is not None:
            write_whole(plot, plot_events(video, found), overwrite)
    if output is not None:
        write_whole(output, text.encode(), overwrite)
        click.echo(click.format_filename(output))
    elif plot is None or as_json or as_csv:
        click.echo(text, nl=False)
    if plot is not None:
        # A list on stdout must stay a list.
        click.echo(click.format_filename(plot), err=output is None and (as_json or as_csv))
    if not quiet:
        click.echo(summary(found), err=True)


def chosen_form(as_json: bool, as_csv: bool, output: Path | None) -> str:
    """ "json", "csv" or "table", by the flags or by the ending of ``output``. Raises UsageError where they
    contradict."""
    asked = ["json"] * as_json + ["csv"] * as_csv
    if len(asked) > 1:
        raise UsageError("--json and --csv contradict each other; take one.")
    ending = {".json": "json", ".csv": "csv"}.get(output.suffix.lower()) if output is not None else None
    if output is not None and ending is None:
        raise UsageError(f"-o {output}: a list of events is written as .json or .csv; choose one of these.")
    if asked and ending is not None and asked[0] != ending:
        raise UsageError(f"--{asked[0]} and -o {output} contradict each other.")
    return asked[0] if asked else ending or "table"


def written(found: EventList, form: str, video: Path, model: str, curves: bool) -> str:
    """The list as text in one of the three forms."""
    if form == "json":
        return to_json(found, {"video": video.name, "model": model}, curves)
    return to_csv(found) if form == "csv" else table(found)


def table(found: EventList) -> str:
    """Header and one line per event, in columns."""
    rows = [f"{e.time_s:>10.3f}{e.strength:>10.2f}{e.confidence:>12.2f}" for e in found.events]
    return "\n".join([f"{COLUMNS[0]:>10}{COLUMNS[1]:>10}{COLUMNS[2]:>12}", *rows]) + "\n"


def summary(found: EventList) -> str:
    """One line: how many events, how many of them likely, and where."""
    count, likely = len(found.events), len(found.likely_events)
    seconds = found.duration_s or 0.0
    return (
        f"{count} event{'' if count == 1 else 's'} between {found.start_s:.2f} s and "
        f"{found.start_s + seconds:.2f} s, {likely} of them likely (confidence {found.likely:.2g} or more)"
    )


def write_whole(path: Path, data: bytes, overwrite: bool) -> None:
    """Write a file that gets its name only when it is complete. Raises OutputError."""
    growing = path.with_name(f".{path.name}.{os.getpid()}.part")
    check_target(path, overwrite)
    try:
        try:
            growing.write_bytes(data)
            os.replace(growing, path)
        finally:
            growing.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder"
        ) from error
