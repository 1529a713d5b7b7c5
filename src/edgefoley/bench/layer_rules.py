"""The shapes that networks' layers make: products, convolutions, pooling, and quantisation of either.

Rules are those of onnx/docs/Operators.md and onnxruntime/docs/ContribOperators.md (Apache-2.0, MIT). See
``shapes``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from edgefoley.bench.graph_file import Node
from edgefoley.bench.shape_rules import Rule, Value, Values, axis_at, content_of, first


def given(inputs: Values, at: int) -> Value:
    """An input that has to be there."""
    value = inputs[at]
    if value is None:
        raise ValueError(f"its input {at} is missing")
    return value


def product(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a matrix product by NumPy's rules. Raises ValueError where the two do not fit."""
    a = left if len(left) > 1 else (1, *left)
    b = right if len(right) > 1 else (*right, 1)
    if a[-1] != b[-2]:
        raise ValueError(f"{left} and {right} cannot be multiplied")
    shape = (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])
    if len(left) == 1:
        shape = (*shape[:-2], shape[-1])
    return shape if len(right) > 1 else shape[:-1]


def _matmul(node: Node, inputs: Values) -> list[Value]:
    left, right = first(inputs), given(inputs, 1)
    dtype = "int32" if node.op == "MatMulInteger" else left.dtype
    dtype = "float32" if node.op in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat") else dtype
    return [Value(dtype, product(left.shape, right.shape))]


def _qlinear_matmul(node: Node, inputs: Values) -> list[Value]:
    return [Value(given(inputs, 7).dtype, product(first(inputs).shape, given(inputs, 3).shape))]


def _nbits(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    return [Value(value.dtype, (*value.shape[:-1], node.attributes["N"]))]


def _gemm(node: Node, inputs: Values) -> list[Value]:
    left, right = first(inputs), given(inputs, 1)
    rows = left.shape[1 if node.attributes.get("transA") else 0]
    return [Value(left.dtype, (rows, right.shape[0 if node.attributes.get("transB") else 1]))]


def _extents(node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...], ceil: bool = False) -> list[int]:
    """How many places a window of ``kernel`` has along each of ``sizes``."""
    rank = len(kernel)
    strides = node.attributes.get("strides") or [1] * rank
    steps = node.attributes.get("dilations") or [1] * rank
    pads = node.attributes.get("pads") or [0] * 2 * rank
    if node.attributes.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    found = []
    for i, size in enumerate(sizes):
        free = size + pads[i] + pads[i + rank] - steps[i] * (kernel[i] - 1) - 1
        found.append((-(-free // strides[i]) if ceil else free // strides[i]) + 1)
    return found


def _conv(node: Node, inputs: Values) -> list[Value]:
    value, at = first(inputs), 3 if node.op == "QLinearConv" else 1
    weight = given(inputs, at)
    dtype = {"ConvInteger": "int32"}.get(node.op, value.dtype)
    dtype = given(inputs, 7).dtype if node.op == "QLinearConv" else dtype
    shape = (value.shape[0], weight.shape[0], *_extents(node, value.shape[2:], weight.shape[2:]))
    return [Value(dtype, shape)]


def _conv_transpose(node: Node, inputs: Values) -> list[Value]:
    value, weight = first(inputs), given(inputs, 1)
    kernel, rank = weight.shape[2:], len(weight.shape) - 2
    channels = weight.shape[1] * node.attributes.get("group", 1)
    strides = node.attributes.get("strides") or [1] * rank
    steps = node.attributes.get("dilations") or [1] * rank
    pads = node.attributes.get("pads") or [0] * 2 * rank
    more = node.attributes.get("output_padding") or [0] * rank
    extents = node.attributes.get("output_shape") or [
        strides[i] * (value.shape[2 + i] - 1) + more[i] + (kernel[i] - 1) * steps[i] + 1 - pads[i]
        - pads[i + rank] for i in range(rank)
    ]  # fmt: skip
    return [Value(value.dtype, (value.shape[0], channels, *extents[-rank:]))]


def _pool(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    if node.op.startswith("Global"):
        return [Value(value.dtype, (*value.shape[:2], *[1] * (len(value.shape) - 2)))]
    kernel = tuple(node.attributes["kernel_shape"])
    extents = _extents(node, value.shape[2:], kernel, bool(node.attributes.get("ceil_mode")))
    return [Value(value.dtype, (*value.shape[:2], *extents))]


def _dynamic_quantize(node: Node, inputs: Values) -> list[Value]:
    return [Value("uint8", first(inputs).shape), Value("float32", ()), Value("uint8", ())]


def _quantize(node: Node, inputs: Values) -> list[Value]:
    zero = inputs[2] if len(inputs) > 2 else None
    return [Value("uint8" if zero is None else zero.dtype, first(inputs).shape)]


def _dequantize(node: Node, inputs: Values) -> list[Value]:
    return [Value(given(inputs, 1).dtype, first(inputs).shape)]


def _top(node: Node, inputs: Values) -> list[Value]:
    value, count = first(inputs), int(np.ravel(content_of(inputs[1]))[0])
    axis = axis_at(node.attributes.get("axis", -1), len(value.shape))
    shape = (*value.shape[:axis], count, *value.shape[axis + 1 :])
    return [Value(value.dtype, shape), Value("int64", shape)]


def _einsum(node: Node, inputs: Values) -> list[Value]:
    left, _, right = node.attributes["equation"].replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, value in zip(left.split(","), inputs, strict=True):
        assert value is not None
        sizes.update(zip(letters, value.shape, strict=True))
    return [Value(first(inputs).dtype, tuple(sizes[letter] for letter in right))]


def conv_operations(node: Node, inputs: Values, output: Value) -> int:
    """Multiplications and additions of a convolution of any kind."""
    weight = given(inputs, 3 if node.op == "QLinearConv" else 1)
    if node.op == "ConvTranspose":  # every input meets every weight of its group once
        return 2 * first(inputs).size * math.prod(weight.shape[1:])
    return 2 * output.size * math.prod(weight.shape[1:])


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("MatMul", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"), _matmul),
    **dict.fromkeys(("Conv", "ConvInteger", "QLinearConv"), _conv),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"), _pool),
    "QLinearMatMul": _qlinear_matmul, "MatMulNBits": _nbits, "Gemm": _gemm, "ConvTranspose": _conv_transpose,
    "DynamicQuantizeLinear": _dynamic_quantize, "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize, "TopK": _top, "Einsum": _einsum,
}  # fmt: skip
