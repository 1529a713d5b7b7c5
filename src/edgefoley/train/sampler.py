"""Sampling from a transformer in PyTorch, many examples at once: for teachers and for looking at a run.

The runtime's sampler is ``edgefoley.sampling``; this one works on batches and whole forward passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

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
    passes = passes_of(model, batch, ("all", "none") if guidance > 1 else ("all",), bf16)

    def velocity(latents: Tensor, sigma: Tensor) -> Tensor:
        with_words, *without = passes(latents, sigma)
        return with_words if not without else without[0] + guidance * (with_words - without[0])

    return velocity


def passes_of(
    model: Transformer, batch: Mapping[str, Tensor], branches: Sequence[str], bf16: bool
) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    """(latents, sigma) -> the velocity of each of ``branches``, computed together: "all" conditions; "timed",
    the negative words and the event curve; "none", the negative words alone."""
    see, timed = batch["flags"][:, 0, None, None], batch["flags"][:, 1, None, None]
    visual = see * batch["visual"] + (1 - see) * model.empty_clip_feat
    sync = timed * batch["sync"] + (1 - timed) * model.empty_sync_feat
    text, mask, count = batch["text"], batch["mask"], len(batch["text"])
    negatives = any(branch != "all" for branch in branches)
    width = max(text.shape[1], batch["negative"].shape[1]) if negatives else text.shape[1]

    def rows(x: Tensor) -> Tensor:
        padded = functional.pad(x, (0, 0) * (x.ndim - 2) + (0, width - x.shape[1]))
        return padded.expand(count, *padded.shape[1:])

    texts = [rows(batch["text" if branch == "all" else "negative"]) for branch in branches]
    masks = [rows(batch["mask" if branch == "all" else "negative_mask"]) for branch in branches]
    visuals = [visual if branch == "all" else model.empty_clip_feat.expand_as(visual) for branch in branches]
    syncs = [model.empty_sync_feat.expand_as(sync) if branch == "none" else sync for branch in branches]
    text, mask, visual, sync = (torch.cat(parts) for parts in (texts, masks, visuals, syncs))

    def passes(latents: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
        x, t = latents.repeat(len(branches), 1, 1), 1000 * sigma.repeat(len(branches))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            made = model(x, t, text, visual, sync, mask[:, None, None, :]).float()
        return made.chunk(len(branches))

    return passes


@torch.no_grad()
def trajectory(velocity: Velocity, noise: Tensor, steps: int) -> list[Tensor]:
    """Latents at every level of ``grid(steps)`` by Euler's method, the noise first."""
    levels, states = grid(steps), [noise]
    for now, then in pairwise(levels):
        sigma = noise.new_full((len(noise),), now)
        states.append(states[-1] + (then - now) * velocity(states[-1], sigma))
    return states
