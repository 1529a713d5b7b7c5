"""``edgefoley listen``: a listening test in the browser, and what its ratings say."""

from __future__ import annotations

import webbrowser
from importlib.util import find_spec
from pathlib import Path

import click

from edgefoley.cli.events import write_whole
from edgefoley.cli.report import collected, echo_json
from edgefoley.errors import UsageError
from edgefoley.output import check_target

EPILOG = """\b
Examples:
  edgefoley listen run test.toml
  edgefoley listen report test.ratings.sqlite --html report.html
  edgefoley listen power --margin 0.3 --sd 0.6
"""
RUN_EPILOG = """\b
Examples:
  edgefoley listen run test.toml
  edgefoley listen run test/ --port 8123 --no-browser
  edgefoley listen run test.toml --db monday.sqlite
"""
REPORT_EPILOG = """\b
Examples:
  edgefoley listen report test.ratings.sqlite
  edgefoley listen report test.ratings.sqlite --json
  edgefoley listen report test.ratings.sqlite --html report.html --margin 0.2
"""
POWER_EPILOG = """\b
Examples:
  edgefoley listen power --margin 0.3 --sd 0.6
  edgefoley listen power --margin 0.3 --sd 0.6 --clips 10 --sd-clips 0.2
  edgefoley listen power --margin 0.2 --sd 0.5 --difference
"""
FILE = click.Path(path_type=Path)


@click.group("listen", epilog=EPILOG)
def command() -> None:
    """Let people judge sounds in the browser, and report what they said.

    docs/listening.md says how a test is written down and how its figures are made.
    """


def need_server() -> None:
    """Raise UsageError with the install command when a package of the page's server is missing."""
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise UsageError(
            "a listening test needs starlette and uvicorn; install them with: pip install 'edgefoley[listen]'"
        )


@command.command("run", epilog=RUN_EPILOG)
@click.argument("test", metavar="TEST.toml|FOLDER", type=FILE)
@click.option("--db", type=FILE, metavar="FILE",
              help="Where ratings go. Default: NAME.ratings.sqlite beside the test. The same command goes on "
                   "with it.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, metavar="N",
              help="Of the page, on this computer only. 0: a free one.")  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on stderr but warnings and errors.")
def run_command(test: Path, db: Path | None, port: int, no_browser: bool, quiet: bool) -> None:
    """Prepare a listening test and show its page on 127.0.0.1 until Ctrl-C.

    Sounds are brought to one loudness, orders drawn for each listener; nothing on the page says which system
    is heard. Ratings are on the disk as soon as they are given; listeners come back with their code. Prints
    the page's address.
    """
    need_server()
    from edgefoley.listening import definition, server, stimuli, store

    def say(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    wanted = definition.load(test)
    base = test.resolve()
    path = base.parent / f"{base.stem if base.is_file() else base.name}.ratings.sqlite" if db is None else db
    place = server.bound(port)
    with place, collected():
        kept = store.create(path, wanted.record())
        media = path.with_name(f"{path.stem}.media")
        say(f"preparing {len(wanted.videos())} clips")
        kept.keep_stimuli(list(stimuli.build(wanted, media, kept.salt, say)))

        def ready(address: str) -> None:
            click.echo(address)
            say(f"ratings: {click.format_filename(path)}; Ctrl-C ends the test")
            if not no_browser:
                webbrowser.open(address)

        server.serve(kept, media, place, ready)
    say(f"edgefoley listen report {click.format_filename(path)}")


@command.command("report", epilog=REPORT_EPILOG)
@click.argument("db", metavar="DB", type=FILE)
@click.option("--margin", type=click.FloatRange(0, min_open=True), metavar="GRADES",
              help="How much worse a system may be and still be called not worse. Default: 0.3; of 0 to 100, "
                   "6.")  # fmt: skip
@click.option("--keep-failed", is_flag=True,
              help="Count listeners who failed attention checks; they are named all the same.")  # fmt: skip
@click.option("--html", type=FILE, metavar="FILE", help="Write a page with charts.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout, not a table.")
@click.option("--overwrite", is_flag=True, help="Replace a file that exists.")
def report_command(
    db: Path, margin: float | None, keep_failed: bool, html: Path | None, as_json: bool, overwrite: bool
) -> None:
    """Scores with 95 % intervals, paired comparisons and who was left out, from a rating file."""
    from edgefoley.listening import analysis, report, store

    if html is not None:
        check_target(html, overwrite, db)
    found = analysis.analyse(store.open_store(db), margin, keep_failed)
    if html is not None:
        write_whole(html, report.html_page(found).encode(), overwrite)
    if as_json:
        echo_json(report.to_json(found))
    else:
        click.echo("\n".join(report.lines(found)))
    if html is not None:
        click.echo(click.format_filename(html), err=True)


@command.command("power", epilog=POWER_EPILOG)
@click.option("--margin", type=click.FloatRange(0, min_open=True), required=True, metavar="GRADES",
              help="The difference that matters.")  # fmt: skip
@click.option("--sd", type=click.FloatRange(0, min_open=True), required=True, metavar="GRADES",
              help="Standard deviation, over listeners, of a listener's mean difference between two "
                   "systems.")  # fmt: skip
@click.option("--clips", type=click.IntRange(2), metavar="N", help="Clips of the test, with --sd-clips.")
@click.option("--sd-clips", type=click.FloatRange(0), default=0.0, metavar="GRADES",
              help="Standard deviation, over clips, of a clip's mean difference. Default: the test speaks "
                   "for its own clips alone.")  # fmt: skip
@click.option("--true", "true", type=float, default=0.0, show_default=True, metavar="GRADES",
              help="The difference that there really is.")  # fmt: skip
@click.option("--difference", is_flag=True,
              help="To find a difference as large as the margin, not to rule one out.")  # fmt: skip
@click.option("--power", "wanted", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.8,
              show_default=True, metavar="P", help="How often the test is to succeed.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def power_command(
    margin: float, sd: float, clips: int | None, sd_clips: float, true: float, difference: bool,
    wanted: float, as_json: bool,
) -> None:  # fmt: skip
    """How many listeners a test needs, before anyone listens."""
    from edgefoley.listening.comparisons import Aim, Spread, listeners_needed, power

    if (clips is None) != (sd_clips == 0):
        raise UsageError("--clips and --sd-clips belong together; give both or none.")
    if difference and true:
        raise UsageError("--true is for ruling a difference out; with --difference it is the margin.")
    spread = Spread(sd, sd_clips, clips or 0)
    aim: Aim = "difference" if difference else "not worse"
    needed = listeners_needed(spread, margin, true, aim, wanted)
    reached = None if needed is None else power(needed, spread, margin, true, aim)
    if as_json:
        echo_json({"listeners": needed, "power": reached, "margin": margin, "aim": aim})
    elif needed is None:
        click.echo("no number of listeners is enough: take more clips, or another margin")
    else:
        click.echo(f"{needed} listeners (power {reached:.2f})")
