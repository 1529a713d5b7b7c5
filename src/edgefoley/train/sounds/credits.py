"""Who made the sounds: rows of a bundle's CREDITS.tsv from recordings or from folders of them.

A row is one attribution under one licence from one source; the files of a source are counted instead of
listed. Columns: licence, attribution, source, labels.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from edgefoley.train.files import whole
from edgefoley.train.sounds.recordings import Recording, read_manifest

COLUMNS: Final = ("licence", "attribution", "source", "labels")


def origin(source: str) -> str:
    """A manifest's source without the file: "deb:NAME VERSION file" -> "deb:NAME VERSION", and
    "github:OWNER/NAME:path" -> "github:OWNER/NAME"."""
    if source.startswith("github:"):
        return ":".join(source.split(":")[:2])
    if source.startswith(("deb:", "npm:", "pypi:")):
        return " ".join(source.split(" ")[:2])
    return source


def credit_rows(sounds: Iterable[tuple[str, str, str, str]]) -> list[dict[str, str]]:
    """Rows in order of licence, attribution and source, from (licence, attribution, source, label)."""
    merged: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for licence, attribution, source, label in sounds:
        merged.setdefault((licence, attribution, origin(source)), []).append((source, label))
    rows = []
    for (licence, attribution, place), files in sorted(merged.items()):
        names = {source for source, _ in files}
        text = names.pop() if len(names) == 1 else f"{place} ({len(names)} files)"
        labels = "; ".join(sorted({label for _, label in files}))
        rows.append(dict(zip(COLUMNS, (licence, attribution, text, labels), strict=True)))
    return rows


def credits_of_recordings(recordings: Iterable[Recording]) -> list[dict[str, str]]:
    """Rows for what a library used (``library.pool.recordings``)."""
    return credit_rows((r.licence, r.attribution, r.source, r.label) for r in recordings)


def credits_of_folders(folders: Sequence[Path]) -> list[dict[str, str]]:
    """Rows for everything in folders with a manifest.tsv."""
    rows = [row for folder in folders for row in read_manifest(folder)]
    return credit_rows((r["licence"], r["attribution"], r["source"], r["label"]) for r in rows)


def write_credits(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Write CREDITS.tsv, whole or not at all."""
    with whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
