"""What a listening test consists of: read from a TOML file, or from a folder that is laid out like one.

    title = "Footsteps in INT8"
    method = "acr"                  # acr, dcr, ccr or mushra
    questions = ["realism", "synchrony", "clarity"]
    clips = "clips"                 # videos; every path counts from this file
    training = 2                    # trials at the beginning that do not count
    seed = 1

    [systems]                       # folders with one sound per clip, named like it
    fp32 = "out/fp32"
    int8 = "out/int8"

Further keys: ``reference`` (dcr, ccr, mushra: a system's name, a folder, or "clips" for the clips' own
sound), ``anchors`` (mushra and acr: "3.5 kHz", "7 kHz", "250 ms late"; mushra has all three unless told
otherwise), ``training_clips`` (a folder with clips of the same names in every system's folder, only used for
training), ``baseline`` (the system that others are compared with in the report; default the first),
``silence`` and ``asked`` (attention checks per listener: trials without sound, trials that ask for a grade),
``failures`` (attention checks that a listener may fail and still count).

A folder instead of a file: ``clips/`` and ``systems/NAME/`` inside it, everything else by default.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, cast

from edgefoley.bundle import sha256
from edgefoley.errors import EdgeFoleyError
from edgefoley.listening.questions import DEFAULT_QUESTIONS, METHODS, QUESTIONS, Method, Question
from edgefoley.sound_files import sounds_in, stem_of
from edgefoley.targets import videos_in

REFERENCE: Final = "@reference"
SILENCE: Final = "@silence"
ANCHORS: Final = {"3.5 kHz": "@3.5 kHz", "7 kHz": "@7 kHz", "250 ms late": "@250 ms late"}
OWN_SOUND: Final = "clips"
MOST_STIMULI: Final = 12  # beside each other in a MUSHRA trial (BS.1534-3; the hidden reference included)
_COUNTS: Final = {"training": (0, 20), "silence": (0, 10), "asked": (0, 10), "failures": (0, 20)}


class ListeningError(EdgeFoleyError):
    """A listening test is not defined as it must be, or its ratings cannot be used."""


@dataclass(frozen=True)
class Definition:
    """A checked test. ``systems``: name -> clip's name -> sound file, of every clip; ``reference`` the same
    for one sound, or None; ``clips`` and ``training_clips``: name -> video."""

    title: str
    method: Method
    questions: tuple[str, ...]
    clips: Mapping[str, Path]
    systems: Mapping[str, Mapping[str, Path]]
    reference: Mapping[str, Path] | None = None
    reference_name: str = ""
    anchors: tuple[str, ...] = ()
    training_clips: Mapping[str, Path] | None = None
    training: int = 2
    silence: int = 1
    asked: int = 1
    failures: int = 0
    baseline: str = ""
    seed: int = 1

    @property
    def asked_questions(self) -> tuple[Question, ...]:
        return tuple(QUESTIONS[self.method][key] for key in self.questions)

    def videos(self) -> dict[str, Path]:
        """All clips, those for training too."""
        return {**(self.training_clips or {}), **self.clips}

    def record(self) -> dict[str, Any]:
        """What a rating file keeps of the test: everything but where the files are, and their sha256."""
        return {
            "title": self.title,
            "method": self.method,
            "questions": list(self.questions),
            "clips": {name: sha256(path) for name, path in self.clips.items()},
            "training_clips": {n: sha256(p) for n, p in (self.training_clips or {}).items()},
            "systems": {
                name: {stem: sha256(path) for stem, path in files.items()}
                for name, files in self.systems.items()
            },
            "reference": self.reference_name,
            "reference_files": {n: sha256(p) for n, p in (self.reference or {}).items()},
            "anchors": list(self.anchors),
            **{key: getattr(self, key) for key in ("training", "silence", "asked", "failures")},
            "baseline": self.baseline,
            "seed": self.seed,
        }


def identity(record: Mapping[str, Any]) -> str:
    """sha256 over a ``Definition.record``: ratings of two tests are mixed up by it alone."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def load(path: str | Path) -> Definition:
    """Read a test's TOML file, or a folder laid out like one. Raises ListeningError, UsageError."""
    path = Path(path)
    if path.is_dir():
        systems = path / "systems"
        if not systems.is_dir() or not (path / "clips").is_dir():
            raise ListeningError(
                f"{path} is no listening test: it needs a folder clips/ of videos and a folder "
                "systems/NAME/ of sounds for every system. Or write a TOML file (docs/listening.md)."
            )
        names = sorted(p.name for p in systems.iterdir() if p.is_dir() and not p.name.startswith("."))
        return define({"title": path.resolve().name, "clips": "clips",
                       "systems": {name: f"systems/{name}" for name in names}}, path)  # fmt: skip
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ListeningError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ListeningError(f"{path} is not TOML: {error}") from error
    return define({"title": path.stem, **values}, path.parent)


def define(values: Mapping[str, Any], root: Path) -> Definition:
    """Check the ``values`` of a test file whose paths count from ``root``. Raises ListeningError."""
    known = {f.name for f in fields(Definition)} - {"reference_name"}
    if unknown := sorted(set(values) - known):
        raise ListeningError(f"unknown key {unknown[0]!r} in the test; known are {', '.join(sorted(known))}.")
    method = values.get("method", "acr")
    if method not in METHODS:
        raise ListeningError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
    systems = values.get("systems")
    if not isinstance(systems, Mapping) or not systems:
        raise ListeningError("a test needs [systems]: a name and a folder of sounds for each.")
    clips = _videos(root, values.get("clips"), "clips")
    training = values.get("training_clips")
    practice = None if training is None else _videos(root, training, "training_clips")
    wanted = [*clips, *(practice or {})]
    named = {str(name): _sounds(root, folder, str(name), wanted) for name, folder in systems.items()}
    for name in named:
        if name.startswith("@") or not name.strip():
            raise ListeningError(f"a system cannot be called {name!r}: names do not begin with @.")
    reference, reference_name = _reference(
        values.get("reference"), method, named, root, {**(practice or {}), **clips}
    )
    definition = Definition(
        title=_text(values["title"], "title"),
        method=method,
        questions=_questions(values.get("questions"), method),
        clips=clips,
        systems=named,
        reference=reference,
        reference_name=reference_name,
        anchors=_anchors(values.get("anchors"), method),
        training_clips=practice,
        baseline=_text(values.get("baseline", next(iter(named))), "baseline"),
        seed=_count(values.get("seed", 1), "seed", 0, 2**31),
        **{
            key: _count(values.get(key, getattr(Definition, key)), key, *bounds)
            for key, bounds in _COUNTS.items()
        },
    )
    _check(definition)
    return definition


def _check(definition: Definition) -> None:
    if definition.baseline not in definition.systems:
        raise ListeningError(
            f"baseline {definition.baseline!r} is no system; known are {', '.join(definition.systems)}."
        )
    if definition.method in ("dcr", "ccr") and set(definition.systems) == {definition.reference_name}:
        raise ListeningError("the only system is the reference itself: there is nothing to compare.")
    if definition.anchors and definition.reference is None:
        raise ListeningError('anchors are made from a reference; name one: reference = "clips", for example.')
    count = len(definition.systems) + len(definition.anchors) + 1
    if definition.method == "mushra" and count > MOST_STIMULI:
        raise ListeningError(
            f"{count} sounds side by side are more than the {MOST_STIMULI} that a listener can compare; "
            "leave out systems or anchors."
        )


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ListeningError(f"{key} must be words, not {value!r}.")
    return value


def _count(value: Any, key: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ListeningError(f"{key} must be a whole number from {low} to {high}, not {value!r}.")
    return value


def _questions(value: Any, method: Method) -> tuple[str, ...]:
    known = QUESTIONS[method]
    if value is None:
        return DEFAULT_QUESTIONS[method]
    if not isinstance(value, list) or not value or len(set(map(str, value))) != len(value):
        raise ListeningError(f"questions must be a list without repeats, not {value!r}.")
    for key in value:
        if key not in known:
            raise ListeningError(f"unknown question {key!r} for {method}; known are {', '.join(known)}.")
    return tuple(value)


def _anchors(value: Any, method: Method) -> tuple[str, ...]:
    if value is None:
        return tuple(ANCHORS.values()) if method == "mushra" else ()
    if not isinstance(value, list) or any(item not in ANCHORS for item in value):
        raise ListeningError(f"anchors are some of {', '.join(map(repr, ANCHORS))}, not {value!r}.")
    if value and method not in ("mushra", "acr"):
        raise ListeningError(f"anchors belong to mushra and acr; {method} has none.")
    return tuple(ANCHORS[item] for item in dict.fromkeys(value))


def _videos(root: Path, value: Any, key: str) -> dict[str, Path]:
    folder = root / _text(value, key)
    if not folder.is_dir():
        raise ListeningError(f"{key}: {folder} is no folder of videos.")
    found: dict[str, Path] = {}
    for path in videos_in(folder):
        if path.stem in found:
            raise ListeningError(f"{found[path.stem]} and {path} have one name; rename one of them.")
        found[path.stem] = path
    if not found:
        raise ListeningError(f"{key}: {folder} holds no video.")
    return found


def _sounds(root: Path, value: Any, name: str, clips: list[str]) -> dict[str, Path]:
    found = sounds_in(root / _text(value, f"the folder of system {name!r}"))
    if missing := [clip for clip in clips if clip not in found]:
        raise ListeningError(
            f"system {name!r} has no sound for {len(missing)} of {len(clips)} clips: "
            f"{', '.join(missing[:5])}{' …' if len(missing) > 5 else ''}. Every system needs all of them."
        )
    return {clip: found[clip] for clip in clips}


def _reference(
    value: Any, method: Method, systems: Mapping[str, Mapping[str, Path]], root: Path,
    videos: Mapping[str, Path],
) -> tuple[Mapping[str, Path] | None, str]:  # fmt: skip
    if value is None:
        if method != "acr":
            raise ListeningError(
                f'{method} compares with a reference; name one: reference = "clips" (the clips\' own '
                "sound), a system's name, or a folder of sounds."
            )
        return None, ""
    name = _text(value, "reference")
    if name in systems:
        return systems[name], name
    if name == OWN_SOUND:
        return dict(videos), OWN_SOUND
    return _sounds(root, name, "reference", list(videos)), stem_of(name)


def method_of(record: Mapping[str, Any]) -> Method:
    """The method of a stored record, which was checked when it was read."""
    return cast(Method, record["method"])
