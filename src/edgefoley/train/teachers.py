"""Networks that others learn from, behind one small protocol: runs of ours and folders of HunyuanVideo-Foley.

A teacher answers for a batch of latents with their velocity; what it sees beside them is a batch as
``train.examples`` makes it:

    latents (B, D, L)      text (B, T, text_dim) with mask (B, T)     visual (B, M, visual_dim)
    sync (B, S, sync_dim)  flags (B, 2): whether visual and sync are shown
    negative (B or 1, T', text_dim) with negative_mask: words of the other branch, for guidance above 1

A student shares the teacher's latents and features, nothing else. It inherits the teacher's licence: the
weights' terms go with what is learnt from them, and ``origin.json`` in a run's folder says so, to the export
and to whoever distils the student once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgefoley.convert import sources
from edgefoley.convert.hunyuan import Folder, assemble, open_folder, transformer_state
from edgefoley.errors import UsageError
from edgefoley.models.transformer import NANO, Transformer, TransformerConfig
from edgefoley.train.files import whole, write_whole
from edgefoley.train.loop import averaged
from edgefoley.train.sampler import passes_of

Batch = Mapping[str, Tensor]

ORIGIN: Final = "origin.json"
SIZES: Final = "transformer.json"
WEIGHTS: Final = "transformer.safetensors"
SHARED: Final = (  # with every student
    "latent_dim", "text_dim", "visual_dim", "sync_dim", "sync_segment", "timbre_components",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """On what terms a network's weights may be used, and what they were made by.

    ``licence``: name; ``notes``: sentences that have to go along, for a bundle's attributions; ``history``:
    one object per step that changed the weights, the latest last ({"made_by", "teacher", ...}).
    """

    licence: str = "Apache-2.0"
    notes: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()

    def then(self, made_by: str, **facts: Any) -> Origin:
        """The origin of what ``made_by`` makes of these weights: the same licence, one more step."""
        return Origin(self.licence, self.notes, (*self.history, {"made_by": made_by, **facts}))


def read_origin(folder: Path) -> Origin:
    """What ``write_origin`` wrote; a run without the file was trained by the project and has its licence.

    Raises UsageError for a damaged file: whose weights these are must not be guessed.
    """
    path = folder / ORIGIN
    if not path.exists():
        return Origin()
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Origin(str(data["licence"]), tuple(data["notes"]), tuple(data["history"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__}: {error}), so these weights' licence is not "
            "known. Make the run again."
        ) from error


class Teacher(Protocol):
    """What distillation needs to know of a network. ``config``: its sizes, of which a student shares
    ``SHARED``; ``origin``: its licence."""

    config: TransformerConfig
    origin: Origin

    def velocity(self, latents: Tensor, sigma: Tensor, batch: Batch) -> Tensor:
        """Velocity (noise - data), (B, D, L) like ``latents``, at noise levels ``sigma`` (B,) in (0, 1]."""
        ...

    def push(self, latents: Tensor, sigma: Tensor, batch: Batch) -> Tensor:
        """What guidance adds to the velocity of a single pass, (B, D, L)."""
        ...


class NetworkTeacher:
    """A ``Transformer`` as a teacher. ``guidance`` above 1: its velocity is guided, at two passes each.
    ``sync_guidance``: the event curve's own guidance, at a third pass (None: the same)."""

    def __init__(
        self,
        network: Transformer,
        origin: Origin,
        guidance: float = 1.0,
        bf16: bool = True,
        sync_guidance: float | None = None,
    ) -> None:
        self.network, self.config, self.origin = network, network.config, origin
        self.guidance, self.bf16 = guidance, bf16
        self.sync_guidance = guidance if sync_guidance is None else sync_guidance

    def velocity(self, latents: Tensor, sigma: Tensor, batch: Batch) -> Tensor:
        passes = self._passes(latents, sigma, batch)
        return passes[0] + self._added(passes)

    def push(self, latents: Tensor, sigma: Tensor, batch: Batch) -> Tensor:
        if not self.guided:
            return torch.zeros_like(latents)
        return self._added(self._passes(latents, sigma, batch))

    @property
    def guided(self) -> bool:
        """Whether its velocity takes more than one pass: by all conditions, or by the event curve alone."""
        return max(self.guidance, self.sync_guidance) > 1

    @property
    def _branches(self) -> tuple[str, ...]:
        if not self.guided:
            return ("all",)
        return ("all", "none") if self.sync_guidance == self.guidance else ("all", "timed", "none")

    def _passes(self, latents: Tensor, sigma: Tensor, batch: Batch) -> tuple[Tensor, ...]:
        return passes_of(self.network, batch, self._branches, self.bf16)(latents, sigma)

    def _added(self, passes: tuple[Tensor, ...]) -> Tensor:
        """Guidance's part of the velocity, from the passes of ``_branches``."""
        scales = self.guidance, self.sync_guidance
        parts = [(scale - 1) * (a - b) for scale, (a, b) in zip(scales, pairwise(passes), strict=False)]
        return sum(parts, torch.zeros_like(passes[0]))

    def compile(self) -> None:
        """Make ``velocity`` quick: minutes once for every shape of batch."""
        self.network = compiled(self.network)


def compiled(network: Transformer) -> Transformer:
    """The network compiled for fixed shapes. A run has up to a dozen: four lengths, with and without
    gradient, teacher and student; beyond torch's limit of eight the rest would run as if not compiled."""
    import torch._dynamo  # only now: it is slow to import

    torch._dynamo.config.recompile_limit = 64
    return cast(Transformer, torch.compile(network, dynamic=False))


def read_config(path: Path) -> dict[str, Any]:
    """Fields of a ``TransformerConfig`` from a JSON file. Raises UsageError naming what is unknown."""
    known = {field.name for field in fields(TransformerConfig)}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict) or set(data) - known:
        odd = ", ".join(sorted(set(data) - known)) if isinstance(data, dict) else type(data).__name__
        raise UsageError(f"{path} holds {odd}; sizes of a transformer are: {', '.join(sorted(known))}.")
    return data


def is_run(folder: Path) -> bool:
    """Whether a folder holds a transformer of ours, finished or not."""
    return (folder / WEIGHTS).is_file() or (folder / "last.pt").is_file()


def load_network(folder: Path) -> Transformer:
    """The transformer of a run, averaged weights, for inference: the finished ones, or those of its last
    checkpoint. Sizes from ``transformer.json``; a run without that file is nano's. Strict; UsageError."""
    if not is_run(folder):
        raise UsageError(f"{folder} holds neither {WEIGHTS} nor last.pt: it is no run of a transformer.")
    sizes = read_config(folder / SIZES) if (folder / SIZES).is_file() else asdict(NANO)
    state = load_file(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else averaged(folder)
    try:
        network = Transformer(TransformerConfig(**sizes))
        network.load_state_dict(state)
    except (TypeError, RuntimeError) as error:
        raise UsageError(f"the weights in {folder} are not those of its sizes: {error}") from error
    return network.eval().requires_grad_(False)


def save_network(folder: Path, network: Transformer, state: Mapping[str, Tensor], origin: Origin) -> None:
    """Write a run's results: weights ``state`` of ``network``, its sizes, its origin (first, so that weights
    never lie about without their licence)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / ORIGIN, json.dumps(asdict(origin), indent=1) + "\n")
    write_whole(folder / SIZES, json.dumps(asdict(network.config), indent=1) + "\n")
    with whole(folder / WEIGHTS) as part:
        save_file({key: value.float().contiguous().cpu() for key, value in state.items()}, part)


def hunyuan_origin(folder: Folder) -> Origin:
    """The terms of a folder of published weights, or of random ones in their place."""
    if folder.stand_in is not None:
        return Origin(str(folder.stand_in["licence"]), ("Learnt from random weights: it makes noise.",))
    terms = sources.TENCENT
    return Origin(
        terms.name,
        (
            f"Learnt from the transformer of HunyuanVideo-Foley {folder.model}, whose licence holds for it "
            f"as well: {terms.name}, {terms.url}",
            f"Not to be used in: {', '.join(terms.excluded)}.",
            *terms.terms,
        ),
    )


def hunyuan_network(folder: Folder, dtype: torch.dtype) -> Transformer:
    """The transformer of a folder of weights, for inference. Raises CheckpointError."""
    config = folder.sizes.transformer
    state = transformer_state(folder.weights("transformer"), config, dtype=dtype)
    return assemble(lambda: Transformer(config), state)


def open_teacher(
    path: Path, guidance: float, device: str, bf16: bool = True, sync_guidance: float | None = None
) -> NetworkTeacher:
    """The teacher in ``path``: a run of ours, or a folder of `models download` or `models random`.

    ``guidance``, ``sync_guidance``: see ``NetworkTeacher``. ``bf16``: it computes in bfloat16 (and weights of
    HunyuanVideo-Foley stay in it). Raises UsageError or CheckpointError that says what the folder lacks.
    """
    if path.is_file():
        raise UsageError(
            f"{path} is a file. Name its folder: sizes and licence are found beside the weights."
        )
    if is_run(path):
        network, origin = load_network(path), read_origin(path)
    else:
        folder = open_folder(path)
        network = hunyuan_network(folder, torch.bfloat16 if bf16 else torch.float32)
        origin = hunyuan_origin(folder)
    return NetworkTeacher(network.to(device), origin, guidance, bf16, sync_guidance)


def student_config(teacher: TransformerConfig, fields_given: Mapping[str, Any]) -> TransformerConfig:
    """Sizes of a student: the teacher's with ``fields_given`` changed, or, where none are, about a third of
    its weights: three quarters of the heads, with the width that they fill, and half of the blocks.

    Raises UsageError where a size is none, or is one that a student has to share.
    """
    sizes = asdict(teacher)
    if fields_given:
        sizes |= fields_given
    else:
        heads = max(1, round(0.75 * teacher.num_heads))
        sizes |= {
            "num_heads": heads,
            "hidden_size": teacher.hidden_size * heads // teacher.num_heads,
            "depth_triple_blocks": -(-teacher.depth_triple_blocks // 2),
            "depth_single_blocks": -(-teacher.depth_single_blocks // 2),
        }
    config = TransformerConfig(**sizes)
    other = [name for name in SHARED if getattr(config, name) != getattr(teacher, name)]
    if other:
        said = ", ".join(f"{name} {getattr(config, name)} for {getattr(teacher, name)}" for name in other)
        raise UsageError(f"a student has its teacher's latents and features; the sizes differ in {said}.")
    if (
        config.hidden_size % 2
        or config.head_dim % 2
        or (not config.head_width and config.hidden_size % config.num_heads)
    ):
        raise UsageError(
            f"hidden_size {config.hidden_size} cannot be shared out among {config.num_heads} heads of even "
            "width; change one of them, or set head_width."
        )
    return config
