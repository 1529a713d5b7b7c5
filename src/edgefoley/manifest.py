"""The form of a bundle's ``manifest.json``, and its checks.

manifest.json, schema 1::

    schema        1
    name, version, licence, description      strings
    source        what it was made from: {..., "sha256": ...}
    timeline      Timeline.to_json()
    components    NAME -> {inputs: [{name, shape, dtype}], outputs: [...], attributes: {...},
                           artefacts: {BACKEND: {path, sha256, bytes, data: [{path, sha256, bytes}]}}}
    tokenizer     {path, sha256, bytes}
    classes       optional, {path, sha256, bytes}: what the image encoder's class_logits mean, see ``classes``
    quantization  null or what was done; quality: metric -> value
    defaults      {steps, guidance, negative_prompt} and, optionally, solver ("euler") and shift (1.0)
    attributions  [...]

Paths are relative, with "/", and stay inside the folder. ``data`` (optional) are files that the graph's own
file refers to: weights too large for it.

A component may be a chain: ``attributes.parts`` names further components, in the order in which they run, and
``artefacts`` is empty. Values pass by name: a part takes inputs of the chain and outputs of earlier parts,
and the chain's outputs are outputs of its parts. So one network's weights can be in memory a part at a time.

Attributes that the runtime reads:

    visual       size [height, width] and pixel ("rgb", "gray") of its frames, how many at a time (batch)
    sync         size, pixel, and either context_frames (any number of frames at a time; each result depends
                 on so many on both sides) or segment_frames, segment_stride, segment_rows and batch: frames
                 are cut into segments of segment_frames that begin every segment_stride, each gives
                 segment_rows rows, batch segments at a time
    both         fit ("squash", or "crop": the shorter side to size, then the middle) and interpolation
                 ("bilinear", "bicubic")
    text         pad_id: prompt and negative prompt are padded with it to the length of the longer;
                 kept_tokens: so many rows are used
    conditioner  absent ("row": an absent picture is one learned row; "rows": as many as there would be)
    denoiser     latent_dim, latent_multiple
    decoder      context_latents: neighbours on both sides that a latent's sound depends on
    any          weights {"fp32" | "bf16" | "fp16": numbers stored} and activations [[length, bytes], ...]:
                 what it takes to keep to a limit of memory, see ``plan``

Layer 1: standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from edgefoley.errors import BundleIntegrityError
from edgefoley.types import TensorSpec

# Component -> (inputs it may have, the one it must have, outputs it must have). A graph may leave out inputs
# that its network does not need. The outputs of conditioner and timestep are free; the denoiser takes them by
# name.
OPTIONAL_FILES = ("classes", "timbres")  # tables beside the networks
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
# Attributes that a component must have.
ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "visual": ("size", "pixel", "batch"),
    "sync": ("size", "pixel"),
    "denoiser": ("latent_dim", "latent_multiple"),
    "decoder": ("context_latents",),
}
SEGMENT = ("segment_frames", "segment_stride", "segment_rows", "batch")
# Attributes that have a closed set of values, and what a missing one means.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "pixel": ("rgb", "gray"),
    "fit": ("squash", "crop"),
    "interpolation": ("bilinear", "bicubic"),
    "absent": ("row", "rows"),
}


@dataclass(frozen=True)
class Artefact:
    """A file of the bundle: ``path`` relative to the folder, ``sha256`` in hex, size in ``bytes``; ``data``:
    the files that it refers to."""

    path: str
    sha256: str
    bytes: int
    data: tuple[Artefact, ...] = ()

    @property
    def files(self) -> tuple[Artefact, ...]:
        """Itself and what it refers to."""
        return (self, *self.data)


@dataclass(frozen=True)
class Component:
    """One graph: its tensors, the ``attributes`` that the pipeline reads, and one file per back end. A chain
    has ``parts`` instead of files."""

    name: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    attributes: Mapping[str, Any]
    artefacts: Mapping[str, Artefact]

    @property
    def parts(self) -> tuple[str, ...]:
        """The components of a chain in order; none for a graph of its own."""
        return tuple(self.attributes.get("parts", ()))

    def width(self, tensor: str) -> int:
        """Size of the last axis of an input or output. Raises BundleIntegrityError where the manifest leaves
        it free."""
        spec = self.inputs.get(tensor) or self.outputs[tensor]
        if not isinstance(spec.shape[-1], int):
            raise BundleIntegrityError(f"component {self.name!r}: the last axis of {tensor!r} must be fixed.")
        return spec.shape[-1]


def read_components(data: Mapping[str, Any]) -> dict[str, Component]:
    """The components of a manifest, chains' parts included, each and their connections checked.

    Raises BundleIntegrityError; KeyError, TypeError, ValueError or AttributeError for what has not even the
    form.
    """
    components = {name: _component(name, data[name]) for name in CONTRACT}
    for chain in [component for component in components.values() if component.parts]:
        for part in chain.parts:
            if part in components:
                raise BundleIntegrityError(f"component {part!r} is named twice.")
            components[part] = _component(part, data[part])
            if components[part].parts:
                raise BundleIntegrityError(f"component {part!r}: a part of a chain cannot be a chain.")
        _check_chain(chain, components)
    _check_denoiser(components)
    return components


def read_artefact(data: Mapping[str, Any]) -> Artefact:
    """One file entry. Raises BundleIntegrityError when its path leaves the folder."""
    path = PurePosixPath(data["path"])
    if path.is_absolute() or ".." in path.parts or "\\" in data["path"] or ":" in data["path"]:
        raise BundleIntegrityError(f"the path {data['path']!r} leaves the bundle's folder.")
    further = tuple(read_artefact(entry) for entry in data.get("data", ()))
    return Artefact(str(path), str(data["sha256"]).lower(), int(data["bytes"]), further)


def file_entries(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entry of every file that a manifest names, to be filled in."""
    yield manifest["tokenizer"]
    for name in OPTIONAL_FILES:
        if manifest.get(name) is not None:
            yield manifest[name]
    for component in manifest["components"].values():
        for entry in component["artefacts"].values():
            yield entry
            yield from entry.get("data", ())


def _component(name: str, data: Mapping[str, Any]) -> Component:
    inputs, outputs = _specs(data["inputs"]), _specs(data["outputs"])
    attributes = dict(data.get("attributes") or {})
    if name in CONTRACT:
        _check_contract(name, inputs, outputs, attributes)
    artefacts = {backend: read_artefact(entry) for backend, entry in data["artefacts"].items()}
    component = Component(name, inputs, outputs, attributes, artefacts)
    if component.parts and artefacts:
        raise BundleIntegrityError(f"component {name!r} has both parts and files of its own.")
    return component


def _check_contract(
    name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], attributes: Mapping[str, Any]
) -> None:
    allowed, needed, produced = CONTRACT[name]
    unknown = [tensor for tensor in inputs if allowed and tensor not in allowed]
    missing = [needed] * (needed not in inputs) + [tensor for tensor in produced if tensor not in outputs]
    if unknown or missing:
        raise BundleIntegrityError(
            f"component {name!r}: unknown inputs {unknown}, missing tensors {missing}."
        )
    lacking = [key for key in ATTRIBUTES.get(name, ()) if key not in attributes]
    if name == "sync":
        cut = SEGMENT if "segment_frames" in attributes else ("context_frames",)
        lacking += [key for key in cut if key not in attributes]
    if lacking:
        raise BundleIntegrityError(f"component {name!r}: missing attributes {lacking}.")
    for key, known in CHOICES.items():
        if key in attributes and attributes[key] not in known:
            raise BundleIntegrityError(
                f"component {name!r}: {key} must be {' or '.join(map(repr, known))}, not {attributes[key]!r}."
            )


def _specs(entries: list[Mapping[str, Any]]) -> dict[str, TensorSpec]:
    return {e["name"]: TensorSpec(e["name"], tuple(e["shape"]), e.get("dtype", "float32")) for e in entries}


def _check_chain(chain: Component, components: Mapping[str, Component]) -> None:
    """Every part finds its inputs among the chain's and earlier outputs, and together they make the chain's
    outputs."""
    known = set(chain.inputs)
    taken: set[str] = set()
    for name in chain.parts:
        part = components[name]
        unknown = [tensor for tensor in part.inputs if tensor not in known]
        again = [tensor for tensor in part.outputs if tensor in known]
        if unknown or again:
            raise BundleIntegrityError(
                f"component {chain.name!r}: its part {name!r} takes {unknown}, which nothing before it puts "
                f"out, and puts out {again}, which is there already."
            )
        known.update(part.outputs)
        taken.update(part.inputs)
    absent = [tensor for tensor in chain.outputs if tensor not in known]
    idle = [tensor for tensor in chain.inputs if tensor not in taken]
    if absent or idle:
        raise BundleIntegrityError(
            f"component {chain.name!r}: no part puts out {absent}, and no part takes {idle}."
        )


def _check_denoiser(components: Mapping[str, Component]) -> None:
    """The denoiser's inputs are the latents and what conditioner and timestep put out, so that it can be
    fed."""
    known = {"latents", *components["conditioner"].outputs, *components["timestep"].outputs}
    unknown = [name for name in components["denoiser"].inputs if name not in known]
    if unknown:
        raise BundleIntegrityError(
            f"component 'denoiser' takes {unknown}, which neither 'conditioner' nor 'timestep' puts out."
        )
