"""Trained weights -> the packaged bundle:
``python -m edgefoley.export.nano --runs runs --out src/edgefoley/bundles/nano``.

Every graph is exported, checked against PyTorch at several sizes, stored compactly (transformer and image
encoder 8 bits per output channel, the rest 16 bits; arithmetic stays float32), checked again, and written to
a fresh folder that replaces the old bundle only when everything has passed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from edgefoley._version import __version__
from edgefoley.bundle import open_bundle, sha256, write_manifest
from edgefoley.convert.efficientnet import find_checkpoint, load_encoder
from edgefoley.export.compact import store_fp16, store_int8, strip_metadata
from edgefoley.export.components import SyncGraph, decoder_graph, sync_graph, text_graph, transformer_graphs
from edgefoley.export.graph import GraphSpec, export_graph, tensor_entries, verify
from edgefoley.export.timbres import read_groups, school_table
from edgefoley.models.sync import SyncConfig
from edgefoley.models.text import TextEncoder
from edgefoley.models.transformer import Transformer, TransformerConfig
from edgefoley.models.visual import INT8_KEEP, ClassSpaceVisual, class_names, fold_batch_norm
from edgefoley.sampling import SOLVERS
from edgefoley.timbres import write_timbre_table
from edgefoley.timeline import Timeline
from edgefoley.train.codec import load_codec
from edgefoley.train.loop import averaged
from edgefoley.train.sounds.credits import credits_of_folders, write_credits
from edgefoley.train.sync import SyncTrainer
from edgefoley.train.teachers import read_origin
from edgefoley.train.text import load_encoder as load_text_encoder
from edgefoley.train.transformer import SHIFT
from edgefoley.train.words.class_sounds import class_table

EXACT = 3e-5  # relative error of a graph in float32 against PyTorch
COMPACT = {
    "fp32": EXACT,
    "fp16": 5e-3,
    "int8": 4e-2,
}  # and of the stored one; measured values go into the manifest
STORAGE = {
    "text": "int8", "visual": "int8", "sync": "fp16",
    "conditioner": "int8", "timestep": "int8", "denoiser": "int8", "decoder": "fp16",
}  # fmt: skip
# All as trained: what `edgefoley quantize` should be given, so that nothing is rounded twice.
FLOAT32 = dict.fromkeys(STORAGE, "fp32")


@dataclass(frozen=True)
class Trained:
    """Everything that training left in ``runs``."""

    transformer: Transformer
    text: TextEncoder
    sync: SyncGraph | None  # None: taken from a bundle as it is
    visual: ClassSpaceVisual
    decoder: Any


def load_trained(runs: Path, temperature: float, with_sync: bool = True) -> Trained:
    """Read the averaged weights of every run; strict."""
    text = load_text_encoder(runs / "text")
    folder = runs / "transformer"
    transformer = Transformer(
        TransformerConfig(**json.loads((folder / "transformer.json").read_text()))
    ).eval()
    transformer.load_state_dict(load_file(folder / "transformer.safetensors"))
    sync = load_sync(runs / "sync") if with_sync else None
    vectors = sentence_vectors(text, runs / "text" / "tokenizer.json", class_names())
    visual = ClassSpaceVisual(fold_batch_norm(load_encoder()), vectors, temperature)
    return Trained(transformer, text, sync, visual.eval(), load_codec(runs / "codec").decoder)


def load_sync(folder: Path) -> SyncGraph:
    """The sync encoder of a run with its calibration, in evaluation mode."""
    about = json.loads((folder / "sync.json").read_text())
    trainer, found = SyncTrainer(SyncConfig.from_json(about["config"])), about["validation"]
    trainer.load_state_dict(averaged(folder))
    trainer.eval()
    return SyncGraph(
        trainer.encoder, trainer.strength, trainer.activity, found["peak_gain"], found["peak_bias"],
        found["threshold_probability"],
    ).eval()  # fmt: skip


def take_component(bundle: Path, name: str, folder: Path) -> dict[str, Any]:
    """Copy a component's graph for ONNX Runtime from another ``bundle``, after its sha256; returns its entry
    of the manifest. For an encoder that is kept while its run is gone: batch normalisation is folded into its
    weights, so it cannot go back into PyTorch."""
    source = open_bundle(bundle)
    source.verify()
    entry = source.manifest["components"][name]
    path = entry["artefacts"]["ort"]["path"]
    shutil.copyfile(bundle / path, folder / f"{name}.onnx")
    parts = {key: entry[key] for key in ("inputs", "outputs", "attributes")}
    return {**parts, "artefacts": {"ort": {"path": f"{name}.onnx"}}}


def sentence_vectors(text: TextEncoder, tokenizer_path: Path, texts: tuple[str, ...]) -> Tensor:
    """Sentence vector (n, D) of each text."""
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    tokenizer.no_padding()
    rows = []
    with torch.no_grad():
        for phrase in texts:
            ids = torch.tensor([tokenizer.encode(phrase).ids])
            rows.append(text(ids, torch.ones(ids.shape))[0, 0])
    return torch.stack(rows)


def write_class_table(trained: Trained, tokenizer: Path, path: Path) -> None:
    """What the image classes are called and what they sound like, for ``edgefoley describe``."""

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = sentence_vectors(trained.text, tokenizer, tuple(texts)).numpy()
        return found

    table = class_table(class_names(), trained.visual.temperature, embed)
    path.write_text(json.dumps(table.to_json(), ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def write_timbres(trained: Trained, runs: Path, path: Path, chosen: Path | None = None) -> bool:
    """Examples of every concept from the school's lessons, for a transformer that is shown them; whether it
    is. ``chosen``: which ones, see ``export.choose_timbres``."""
    if not trained.transformer.config.timbre_components:
        return False
    tokenizer = runs / "text" / "tokenizer.json"

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = sentence_vectors(trained.text, tokenizer, tuple(texts)).numpy()
        return found

    groups = None if chosen is None else read_groups(chosen, runs)
    table = school_table(trained.transformer.timbre_in, runs, embed, groups)
    write_timbre_table(table, path)
    count, sounds = len(table.owner), len(set(table.owner.tolist()))
    print(f"{count} timbres of {sounds} sounds, {path.stat().st_size / 1e6:.2f} MB")
    return True


def visual_graph(module: ClassSpaceVisual) -> GraphSpec:
    """Frames -> rows in the space of sentence vectors, and class logits."""
    generator = torch.Generator().manual_seed(3)
    examples = []
    for count in (2, 1, 5):
        coarse = torch.rand(count, 3, 8, 8, generator=generator) * 255  # smooth pictures, not white noise
        frames = torch.nn.functional.interpolate(coarse, size=(224, 224), mode="bilinear")
        examples.append({"frames": frames.permute(0, 2, 3, 1).to(torch.uint8).contiguous()})
    return GraphSpec(
        "visual", module, ("visual_feat", "class_logits"), {"frames": {0: "frame"}}, examples,
        {"size": [224, 224], "pixel": "rgb", "batch": 8},
    )  # fmt: skip


def compact(model: onnx.ModelProto, scheme: str, keep: tuple[str, ...]) -> onnx.ModelProto:
    """Store the weights narrowly; see ``export.compact``."""
    model = strip_metadata(model)
    if scheme == "fp32":
        return model
    if scheme == "int8":
        model = store_int8(
            model, keep=[k for k in keep if k in {i.name for i in model.graph.initializer}], widen="multiply"
        )[0]
    return store_fp16(model)[0]


def build(
    trained: Trained, tokenizer: Path, folder: Path, storage: Mapping[str, str] = STORAGE
) -> tuple[dict[str, Any], dict[str, float]]:
    """Write all graphs into ``folder``, weights as ``storage`` says; returns the components of the manifest
    and the errors measured."""
    specs = [
        text_graph(trained.text), visual_graph(trained.visual),
        *([] if trained.sync is None else [sync_graph(trained.sync)]),
        *transformer_graphs(trained.transformer), decoder_graph(trained.decoder),
    ]  # fmt: skip
    components, errors = {}, {}
    for spec in specs:
        exact = export_graph(spec)
        exact_error = verify(spec, exact, EXACT)
        scheme = storage[spec.name]
        model = compact(exact, scheme, tuple(INT8_KEEP) if spec.name == "visual" else ())
        onnx.checker.check_model(model)
        # The event curve jumps where two probabilities are nearly equal, so rounding may move a whole peak
        # there.
        errors[spec.name] = verify(spec, model, 1.0 if spec.name == "sync" else COMPACT[scheme])
        name = f"{spec.name}.onnx"
        (folder / name).write_bytes(model.SerializeToString())
        inputs, outputs = tensor_entries(model)
        components[spec.name] = {
            "inputs": inputs, "outputs": outputs, "attributes": dict(spec.attributes),
            "artefacts": {"ort": {"path": name}},
        }  # fmt: skip
        size = (folder / name).stat().st_size
        print(
            f"{spec.name:12} {size / 1e6:6.2f} MB  exact {exact_error:.1e}  "
            f"stored {errors[spec.name]:.1e} ({scheme})",
            flush=True,
        )
    Tokenizer.from_file(str(tokenizer)).save(str(folder / "tokenizer.json"), pretty=False)
    return components, errors


def weight_digests(runs: Path, folder: Path, sync_taken: bool) -> dict[str, str]:
    """File name -> sha256 of every file of weights that the bundle in ``folder`` is made of."""
    used = ("codec", "text", "transformer", *(() if sync_taken else ("sync",)))
    paths = [*(runs / name / f"{name}.safetensors" for name in used), find_checkpoint()]
    paths += [folder / "sync.onnx"] if sync_taken else []
    return {path.name: sha256(path) for path in paths}


GUIDANCES = ("guidance", "negative_guidance", "words_guidance")


def defaults_of(args: argparse.Namespace) -> dict[str, Any]:
    """The manifest's part for what the caller leaves open."""
    chosen = {name: getattr(args, name) for name in (*GUIDANCES, "steps", "solver", "shift")}
    return {**chosen, "negative_prompt": ""}


def parse() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument(
        "--data", type=Path, nargs="+", default=[Path("../shared/data/sfx")],
        help="folders of recordings that the weights were trained on, for CREDITS.tsv",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("src/edgefoley/bundles/nano"))
    parser.add_argument("--steps", type=int, default=4, help="default denoising steps of the bundle")
    parser.add_argument("--solver", choices=SOLVERS, default="adams-bashforth", help="how it takes them")
    parser.add_argument("--shift", type=float, default=SHIFT, help="of its schedule")
    parser.add_argument("--guidance", type=float, default=2.0, help="default guidance of the bundle")
    parser.add_argument(
        "--negative-guidance", type=float, default=0.0, help="where a negative prompt is given; 0: the same"
    )
    parser.add_argument(
        "--words-guidance", type=float, default=5.0, help="of sound without pictures; 0: the same"
    )
    parser.add_argument("--temperature", type=float, default=0.7, help="of the image classes' softmax")
    parser.add_argument(
        "--sync-from", type=Path, metavar="BUNDLE",
        help="keep this bundle's sync encoder instead of exporting the run in sync/",
    )  # fmt: skip
    parser.add_argument(
        "--timbres", type=Path, metavar="FILE",
        help="examples to take, from export.choose_timbres; default: the most typical ones",
    )  # fmt: skip
    parser.add_argument(
        "--float32", action="store_true", help="weights as trained, to be quantised by a recipe"
    )
    return parser.parse_args()


def main() -> None:
    args = parse()
    storage = FLOAT32 if args.float32 else STORAGE
    trained = load_trained(args.runs, args.temperature, with_sync=args.sync_from is None)
    origin = read_origin(args.runs / "transformer")  # what was distilled has its teacher's licence
    fresh = args.out.with_name(args.out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    components, errors = build(trained, args.runs / "text" / "tokenizer.json", fresh, storage)
    if args.sync_from is not None:
        components["sync"] = take_component(args.sync_from, "sync", fresh)
    write_class_table(trained, args.runs / "text" / "tokenizer.json", fresh / "classes.json")
    timbres = write_timbres(trained, args.runs, fresh / "timbres.npz", args.timbres)
    write_credits(credits_of_folders(args.data), fresh / "CREDITS.tsv")
    source = weight_digests(args.runs, fresh, args.sync_from is not None)
    manifest = {
        "name": "nano",
        "version": __version__,
        "licence": origin.licence,
        "description": "Small video-and-text-to-sound model, trained by the project on free recordings.",
        "source": {"weights": source, "sha256": hashlib.sha256(json.dumps(source).encode()).hexdigest()},
        "timeline": Timeline(window=Fraction(10), overlap=Fraction(2)).to_json(),
        "components": components,
        "tokenizer": {"path": "tokenizer.json"},
        "classes": {"path": "classes.json"},
        **({"timbres": {"path": "timbres.npz"}} if timbres else {}),
        "quantization": {"storage": storage, "compute": "fp32", "relative_error": errors},
        "quality": {},
        "defaults": defaults_of(args),
        "attributions": [
            "CREDITS.tsv lists every recording's origin and licence",
            "EfficientNet-Lite0: Apache-2.0",
            *origin.notes,
        ],
    }
    write_manifest(fresh, manifest)
    open_bundle(fresh).verify()
    shutil.rmtree(args.out, ignore_errors=True)
    fresh.rename(args.out)
    total = sum(p.stat().st_size for p in args.out.iterdir())
    print(f"{args.out}: {total / 1e6:.1f} MB in all")


if __name__ == "__main__":
    main()
