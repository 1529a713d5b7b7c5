"""Attacks: where in a latent's 20 ms the sound sets in, and how far above what was there before.

Frames of 27 ms cannot say where inside them a click lies; its energy would be spread 20 ms ahead of it. Each
latent therefore carries its strongest attack as three numbers: the square root of its depth, and that times
the cosine and the sine of its place. A place on a circle is gentle to a generator: an error of a tenth moves
the attack by a millisecond or two, and where there is no attack all three are zero. The root keeps rare deep
attacks within a few deviations, and squares a generator's small errors away. The decoder closes a gate ahead
of the place. (Herre and Johnston's temporal noise shaping, 1996, and AAC's gain control serve the same end.)

Left out: a second attack in the same 20 ms, which the gate of the first does not touch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class AttackConfig:
    """``step`` samples between possible places; ``reach`` steps that an attack must tower over and that its
    gate closes; ``least`` and ``most`` depth (natural logarithm of power) that count; ``turn`` the part of a
    circle that one latent's places take: less than the whole, so that its two ends stay apart; ``scale`` of
    the three numbers beside log band powers, for whoever weighs them together."""

    step: int = 16
    reach: int = 72
    least: float = 3.0
    most: float = 11.0
    turn: float = 0.75
    scale: float = 10.0
    floor: float = 1e-8

    def places(self, hop: int) -> Tensor:
        """Angle (hop / step,) of each place in a latent."""
        count = hop // self.step
        return (torch.arange(count) + 0.5) * (2 * math.pi * self.turn / count)


def attacks(wave: Tensor, hop: int, config: AttackConfig) -> Tensor:
    """Wave (B, hop n) -> (B, n, 3): r, r x cosine and r x sine of the strongest attack's place.

    r is ``scale`` times the root of its depth: the logarithm, less ``least``, of the power of the next 2 ms,
    the first steps weighing most, over the strongest 2 ms of the ``reach`` before. A steady
    tone or noise, and pulses more than 42 times a second, have none.
    """
    c = config
    power = wave.square().unflatten(1, (-1, c.step)).mean(-1)[:, None] + c.floor
    weight = torch.exp(-torch.arange(6, device=wave.device) / 2)
    after = F.conv1d(F.pad(power, (0, 5), value=c.floor), (weight / weight.sum())[None, None])
    recent = F.avg_pool1d(F.pad(power, (5, 0), value=c.floor), 6, 1)
    before = F.max_pool1d(F.pad(recent, (c.reach - 5, 0), value=c.floor), c.reach - 5, 1)[..., :-1]
    rise = (after / before).log()
    ahead = F.max_pool1d(F.pad(rise, (0, 5)), 6, 1)  # a place that merely foresees a steeper one is none
    rise = torch.where(rise >= ahead, rise, torch.zeros_like(rise))[:, 0]
    rise, place = rise.unflatten(1, (-1, hop // c.step)).max(-1)
    root = (rise - c.least).clamp(0, c.most).sqrt() * c.scale
    angle = c.places(hop).to(wave.device)[place]
    return torch.stack([root, root * angle.cos(), root * angle.sin()], dim=-1)


def _places(found: Tensor, hop: int, config: AttackConfig) -> Tensor:
    """How surely the attack is at each place (B, n, hop / step), one in all; anything where there is none."""
    angle = config.places(hop).to(found.device)
    direction = found[..., 1:] * torch.rsqrt(found[..., 1:].square().sum(-1, keepdim=True) + 1e-6)
    nearness = direction[..., :1] * angle.cos() + direction[..., 1:] * angle.sin()
    return (3000 * nearness).softmax(-1)


def gate(found: Tensor, hop: int, config: AttackConfig) -> Tensor:
    """Gain (B, hop n), 1 or less: closed by an attack's depth and a little more for ``reach`` before it."""
    c = config
    count, steps = found.shape[1], hop // c.step
    numbers = torch.arange(-2 * steps, steps, dtype=found.dtype, device=found.device)
    ahead = _places(found, hop, c) @ numbers[2 * steps :, None] - numbers
    closed = ahead.clamp(0, 1) * ((c.reach - ahead) / 6).clamp(0, 1)
    closed = 1.15 * (found[..., :1] / c.scale).clamp(min=0).square() * closed
    parts = F.pad(closed, (0, 0, 0, 2)).unflatten(2, (3, steps))
    total = (parts[:, :count, 2] + parts[:, 1 : count + 1, 1] + parts[:, 2:, 0]).flatten(1)[..., None]
    after = torch.cat([total[:, 1:], total[:, -1:]], dim=1)
    within = torch.arange(c.step, dtype=found.dtype, device=found.device) / c.step
    return (-0.5 * (total + (after - total) * within)).exp().flatten(1)


def impulses(found: Tensor, hop: int, config: AttackConfig) -> Tensor:
    """One impulse in the middle of each attack's place (B, hop n): 1 from a depth of 4 on.

    Added to the noise that sounds begin as, it makes a click of what would be 5 ms of noise; a burst of noise
    stays one, for only the first of its frames is touched.
    """
    height = (found[..., :1] / (2 * config.scale)).clamp(0, 1)
    middle = config.step // 2
    rows = (_places(found, hop, config) * height)[..., None]
    return F.pad(rows, (middle, config.step - 1 - middle)).flatten(1)
