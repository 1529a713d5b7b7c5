"""Published weight files, opened without reading them: .pth packages and .safetensors as lazy mappings.

What is read on opening is the table of contents: a safetensors header, or the pickle inside a .pth zip, by
``torch.load(weights_only=True)`` onto the meta device, which makes tensors without values and runs no code
of the file. A tensor that is asked for is then mapped from its place in the file, copy on write: its pages
belong to the file, so that reading 10 GB block by block needs no more anonymous memory than what the caller
makes of one block. (torch's own ``mmap=True`` maps the whole file writable at once, which Linux may refuse
when the file is larger than the machine's memory.)

The format is told by the content, not by the name. A .pth may be a flat state dict or a package
``{"state_dict": ..., ...}``; its tensors may be views of one storage.
"""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edgefoley.errors import BundleError

Shape = tuple[int, ...]

FLOATS: Final = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
SHOWN = 5  # names in a message
_MAX_HEADER = 100_000_000  # bytes; the safetensors format's own limit
_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip

# Kind of file -> tensors of its own, with their shapes; the first kind of which all are there.
SIGNATURES: Final[Mapping[str, Mapping[str, Shape]]] = {
    "xl": {"audio_embedder.proj.weight": (1408, 128, 1), "triple_blocks.11.audio_self_proj.bias": (1408,)},
    "xxl": {"audio_embedder.proj.weight": (1536, 128, 1), "triple_blocks.17.audio_self_proj.bias": (1536,)},
    "vae": {"decoder.model.0.weight_v": (2048, 128, 7)},
    "synchformer": {"vfeat_extractor.cls_token": (1, 1, 768)},
    "siglip2": {
        "vision_model.embeddings.patch_embedding.weight": (768, 3, 16, 16),
        "vision_model.embeddings.position_embedding.weight": (1024, 768),
    },
    "clap": {"text_model.embeddings.word_embeddings.weight": (50265, 768)},
}
TITLES: Final[Mapping[str, str]] = {
    "xl": "the transformer of HunyuanVideo-Foley XL",
    "xxl": "the transformer of HunyuanVideo-Foley XXL",
    "vae": "HunyuanVideo-Foley's DAC-VAE",
    "synchformer": "Synchformer",
    "siglip2": "SigLIP2 base, patch 16, 512 pixels",
    "clap": "CLAP (larger_clap_general)",
}


class CheckpointError(BundleError):
    """A weight file is absent, damaged, holds more than tensors, or is another model's."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies in its file: first byte, type, shape and strides (in elements)."""

    offset: int
    dtype: torch.dtype
    shape: Shape
    stride: Shape

    @property
    def extent(self) -> int:
        """Bytes from the first element to the end of the last."""
        if 0 in self.shape:
            return 0
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * self.dtype.itemsize


class Checkpoint(Mapping[str, Tensor]):
    """A weight file's tensors by name; each is mapped from the file when it is asked for, and not kept here.

    The tensors must not be written to. ``entries`` tells types and shapes without mapping anything;
    ``attached`` is what a package holds beside its state dict.
    """

    def __init__(
        self, path: Path, entries: Mapping[str, Entry], attached: Mapping[str, Any] | None = None
    ) -> None:
        self.path, self.entries, self.attached = path, entries, attached or {}

    def __getitem__(self, name: str) -> Tensor:
        entry = self.entries[name]
        if not entry.extent:
            return torch.empty(entry.shape, dtype=entry.dtype)
        raw: npt.NDArray[np.uint8] = np.memmap(self.path, np.uint8, "c", entry.offset, (entry.extent,))
        if entry.offset % entry.dtype.itemsize:
            raw = np.array(raw)  # some writers align nothing
        return torch.from_numpy(raw).view(entry.dtype).as_strided(entry.shape, entry.stride)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def open_checkpoint(path: str | Path, published_bytes: int | None = None) -> Checkpoint:
    """Open a .pth or .safetensors file. Raises CheckpointError.

    ``published_bytes``: size of the file as published, where it is known, for a better message when the file
    turns out damaged; a sound file may have any size.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder, not a weight file" if path.is_dir() else "not there"
        raise CheckpointError(f"{path} is {what}. Give the file's path, or download it again.")
    size = path.stat().st_size
    torn = f"{path} is damaged or cut off: it has {size} bytes"
    if published_bytes is not None and size != published_bytes:
        torn += f", the published file has {published_bytes}"
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        checkpoint = _open_package(path, torn)
    elif start[8:9] == b"{":
        checkpoint = Checkpoint(path, _safetensors_entries(path, size, torn))
    else:
        raise CheckpointError(_not_a_checkpoint(path, start, torn))
    for name, entry in checkpoint.entries.items():
        if entry.offset + entry.extent > size:
            raise CheckpointError(f"{torn}; {name} would end behind it. Download the file again.")
    return checkpoint


def identify(source: str | Path | Checkpoint) -> str | None:
    """Which published file this is, by its tensors' names and shapes: a key of ``SIGNATURES``, or None.

    Raises CheckpointError when it cannot be opened.
    """
    checkpoint = source if isinstance(source, Checkpoint) else open_checkpoint(source)
    shapes = {name: entry.shape for name, entry in checkpoint.entries.items()}
    for kind, signature in SIGNATURES.items():
        if all(shapes.get(name) == shape for name, shape in signature.items()):
            return kind
    return None


class Selection(Mapping[str, Tensor]):
    """The wanted tensors of a checkpoint, still lazy. ``extra``: names of known tensors that nobody wants."""

    def __init__(self, checkpoint: Checkpoint, names: Iterable[str], extra: tuple[str, ...]) -> None:
        self.checkpoint, self.extra = checkpoint, extra
        self._names = dict.fromkeys(names)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        return self.checkpoint[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def take(
    checkpoint: Checkpoint,
    wanted: Mapping[str, Shape],
    known_extra: Iterable[str] = (),
    dtypes: tuple[torch.dtype, ...] = FLOATS,
) -> Selection:
    """The ``wanted`` tensors, all of them and in their shapes, of one of ``dtypes``.

    ``known_extra``: patterns (as of ``fnmatch``) of names that may be there besides. Raises CheckpointError
    that names what is missing, misshapen, of another type or unknown, and which model the file might be.
    """
    patterns = tuple(known_extra)
    entries = checkpoint.entries
    missing = [name for name in wanted if name not in entries]
    there = [name for name in wanted if name in entries]
    misshapen = [
        f"{name} {entries[name].shape} instead of {tuple(wanted[name])}"
        for name in there
        if entries[name].shape != tuple(wanted[name])
    ]
    mistyped = [f"{name} {entries[name].dtype}" for name in there if entries[name].dtype not in dtypes]
    extra = [name for name in entries if name not in wanted]
    unknown = [name for name in extra if not any(fnmatchcase(name, pattern) for pattern in patterns)]
    faults = [
        f"{len(names)} {what}: {_some(names)}"
        for what, names in (
            ("missing", missing),
            ("of another shape", misshapen),
            ("of a type that weights are not read from", mistyped),
            ("unknown", unknown),
        )
        if names
    ]
    if faults:
        kind = identify(checkpoint)
        looks = f"It looks like {TITLES[kind]}." if kind else "It is none of the files that are known here."
        if any("float8" in name for name in mistyped):
            looks += " 8-bit copies have lost precision: use the published file or one in 16 bits."
        raise CheckpointError(
            f"{checkpoint.path} does not hold the tensors that were asked for. {'; '.join(faults)}. {looks}"
        )
    return Selection(checkpoint, wanted, tuple(extra))


def _open_package(path: Path, torn: str) -> Checkpoint:
    try:
        content = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"the Python object {named[1]}" if named else "Python objects"
        raise CheckpointError(
            f"{path} holds {what} besides tensors. Loading such an object could run any program, so it was "
            "refused. Use the file as published, or a .safetensors copy."
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{torn}, or no PyTorch file ({reason}). Download it again.") from error
    attached: dict[str, Any] = {}
    state = content
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        state = content["state_dict"]
        attached = {key: value for key, value in content.items() if key != "state_dict"}
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        kinds = (
            sorted({type(value).__name__ for value in state.values()}) if isinstance(state, Mapping) else []
        )
        found = f"a {type(state).__name__}" + (f" of {', '.join(kinds[:SHOWN])}" if kinds else "")
        raise CheckpointError(
            f"{path} holds {found}, not named tensors: it is no state dict. A training snapshot? Give the "
            "file with the model's weights alone."
        )
    return Checkpoint(path, {str(name): _package_entry(value) for name, value in state.items()}, attached)


def _package_entry(value: Tensor) -> Entry:
    start = value.untyped_storage()._checkpoint_offset  # set by torch.load on the meta device
    assert start is not None
    offset = start + int(value.storage_offset()) * value.element_size()
    return Entry(offset, value.dtype, tuple(value.shape), value.stride())


def _safetensors_entries(path: Path, size: int, torn: str) -> dict[str, Entry]:
    """The header: 8 bytes of length, then JSON of name -> dtype, shape and bounds behind the header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_MAX_HEADER, size - 8):
            raise CheckpointError(f"{torn}; the header alone would have {length}. Download it again.")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        entries = {
            name: _safetensors_entry(value, 8 + length)
            for name, value in header.items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} has no safetensors header ({type(error).__name__}: {error}). Download it again."
        ) from error
    return entries


def _safetensors_entry(value: Mapping[str, Any], start: int) -> Entry:
    shape = tuple(int(size) for size in value["shape"])
    dtype = _DTYPES[value["dtype"]]
    first, last = value["data_offsets"]
    if last - first != math.prod(shape) * dtype.itemsize or first < 0:
        raise ValueError(f"{last - first} bytes for the shape {shape} of {dtype}")
    stride = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    return Entry(start + first, dtype, shape, stride)


def _not_a_checkpoint(path: Path, start: bytes, torn: str) -> str:
    if not start:
        return f"{path} is empty (0 bytes). Download it again."
    if start.startswith(b"version https://git-lfs"):
        return (
            f"{path} is a Git LFS pointer, a short text in place of the file. Run `git lfs pull` where it "
            "came from, or download the file itself."
        )
    if start.lstrip()[:1] == b"<":
        return (
            f"{path} is a web page, not a weight file: the download was answered with a page. Download again."
        )
    if start[:1] == b"\x80":
        return (
            f"{path} is a pickle in PyTorch's format from before 2020, which cannot be read piece by piece. "
            "Where memory allows, load it with torch.load(weights_only=True) and save it again."
        )
    return (
        f"{torn}, or no weight file at all: it is neither a PyTorch zip nor safetensors. Download it again."
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
