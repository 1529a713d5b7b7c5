"""SigLIP2's vision tower: what a picture shows, one row of 768 per frame (HunyuanVideo-Foley's image
encoder).

Tschannen et al. 2025, "SigLIP 2", arXiv 2502.14786, the fixed-size variant
``google/siglip2-base-patch16-512`` (Apache-2.0): a ViT (Dosovitskiy et al. 2020, arXiv 2010.11929) with
normalisation first and without class token; at its end a learned probe attends to all patches, and that row
after an MLP is the answer. The reference takes it as it is (``get_image_features``), without dividing by
its length.

What the picture must be (the reference's preprocessing): 8 frames/s; squashed to 512 x 512 (bilinear,
antialiased as in PIL, rounded to 8 bits; the aspect ratio is not kept), scaled to -1..1 (here inside the
network).

State-dict keys are the published ones (``vision_model.…``). The published file also holds the text tower,
three quarters of it: see ``unused_keys``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgefoley.models.layers import Mlp, attention
from edgefoley.models.vit import PatchEmbedding, PooledAttention, split_heads

# `position_ids` counts from 0 and is stored by some versions of the library that wrote the file.
_UNUSED = ("text_model.", "logit_scale", "logit_bias", "vision_model.embeddings.position_ids")
NORM_EPS = 1e-6


@dataclass(frozen=True)
class SiglipConfig:
    """Sizes; the defaults are those of ``siglip2-base-patch16-512``. ``image_size`` and ``patch`` in
    pixels."""

    image_size: int = 512
    patch: int = 16
    width: int = 768
    heads: int = 12
    depth: int = 12
    mlp_width: int = 3072

    @property
    def places(self) -> int:
        """Patches of a picture."""
        return (self.image_size // self.patch) ** 2


def unused_keys(keys: Iterable[str]) -> list[str]:
    """Those of a published state dict's ``keys`` that the vision tower has no use for."""
    return [key for key in keys if key.startswith(_UNUSED)]


class _Embeddings(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.patch_embedding = PatchEmbedding(config.width, (1, config.patch, config.patch), flat=True)
        self.position_embedding = nn.Embedding(config.places, config.width)

    def forward(self, frames: Tensor) -> Tensor:
        return self.patch_embedding(frames[:, None]) + self.position_embedding.weight


class _Attention(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(config.width, config.width) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part(x), 1, self.heads)[0] for part in (self.q_proj, self.k_proj, self.v_proj))
        return self.out_proj(attention(q, k, v))


class _Layer(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = (nn.LayerNorm(config.width, eps=NORM_EPS) for _ in range(2))
        self.self_attn = _Attention(config)
        self.mlp = Mlp(config.width, config.mlp_width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class _Encoder(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.depth))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class _Head(nn.Module):
    """The probe's attention to all patches, then a residual MLP; (B, n, width) -> (B, width)."""

    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, config.width))
        self.attention = PooledAttention(config.width, config.heads)
        self.layernorm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.mlp = Mlp(config.width, config.mlp_width)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.attention(self.probe.expand(x.shape[0], -1, -1), x)[:, 0]
        return pooled + self.mlp(self.layernorm(pooled))


class _VisionModel(nn.Module):
    def __init__(self, config: SiglipConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.head = _Head(config)

    def forward(self, frames: Tensor) -> Tensor:
        return self.head(self.post_layernorm(self.encoder(self.embeddings(frames))))


class SiglipVision(nn.Module):
    """frames (M, 512, 512, 3) uint8 RGB -> visual_feat (M, 768), one row per frame.

    Frames do not see one another, so they may be worked off in any batches. Raises ValueError for another
    type or size of the frames.
    """

    def __init__(self, config: SiglipConfig | None = None) -> None:
        super().__init__()
        self.config = SiglipConfig() if config is None else config
        self.vision_model = _VisionModel(self.config)

    def forward(self, frames: Tensor) -> Tensor:
        size = self.config.image_size
        if frames.dtype != torch.uint8 or tuple(frames.shape[1:]) != (size, size, 3):
            raise ValueError(
                f"SigLIP2 takes uint8 frames of shape (M, {size}, {size}, 3), RGB; got {frames.dtype} "
                f"{tuple(frames.shape)}. Scale the frames first."
            )
        return self.vision_model(frames)
