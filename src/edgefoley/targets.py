"""Which files a run will write, and whether it may: settled before any work starts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgefoley.errors import OutputError, UsageError

VIDEO_SUFFIXES = (
    ".avi",
    ".m4v",
    ".mkv",
    ".mov",
    ".mp4",
    ".mpeg",
    ".mpg",
    ".mts",
    ".ogv",
    ".ts",
    ".webm",
    ".wmv",
)
"""Files of a folder that are taken for videos."""

SOUND_TARGET = ".wav"
VIDEO_TARGETS = (".mp4", ".m4v", ".mov", ".mkv")
_FALLBACK = ".mkv"  # what output.write_video turns to when MP4 or MOV cannot hold a stream
_OWN_OUTPUT = re.compile(r"\.foley(\.take\d+)?\.[^.]+$")


@dataclass(frozen=True)
class Target:
    """The files of one take: ``wav`` and ``video``, None where that one is not wanted."""

    wav: Path | None
    video: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.wav, self.video) if path is not None)


def is_own_output(path: Path) -> bool:
    """True for names that edgefoley gives: clip.foley.mp4, clip.foley.take2.wav, …"""
    return _OWN_OUTPUT.search(path.name) is not None


def videos_in(folder: Path) -> list[Path]:
    """Videos directly inside ``folder`` by suffix, sorted, without hidden files and our own outputs."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in VIDEO_SUFFIXES
        and not path.name.startswith(".")
        and not is_own_output(path)
        and path.is_file()
    )


def stem_of(prompt: str) -> str:
    """A file name from words: letters and digits of any script, at most 40; everything between them becomes
    ``_``."""
    return re.sub(r"\W+", "_", prompt).strip("_")[:40].rstrip("_") or "sound"


def is_folder(output: str | os.PathLike[str]) -> bool:
    """Whether ``output`` means a folder: it is one, ends in a separator, or has no suffix."""
    text = os.fspath(output)
    return os.path.isdir(text) or text.endswith(("/", os.sep)) or not Path(text).suffix


def plan(
    output: str | os.PathLike[str], stem: str | None, takes: int = 1, sound_only: bool = False
) -> tuple[Target, ...]:
    """The files of every take. ``stem`` names them inside a folder (``<stem>.foley.wav`` and
    ``<stem>.foley.mp4``).

    ``output`` ending in .wav asks for the sound only, in .mp4, .m4v, .mov or .mkv for the video only. Take k
    > 1 gets ``.take<k>`` before the suffix. Raises UsageError for any other suffix, and for a folder without
    a ``stem``.
    """
    if is_folder(output):
        if stem is None:
            raise UsageError(f"{output} is a folder; give a file name ending in {SOUND_TARGET}.")
        base, suffixes = (
            Path(output) / f"{stem}.foley",
            [SOUND_TARGET] + [VIDEO_TARGETS[0]] * (not sound_only),
        )
    else:
        path = Path(output)
        base, suffixes = path.with_suffix(""), [path.suffix]
        known = (SOUND_TARGET,) if sound_only else (SOUND_TARGET, *VIDEO_TARGETS)
        if path.suffix.lower() not in known:
            raise UsageError(
                f"cannot write {path.name}: outputs end in {', '.join(known)} (or name a folder)."
            )
        if not os.path.isdir(path.parent):
            raise OutputError(f"cannot write {path}: there is no folder {path.parent}; create it first.")
    targets = []
    for take in range(1, takes + 1):
        mark = "" if take == 1 else f".take{take}"
        paths = {
            suffix.lower() == SOUND_TARGET: base.with_name(f"{base.name}{mark}{suffix}")
            for suffix in suffixes
        }
        targets.append(Target(wav=paths.get(True), video=paths.get(False)))
    return tuple(targets)


def check(planned: Sequence[tuple[Path | None, Sequence[Target]]], overwrite: bool) -> None:
    """Refuse a plan, (source, targets) per input, that could not be carried out, before any work starts.

    Raises UsageError when two results would get the same name or one would replace a source, and OutputError
    when a file exists (unless ``overwrite``), or its folder is missing or not writable.
    """
    sources = {_identity(source) for source, _ in planned if source is not None}
    owners: dict[Path, Path | None] = {}
    existing: list[Path] = []
    for source, targets in planned:
        for path in (path for target in targets for path in target.paths):
            identity = _identity(path)
            if identity in sources:
                raise UsageError(f"{path} is an input and is never overwritten; choose another output name.")
            if identity in owners:
                raise UsageError(
                    f"{owners[identity]} and {source} would both write {path}; run them one by one."
                )
            owners[identity] = source
            existing += [
                name for name in _may_become(path) if os.path.lexists(name) and _identity(name) not in sources
            ]
            _check_folder(path)
    folders = [path for path in existing if os.path.isdir(path)]
    if folders:
        raise OutputError(
            f"{folders[0]} is a folder and cannot be replaced by a file; choose another name with -o."
        )
    if existing and not overwrite:
        names = ", ".join(str(path) for path in existing[:3]) + (", …" if len(existing) > 3 else "")
        verb = "exists" if len(existing) == 1 else "exist"
        raise OutputError(
            f"{names} {verb} already; nothing was done. Use --overwrite, or -o for another place."
        )


@contextmanager
def folder_for(target: Target) -> Iterator[None]:
    """Make the folder of ``target`` (one level) when it is missing, and take it away again when the block
    fails and leaves it empty. Raises OutputError."""
    made = []
    for folder in {path.parent for path in target.paths}:
        try:
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        except OSError as error:
            raise OutputError(f"cannot create the folder {folder}: {error.strerror}.") from error
    try:
        yield
    except BaseException:
        for folder in made:
            with suppress(OSError):  # something else is in it by now
                folder.rmdir()
        raise


def _may_become(path: Path) -> tuple[Path, ...]:
    if path.suffix.lower() in (SOUND_TARGET, _FALLBACK):
        return (path,)
    return (path, path.with_suffix(_FALLBACK))


def _identity(path: Path) -> Path:
    return Path(os.path.normcase(path.resolve()))


def _check_folder(path: Path) -> None:
    """The folder of ``path``, or the one in which it would be made, is there and may be written to."""
    folder = path.parent if os.path.exists(path.parent) else path.parent.parent
    if not os.path.isdir(folder):
        problem = "is not a folder" if os.path.exists(folder) else "does not exist; create it first"
        raise OutputError(f"cannot write {path}: {folder} {problem}, or choose another place with -o.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: no permission in {folder}; choose another place with -o.")
