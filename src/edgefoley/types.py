"""The values that pass between the layers: frozen dataclasses, units stated per field.

Layer 0: standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

FrameRule = Literal["at_or_after", "at_or_before"]


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of one input or output of a graph.

    ``shape`` holds an int for a fixed axis and a string (the axis' name) for a free one; ``dtype`` is a numpy
    name.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str = "float32"


@dataclass(frozen=True)
class View:
    """How one encoder wants the frames: ``rate`` frames/s on the timeline, ``size`` pixels (height, width),
    ``pixel`` format. ``fit`` "squash": frames are brought to ``size`` without regard to their aspect ratio;
    "crop": scaled until they just cover it, then the middle is kept. ``interpolation`` of the scaling; both
    kinds widen their kernel where they shrink, so they do not alias."""

    rate: Fraction
    size: tuple[int, int]
    pixel: Literal["rgb", "gray"] = "rgb"
    rule: FrameRule = "at_or_before"
    fit: Literal["squash", "crop"] = "squash"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


@dataclass(frozen=True)
class FrameView:
    """Frames on one grid: ``frames`` (n, h, w) gray or (n, h, w, 3) RGB, uint8; ``ages`` (n,) seconds between
    the grid instant and the time stamp of the frame shown there (>= 0 under the rule "at_or_before")."""

    frames: ByteArray
    ages: FloatArray


@dataclass(frozen=True)
class VideoInfo:
    """What a container says about its first video stream. ``duration`` in seconds, ``frame_rate`` in frames/s
    (average), ``rotation`` in degrees clockwise to show it upright (0, 90, 180, 270), ``size`` upright pixels
    (width, height)."""

    path: Path
    duration: Fraction
    frame_rate: Fraction
    size: tuple[int, int]
    rotation: int
    video_codec: str
    audio_codec: str | None


@dataclass(frozen=True)
class Clip:
    """The excerpt to be sounded: ``start`` and ``duration`` in seconds, one ``FrameView`` per encoder
    name."""

    info: VideoInfo
    start: Fraction
    duration: Fraction
    views: Mapping[str, FrameView]


@dataclass(frozen=True)
class Conditioning:
    """What the encoders said about the clip. Every array has a leading batch axis of 1.

    ``text_feat`` and ``negative_text_feat`` (1, T, D_text); ``visual_feat`` (1, M, D_visual) and
    ``sync_feat`` (1, S, D_sync), or None for sound without a picture; ``event_logits`` (1, 2 S): onset logit
    on the 50 Hz grid. ``prompt`` and ``negative_prompt`` are the texts encoded (``suggested``: the prompt is
    what the picture suggests, since there was none), ``stages`` what encoding cost. ``cuts``: seconds at
    which new shots begin, looked for in clips longer than the model's window. ``timbres`` and
    ``negative_timbres``: the sounds of the bundle's table (``timbres.TimbreTable``) that the texts name.
    ``sync_always``: ``sync_feat`` is no condition of guidance, both passes have it. ``activity_told``
    (S,): at which frames its activity is what a person asked for.
    """

    duration: Fraction
    text_feat: FloatArray | None
    negative_text_feat: FloatArray | None
    visual_feat: FloatArray | None
    sync_feat: FloatArray | None
    event_logits: FloatArray | None = None
    prompt: str = ""
    negative_prompt: str = ""
    stages: tuple[Stage, ...] = ()
    cuts: tuple[Fraction, ...] = ()
    suggested: bool = False
    timbres: tuple[int, ...] = ()
    negative_timbres: tuple[int, ...] = ()
    sync_always: bool = False
    activity_told: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Step:
    """State after one solver step: ``index`` of ``total`` (1-based), ``sigma`` reached (1 noise, 0 data),
    ``latents`` (1, D, N), ``seconds`` the step took."""

    index: int
    total: int
    sigma: float
    latents: FloatArray
    seconds: float


@dataclass(frozen=True)
class Audio:
    """Mono or multi-channel sound: ``samples`` float32 (n,) or (channels, n), full scale 1.0; ``rate`` in
    Hz."""

    samples: FloatArray
    rate: int

    @property
    def seconds(self) -> float:
        return self.samples.shape[-1] / self.rate


@dataclass(frozen=True)
class Stage:
    """One stage of a run: wall ``seconds`` and ``peak_rss_mb`` (10^6 bytes, of the process, up to its
    end)."""

    name: str
    seconds: float
    peak_rss_mb: float


@dataclass(frozen=True)
class Stats:
    """Costs of one run. ``rtf`` = seconds of work per second of sound (lower is better)."""

    stages: tuple[Stage, ...]
    audio_seconds: float

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def rtf(self) -> float:
        return self.seconds / self.audio_seconds if self.audio_seconds else float("nan")

    @property
    def peak_rss_mb(self) -> float:
        return max((stage.peak_rss_mb for stage in self.stages), default=float("nan"))


@dataclass(frozen=True)
class Foley:
    """One take: the sound and how it was made. ``suggested``: the picture suggested the prompt."""

    audio: Audio
    stats: Stats
    model: str
    prompt: str
    negative_prompt: str
    seed: int
    num_steps: int
    guidance_scale: float
    backend: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    suggested: bool = False
