"""HunyuanVideo-Foley's transformer as it is published, without any of our savings, and the arithmetic of a
guided step with and without them.

``velocity`` is written from the published form alone (it shares no code with ``edgefoley.models``), as
functions of the published tensors by name. It computes everything at every step, for both guidance branches
in one batch: projections of text, pictures and sync rows, keys and values of the text, modulations of the
two-stream blocks, modulations of the single-stream blocks for every token, the last two-stream block's
picture half, and the final layer's modulation, which is then not used. Rotary positions of pictures come
about as published: rows are repeated to one per token, interleaved with the sound, turned, and picked again.

What reads better elsewhere: the module text of ``edgefoley.models.transformer`` has the picture of the whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
import torch.nn.functional as F
from hunyuan_steps import Lengths
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from edgefoley.convert.hunyuan import Sizes, transformer_shapes
from edgefoley.models.transformer import Condition, Time, Transformer, TransformerConfig
from edgefoley.timeline import grid_count, segment_count

Weights = Mapping[str, Tensor]
LATENT_RATE, VISUAL_RATE, SYNC_RATE = 50, 8, 25  # per second, as published
EPS = torch.finfo(torch.float32).eps  # of the single-stream blocks' norms of queries and keys


def lengths_of(seconds: Fraction, words: int, sizes: Sizes) -> Lengths:
    """Raises SystemExit for a clip too short for one segment of the sync encoder."""
    s = sizes.synchformer
    frames = grid_count(seconds, Fraction(SYNC_RATE))
    if frames < s.segment:
        raise SystemExit(f"--seconds must be at least {s.segment / SYNC_RATE:g}, got {float(seconds):g}.")
    rows = s.moments * segment_count(frames, s.segment, s.stride)
    pictures = grid_count(seconds, Fraction(VISUAL_RATE))
    return Lengths(int(seconds * LATENT_RATE), pictures, rows, words, s.moments)


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def convolved(w: Weights, name: str, x: Tensor, products: bool) -> Tensor:
    """Convolution along the tokens of (B, N, channels); with ``products`` as one product of matrices over
    neighbouring tokens, whose weight has to be laid out for it (``laid_out``)."""
    weight, bias = w[f"{name}.weight"], w.get(f"{name}.bias")
    if weight.shape[2] == 1:
        return F.linear(x, weight[..., 0], bias)
    if not products:
        return F.conv1d(x.mT, weight, bias, padding=weight.shape[2] // 2).mT
    near = F.pad(x, (0, 0, 1, 1)).unfold(1, 3, 1)  # (B, N, channels, 3)
    return F.linear(near.mT.flatten(2), weight.mT.flatten(1), bias)


def laid_out(weight: Tensor) -> Tensor:
    """The same numbers and shape, in memory so that the product form of a convolution copies nothing."""
    return weight.mT.contiguous().mT if weight.ndim == 3 else weight


def gated(w: Weights, name: str, x: Tensor, products: bool = False) -> Tensor:
    """w2(silu(w1 x) * w3 x), three maps that are products or convolutions."""
    if w[f"{name}.w1.weight"].ndim == 3:
        one = lambda part, y: convolved(w, f"{name}.{part}", y, products)  # noqa: E731
    else:
        one = lambda part, y: linear(w, f"{name}.{part}", y)  # noqa: E731
    return one("w2", F.silu(one("w1", x)) * one("w3", x))


def root_mean_square(w: Weights, name: str, x: Tensor, eps: float) -> Tensor:
    y = x.float()
    return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + eps)).type_as(x) * w[f"{name}.weight"]


def turned(x: Tensor) -> Tensor:
    """Rotary positions 0, 1, 2 … of (B, heads, n, d): adjacent channels are turned, in float32."""
    d, device = x.shape[-1], x.device
    frequency = 1 / 10000.0 ** (torch.arange(0, d, 2, device=device, dtype=torch.float32) / d)
    angle = torch.outer(torch.arange(x.shape[2], device=device, dtype=torch.float32), frequency)
    cos, sin = angle.cos().repeat_interleave(2, -1), angle.sin().repeat_interleave(2, -1)
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return (x.float() * cos + torch.stack([-b, a], -1).flatten(-2) * sin).type_as(x)


def resampled(x: Tensor, count: int) -> Tensor:
    """(B, heads, n, d) -> (B, heads, count, d): the nearest row for each."""
    rows = F.interpolate(x.mT.flatten(1, 2), size=count, mode="nearest-exact")
    return rows.unflatten(1, (x.shape[1], -1)).mT


def interleaved(sound: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the joint attention: a0 v0 a1 v1 …, pictures repeated to one per sound token."""
    both = torch.stack([sound, resampled(visual, sound.shape[2])], dim=3).flatten(2, 3)
    both = turned(both)
    return both[:, :, 0::2], resampled(both[:, :, 1::2], visual.shape[2])


def heads(x: Tensor, parts: int, count: int) -> tuple[Tensor, ...]:
    """(B, n, parts * heads * d) -> ``parts`` of (B, heads, n, d); the channel runs fastest."""
    return x.unflatten(-1, (parts, count, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def normed(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=eps) * (1 + scale) + shift


def mlp(w: Weights, name: str, x: Tensor) -> Tensor:
    return linear(w, f"{name}.fc2", F.gelu(linear(w, f"{name}.fc1", x), approximate="tanh"))


def two_stream(
    w: Weights, name: str, count: int, x: Tensor, v: Tensor, text: Tensor, vec: Tensor
) -> tuple[Tensor, Tensor]:
    """One two-stream block: joint attention, attention to the text, an MLP each."""
    a, b = (
        linear(w, f"{name}.{side}_mod.linear", F.silu(vec))[:, None].chunk(9, -1)
        for side in ("audio", "v_cond")
    )
    norm = lambda part, y: root_mean_square(w, f"{name}.{part}_norm", y, 1e-6)  # noqa: E731
    m = v.shape[1]
    sound = heads(linear(w, f"{name}.audio_self_attn_qkv", normed(x, a[0], a[1], 1e-6)), 3, count)
    image = heads(linear(w, f"{name}.v_cond_attn_qkv", normed(v, b[0], b[1], 1e-6)), 3, count)
    qa, qv = interleaved(norm("audio_self_q", sound[0]), norm("v_cond_attn_q", image[0]))
    ka, kv = interleaved(norm("audio_self_k", sound[1]), norm("v_cond_attn_k", image[1]))
    joint = attended(torch.cat([qv, qa], 2), torch.cat([kv, ka], 2), torch.cat([image[2], sound[2]], 2))
    v = v + linear(w, f"{name}.v_cond_self_proj", joint[:, :m]) * b[2]
    x = x + linear(w, f"{name}.audio_self_proj", joint[:, m:]) * a[2]
    tk, tv = heads(linear(w, f"{name}.text_cross_kv", text), 2, count)
    qa = heads(linear(w, f"{name}.audio_cross_q", normed(x, a[3], a[4], 1e-6)), 1, count)[0]
    qv = heads(linear(w, f"{name}.v_cond_cross_q", normed(v, b[3], b[4], 1e-6)), 1, count)[0]
    q = torch.cat([turned(norm("v_cond_cross_q", qv)), turned(norm("audio_cross_q", qa))], 2)
    cross = attended(q, turned(norm("text_cross_k", tk)), tv)
    v = v + linear(w, f"{name}.v_cond_cross_proj", cross[:, :m]) * b[5]
    x = x + linear(w, f"{name}.audio_cross_proj", cross[:, m:]) * a[5]
    v = v + mlp(w, f"{name}.v_cond_mlp", normed(v, b[6], b[7], 1e-6)) * b[8]
    return x + mlp(w, f"{name}.audio_mlp", normed(x, a[6], a[7], 1e-6)) * a[8], v


def single_stream(w: Weights, name: str, count: int, x: Tensor, vec: Tensor, products: bool) -> Tensor:
    """One single-stream block; ``vec`` (B, N, h) modulates every token."""
    mods = linear(w, f"{name}.modulation.linear", F.silu(vec)).chunk(6, -1)
    qkv = linear(w, f"{name}.linear_qkv", normed(x, mods[0], mods[1], 1e-5))
    q, k, v = qkv.unflatten(-1, (count, -1, 3)).permute(4, 0, 2, 1, 3).unbind(0)
    q, k = (turned(root_mean_square(w, f"{name}.{part}_norm", y, EPS)) for part, y in (("q", q), ("k", k)))
    x = x + convolved(w, f"{name}.linear1", attended(q, k, v), products) * mods[2]
    return x + gated(w, f"{name}.linear2", normed(x, mods[3], mods[4], 1e-5), products) * mods[5]


def time_embedding(w: Weights, t: Tensor) -> Tensor:
    half = 128
    index = torch.arange(half, device=t.device, dtype=torch.float32)
    frequency = torch.exp(-math.log(10000.0) * index / half)
    angle = t.float()[:, None] * frequency
    waves = torch.cat([angle.cos(), angle.sin()], -1).type_as(w["time_in.mlp.0.weight"])
    return linear(w, "time_in.mlp.2", F.silu(linear(w, "time_in.mlp.0", waves)))


def velocity(
    w: Weights, c: TransformerConfig, latents: Tensor, t: Tensor, features: tuple[Tensor, Tensor, Tensor],
    products: bool = False, mark: Callable[[], Any] = lambda: None,
) -> Tensor:  # fmt: skip
    """Velocity (B, D, N) of ``latents`` (B, D, N) at times ``t`` (B,) = 1000 sigma; ``features``: text,
    pictures, sync rows, (B, rows, channels) each. ``mark`` is called before the two-stream blocks, between
    them and the single-stream blocks, and after those; their numbers are those of ``c``."""
    text, visual, sync = features
    vec = time_embedding(w, t)
    text = linear(w, "cond_in.linear_2", F.silu(linear(w, "cond_in.linear_1", text)))
    v = gated(w, "visual_proj", visual)
    segment = w["sync_pos_emb"].shape[2]
    sync = (sync.unflatten(1, (-1, segment)) + w["sync_pos_emb"]).flatten(1, 2)
    sync = gated(w, "sync_in.2", F.silu(linear(w, "sync_in.0", sync)))
    sync = F.interpolate(sync.mT, size=latents.shape[2], mode="nearest-exact").mT
    x = F.conv1d(latents, w["audio_embedder.proj.weight"], w["audio_embedder.proj.bias"]).mT + sync
    each = sync + vec[:, None]
    mark()
    for i in range(c.depth_triple_blocks):
        x, v = two_stream(w, f"triple_blocks.{i}", c.num_heads, x, v, text, vec)
    mark()
    for i in range(c.depth_single_blocks):
        x = single_stream(w, f"single_blocks.{i}", c.num_heads, x, each, products)
    mark()
    linear(w, "final_layer.adaLN_modulation.1", F.silu(each))  # computed and not used, as published
    return linear(w, "final_layer.linear", F.layer_norm(x, x.shape[-1:], eps=1e-6)).mT


def needed(c: TransformerConfig, blocks: int | None) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that ``velocity`` reads of the first ``blocks`` of either kind."""
    return transformer_shapes(shortened(c, blocks))


def shortened(c: TransformerConfig, blocks: int | None) -> TransformerConfig:
    """``c`` with no more than ``blocks`` blocks of either kind."""
    if blocks is None:
        return c
    two, single = min(blocks, c.depth_triple_blocks), min(blocks, c.depth_single_blocks)
    return replace(c, depth_triple_blocks=two, depth_single_blocks=single)


def scaled(marks: list[float], whole: TransformerConfig, run: TransformerConfig) -> float:
    """Seconds of a pass through the whole network from those of one through ``run``'s blocks. ``marks``:
    clock at the start, before the two-stream blocks, before the single-stream blocks, after them, at the
    end."""
    start, two, single, after, end = marks
    return (
        (two - start)
        + (single - two) * whole.depth_triple_blocks / run.depth_triple_blocks
        + (after - single) * whole.depth_single_blocks / run.depth_single_blocks
        + (end - after)
    )


class Marks:
    """Clocks at the ``mark`` of ``velocity``: of the wall and of this process' processors."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.busy: list[float] = []

    def __call__(self) -> None:
        self.wall.append(time.perf_counter())
        self.busy.append(time.process_time())


# --- arithmetic ---------------------------------------------------------------------------------------------


def counted(work: Callable[[], Any]) -> int:
    """FLOP of the products and convolutions of one call, a multiply-add as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def count_plain(c: TransformerConfig, n: Lengths) -> int:
    """FLOP of one guided step as published: both branches in one batch."""
    w = {name: torch.empty(shape, device="meta") for name, shape in transformer_shapes(c).items()}
    latents, features = _empty(c, n, 2, n.sync)
    t = torch.empty(2, device="meta")
    return counted(lambda: velocity(w, c, latents, t, features))


def count_savings(c: TransformerConfig, n: Lengths, steps: int) -> dict[str, int]:
    """FLOP with our savings: ``step``, one guided step; ``once``, what a clip of ``steps`` steps needs once,
    both branches."""
    with torch.device("meta"):
        network = Transformer(c)
    made: dict[str, list[Any]] = {"conditions": []}

    def once() -> None:
        for rows in (n.sync, n.segment):  # without a video the rows of one segment are all that differ
            index = torch.empty(n.tokens, dtype=torch.int64, device="meta")
            features = _empty(c, n, 1, rows)[1]
            position = torch.empty(n.pictures, device="meta")
            made["conditions"].append(network.condition(*features, index, position))
        made["time"] = list(network.time(torch.empty(steps, device="meta")))

    def step() -> None:
        vec, sound, visual = made["time"]
        now = Time(vec[:1], sound[:, :1], visual[:, :1])
        for condition in made["conditions"]:
            assert isinstance(condition, Condition)
            network.denoise(_empty(c, n, 1, 0)[0], condition, now)

    return {"once": counted(once), "step": counted(step)}


def _empty(
    c: TransformerConfig, n: Lengths, batch: int, rows: int
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Latents and features without values."""
    make = lambda *shape: torch.empty(batch, *shape, device="meta")  # noqa: E731
    return make(c.latent_dim, n.tokens), (
        make(n.words, c.text_dim), make(n.pictures, c.visual_dim), make(rows, c.sync_dim),
    )  # fmt: skip
