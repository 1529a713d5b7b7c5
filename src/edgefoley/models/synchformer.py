"""Synchformer's visual extractor: what moves when, 8 rows of 768 for every 16 frames (HunyuanVideo-Foley's
sync encoder).

Iashin et al. 2024, "Synchformer", arXiv 2401.16423; a MotionFormer (Patrick et al. 2021, arXiv 2106.05392)
with divided attention (Bertasius et al. 2021, "TimeSformer", arXiv 2102.05095), followed by one attention
layer that gathers each moment's 196 places into one row. Published by its author under the MIT licence.

    16 frames, 224 x 224 --cuboids of 2 x 16 x 16--> 8 moments x 14 x 14 places, and a class token
        --12 blocks: attention over time at one place, over places at one moment, MLP--> norm
        --per moment: own class token attends to the 196 places--> 8 rows

What the picture must be (the reference's preprocessing): 25 frames/s; the shorter side resized to 224
(bicubic, antialiased, rounded to 8 bits; the longer side truncated to whole pixels), the central 224 x 224
kept, scaled to -1..1 (here inside the network). A clip is cut by ``segment_indices`` into segments of 16
frames that begin every 8 frames: each frame is seen twice, frames after the last whole segment not at all.
F frames give 8 * ((F - 16) // 8 + 1) rows. The reference fails below 16 frames (0.64 s); here the last
frame is held.

State-dict keys are the published ones (``vfeat_extractor.…``). The published file also holds the sound half
and the synchronisation head, and a patch embedding for single pictures that nothing reads: see
``unused_keys``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.models.layers import attention
from edgefoley.models.vit import PatchEmbedding, PooledAttention, split_heads

# A first part of a key, or of a key inside the visual extractor, that generating sound never reads.
_UNUSED = ("afeat_extractor.", "vproj.", "aproj.", "transformer.", "vfeat_extractor.patch_embed.")
NORM_EPS = 1e-6


@dataclass(frozen=True)
class SynchformerConfig:
    """Sizes; the defaults are the published ones. ``image_size`` and ``patch`` in pixels, ``tubelet``
    frames per moment, ``segment`` frames per segment, one beginning every ``stride`` frames."""

    image_size: int = 224
    patch: int = 16
    tubelet: int = 2
    segment: int = 16
    stride: int = 8
    width: int = 768
    heads: int = 12
    depth: int = 12
    mlp_ratio: int = 4

    @property
    def moments(self) -> int:
        """Rows per segment."""
        return self.segment // self.tubelet

    @property
    def places(self) -> int:
        return (self.image_size // self.patch) ** 2


def segment_indices(num_frames: int, config: SynchformerConfig | None = None) -> npt.NDArray[np.int64]:
    """Which of ``num_frames`` frames form each segment: (segments, 16).

    There are max(1, (num_frames - 16) // 8 + 1) segments. With fewer than 16 frames the last one is held.
    Raises ValueError without any frame.
    """
    if num_frames < 1:
        raise ValueError(f"segments need at least one frame, got {num_frames}")
    c = SynchformerConfig() if config is None else config
    count = max(1, (num_frames - c.segment) // c.stride + 1)
    indices = c.stride * np.arange(count)[:, None] + np.arange(c.segment)
    return np.minimum(indices, num_frames - 1)


def unused_keys(keys: Iterable[str]) -> list[str]:
    """Those of a published state dict's ``keys`` that the visual extractor has no use for."""
    return [key for key in keys if key.startswith(_UNUSED)]


class _DividedAttention(nn.Module):
    """Attention along one axis: the class token attends to everything, a patch to the class token and its
    row."""

    def __init__(self, config: SynchformerConfig, over_time: bool) -> None:
        super().__init__()
        self.heads, self.moments, self.over_time = config.heads, config.moments, over_time
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 + moments * places, width) -> the same shape; the class token first."""
        qkv = self.qkv(x)
        q, k, v = split_heads(qkv, 3, self.heads)
        first = attention(q[:, :, :1], k, v)
        token, body = qkv[:, :1], qkv[:, 1:].unflatten(1, (self.moments, -1))
        if self.over_time:
            body = body.transpose(1, 2)
        rows = body.shape[1]
        token = token[:, None].expand(-1, rows, -1, -1)
        q, k, v = split_heads(torch.cat([token, body], 2).flatten(0, 1), 3, self.heads)
        rest = attention(q[:, :, 1:], k, v).unflatten(0, (-1, rows))
        if self.over_time:
            rest = rest.transpose(1, 2)
        return self.proj(torch.cat([first, rest.flatten(1, 2)], 1))


class _Mlp(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    """Time, space, MLP; each after a norm, each residual."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        w = config.width
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(w, eps=NORM_EPS) for _ in range(3))
        self.timeattn, self.attn = _DividedAttention(config, True), _DividedAttention(config, False)
        self.mlp = _Mlp(w, config.mlp_ratio * w)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.timeattn(self.norm3(x))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SpatialAggregator(nn.Module):
    """A pre-norm transformer layer with a class token of its own, whose row alone is the result.

    (B, places, width) -> (B, width): exactly row 0 of the whole layer, without the other rows' queries and
    MLPs.
    """

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        w = config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, w))
        self.self_attn = PooledAttention(w, config.heads)
        self.linear1, self.linear2 = nn.Linear(w, config.mlp_ratio * w), nn.Linear(config.mlp_ratio * w, w)
        self.norm1, self.norm2 = nn.LayerNorm(w, eps=NORM_EPS), nn.LayerNorm(w, eps=NORM_EPS)

    def forward(self, places: Tensor) -> Tensor:
        token = self.cls_token.expand(places.shape[0], -1, -1)
        normed = self.norm1(torch.cat([token, places], 1))
        x = (token + self.self_attn(normed[:, :1], normed))[:, 0]
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x))))


class _PatchEmbed3d(nn.Module):
    """Holds ``proj`` where the published keys have it."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        self.proj = PatchEmbedding(config.width, (config.tubelet, config.patch, config.patch))

    def forward(self, frames: Tensor) -> Tensor:
        return self.proj(frames)


class _MotionFormer(nn.Module):
    """Frames of a segment to rows; see the module's text."""

    def __init__(self, config: SynchformerConfig) -> None:
        super().__init__()
        c = config
        self.moments = c.moments
        self.patch_embed_3d = _PatchEmbed3d(c)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + c.places, c.width))
        self.temp_embed = nn.Parameter(torch.zeros(1, c.moments, c.width))
        self.blocks = nn.ModuleList(_Block(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, eps=NORM_EPS)
        self.spatial_attn_agg = SpatialAggregator(c)

    def forward(self, segments: Tensor) -> Tensor:
        token, place = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        position = (self.temp_embed[:, :, None] + place[:, None]).flatten(1, 2)
        x = self.patch_embed_3d(segments) + position
        x = torch.cat([(self.cls_token + token).expand(x.shape[0], -1, -1), x], 1)
        for block in self.blocks:
            x = block(x)
        places = self.norm(x[:, 1:]).unflatten(1, (self.moments, -1)).flatten(0, 1)
        return self.spatial_attn_agg(places).unflatten(0, (-1, self.moments))


class Synchformer(nn.Module):
    """segments (G, 16, 224, 224, 3) uint8 RGB -> rows (G, 8, 768).

    Segments do not see one another, so they may be worked off in any batches; a clip's ``sync_feat`` (1, 8
    G, 768) is their rows in order. Raises ValueError for another type or size of the segments.
    """

    def __init__(self, config: SynchformerConfig | None = None) -> None:
        super().__init__()
        self.config = SynchformerConfig() if config is None else config
        self.vfeat_extractor = _MotionFormer(self.config)

    def forward(self, segments: Tensor) -> Tensor:
        c = self.config
        shape = (c.segment, c.image_size, c.image_size, 3)
        if segments.dtype != torch.uint8 or tuple(segments.shape[1:]) != shape:
            raise ValueError(
                f"Synchformer takes uint8 segments of shape (G, {', '.join(map(str, shape))}), RGB; got "
                f"{segments.dtype} {tuple(segments.shape)}. Resize and crop the frames, then gather them by "
                "segment_indices."
            )
        return self.vfeat_extractor(segments)
