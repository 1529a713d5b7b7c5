"""Published files brought into a folder of this machine: what they are, downloads that go on where they
stopped, and the proof that they are the right ones.

The hub's own client (huggingface_hub) builds the addresses, sends the user's token, follows redirects,
retries and draws its progress bar. Its ``hf_hub_download`` throws away what it has when it is interrupted, so
the bytes go to ``NAME.part`` here, and the next run asks for the rest. A file gets its name only when its
size and its sha256 are the published ones.

Layer 1: standard library; huggingface_hub is imported when something has to be downloaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgefoley.errors import EdgeFoleyError

PART = ".part"
INSTALL = "pip install 'edgefoley[convert]'"
_SLACK = 64_000_000  # bytes of free space that are left alone

Step = Literal["present", "fetch", "copy", "verify", "done"]


class DownloadError(EdgeFoleyError):
    """A published file could not be had, or what came is not it."""


@dataclass(frozen=True)
class Licence:
    """Terms in our own words, one sentence each; ``url`` leads to the text that counts. ``excluded``:
    territories where it gives no rights; ``ask``: whether it has to be accepted before a download."""

    name: str
    url: str
    terms: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    ask: bool = False


@dataclass(frozen=True)
class SourceFile:
    """A published file: ``path`` in our folder (with "/"), then repository, revision and name there, size
    in ``bytes``, ``sha256`` in hex (None: not known), and what it is for."""

    path: str
    repository: str
    revision: str
    name: str
    bytes: int
    sha256: str | None
    licence: Licence
    purpose: str


def models_folder() -> Path:
    """Where converted models go, and are found by name: edgefoley/models in the data folder of the user."""
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(home / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
    return Path(base) / "edgefoley" / "models"


def cache_folder() -> Path:
    """Where what can be made again goes: edgefoley in the cache of the user."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "edgefoley"


def default_folder() -> Path:
    """Where published files go unless the user says otherwise: hunyuan in the ``cache_folder``."""
    return cache_folder() / "hunyuan"


def licences_of(files: Sequence[SourceFile]) -> list[Licence]:
    """The licences of ``files``, each once, those to be accepted first."""
    return sorted(dict.fromkeys(file.licence for file in files), key=lambda licence: not licence.ask)


def bytes_to_fetch(files: Sequence[SourceFile], folder: Path) -> int:
    """Bytes that are not in ``folder`` yet; interrupted downloads count as far as they got."""
    total = 0
    for file in files:
        target = folder / file.path
        if not target.is_file():
            part = _part_of(target)
            total += max(0, file.bytes - (part.stat().st_size if part.is_file() else 0))
    return total


def check_space(folder: Path, needed: int, option: str = "--dir") -> None:
    """Raise DownloadError when the disk of ``folder`` (which need not exist yet) has less than ``needed``
    bytes free. ``option``: the flag that names another place."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed and free < needed + _SLACK:
        raise DownloadError(
            f"not enough room in {folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free. "
            f"Make room, or name another place with {option}."
        )


def bring(
    files: Sequence[SourceFile], folder: Path, *, mirror: str | None = None, origin: Path | None = None
) -> Iterator[tuple[SourceFile, Step]]:
    """Bring ``files`` into ``folder``; yields what happens to each, in order, ending with "done".

    ``origin``: a local folder that has them; files are linked from there, or copied where that does not work.
    Otherwise they come from the hub, or from ``mirror``, the address of a server with the same paths. Room
    is checked first. Raises DownloadError; what was downloaded until then stays as ``NAME.part``, unless it
    is wrong.
    """
    if mirror is not None and not mirror.startswith(("https://", "http://")):
        raise DownloadError(f"{mirror!r} is no mirror's address: it has to begin with https://.")
    missing = [file for file in files if not (folder / file.path).is_file()]
    found = {} if origin is None else {file.path: find_in(origin, file) for file in missing}
    check_space(folder, 0 if found and _same_disk(origin, folder) else bytes_to_fetch(files, folder))
    for file in files:
        target = folder / file.path
        if file not in missing:
            yield file, "present"
        else:
            part = _begin(target)
            if origin is not None:
                yield file, "copy"
                _link_or_copy(found[file.path], part)
            else:
                yield file, "fetch"
                try:
                    _download(file, part, mirror)
                finally:
                    if not part.stat().st_size:
                        part.unlink()
        yield file, "verify"
        if file not in missing:
            _verify(file, target, "It was left as it is: move it away, or name another place with --dir.")
        else:
            again = "try again, or another --mirror" if origin is None else f"look at the file in {origin}"
            try:
                _verify(file, part, f"It was not kept; {again}.")
            except DownloadError:
                part.unlink()
                raise
            os.replace(part, target)
        yield file, "done"


def find_in(origin: Path, file: SourceFile) -> Path:
    """The file's place below ``origin``: under our path, its repository's, or its bare name. Raises
    DownloadError."""
    owner, _, repository = file.repository.partition("/")
    places = (file.path, f"{owner}/{repository}/{file.name}", f"{repository}/{file.name}", file.name)
    for place in dict.fromkeys(places):
        candidate = origin / place
        if candidate.is_file() and candidate.stat().st_size == file.bytes:
            return candidate.resolve()
    seen = [place for place in dict.fromkeys(places) if (origin / place).is_file()]
    other = f" ({', '.join(seen)} is of another size than {file.bytes} bytes)" if seen else ""
    raise DownloadError(
        f"{origin} has no {file.path}{other}. Looked for: {', '.join(dict.fromkeys(places))}. It comes from "
        f"{file.repository}, revision {file.revision}."
    )


def _part_of(target: Path) -> Path:
    return target.with_name(target.name + PART)


def _begin(target: Path) -> Path:
    """The partial file of ``target``, made if it is not there, with the folders above it."""
    part = _part_of(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise DownloadError(f"{target.parent} cannot be written to: {error}. Name another --dir.") from error
    return part


def _same_disk(origin: Path | None, folder: Path) -> bool:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return origin is not None and origin.stat().st_dev == existing.stat().st_dev


def _link_or_copy(source: Path, part: Path) -> None:
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:  # another disk, or a file system without links
        try:
            shutil.copyfile(source, part)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DownloadError(f"{source} could not be copied to {part.parent}: {error}") from error


def _download(file: SourceFile, part: Path, mirror: str | None) -> None:
    try:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers
    except ImportError as error:
        raise DownloadError(f"downloads need huggingface_hub. Install it with: {INSTALL}") from error
    if part.is_file() and part.stat().st_size > file.bytes:
        part.unlink()
    endpoint = mirror.rstrip("/") if mirror is not None else None
    url = hf_hub_url(file.repository, file.name, revision=file.revision, endpoint=endpoint)
    headers = build_hf_headers(token=False if mirror is not None else None)  # a user's token is for the hub
    while True:
        with part.open("ab") as target:
            had = target.tell()
            try:
                http_get(
                    url,
                    target,
                    resume_size=had,
                    headers=headers,
                    expected_size=file.bytes,
                    displayed_filename=file.path,
                )
                return
            except Exception as error:  # the client's network library, and with it the errors, changed twice
                target.flush()
                status = getattr(getattr(error, "response", None), "status_code", None)
                if status is not None or part.stat().st_size <= had:
                    raise DownloadError(_reason(file, url, error, status)) from error
        # It broke off on the way: go on from there, as often as something comes.


def _reason(file: SourceFile, url: str, error: Exception, status: int | None) -> str:
    hint = {
        401: "The server wants a login: run `hf auth login`.",
        403: "The server refuses: open the repository's page, or log in with `hf auth login`.",
        404: "The server does not have it: try another --mirror, or --from a local folder.",
    }.get(status or 0, "What has come so far is kept: the same command goes on from there.")
    what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{file.path} could not be downloaded from {url}: {what} {hint}"


def _verify(file: SourceFile, path: Path, then: str) -> None:
    size = path.stat().st_size
    if size != file.bytes:
        raise DownloadError(f"{path} has {size} bytes, {file.name} as published has {file.bytes}. {then}")
    if file.sha256 is None:
        return
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise DownloadError(
            f"{path} is not {file.name} as published: its sha256 is {found[:16]}…, that of the published "
            f"file {file.sha256[:16]}…. {then}"
        )
