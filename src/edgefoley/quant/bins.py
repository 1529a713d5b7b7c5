"""Static ranges that follow the noise level: a scale for each bin of captured levels.

A denoiser's activations change over the schedule, and one range for all levels wastes steps where they are
small (grouping time steps: TQ-DiT, https://arxiv.org/abs/2502.04056). The captured levels are divided into
bins of neighbours, and a product is computed as

    x -> Mul(1 / scale[bin]) -> QuantizeLinear(1, zero) -> DequantizeLinear -> MatMul -> Mul(scale[bin])

so that what is quantised has constants on all sides, which every engine fuses. Scales that QuantizeLinear
itself takes from a Gather would be two nodes less, but: ONNX Runtime 1.32 fuses them for uint8 activations
and not for int8 (weights are widened at every run, 2.1 ms instead of 0.4 for 256 x 320 x 960), OpenVINO
2026.4 multiplies in float32, and TensorRT asks for constants. The zero point is shared by a tensor's bins for
the same reason; what that costs is little, since a channel's sign rarely changes with the level.

Which bin a run is in, the graph finds out by itself. It has no noise level among its inputs, but what the
timestep network makes of one: the captured level counts whose input c is nearest to the input v, which is
where c v - |c|^2 / 2 is largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefoley.quant.network import Network
from edgefoley.quant.nodes import make_node
from edgefoley.quant.observe import Grid, Observer, QuantError, Range, make_grid
from edgefoley.quant.watch import Runs

Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TimeBins:
    """``levels``: of each bin the captured noise levels, from noise to data. ``source``: the graph's input
    that tells them apart, ``seen`` (levels, numbers): what it was at each of them."""

    levels: tuple[tuple[float, ...], ...]
    source: str
    seen: Float

    @property
    def count(self) -> int:
        return len(self.levels)

    def of(self, level: float | None) -> int:
        """The bin of a captured noise level."""
        return next(number for number, levels in enumerate(self.levels) if level in levels)

    def nodes(self, network: Network, made: str) -> list[Any]:
        """Nodes that compute the bin of a run, ``made`` (1,) int64; their constants go into ``network``."""
        bins = [number for number, levels in enumerate(self.levels) for _ in levels]
        centres = self.seen.astype(np.float64)
        # Against the first one: differences of large numbers would lose what tells levels apart.
        away = centres - centres[0]
        half = (np.sum(centres**2, axis=1) - np.sum(centres[0] ** 2)) / 2
        constants: dict[str, npt.NDArray[Any]] = {
            "form": np.array([1, -1]),
            "centres": np.ascontiguousarray(away.T, np.float32),
            "half": half.astype(np.float32),
            "table": np.array(bins),
        }
        network.weights.update({f"{made}.{name}": values for name, values in constants.items()})
        network.fixed.update(f"{made}.{name}" for name in constants)
        chain: tuple[tuple[str, list[str], str, dict[str, int]], ...] = (
            ("Reshape", [self.source, f"{made}.form"], "row", {}),
            ("MatMul", [f"{made}.row", f"{made}.centres"], "along", {}),
            ("Sub", [f"{made}.along", f"{made}.half"], "near", {}),
            ("ArgMax", [f"{made}.near"], "level", {"axis": 1, "keepdims": 0}),
        )
        found = [
            make_node(operator, inputs, [f"{made}.{output}"], f"{made}.find_{output}", **extra)
            for operator, inputs, output, extra in chain
        ]
        return [*found, make_node("Gather", [f"{made}.table", f"{made}.level"], [made], f"{made}.find")]


@dataclass(frozen=True)
class BinGrid:
    """``unit``: the grid of numbers that were divided by their bin's scale, ``scales`` (bins,)."""

    unit: Grid
    scales: Float

    def at(self, number: int) -> Grid:
        """The grid of a bin."""
        return replace(self.unit, scale=self.scales[number : number + 1])


class BinObserver:
    """An observer for each bin."""

    def __init__(self, bins: TimeBins, make: Callable[[], Observer]) -> None:
        self.bins = bins
        self.each = [make() for _ in bins.levels]

    def at(self, level: float | None) -> Observer:
        """The observer of a captured noise level."""
        return self.each[self.bins.of(level)]

    def grid(self) -> BinGrid:
        """What all bins together make."""
        first = self.each[0]
        return bin_grid([observer.range() for observer in self.each], first.kind, first.symmetric)


def time_bins(network: Network, runs: Runs, count: int) -> TimeBins:
    """Divide the noise levels of captured runs into ``count`` bins of about as many each.

    Raises QuantError where the runs have fewer levels, or the graph has no input that depends on the level
    alone.
    """
    levels = sorted({sample.sigma for sample, _ in runs if sample.sigma is not None}, reverse=True)
    if len(levels) < count or any(sample.sigma is None for sample, _ in runs):
        raise QuantError(
            f"{network.component}: {count} bins need inputs captured at {count} noise levels or more, there "
            f"are {len(levels)}; only the denoiser has any (edgefoley calibrate --times)."
        )
    told = {
        name: values for name in network.inputs if (values := _told(network, runs, levels, name)) is not None
    }
    if not told:
        raise QuantError(
            f"{network.component}: bins need an input that tells the noise level; none of "
            f"{', '.join(network.inputs)} has a fixed size, one value at every level, and another at others."
        )
    source = min(told, key=lambda name: told[name].shape[1])
    groups = [tuple(float(x) for x in group) for group in np.array_split(np.array(levels), count)]
    return TimeBins(tuple(groups), source, told[source])


def _told(network: Network, runs: Runs, levels: Sequence[float], name: str) -> Float | None:
    """(levels, numbers) of an input that depends on the noise level alone, else None."""
    value = next(value for value in network.model.graph.input if value.name == name)
    kind = value.type.tensor_type
    if kind.elem_type != 1 or not all(dim.dim_value > 0 for dim in kind.shape.dim):  # 1: float32
        return None
    found: dict[float | None, Float] = {}
    for sample, feeds in runs:
        numbers = np.asarray(feeds[name], np.float32).ravel()
        if not np.array_equal(found.setdefault(sample.sigma, numbers), numbers):
            return None
    seen = np.stack([found[level] for level in levels])
    return seen if len(np.unique(seen, axis=0)) == len(levels) else None


def bin_grid(spans: Sequence[Range], kind: str, symmetric: bool) -> BinGrid:
    """A grid for each span, with the zero point in common that makes the scales' geometric mean smallest."""
    plain = make_grid(spans[0], kind, symmetric)
    low = np.array([min(float(span.low[0]), 0.0) for span in spans])
    high = np.array([max(float(span.high[0]), 0.0) for span in spans])
    if symmetric:
        zeros = plain.zero_point[:1]
    else:
        zeros = np.arange(plain.smallest, plain.largest + 1, dtype=np.int32)
    above, below = plain.largest - zeros[:, None], zeros[:, None] - plain.smallest
    with np.errstate(divide="ignore", invalid="ignore"):
        scales = np.maximum(
            np.where(high > 0, high / above, 0.0), np.where(low < 0, -low / below, 0.0)
        )  # (zero points, bins); infinite where a side has no numbers
    scales = np.where(scales > np.finfo(np.float32).tiny, scales, 1.0)
    best = int(np.log(scales).sum(axis=1).argmin())
    unit = replace(plain, scale=np.ones(1, np.float32), zero_point=zeros[best : best + 1])
    return BinGrid(unit, scales[best].astype(np.float32))
