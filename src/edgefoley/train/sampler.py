"""Sampling from a transformer in PyTorch, many examples at once: for teachers and for looking at a run.

The runtime's sampler is ``edgefoley.sampling``; this one works on batches and whole forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor

from edgefoley.models.transformer import Transformer

Velocity = Callable[[Tensor, Tensor], Tensor]


def grid(steps: int) -> list[float]:
    """Noise levels from 1 to 0, ``steps`` + 1 of them, evenly spaced."""
    return [1.0 - i / steps for i in range(steps + 1)]


def velocity_of(model: Transformer, batch: Mapping[str, Tensor], guidance: float, bf16: bool) -> Velocity:
    """The (guided) velocity (latents (B, D, L), sigma (B,)) -> (B, D, L) under a batch of ``Examples``.

    Guidance above 1 joins an unconditional pass without picture and event curve, whose words are
    ``batch["negative"]`` (1, T, D) with ``batch["negative_mask"]`` (1, T).
    """
    passes = passes_of(model, batch, guidance > 1, bf16)

    def velocity(latents: Tensor, sigma: Tensor) -> Tensor:
        with_words, without = passes(latents, sigma)
        return with_words if without is None else without + guidance * (with_words - without)

    return velocity


def passes_of(
    model: Transformer, batch: Mapping[str, Tensor], both: bool, bf16: bool
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]:
    """What ``velocity_of`` combines: (latents, sigma) -> the velocity with words, picture and events, and if
    ``both`` the one without (else None)."""
    see, timed = batch["flags"][:, 0, None, None], batch["flags"][:, 1, None, None]
    visual = see * batch["visual"] + (1 - see) * model.empty_clip_feat
    sync = timed * batch["sync"] + (1 - timed) * model.empty_sync_feat
    text, mask = batch["text"], batch["mask"]
    count = len(text)
    if both:
        width = max(text.shape[1], batch["negative"].shape[1])
        pad = lambda x, n: torch.nn.functional.pad(x, (0, 0, 0, n - x.shape[1]))  # noqa: E731
        pad_mask = lambda x, n: torch.nn.functional.pad(x, (0, n - x.shape[1]))  # noqa: E731
        text = torch.cat([pad(text, width), pad(batch["negative"], width).expand(count, -1, -1)])
        mask = torch.cat([pad_mask(mask, width), pad_mask(batch["negative_mask"], width).expand(count, -1)])
        visual = torch.cat([visual, model.empty_clip_feat.expand_as(visual)])
        sync = torch.cat([sync, model.empty_sync_feat.expand_as(sync)])

    def passes(latents: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        times = 2 if both else 1
        x, t = latents.repeat(times, 1, 1), 1000 * sigma.repeat(times)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            made = model(x, t, text, visual, sync, mask[:, None, None, :]).float()
        return (made[:count], made[count:]) if both else (made, None)

    return passes


@torch.no_grad()
def trajectory(velocity: Velocity, noise: Tensor, steps: int) -> list[Tensor]:
    """Latents at every level of ``grid(steps)`` by Euler's method, the noise first."""
    levels, states = grid(steps), [noise]
    for now, then in pairwise(levels):
        sigma = noise.new_full((len(noise),), now)
        states.append(states[-1] + (then - now) * velocity(states[-1], sigma))
    return states
