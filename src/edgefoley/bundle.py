"""Open a model bundle: one folder with ``manifest.json`` (see ``manifest``) and the files it names.

The manifest and the sizes of all files are checked when the bundle is opened; a file's sha256 when it is
first used, so that opening stays quick.

Layer 1: standard library only.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgefoley.errors import BundleError, BundleIntegrityError, BundleNotFoundError, UsageError
from edgefoley.hub import default_folder, models_folder
from edgefoley.manifest import (
    CONTRACT,
    OPTIONAL_FILES,
    Artefact,
    Component,
    file_entries,
    read_artefact,
    read_components,
)
from edgefoley.timeline import Timeline
from edgefoley.types import View

__all__ = [
    "CONTRACT",
    "MANIFEST",
    "SCHEMA",
    "Artefact",
    "Bundle",
    "Component",
    "Defaults",
    "builtin_folder",
    "bundle_folder",
    "converted_bundles",
    "known_bundles",
    "open_bundle",
    "sha256",
    "write_manifest",
]

SCHEMA = 1
MANIFEST = "manifest.json"

VIEWS = {"visual": "visual_rate", "sync": "sync_rate"}
# Back ends that read another one's files, where a bundle has none for them.
READS = {"ov": "ort"}
# Models that the user can download and convert.
PUBLISHED = ("xl", "xxl")


@dataclass(frozen=True)
class Defaults:
    """What is used where the caller leaves a choice open: ``steps`` >= 1, ``guidance`` (up to 1: one pass per
    step), the ``negative_prompt``, the ``solver`` of ``sampling.SOLVERS``, the schedule's ``shift``, and
    ``negative_guidance``, the guidance where there is a negative prompt (0: the same), for a model that needs
    none without; ``words_guidance``, that of sound without pictures (0: the same)."""

    steps: int
    guidance: float
    negative_prompt: str
    solver: str = "euler"
    shift: float = 1.0
    negative_guidance: float = 0.0
    words_guidance: float = 0.0

    def guidance_for(self, asked: float | None, negative_prompt: str | None, pictured: bool = True) -> float:
        """The guidance that was asked for; None: the one for this negative prompt (which may be empty; None:
        the model's own), with pictures or without."""
        if asked is not None:
            return asked
        words = self.negative_prompt if negative_prompt is None else negative_prompt
        usual = self.guidance if pictured else self.words_guidance or self.guidance
        return self.negative_guidance or usual if words.strip() else usual

    def choose(
        self, steps: int | None, guidance: float | None, negative_prompt: str | None, pictured: bool
    ) -> tuple[int, float]:
        """Steps and guidance where None leaves the choice to the model. Raises UsageError."""
        number = self.steps if steps is None else steps
        scale = float(self.guidance_for(guidance, negative_prompt, pictured))
        if number < 1:
            raise UsageError(f"steps must be at least 1, got {number}.")
        if not (math.isfinite(scale) and scale >= 0):
            raise UsageError(f"guidance must be 0 or above, got {scale}.")
        return number, scale


@dataclass(frozen=True)
class Bundle:
    """An opened bundle; ``manifest`` is the JSON as read, for what has no field here."""

    folder: Path
    name: str
    version: str
    licence: str
    description: str
    timeline: Timeline
    components: Mapping[str, Component]
    tokenizer: Artefact
    defaults: Defaults
    manifest: Mapping[str, Any]
    classes: Artefact | None = None
    timbres: Artefact | None = None
    _verified: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the back ends for which every component has a file."""
        sets = [set(component.artefacts) for component in self.components.values() if not component.parts]
        return tuple(sorted(set.intersection(*sets)))

    @property
    def full_range(self) -> bool:
        """Whether weights that are multiplied as integers may have all 8 bits: unless the recipe that the
        manifest records gave them 7, or no layer integers."""
        recipe = (self.manifest.get("quantization") or {}).get("recipe")
        if not isinstance(recipe, Mapping):
            return True
        schemes = [recipe.get("default"), *recipe.get("layers", ())]
        integers = [s for s in schemes if isinstance(s, Mapping) and str(s.get("scheme")).startswith("w8a8")]
        return not all(scheme.get("reduce_range") for scheme in integers)

    @property
    def files(self) -> tuple[Artefact, ...]:
        """Every file the manifest names, each once."""
        graphs = [a for component in self.components.values() for a in component.artefacts.values()]
        tables = tuple(file for file in (self.tokenizer, self.classes, self.timbres) if file is not None)
        every = (file for artefact in (*tables, *graphs) for file in artefact.files)
        return tuple({file.path: file for file in every}.values())

    def artefact(self, component: str, backend: str) -> Path:
        """The graph file of ``component`` for ``backend``, verified with all that it refers to.

        Raises BundleError when the bundle has none, BundleIntegrityError when its sha256 is not the
        manifest's.
        """
        artefact = self.artefact_entry(component, backend)
        for data in artefact.data:
            self._checked(data)
        return self._checked(artefact)

    def artefact_entry(self, component: str, backend: str) -> Artefact:
        """What the manifest says of that file. Raises BundleError when the bundle has none."""
        artefacts = self.components[component].artefacts
        name = backend if backend in artefacts else READS.get(backend, backend)
        if name not in artefacts:
            raise BundleError(
                f"model {self.name!r} has no file of its {component!r} network for the back end {backend!r}; "
                f"it has files for: {', '.join(self.backends) or 'none'}."
            )
        return artefacts[name]

    def tokenizer_path(self) -> Path:
        """The verified tokenizer file."""
        return self._checked(self.tokenizer)

    def classes_path(self) -> Path | None:
        """The verified file that ``classes.read_class_table`` reads; None where the bundle has none."""
        return None if self.classes is None else self._checked(self.classes)

    def timbres_path(self) -> Path | None:
        """The verified file that ``timbres.read_timbre_table`` reads; None where the bundle has none."""
        return None if self.timbres is None else self._checked(self.timbres)

    def verify(self) -> None:
        """Check the sha256 of every file now. Raises BundleIntegrityError at the first that differs."""
        for artefact in self.files:
            self._checked(artefact)

    def views(self) -> dict[str, View]:
        """How each encoder wants the frames, for ``media.read_clip``."""
        views = {}
        for name, rate in VIEWS.items():
            attributes = self.components[name].attributes
            height, width = attributes["size"]
            views[name] = View(
                getattr(self.timeline, rate),
                (int(height), int(width)),
                attributes["pixel"],
                self.timeline.rule,
                attributes.get("fit", "squash"),
                attributes.get("interpolation", "bilinear"),
            )
        return views

    def _checked(self, artefact: Artefact) -> Path:
        path = self.folder / artefact.path
        if artefact.path not in self._verified:
            try:
                found = sha256(path)
            except OSError as error:
                raise BundleIntegrityError(f"model {self.name!r}: {path} cannot be read: {error}") from error
            if found != artefact.sha256:
                raise BundleIntegrityError(
                    f"model {self.name!r}: {path} was changed or damaged (sha256 {found[:12]}…, "
                    f"the manifest says {artefact.sha256[:12]}…). "
                    "Reinstall edgefoley or make the bundle again."
                )
            self._verified.add(artefact.path)
        return path


def builtin_folder() -> Path:
    """Where the bundles inside the package are."""
    return Path(__file__).parent / "bundles"


def known_bundles() -> list[str]:
    """Names of the built-in bundles, sorted."""
    folder = builtin_folder()
    return sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else []


def converted_bundles() -> list[str]:
    """Names of the bundles that `edgefoley models convert` put into the user's folder, sorted; one that bears
    a built-in bundle's name is not reached by it."""
    folder = models_folder()
    found = (path.parent.name for path in folder.glob(f"*/{MANIFEST}")) if folder.is_dir() else ()
    return sorted(name for name in found if not name.startswith(".") and name not in known_bundles())


def bundle_folder(name_or_folder: str | Path) -> Path:
    """The folder that is meant: of a built-in or converted bundle by its name, else the path itself."""
    name = str(name_or_folder)
    if name in known_bundles():
        return builtin_folder() / name
    return models_folder() / name if name in converted_bundles() else Path(name_or_folder)


def open_bundle(name_or_folder: str | Path) -> Bundle:
    """Open a built-in or converted bundle by its name, or any bundle by its folder; a name wins over a
    folder.

    Raises BundleNotFoundError (the message lists the known names) or BundleIntegrityError.
    """
    folder = bundle_folder(name_or_folder)
    if not (folder / MANIFEST).is_file():
        raise BundleNotFoundError(_not_found(str(name_or_folder), folder))
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleIntegrityError(f"{folder / MANIFEST} cannot be read: {error}") from error
    return _parse(folder, manifest)


def _not_found(name: str, folder: Path) -> str:
    """What there is instead of the model ``name``, and how to get what there could be."""
    if folder.is_dir():
        why = f"the folder has no {MANIFEST}"
    elif name in PUBLISHED:
        why = "it has not been converted yet"
    else:
        why = "it is neither a built-in nor a converted model nor a folder"
    builtin, converted = (", ".join(names) or "none" for names in (known_bundles(), converted_bundles()))
    wanted = name if name in PUBLISHED else next((m for m in PUBLISHED if m not in converted_bundles()), None)
    how = (
        f" To get {wanted}, run: edgefoley models download {wanted}; then: edgefoley models convert "
        f"{default_folder()} --model {wanted}"
        if wanted is not None
        else ""
    )
    return (
        f"no model {name!r}: {why}. Built-in models: {builtin}; converted ones: {converted}; or give a "
        f"bundle's folder.{how}"
    )


def _parse(folder: Path, manifest: Any) -> Bundle:
    where = folder / MANIFEST
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        raise BundleIntegrityError(
            f"{where} has schema {found!r}, this version of edgefoley reads {SCHEMA}. "
            "Use the version that wrote it, or make the bundle again."
        )
    try:
        tables: dict[str, Any] = {
            name: read_artefact(manifest[name]) for name in OPTIONAL_FILES if manifest.get(name) is not None
        }
        bundle = Bundle(
            folder=folder,
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            licence=str(manifest["licence"]),
            description=str(manifest["description"]),
            timeline=Timeline.from_json(manifest["timeline"]),
            components=read_components(manifest["components"]),
            tokenizer=read_artefact(manifest["tokenizer"]),
            defaults=_defaults(manifest["defaults"]),
            manifest=manifest,
            **tables,
        )
    except BundleIntegrityError as error:
        raise BundleIntegrityError(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleIntegrityError(
            f"{where} is not a bundle manifest: {type(error).__name__} at {error}."
        ) from error
    for artefact in bundle.files:
        _check_file(folder, artefact)
    return bundle


def _defaults(data: Mapping[str, Any]) -> Defaults:
    known = {
        key: data[key] for key in ("solver", "shift", "negative_guidance", "words_guidance") if key in data
    }
    defaults = Defaults(int(data["steps"]), float(data["guidance"]), str(data["negative_prompt"]), **known)
    guidances = defaults.guidance, defaults.negative_guidance, defaults.words_guidance
    if defaults.steps < 1 or not min(guidances) >= 0 or not defaults.shift > 0:
        raise BundleIntegrityError(f"the defaults make no sense: {dict(data)}")
    return defaults


def _check_file(folder: Path, artefact: Artefact) -> None:
    path = folder / artefact.path
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleIntegrityError(f"{path} is a link that leaves the bundle's folder.")
    if not path.is_file():
        raise BundleIntegrityError(f"{path} is missing. Reinstall edgefoley or make the bundle again.")
    if path.stat().st_size != artefact.bytes:
        raise BundleIntegrityError(
            f"{path} has {path.stat().st_size} bytes, the manifest says {artefact.bytes}. "
            "Reinstall edgefoley or make the bundle again."
        )


def write_manifest(folder: str | Path, manifest: Mapping[str, Any]) -> Bundle:
    """Fill in ``schema`` and every file's ``sha256`` and ``bytes``, write ``manifest.json`` and open the
    result.

    ``manifest`` has the form that ``manifest`` describes; of artefacts and tokenizer only ``path`` is needed.
    The file is replaced in one step, and only after the new one has passed all checks. Raises
    BundleIntegrityError.
    """
    folder = Path(folder)
    filled: dict[str, Any] = {**json.loads(json.dumps(manifest)), "schema": SCHEMA}
    for entry in file_entries(filled):
        path = folder / read_artefact({"sha256": "", "bytes": 0, "path": entry["path"]}).path
        if not path.is_file():
            raise BundleIntegrityError(f"the manifest names {path}, which does not exist.")
        entry["sha256"], entry["bytes"] = sha256(path), path.stat().st_size
    bundle = _parse(folder, filled)
    partial = folder / f".{MANIFEST}.{os.getpid()}"
    try:
        partial.write_text(json.dumps(filled, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, folder / MANIFEST)
    finally:
        partial.unlink(missing_ok=True)
    return bundle


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
