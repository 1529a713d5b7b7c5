"""A folder of HunyuanVideo-Foley's weights -> a bundle that runs without PyTorch and in bounded memory.

Every graph is traced without weights, once per kind (``export.skeleton``), written with its weights one
tensor at a time, and compared in ONNX Runtime with PyTorch at two or more small sizes, or refused. Memory
stays at one graph's weights in float32, twice while it is compared. The bundle appears when it is complete.

The published transformer is in bfloat16; the default storage "bf16" keeps it bit by bit and computes in
float32. Encoders and codec are published in float32 and stay so.
"""

from __future__ import annotations

import gc
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy.typing as npt
import onnx
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edgefoley._version import __version__
from edgefoley.bundle import CONTRACT, Bundle, write_manifest
from edgefoley.bundle import sha256 as file_sha256
from edgefoley.convert import sources
from edgefoley.convert.checkpoint import CheckpointError
from edgefoley.convert.folders import check_free, whole_folder
from edgefoley.convert.hunyuan import Folder, encoder_state, open_folder, transformer_state, vae_state
from edgefoley.errors import OutputError, UsageError
from edgefoley.export.activations import peak_bytes
from edgefoley.export.graph import ExportError, agreement, tensor_entries
from edgefoley.export.hunyuan_parts import Part, parts_of
from edgefoley.export.skeleton import NARROWED, STORAGES, Skeleton, Storage, Written, trace, write
from edgefoley.hub import check_space
from edgefoley.memory import give_back
from edgefoley.timeline import SAMPLE_RATE, Timeline, segment_count

TOLERANCE: Final = 3e-5  # relative error of a graph in float32 against PyTorch
GROUP: Final = 2  # blocks in a part of a chain
CHAINS: Final = ("timestep", "denoiser")
# Clips up to the window are denoised at once, as the reference does up to 15 s. The overlap is our choice:
# the reference has no longer clips.
WINDOW, OVERLAP = Fraction(15), Fraction(3)
STEPS, GUIDANCE, NEGATIVE = 50, 4.5, "noisy, harsh"
_KINDS: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Work:
    """What is to be made of what."""

    source: Folder
    storage: Storage
    group: int
    say: Say
    skeletons: dict[str, Skeleton] = field(default_factory=dict)


def build(
    source: str | Path | Folder,
    out: str | Path,
    *,
    storage: Storage = "bf16",
    group: int = GROUP,
    model: str | None = None,
    say: Say = lambda line: None,
) -> Bundle:
    """Convert ``source`` (see ``convert.hunyuan.open_folder``) into the bundle ``out``.

    ``storage``: of the transformer's matrices. ``group``: blocks in a part of a chain; more are quicker to
    open, fewer need less memory when parts are opened one at a time. ``model``: which one, where the folder
    has both. ``say`` hears one line for every graph. Every source is checked before anything is written.

    Raises UsageError, OutputError (``out`` is there and not empty, or cannot be written), CheckpointError,
    DownloadError (no room on the disk) or ExportError (a graph is not what PyTorch computes).
    """
    out = Path(out)
    if storage not in STORAGES:
        raise UsageError(f"storage must be one of {', '.join(STORAGES)}, not {storage!r}.")
    if group < 1:
        raise UsageError(f"a part has at least 1 block, not {group}.")
    check_free(out)
    opened = source if isinstance(source, Folder) else open_folder(source, model)
    job = Work(opened, storage, group, say)
    _check_sources(opened)
    parent = out.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"{parent} is no folder, so {out.name} cannot be made in it.")
    check_space(parent, _bytes_needed(job), "-o")
    with whole_folder(out) as work:
        bundle = write_manifest(work, _manifest(job, work))
    return Bundle(**{**vars(bundle), "folder": out})


def name_of(source: Folder) -> str:
    """The bundle's name. Random weights say so in it: whoever asks for "xl" must not get noise."""
    return source.model if source.stand_in is None else f"random-{source.model}"


def timeline_of(source: Folder) -> Timeline:
    """The rates that the published model was trained with."""
    return Timeline(
        SAMPLE_RATE, SAMPLE_RATE // source.sizes.vae.hop, Fraction(8), Fraction(25), "at_or_after", WINDOW,
        OVERLAP,
    )  # fmt: skip


def _manifest(job: Work, work: Path) -> dict[str, Any]:
    """Write every file of the bundle into ``work``; returns what the manifest says of them."""
    source = job.source
    components: dict[str, Any] = {}
    errors: dict[str, float] = {}
    rounding = 0.0
    parts = list(parts_of(source.sizes, job.group))
    for number, part in enumerate(parts, start=1):
        components[part.name], errors[part.name], rounded = _component(job, part, work)
        rounding = max(rounding, rounded)
        count = sum(components[part.name]["attributes"]["weights"].values())
        job.say(
            f"[{number}/{len(parts)}] {part.name}: {count / 1e6:.1f} M weights, differs from PyTorch by "
            f"{errors[part.name]:.0e} (relative)"
        )
    job.skeletons.clear()
    for name in CHAINS:
        components[name] = _chain(name, components, job)
    _write_tokenizer(source, work / "tokenizer.json")
    job.say("computing the sha256 of every source file")
    digests = {str(path.relative_to(source.folder)): file_sha256(path) for path in source.paths.values()}
    return {
        "name": name_of(source),
        "version": __version__,
        **_terms(source, work),
        "source": {
            "model": source.model,
            "files": digests,
            "sha256": sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest(),
        },
        "timeline": timeline_of(source).to_json(),
        "components": components,
        "tokenizer": {"path": "tokenizer.json"},
        "quantization": {
            "storage": job.storage,
            "compute": "fp32",
            "relative_error": errors,
            "largest_rounding_of_a_tensor": rounding,
        },
        "quality": {},
        "defaults": {"steps": STEPS, "guidance": GUIDANCE, "negative_prompt": NEGATIVE},
    }


def _component(job: Work, part: Part, work: Path) -> tuple[dict[str, Any], float, float]:
    """Write and check one graph; returns its manifest entry, its error and the rounding of its weights."""
    spec = part.spec
    if part.kind not in job.skeletons:
        job.skeletons[part.kind] = trace(part.name, part.make, spec.examples[0], spec.outputs, spec.axes)
    skeleton = job.skeletons[part.kind]
    weights, storage = weights_of(job.source, part), job.storage if part.narrow else "fp32"
    path = work / f"{part.name}.onnx"
    written = write(skeleton, weights.__getitem__, path, storage, _present(part, skeleton), part.published)
    error = verify(part, skeleton, weights, written, storage)
    del weights
    give_back()
    model = onnx.load(str(path), load_external_data=False)
    if part.name.partition(".")[0] in (*CHAINS, "conditioner"):
        convolutions = [node.name for node in model.graph.node if "Conv" in node.op_type]
        if convolutions:
            raise ExportError(
                f"{part.name} holds convolutions, which no INT8 product can take: {convolutions}"
            )
    inputs, outputs = tensor_entries(model)
    attributes = {
        **spec.attributes,
        "weights": written.stored,
        "activations": activations(part, skeleton, job.source),
    }
    artefact: dict[str, Any] = {"path": path.name}
    if written.data.stat().st_size:
        artefact["data"] = [{"path": written.data.name}]
    else:
        written.data.unlink()
    entry = {"inputs": inputs, "outputs": outputs, "attributes": attributes, "artefacts": {"ort": artefact}}
    return entry, error, written.error


def _present(part: Part, skeleton: Skeleton) -> dict[str, str]:
    """``part.names`` without inputs that the graph turned out not to read."""
    there = {*skeleton.inputs, *skeleton.outputs}
    return {old: new for old, new in part.names.items() if old in there}


def weights_of(source: Folder, part: Part) -> Mapping[str, Tensor]:
    """The weights of a part's network by their published names, mapped from the file where they need no
    arithmetic."""
    weights, sizes = source.weights(part.source), source.sizes
    if part.source == "transformer":
        return transformer_state(weights, sizes.transformer)
    if part.source == "vae":
        return vae_state(weights, sizes.vae)
    return encoder_state(weights, dtype=None)


def verify(
    part: Part, skeleton: Skeleton, weights: Mapping[str, Tensor], written: Written, storage: Storage
) -> float:
    """Compare the written graph with PyTorch on every example, with the weights as they are stored; returns
    the largest relative error. Raises ExportError."""
    wanted = _computed(part, skeleton, weights, storage)
    gc.collect()
    give_back()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(written.path), options, ["CPUExecutionProvider"])
    inputs = {part.names.get(name, name): name for name in skeleton.inputs}
    outputs = [part.names.get(name, name) for name in skeleton.outputs]
    found = [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
    if set(found[0]) != set(inputs) or found[1] != outputs:
        raise ExportError(f"{part.name}: the graph has {found}, wanted {(list(inputs), outputs)}")
    worst = 0.0
    for number, (example, rows) in enumerate(zip(part.spec.examples, wanted, strict=True)):
        made = session.run(None, {name: example[key].numpy() for name, key in inputs.items()})
        worst = max(worst, agreement(part.spec, made, rows, number, TOLERANCE))
    return worst


def _computed(
    part: Part, skeleton: Skeleton, weights: Mapping[str, Tensor], storage: Storage
) -> list[list[npt.NDArray]]:
    """What PyTorch makes of every example. Weights that the graph does not read stay without values, so that
    PyTorch would fail if it needed them."""
    module = part.spec.module
    state = {}
    for name in skeleton.used:
        weight = weights[part.published(name)]
        if storage in _KINDS and weight.ndim > 1 and weight.numel() >= NARROWED:
            weight = weight.to(_KINDS[storage])
        state[name] = weight.float()
    module.load_state_dict(state, strict=False, assign=True)
    results = []
    with torch.inference_mode():
        for example in part.spec.examples:
            made = module(**example)
            made = (made,) if isinstance(made, Tensor) else made
            results.append([value.numpy() for value in made])
    empty = {name: torch.empty_like(value, device="meta") for name, value in state.items()}
    module.load_state_dict(empty, strict=False, assign=True)
    return results


def activations(part: Part, skeleton: Skeleton, source: Folder) -> list[list[int]]:
    """[length, bytes of living values] for some lengths of what the graph is fed: tokens, times, pictures,
    segments, latents or words."""
    timeline, sync, clap = timeline_of(source), source.sizes.synchformer, source.sizes.clap
    window = int(timeline.window * timeline.latent_rate)
    lengths = {
        "text": (clap.kept_tokens, clap.max_tokens), "visual": (1, 4), "sync": (1, 4), "decoder": (50, 540),
        "timestep": (1, STEPS, 1000),
    }.get(part.name.partition(".")[0], (16, window // 4, window // 2, window))  # fmt: skip
    table = []
    for n in lengths:
        frames = int(Fraction(n, timeline.latent_rate) * timeline.sync_rate)
        rows = sync.moments * segment_count(frames, sync.segment, sync.stride)
        sizes = {
            "token": n, "visual": -(-n * timeline.visual_rate // timeline.latent_rate), "sync": rows,
            "text": n if part.name == "text" else clap.kept_tokens, "time": n, "picture": n, "segment": n,
            "latent": n,
        }  # fmt: skip
        table.append([n, peak_bytes(skeleton, {axis: int(size) for axis, size in sizes.items()})])
    return table


def _chain(name: str, components: Mapping[str, Any], job: Work) -> dict[str, Any]:
    """The entry of a chain: what its parts take from outside, and what is taken from it."""
    parts = [key for key in components if key.startswith(f"{name}.")]
    inner = [entry for part in parts for entry in components[part]["outputs"]]
    made = {entry["name"] for entry in inner}
    inputs = {
        entry["name"]: entry
        for part in parts for entry in components[part]["inputs"] if entry["name"] not in made
    }  # fmt: skip
    outside = {
        entry["name"]
        for part, other in components.items() if part not in parts for entry in other["inputs"]
    }  # fmt: skip
    outputs = [entry for entry in inner if entry["name"] in outside or entry["name"] in CONTRACT[name][2]]
    attributes: dict[str, Any] = {"parts": parts, "blocks_per_part": job.group}
    if name == "denoiser":
        attributes |= {"latent_dim": job.source.sizes.transformer.latent_dim, "latent_multiple": 1}
    return {"inputs": list(inputs.values()), "outputs": outputs, "attributes": attributes, "artefacts": {}}


def _check_sources(source: Folder) -> None:
    """Open every file, so that a bad one is told before an hour's work. Raises CheckpointError."""
    for component in sources.COMPONENTS:
        if component == "tokenizer":
            _read_tokenizer(source)
        else:
            source.weights(component)


def _read_tokenizer(source: Folder) -> Tokenizer:
    path = source.paths["tokenizer"]
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError(f"{path} is no tokenizer file ({error}). Download it again.") from error


def _write_tokenizer(source: Folder, path: Path) -> None:
    """The source's tokenizer; texts longer than the encoder takes are cut, padding is left to the runtime."""
    tokenizer = _read_tokenizer(source)
    tokenizer.enable_truncation(source.sizes.clap.max_tokens)
    tokenizer.no_padding()
    tokenizer.save(str(path), pretty=False)


def _terms(source: Folder, work: Path) -> dict[str, Any]:
    """Licence, description and attributions; the licence's files are copied where the source has them."""
    if source.stand_in is not None:
        return {
            "licence": "Apache-2.0",
            "description": f"Random weights in the form of HunyuanVideo-Foley ({source.model}): "
            "they make noise.",
            "attributions": ["made by `edgefoley models random`; nothing of the published weights is in it"],
        }
    for name in ("LICENSE", "NOTICE"):
        if (source.folder / name).is_file():
            shutil.copyfile(source.folder / name, work / name)
    excluded = ", ".join(sources.TENCENT.excluded)
    return {
        "licence": sources.TENCENT.name,
        "description": f"Tencent's HunyuanVideo-Foley {source.model.upper()}, converted by edgefoley. "
        f"Not to be used in: {excluded}.",
        "attributions": [
            f"{file.path}: {file.purpose}; {file.licence.name}, {file.licence.url}"
            for file in sources.sources_of(source.model)
        ] + ["These files were changed: converted to ONNX, weights that cannot reach the output left out."],
    }  # fmt: skip


def _bytes_needed(job: Work) -> int:
    """Room for the bundle: every part's weights in the type that they are stored in."""
    return sum(_part_bytes(part, job.storage) for part in parts_of(job.source.sizes, job.group))


def _part_bytes(part: Part, storage: Storage) -> int:
    width = 2 if part.narrow and storage != "fp32" else 4
    return sum(width * count for _, count in _read_sizes(part))


def _read_sizes(part: Part) -> Iterator[tuple[str, int]]:
    """Weights that a part's module holds, an upper bound of what its graph reads, by number of values."""
    wanted = {
        "conditioner": ("text_cross", "cond_in", "visual_proj", "sync_in"),
        "timestep": ("_mod.", "time_in"),
    }
    words = wanted.get(part.name.partition(".")[0])
    for name, value in part.spec.module.state_dict().items():
        if words is None or any(word in name for word in words):
            yield name, value.numel()
