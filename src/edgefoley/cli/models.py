"""``edgefoley models``: which models can be used, and how to get others.

The list needs the runtime alone. Downloads need huggingface_hub; random weights and conversion need torch;
both are imported when their command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgefoley.api import list_models
from edgefoley.cli.models_convert import command as convert
from edgefoley.cli.report import echo_json
from edgefoley.errors import UsageError

if TYPE_CHECKING:
    from edgefoley.hub import SourceFile

FOLDER = click.Path(file_okay=False, path_type=Path)
EPILOG = """\b
Examples:
  edgefoley models
  edgefoley models --json
  edgefoley models download xl
  edgefoley models convert ~/.cache/edgefoley/hunyuan --model xl
  edgefoley models random tiny -o /tmp/tiny
"""
DOWNLOAD_EPILOG = """\b
Examples:
  edgefoley models download xl
  edgefoley models download xl --accept-licence --dir /data/hunyuan
  edgefoley models download xxl --mirror https://hf-mirror.com
  edgefoley models download xl --from /media/disk/HunyuanVideo-Foley
"""
RANDOM_EPILOG = """\b
Examples:
  edgefoley models random tiny -o /tmp/tiny
  edgefoley models random xl -o /data/random-xl --seed 1
"""


@click.group("models", invoke_without_command=True, epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per model (list only).")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the models (name, version, size, licence, engines), or get others.

    Without a command the built-in models and those converted on this machine are listed; --model takes their
    names. Any other bundle is used by its folder: edgefoley generate clip.mp4 --model path/to/bundle
    """
    if context.invoked_subcommand is not None:
        if as_json:
            raise UsageError(f"--json belongs to the list; models {context.invoked_subcommand} has none.")
        return
    show_list(as_json)


def show_list(as_json: bool) -> None:
    """The built-in and the converted models on stdout."""
    models = list_models()
    if not models:
        click.echo("No models are built in; give the folder of a bundle with --model.", err=True)
    for model in models:
        if as_json:
            echo_json(asdict(model))
            continue
        if model.problem is not None:
            click.echo(f"{model.name}  damaged\n  {model.problem}")
            continue
        engines = ", ".join(model.backends)
        click.echo(
            f"{model.name}  {model.version}  {amount(model.bytes)}  {model.licence}  engines: {engines}\n"
            f"  {model.description}"
        )


@command.command("download", epilog=DOWNLOAD_EPILOG)
@click.argument("model", type=click.Choice(["xl", "xxl"]), metavar="xl|xxl")
@click.option(
    "--dir",
    "folder",
    type=FOLDER,
    metavar="FOLDER",
    help="Where to put the files. Default: edgefoley/hunyuan in the user's cache. xl and xxl share a folder.",
)
@click.option("--accept-licence", is_flag=True, help="Accept the licences that are shown, without asking.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask about the size. Accepts no licence.")
@click.option("--mirror", metavar="URL", help="Another server with the hub's paths. Default: HF_ENDPOINT.")
@click.option(
    "--from",
    "origin",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Take the files from a folder of this machine instead: linked where possible, else copied.",
)
def download(
    model: str, folder: Path | None, accept_licence: bool, yes: bool, mirror: str | None, origin: Path | None
) -> None:
    """Fetch the published weights of HunyuanVideo-Foley XL or XXL, and of its encoders.

    Licences are shown first, with the territories where the weights may not be used. An interrupted download
    goes on where it stopped. Size and sha256 of every file are checked. Prints the folder.
    """
    from edgefoley.convert.sources import sources_of
    from edgefoley.hub import bring, bytes_to_fetch, check_space, default_folder

    if mirror is not None and origin is not None:
        raise UsageError("--mirror and --from contradict each other: the files come from one place.")
    files = sources_of(model)
    folder = default_folder() if folder is None else folder
    show_licences(files)
    accept(files, accept_licence)
    missing = bytes_to_fetch(files, folder)
    if missing and origin is None:
        check_space(folder, missing)
        click.echo(f"{amount(missing)} are to be downloaded to {folder}.", err=True)
        if not yes and on_terminal() and not click.confirm("Go on?", default=True, err=True):
            raise UsageError("stopped; nothing was downloaded.")
    words = {"fetch": "downloading", "copy": "taking over", "present": "there already", "verify": "checking"}
    for file, step in bring(files, folder, mirror=mirror, origin=origin):
        if step in words:
            click.echo(f"{file.path} ({amount(file.bytes)}): {words[step]}", err=True)
    click.echo(f"All files of {model} are there, with the published sizes and sha256.", err=True)
    click.echo(click.format_filename(folder))


def show_licences(files: Sequence[SourceFile]) -> None:
    """Every licence of ``files`` on stderr: what it is for, in our own words, and where its text is."""
    from edgefoley.hub import licences_of

    for licence in licences_of(files):
        click.echo(licence.name, err=True)
        for file in files:
            if file.licence == licence:
                click.echo(f"    {file.path} ({amount(file.bytes)}): {file.purpose}", err=True)
        if licence.excluded:
            click.echo(f"  NOT to be used in: {', '.join(licence.excluded)}.", err=True)
        for sentence in licence.terms:
            click.echo(f"  - {sentence}", err=True)
        click.echo(f"  Full text, which alone counts: {licence.url}\n", err=True)


def accept(files: Sequence[SourceFile], accepted: bool) -> None:
    """Ask on a terminal whether the licences are accepted. Raises UsageError when they are not."""
    excluded = dict.fromkeys(place for file in files for place in file.licence.excluded)
    if accepted or not any(file.licence.ask for file in files):
        return
    if not on_terminal():
        raise UsageError(
            "the licences above have to be accepted first. Read them, and where you agree and are in none of "
            "the excluded territories, give --accept-licence. Nothing was downloaded."
        )
    question = f"Do you accept these licences, and are you in none of: {', '.join(excluded)}?"
    if not click.confirm(question, default=False, err=True):
        raise UsageError("the licences were not accepted; nothing was downloaded.")


def amount(size: int) -> str:
    """Bytes in a readable unit."""
    if size >= 1e9:
        return f"{size / 1e9:.2f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()


command.add_command(convert)


@command.command("random", epilog=RANDOM_EPILOG)
@click.argument("model", type=click.Choice(["xl", "xxl", "tiny"]), metavar="xl|xxl|tiny")
@click.option("-o", "--output", "folder", type=FOLDER, required=True, metavar="DIR", help="A new folder.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S", help="Other numbers."
)
def random(model: str, folder: Path, seed: int) -> None:
    """Write random weights with the names, shapes and types of the published ones: they make noise.

    For tests, and for measuring time and memory where the published weights may not be. xl writes 9 GB, xxl
    13 GB; tiny has the same parts with few and narrow layers, 16 MB. Prints the folder.
    """
    if find_spec("torch") is None:
        raise UsageError("random weights need torch; install it with: pip install 'edgefoley[convert]'")
    from edgefoley.convert.stand_in import write_folder

    with click.progressbar(length=1000, label=f"random {model}", file=sys.stderr) as bar:
        for _, done, total in write_folder(folder, model, seed):
            bar.update(1000 * done // total - bar.pos)
    click.echo(click.format_filename(folder))
