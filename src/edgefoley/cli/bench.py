"""``edgefoley bench``: what a model costs on this machine, and how two such results differ."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import click

from edgefoley.cli.events import write_whole
from edgefoley.cli.options import Moment
from edgefoley.cli.report import echo_json
from edgefoley.errors import OutputError, UsageError
from edgefoley.hub import cache_folder
from edgefoley.output import check_target

EPILOG = """\b
Examples:
  edgefoley bench
  edgefoley bench nano mine/ --threads 1,2,4 --repeat 5 --json > results.json
  edgefoley bench --report bench-report
  edgefoley bench diff before.json after.json
  edgefoley bench calibrate
  edgefoley bench project nano --device raspberry-pi-5
"""
RUN_EPILOG = """\b
Examples:
  edgefoley bench
  edgefoley bench nano mine/ --threads 1,2,4 --repeat 5 --json > results.json
  edgefoley bench --clip mine.mp4 --prompt "rain" --steps 4
  edgefoley bench --power-csv meter.csv --power-start 2026-05-01T12:00:00
"""
DIFF_EPILOG = """\b
Examples:
  edgefoley bench diff before.json after.json
  edgefoley bench diff both.json both.json --first "nano, ort, 1 thread" --second "nano, ort, 2 threads"
"""
CALIBRATE_EPILOG = """\b
Examples:
  edgefoley bench calibrate
  edgefoley bench calibrate nano mine/ --rounds 10
  edgefoley bench calibrate -o here.json --json
"""
PROJECT_EPILOG = """\b
Examples:
  edgefoley bench project --device raspberry-pi-4b
  edgefoley bench project nano mine/ --device jetson-nano --clip-length 30
  edgefoley bench project --device mine.toml --json
"""
FILE = click.Path(path_type=Path)


class WithDefault(click.Group):
    """``bench nano`` is ``bench run nano``: what is no command's name goes to the command ``run``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["run", *args]
        return super().parse_args(ctx, args)


class Numbers(click.ParamType):
    """Whole numbers above 0, with commas between: "1,2,4"."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdigit() and 1 <= int(part) <= 1024 for part in parts):
            self.fail(f"{value!r} is no list of whole numbers from 1; write for example 1,2,4.", param, ctx)
        return tuple(dict.fromkeys(int(part) for part in parts))


@click.group("bench", cls=WithDefault, epilog=EPILOG)
def command() -> None:
    """Measure what models cost on this machine; compare results.

    Without a command's name `run` is meant: `edgefoley bench nano` measures nano. docs/bench.md says how.
    """


@command.command("run", epilog=RUN_EPILOG)
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
@click.option("--clip", type=FILE, metavar="FILE",
              help="The video. Default: a drawn one of 10 s, 720p: a person walks, a door opens and closes, "
                   "a bird sings.")  # fmt: skip
@click.option("--prompt", metavar="TEXT", help="What is heard in it. Default: the drawn clip's sounds.")
@click.option("--repeat", type=click.IntRange(1, 1000), default=5, show_default=True, metavar="N",
              help="Rounds. In each, every case runs once in a process of its own: cold, then "
                   "warm.")  # fmt: skip
@click.option("--threads", type=Numbers(), metavar="N,N,…",
              help="Compute threads, each number a case of its own. Default: one for each core.")  # fmt: skip
@click.option("--backend", default="ort", show_default=True, metavar="NAME", help="Inference engine.")
@click.option(
    "--steps", type=click.IntRange(1, 1000), metavar="N", help="Denoising steps. Default: the model's."
)
@click.option(
    "--guidance", type=click.FloatRange(0, 100), metavar="G", help="Guidance. Default: the model's."
)
@click.option("--power-csv", type=FILE, metavar="FILE",
              help="What a USB meter's program recorded; it is read after the last round.")  # fmt: skip
@click.option("--power-start", metavar="TIME",
              help="When that record began (2026-05-01T12:00:00), where its times count from 0.")  # fmt: skip
@click.option(
    "--report", type=FILE, metavar="DIR", help="Write report.html and results.json into this folder."
)
@click.option("--overwrite", is_flag=True, help="Replace files of the report that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one last line of JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
def run_command(
    bundles: Sequence[str], as_json: bool, quiet: bool, report: Path | None, **flags: Any
) -> None:
    """Measure each BUNDLE (names or folders; default: nano): latency, memory, energy, rtf.

    Cold is a command's whole latency, from the start of its process on, with files in the system's cache;
    warm the next clip in it. Every stage's time, processor time and memory; energy where this machine can
    tell (RAPL, Jetson's INA3221, Raspberry Pi 5, or a meter's file), else "not measurable here". Operations
    and bytes are counted from the graphs.

    Rounds go through all cases in turn. On a machine that other programs use too, compare the least values
    and the processor time. Prints a card of the machine and a table; results.json and the JSON line hold
    everything.
    """
    from edgefoley.bench import clip, page, session

    if flags["power_start"] is not None and flags["power_csv"] is None:
        raise UsageError("--power-start says when a meter's record began; give the record with --power-csv.")
    if report is not None:
        check_folder(report, flags["overwrite"])
    cases = [
        session.Case(model, flags["backend"], threads, flags["steps"], flags["guidance"])
        for model, threads in product(bundles or ("nano",), flags["threads"] or (None,))
    ]

    def say(words: str) -> None:
        if not quiet:
            click.echo(words, err=True)

    path = flags["clip"]
    if path is None:
        path = clip.study_clip(cache_folder() / "bench")
    subject = session.Subject(path, clip.PROMPT if flags["prompt"] is None else flags["prompt"])
    found = session.bench(cases, subject, flags["repeat"], say)
    if flags["power_csv"] is not None:
        session.add_energy(found, flags["power_csv"], flags["power_start"])
    for line in page.card_lines(found):
        click.echo(line)
    click.echo("")
    for line in page.text_table(page.HEAD, page.rows(found)):
        click.echo(line)
    for case in found["cases"]:
        click.echo(f"\n{case['name']}")
        for line in page.text_table(page.STAGE_HEAD, page.stage_rows(case)):
            click.echo(line)
    if report is not None:
        write_report(report, found, flags["overwrite"])
        say(f"Report: {report / 'report.html'}")
    if as_json:
        echo_json(found)


@command.command("diff", epilog=DIFF_EPILOG)
@click.argument("first", metavar="A.json", type=FILE)
@click.argument("second", metavar="B.json", type=FILE)
@click.option("--first", "first_case", metavar="CASE", help="Which case of A. Default: those of equal name.")
@click.option("--second", "second_case", metavar="CASE", help="Which case of B.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff_command(
    first: Path, second: Path, first_case: str | None, second_case: str | None, as_json: bool
) -> None:
    """How many times as slow, large or thirsty B is as A: ratios with 95 % intervals.

    A and B are results of `edgefoley bench --json`; the same file twice compares two of its cases round by
    round. Intervals are by bootstrap over the rounds; below four rounds there are none.
    """
    from edgefoley.bench import page, session, summary

    a, b = session.load(first), session.load(second)
    pairs = summary.matched(a, b, (first_case, second_case))
    # Rounds are pairs only where both cases were measured in the same ones.
    together = a == b
    found = []
    for left, right in pairs:
        ratios = list(summary.ratios(left, right, together))
        if as_json:
            found.append(
                {"first": left["name"], "second": right["name"], "ratios": [vars(ratio) for ratio in ratios]}
            )
            continue
        click.echo(f"{left['name']}  ->  {right['name']}")
        lines = [page.ratio_cells(ratio) for ratio in ratios]
        for line in page.text_table(page.RATIO_HEAD, lines):
            click.echo(line)
        click.echo("")
    if as_json:
        echo_json({"kind": "bench diff", "paired": together, "cases": found})
    elif not together:
        different = [
            name for name in ("processor", "system", "onnxruntime", "governor")
            if a["card"].get(name) != b["card"].get(name)
        ]  # fmt: skip
        if different or a["clip"]["sha256"] != b["clip"]["sha256"]:
            words = [*different, *(["clip"] if a["clip"]["sha256"] != b["clip"]["sha256"] else [])]
            click.echo(f"Not all alike: {', '.join(words)} differ between A and B.", err=True)


@command.command("calibrate", epilog=CALIBRATE_EPILOG)
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
@click.option("--rounds", type=click.IntRange(1, 1000), default=8, show_default=True, metavar="N",
              help="How often each network of the BUNDLEs is run to check with.")  # fmt: skip
@click.option("-o", "--output", type=FILE, metavar="FILE",
              help="Write the calibration here. Default: the user's cache, where it is looked "
                   "for.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the calibration as one last line of JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
def calibrate_command(
    bundles: Sequence[str], rounds: int, output: Path | None, as_json: bool, quiet: bool
) -> None:
    """Measure what the engine's kernels do on this machine, for `project` and `edgefoley advise`.

    Small graphs of one kernel each are run on one thread, about a quarter of a minute on an idle machine.
    Then every network of the BUNDLEs (default: nano) is measured and predicted from the kernels: the table
    says how far predictions are off. Processor time counts, so a busy machine does little harm.
    """
    from edgefoley.bench import calibration, page

    def say(words: str) -> None:
        if not quiet:
            click.echo(words, err=True)

    found = calibration.calibrate(bundles or ("nano",), rounds, say=say)
    path = calibration.cache_path() if output is None else output
    try:
        calibration.save(found, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}") from error
    for line in page.text_table(page.CHECK_HEAD, page.check_rows(found.checked)):
        click.echo(line)
    click.echo(page.miss_words(found))
    say(f"Calibration: {path}")
    if as_json:
        echo_json(found.to_json())


@command.command("project", epilog=PROJECT_EPILOG)
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
@click.option("--device", required=True, metavar="NAME|FILE",
              help="A built-in profile (docs/devices.md), or a TOML file of the same form.")  # fmt: skip
@click.option("--clip-length", type=Moment(), default="10", show_default=True, metavar="S",
              help="Seconds of video.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 1024), metavar="N", help="Default: one for each core.")
@click.option(
    "--steps", type=click.IntRange(1, 1000), metavar="N", help="Denoising steps. Default: the model's."
)
@click.option(
    "--guidance", type=click.FloatRange(0, 100), metavar="G", help="Guidance. Default: the model's."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def project_command(
    bundles: Sequence[str], device: str, clip_length: Fraction, as_json: bool, **flags: Any
) -> None:
    """What each BUNDLE (default: nano) would take on another device: projected, not measured.

    From this machine's calibration (`bench calibrate`), or the one that comes with the package, and the
    device's profile: cores, clock, width of vectors, memory. Warm latency of a 720p clip by network, and the
    memory of the plan that fits. The last lines say how far the same sum is off where it could be measured.
    """
    from edgefoley.bench import page, projection

    found = [
        projection.project(model, device, clip_length, flags["threads"], flags["steps"], flags["guidance"])
        for model in bundles or ("nano",)
    ]
    if as_json:
        echo_json({"kind": "projection", "projected": True, "cases": [one.to_json() for one in found]})
        return
    for one in found:
        for line in page.projection_lines(one):
            click.echo(line)


REPORT = ("report.html", "results.json")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Raise OutputError unless a report can be written into ``folder``, which is made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}") from error
    for name in REPORT:
        check_target(folder / name, overwrite)


def write_report(folder: Path, found: dict[str, Any], overwrite: bool) -> None:
    """Both files; each gets its name when it is complete."""
    from edgefoley.bench import page

    for name, data in zip(REPORT, (page.html(found), json.dumps(found, indent=1) + "\n"), strict=True):
        write_whole(folder / name, data.encode(), overwrite)
