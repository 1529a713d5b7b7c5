"""From values to scale and zero point: observers, and the grids that ONNX's QuantizeLinear defines.

    y = saturate(round_half_to_even(x / scale) + zero_point),   x ~ (y - zero_point) scale

An ``Observer`` sees arrays one after the other and says which range [low, high] to represent:

    minmax       everything seen
    moving       mean of the arrays' ranges, in which each new array counts ``1 - MOMENTUM``
    percentile   all but the outermost values: percent 100 - p to p, or p of the magnitudes (symmetric)
    mse          the share of the full range with the least squared rounding and clipping error
    entropy      the share of the full range whose rounded histogram has the least Kullback-Leibler divergence
                 from the values' own (clipped values counted at the ends)

Granularity names the axes that keep a range of their own: none (per tensor), one (per channel), all but the
last (per token). All methods know all of them. percentile, mse and entropy work on histograms, so that memory
does not grow with what is seen; a histogram's range doubles when a value falls outside, and two bins become
one, so that nothing is counted twice or moved.

Zero is always represented exactly (padding and masks need it). A range of zero width (a constant zero) has
scale 1; another constant is exact at an end of the grid. NaN, infinity and emptiness raise QuantError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from edgefoley.errors import EdgeFoleyError

Method = Literal["minmax", "moving", "percentile", "mse", "entropy"]
METHODS: Final[tuple[Method, ...]] = get_args(Method)
Granularity = Literal["per_tensor", "per_channel", "per_token"]
GRANULARITIES: Final[tuple[Granularity, ...]] = get_args(Granularity)
Float64 = npt.NDArray[np.float64]

# Type -> smallest and largest number; what symmetric grids use; both with one bit less.
LIMITS: Final = {"uint8": (0, 255), "int8": (-128, 127), "uint4": (0, 15), "int4": (-8, 7)}
SYMMETRIC: Final = {"uint8": (1, 255), "int8": (-127, 127), "uint4": (1, 15), "int4": (-7, 7)}
# 255 * 64 * 2 is the largest sum of two products that fits 16 bits: what AVX2's kernel adds before widening.
REDUCED: Final = {"uint8": (0, 127), "int8": (-64, 64)}

MOMENTUM: Final = 0.9
BINS, ROW_BINS = 8192, 2048  # of one histogram, of each of many
SHARES: Final = np.linspace(0.02, 1.0, 99)  # of the full range that mse and entropy try
_TINY: Final = float(np.finfo(np.float32).tiny)


class QuantError(EdgeFoleyError):
    """What was to be quantised, or the recipe or calibration for it, does not allow it."""


@dataclass(frozen=True)
class Range:
    """``low`` <= 0 <= ``high`` (R,) of each kept index, float64; R = 1 per tensor."""

    low: Float64
    high: Float64


@dataclass(frozen=True)
class Grid:
    """``scale`` (R,) float32 > 0 and ``zero_point`` (R,) of numbers from ``smallest`` to ``largest`` of type
    ``kind`` ("uint8", "int8", "uint4", "int4"). ``axis``: the one that the R ranges belong to; None: R is 1;
    "token": all axes but the last."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int32]
    kind: str
    smallest: int
    largest: int
    axis: int | Literal["token"] | None = None

    def _shaped(self, rank: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.axis is None:
            return (1,) * rank
        if self.axis == "token":
            return (*shape[:-1], 1)
        return tuple(-1 if i == self.axis % rank else 1 for i in range(rank))

    def quantise(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
        """Numbers of the grid, as QuantizeLinear gives them in float32."""
        form = self._shaped(x.ndim, x.shape)
        steps = np.rint(x.astype(np.float32, copy=False) / self.scale.reshape(form))
        steps += self.zero_point.reshape(form)
        return np.clip(steps, self.smallest, self.largest).astype(np.int32)

    def dequantise(self, y: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Values of numbers, as DequantizeLinear gives them."""
        form = self._shaped(y.ndim, y.shape)
        away = (y.astype(np.int32) - self.zero_point.reshape(form)).astype(np.float32)
        return np.asarray(away * self.scale.reshape(form), dtype=np.float32)

    def rounded(self, x: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
        """Values after a way through the grid."""
        return self.dequantise(self.quantise(x))


def make_grid(
    span: Range,
    kind: str,
    symmetric: bool,
    reduce_range: bool = False,
    axis: int | Literal["token"] | None = None,
) -> Grid:
    """Scale and zero point for a range, by ONNX's definition (DynamicQuantizeLinear's for affine grids).

    Symmetric grids have zero in the middle (128 for uint8, else 0) and as many steps below as above.
    ``reduce_range`` leaves one bit out. Raises QuantError for an unknown type.
    """
    table = REDUCED if reduce_range else SYMMETRIC if symmetric else LIMITS
    if kind not in table:
        raise QuantError(
            f"no grid of {kind!r}{' with one bit less' * reduce_range}; known: {', '.join(table)}."
        )
    smallest, largest = table[kind]
    low, high = np.minimum(span.low, 0.0), np.maximum(span.high, 0.0)
    if symmetric:
        middle = (smallest + largest + 1) // 2 if smallest >= 0 else 0
        scale = np.maximum(-low, high) / (largest - middle)
        zero = np.full(scale.shape, middle)
    else:
        scale = (high - low) / (largest - smallest)
    # A scale that underflows float32 would divide by zero; such values are as good as zero.
    scale32 = np.where(scale > _TINY, scale, 1.0).astype(np.float32)
    if not symmetric:
        zero = np.clip(np.rint(smallest - low / scale32.astype(np.float64)), smallest, largest)
    return Grid(scale32, zero.astype(np.int32), kind, smallest, largest, axis)


def rows_of(x: npt.NDArray[np.floating], granularity: Granularity, axis: int = -1) -> Float64:
    """(R, values): one row for each range that ``granularity`` keeps. ``axis``: the channels'."""
    if granularity == "per_tensor":
        return x.reshape(1, -1).astype(np.float64)
    if granularity == "per_token":
        return x.reshape(-1, x.shape[-1]).astype(np.float64)
    return np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1).astype(np.float64)


class Observer:
    """See the module. ``kind`` and ``symmetric``: the grid that mse and entropy optimise. ``percentile`` in
    percent, above 50 up to 100. ``axis``: the channels' for per_channel. Raises QuantError for values that
    make no sense."""

    def __init__(
        self,
        method: Method = "minmax",
        granularity: Granularity = "per_tensor",
        *,
        axis: int = -1,
        kind: str = "uint8",
        symmetric: bool = False,
        reduce_range: bool = False,
        percentile: float = 99.99,
    ) -> None:
        if method not in METHODS or granularity not in GRANULARITIES:
            raise QuantError(
                f"no observer {method!r} {granularity!r}; methods: {', '.join(METHODS)}; "
                f"granularities: {', '.join(GRANULARITIES)}."
            )
        if not 50 < percentile <= 100:
            raise QuantError(f"a percentile is above 50 and up to 100, not {percentile}.")
        self.method, self.granularity, self.axis = method, granularity, axis
        self.kind, self.symmetric, self.reduce_range = kind, symmetric, reduce_range
        self.percentile, self.seen = percentile, 0
        self._low: Float64 = np.empty(0)
        self._high: Float64 = np.empty(0)
        self._histogram: _Histogram | None = None
        self._found: tuple[int, Range] | None = None

    def at(self, level: float | None) -> Observer:
        """The observer of a noise level: one for all (``bins.BinObserver`` has several)."""
        return self

    def update(self, x: npt.NDArray[np.floating], name: str = "values") -> None:
        """See an array. ``name`` is for the message: QuantError when it is empty, or holds NaN or infinity,
        or has another number of channels (per token: of tokens) than the arrays before."""
        if x.size == 0:
            raise QuantError(f"{name} of shape {x.shape} is empty; a range needs values.")
        if not np.isfinite(x).all():
            raise QuantError(f"{name} holds NaN or infinity, which has no place on a grid.")
        rows = rows_of(x, self.granularity, self.axis)
        low, high = np.minimum(rows.min(axis=1), 0.0), np.maximum(rows.max(axis=1), 0.0)
        if self.seen == 0:
            self._low, self._high = low, high
        elif low.shape != self._low.shape:
            raise QuantError(f"{name} has {low.size} ranges ({self.granularity}), before {self._low.size}.")
        elif self.method == "moving":
            self._low = MOMENTUM * self._low + (1 - MOMENTUM) * low
            self._high = MOMENTUM * self._high + (1 - MOMENTUM) * high
        else:
            self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        if self.method in ("percentile", "mse", "entropy"):
            if self._histogram is None:
                self._histogram = _Histogram(low.size)
            self._histogram.add(rows)
        self.seen += 1

    def range(self) -> Range:
        """What is to be represented. Raises QuantError when nothing was seen."""
        if self.seen == 0:
            raise QuantError("an observer that saw nothing has no range.")
        if self._found is None or self._found[0] != self.seen:
            self._found = self.seen, self._range()
        return self._found[1]

    def _range(self) -> Range:
        if self._histogram is None:
            return Range(self._low, self._high)
        if self.method == "percentile":
            return self._percentile(self._histogram)
        loss = _squared_error if self.method == "mse" else _divergence
        return self._best(self._histogram, loss)

    def grid(self) -> Grid:
        """The grid of ``range``."""
        axis: Any = {"per_tensor": None, "per_channel": self.axis, "per_token": "token"}[self.granularity]
        return make_grid(self.range(), self.kind, self.symmetric, self.reduce_range, axis)

    def _percentile(self, histogram: _Histogram) -> Range:
        share = self.percentile / 100
        if self.symmetric:
            limit = histogram.quantile(share, magnitude=True)
            return Range(np.maximum(self._low, -limit), np.minimum(self._high, limit))
        low, high = histogram.quantile(1 - share), histogram.quantile(share)
        return Range(
            np.minimum(np.maximum(self._low, low), 0.0), np.maximum(np.minimum(self._high, high), 0.0)
        )

    def _best(self, histogram: _Histogram, loss: Callable[[_Histogram, Grid, Range], Float64]) -> Range:
        best, least = np.ones(self._low.size), np.full(self._low.size, np.inf)
        for share in SHARES[::-1]:  # of equal losses the widest range wins
            span = Range(share * self._low, share * self._high)
            grid = make_grid(span, self.kind, self.symmetric, self.reduce_range, axis=0)
            found = loss(histogram, grid, span)
            better = found < least
            best, least = np.where(better, share, best), np.where(better, found, least)
        return Range(best * self._low, best * self._high)


class _Histogram:
    """Counts (R, bins) of values between -reach and reach (R,)."""

    def __init__(self, rows: int) -> None:
        self.counts = np.zeros((rows, BINS if rows == 1 else ROW_BINS))
        self.reach = np.zeros(rows)

    @property
    def centres(self) -> Float64:
        """(R, bins)."""
        bins = self.counts.shape[1]
        return np.outer(self.reach, (np.arange(bins) + 0.5) * 2 / bins - 1)

    def add(self, rows: Float64) -> None:
        """Count (R, values)."""
        bins = self.counts.shape[1]
        peak = np.maximum(np.abs(rows).max(axis=1), _TINY)
        self.reach = np.where(self.reach == 0, peak, self.reach)
        for row in np.flatnonzero(peak > self.reach):
            doublings = int(np.ceil(np.log2(peak[row] / self.reach[row])))
            self.reach[row] *= 2.0**doublings
            for _ in range(min(doublings, bins.bit_length())):  # further ones change nothing
                pairs = self.counts[row].reshape(-1, 2).sum(axis=1)
                self.counts[row] = np.pad(pairs, bins // 4)
        places = (rows / self.reach[:, None] + 1) * (bins / 2)
        index = np.clip(places.astype(np.int64), 0, bins - 1) + bins * np.arange(len(rows))[:, None]
        self.counts += np.bincount(index.ravel(), minlength=self.counts.size).reshape(self.counts.shape)

    def quantile(self, share: float, magnitude: bool = False) -> Float64:
        """(R,) value below which ``share`` of the values (of their magnitudes) are, to the bin's width."""
        bins = self.counts.shape[1]
        counts, start = self.counts, -1.0
        if magnitude:
            counts, start = counts[:, bins // 2 :] + counts[:, bins // 2 - 1 :: -1], 0.0
        total = np.cumsum(counts, axis=1)
        wanted = share * total[:, -1:]
        at = np.minimum((total < wanted).sum(axis=1), counts.shape[1] - 1)
        row = np.arange(len(counts))
        before = total[row, at] - counts[row, at]
        part = np.clip((wanted[:, 0] - before) / np.maximum(counts[row, at], 1e-12), 0, 1)
        return np.asarray((start + (at + part) * 2 / bins) * self.reach, dtype=np.float64)


def _levels(histogram: _Histogram, grid: Grid) -> npt.NDArray[np.int64]:
    return grid.quantise(histogram.centres).astype(np.int64) - grid.smallest


def _squared_error(histogram: _Histogram, grid: Grid, span: Range) -> Float64:
    centres = histogram.centres
    error = np.square(grid.rounded(centres).astype(np.float64) - centres)
    return np.asarray((error * histogram.counts).sum(axis=1))


def _divergence(histogram: _Histogram, grid: Grid, span: Range) -> Float64:
    """KL(P || Q) per row. P: counts within the range, those outside added to its outermost bins. Q: every
    level's counts (those within the range) spread evenly over its bins that hold any."""
    counts, centres = histogram.counts.copy(), histogram.centres
    # Zero is exact on every grid; the many zeros behind a Relu would outweigh everything else.
    counts[:, counts.shape[1] // 2] = 0.0
    half = histogram.reach[:, None] / counts.shape[1]  # a bin belongs to the range it touches
    within = (centres + half >= span.low[:, None]) & (centres - half <= span.high[:, None])
    inner = np.where(within, counts, 0.0)
    p, row = inner.copy(), np.arange(len(counts))
    first, last = within.argmax(axis=1), counts.shape[1] - 1 - within[:, ::-1].argmax(axis=1)
    p[row, first] += np.where(centres < span.low[:, None] - half, counts, 0.0).sum(axis=1)
    p[row, last] += np.where(centres > span.high[:, None] + half, counts, 0.0).sum(axis=1)
    width = grid.largest - grid.smallest + 1
    level = _levels(histogram, grid) + width * row[:, None]
    sums = np.bincount(level.ravel(), weights=inner.ravel(), minlength=width * len(counts))
    filled = np.bincount(level.ravel(), weights=(inner > 0).ravel(), minlength=width * len(counts))
    q = np.where(inner > 0, (sums / np.maximum(filled, 1))[level], 0.0)
    p /= np.maximum(p.sum(axis=1, keepdims=True), 1e-300)
    q /= np.maximum(q.sum(axis=1, keepdims=True), 1e-300)
    ratio = np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-9))
    return np.asarray(np.where(p > 0, p * ratio, 0.0).sum(axis=1))


def sqnr_db(reference: npt.NDArray[np.floating], made: npt.NDArray[np.floating]) -> float:
    """Signal to quantisation noise in dB, higher is better; inf where nothing was lost, -inf where there was
    no signal to keep."""
    exact = reference.astype(np.float64)
    signal, noise = float(np.sum(exact**2)), float(np.sum((made.astype(np.float64) - exact) ** 2))
    if noise == 0:
        return float("inf")
    return float("-inf") if signal == 0 else 10 * float(np.log10(signal / noise))
