"""Smaller ONNX files with unchanged arithmetic: weights stored in 16 or 8 bits, computed in float32.

Both functions replace a float32 initializer by a narrow one and nodes that widen it back under the
initializer's old name, so that no other node changes:

    store_fp16                        float16 initializer -> Cast(float32)
    store_int8, widen="dequantize"    int8 initializer, scale per output channel -> DequantizeLinear
    store_int8, widen="multiply"      int8 initializer -> Cast(float32) -> Mul by the scale per output channel

ONNX Runtime evaluates such nodes once, when it loads the model, so that the run time is that of the float32
model. For DequantizeLinear this needs the session option `session.disable_quant_qdq` = "1"
(`SESSION_OPTIONS`): without it the node is kept for a quantised kernel that a float32 activation never
reaches, and the weights are widened again on every run (EfficientNet-Lite0 takes more than twice as long); a
plain MatMul becomes MatMulNBits instead (seen with 1.32), whose weights stay 8-bit in memory. Cast and Mul
fold with the defaults. `left_unfolded` counts what an optimised graph still holds.

int8 is symmetric, without a zero point: w ~ scale[c] * q, q in -127..127, scale[c] = max|w[c]| / 127 over
output channel c.

Left out: initializers of subgraphs (If, Loop), Constant nodes, types other than float32, sharing of a scale
by blocks within a channel, external data (load the model whole first). Every tensor that qualified by size
and was not converted is in the report with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

SESSION_OPTIONS = MappingProxyType({"session.disable_quant_qdq": "1"})
"""ONNX Runtime session configuration to open a model of `store_int8(widen="dequantize")` with."""

Widen = Literal["dequantize", "multiply"]

AxisRule = Callable[[NodeProto, int, int], int | None]
"""(node, which of its inputs, rank of the weight) -> axis that keeps its scales, None: not int8."""

_QUANT_INPUTS = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class StoredTensor:
    """What was done to one initializer. `sqnr_db` compares weight and rounding error; inf when exact."""

    name: str
    shape: tuple[int, ...]
    scheme: str
    axis: int | None
    bytes_before: int
    bytes_after: int
    sqnr_db: float


@dataclass(frozen=True)
class CompactReport:
    """Result of one pass: bytes of the serialised model, the tensors changed, and why others were not."""

    bytes_before: int
    bytes_after: int
    stored: tuple[StoredTensor, ...]
    skipped: dict[str, str]


def sqnr_db(reference: NDArray[np.floating], approximation: NDArray[np.floating]) -> float:
    """Return the signal-to-quantisation-noise ratio in dB, higher is better; inf where nothing was lost."""
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(reference.astype(np.float64) - approximation.astype(np.float64))))
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


def quantise_channels(
    weight: NDArray[np.floating], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round a weight to int8 with one scale for each index of `axis`.

    Returns (q of the weight's shape in -127..127, float32 scale of shape (weight.shape[axis],)); a channel of
    zeros gets scale 1. Raises ValueError for values that are not finite.
    """
    if not np.all(np.isfinite(weight)):
        raise ValueError(f"a weight of shape {weight.shape} holds NaN or infinity, which int8 cannot store")
    others = tuple(i for i in range(weight.ndim) if i != axis)
    peak = np.abs(weight).max(axis=others)
    # A peak whose 127th part underflows float32 is as good as zero, and would divide by zero.
    scale = np.where(peak / 127 > np.finfo(np.float32).tiny, peak / 127, 1.0).astype(np.float32)
    shape = tuple(-1 if i == axis else 1 for i in range(weight.ndim))
    q = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8)
    return q, scale


def output_channel_axis(node: NodeProto, index: int, rank: int) -> int | None:
    """Return the axis of output channels of a weight of Conv, ConvTranspose, MatMul or Gemm, the rows of a
    table that Gather reads, None for other uses.

    ConvTranspose keeps (in, out / groups, ...): with groups, a scale is shared by one channel of every group.
    A 1-D operand of MatMul has no output axis and gives None.
    """
    if node.op_type == "Conv":
        return 0 if index == 1 else None
    if node.op_type == "ConvTranspose":
        return 1 if index == 1 else None
    if node.op_type == "MatMul" and rank >= 2 and index in (0, 1):
        return rank - 1 if index == 1 else rank - 2
    if node.op_type == "Gemm" and rank == 2 and index in (0, 1):
        flag = next((a.i for a in node.attribute if a.name == ("transB" if index else "transA")), 0)
        return (0 if flag else 1) if index == 1 else (1 if flag else 0)
    if node.op_type == "Gather" and rank == 2 and index == 0:
        along = next((a.i for a in node.attribute if a.name == "axis"), 0)
        return 0 if along == 0 else None
    return None


def store_fp16(
    model: ModelProto, keep: Collection[str] = (), *, min_elements: int = 256
) -> tuple[ModelProto, CompactReport]:
    """Return a copy that stores float32 initializers as float16, and the report.

    keep: names of initializers to leave in float32. min_elements: smaller ones are left too, since a Cast
    node costs about 100 bytes. Values beyond float16's range (65504) leave their tensor in float32, with the
    reason in the report. Scales of int8 weights are always left. Raises ValueError for a name in `keep` that
    is no initializer.
    """
    _check_names(model, keep)
    result = _copy(model)
    fixed = _scale_names(result) | _overridable(result) | set(keep)
    stored: list[StoredTensor] = []
    skipped: dict[str, str] = {}
    new_nodes: list[NodeProto] = []
    for tensor, weight in _float_initializers(result, min_elements):
        if tensor.name in fixed:
            asked = tensor.name in keep
            skipped[tensor.name] = "kept: asked for" if asked else "kept: a scale or a graph input"
            continue
        peak = float(np.abs(weight).max())
        if not peak <= float(np.finfo(np.float16).max):
            skipped[tensor.name] = f"its largest magnitude {peak:g} is beyond float16's 65504"
            continue
        narrow = weight.astype(np.float16)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(narrow, f"{name}.fp16"))
        new_nodes.append(
            helper.make_node("Cast", [f"{name}.fp16"], [name], name=f"{name}.widen", to=TensorProto.FLOAT)
        )
        noise = sqnr_db(weight, narrow.astype(np.float32))
        stored.append(StoredTensor(name, weight.shape, "fp16", None, weight.nbytes, narrow.nbytes, noise))
    return _finish(model, result, new_nodes, stored, skipped)


def store_int8(
    model: ModelProto,
    keep: Collection[str] = (),
    *,
    min_elements: int = 4096,
    axis_rule: AxisRule = output_channel_axis,
    widen: Widen = "dequantize",
) -> tuple[ModelProto, CompactReport]:
    """Return a copy that stores weights as int8 with one float32 scale for each output channel, and the
    report.

    A weight is a float32 initializer of at least `min_elements` values for which `axis_rule` names an axis at
    any of its uses, directly or through one Transpose (as PyTorch's exporter writes a linear layer); several
    uses must agree on the axis. keep: names of initializers to leave in float32. Activations stay float32.
    widen: the nodes that restore float32, see above; both give the same values.
    Raises ValueError for an opset below 13 (no scale per channel) or a name in `keep` that is no initializer.
    """
    if widen not in get_args(Widen):
        raise ValueError(f"widen must be one of {', '.join(get_args(Widen))}; got {widen!r}")
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset < 13:
        raise ValueError(f"the model uses opset {opset}; int8 storage needs 13 or later. Export it anew.")
    _check_names(model, keep)
    result = _copy(model)
    axes = _weight_axes(result, axis_rule)
    fixed = _scale_names(result) | _overridable(result)
    stored: list[StoredTensor] = []
    skipped: dict[str, str] = {}
    new_nodes: list[NodeProto] = []
    scales: list[TensorProto] = []
    for tensor, weight in _float_initializers(result, min_elements):
        found = axes.get(tensor.name, set())
        reason = _why_not_int8(tensor.name, weight, found, keep, fixed)
        if reason is not None:
            skipped[tensor.name] = reason
            continue
        axis = next(iter(found))
        q, scale = quantise_channels(weight, axis)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(q, f"{name}.int8"))
        spread = scale.reshape(tuple(-1 if i == axis else 1 for i in range(weight.ndim)))
        scales.append(numpy_helper.from_array(scale if widen == "dequantize" else spread, f"{name}.scale"))
        new_nodes += _widening_nodes(name, axis, widen)
        noise = sqnr_db(weight, q.astype(np.float32) * spread)
        after = q.nbytes + scale.nbytes
        stored.append(StoredTensor(name, weight.shape, "w8 per_channel", axis, weight.nbytes, after, noise))
    result.graph.initializer.extend(scales)
    return _finish(model, result, new_nodes, stored, skipped)


def left_unfolded(optimised: ModelProto) -> dict[str, int]:
    """Count, by operator, the nodes of an optimised graph that still widen a constant on every run.

    optimised: what ONNX Runtime wrote to `SessionOptions.optimized_model_filepath`. An empty result means
    that the narrow storage costs nothing while running.
    """
    constants = {tensor.name for tensor in optimised.graph.initializer}
    counts: dict[str, int] = {}
    for node in optimised.graph.node:
        if node.op_type in ("Cast", "DequantizeLinear") and node.input[0] in constants:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts


def strip_metadata(model: ModelProto) -> ModelProto:
    """Return a copy without the exporter's notes: stack traces, doc strings, intermediate shapes."""
    result = _copy(model)
    graph = result.graph
    del result.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        del item.metadata_props[:]
        item.ClearField("doc_string")
    onnx.checker.check_model(result)
    return result


def _widening_nodes(name: str, axis: int, widen: Widen) -> list[NodeProto]:
    if widen == "dequantize":
        inputs = [f"{name}.int8", f"{name}.scale"]
        return [helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}.widen", axis=axis)]
    wide = f"{name}.cast"
    return [
        helper.make_node("Cast", [f"{name}.int8"], [wide], name=f"{name}.widen", to=TensorProto.FLOAT),
        helper.make_node("Mul", [wide, f"{name}.scale"], [name], name=f"{name}.rescale"),
    ]


def _why_not_int8(
    name: str, weight: NDArray[np.float32], axes: set[int], keep: Collection[str], fixed: set[str]
) -> str | None:
    if name in keep:
        return "kept: asked for"
    if name in fixed:
        return "kept: a scale or a graph input"
    if not axes:
        return "no use that the axis rule knows"
    if len(axes) > 1:
        return f"its uses want scales along different axes {sorted(axes)}"
    return None if np.all(np.isfinite(weight)) else "holds NaN or infinite values"


def _weight_axes(model: ModelProto, axis_rule: AxisRule) -> dict[str, set[int]]:
    """Return, for each initializer, the axes that its uses (direct, or through one Transpose) ask for."""
    ranks = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    permuted: dict[str, tuple[str, list[int]]] = {}
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] in ranks:
            rank = ranks[node.input[0]]
            perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), list(range(rank))[::-1])
            permuted[node.output[0]] = (node.input[0], perm)
    axes: dict[str, set[int]] = {}
    for node in model.graph.node:
        for index, value in enumerate(node.input):
            name, perm = permuted.get(value, (value, list(range(ranks.get(value, 0)))))
            if name not in ranks:
                continue
            axis = axis_rule(node, index, ranks[name])
            if axis is not None:
                axes.setdefault(name, set()).add(perm[axis])
    return axes


def _float_initializers(
    model: ModelProto, min_elements: int
) -> Iterator[tuple[TensorProto, NDArray[np.float32]]]:
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and math.prod(tensor.dims) >= max(min_elements, 1):
            yield tensor, numpy_helper.to_array(tensor)


def _scale_names(model: ModelProto) -> set[str]:
    names = {name for node in model.graph.node if node.op_type in _QUANT_INPUTS for name in node.input[1:]}
    int8 = {tensor.name for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT8}
    casts = {node.output[0] for node in model.graph.node if node.op_type == "Cast" and node.input[0] in int8}
    for node in model.graph.node:
        if node.op_type == "Mul" and casts & set(node.input):
            names.update(node.input)
    return names


def _overridable(model: ModelProto) -> set[str]:
    # An initializer that is also a graph input is only a default value: a caller may feed another one.
    return {value.name for value in model.graph.input}


def _check_names(model: ModelProto, keep: Collection[str]) -> None:
    unknown = sorted(set(keep) - {tensor.name for tensor in model.graph.initializer})
    if unknown:
        raise ValueError(f"keep names {unknown}, but the model has no such initializers")


def _copy(model: ModelProto) -> ModelProto:
    result = ModelProto()
    result.CopyFrom(model)
    return result


def _finish(
    before: ModelProto,
    result: ModelProto,
    new_nodes: list[NodeProto],
    stored: list[StoredTensor],
    skipped: dict[str, str],
) -> tuple[ModelProto, CompactReport]:
    # Constants first: the nodes of a valid graph stand in an order in which every input exists already.
    nodes = [*new_nodes, *result.graph.node]
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    onnx.checker.check_model(result)
    return result, CompactReport(before.ByteSize(), result.ByteSize(), tuple(stored), skipped)
