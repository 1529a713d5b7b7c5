"""HunyuanVideo-Foley's published tensors as the state dicts of our networks, part by part.

The published names are ours, with these exceptions:

- transformer: the last two-stream block's picture half after its keys and values, and the final layer's
  modulation, cannot reach the output and do not exist in our network; of that block's ``v_cond_mod`` only the
  first two of nine vectors (shift and scale before keys and values) are taken.
- DAC-VAE: weight normalisation is multiplied out (``models.dac.fold_weight_norm``).
- Synchformer, SigLIP2, CLAP: only the part that generating sound needs is looked at.

Everything is strict: a tensor that our network has must be there in its shape, and one that neither the
network nor the list of known unused ones has is an error. A part's tensors are mapped from the file when its
state dict is made (see ``convert.checkpoint``), so that one block at a time needs one block's memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from edgefoley.convert import sources
from edgefoley.convert.checkpoint import (
    TITLES,
    Checkpoint,
    CheckpointError,
    Selection,
    Shape,
    identify,
    open_checkpoint,
    take,
)
from edgefoley.errors import UsageError
from edgefoley.models import clap, dac, siglip, synchformer
from edgefoley.models.transformer import XL, XXL, Transformer, TransformerConfig

STAND_IN: Final = "stand-in.json"  # what `models random` leaves in its folder
REST: Final = "rest"  # the transformer's part that is not a block
ADALN: Final = "final_layer.adaLN_modulation.1"

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Sizes:
    """Sizes of every network of one model; the encoders and the codec are the same in XL and XXL."""

    transformer: TransformerConfig
    vae: dac.DacConfig = field(default_factory=dac.DacConfig)
    synchformer: synchformer.SynchformerConfig = field(default_factory=synchformer.SynchformerConfig)
    siglip2: siglip.SiglipConfig = field(default_factory=siglip.SiglipConfig)
    clap: clap.ClapConfig = field(default_factory=clap.ClapConfig)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Mapping[str, Any]]) -> Sizes:
        """The way back. Raises KeyError, TypeError or ValueError for anything else."""
        rates = {key: tuple(data["vae"][key]) for key in ("encoder_rates", "decoder_rates")}
        return cls(
            TransformerConfig(**data["transformer"]),
            dac.DacConfig(**{**data["vae"], **rates}),
            synchformer.SynchformerConfig(**data["synchformer"]),
            siglip.SiglipConfig(**data["siglip2"]),
            clap.ClapConfig(**data["clap"]),
        )


# The smallest model with all parts: 3 + 2 blocks, so that the last two-stream block is one of several.
TINY: Final = Sizes(
    TransformerConfig(
        hidden_size=128, num_heads=2, depth_triple_blocks=3, depth_single_blocks=2, latent_dim=16,
        text_dim=64, visual_dim=64, sync_dim=64, mlp_multiple=32,
    ),
    dac.DacConfig(encoder_dim=4, decoder_dim=64, latent_dim=16),
    synchformer.SynchformerConfig(image_size=32, width=64, heads=2, depth=2),
    siglip.SiglipConfig(image_size=32, width=64, heads=2, depth=2, mlp_width=128),
    clap.ClapConfig(vocab_size=512, positions=130, width=64, heads=2, depth=2, mlp_width=128),
)  # fmt: skip
SIZES: Final[Mapping[str, Sizes]] = {"xl": Sizes(XL), "xxl": Sizes(XXL), "tiny": TINY}


@lru_cache(maxsize=8)
def transformer_shapes(config: TransformerConfig) -> dict[str, Shape]:
    """Every published tensor of the transformer, those that cannot reach the output included."""
    # In a network with one more two-stream block, the last published one is not the last and hence whole.
    deeper = replace(config, depth_triple_blocks=config.depth_triple_blocks + 1)
    beyond = f"triple_blocks.{config.depth_triple_blocks}."
    shapes = {name: shape for name, shape in _shapes(Transformer, deeper) if not name.startswith(beyond)}
    h = config.hidden_size
    return {**shapes, f"{ADALN}.weight": (2 * h, h), f"{ADALN}.bias": (2 * h,)}


@lru_cache(maxsize=8)
def _transformer_own_shapes(config: TransformerConfig) -> dict[str, Shape]:
    return dict(_shapes(Transformer, config))


def dead_weights(config: TransformerConfig) -> list[str]:
    """Published tensors of the transformer that have no place in ours, sorted."""
    return sorted(set(transformer_shapes(config)) - set(_transformer_own_shapes(config)))


def transformer_parts(config: TransformerConfig) -> list[str]:
    """The transformer's parts in the order in which data pass them; ``REST`` (what is no block) first."""
    blocks = [f"triple_blocks.{i}" for i in range(config.depth_triple_blocks)]
    return [REST, *blocks, *(f"single_blocks.{i}" for i in range(config.depth_single_blocks))]


def transformer_state(
    weights: Mapping[str, Tensor],
    config: TransformerConfig,
    parts: Iterable[str] | None = None,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """The state dict of some ``parts`` of ``Transformer(config)``, under the whole network's names.

    ``parts`` None means all. ``dtype`` None leaves the tensors as stored, mapped from the file; any other
    makes copies. Raises UsageError for a part that the network does not have.
    """
    known = transformer_parts(config)
    chosen = set(known if parts is None else parts)
    if chosen - set(known):
        raise UsageError(
            f"the transformer has no part {', '.join(sorted(chosen - set(known)))}; it has {REST}, "
            f"{known[1]} to {known[config.depth_triple_blocks]} and single_blocks.0 to {known[-1]}."
        )
    state = {}
    for name, shape in _transformer_own_shapes(config).items():
        if _part_of(name) in chosen:
            value = weights[name]
            state[name] = value if value.shape == shape else value[: shape[0]]
    return _converted(state, dtype)


def vae_state(
    weights: Mapping[str, Tensor],
    config: dac.DacConfig,
    part: dac.Part = "decoder",
    dtype: torch.dtype | None = torch.float32,
) -> dict[str, Tensor]:
    """The state dict of ``DacDecoder`` or ``DacEncoder``, weight normalisation multiplied out."""
    names = _vae_shapes(config, part)
    return dac.fold_weight_norm(_converted({name: weights[name] for name in names}, dtype))


def encoder_state(
    weights: Mapping[str, Tensor], dtype: torch.dtype | None = torch.float32
) -> dict[str, Tensor]:
    """The state dict of ``Synchformer``, ``SiglipVision`` or ``ClapText``: the published names are ours."""
    return _converted(dict(weights), dtype)


def assemble(make: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """A network with the weights ``state``, for inference, without memory for others. Strict."""
    with torch.device("meta"):
        network = make()
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def wanted_shapes(component: str, sizes: Sizes) -> dict[str, Shape]:
    """Published names and shapes of what is read of a component, one of ``sources.COMPONENTS``.

    The DAC-VAE's are those of both halves.
    """
    if component == "transformer":
        return transformer_shapes(sizes.transformer)
    if component == "vae":
        return {**_vae_shapes(sizes.vae, "encoder"), **_vae_shapes(sizes.vae, "decoder")}
    if component == "synchformer":
        return dict(_shapes(synchformer.Synchformer, sizes.synchformer))
    if component == "siglip2":
        return dict(_shapes(siglip.SiglipVision, sizes.siglip2))
    return dict(_shapes(clap.ClapText, sizes.clap))


def select(component: str, checkpoint: Checkpoint, sizes: Sizes, published: int | None = None) -> Selection:
    """The tensors of a component, checked against ``sizes``. Raises CheckpointError.

    ``published``: the published file's size in bytes, see ``transformer_extras``.
    """
    known: dict[str, Callable[[Iterable[str]], list[str]]] = {
        "synchformer": synchformer.unused_keys,
        "siglip2": siglip.unused_keys,
        "clap": clap.unused_keys,
    }
    extras: list[str] = []
    if component == "transformer":
        extras = transformer_extras(checkpoint, sizes.transformer, published)
    elif component in known:
        extras = known[component](checkpoint)
    return take(checkpoint, wanted_shapes(component, sizes), extras)


def transformer_extras(
    checkpoint: Checkpoint, config: TransformerConfig, published: int | None = None
) -> list[str]:
    """Tensors beside the transformer's that may be left unread.

    The published .pth files are about 28 and 33 MB larger than their model. That fits a projector h -> 2h ->
    2h -> 768 that served as a training loss (the names are not known), so tensors of its shapes, outside
    every module of the network, are let pass. In a file of exactly the ``published`` size, whose sha256 the
    download has checked, whatever else lies outside the network's modules is let pass too.
    """
    h = config.hidden_size
    projector = {(2 * h, h), (2 * h,), (2 * h, 2 * h), (768, 2 * h), (768,)}
    modules = {name.split(".")[0] for name in transformer_shapes(config)}
    genuine = published is not None and checkpoint.path.stat().st_size == published
    return [
        name
        for name, entry in checkpoint.entries.items()
        if name.split(".")[0] not in modules and (genuine or entry.shape in projector)
    ]


@dataclass(frozen=True)
class Folder:
    """An opened folder of sources: which ``model``, its ``sizes``, and a path per component.

    ``stand_in``: what `models random` wrote about it, None where the weights are not random.
    """

    folder: Path
    model: str
    sizes: Sizes
    paths: Mapping[str, Path]
    stand_in: Mapping[str, Any] | None

    def weights(self, component: str) -> Selection:
        """A component's tensors, checked and still in the file. Raises CheckpointError."""
        published = None if self.stand_in else sources.published_bytes(component, self.model)
        checkpoint = open_checkpoint(self.paths[component], published)
        return select(component, checkpoint, self.sizes, published)


def open_folder(folder: str | Path, model: str | None = None) -> Folder:
    """Open a folder of `models download`, of `models random`, or any that has the same files.

    ``folder`` may also be the transformer's file, with the other files beside it or below. ``model``: "xl" or
    "xxl", needed where the folder has both. A file that is not at its usual place is looked for by its
    content, in the folder and below. Raises CheckpointError naming everything missing, or UsageError for a
    ``model`` that it is not.
    """
    folder = Path(folder)
    if folder.is_file():
        return _open_beside(folder, model)
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is no folder. Give the one that `edgefoley models download` printed."
        )
    stand_in = _read_stand_in(folder)
    if stand_in is not None:
        if model not in (None, stand_in["model"]):
            raise UsageError(f"{folder} has random weights of {stand_in['model']}, not of {model}.")
        model, sizes = str(stand_in["model"]), Sizes.from_json(stand_in["sizes"])
        paths = {name: folder / sources.component_path(name, model) for name in sources.COMPONENTS}
    else:
        found = _find_all(folder)
        model = _model_in(folder, found, model)
        sizes = SIZES[model]
        paths = {
            name: found.get(model if name == "transformer" else name)
            or folder / sources.component_path(name, model)
            for name in sources.COMPONENTS
        }
    missing = [str(path.relative_to(folder)) for path in paths.values() if not path.is_file()]
    if missing:
        again = "models random" if stand_in else "models download"
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing)}. Complete it with: edgefoley {again} {model}"
        )
    return Folder(folder, model, sizes, paths, stand_in)


def _open_beside(path: Path, model: str | None) -> Folder:
    """``open_folder`` for the transformer's file itself, under whatever name."""
    if (path.parent / STAND_IN).is_file():
        folder = open_folder(path.parent, model)
        if path.resolve() == folder.paths["transformer"].resolve():
            return folder
    kind = identify(path)
    if kind not in ("xl", "xxl"):
        what = TITLES[kind] if kind else "none of the files that are known here"
        raise CheckpointError(
            f"{path} is {what}. Give the transformer's file, or the folder that `edgefoley models download` "
            "printed."
        )
    if model not in (None, kind):
        raise UsageError(f"{path} is {TITLES[kind]}, not {model}.")
    folder = open_folder(path.parent, kind)
    return replace(folder, paths={**folder.paths, "transformer": path})


def _read_stand_in(folder: Path) -> dict[str, Any] | None:
    path = folder / STAND_IN
    if not path.is_file():
        return None
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data["model"] not in sources.TRANSFORMERS:
            raise ValueError(f"unknown model {data['model']!r}")
        Sizes.from_json(data["sizes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be used ({type(error).__name__}: {error}). Make the folder again with: edgefoley "
            "models random"
        ) from error
    return data


def _find_all(folder: Path) -> dict[str, Path]:
    """Kind of file (as ``identify`` names it, and "tokenizer") -> where it is; usual places first."""
    usual = {**sources.PATHS, "xl": sources.TRANSFORMERS["xl"], "xxl": sources.TRANSFORMERS["xxl"]}
    found = {kind: folder / path for kind, path in usual.items() if (folder / path).is_file()}
    if set(usual) - {"xl", "xxl"} <= set(found) and {"xl", "xxl"} & set(found):
        return found
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".pth", ".safetensors", ".bin", ".pt") or path in found.values():
            continue
        try:
            kind = identify(path)
        except CheckpointError:
            continue  # a file of something else; what is missing is told by the caller
        if kind is not None:
            found.setdefault(kind, path)
    if "clap" in found and (found["clap"].parent / "tokenizer.json").is_file():
        found.setdefault("tokenizer", found["clap"].parent / "tokenizer.json")
    return found


def _model_in(folder: Path, found: Mapping[str, Path], model: str | None) -> str:
    there = [name for name in ("xl", "xxl") if name in found]
    if model is not None and model not in ("xl", "xxl"):
        raise UsageError(f"no model {model!r}; there are xl and xxl.")
    if model is None and len(there) > 1:
        raise UsageError(f"{folder} has the transformers of both xl and xxl: say which one is meant.")
    if model is None and not there:
        names = f"{sources.TRANSFORMERS['xl']} or {sources.TRANSFORMERS['xxl']}"
        raise CheckpointError(
            f"{folder} has no transformer of HunyuanVideo-Foley ({names}). Get one with: edgefoley models "
            "download xl"
        )
    return model if model is not None else there[0]


def _shapes(make: Callable[[Any], nn.Module], config: Any) -> list[tuple[str, Shape]]:
    with torch.device("meta"):
        network = make(config)
    return [(name, tuple(value.shape)) for name, value in network.state_dict().items()]


def _vae_shapes(config: dac.DacConfig, part: dac.Part) -> dict[str, Shape]:
    with torch.device("meta"):
        half = dac.DacEncoder(config) if part == "encoder" else dac.DacDecoder(config)
    return dac.published_shapes(half)


def _part_of(name: str) -> str:
    first, _, rest = name.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first in ("triple_blocks", "single_blocks") else REST


def _converted(state: dict[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    return state if dtype is None else {name: value.to(dtype) for name, value in state.items()}
