"""The flow-matching transformer: two-stream blocks over sound and picture, then single-stream blocks over
sound.

One family for every model: HunyuanVideo-Foley (arXiv 2508.16930) is ``TransformerConfig`` with its published
sizes and ``nano`` is a small one. ``forward`` is the whole network; for export it falls into three parts that
depend on different things (``condition``: the clip, ``time``: the step, ``denoise``: the latents), so that an
engine computes each only as often as it changes.

Shapes: B batch, N sound tokens (``patch_size`` latents each), M visual rows, S sync rows, T text tokens, h
hidden size.

    text    --cond_in--> keys and values of every two-stream block (never updated)
    visual  --visual_proj--> second stream of the two-stream blocks
    sync    --sync_in--> nearest of S rows for each of N tokens: added to the sound once, and, with the time
                         step, modulates every single-stream block token by token
    latents --audio_embedder--> sound tokens --blocks--> final_layer --> velocity (noise - data)

Positions: in the joint attention sound token i stands at 2i and visual row j at 2 floor((j + 1/2) N / M) + 1;
in the attention to text and in the single-stream blocks positions are plain. Weights that cannot influence
the output (the visual half of the last two-stream block after its keys and values; the final layer's
modulation, which the published model ignores) do not exist here; a converter drops them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.models.layers import (
    ConvMlp,
    GatedMlp,
    Mlp,
    Modulation,
    Projection,
    RMSNorm,
    TimeConv,
    TimeEmbedding,
    attention,
    modulate,
    rope_tables,
    rotate,
)
from edgefoley.models.timbre import Timbre, timbre_width


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes; defaults are those that HunyuanVideo-Foley XL and XXL share. ``shared_modulation``: one
    modulation layer for all blocks of a kind plus a learned offset per block (Chen et al. 2023,
    "PixArt-alpha", arXiv 2310.00426) instead of one layer per block; ``single_kernel``: width of the single
    blocks' MLP convolutions; ``pooled_conditions``: the sentence vector and the mean visual row also join the
    sync rows, so that words reach the modulation of the single-stream blocks directly (without it a network
    this small had learnt nothing of the prompt after 500 steps); ``head_width``: channels of a head when the
    heads do not share out ``hidden_size`` (pruned networks), 0: they do; ``timbre_components``: of what
    may stand beside the words (``models.timbre``, which works before ``forward``), 0: nothing."""

    hidden_size: int
    num_heads: int
    depth_triple_blocks: int
    depth_single_blocks: int
    mlp_ratio: float = 4.0
    latent_dim: int = 128
    patch_size: int = 1
    text_dim: int = 768
    visual_dim: int = 768
    sync_dim: int = 768
    sync_segment: int = 8
    single_kernel: int = 3
    mlp_multiple: int = 256
    shared_modulation: bool = False
    pooled_conditions: bool = False
    head_width: int = 0
    timbre_components: int = 0

    @property
    def head_dim(self) -> int:
        return self.head_width or self.hidden_size // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        return int(self.hidden_size * self.mlp_ratio)

    @property
    def gated_hidden(self) -> int:
        """Hidden width of a gated MLP: two thirds of the plain one, rounded up to ``mlp_multiple``."""
        return -(-int(2 * self.mlp_hidden / 3) // self.mlp_multiple) * self.mlp_multiple


XXL = TransformerConfig(hidden_size=1536, num_heads=12, depth_triple_blocks=18, depth_single_blocks=36)
XL = TransformerConfig(hidden_size=1408, num_heads=11, depth_triple_blocks=12, depth_single_blocks=24)
NANO = TransformerConfig(
    hidden_size=320, num_heads=5, depth_triple_blocks=2, depth_single_blocks=4, mlp_ratio=3.0, latent_dim=64,
    patch_size=2, text_dim=256, visual_dim=256, sync_dim=4, sync_segment=1, single_kernel=1, mlp_multiple=64,
    shared_modulation=True, pooled_conditions=True, timbre_components=96,
)  # fmt: skip


class Condition(NamedTuple):
    """What depends on the clip alone. ``text_k``, ``text_v`` (blocks, B, heads, T, d); ``visual`` (B, M, h);
    ``sync`` (B, S, h); ``sync_index`` (N,); rotary tables (2, tokens, d) for the joint attention
    (``sound_rope``, ``visual_rope``) and at plain positions (``sound_plain``, ``visual_plain``)."""

    text_k: Tensor
    text_v: Tensor
    visual: Tensor
    sync: Tensor
    sync_index: Tensor
    sound_rope: Tensor
    visual_rope: Tensor
    sound_plain: Tensor
    visual_plain: Tensor


class Time(NamedTuple):
    """What depends on the time step alone. ``vec`` (B, h); ``sound_mod`` (blocks, B, 1, 9h) and
    ``visual_mod`` (blocks, B, 1, 9h) of the two-stream blocks."""

    vec: Tensor
    sound_mod: Tensor
    visual_mod: Tensor


def sync_rows(tokens: int, rows: int, device: torch.device | None = None) -> Tensor:
    """Row of the sync features for each token: floor((i + 1/2) rows / tokens), in integers."""
    return (2 * torch.arange(tokens, device=device) + 1) * rows // (2 * tokens)


def visual_positions(tokens: int, rows: int, device: torch.device | None = None) -> Tensor:
    """Rotary position of each visual row in the joint attention: 2 floor((j + 1/2) tokens / rows) + 1."""
    return 2 * ((2 * torch.arange(rows, device=device) + 1) * tokens // (2 * rows)) + 1


class TwoStreamBlock(nn.Module):
    """Joint attention of sound and picture, attention of both to the text, an MLP for each."""

    def __init__(self, config: TransformerConfig, last: bool) -> None:
        super().__init__()
        h, d, w = config.hidden_size, config.head_dim, config.num_heads * config.head_dim
        self.heads, self.last = config.num_heads, last
        parts = 2 if last else 9
        if config.shared_modulation:
            self.audio_mod_offset = nn.Parameter(torch.zeros(9 * h))
            self.v_cond_mod_offset = nn.Parameter(torch.zeros(parts * h))
        else:
            self.audio_mod, self.v_cond_mod = Modulation(h, 9), Modulation(h, parts)
        self.audio_self_attn_qkv, self.v_cond_attn_qkv = nn.Linear(h, 3 * w), nn.Linear(h, 3 * w)
        self.audio_self_q_norm, self.audio_self_k_norm = RMSNorm(d, 1e-6), RMSNorm(d, 1e-6)
        self.v_cond_attn_q_norm, self.v_cond_attn_k_norm = RMSNorm(d, 1e-6), RMSNorm(d, 1e-6)
        self.audio_cross_q_norm, self.text_cross_k_norm = RMSNorm(d, 1e-6), RMSNorm(d, 1e-6)
        if not last:
            self.v_cond_cross_q_norm = RMSNorm(d, 1e-6)
        maps = ((w, h), (h, w), (w, h))
        self.audio_self_proj, self.audio_cross_q, self.audio_cross_proj = (nn.Linear(*m) for m in maps)
        self.text_cross_kv = nn.Linear(h, 2 * w)
        self.audio_mlp = Mlp(h, config.mlp_hidden)
        if not last:
            self.v_cond_self_proj, self.v_cond_cross_q, self.v_cond_cross_proj = (nn.Linear(*m) for m in maps)
            self.v_cond_mlp = Mlp(h, config.mlp_hidden)
        self.norm = nn.LayerNorm(h, eps=1e-6, elementwise_affine=False)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(B, n, parts * h), layout (part, head, d) -> ``parts`` of (B, heads, n, d)."""
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def text_kv(self, text: Tensor, rope: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.split(self.text_cross_kv(text), 2)
        return rotate(self.text_cross_k_norm(k), rope), v

    def forward(
        self, x: Tensor, visual: Tensor, mods: tuple[Tensor, Tensor],
        text: tuple[Tensor, Tensor, Tensor | None], condition: Condition,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        a = mods[0].chunk(9, dim=-1)
        w = mods[1][..., : (2 if self.last else 9) * x.shape[-1]].chunk(2 if self.last else 9, dim=-1)
        n_visual = visual.shape[1]
        # 1. joint attention, order [visual, sound]
        qa, ka, va = self.split(self.audio_self_attn_qkv(modulate(self.norm(x), a[0], a[1])), 3)
        qv, kv, vv = self.split(self.v_cond_attn_qkv(modulate(self.norm(visual), w[0], w[1])), 3)
        qa = rotate(self.audio_self_q_norm(qa), condition.sound_rope)
        ka = rotate(self.audio_self_k_norm(ka), condition.sound_rope)
        kv = rotate(self.v_cond_attn_k_norm(kv), condition.visual_rope)
        k, v = torch.cat([kv, ka], dim=2), torch.cat([vv, va], dim=2)
        if self.last:  # the visual stream ends here: its own queries cannot reach the output
            x = x + self.audio_self_proj(attention(qa, k, v)) * a[2]
        else:
            qv = rotate(self.v_cond_attn_q_norm(qv), condition.visual_rope)
            mixed = attention(torch.cat([qv, qa], dim=2), k, v)
            visual = visual + self.v_cond_self_proj(mixed[:, :n_visual]) * w[2]
            x = x + self.audio_self_proj(mixed[:, n_visual:]) * a[2]
        # 2. attention to the text
        text_k, text_v, mask = text
        qa = self.split(self.audio_cross_q(modulate(self.norm(x), a[3], a[4])), 1)[0]
        qa = rotate(self.audio_cross_q_norm(qa), condition.sound_plain)
        x = x + self.audio_cross_proj(attention(qa, text_k, text_v, mask)) * a[5]
        if not self.last:
            qv = self.split(self.v_cond_cross_q(modulate(self.norm(visual), w[3], w[4])), 1)[0]
            qv = rotate(self.v_cond_cross_q_norm(qv), condition.visual_plain)
            visual = visual + self.v_cond_cross_proj(attention(qv, text_k, text_v, mask)) * w[5]
            visual = visual + self.v_cond_mlp(modulate(self.norm(visual), w[6], w[7])) * w[8]
        # 3. MLP
        return x + self.audio_mlp(modulate(self.norm(x), a[6], a[7])) * a[8], visual


class SingleStreamBlock(nn.Module):
    """Self-attention and a convolutional MLP over the sound alone, modulated token by token."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        h, w = config.hidden_size, config.num_heads * config.head_dim
        self.heads = config.num_heads
        if config.shared_modulation:
            self.mod_offset = nn.Parameter(torch.zeros(6 * h))
        else:
            self.modulation = Modulation(h, 6)
        self.linear_qkv = nn.Linear(h, 3 * w)
        # The published blocks call a norm whose eps is float32's machine epsilon.
        eps = torch.finfo(torch.float32).eps
        self.q_norm, self.k_norm = RMSNorm(config.head_dim, eps), RMSNorm(config.head_dim, eps)
        self.linear1 = TimeConv(w, h, 3, bias=True)
        self.linear2 = ConvMlp(h, config.gated_hidden, config.single_kernel)
        self.norm = nn.LayerNorm(h, eps=1e-5, elementwise_affine=False)

    def forward(self, x: Tensor, mod: Tensor, rope: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = mod.chunk(6, dim=-1)
        qkv = self.linear_qkv(modulate(self.norm(x), shift1, scale1))
        # layout (head, d, part): the part runs fastest, unlike in the two-stream blocks
        q, k, v = qkv.unflatten(-1, (self.heads, -1, 3)).permute(4, 0, 2, 1, 3).unbind(0)
        mixed = attention(rotate(self.q_norm(q), rope), rotate(self.k_norm(k), rope), v)
        x = x + self.linear1(mixed) * gate1
        return x + self.linear2(modulate(self.norm(x), shift2, scale2)) * gate2


class PatchEmbed(nn.Module):
    """``patch_size`` latents -> one token; (B, D, N * patch) -> (B, N, h)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        patch = config.patch_size
        self.proj = nn.Conv1d(config.latent_dim, config.hidden_size, patch, stride=patch)

    def forward(self, latents: Tensor) -> Tensor:
        patch = self.proj.kernel_size[0]
        tokens = latents.unflatten(-1, (-1, patch)).permute(0, 2, 1, 3).flatten(2)
        return F.linear(tokens, self.proj.weight.flatten(1), self.proj.bias)


class FinalLayer(nn.Module):
    """Norm and a linear map to velocities; (B, N, h) -> (B, D, N * patch)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(config.hidden_size, config.latent_dim * config.patch_size)
        self.latent_dim = config.latent_dim

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(self.norm(x)).unflatten(-1, (self.latent_dim, -1))
        return y.permute(0, 2, 1, 3).flatten(2)


class Transformer(nn.Module):
    """The whole network; see the module's text."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = self.config = config
        h = c.hidden_size
        self.audio_embedder = PatchEmbed(c)
        self.visual_proj = GatedMlp(c.visual_dim, h)
        self.cond_in = Projection(c.text_dim, h)
        self.time_in = TimeEmbedding(h)
        self.sync_pos_emb = nn.Parameter(torch.zeros(1, 1, c.sync_segment, c.sync_dim))
        self.sync_in = nn.Sequential(nn.Linear(c.sync_dim, h), nn.SiLU(), ConvMlp(h, c.gated_hidden, 1))
        self.empty_clip_feat = nn.Parameter(torch.zeros(1, c.visual_dim))
        self.empty_sync_feat = nn.Parameter(torch.zeros(1, c.sync_dim))
        last = c.depth_triple_blocks - 1
        self.triple_blocks = nn.ModuleList(TwoStreamBlock(c, i == last) for i in range(c.depth_triple_blocks))
        self.single_blocks = nn.ModuleList(SingleStreamBlock(c) for _ in range(c.depth_single_blocks))
        self.final_layer = FinalLayer(c)
        if c.shared_modulation:
            self.audio_mod, self.v_cond_mod, self.single_mod = (Modulation(h, parts) for parts in (9, 9, 6))
        if c.pooled_conditions:
            self.text_pool, self.visual_pool = nn.Linear(c.text_dim, h), nn.Linear(c.visual_dim, h)
        if c.timbre_components:
            self.timbre_in = Timbre(timbre_width(c.latent_dim), c.timbre_components, c.text_dim)

    def two_stream(self) -> list[TwoStreamBlock]:
        """The two-stream blocks in order."""
        return [cast(TwoStreamBlock, block) for block in self.triple_blocks]

    def single_stream(self) -> list[SingleStreamBlock]:
        """The single-stream blocks in order."""
        return [cast(SingleStreamBlock, block) for block in self.single_blocks]

    def initialise(self) -> None:
        """Start for training: every modulation and the output at zero, so that each block begins as the
        identity."""
        zero = [module.linear for module in self.modules() if isinstance(module, Modulation)]
        zero.append(self.final_layer.linear)
        if self.config.pooled_conditions:
            zero += [self.text_pool, self.visual_pool]
        for linear in zero:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        nn.init.normal_(self.empty_clip_feat, std=0.02)
        nn.init.normal_(self.sync_pos_emb, std=0.02)

    def condition(
        self,
        text_feat: Tensor,
        visual_feat: Tensor,
        sync_feat: Tensor,
        sync_index: Tensor,
        visual_position: Tensor,
    ) -> Condition:
        """Features (B, T|M|S, dim) -> everything that stays the same over the time steps."""
        d = self.config.head_dim
        text = self.cond_in(text_feat)
        plain = lambda n: rope_tables(torch.arange(n, device=text.device), d)  # noqa: E731
        tokens = sync_index.shape[0]
        kv = [block.text_kv(text, plain(text.shape[1])) for block in self.two_stream()]
        sync = sync_feat.unflatten(1, (-1, self.config.sync_segment)) + self.sync_pos_emb
        sync = self.sync_in(sync.flatten(1, 2))
        if self.config.pooled_conditions:
            pooled = self.text_pool(text_feat[:, :1]) + self.visual_pool(visual_feat.mean(1, keepdim=True))
            sync = sync + pooled
        return Condition(
            torch.stack([k for k, _ in kv]),
            torch.stack([v for _, v in kv]),
            self.visual_proj(visual_feat),
            sync,
            sync_index,
            rope_tables(2 * torch.arange(tokens, device=text.device), d),
            rope_tables(visual_position, d),
            plain(tokens),
            plain(visual_feat.shape[1]),
        )

    def time(self, t: Tensor) -> Time:
        """Time steps (B,) = 1000 sigma -> modulations of the two-stream blocks and the embedding itself."""
        vec = self.time_in(t)
        if self.config.shared_modulation:
            sound = torch.stack([self.audio_mod(vec) + b.audio_mod_offset for b in self.two_stream()])
            base = self.v_cond_mod(vec)
            visual = torch.stack(
                [
                    base + F.pad(b.v_cond_mod_offset, (0, base.shape[-1] - len(b.v_cond_mod_offset)))
                    for b in self.two_stream()
                ]
            )
        else:
            sound = torch.stack([b.audio_mod(vec) for b in self.two_stream()])
            full = sound.shape[-1]
            parts = [b.v_cond_mod(vec) for b in self.two_stream()]
            visual = torch.stack([F.pad(p, (0, full - p.shape[-1])) for p in parts])
        return Time(vec, sound[:, :, None], visual[:, :, None])

    def denoise(
        self, latents: Tensor, condition: Condition, time: Time, text_mask: Tensor | None = None
    ) -> Tensor:
        """Latents (B, D, L) -> velocity (B, D, L). ``text_mask`` (B, 1, 1, T) bool, for padded batches in
        training."""
        x = self.audio_embedder(latents) + condition.sync.index_select(1, condition.sync_index)
        visual = condition.visual
        for i, block in enumerate(self.two_stream()):
            text = (condition.text_k[i], condition.text_v[i], text_mask)
            x, visual = block(x, visual, (time.sound_mod[i], time.visual_mod[i]), text, condition)
        # Sync rows repeat over tokens: modulate the distinct rows, then pick. Exact, and a tenth of the work
        # saved.
        vec = condition.sync + time.vec[:, None]
        shared = self.single_mod(vec) if self.config.shared_modulation else None
        for single in self.single_stream():
            mod = single.modulation(vec) if shared is None else shared + single.mod_offset
            x = single(x, mod.index_select(1, condition.sync_index), condition.sound_plain)
        return self.final_layer(x)

    def forward(
        self, latents: Tensor, t: Tensor, text_feat: Tensor, visual_feat: Tensor, sync_feat: Tensor,
        text_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Velocity (B, D, L) of ``latents`` (B, D, L) at time steps ``t`` (B,) in (0, 1000]."""
        tokens = latents.shape[-1] // self.config.patch_size
        index = sync_rows(tokens, sync_feat.shape[1], latents.device)
        positions = visual_positions(tokens, visual_feat.shape[1], latents.device)
        condition = self.condition(text_feat, visual_feat, sync_feat, index, positions)
        return self.denoise(latents, condition, self.time(t), text_mask)
