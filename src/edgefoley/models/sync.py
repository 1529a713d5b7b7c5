"""Sync encoder: when things happen in a silent picture, from gray frames at 25 per second and their ages.

Per frame a small convolutional stem sees three pictures: the frame at its own contrast, its difference to
the newest *different* frame, and that difference as it was at the different frame. Repeats (a 15 fps clip on
a 25 fps grid) would give differences of zero; the age of a frame says how many grid places it has been
shown, so the place of the different frame is known exactly: k - floor(25 * age) - 1. Motion is then followed
through time twice at 7x7 places (a contact is a reversal at one place, which a pooled vector would blur) and
by a dilated temporal stack on the pooled vector.

Only convolutions, ReLU, batch norm (folds at export), additions, max and gathers: everything exports to ONNX
and quantises to INT8. Left out: attention (long clips would need windows) and recurrence (slow to train on a
CPU).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SyncConfig:
    """Sizes of a sync encoder. `rate` grid frames per second, `size` pixels of the square frame (a multiple
    of 16); `stem` channels at 1/4, 1/8 and 1/16 of the size; `width` of sync_feat; `dilations` of the
    temporal stack (kernel 3); `max_lag` grid places that a repeated frame may look back for a different
    one.
    """

    rate: int = 25
    size: int = 112
    stem: tuple[int, int, int] = (24, 40, 64)
    squeeze: int = 16
    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 3, 4)
    max_lag: int = 5

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
    """Mixes each place of a map with the same place one frame earlier and later (a 3x1x1 convolution),
    residual.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(3 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """x (B*S, C, h, w) -> the same shape."""
        clips = x.unflatten(0, (batch, -1))
        blank = torch.zeros_like(clips[:, :1])
        before, after = torch.cat([blank, clips[:, :-1]], 1), torch.cat([clips[:, 1:], blank], 1)
        return torch.relu(x + self.mix(torch.cat([before, clips, after], 2).flatten(0, 1)))


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
        self.near1, self.mid, self.near2 = _Neighbours(d), _conv(d, d, 3, 1, 1), _Neighbours(d)
        self.squeeze = _conv(d, c.squeeze, 1)
        self.join = nn.Linear(c.squeeze * (c.size // 16) ** 2 + d + 2, c.width)
        self.temporal = nn.Sequential(*[_Temporal(c.width, k) for k in c.dilations])
        self.out = nn.Linear(c.width, c.width)
        self.events = nn.Linear(c.width, 2)
        nn.init.constant_(self.events.bias, -2.0)  # events are rare

    @property
    def lookahead_frames(self) -> int:
        """Later frames on which a frame's outputs depend."""
        return 2 + sum(self.config.dilations)

    @property
    def context_frames(self) -> int:
        """Earlier frames on which a frame's outputs depend (never fewer than the later ones)."""
        return self.lookahead_frames + 2 * self.config.max_lag

    def pictures(
        self, frames: Tensor, ages: Tensor, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """Inputs of the stem (B*S, 3, size, size), within -1..1, and per-frame clocks (B, S, 2)."""
        batch, count = ages.shape
        x = frames.to(dtype) if frames.dtype == torch.uint8 else (frames * 255.0).to(dtype)
        x = x.flatten(0, 1).unsqueeze(
            1
        )  # 0..255: whole numbers and their differences are exact in bfloat16 too
        places = torch.arange(count, device=ages.device).unsqueeze(0)
        shown = torch.floor(ages * self.config.rate + 0.01).clamp(0, self.config.max_lag - 1).long()
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
    def _training_pictures(self, frames: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
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
        batch = ages.shape[0]
        x, clocks = (self._training_pictures if self.training else self.pictures)(frames, ages)
        x = self.near2(self.mid(self.near1(self.stem(x), batch)), batch)
        joined = torch.cat([self.squeeze(x).flatten(1), x.amax((2, 3)), clocks.flatten(0, 1)], 1)
        feat = torch.relu(self.join(joined)).unflatten(0, (batch, -1))
        feat = self.out(torch.relu(self.temporal(feat.transpose(1, 2)).transpose(1, 2)))
        return feat, self.events(torch.relu(feat)).flatten(1)

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
            + 2 * p16 * 3 * d * d
            + p16 * d * c.squeeze
        )
        macs += self.join.in_features * c.width + len(c.dilations) * 4 * c.width**2 + c.width**2 + 2 * c.width
        return 2 * macs
