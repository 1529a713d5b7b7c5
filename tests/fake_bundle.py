"""A complete bundle for the fake back end, made in a moment: what every test of the runtime above the engines
uses."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from edgefoley.backends.fake import CONTEXT, component_specs
from edgefoley.bundle import CONTRACT, MANIFEST, Bundle, open_bundle, write_manifest
from edgefoley.timeline import Timeline, grid_count
from edgefoley.types import Clip, FrameView, TensorSpec, VideoInfo

TIMELINE = Timeline()
SIZES: dict[str, Any] = {
    "text": 8, "visual": 6, "sync": 5, "latent": 4, "multiple": 2,
    "hop": TIMELINE.hop, "size_visual": [12, 16], "size_sync": [8, 10],
}  # fmt: skip
MILLIONS = {
    "text": 40, "visual": 30, "sync": 20, "conditioner": 10, "timestep": 1, "denoiser": 300, "decoder": 25,
}  # fmt: skip  # of weights that ``state_needs`` states, at no cost
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "visual": {"size": SIZES["size_visual"], "pixel": "rgb", "batch": 8},
    "sync": {"size": SIZES["size_sync"], "pixel": "gray", "context_frames": CONTEXT["sync"]},
    "denoiser": {"latent_dim": SIZES["latent"], "latent_multiple": SIZES["multiple"]},
    "decoder": {"context_latents": CONTEXT["decoder"]},
}


def make_fake_bundle(
    folder: str | Path, name: str = "fake", timeline: Timeline = TIMELINE, **defaults: Any
) -> Path:
    """Write the bundle into ``folder`` (made if missing) and return it. ``defaults`` replace the
    manifest's."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    make_tokenizer(folder / "tokenizer.json")
    components = {}
    for component in CONTRACT:
        (folder / f"{component}.json").write_text(json.dumps({"component": component, "sizes": SIZES}))
        inputs, outputs = component_specs(component, SIZES)
        components[component] = {
            "inputs": [spec_json(spec) for spec in inputs],
            "outputs": [spec_json(spec) for spec in outputs],
            "attributes": ATTRIBUTES.get(component, {}),
            "artefacts": {"fake": {"path": f"{component}.json"}},
        }
    manifest = {
        "name": name,
        "version": "1",
        "licence": "Apache-2.0",
        "description": "sines for tests",
        "source": {"sha256": "0" * 64},
        "timeline": timeline.to_json(),
        "components": components,
        "tokenizer": {"path": "tokenizer.json"},
        "quantization": None,
        "quality": {},
        "defaults": {"steps": 4, "guidance": 1.0, "negative_prompt": "noise", **defaults},
        "attributions": [],
    }
    write_manifest(folder, manifest)
    return folder


def state_needs(folder: Path, parts: int = 0) -> Bundle:
    """Give every network of a bundle weights (``MILLIONS``) and intermediate values to plan with; with
    ``parts`` the denoiser becomes a chain of so many, which cannot run."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    components = manifest["components"]
    if parts:
        denoiser = components["denoiser"]
        names = [f"denoiser.{number:02}" for number in range(parts)]
        hands = [[{"name": f"x.{n}", "shape": [1, 4, "L"], "dtype": "float32"}] for n in range(1, parts)]
        takes, gives = [denoiser["inputs"], *hands], [*hands, denoiser["outputs"]]
        for name, inputs, outputs in zip(names, takes, gives, strict=True):
            components[name] = {"inputs": inputs, "outputs": outputs, "artefacts": denoiser["artefacts"]}
        denoiser |= {"attributes": denoiser["attributes"] | {"parts": names}, "artefacts": {}}
    for name, component in components.items():
        attributes = component.setdefault("attributes", {})
        if "parts" not in attributes:
            share = max(1, parts) if name.startswith("denoiser") else 1
            attributes["weights"] = {"fp32": MILLIONS[name.partition(".")[0]] * 10**6 // share}
            attributes["activations"] = [[10, 10**6], [1000, 10**8]]
    return write_manifest(folder, manifest)


def spec_json(spec: TensorSpec) -> dict[str, Any]:
    """A tensor as the manifest has it."""
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype}


def make_tokenizer(path: Path) -> None:
    """A tokenizer of bytes: any text in any language, one token per byte, at most 32, a sentence token
    first."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"[S]": 0, **{letter: i + 1 for i, letter in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="[S] $A", special_tokens=[("[S]", 0)])
    tokenizer.enable_truncation(32)
    tokenizer.save(str(path))


def make_clip(folder: str | Path, seconds: Fraction | int | str, seed: int = 0) -> Clip:
    """A clip of noise pictures as ``media.read_clip`` would return it for the fake bundle in ``folder``."""
    duration, random = Fraction(seconds), np.random.default_rng(seed)
    views = {}
    for name, view in open_bundle(folder).views().items():
        count = grid_count(duration, view.rate)
        shape = (count, *view.size, 3) if view.pixel == "rgb" else (count, *view.size)
        frames = random.integers(0, 256, shape, dtype=np.uint8)
        views[name] = FrameView(frames, random.uniform(0, 0.03, count).astype(np.float32))
    info = VideoInfo(Path("noise.mp4"), duration, Fraction(25), (64, 48), 0, "h264", None)
    return Clip(info, Fraction(0), duration, views)
