"""Made-up examples for tests of distillation: no codec, no text encoder, no lessons."""

from __future__ import annotations

import torch
from torch import Tensor

from edgefoley.errors import UsageError
from edgefoley.models.transformer import Transformer, TransformerConfig

TINY = TransformerConfig(
    hidden_size=32, num_heads=4, depth_triple_blocks=2, depth_single_blocks=2, mlp_ratio=2.0, latent_dim=6,
    patch_size=2, text_dim=16, visual_dim=16, sync_dim=4, sync_segment=1, mlp_multiple=8,
    single_kernel=1, shared_modulation=True, pooled_conditions=True,
)  # fmt: skip


def network(config: TransformerConfig = TINY, seed: int = 0) -> Transformer:
    """A network whose every part acts: nothing is at zero as training begins with."""
    torch.manual_seed(seed)
    made = Transformer(config)
    for name, value in made.named_parameters():
        if "offset" in name or "empty" in name or "pos_emb" in name:
            torch.nn.init.normal_(value, std=0.3)
    return made.eval().requires_grad_(False)


class MadeUp:
    """A source of ``count`` examples a batch whose latents hang on the words; half have a negative."""

    def __init__(self, config: TransformerConfig = TINY, count: int = 3, length: int = 20) -> None:
        self.config, self.count, self.length = config, count, length
        self.weights = torch.ones(config.latent_dim, 1)

    def train(self, step: int) -> dict[str, Tensor]:
        c, n = self.config, self.count
        g = torch.Generator().manual_seed(step)
        rows = lambda m, d: torch.randn(n, m, d, generator=g)  # noqa: E731
        text = rows(4, c.text_dim)
        sync = torch.zeros(n, self.length // 2, c.sync_dim)
        sync[:, 3, 0] = 1.0
        mask = torch.ones(n, 4, dtype=torch.bool)
        mask[0, 3:] = False
        latents = text[:, :1, : c.latent_dim].transpose(1, 2) + 0.3 * rows(c.latent_dim, self.length)
        return {
            "latents": latents, "text": text, "mask": mask, "visual": rows(2, c.visual_dim), "sync": sync,
            "flags": torch.tensor([[float(i % 2), 1.0] for i in range(n)]),
            "negative": rows(2, c.text_dim), "negative_mask": torch.ones(n, 2, dtype=torch.bool),
            "avoids": torch.arange(n) % 2 == 0,
            "blank": torch.zeros(1, 2, c.text_dim), "blank_mask": torch.tensor([[True, False]]),
        }  # fmt: skip

    def held_out(self, step: int) -> dict[str, Tensor]:
        return self.train(10**6 + 5 + step)

    def check(self, config: TransformerConfig) -> None:
        if config.latent_dim != self.config.latent_dim:
            raise UsageError("other latents")

    def decode(self, latents: Tensor) -> Tensor:
        """A sound whose loudness follows the first latent, 960 samples each."""
        tone = torch.sin(torch.arange(960) * 0.2)
        return (latents[:, :1].sigmoid()[..., None] * tone).flatten(2) * 0.3
