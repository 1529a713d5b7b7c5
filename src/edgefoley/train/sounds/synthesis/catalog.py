"""The catalogue of synthesised sounds by concept, and the folder of takes that training reads.

A folder has the form of the recordings' folders: FLAC files and ``manifest.tsv``. Labels begin with
"synthetic" so that nobody takes them for recordings. Takes that share one thing (material, size, build) share
a ``group``, so that a split by group never has one thing on both sides.
"""

from __future__ import annotations

import argparse
import csv
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator

from edgefoley.train.files import write_whole
from edgefoley.train.sounds.synthesis import beds, devices, impacts, treads
from edgefoley.train.sounds.synthesis.recipe import Recipe
from edgefoley.train.sounds.synthesis.sound import RATE, Sound, Wave, draw

RECIPES: Final[dict[str, Recipe]] = dict(
    sorted({**impacts.RECIPES, **treads.RECIPES, **beds.RECIPES, **devices.RECIPES}.items())
)
TAKES_PER_THING: Final = 6
COLUMNS: Final = (
    "path", "label", "seconds", "sample_rate", "lossy", "group", "licence", "source", "attribution",
)  # fmt: skip
LICENCE: Final = "Apache-2.0"
MODULE: Final = "edgefoley.train.sounds.synthesis.catalog"


def recipe(concept_id: str) -> Recipe:
    """The recipe of a concept; KeyError lists the known ones."""
    if concept_id not in RECIPES:
        raise KeyError(f"no recipe for {concept_id!r}; known: {', '.join(RECIPES)}")
    return RECIPES[concept_id]


def render(concept_id: str, rng: Generator, strength: float = 0.7, seconds: float | None = None) -> Sound:
    """One sound of a concept. strength 0..1 sets level and timbre; ``seconds``: about how long (an event that
    has died away is shorter), by default drawn from the recipe's range. KeyError for an unknown concept."""
    chosen = recipe(concept_id)
    return chosen(rng, strength, draw(rng, *chosen.seconds) if seconds is None else seconds)


@dataclass(frozen=True)
class Take:
    """One file of the folder: path relative to it, concept, group, seed of the thing, seed of the take."""

    path: str
    concept: str
    group: str
    thing: tuple[int, ...]
    seed: tuple[int, ...]


def plan(takes: int, seed: int, concepts: Sequence[str] = tuple(RECIPES)) -> Iterator[Take]:
    """Every take of the folder in the order of the manifest. Seeds depend on the concept's name and not on
    its place in the list, so adding a recipe changes no other file."""
    for concept in concepts:
        name = zlib.crc32(concept.encode())
        for i in range(takes):
            thing = i // TAKES_PER_THING
            yield Take(
                f"{concept}/{concept}_{i:03d}.flac",
                concept,
                f"synthetic/{concept}/{thing}",
                (seed, name, 1, thing),
                (seed, name, 2, i),
            )


def perform(take: Take) -> Sound:
    """The take's sound: the thing from its group's seed; strength 0.15..1 and length from its own."""
    rng = np.random.default_rng(take.seed)
    chosen = recipe(take.concept)
    strength, seconds = float(rng.uniform(0.15, 1.0)), draw(rng, *chosen.seconds)
    return chosen.make(np.random.default_rng(take.thing), rng, strength, seconds)


def flac(wave: Wave) -> bytes:
    """``wave`` as a 16 bit mono FLAC file at 48 kHz; the same wave gives the same bytes for one version of
    FFmpeg."""
    from io import BytesIO

    import av

    target = BytesIO()
    samples = np.round(wave * 32767).astype(np.int16)
    with av.open(target, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", options={"flags": "+bitexact"})
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def write_folder(out: Path, takes: int = 24, seed: int = 0, concepts: Sequence[str] = tuple(RECIPES)) -> int:
    """Write ``takes`` sounds of every concept and the manifest below ``out``; files that are there are kept
    (run it again after an interruption). The manifest is written last. Returns how many files were new.

    Raises ValueError when ``out`` holds takes of another seed or KeyError for an unknown concept.
    """
    marker = out / "seed.txt"
    if marker.exists() and marker.read_text(encoding="utf-8").strip() != str(seed):
        raise ValueError(
            f"{out} holds takes of seed {marker.read_text(encoding='utf-8').strip()}, not {seed}"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(marker, f"{seed}\n")
    new = 0
    rows = []
    for take in plan(takes, seed, concepts):
        path = out / take.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, flac(perform(take).wave))
            new += 1
        rows.append((take, _seconds(path)))
    text = StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(COLUMNS)
    for take, seconds in rows:
        source = f"{MODULE}:{take.concept}"
        label = f"synthetic {take.concept}"
        table.writerow(
            [take.path, label, f"{seconds:.3f}", RATE, "no", take.group, LICENCE, source, "edgefoley"]
        )
    write_whole(out / "manifest.tsv", text.getvalue())
    return new


def _seconds(path: Path) -> float:
    """Length of a FLAC file from its STREAMINFO block: 36 bits of sample count end at byte 26."""
    with path.open("rb") as file:
        head = file.read(26)
    return (int.from_bytes(head[21:26], "big") & (2**36 - 1)) / RATE


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: ``--out FOLDER --takes N --seed S``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {MODULE}",
        description="Write a folder of synthesised sounds with its manifest.",
        epilog=f"example: python -m {MODULE} --out runs/sounds/synthetic --takes 24",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; resumed if it exists")
    parser.add_argument("--takes", type=int, default=24, help="takes per concept (default 24)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (default 0)")
    chosen = parser.parse_args(arguments)
    new = write_folder(chosen.out, chosen.takes, chosen.seed)
    print(f"{len(RECIPES)} concepts, {new} new files below {chosen.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
