"""What the sound library holds: ``python -m edgefoley.train.sounds.report --data FOLDER... --cache FOLDER``.

Distinct sound (doubles counted once) by licence and by source, and by concept: seconds, single events, loops.
A concept is thin with less than `THIN_SECONDS` of sound or fewer than `THIN_EVENTS` events (textures are not
counted in events).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.sounds.credits import origin
from edgefoley.train.sounds.cuts import RULE_OF_KIND
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.words.concepts import load_concepts

THIN_SECONDS, THIN_EVENTS = 10.0, 5


@dataclass(frozen=True)
class Held:
    """What a concept has, all its labels together."""

    concept: str
    kind: str
    recordings: int
    groups: int
    seconds: float
    events: int
    loops: int

    @property
    def thin(self) -> bool:
        """Whether there is too little to learn the concept from."""
        return self.seconds < THIN_SECONDS or (self.kind != "texture" and self.events < THIN_EVENTS)


def hours_by(library: SoundLibrary, key: str) -> dict[str, tuple[int, float]]:
    """(recordings, hours) of distinct sound by "licence" or "source", largest first."""
    sums: dict[str, tuple[int, float]] = {}
    for recording in library.pool.recordings:
        name = recording.licence if key == "licence" else origin(recording.source)
        count, hours = sums.get(name, (0, 0.0))
        sums[name] = (count + 1, hours + recording.length / SAMPLE_RATE / 3600)
    return dict(sorted(sums.items(), key=lambda item: -item[1][1]))


def held(library: SoundLibrary) -> list[Held]:
    """One entry for every concept of the table, in its order; zeros for one without sound."""
    found = []
    for concept in load_concepts():
        rule = RULE_OF_KIND[concept.kind]
        labels = set(concept.labels)
        members = [i for i, r in enumerate(library.pool.recordings) if r.label in labels]
        recordings = [library.pool.recordings[i] for i in members]
        found.append(
            Held(
                concept.id,
                concept.kind,
                len(members),
                len({r.group for r in recordings}),
                sum(r.length for r in recordings) / SAMPLE_RATE,
                sum(len(library.cuts(i, "event", rule)) for i in members),
                sum(len(library.cuts(i, "loop")) for i in members),
            )
        )
    return found


def report(library: SoundLibrary) -> str:
    """The tables as Markdown."""
    total = sum(r.length for r in library.pool.recordings) / SAMPLE_RATE / 3600
    lines = [
        f"{len(library.pool.recordings)} recordings, {total:.2f} hours of distinct sound, "
        f"{len(library.dropped)} doubles left out.",
    ]
    for key in ("licence", "source"):
        lines += ["", f"| {key} | recordings | hours |", "|---|---:|---:|"]
        lines += [f"| {name} | {n} | {hours:.3f} |" for name, (n, hours) in hours_by(library, key).items()]
    lines += ["", "| concept | kind | recordings | groups | seconds | events | loops | |"]
    lines += ["|---|---|---:|---:|---:|---:|---:|---|"]
    for h in held(library):
        lines.append(
            f"| {h.concept} | {h.kind} | {h.recordings} | {h.groups} | {h.seconds:.0f} | {h.events} | "
            f"{h.loops} | {'thin' if h.thin else ''} |"
        )
    thin = [h.concept for h in held(library) if h.thin]
    lines += ["", f"Thin ({len(thin)}): {', '.join(thin)}."]
    others = library.labels_without_concept
    lines += ["", f"Labels without a concept ({len(others)}): {', '.join(others)}."]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("../shared/data/sfx")])
    parser.add_argument("--cache", type=Path, default=Path("runs/library"))
    args = parser.parse_args(arguments)
    print(report(SoundLibrary.build(args.data, args.cache)))


if __name__ == "__main__":
    main()
