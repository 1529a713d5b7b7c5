"""How long a network takes, told from what it has to do and from what this machine's kernels can do.

What computes is bounded by operations per second, what moves numbers by bytes per second (a roofline:
Williams, Waterman and Patterson 2009, Communications of the ACM 52, 65-76). The bounds are not the
processor's peaks but measured for every kind of kernel at several sizes (``kernels``); between the sizes they
are interpolated on logarithmic scales. The kernels were measured with their weights in the cache, as a
network's hardly are: that they come from memory is added, and so is a little for being a node, and what the
system takes for the fresh memory of each run. Nothing is fitted to a network.

Left out are nodes that the engine joins beyond those that ``operations`` knows, and competition for caches.
Kernels are measured on one thread. That n threads compute n^0.9 and move n^0.6 times as fast (``SHARED``) is
assumed; where networks are measured with several threads the comparison shows what that is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from edgefoley.bench.kernels import Point
from edgefoley.bench.operations import Work, peak_bytes, work_of
from edgefoley.bench.workload import Pass

# Bytes of a block that glibc keeps for the next run; larger ones it gives back to the system at once.
KEPT: Final = 32 << 20
SHARED: Final[Mapping[str, float]] = {"compute": 0.9, "move": 0.6}
NEAREST: Final = 4  # points between which a rate is interpolated
# Which measured kernel stands for operators that were not measured themselves.
STANDS_FOR: Final[Mapping[str, str]] = {
    "Sub": "Add", "Max": "Add", "Min": "Add", "Sum": "Add", "And": "Greater", "Or": "Greater",
    "Xor": "Greater", "Less": "Greater", "Equal": "Greater", "GreaterOrEqual": "Greater",
    "LessOrEqual": "Greater", "Neg": "Abs", "Relu": "Abs", "Clip": "Abs", "Floor": "Abs", "Ceil": "Abs",
    "Round": "Abs", "Not": "Abs", "Sign": "Abs", "IsNaN": "Abs", "LeakyRelu": "Abs", "Reciprocal": "Sqrt",
    "Cos": "Sin", "Log": "Exp", "FastGelu": "Tanh", "QuickGelu": "Sigmoid", "BiasGelu": "Gelu",
    "Softplus": "Exp", "HardSwish": "Mul", "Swish": "Sigmoid", "Mish": "Tanh", "Elu": "Exp",
    "HardSigmoid": "Mul", "Mod": "Div", "LogSoftmax": "Softmax", "RMSNormalization": "LayerNormalization",
    "SimplifiedLayerNormalization": "LayerNormalization", "BatchNormalization": "Mul",
    "InstanceNormalization": "LayerNormalization", "GroupNormalization": "LayerNormalization",
    "LpNormalization": "LayerNormalization", "DynamicQuantizeLinear": "Div", "QuantizeLinear": "Div",
    "DequantizeLinear": "Cast", "GatherElements": "Where", "GatherND": "Gather", "Tile": "Expand",
    "ConstantOfShape": "Expand", "Range": "Expand", "ScatterND": "Gather", "ScatterElements": "Where",
    "Resize": "Gather", "Trilu": "Where",
}  # fmt: skip
_ALIKE: Final[Mapping[str, tuple[str, ...]]] = {
    # Kinds whose rates stand in for a kind that has none of its own.
    "conv_int8": ("conv",), "conv_transpose": ("conv",), "product": ("matmul",), "matmul_blocks": ("matmul",),
    "matmul_int8": ("matmul",), "conv_depthwise": ("conv",),
}  # fmt: skip


@dataclass(frozen=True)
class Roofline:
    """``points`` measured on one thread; ``call``: seconds of starting a graph; ``node``: of each node in it;
    ``bandwidth``: bytes per second from memory; ``touch``: bytes per second of memory that the system hands
    out."""

    points: Sequence[Point]
    call: float
    node: float
    bandwidth: float
    touch: float

    @cached_property
    def _by_kind(self) -> Mapping[str, list[Point]]:
        found: dict[str, list[Point]] = {}
        for point in self.points:
            found.setdefault(point.kind or point.op, []).append(point)
        for name, points in found.items():
            if not points[0].kind:
                found[name] = sorted(points, key=lambda point: point.bytes)
        return found

    def seconds_of(self, one: Pass, threads: int = 1) -> float:
        """Of one run of a graph."""
        peak = peak_bytes(one)
        fresh = peak if peak > KEPT else 0
        return self.call + sum(self.seconds(work, threads) for work in work_of(one)) + fresh / self.touch

    def seconds(self, work: Work, threads: int = 1) -> float:
        """Of one node. ``threads`` share what it computes and moves, less well the more they are
        (``SHARED``)."""
        if work.operations:
            reach = work.operations / self.rate(work.kind, work.shape) / threads ** SHARED["compute"]
            return self.node + reach + work.weights / self.bandwidth
        moved = work.bytes / self.speed(kernel_of(work), work.bytes)
        return self.node + moved / threads ** SHARED["move"]

    def rate(self, kind: str, shape: Sequence[int]) -> float:
        """Operations per second of a kernel of this kind and shape. Raises KeyError where none like it was
        measured."""
        kinds = (kind, *_ALIKE.get(kind, ()))
        points = next((self._by_kind[name] for name in kinds if name in self._by_kind), None)
        if points is None:
            raise KeyError(f"no kernel of the kind {kind} was measured")
        here = coordinates(kind, shape)
        near = sorted(
            (math.dist(here, coordinates(p.kind, p.shape)), p.operations / p.seconds) for p in points
        )
        if near[0][0] < 1e-9:
            return near[0][1]
        weights = [(1 / distance**2, rate) for distance, rate in near[:NEAREST]]
        total = sum(weight for weight, _ in weights)
        return math.exp(sum(weight * math.log(rate) for weight, rate in weights) / total)

    def speed(self, op: str, size: int) -> float:
        """Bytes per second that an operator moves when it moves ``size`` of them."""
        points = self._by_kind.get(op) or self._by_kind["Add"]
        speeds = [(point.bytes, point.bytes / point.seconds) for point in points]
        if size <= speeds[0][0]:
            return speeds[0][1]
        for (low, slow), (high, fast) in pairwise(speeds):
            if size <= high:
                share = math.log(size / low) / math.log(high / low)
                return math.exp(math.log(slow) + share * math.log(fast / slow))
        return speeds[-1][1]


def kernel_of(work: Work) -> str:
    """The measured kernel that stands for a node without operations."""
    if work.manner:
        spread = "SpreadAdd" if work.manner == "spread" else ""
        return {"Transpose": "Turn" if work.manner == "turned" else "Scatter"}.get(work.op, spread or "Step")
    if work.op.startswith(("Reduce", "Arg", "CumSum", "TopK")):
        return "ReduceMean"
    return STANDS_FOR.get(work.op, work.op)


def coordinates(kind: str, shape: Sequence[int]) -> tuple[float, ...]:
    """Where a kernel stands among those of its kind: logarithms (base 2) of what its speed depends on. Of
    long rows and wide layers more makes little difference, so large extents are pressed together."""
    if kind.startswith("conv"):
        pictures, before, after, area, places, groups = (max(1, size) for size in shape)
        return (
            _pressed(before / groups, 64), _pressed(after / groups, 64), _pressed(pictures * places, 1024),
            math.log2(area), _pressed(places, 256) / 2,
        )  # fmt: skip
    rows, inner, columns = shape[-3:]
    return (_pressed(rows, 64), _pressed(inner, 128), _pressed(columns, 128))


def _pressed(size: float, knee: float) -> float:
    """log2, a quarter as steep above ``knee``."""
    high = math.log2(max(size, 1.0))
    return min(high, math.log2(knee)) + max(0.0, high - math.log2(knee)) / 4
