"""Folders that appear when they are complete: bundles, calibration sets, random weights."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgefoley.errors import OutputError


def check_free(out: Path) -> None:
    """Raise OutputError unless ``out`` is an empty folder or nothing at all."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} exists already and is not empty; nothing was done. Name another folder.")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside ``out`` to write into, which takes its name when the block ends without an exception
    and is removed when it does not. Raises OutputError for what the system refuses."""
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error}") from error
    try:
        yield work
        work.chmod(0o755)  # mkdtemp makes it private
        if out.is_dir():
            out.rmdir()
        os.replace(work, out)
    except OSError as error:
        raise OutputError(f"{out} could not be written: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
