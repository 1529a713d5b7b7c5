"""Stand-ins for the published weights: the same files, names, shapes and types, filled with random numbers.

They make noise. They are for tests and for measuring time and memory on machines, and in places, where the
published weights may not be. Nothing of the published files is in them.

Every number follows from the tensor's name and the seed, by the rule of the reference outputs in
tests/parity: generator PCG64([seed, crc32(name)]), standard normal in float32, then scaled by the kind of
tensor (``scaling``). Files are laid out first, with holes where the numbers go (``torch.save`` of tensors
without values), and then filled piece by piece, so that memory stays at a few megabytes. Tensors that
generating sound never reads (SigLIP2's text tower, Synchformer's and CLAP's other parts, the transformer's
training projector) stay holes: zeros that take neither time nor, on most file systems, room. Of Synchformer's
and CLAP's unread halves only a few tensors are there.

As in the published .pth of the transformer, whose size leaves no room for anything else, all tensors of the
transformer are views of one storage.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from edgefoley.convert import sources
from edgefoley.convert.checkpoint import Entry, Shape, open_checkpoint
from edgefoley.convert.folders import check_free, whole_folder
from edgefoley.convert.hunyuan import SIZES, STAND_IN, Sizes, wanted_shapes
from edgefoley.errors import OutputError, UsageError
from edgefoley.hub import check_space

CHUNK: Final = 1 << 22  # numbers made at a time
Values = npt.NDArray[np.float32]

README: Final = """\
Random weights: they make noise
===============================

This folder was written by `edgefoley models random {model} --seed {seed}`. Its files have the names, tensor
names, shapes and types of HunyuanVideo-Foley's published weights ({note}), but every number is drawn from a
random generator. It serves tests and measurements of time and memory. Sound made with it is noise, and says
nothing about how the published model sounds. Nothing of the published weights or of their tokenizer is in it.

stand-in.json has the sizes of the networks.
"""

# What the stand-in's tokenizer learns its pieces from; any text would do.
_PHRASES: Final = (
    "footsteps on gravel", "heavy rain on a tin roof", "a door creaks and slams shut", "glass breaks",
    "waves roll onto a pebble beach", "a dog barks twice in the distance", "wood is chopped with an axe",
    "a train passes over a bridge", "keys rattle in a lock", "water drips into a full bucket",
    "a car starts and drives away", "birds sing in the early morning", "a ball bounces on a wooden floor",
    "thunder rumbles behind the hills", "paper is torn and crumpled", "a kettle whistles on the stove",
    "somebody types on an old keyboard", "wind blows through dry leaves", "a bell rings in the church tower",
    "noisy, harsh", "clapping hands", "a motor hums", "metal scrapes on stone", "a crowd murmurs in a hall",
)  # fmt: skip
_SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def generator(name: str, seed: int) -> np.random.Generator:
    """The source of a tensor's numbers."""
    return np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))


def scaling(name: str, shape: Shape) -> tuple[float, float, float]:
    """(factor, mean, spread) of a tensor: its numbers are factor * (mean + spread * normal).

    The last part of the name and the one before it decide: norms and lengths lie around one, matrices keep
    the size of what passes them, everything else is small.
    """
    *_, parent, leaf = ["", *name.split(".")]
    if leaf == "alpha":
        return 1.0, 1.0, 0.1
    if leaf == "weight_g":
        return 0.6, 1.0, 0.1
    if leaf == "weight_v" or (leaf in ("weight", "in_proj_weight") and len(shape) != 1):
        return 1.0, 0.0, 1 / math.sqrt(math.prod(shape[1:]))
    if leaf == "weight" and "norm" in parent:
        return 1.0, 1.0, 0.1
    return 1.0, 0.0, 0.02


def values(name: str, seed: int, shape: Shape, chunk: int = CHUNK) -> Iterator[Values]:
    """The numbers of a tensor in order, flat, in pieces of at most ``chunk``; each piece is used again."""
    factor, mean, spread = (np.float32(number) for number in scaling(name, shape))
    draw, left = generator(name, seed), math.prod(shape)
    buffer = np.empty(min(chunk, left), np.float32)
    while left:
        piece = buffer[: min(chunk, left)]
        draw.standard_normal(dtype=np.float32, out=piece)
        piece *= spread
        if mean:
            piece += mean
        if factor != 1:
            piece *= factor
        if name.endswith("alpha"):
            np.abs(piece, out=piece)
        yield piece
        left -= len(piece)


def unread_shapes(component: str, sizes: Sizes) -> dict[str, Shape]:
    """Tensors that lie in a published file and that nothing here reads; see the module's text."""
    h = sizes.transformer.hidden_size
    c, s = sizes.clap, sizes.siglip2
    layer = {
        **{f"layer_norm{i}.{leaf}": (s.width,) for i in (1, 2) for leaf in ("weight", "bias")},
        **{f"self_attn.{p}_proj.weight": (s.width, s.width) for p in ("q", "k", "v", "out")},
        **{f"self_attn.{p}_proj.bias": (s.width,) for p in ("q", "k", "v", "out")},
        "mlp.fc1.weight": (s.mlp_width, s.width), "mlp.fc1.bias": (s.mlp_width,),
        "mlp.fc2.weight": (s.width, s.mlp_width), "mlp.fc2.bias": (s.width,),
    }  # fmt: skip
    unread: dict[str, dict[str, Shape]] = {
        "transformer": {
            "projector.0.weight": (2 * h, h), "projector.0.bias": (2 * h,),
            "projector.2.weight": (2 * h, 2 * h), "projector.2.bias": (2 * h,),
            "projector.4.weight": (768, 2 * h), "projector.4.bias": (768,),
        },
        "synchformer": {
            "vfeat_extractor.patch_embed.proj.weight": (sizes.synchformer.width, 3, 16, 16),
            "vfeat_extractor.patch_embed.proj.bias": (sizes.synchformer.width,),
            "afeat_extractor.ast.layernorm.weight": (768,), "vproj.weight": (768, 768), "aproj.bias": (768,),
            "transformer.off_head.weight": (21, 768), "transformer.pos_emb_cfg.pos_emb": (1, 198, 768),
        },
        "siglip2": {
            "logit_scale": (1,), "logit_bias": (1,),
            "text_model.embeddings.token_embedding.weight": (256_000 if s.width == 768 else 512, s.width),
            "text_model.embeddings.position_embedding.weight": (64, s.width),
            **{
                f"text_model.encoder.layers.{i}.{key}": shape
                for i in range(s.depth) for key, shape in layer.items()
            },
            "text_model.final_layer_norm.weight": (s.width,), "text_model.final_layer_norm.bias": (s.width,),
            "text_model.head.weight": (s.width, s.width), "text_model.head.bias": (s.width,),
        },
        "clap": {
            "logit_scale_a": (), "logit_scale_t": (),
            "text_model.pooler.dense.weight": (c.width, c.width), "text_model.pooler.dense.bias": (c.width,),
            "text_projection.linear1.weight": (512, c.width), "text_projection.linear1.bias": (512,),
            "audio_projection.linear2.bias": (512,), "audio_model.audio_encoder.norm.weight": (768,),
        },
    }  # fmt: skip
    return unread.get(component, {})


def tokenizer_json(vocab_size: int) -> str:
    """A byte-level BPE with RoBERTa's special tokens, learnt from a few phrases of our own, as JSON."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocab_size, 500),
        special_tokens=list(_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_PHRASES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return str(tokenizer.to_str(pretty=True)) + "\n"


def write_folder(folder: str | Path, model: str, seed: int = 0) -> Iterator[tuple[str, int, int]]:
    """Write a stand-in for ``model`` ("xl", "xxl" or "tiny"); yields (file, numbers made, numbers in all).

    The folder appears when it is complete. Raises UsageError for another model or a negative seed,
    OutputError when the folder is there and not empty or cannot be written, DownloadError when there is no
    room.
    """
    folder = Path(folder)
    if model not in SIZES:
        raise UsageError(f"no stand-in for {model!r}; there are: {', '.join(SIZES)}.")
    if seed < 0:
        raise UsageError(f"the seed is {seed}; it has to be 0 or more.")
    check_free(folder)
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder.absolute().parent} is no folder, so {folder.name} cannot be made in it.")
    sizes = SIZES[model]
    shapes = {name: wanted_shapes(name, sizes) for name in sources.COMPONENTS if name != "tokenizer"}
    width = {name: 2 if name == "transformer" else 4 for name in shapes}
    total = sum(_numbers(some) for some in shapes.values())
    check_space(folder, sum(width[name] * _numbers(some) for name, some in shapes.items()))
    with whole_folder(folder) as work:
        done = 0
        for component, wanted in shapes.items():
            path = work / sources.component_path(component, model)
            path.parent.mkdir(parents=True, exist_ok=True)
            _lay_out(component, path, wanted, sizes)
            for count in _fill(path, wanted, seed):
                done += count
                yield str(path.relative_to(work)), done, total
        _describe(work, model, seed, sizes)


def _lay_out(component: str, path: Path, wanted: Mapping[str, Shape], sizes: Sizes) -> None:
    """The file with everything but its numbers."""
    shapes = {**wanted, **unread_shapes(component, sizes)}
    if component == "siglip2":
        _lay_out_safetensors(path, shapes)
        return
    with FakeTensorMode(), torch.serialization.skip_data(materialize_fake_tensors=True):
        state: dict[str, Any] = {}
        if component == "transformer":
            storage, start = torch.empty(_numbers(shapes), dtype=torch.bfloat16), 0
            for name, shape in shapes.items():
                state[name] = storage[start : start + math.prod(shape)].view(shape)
                start += math.prod(shape)
        else:
            state = {name: torch.empty(shape) for name, shape in shapes.items()}
        if component == "clap":  # a count and zeros, which the library of that time stored as well
            positions = sizes.clap.positions
            state["text_model.embeddings.position_ids"] = torch.empty((1, positions), dtype=torch.int64)
        if component == "vae":
            state = {"state_dict": state, "metadata": {"kwargs": sizes.to_json()["vae"]}}
        torch.save(state, path)


def _lay_out_safetensors(path: Path, shapes: Mapping[str, Shape]) -> None:
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def _fill(path: Path, wanted: Mapping[str, Shape], seed: int) -> Iterator[int]:
    """Write the numbers of the ``wanted`` tensors into their places; yields how many, piece by piece."""
    entries = open_checkpoint(path).entries
    with path.open("r+b") as file:
        for name in sorted(wanted, key=lambda name: entries[name].offset):
            yield from _fill_one(file, entries[name], name, seed)


def _fill_one(file: BinaryIO, entry: Entry, name: str, seed: int) -> Iterator[int]:
    file.seek(entry.offset)
    for piece in values(name, seed, entry.shape):
        if entry.dtype == torch.bfloat16:
            file.write(torch.from_numpy(piece).to(torch.bfloat16).view(torch.int16).numpy().data)
        else:
            file.write(piece.data)
        yield len(piece)


def _describe(work: Path, model: str, seed: int, sizes: Sizes) -> None:
    tokenizer = work / sources.PATHS["tokenizer"]
    tokenizer.write_text(tokenizer_json(sizes.clap.vocab_size), encoding="utf-8")
    note = "with few and narrow layers" if model == "tiny" else f"model {model}"
    readme = README.format(model=model, seed=seed, note=note)
    (work / "README.txt").write_text(readme, encoding="utf-8")
    manifest = {
        "schema": 1,
        "what": "random weights: they make noise",
        "model": model,
        "seed": seed,
        "licence": "Apache-2.0",
        "sizes": sizes.to_json(),
    }
    (work / STAND_IN).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _numbers(shapes: Mapping[str, Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())
