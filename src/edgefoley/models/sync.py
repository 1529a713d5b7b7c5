"""Sync encoder: when things happen in a silent picture, from gray frames at 25 per second and their ages.

Per frame a small convolutional stem sees three pictures: the frame at its own contrast, its difference to
the newest *different* frame, and that difference as it was at the different frame. Repeats (a 15 fps clip on
a 25 fps grid) would give differences of zero; the age of a frame says how many grid places it has been
shown, so the place of the different frame is known exactly: k - floor(25 * age) - 1. Motion is then followed
through time at 14x14 and three times at 7x7 places, over 1, 2 and 4 frames, since at 12 frames/s neighbours
on the grid are often the same picture (a contact is a reversal at one place, which a pooled vector would
blur), and by a dilated temporal stack on the pooled vector. What is pooled over the places by their maximum
does not care where something happens.

Optionally (`located`) each of the 7x7 places also says by itself whether something happens there. It can be
taught where a contact is, and what it learns of one place holds for every other; the largest of these logits
is added to the pooled vector's.

Only convolutions, ReLU, batch norm (folds at export), additions, max and gathers: everything exports to ONNX
and quantises to INT8. Left out: attention (long clips would need windows) and recurrence (slow to train on a
CPU).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class SyncConfig:
    """Sizes of a sync encoder. `rate` grid frames per second, `size` pixels of the square frame (a multiple
    of 16); `stem` channels at 1/4, 1/8 and 1/16 of the size; `early` mixings with the neighbouring frames at
    1/8; `reach` in frames of each mixing at 1/16; `squeeze` channels kept at every place, `expand` channels
    pooled over all places; `located`: places have event logits of their own; `width` of sync_feat;
    `dilations` of the temporal stack (kernel 3); `max_lag` grid places that a repeated frame may look back
    for a different one; without `told_ages` every frame counts as new at its place of the grid (an
    ablation).
    """

    rate: int = 25
    size: int = 112
    stem: tuple[int, int, int] = (24, 40, 64)
    early: int = 1
    reach: tuple[int, ...] = (1, 2, 4)
    squeeze: int = 16
    expand: int = 128
    width: int = 128
    located: bool = False
    dilations: tuple[int, ...] = (1, 2, 3, 4)
    max_lag: int = 5
    told_ages: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SyncConfig:
        """Inverse of to_json. Raises TypeError on unknown keys."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**fields)


def _conv(inner: int, outer: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, padding, bias=False), nn.BatchNorm2d(outer), nn.ReLU()
    )


class _Neighbours(nn.Module):
    """Mixes each place of a map with the same place `reach` frames earlier and later (a 3x1x1 convolution),
    residual.
    """

    def __init__(self, channels: int, reach: int = 1) -> None:
        super().__init__()
        self.reach = reach
        norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(norm.weight)  # begins as the identity
        self.mix = nn.Sequential(nn.Conv2d(3 * channels, channels, 1, bias=False), norm)

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """x (B*S, C, h, w) -> the same shape."""
        clips = x.unflatten(0, (batch, -1))
        k, count = self.reach, clips.shape[1]
        padded = functional.pad(clips, (0, 0, 0, 0, 0, 0, k, k))
        before, after = padded[:, :count], padded[:, 2 * k : 2 * k + count]
        return torch.relu(x + self.mix(torch.cat([before, clips, after], 2).flatten(0, 1)))


def repeats(ages: Tensor, rate: int) -> Tensor:
    """How many grid places before each one its frame was shown first, as floats; ages in seconds."""
    return torch.floor(ages * rate + 0.01)


class _Temporal(nn.Module):
    """One residual block of the temporal stack: dilated convolution of 3 taps, ReLU, 1x1."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation)
        self.point = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, width, S) -> the same shape."""
        return x + self.point(torch.relu(self.wide(x)))


class SyncEncoder(nn.Module):
    """frames (B, S, size, size) uint8 0..255 or float 0..1, ages (B, S) s -> sync_feat (B, S, width),
    event_logits (B, 2S).

    event_logits[:, j] is the logit that a sound begins at j / (2 * rate) seconds. Works on a clip of any
    length; a chunk gives exactly the whole clip's values wherever `context_frames` of the clip are present
    before (and `lookahead_frames` after) it.
    """

    def __init__(self, config: SyncConfig | None = None) -> None:
        super().__init__()
        self.config = c = SyncConfig() if config is None else config
        if c.size % 16:
            raise ValueError(f"size must be a multiple of 16, got {c.size}")
        a, b, d = c.stem
        self.stem = nn.Sequential(
            _conv(3, a, 6, 4, 1), _conv(a, b, 3, 2, 1), _conv(b, b, 3, 1, 1), _conv(b, d, 3, 2, 1)
        )
        self.early = nn.ModuleList(_Neighbours(b) for _ in range(c.early))
        self.mid = _conv(d, d, 3, 1, 1)
        self.near = nn.ModuleList(_Neighbours(d, reach) for reach in c.reach)
        self.squeeze = _conv(d, c.squeeze, 1)
        self.expand = _conv(d, c.expand, 1)
        self.join = nn.Linear(c.squeeze * (c.size // 16) ** 2 + d + 2 + c.expand, c.width)
        self.temporal = nn.Sequential(*[_Temporal(c.width, k) for k in c.dilations])
        self.out = nn.Linear(c.width, c.width)
        self.events = nn.Linear(c.width, 2)
        nn.init.constant_(self.events.bias, 0.0 if c.located else -2.0)  # events are rare
        self.where = nn.Conv2d(d, 2, 1) if c.located else None
        if self.where is not None:  # almost nowhere, almost never
            self.where.register_parameter("bias", nn.Parameter(torch.full((2,), -4.0)))

    @property
    def lookahead_frames(self) -> int:
        """Later frames on which a frame's outputs depend."""
        return self.config.early + sum(self.config.reach) + sum(self.config.dilations)

    @property
    def context_frames(self) -> int:
        """Earlier frames on which a frame's outputs depend (never fewer than the later ones)."""
        return self.lookahead_frames + 2 * self.config.max_lag

    def pictures(
        self, frames: Tensor, ages: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Inputs of the stem (B*S, 3, size, size), within -1..1, and per-frame clocks (B, S, 2)."""
        batch, count = ages.shape
        if not self.config.told_ages:
            ages = torch.zeros_like(ages)
        x = frames.to(dtype) if frames.dtype == torch.uint8 else (frames * 255.0).to(dtype)
        x = x.flatten(0, 1).unsqueeze(
            1
        )  # 0..255: whole numbers and their differences are exact in bfloat16 too
        places = torch.arange(count, device=ages.device).unsqueeze(0)
        shown = repeats(ages, self.config.rate).clamp(0, self.config.max_lag - 1).long()
        before = (places - shown - 1).clamp(min=0)
        start = torch.arange(batch, device=ages.device).unsqueeze(1) * count
        first = (before + start).flatten()
        few = x[:, :, ::4, ::4].float()  # one pixel in sixteen is enough for level and contrast
        mean = few.mean((2, 3), keepdim=True)
        contrast = (few - mean).square().mean((2, 3), keepdim=True).sqrt() + 12.0
        change = x - x.index_select(0, first)
        change = change / (
            change.abs() + (0.2 * contrast).to(dtype)
        )  # small motions count nearly like large ones
        level = (x * (0.4 / contrast).to(dtype) - (mean * 0.4 / contrast).to(dtype)).clamp(-1.0, 1.0)
        previous = ages.flatten().index_select(0, first).view_as(ages)
        gap = (places - before).float() / self.config.rate - ages + previous
        clocks = torch.stack([ages * 5.0, gap.clamp(0.0, 0.4) * 5.0], 2).clamp(0.0, 2.0)
        return torch.cat([level, change, change.index_select(0, first)], 1), clocks

    @torch.no_grad()
    def training_pictures(self, frames: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        """`pictures` clip by clip (a whole batch overflows the caches), channels last, in autocast's type."""
        device = ages.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
        batch, count, height, width = frames.shape
        out = torch.empty(batch, count, height, width, 3, dtype=dtype, device=ages.device)
        clocks = []
        for i in range(batch):
            clip, clock = self.pictures(frames[i : i + 1], ages[i : i + 1], dtype)
            out[i] = clip.permute(0, 2, 3, 1)
            clocks.append(clock)
        return out.flatten(0, 1).permute(0, 3, 1, 2), torch.cat(clocks)

    def forward(self, frames: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        """See the class. Returns (sync_feat, event_logits)."""
        return self.results(*(self.training_pictures if self.training else self.pictures)(frames, ages))[:2]

    def results(self, x: Tensor, clocks: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """What ``pictures`` returns -> sync_feat (B, S, width), event_logits (B, 2S), and the logits of every
        place (B, 2S, size/16, size/16), None unless the configuration is ``located``."""
        batch = clocks.shape[0]
        for i, layer in enumerate(self.stem):
            x = layer(x)
            if i == 2:  # the last layer at 1/8 of the size
                for early in self.early:
                    x = early(x, batch)
        for i, near in enumerate(self.near):
            x = near(x, batch)
            if i == 0:
                x = self.mid(x)
        pooled = self.expand(x).amax((2, 3))
        joined = torch.cat([self.squeeze(x).flatten(1), x.amax((2, 3)), clocks.flatten(0, 1), pooled], 1)
        feat = torch.relu(self.join(joined)).unflatten(0, (batch, -1))
        feat = self.out(torch.relu(self.temporal(feat.transpose(1, 2)).transpose(1, 2)))
        logits = self.events(torch.relu(feat)).flatten(1)
        if self.where is None:
            return feat, logits, None
        where = self.where(x).unflatten(0, (batch, -1)).flatten(1, 2)
        return feat, logits + where.amax((2, 3)), where

    def flops_per_frame(self) -> int:
        """Multiplications and additions (2 per multiply-accumulate) of every convolution and matrix for one
        frame.
        """
        c, (a, b, d) = self.config, self.config.stem
        p4, p8, p16 = ((c.size // k) ** 2 for k in (4, 8, 16))
        macs = (
            p4 * 108 * a
            + p8 * 9 * b * (a + b)
            + p16 * 9 * d * (b + d)
            + p8 * c.early * 3 * b * b
            + len(c.reach) * p16 * 3 * d * d
            + p16 * d * (c.squeeze + c.expand)
        )
        macs += p16 * d * 2 * c.located
        macs += self.join.in_features * c.width + len(c.dilations) * 4 * c.width**2 + c.width**2 + 2 * c.width
        return 2 * macs
