"""What each scheme is in ONNX: the nodes and constants that take a layer's place.

    w8a8-static qdq        QuantizeLinear -> DequantizeLinear -> MatMul(DequantizeLinear(int8)), the output in
                           float: engines fuse it to one integer product. A convolution has a quantised output
                           too, or it would not be fused; a Relu or Clip that its grid makes idle is left out
                           With bins of noise levels a factor before and one behind, see ``bins``
    w8a8-static qoperator  QuantizeLinear -> QLinearMatMul or QLinearConv -> DequantizeLinear
    w8a8-dynamic           DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul
    w8a16 fold             Cast -> Mul on the weight alone, which engines compute when they open the file
    w8a16 nbits, w4a16     MatMulNBits (com.microsoft): blocks of inputs share a scale
    fp16                   Cast on the weight

Gemm and one-dimensional convolutions have become MatMul before (``rewrite.as_product``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefoley.quant.bins import BinGrid, TimeBins
from edgefoley.quant.network import Layer, Network
from edgefoley.quant.nodes import make_node
from edgefoley.quant.observe import Grid, Observer, QuantError, Range
from edgefoley.quant.recipe import Scheme
from edgefoley.quant.rewrite import is_idle, output_of

Float = npt.NDArray[np.float32]
Names = tuple[str, str, str]  # of numbers, scale and zero point


@dataclass(frozen=True)
class Stored:
    """A stored weight: what it is after rounding, in float32 and the operator's shape; ``bytes`` with scales;
    the smallest and largest ``scale``; ``tensor``: the name of its numbers."""

    rounded: Float
    bytes: int
    scale: tuple[float, float]
    tensor: str


def weight_grid(weight: Float, axis: int, scheme: Scheme, name: str) -> Grid:
    """The int8 grid of a weight; ``axis``: its outputs."""
    channels = scheme.weight_granularity == "per_channel"
    observer = Observer(
        scheme.weight_range,  # type: ignore[arg-type]  # checked by Scheme
        "per_channel" if channels else "per_tensor",
        axis=axis, kind="int8", symmetric=scheme.weight_symmetric, reduce_range=scheme.reduce_range,
    )  # fmt: skip
    observer.update(weight, f"the weight of {name}")
    return observer.grid()


class Emitter:
    """Writes schemes into one network. Quantised forms of a tensor are made once and shared."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._quantised: dict[tuple[str, bytes], Names] = {}
        self._bins: dict[int, str] = {}
        self._divided: dict[tuple[str, bytes], tuple[str, str]] = {}

    def static(
        self, layer: Layer, scheme: Scheme, grids: Mapping[str, Grid], spelled: bool = False
    ) -> Stored:
        """A MatMul with its input, and with qoperator its output, on ``grids`` (tensor -> grid). ``spelled``:
        as MatMulInteger instead of qdq, see ``rewrite.must_be_spelled``."""
        nodes: list[Any] = []
        stored, w = self._int8(layer, scheme, axis=1)
        x = self._quantise(layer.source, self._own(layer.source, grids, scheme), nodes)
        if scheme.format == "qoperator":
            self._qlinear("QLinearMatMul", layer, [*x, *w], grids[layer.output], nodes)
        elif spelled:
            nodes += self._spelled(layer, x, w)
        else:
            a = self._dequantise(x, f"{layer.output}.x", nodes)
            b = self._dequantise(w, f"{layer.output}.w", nodes, axis=1)
            nodes.append(make_node("MatMul", [a, b], [layer.output], layer.node.name))
        self.network.replace({id(layer.node): nodes})
        return stored

    def _spelled(self, layer: Layer, x: Names, w: Names) -> list[Any]:
        weights, tag = self.network.weights, layer.output
        weights[f"{tag}.scale"] = np.asarray(weights[x[1]] * weights[w[1]], np.float32)
        self.network.fixed.add(f"{tag}.scale")
        return [
            make_node("MatMulInteger", [x[0], w[0], x[2], w[2]], [f"{tag}.sum"], layer.node.name),
            make_node("Cast", [f"{tag}.sum"], [f"{tag}.float"], f"{tag}.cast", to=1),
            make_node("Mul", [f"{tag}.float", f"{tag}.scale"], [tag], f"{tag}.rescale"),
        ]

    def binned(self, layer: Layer, scheme: Scheme, grid: BinGrid, bins: TimeBins) -> Stored:
        """A MatMul whose input has a scale for each bin of noise levels."""
        nodes: list[Any] = []
        stored, w = self._int8(layer, scheme, axis=1)
        divided, scale = self._divide(layer.source, grid, bins, nodes)
        x = self._quantise(divided, self._own(divided, {divided: grid.unit}, scheme), nodes)
        tag = layer.output
        a = self._dequantise(x, f"{tag}.x", nodes)
        b = self._dequantise(w, f"{tag}.w", nodes, axis=1)
        nodes.append(make_node("MatMul", [a, b], [f"{tag}.steps"], layer.node.name))
        nodes.append(make_node("Mul", [f"{tag}.steps", scale], [tag], f"{tag}.rescale"))
        self.network.replace({id(layer.node): nodes})
        return stored

    def _divide(self, tensor: str, grid: BinGrid, bins: TimeBins, nodes: list[Any]) -> tuple[str, str]:
        """A tensor over the scale of the run's bin, and that scale (1,)."""
        key, weights = (tensor, grid.scales.tobytes()), self.network.weights
        if bins.count not in self._bins:
            self._bins[bins.count] = f"{bins.source}.bin{bins.count}"
            nodes += bins.nodes(self.network, self._bins[bins.count])
        if key not in self._divided:
            made = f"{tensor}.bins{sum(name == tensor for name, _ in self._divided)}"
            for name, table in (("scale", grid.scales), ("inverse", (1 / grid.scales).astype(np.float32))):
                weights[f"{made}.{name}s"] = table
                self.network.fixed.add(f"{made}.{name}s")
                inputs = [f"{made}.{name}s", self._bins[bins.count]]
                nodes.append(make_node("Gather", inputs, [f"{made}.{name}"], f"{made}.find_{name}"))
            nodes.append(make_node("Mul", [tensor, f"{made}.inverse"], [made], f"{made}.divide"))
            self._divided[key] = made, f"{made}.scale"
        return self._divided[key]

    def product(self, layer: Layer, scheme: Scheme, grids: Mapping[str, Grid]) -> None:
        """A product of two inputs."""
        nodes: list[Any] = []
        names = layer.node.input
        sides = [self._quantise(name, self._own(name, grids, scheme), nodes) for name in names]
        if scheme.format == "qoperator":
            self._qlinear("QLinearMatMul", layer, [*sides[0], *sides[1]], grids[layer.output], nodes)
        else:
            taken = [self._dequantise(s, f"{layer.output}.{i}", nodes) for i, s in enumerate(sides)]
            nodes.append(make_node("MatMul", taken, [layer.output], layer.node.name))
        self.network.replace({id(layer.node): nodes})

    def convolution(self, layer: Layer, scheme: Scheme, grids: Mapping[str, Grid]) -> Stored:
        """A convolution with input and output on ``grids``; see ``output_of`` for the latter's tensor."""
        nodes: list[Any] = []
        stored, w = self._int8(layer, scheme, axis=0)
        target, follower = output_of(self.network, layer)
        grid = grids[target]
        x = self._quantise(layer.source, grids[layer.source], nodes)
        idle = follower is not None and is_idle(follower, self.network, grid)
        end = target if idle or follower is None else layer.output
        bias = self._bias(layer, grids[layer.source], w[1])
        attributes = list(layer.node.attribute)
        if scheme.format == "qoperator":
            node = self._qlinear("QLinearConv", replace(layer, node=_renamed(layer.node, end)),
                                 [*x, *w], grid, nodes, bias)  # fmt: skip
        else:
            taken = [
                self._dequantise(x, f"{layer.output}.x", nodes),
                self._dequantise(w, f"{layer.output}.w", nodes, axis=0),
            ]
            if bias:
                taken.append(self._dequantise(bias, f"{layer.output}.b", nodes, axis=0))
            node = make_node("Conv", taken, [f"{end}.exact"], layer.node.name)
            nodes.append(node)
            y = self._constants(f"{end}.exact", grid)
            nodes.append(make_node("QuantizeLinear", [f"{end}.exact", *y], [f"{end}.q"], f"{end}.quantise"))
            nodes.append(make_node("DequantizeLinear", [f"{end}.q", *y], [end], f"{end}.dequantise"))
            if end == target:
                self._quantised[end, _key(grid)] = (f"{end}.q", *y)
        node.attribute.extend(attributes)
        changes: dict[int, Sequence[Any]] = {id(layer.node): nodes}
        if idle:
            changes[id(follower)] = []
        self.network.replace(changes)
        return stored

    def dynamic(self, layer: Layer, scheme: Scheme) -> Stored:
        """A MatMul whose input is quantised at every run."""
        stored, (numbers, scale, zero) = self._int8(layer, scheme, axis=1)
        tag, key = layer.output, (layer.source, b"dynamic")
        nodes = []
        if key not in self._quantised:
            names = tuple(f"{layer.source}.{part}" for part in ("dq", "dq_scale", "dq_zero"))
            nodes.append(
                make_node("DynamicQuantizeLinear", [layer.source], list(names), f"{layer.source}.measure")
            )
            self._quantised[key] = (names[0], names[1], names[2])
        x, x_scale, x_zero = self._quantised[key]
        nodes += [
            make_node("MatMulInteger", [x, numbers, x_zero, zero], [f"{tag}.sum"], layer.node.name),
            make_node("Cast", [f"{tag}.sum"], [f"{tag}.float"], f"{tag}.cast", to=1),
            make_node("Mul", [x_scale, scale], [f"{tag}.scale"], f"{tag}.scales"),
            make_node("Mul", [f"{tag}.float", f"{tag}.scale"], [tag], f"{tag}.rescale"),
        ]
        self.network.replace({id(layer.node): nodes})
        return stored

    def folded(self, layer: Layer, scheme: Scheme) -> Stored:
        """8 bits in the file, widened when it is opened."""
        axis = {"matmul": 1, "table": 0}.get(layer.kind, 0)
        if layer.node.op_type == "Gemm":
            turned = any(a.name == "transB" and a.i for a in layer.node.attribute)
            axis = 0 if turned else 1
        stored, (numbers, scale, zero) = self._int8(layer, scheme, axis, keep=True)
        name, weights = layer.weight, self.network.weights
        if not scheme.weight_symmetric:
            raise QuantError(f"{layer.name}: the kernel 'fold' has symmetric weights only; use 'nbits'.")
        form = [1] * len(layer.shape)
        form[axis] = -1
        weights[scale] = weights[scale].reshape(form if weights[scale].size > 1 else [1] * len(form))
        del weights[zero], weights[name]
        self.network.fixed.discard(name)
        self.network.nodes[:0] = [
            make_node("Cast", [numbers], [f"{name}.wide"], f"{name}.widen", to=1),
            make_node("Mul", [f"{name}.wide", scale], [name], f"{name}.rescale"),
        ]
        return stored

    def blocks(self, layer: Layer, scheme: Scheme, bits: int) -> Stored:
        """MatMulNBits: every ``block`` inputs of an output share a scale (and a zero point)."""
        weights, name = self.network.weights, layer.weight
        weight = weights[name]
        packed, scale, zero, rounded = pack_blocks(weight, bits, scheme.block, scheme.weight_symmetric)
        inputs = [layer.source, f"{name}.q{bits}", f"{name}.scale"]
        weights[inputs[1]], weights[inputs[2]] = packed, scale
        if not scheme.weight_symmetric:
            inputs.append(f"{name}.zero")
            weights[inputs[3]] = zero
        self.network.fixed.update(inputs[1:])
        node = make_node(
            "MatMulNBits", inputs, [layer.output], layer.node.name, domain="com.microsoft",
            K=weight.shape[0], N=weight.shape[1], bits=bits, block_size=scheme.block,
        )  # fmt: skip
        self.network.replace({id(layer.node): [node]})
        _need_domain(self.network, "com.microsoft", 1)
        size = sum(weights[key].nbytes for key in inputs[1:])
        return Stored(rounded, size, (float(scale.min()), float(scale.max())), inputs[1])

    def half(self, name: str) -> int:
        """Store a constant in float16; returns its bytes. What float16 cannot hold raises QuantError."""
        weights = self.network.weights
        narrow = weights[name].astype(np.float16)
        if not np.isfinite(narrow).all():
            raise QuantError(
                f"{name} has values beyond the range of float16 (65504), or NaN; keep it in fp32."
            )
        weights[f"{name}.fp16"] = narrow
        del weights[name]
        self.network.fixed.add(f"{name}.fp16")
        self.network.nodes.insert(0, make_node("Cast", [f"{name}.fp16"], [name], f"{name}.widen", to=1))
        return narrow.nbytes

    def _int8(self, layer: Layer, scheme: Scheme, axis: int, keep: bool = False) -> tuple[Stored, Names]:
        """Store a weight's numbers, scales and zero points; returns their names. Equal ones are shared."""
        weights, name = self.network.weights, layer.weight
        names = (f"{name}.q8", f"{name}.scale", f"{name}.zero")
        grid = weight_grid(weights[name], axis, scheme, layer.name)
        numbers = grid.quantise(weights[name])
        if names[0] in weights and not np.array_equal(weights[names[0]], numbers):
            raise QuantError(f"{layer.name}: its weight has another use, quantised otherwise; use one rule.")
        alone = grid.scale.size == 1
        weights[names[0]] = numbers.astype(np.int8)
        weights[names[1]] = grid.scale.reshape(()) if alone and not keep else grid.scale
        weights[names[2]] = np.zeros(() if alone else grid.scale.shape, np.int8)
        self.network.fixed.update((*names, name))
        size = numbers.size + grid.scale.nbytes + (0 if keep else weights[names[2]].nbytes)
        span = float(grid.scale.min()), float(grid.scale.max())
        return Stored(grid.dequantise(numbers), size, span, names[0]), names

    def _bias(self, layer: Layer, grid: Grid, scale: str) -> Names | None:
        """A convolution's bias on the grid of its sums."""
        if not layer.bias:
            return None
        weights, tag = self.network.weights, f"{layer.output}.bias"
        step = (grid.scale * weights[scale]).astype(np.float32)
        limits = np.iinfo(np.int32)
        numbers = np.rint(weights[layer.bias].astype(np.float64) / step)
        weights[f"{tag}.q32"] = np.clip(numbers, limits.min, limits.max).astype(np.int32)
        weights[f"{tag}.scale"] = step.reshape(()) if step.size == 1 else step
        weights[f"{tag}.zero"] = np.zeros(weights[f"{tag}.scale"].shape, np.int32)
        self.network.fixed.update((f"{tag}.scale",))
        return f"{tag}.q32", f"{tag}.scale", f"{tag}.zero"

    def _qlinear(
        self, operator: str, layer: Layer, inputs: list[str], grid: Grid, nodes: list[Any],
        bias: Names | None = None,
    ) -> Any:  # fmt: skip
        """An operator from numbers to numbers, and the way back to float under the output's own name."""
        end = layer.output
        y = self._constants(f"{end}.exact", grid)
        last = [bias[0]] if bias else []
        node = make_node(operator, [*inputs, *y, *last], [f"{end}.q"], layer.node.name)
        nodes.append(node)
        nodes.append(make_node("DequantizeLinear", [f"{end}.q", *y], [end], f"{end}.dequantise"))
        self._quantised[end, _key(grid)] = (f"{end}.q", *y)
        return node

    def _own(self, tensor: str, grids: Mapping[str, Grid], scheme: Scheme) -> Grid:
        """The grid of a layer's input. ONNX Runtime fuses int8 inputs on x86 only where nothing else reads
        the quantised tensor, and merges equal ones: a further reader gets a scale one float32 larger."""
        grid = grids[tensor]
        if scheme.format == "qdq" and grid.kind == "int8":
            while (tensor, _key(grid)) in self._quantised:
                grid = replace(grid, scale=np.nextafter(grid.scale, np.float32(np.inf)))
        return grid

    def _quantise(self, tensor: str, grid: Grid, nodes: list[Any]) -> Names:
        """Numbers, scale and zero point of a tensor."""
        key = (tensor, _key(grid))
        if key not in self._quantised:
            scale, zero = self._constants(tensor, grid)
            name = scale.removesuffix(".scale")
            nodes.append(make_node("QuantizeLinear", [tensor, scale, zero], [name], f"{name}.quantise"))
            self._quantised[key] = (name, scale, zero)
        return self._quantised[key]

    def _constants(self, tensor: str, grid: Grid) -> tuple[str, str]:
        """Scale and zero point of a tensor's grid; further grids of one tensor get a number."""
        weights, name, count = self.network.weights, f"{tensor}.{grid.kind}", 0
        while f"{name}.scale" in weights:
            count += 1
            name = f"{tensor}.{grid.kind}.{count}"
        weights[f"{name}.scale"] = grid.scale.reshape(())
        weights[f"{name}.zero"] = grid.zero_point.astype(grid.kind).reshape(())
        self.network.fixed.add(f"{name}.scale")
        return f"{name}.scale", f"{name}.zero"

    def _dequantise(self, numbers: Names, made: str, nodes: list[Any], axis: int | None = None) -> str:
        many = axis is not None and self.network.weights[numbers[1]].size > 1
        extra = {"axis": axis} if many else {}
        nodes.append(make_node("DequantizeLinear", list(numbers), [made], f"{made}.dequantise", **extra))
        return made


def pack_blocks(
    weight: Float, bits: int, block: int, symmetric: bool
) -> tuple[npt.NDArray[np.uint8], Float, npt.NDArray[np.uint8], Float]:
    """(K, N) -> numbers (N, blocks, block bits / 8), scales (N blocks,), zero points packed (N, bytes), and
    the weight after rounding. K is filled up with zeros to whole blocks. Two 4-bit numbers share a byte, the
    first in its low half. Symmetric: the zero point is 2^(bits - 1), and is left out of the graph."""
    inputs, outputs = weight.shape
    count = -(-inputs // block)
    rows = np.zeros((outputs, count * block), np.float32)
    rows[:, :inputs] = weight.T
    rows = rows.reshape(outputs * count, block)
    most, middle = 2**bits - 1, 2 ** (bits - 1)
    low, high = np.minimum(rows.min(axis=1), 0), np.maximum(rows.max(axis=1), 0)
    scale = np.maximum(-low, high) / (middle - 1) if symmetric else (high - low) / most
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1).astype(np.float32)
    zero = np.full(scale.shape, middle) if symmetric else np.clip(np.rint(-low / scale), 0, most)
    numbers = np.clip(np.rint(rows / scale[:, None]) + zero[:, None], 0, most).astype(np.uint8)
    back = (numbers.astype(np.float32) - zero[:, None].astype(np.float32)) * scale[:, None]
    rounded = back.reshape(outputs, -1)[:, :inputs].T
    zeros = zero.astype(np.uint8).reshape(outputs, count)
    if bits == 4:
        numbers = numbers[:, ::2] | numbers[:, 1::2] << 4
        zeros = np.pad(zeros, ((0, 0), (0, count % 2)), constant_values=middle)
        zeros = zeros[:, ::2] | zeros[:, 1::2] << 4
    return numbers.reshape(outputs, count, -1), scale, zeros, np.ascontiguousarray(rounded, np.float32)


def span_of(low: float, high: float) -> Range:
    """A range of one tensor."""
    return Range(np.array([low]), np.array([high]))


def _key(grid: Grid) -> bytes:
    return grid.scale.tobytes() + grid.zero_point.tobytes() + grid.kind.encode()


def _renamed(node: Any, output: str) -> Any:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.output[0] = output
    return copy


def _need_domain(network: Network, domain: str, version: int) -> None:
    from onnx import helper

    if not any(item.domain == domain for item in network.model.opset_import):
        network.model.opset_import.append(helper.make_opsetid(domain, version))
