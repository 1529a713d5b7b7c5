"""The graphs of a HunyuanVideo-Foley bundle: which module, which tensors, which weights.

    text, visual, sync, decoder   one graph each
    conditioner   one graph, once per clip, window and branch: keys and values of the text for every
                  two-stream block, visual and sync tokens, rotary tables
    timestep      a chain, once per schedule: .00 embeds the times, .01 … make the modulations of the
                  two-stream blocks, a group of blocks each
    denoiser      a chain, at every step: the two-stream blocks in groups (the first one embeds the latents),
                  then the single-stream blocks in groups (the last one makes the velocity)

Parts of the same ``kind`` have the same graph and differ in their weights. A module here holds the whole
network under ``network``, cut down to as many blocks as the part has; ``published`` maps a weight's name in
it to the name in the whole network. What a graph does not read is neither loaded nor stored.

Tensors that pass between parts bear the number of the part of the denoiser that takes them: "sound.03",
"text_k.00". All savings over the plain network are exact: see tests/export/test_savings.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.convert.hunyuan import Sizes
from edgefoley.export.components import ConditionerGraph
from edgefoley.export.graph import GraphSpec
from edgefoley.models.clap import PAD_ID, ClapText
from edgefoley.models.dac import DacDecoder
from edgefoley.models.siglip import SiglipVision
from edgefoley.models.synchformer import Synchformer
from edgefoley.models.transformer import (
    Condition,
    Transformer,
    TransformerConfig,
    sync_rows,
    visual_positions,
)

ROPES: Final = ("sound_rope", "visual_rope", "sound_plain", "visual_plain")
Axes = Mapping[str, Mapping[int, str]]
_BLOCK = re.compile(r"^network\.(triple_blocks|single_blocks)\.(\d+)\.")


@dataclass(frozen=True)
class Part:
    """One graph. ``spec``: its tensors, and examples that check it (the first one traces); its module has no
    values. ``source``: whose weights, see ``convert.sources``. ``names``: names in the bundle of inputs and
    outputs that are called otherwise there. ``first``: number of its first two-stream and single-stream
    block in the whole network. ``narrow``: whether its weights may be stored in 16 bits."""

    spec: GraphSpec
    make: Callable[[], nn.Module]
    kind: str
    source: str
    names: Mapping[str, str] = field(default_factory=dict)
    first: tuple[int, int] = (0, 0)
    narrow: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    def published(self, name: str) -> str:
        """Name in the whole network of a weight of the traced module."""
        match = _BLOCK.match(name)
        if match is None:
            return name.removeprefix("network.")
        first = self.first[match[1] == "single_blocks"]
        return f"{match[1]}.{int(match[2]) + first}.{name[match.end() :]}"


class Whole(nn.Module):
    """A network under the name ``network``, with named inputs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


class TextPart(Whole):
    """All rows: the runtime cuts them, because a traced graph either always cuts or never."""

    network: ClapText

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        return self.network.text_model(token_ids, mask[:, None, None] > 0)


class FramesPart(Whole):
    def forward(self, frames: Tensor) -> Tensor:
        return self.network(frames)


class DecoderPart(Whole):
    def forward(self, latents: Tensor) -> Tensor:
        return self.network(latents)


class ConditionPart(Whole):
    """``ConditionerGraph`` with the text's keys and values apart for each group of blocks."""

    network: Transformer

    def __init__(self, network: Transformer, groups: tuple[tuple[int, int], ...]) -> None:
        super().__init__(network)
        self.groups = groups

    def forward(
        self, text_feat: Tensor, visual_feat: Tensor, sync_feat: Tensor,
        visual_present: Tensor, sync_present: Tensor, sync_index: Tensor, visual_position: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        made = ConditionerGraph(self.network)(
            text_feat, visual_feat, sync_feat, visual_present, sync_present, sync_index, visual_position
        )
        condition = Condition(*made)
        text = [part[a:b] for a, b in self.groups for part in (condition.text_k, condition.text_v)]
        return (*text, *made[2:])


class EmbeddingPart(Whole):
    network: Transformer

    def forward(self, t: Tensor) -> Tensor:
        return self.network.time_in(t)


class ModulationPart(Whole):
    """Embedded times (K, h) -> modulations (K, blocks, 9 h) of sound and picture."""

    network: Transformer

    def __init__(self, network: Transformer, count: int) -> None:
        super().__init__(network)
        self.count = count

    def forward(self, vec: Tensor) -> tuple[Tensor, Tensor]:
        blocks = self.network.two_stream()[: self.count]
        sound = torch.stack([block.audio_mod(vec) for block in blocks], dim=1)
        parts = [block.v_cond_mod(vec) for block in blocks]
        full = sound.shape[-1]  # the last block's picture needs two of the nine vectors
        return sound, torch.stack([F.pad(part, (0, full - part.shape[-1])) for part in parts], dim=1)


class TwoStreamPart(Whole):
    """The first ``count`` two-stream blocks of ``network``; the last of them may be the network's last."""

    network: Transformer

    def __init__(self, network: Transformer, count: int) -> None:
        super().__init__(network)
        self.count = count

    def forward(
        self, sound: Tensor, visual: Tensor, text_k: Tensor, text_v: Tensor, sound_mod: Tensor,
        visual_mod: Tensor, sound_rope: Tensor, visual_rope: Tensor, sound_plain: Tensor,
        visual_plain: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        ropes = (sound_rope, visual_rope, sound_plain, visual_plain)
        condition = Condition(text_k, text_v, visual, sound, sound, *ropes)
        last = False
        for i, block in enumerate(self.network.two_stream()[: self.count]):
            mods, last = (sound_mod[:, i, None], visual_mod[:, i, None]), block.last
            sound, visual = block(sound, visual, mods, (text_k[i], text_v[i], None), condition)
        return (sound,) if last else (sound, visual)


class FirstPart(TwoStreamPart):
    """``TwoStreamPart`` that begins with latents and conditions."""

    def forward(  # type: ignore[override]
        self, latents: Tensor, sync_tokens: Tensor, sync_row: Tensor, visual_tokens: Tensor, text_k: Tensor,
        text_v: Tensor, sound_mod: Tensor, visual_mod: Tensor, sound_rope: Tensor, visual_rope: Tensor,
        sound_plain: Tensor, visual_plain: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        sound = self.network.audio_embedder(latents) + sync_tokens.index_select(1, sync_row)
        return super().forward(
            sound, visual_tokens, text_k, text_v, sound_mod, visual_mod,
            sound_rope, visual_rope, sound_plain, visual_plain,
        )  # fmt: skip


class SinglePart(Whole):
    """The first ``count`` single-stream blocks of ``network``, and the final layer if ``final``.

    Only the distinct sync rows are modulated, then each token picks its row.
    """

    network: Transformer

    def __init__(self, network: Transformer, count: int, final: bool) -> None:
        super().__init__(network)
        self.count, self.final = count, final

    def forward(
        self, sound: Tensor, sync_tokens: Tensor, sync_row: Tensor, vec: Tensor, sound_plain: Tensor
    ) -> Tensor:
        rows = sync_tokens + vec[:, None]
        for block in self.network.single_stream()[: self.count]:
            sound = block(sound, block.modulation(rows).index_select(1, sync_row), sound_plain)
        return self.network.final_layer(sound) if self.final else sound


def groups_of(depth: int, size: int) -> tuple[tuple[int, int], ...]:
    """Blocks 0 … depth in groups [start, stop) of at most ``size``."""
    return tuple(pairwise([*range(0, depth, size), depth]))


def parts_of(sizes: Sizes, group: int) -> Iterator[Part]:
    """Every graph of the model, ``group`` blocks in a part of a chain."""
    yield from _encoders(sizes)
    yield from _conditions(sizes.transformer, group)
    yield from _denoiser(sizes.transformer, group)
    latent = sizes.vae.latent_dim
    yield _part(
        "decoder", lambda: DecoderPart(DacDecoder(sizes.vae)), ("waveform",), {"latents": {2: "latent"}},
        [{"latents": _normal(1, latent, n)} for n in (7, 3)], "vae",
        attributes={"context_latents": sizes.vae.context_latents},
    )  # fmt: skip


def _encoders(sizes: Sizes) -> Iterator[Part]:
    clap, picture, sync = sizes.clap, sizes.siglip2.image_size, sizes.synchformer
    draw = torch.Generator().manual_seed(5)
    words = lambda n: torch.randint(PAD_ID + 1, clap.vocab_size, (1, n), generator=draw)  # noqa: E731
    long = min(clap.max_tokens, clap.kept_tokens + 5)
    tokens = [{"token_ids": words(n), "mask": torch.ones(1, n)} for n in (9, long, 3)]
    tokens[2]["token_ids"][0, 2:], tokens[2]["mask"][0, 2:] = PAD_ID, 0
    both = {"token_ids": {1: "text"}, "mask": {1: "text"}}
    yield _part(
        "text", lambda: TextPart(ClapText(clap)), ("text_feat",), both, tokens, "clap",
        attributes={"pad_id": PAD_ID, "kept_tokens": clap.kept_tokens},
    )  # fmt: skip
    pixels = lambda *shape: torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)  # noqa: E731
    yield _part(
        "visual", lambda: FramesPart(SiglipVision(sizes.siglip2)), ("visual_feat",),
        {"frames": {0: "picture"}}, [{"frames": pixels(n, picture, picture, 3)} for n in (2, 1)], "siglip2",
        attributes={
            "size": [picture, picture], "pixel": "rgb", "batch": 1, "fit": "squash",
            "interpolation": "bilinear",
        },
    )  # fmt: skip
    size = (sync.segment, sync.image_size, sync.image_size, 3)
    yield _part(
        "sync", lambda: FramesPart(Synchformer(sync)), ("sync_feat",), {"frames": {0: "segment"}},
        [{"frames": pixels(n, *size)} for n in (2, 1)], "synchformer",
        attributes={
            "size": [sync.image_size, sync.image_size], "pixel": "rgb", "batch": 1, "fit": "crop",
            "interpolation": "bicubic", "segment_frames": sync.segment, "segment_stride": sync.stride,
            "segment_rows": sync.moments,
        },
    )  # fmt: skip


def _conditions(c: TransformerConfig, group: int) -> Iterator[Part]:
    groups = groups_of(c.depth_triple_blocks, group)
    text = [f"{side}.{i:02}" for i in range(len(groups)) for side in ("text_k", "text_v")]
    outputs = (*text, "visual_tokens", "sync_tokens", "sync_row", *ROPES)
    examples = []
    for present, (t, m, s, n) in ((1.0, (5, 7, 2 * c.sync_segment, 40)), (0.0, (2, 3, c.sync_segment, 11))):
        examples.append({
            "text_feat": _normal(1, t, c.text_dim), "visual_feat": _normal(1, m, c.visual_dim),
            "sync_feat": _normal(1, s, c.sync_dim), "visual_present": torch.tensor([present]),
            "sync_present": torch.tensor([present]), "sync_index": sync_rows(n, s),
            "visual_position": visual_positions(n, m).float(),
        })  # fmt: skip
    yield _part(
        "conditioner", lambda: ConditionPart(Transformer(c), groups), outputs,
        {
            "text_feat": {1: "text"}, "visual_feat": {1: "visual"}, "sync_feat": {1: "sync"},
            "sync_index": {0: "token"}, "visual_position": {0: "visual"},
        },
        examples, "transformer", narrow=True, attributes={"absent": "rows"},
    )  # fmt: skip
    yield _part(
        "timestep.00", lambda: EmbeddingPart(Transformer(_cut(c, 1, 0))), ("vec",), {"t": {0: "time"}},
        [{"t": torch.tensor(times)} for times in ([1000.0, 620.0, 20.0], [500.0, 3.0])], "transformer",
        narrow=True,
    )  # fmt: skip
    for number, (start, stop) in enumerate(groups):
        count, ends = stop - start, stop == c.depth_triple_blocks
        cut = _cut(c, count + (not ends), 0)
        yield _part(
            f"timestep.{number + 1:02}", partial(_modulation, cut, count),
            ("sound_mod", "visual_mod"), {"vec": {0: "time"}},
            [{"vec": _normal(n, c.hidden_size)} for n in (3, 2)], "transformer", narrow=True,
            kind=f"modulation {count} {ends}", first=(start, 0),
            names={key: f"{key}.{number:02}" for key in ("sound_mod", "visual_mod")},
        )  # fmt: skip


def _denoiser(c: TransformerConfig, group: int) -> Iterator[Part]:
    two, single = groups_of(c.depth_triple_blocks, group), groups_of(c.depth_single_blocks, group)
    for number, (start, stop) in enumerate(two):
        yield _two_stream(c, number, start, stop)
    for number, (start, stop) in enumerate(single, start=len(two)):
        final, cut = stop == c.depth_single_blocks, _cut(c, 1, stop - start)
        names = {"sound": f"sound.{number:02}"} | ({} if final else {"sound_out": f"sound.{number + 1:02}"})
        yield _part(
            f"denoiser.{number:02}",
            partial(_single, cut, final),
            ("velocity" if final else "sound_out",),
            {
                "sound": {1: "token"}, "sync_tokens": {1: "sync"}, "sync_row": {0: "token"},
                "sound_plain": {1: "token"},
            },
            [_single_feeds(c, *lengths) for lengths in ((40, 16), (11, 8))], "transformer", narrow=True,
            kind=f"single {stop - start} {final}", first=(0, start), names=names,
        )  # fmt: skip


def _modulation(c: TransformerConfig, count: int) -> nn.Module:
    return ModulationPart(Transformer(c), count)


def _single(c: TransformerConfig, final: bool) -> nn.Module:
    return SinglePart(Transformer(c), c.depth_single_blocks, final)


def _two_stream(c: TransformerConfig, number: int, start: int, stop: int) -> Part:
    count, begins, ends = stop - start, start == 0, stop == c.depth_triple_blocks
    cut = _cut(c, count + (not ends), 0)
    numbered = [*(() if begins else ("sound", "visual")), "text_k", "text_v", "sound_mod", "visual_mod"]
    outputs = ("sound_out",) if ends else ("sound_out", "visual_out")
    names = {key: f"{key}.{number:02}" for key in numbered}
    names |= {key: f"{key.removesuffix('_out')}.{number + 1:02}" for key in outputs}
    text, visual, token = {3: "text"}, {1: "visual"}, {1: "token"}
    axes: dict[str, Mapping[int, str]] = {
        "text_k": text, "text_v": text, "sound_rope": token, "visual_rope": visual, "sound_plain": token,
        "visual_plain": visual,
    }  # fmt: skip
    if begins:
        axes |= {"latents": {2: "token"}, "sync_tokens": {1: "sync"}, "sync_row": {0: "token"}}
        axes["visual_tokens"] = visual
    else:
        axes |= {"sound": token, "visual": visual}
    kind = FirstPart if begins else TwoStreamPart
    return _part(
        f"denoiser.{number:02}", lambda: kind(Transformer(cut), count), outputs, axes,
        [_two_stream_feeds(c, count, begins, lengths) for lengths in ((5, 7, 16, 40), (2, 3, 8, 11))],
        "transformer", kind=f"two {count} {begins} {ends}", first=(start, 0), names=names, narrow=True,
    )  # fmt: skip


def _two_stream_feeds(
    c: TransformerConfig, count: int, begins: bool, lengths: tuple[int, int, int, int]
) -> dict[str, Tensor]:
    """Inputs for (T, M, S, N) in the order of the module's arguments."""
    t, m, s, n = lengths
    h, d = c.hidden_size, c.head_dim
    if begins:
        feeds = {
            "latents": _normal(1, c.latent_dim, n), "sync_tokens": _normal(1, s, h),
            "sync_row": sync_rows(n, s), "visual_tokens": _normal(1, m, h),
        }  # fmt: skip
    else:
        feeds = {"sound": _normal(1, n, h), "visual": _normal(1, m, h)}
    feeds |= {key: _normal(count, 1, c.num_heads, t, d) for key in ("text_k", "text_v")}
    feeds |= {key: _normal(1, count, 9 * h) for key in ("sound_mod", "visual_mod")}
    return feeds | {key: _normal(2, n if key.startswith("sound") else m, d) for key in ROPES}


def _single_feeds(c: TransformerConfig, n: int, s: int) -> dict[str, Tensor]:
    h = c.hidden_size
    return {
        "sound": _normal(1, n, h), "sync_tokens": _normal(1, s, h), "sync_row": sync_rows(n, s),
        "vec": _normal(1, h), "sound_plain": _normal(2, n, c.head_dim),
    }  # fmt: skip


def _part(
    name: str, make: Callable[[], nn.Module], outputs: tuple[str, ...], axes: Axes,
    examples: list[dict[str, Tensor]], source: str, *, attributes: Mapping[str, Any] | None = None,
    **further: Any,
) -> Part:  # fmt: skip
    with torch.device("meta"):
        module = make().eval()
    spec = GraphSpec(name, module, outputs, axes, examples, dict(attributes or {}))
    return Part(spec, make, **{"kind": name, "source": source, **further})


def _cut(c: TransformerConfig, two: int, single: int) -> TransformerConfig:
    return replace(c, depth_triple_blocks=two, depth_single_blocks=single)


def _normal(*shape: int) -> Tensor:
    """Values that follow from the shape alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))
