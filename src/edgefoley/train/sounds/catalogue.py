"""What the sound library keeps on disk: decoded samples, the recordings without doubles, and all cuts.

Three steps, each kept below the cache folder under a digest of what it was made from: `samples.i16` with
`samples.json` (manifests), `doubles.json` (samples), `cuts.json` (the source of the modules that cut; by the
recordings' samples). A step is made again when its digest no longer fits, and written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgefoley.errors import EdgeFoleyError
from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.files import whole, write_whole
from edgefoley.train.sounds import cuts as cuts_module
from edgefoley.train.sounds import fingerprint as fingerprint_module
from edgefoley.train.sounds import loops as loops_module
from edgefoley.train.sounds import onsets as onsets_module
from edgefoley.train.sounds.cuts import RULES, Cut, event_cuts, ranked, whole_cut
from edgefoley.train.sounds.events import Wave
from edgefoley.train.sounds.fingerprint import fingerprint, same_sounds
from edgefoley.train.sounds.loops import loop_cuts
from edgefoley.train.sounds.onsets import to_16k
from edgefoley.train.sounds.recordings import (
    Pool,
    Recording,
    decode_mono,
    is_held_out,
    levelled,
    read_manifest,
)

LONGEST_S = 180.0  # of a recording; what follows is left out
SYNTHESIS = "edgefoley.train.sounds.synthesis"  # how the source of a synthesised take begins
SHORTEST = SAMPLE_RATE // 100
OWN_RANK = 4  # a group with as many cuts is ranked by itself
LICENCE_ORDER = ("CC0", "PUBLIC DOMAIN", "MIT", "BSD", "CC BY", "OGA BY")  # which of two copies is kept

Rules = Mapping[str, tuple[str, ...]]
Say = Callable[[str], None]


class LibraryError(EdgeFoleyError, ValueError):
    """The sound library cannot be built, or was asked for what it has not."""


@dataclass(frozen=True)
class Catalogue:
    """Everything a library reads. ``cuts``: by (index in pool.recordings, rule name or "loop" or "whole").
    ``dropped``: (path of a double, path of what was kept instead)."""

    pool: Pool
    cuts: Mapping[tuple[int, str], tuple[Cut, ...]]
    dropped: tuple[tuple[str, str], ...]
    folders: tuple[Path, ...]


def digest(*parts: str | bytes) -> str:
    """SHA-256 over parts, each with its length."""
    total = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        total.update(len(raw).to_bytes(8, "big") + raw)
    return total.hexdigest()


def _source_of(*modules: Any) -> str:
    return digest(*(Path(str(m.__file__)).read_bytes() for m in modules))


def _kept(path: Path, key: str) -> Any | None:
    """What a step left, if it was made from ``key``."""
    if not path.exists():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    return stored["content"] if stored.get("digest") == key else None


def _keep(path: Path, key: str, content: Any) -> None:
    write_whole(path, json.dumps({"digest": key, "content": content}))


def open_catalogue(folders: Sequence[Path], cache: Path, rules: Rules, say: Say) -> Catalogue:
    """Make or open the catalogue of ``folders`` below ``cache``; ``rules``: names of the cutting rules that
    each label needs. Raises LibraryError for a folder without manifest.tsv or a file that does not decode."""
    rows: list[tuple[Path, dict[str, str]]] = []
    for folder in folders:
        if not (folder / "manifest.tsv").exists():
            raise LibraryError(f"{folder} has no manifest.tsv: fetch the recordings first, or leave it out")
        rows += [(folder, row) for row in read_manifest(folder)]
    cache.mkdir(parents=True, exist_ok=True)
    key = digest(*((f / "manifest.tsv").read_bytes() for f in folders))
    every = _samples(rows, cache, key, say)
    samples = np.memmap(cache / "samples.i16", dtype=np.int16, mode="r") if every else np.zeros(0, np.int16)
    pool = Pool(samples, tuple(every))
    key = digest(key, _source_of(fingerprint_module))
    pool, dropped = _without_doubles(pool, rules, cache, key, say)
    return Catalogue(pool, _cut_all(pool, rules, cache, say), dropped, tuple(folders))


def _samples(rows: list[tuple[Path, dict[str, str]]], cache: Path, key: str, say: Say) -> list[Recording]:
    lengths = _kept(cache / "samples.json", key)
    if lengths is None:
        lengths = []
        with whole(cache / "samples.i16") as part, part.open("wb") as out:
            for done, (folder, row) in enumerate(rows):
                try:
                    wave = decode_mono(folder / row["path"])[: int(LONGEST_S * SAMPLE_RATE)]
                except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
                    raise LibraryError(f"{folder / row['path']}: cannot be decoded: {error}") from error
                samples, gain_db = levelled(wave)
                out.write(samples.tobytes())
                lengths.append([len(samples), round(gain_db, 3)])
                if done % 500 == 499:
                    say(f"decoded {done + 1} of {len(rows)} recordings")
        _keep(cache / "samples.json", key, lengths)
    recordings, start = [], 0
    for (_, row), (length, gain_db) in zip(rows, lengths, strict=True):
        path, label, group, licence, attribution, source = (
            row[name] for name in ("path", "label", "group", "licence", "attribution", "source")
        )
        lossless, held_out = row["lossy"] == "no", is_held_out(group)
        recordings.append(
            Recording(
                path, label, group, licence, attribution, source, lossless, held_out, start, length, gain_db
            )
        )
        start += length
    return recordings


def licence_rank(licence: str) -> int:
    """Position in LICENCE_ORDER, from the freest; len(LICENCE_ORDER) for any other."""
    name = licence.upper()
    if "SA" in name.replace("-", " ").split():
        return len(LICENCE_ORDER)
    return next((i for i, known in enumerate(LICENCE_ORDER) if name.startswith(known)), len(LICENCE_ORDER))


def _without_doubles(
    pool: Pool, rules: Rules, cache: Path, key: str, say: Say
) -> tuple[Pool, tuple[tuple[str, str], ...]]:
    """The pool with one recording of each sound, groups of copies made one."""
    every = pool.recordings
    sets = _kept(cache / "doubles.json", key)
    if sets is None:
        # Synthesised takes are different by construction, and alike enough to make millions of candidates.
        places = [i for i, r in enumerate(every) if not r.source.startswith(SYNTHESIS)]
        say(f"comparing {len(places)} recordings")
        sixteen = lambda k: to_16k(pool.wave(every[places[k]], 0, SAMPLE_RATE * 4))  # noqa: E731
        prints = [fingerprint(sixteen(k)) for k in range(len(places))]
        stacked = np.stack(prints) if prints else np.zeros((0, 1), np.float32)
        seconds = [every[i].length / SAMPLE_RATE for i in places]
        sets = [[places[k] for k in members] for members in same_sounds(stacked, seconds, sixteen)]
        _keep(cache / "doubles.json", key, sets)
    common: dict[str, str] = {r.group: r.group for r in every}

    def origin(group: str) -> str:
        while common[group] != group:
            group = common[group]
        return group

    best: dict[int, Recording] = {}
    dropped: dict[int, int] = {}
    for members in sets:
        for i in members[1:]:
            a, b = sorted((origin(every[members[0]].group), origin(every[i].group)))
            common[b] = a
        order = sorted(
            members,
            key=lambda i: (not every[i].lossless, licence_rank(every[i].licence), -every[i].length, i),
        )
        # What the best copy is called matters less than that a concept knows it.
        label = next((every[i].label for i in order if every[i].label in rules), every[order[0]].label)
        best[order[0]] = replace(every[order[0]], label=label)
        dropped.update(dict.fromkeys(order[1:], order[0]))
    kept = []
    for i, recording in enumerate(every):
        if i not in dropped and recording.length > SHORTEST:
            group = origin(recording.group)
            kept.append(replace(best.get(i, recording), group=group, held_out=is_held_out(group)))
    pairs = tuple((every[i].path, every[j].path) for i, j in sorted(dropped.items()))
    return Pool(pool.samples, tuple(kept)), pairs


def _cut_all(pool: Pool, rules: Rules, cache: Path, say: Say) -> dict[tuple[int, str], tuple[Cut, ...]]:
    """All cuts that the labels need. Kept by what a recording sounds like, so that another manifest, or a
    label that another concept uses, costs only what is new."""
    path, key = cache / "cuts.json", _source_of(cuts_module, loops_module, onsets_module)
    known: dict[str, dict[str, list[list[Any]]]] = _kept(path, key) or {}
    found: dict[tuple[int, str], list[Cut]] = {}
    fresh = 0
    for index, recording in enumerate(pool.recordings):
        samples = pool.samples[recording.start : recording.start + recording.length]
        mine = known.setdefault(hashlib.sha1(samples.tobytes()).hexdigest(), {})
        names = (*rules.get(recording.label, ("call",)), "loop", "whole")
        missing = [name for name in names if name not in mine]
        if missing:
            wave = pool.wave(recording)
            mine.update({name: [list(astuple(c)) for c in _cut(wave, name)] for name in missing})
            fresh += 1
            if fresh % 500 == 0:
                say(f"cut {index + 1} of {len(pool.recordings)} recordings")
                _keep(path, key, known)
        for name in names:
            if mine[name]:
                found[index, name] = [Cut(*values) for values in mine[name]]
    if fresh:
        _keep(path, key, known)
    _rank(pool, found)
    return {place: tuple(cuts) for place, cuts in found.items()}


def _cut(wave: Wave, name: str) -> list[Cut]:
    """Cuts of one sort: a rule of ``cuts.RULES``, "loop" or "whole"."""
    if name == "loop":
        return loop_cuts(wave)
    if name == "whole":
        whole = whole_cut(wave)
        return [whole] if whole else []
    return event_cuts(wave, RULES[name])


def _rank(pool: Pool, found: dict[tuple[int, str], list[Cut]]) -> None:
    """Set every cut's intensity among its like: the same label and group where there are enough, else the
    label's other small groups."""
    sets: dict[tuple[str, str, str], list[tuple[int, str, int]]] = {}
    for (index, name), cuts in found.items():
        recording = pool.recordings[index]
        for position in range(len(cuts)):
            sets.setdefault((name, recording.label, recording.group), []).append((index, name, position))
    small: dict[tuple[str, str, str], list[tuple[int, str, int]]] = {}
    for (name, label, _), places in sets.items():
        if len(places) < OWN_RANK:
            small.setdefault((name, label, ""), []).extend(places)
    for places in [p for p in sets.values() if len(p) >= OWN_RANK] + list(small.values()):
        cuts = [found[i, name][k] for i, name, k in places]
        original = [
            c.level_db - pool.recordings[i].gain_db for c, (i, _, _) in zip(cuts, places, strict=True)
        ]
        for (i, name, k), cut in zip(places, ranked(cuts, original), strict=True):
            found[i, name][k] = cut
