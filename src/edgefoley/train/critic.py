"""Tells a student's final latents from its teacher's: what regression cannot ask for.

A regression is content with the mean of what it cannot tell, and the mean of many textures is smooth. The
critic looks at short stretches of latents, with the words and the events that they were made for, and learns
to say whose they are (hinge loss; Lim and Ye 2017, arXiv 1705.02894). The student is then moved towards what
passes for the teacher's. It is smooth around what it believes in (its answer may not change much under a
little noise, the approximated gradient penalty of Lin et al. 2025, arXiv 2501.08316), or it would win in a
few dozen steps and teach nothing.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.models.transformer import TransformerConfig
from edgefoley.train.teachers import Batch

WIDTH: Final = 96
KERNEL: Final = 5
EVENT_CHANNELS: Final = 2  # of an event curve: half a frame each, so that every latent has one of its own
NOISE, SMOOTHNESS = 0.1, 5.0


class Critic(nn.Module):
    """Latents (B, D, L) with their batch -> one score per fourth latent (B, L / 4): above 0 the teacher's."""

    def __init__(self, config: TransformerConfig, width: int = WIDTH) -> None:
        super().__init__()
        # Other models have no event curve but features, which a critic of this size would not read.
        self.events = config.sync_dim == 2 * EVENT_CHANNELS
        conv = lambda n, stride: nn.Conv1d(n, width, KERNEL, stride, KERNEL // 2)  # noqa: E731
        self.near = conv(config.latent_dim + self.events, 1)
        self.further = nn.ModuleList([conv(width, 2), conv(width, 2)])
        self.words = nn.Linear(config.text_dim, width)
        self.score = nn.Conv1d(width, 1, 1)

    def forward(self, latents: Tensor, batch: Batch) -> Tensor:
        seen = [latents]
        if self.events:
            curve = batch["sync"][..., :EVENT_CHANNELS].flatten(1) * batch["flags"][:, 1:]
            seen.append(F.interpolate(curve[:, None], latents.shape[-1]))
        x = F.leaky_relu(self.near(torch.cat(seen, 1)), 0.2) + self.words(batch["text"][:, 0])[..., None]
        for layer in self.further:
            x = F.leaky_relu(layer(x), 0.2)
        made: Tensor = self.score(x)[:, 0]
        return made


def critic_loss(critic: Critic, made: Tensor, true: Tensor, noise: Tensor, batch: Batch) -> Tensor:
    """What the critic minimises: hinge loss on the student's ``made`` and the teacher's ``true`` latents, and
    its change under ``noise``, standard normal like the latents."""
    false, right = critic(made.detach(), batch), critic(true, batch)
    shaken = critic(true + NOISE * noise, batch)
    hinge = F.relu(1 + false).mean() + F.relu(1 - right).mean()
    return hinge + SMOOTHNESS * (shaken - right).square().mean()


def passing_loss(critic: Critic, made: Tensor, batch: Batch) -> Tensor:
    """What the student minimises: minus the score of its latents. The critic itself is left as it is."""
    fixed = {name: value.detach() for name, value in critic.named_parameters()}
    score: Tensor = torch.func.functional_call(critic, fixed, (made, batch))
    return -score.mean()
