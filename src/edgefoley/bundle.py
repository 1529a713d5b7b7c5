"""Open a model bundle: one folder with ``manifest.json`` and the files it names.

manifest.json, schema 1::

    schema        1
    name, version, licence, description      strings
    source        what it was made from: {..., "sha256": ...}
    timeline      Timeline.to_json()
    components    NAME -> {inputs: [{name, shape, dtype}], outputs: [...], attributes: {...},
                           artefacts: {BACKEND: {path, sha256, bytes}}}
    tokenizer     {path, sha256, bytes}
    quantization  null or what was done; quality: metric -> value
    defaults      {steps, guidance, negative_prompt} and, optionally, solver ("euler") and shift (1.0)
    attributions  [...]

Paths are relative, with "/", and stay inside the folder. The manifest and the sizes of all files are checked
when the bundle is opened; a file's sha256 when it is first used, so that opening stays quick.

Layer 1: standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edgefoley.errors import BundleError, BundleIntegrityError, BundleNotFoundError
from edgefoley.timeline import Timeline
from edgefoley.types import TensorSpec, View

SCHEMA = 1
MANIFEST = "manifest.json"

# Component -> (inputs it may have, the one it must have, outputs it must have). A graph may leave out inputs
# that its network does not need. The outputs of conditioner and timestep are free; the denoiser takes them by
# name.
CONTRACT: Mapping[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "text": (("token_ids", "mask"), "token_ids", ("text_feat",)),
    "visual": (("frames",), "frames", ("visual_feat",)),
    "sync": (("frames", "ages"), "frames", ("sync_feat",)),
    "conditioner": (
        (
            "text_feat",
            "visual_feat",
            "sync_feat",
            "visual_present",
            "sync_present",
            "sync_index",
            "visual_position",
        ),
        "text_feat",
        (),
    ),
    "timestep": (("t",), "t", ()),
    "denoiser": ((), "latents", ("velocity",)),
    "decoder": (("latents",), "latents", ("waveform",)),
}
# Attributes that the pipeline reads, and what they must look like.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "visual": ("size", "pixel", "batch"),
    "sync": ("size", "pixel", "context_frames"),
    "denoiser": ("latent_dim", "latent_multiple"),
    "decoder": ("context_latents",),
}
VIEWS = {"visual": "visual_rate", "sync": "sync_rate"}


@dataclass(frozen=True)
class Artefact:
    """A file of the bundle: ``path`` relative to the folder, ``sha256`` in hex, size in ``bytes``."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Component:
    """One graph: its tensors, the ``attributes`` that the pipeline reads, and one file per back end."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    attributes: Mapping[str, Any]
    artefacts: Mapping[str, Artefact]

    def width(self, tensor: str) -> int:
        """Size of the last axis of an input or output. Raises BundleIntegrityError where the manifest leaves
        it free."""
        spec = self.inputs.get(tensor) or self.outputs[tensor]
        if not isinstance(spec.shape[-1], int):
            raise BundleIntegrityError(f"component {self.name!r}: the last axis of {tensor!r} must be fixed.")
        return spec.shape[-1]


@dataclass(frozen=True)
class Defaults:
    """What is used where the caller leaves a choice open: ``steps`` >= 1, ``guidance`` (up to 1: one pass per
    step), the ``negative_prompt``, the ``solver`` of ``sampling.SOLVERS`` and the schedule's ``shift``."""

    steps: int
    guidance: float
    negative_prompt: str
    solver: str = "euler"
    shift: float = 1.0


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
    _verified: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def backends(self) -> tuple[str, ...]:
        """Names of the back ends for which every component has a file."""
        sets = [set(component.artefacts) for component in self.components.values()]
        return tuple(sorted(set.intersection(*sets)))

    @property
    def files(self) -> tuple[Artefact, ...]:
        """Every file the manifest names."""
        graphs = (a for component in self.components.values() for a in component.artefacts.values())
        return (self.tokenizer, *graphs)

    def artefact(self, component: str, backend: str) -> Path:
        """The verified file of ``component`` for ``backend``.

        Raises BundleError when the bundle has none, BundleIntegrityError when its sha256 is not the
        manifest's.
        """
        artefacts = self.components[component].artefacts
        if backend not in artefacts:
            raise BundleError(
                f"model {self.name!r} has no file of its {component!r} network for the back end {backend!r}; "
                f"it has files for: {', '.join(self.backends) or 'none'}."
            )
        return self._checked(artefacts[backend])

    def tokenizer_path(self) -> Path:
        """The verified tokenizer file."""
        return self._checked(self.tokenizer)

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


def open_bundle(name_or_folder: str | Path) -> Bundle:
    """Open a built-in bundle by its name, or any bundle by its folder; a built-in name wins over a folder.

    Raises BundleNotFoundError (the message lists the known names) or BundleIntegrityError.
    """
    name = str(name_or_folder)
    folder = builtin_folder() / name if name in known_bundles() else Path(name_or_folder)
    if not (folder / MANIFEST).is_file():
        why = (
            f"the folder has no {MANIFEST}"
            if folder.is_dir()
            else "it is neither a built-in model nor a folder"
        )
        known = ", ".join(known_bundles()) or "none"
        raise BundleNotFoundError(
            f"no model {name!r}: {why}. Built-in models: {known}; or give a bundle's folder."
        )
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleIntegrityError(f"{folder / MANIFEST} cannot be read: {error}") from error
    return _parse(folder, manifest)


def _parse(folder: Path, manifest: Any) -> Bundle:
    where = folder / MANIFEST
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        found = manifest.get("schema") if isinstance(manifest, dict) else None
        raise BundleIntegrityError(
            f"{where} has schema {found!r}, this version of edgefoley reads {SCHEMA}. "
            "Use the version that wrote it, or make the bundle again."
        )
    try:
        bundle = Bundle(
            folder=folder,
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            licence=str(manifest["licence"]),
            description=str(manifest["description"]),
            timeline=Timeline.from_json(manifest["timeline"]),
            components={name: _component(name, manifest["components"][name]) for name in CONTRACT},
            tokenizer=_artefact(manifest["tokenizer"]),
            defaults=_defaults(manifest["defaults"]),
            manifest=manifest,
        )
    except BundleIntegrityError as error:
        raise BundleIntegrityError(f"{where}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleIntegrityError(
            f"{where} is not a bundle manifest: {type(error).__name__} at {error}."
        ) from error
    _check_denoiser(bundle)
    for artefact in bundle.files:
        _check_file(folder, artefact)
    return bundle


def _component(name: str, data: Mapping[str, Any]) -> Component:
    inputs, outputs = _specs(data["inputs"]), _specs(data["outputs"])
    allowed, needed, produced = CONTRACT[name]
    unknown = [tensor for tensor in inputs if allowed and tensor not in allowed]
    missing = [needed] * (needed not in inputs) + [tensor for tensor in produced if tensor not in outputs]
    if unknown or missing:
        raise BundleIntegrityError(
            f"component {name!r}: unknown inputs {unknown}, missing tensors {missing}."
        )
    attributes = dict(data.get("attributes") or {})
    lacking = [key for key in ATTRIBUTES.get(name, ()) if key not in attributes]
    if lacking:
        raise BundleIntegrityError(f"component {name!r}: missing attributes {lacking}.")
    if "pixel" in attributes and attributes["pixel"] not in ("rgb", "gray"):
        raise BundleIntegrityError(
            f"component {name!r}: pixel must be 'rgb' or 'gray', not {attributes['pixel']!r}."
        )
    artefacts = {backend: _artefact(entry) for backend, entry in data["artefacts"].items()}
    return Component(name, inputs, outputs, attributes, artefacts)


def _specs(entries: list[Mapping[str, Any]]) -> dict[str, TensorSpec]:
    return {e["name"]: TensorSpec(e["name"], tuple(e["shape"]), e.get("dtype", "float32")) for e in entries}


def _artefact(data: Mapping[str, Any]) -> Artefact:
    path = PurePosixPath(data["path"])
    if path.is_absolute() or ".." in path.parts or "\\" in data["path"] or ":" in data["path"]:
        raise BundleIntegrityError(f"the path {data['path']!r} leaves the bundle's folder.")
    return Artefact(str(path), str(data["sha256"]).lower(), int(data["bytes"]))


def _defaults(data: Mapping[str, Any]) -> Defaults:
    known = {key: data[key] for key in ("solver", "shift") if key in data}
    defaults = Defaults(int(data["steps"]), float(data["guidance"]), str(data["negative_prompt"]), **known)
    if defaults.steps < 1 or not defaults.guidance >= 0 or not defaults.shift > 0:
        raise BundleIntegrityError(f"the defaults make no sense: {dict(data)}")
    return defaults


def _check_denoiser(bundle: Bundle) -> None:
    """The denoiser's inputs are the latents and what conditioner and timestep put out, so that it can be
    fed."""
    parts = bundle.components
    known = {"latents", *parts["conditioner"].outputs, *parts["timestep"].outputs}
    unknown = [name for name in parts["denoiser"].inputs if name not in known]
    if unknown:
        raise BundleIntegrityError(
            f"{bundle.folder / MANIFEST}: component 'denoiser' takes {unknown}, which neither "
            "'conditioner' nor 'timestep' puts out."
        )


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

    ``manifest`` has the form at the top of this module; of artefacts and tokenizer only ``path`` is needed.
    The file is replaced in one step, and only after the new one has passed all checks. Raises
    BundleIntegrityError.
    """
    folder = Path(folder)
    filled: dict[str, Any] = {**json.loads(json.dumps(manifest)), "schema": SCHEMA}
    for entry in _file_entries(filled):
        path = folder / _artefact({"sha256": "", "bytes": 0, **entry}).path
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


def _file_entries(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield manifest["tokenizer"]
    for component in manifest["components"].values():
        yield from component["artefacts"].values()


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
