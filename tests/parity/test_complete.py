"""Every stored output of the reference implementation is here, unchanged, and some test reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.rule import DATA

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "parity"


def test_every_reference_is_here_as_it_was_made() -> None:
    if not REFERENCE.is_dir():
        pytest.skip(f"{REFERENCE} is not there; it is not part of the repository")
    stored = {path.name: path.read_bytes() for path in REFERENCE.glob("*.npz")}
    assert len(stored) == 10
    for name, content in stored.items():
        assert (DATA / name).read_bytes() == content, name


def test_every_file_is_read_by_a_test() -> None:
    tests = [path for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)]
    text = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    names = sorted(path.stem for path in DATA.glob("*.npz"))
    assert names and [name for name in names if f'"{name}"' not in text] == []
