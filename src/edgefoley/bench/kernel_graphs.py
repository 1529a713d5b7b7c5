"""The small graphs that ``kernels`` measures: one kernel each, and chains of one kernel.

Every function returns an ONNX graph and what it computes and moves, as ``operations`` counts it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from edgefoley.bench.graph_file import Sketch, Tensor

Shape = tuple[int, ...]

# (rows, inner, columns) of products with weights: few rows as a step of time has them, a clip's rows, and
# widths from narrow to wide.
MATMUL: Final[Sequence[Shape]] = (
    (1, 320, 320), (16, 256, 256), (1, 1024, 4096), (8, 256, 1024), (32, 512, 512), (64, 256, 256),
    (128, 320, 1280), (256, 256, 768), (256, 768, 256), (256, 1024, 1024), (512, 512, 2048), (512, 64, 64),
    (1024, 384, 384), (2048, 128, 256), (512, 1536, 1536),
)  # fmt: skip
PRODUCT: Final[Sequence[Shape]] = (
    (4, 128, 64, 128), (4, 128, 128, 64), (6, 256, 64, 256), (6, 256, 256, 64), (8, 512, 64, 512),
    (8, 512, 512, 64), (4, 16, 16, 16), (4, 256, 64, 16),
)  # fmt: skip
# (pictures, channels in, channels out, kernel area, places put out, groups). Engines keep the channels of
# convolutions that follow each other in blocks: these are chained, there and back, and both ways counted
# alike.
CONV: Final[Sequence[Shape]] = (
    (1, 16, 32, 9, 56 * 56, 1), (1, 64, 64, 9, 28 * 28, 1), (1, 128, 128, 9, 14 * 14, 1),
    (16, 64, 64, 9, 49, 1), (4, 32, 16, 1, 112 * 112, 1), (4, 24, 144, 1, 56 * 56, 1),
    (4, 40, 240, 1, 28 * 28, 1), (4, 112, 480, 1, 14 * 14, 1), (4, 192, 1152, 1, 49, 1),
)  # fmt: skip
DEPTHWISE: Final[Sequence[Shape]] = (
    (4, 32, 32, 9, 112 * 112, 32), (4, 144, 144, 9, 56 * 56, 144), (4, 240, 240, 25, 28 * 28, 240),
    (4, 480, 480, 9, 14 * 14, 480), (4, 1152, 1152, 25, 49, 1152),
)  # fmt: skip
# Few channels in, as the first layers have, and lines instead of pictures: no blocks.
FIRST: Final[Sequence[Shape]] = (
    (4, 3, 32, 9, 112 * 112, 1), (32, 8, 16, 9, 28 * 28, 1), (32, 3, 16, 25, 56 * 56, 1),
    (32, 1, 16, 9, 28 * 28, 1),
)  # fmt: skip
LINES: Final[Sequence[Shape]] = (
    (1, 48, 256, 7, 500, 1), (1, 128, 128, 3, 500, 1), (1, 256, 256, 7, 500, 256), (1, 512, 512, 7, 500, 512),
)  # fmt: skip
TRANSPOSED: Final[Sequence[Shape]] = (
    (1, 512, 1, 1024, 500, 1),
    (1, 256, 128, 16, 500, 1),
    (1, 96, 48, 8, 4000, 1),
)
CHAIN_BYTES: Final = (1 << 15, 1 << 18, 1 << 20, 1 << 22)
CHAINED: Final = ("Add", "Mul", "Div", "Abs", "Sqrt", "Exp", "Sin", "Sigmoid", "Tanh", "Erf", "Gelu", "Pow",
                  "Softmax", "LayerNormalization", "SpreadAdd")  # fmt: skip
# What cannot be chained, since engines join two of a kind or since the shape changes; large enough that what
# a call costs is little beside it.
ALONE_BYTES: Final = (1 << 18, 1 << 20, 1 << 22)
ALONE: Final = ("Concat", "Slice", "Gather", "Split", "Cast", "ReduceMean", "Greater", "Where", "Pad",
                "Expand", "Transpose", "Turn", "Scatter", "Step")  # fmt: skip


# --- products and convolutions ------------------------------------------------------------------------------

Made = tuple[Sketch, tuple[str, str, Shape, int, int]]


def product(shape: Shape, length: int = 1) -> Made:
    """Products of two inputs, as attention has them; further ones (``length``) of the result with the second
    input."""
    heads, rows, inner, columns = shape
    sketch = Sketch([Tensor("x0", "float32", (1, heads, rows, inner)),
                     Tensor("b", "float32", (1, heads, inner, columns))],
                    [Tensor(f"x{length}", "float32", (1, heads, rows, columns))])  # fmt: skip
    for i in range(length):
        sketch.node("MatMul", [f"x{i}", "b"], [f"x{i + 1}"])
    moved = 4 * heads * (rows * inner + inner * columns + rows * columns)
    return sketch, ("product", "MatMul", shape, 2 * heads * rows * inner * columns, moved)


def matmul(shape: Shape, length: int = 1) -> Made:
    """Products with weights in float32, ``length`` one after the other."""
    rows, inner, columns = shape
    sketch = _rows(shape, length)
    for i in range(length):
        sketch.constant(f"w{i}", _weights((inner, columns)))
        sketch.node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"])
    moved = 4 * (rows * inner + inner * columns + rows * columns)
    return sketch, ("matmul", "MatMul", shape, 2 * rows * inner * columns, moved)


def matmul_int8(shape: Shape, length: int = 1) -> Made:
    """The same with weights in INT8 and inputs quantised on the way, as ``quant.emit`` writes such layers;
    engines fuse the five nodes into one."""
    rows, inner, columns = shape
    sketch, random = _rows(shape, length), np.random.default_rng(1)
    for i in range(length):
        sketch.constant(f"w{i}", random.integers(-127, 128, (inner, columns)).astype(np.int8))
        sketch.constant(f"s{i}", np.full((columns,), 0.01, np.float32))
        sketch.constant(f"z{i}", np.zeros((columns,), np.int8))
        sketch.node("DynamicQuantizeLinear", [f"x{i}"], [f"q{i}", f"qs{i}", f"qz{i}"])
        sketch.node("MatMulInteger", [f"q{i}", f"w{i}", f"qz{i}", f"z{i}"], [f"i{i}"])
        sketch.node("Cast", [f"i{i}"], [f"f{i}"], to=1)
        sketch.node("Mul", [f"qs{i}", f"s{i}"], [f"both{i}"])
        sketch.node("Mul", [f"f{i}", f"both{i}"], [f"x{i + 1}"])
    moved = 4 * rows * inner + inner * columns + 4 * rows * columns
    return sketch, ("matmul_int8", "MatMulInteger", shape, 2 * rows * inner * columns, moved)


def _rows(shape: Shape, length: int) -> Sketch:
    rows, inner, columns = shape
    return Sketch([Tensor("x0", "float32", (1, rows, inner))],
                  [Tensor(f"x{length}", "float32", (1, rows, columns))])  # fmt: skip


def convolutions() -> Iterator[Made]:
    """Those that are measured alone: first layers, lines, transposed."""
    for shape in FIRST:
        yield square_conv(shape)
    for shape in LINES:
        yield _conv(shape, (shape[4],), (shape[3],))
    for shape in TRANSPOSED:
        pictures, before, after, area, places, _ = shape
        stride = max(1, area // 2)
        long = stride * (places - 1) + area
        sketch = Sketch([Tensor("x", "float32", (pictures, before, places))],
                        [Tensor("y", "float32", (pictures, after, long))])  # fmt: skip
        sketch.constant("w", _weights((before, after, area)))
        sketch.node("ConvTranspose", ["x", "w"], ["y"], strides=[stride])
        work = 2 * pictures * before * places * after * area
        moved = 4 * (pictures * before * places + before * after * area + pictures * after * stride * places)
        yield sketch, ("conv_transpose", "ConvTranspose", shape, work, moved)


def square_conv(shape: Shape) -> Made:
    side, kernel = math.isqrt(shape[4]), math.isqrt(shape[3])
    return _conv(shape, (side, side), (kernel, kernel))


def there_and_back(shape: Shape, pairs: int) -> Sketch:
    """Convolutions from the one number of channels to the other and back, ``pairs`` times."""
    pictures, before, after, area, places, groups = shape
    side, kernel = math.isqrt(places), math.isqrt(area)
    sketch = Sketch([Tensor("x0", "float32", (pictures, before, side, side))],
                    [Tensor(f"x{2 * pairs}", "float32", (pictures, before, side, side))])  # fmt: skip
    for i in range(2 * pairs):
        into, out = (before, after) if i % 2 == 0 else (after, before)
        sketch.constant(f"w{i}", _weights((out, into // groups, kernel, kernel)))
        sketch.constant(f"b{i}", _weights((out,)))
        pads = [kernel // 2] * 4
        sketch.node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"], group=groups, pads=pads)
    return sketch


def _conv(shape: Shape, places: Shape, kernel: Shape) -> Made:
    pictures, before, after, area, _, groups = shape
    sketch = Sketch([Tensor("x", "float32", (pictures, before, *places))],
                    [Tensor("y", "float32", (pictures, after, *places))])  # fmt: skip
    sketch.constant("w", _weights((after, before // groups, *kernel)))
    sketch.constant("b", _weights((after,)))
    sketch.node("Conv", ["x", "w", "b"], ["y"], group=groups, pads=[k // 2 for k in kernel] * 2)
    total = math.prod(places)
    work = 2 * pictures * after * total * (before // groups) * area
    moved = 4 * (pictures * (before + after) * total + after * (before // groups) * area)
    kind = "conv_depthwise" if groups > 1 else "conv"
    return sketch, (kind, "Conv", shape, work, moved)


def _weights(shape: Shape) -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(shape) / math.sqrt(shape[0])).astype(np.float32)


# --- numbers one by one -------------------------------------------------------------------------------------


def chain(op: str, size: int, length: int) -> tuple[Sketch, int]:
    """``length`` nodes of one operator over tensors of ``size`` bytes; and the bytes that one node moves."""
    rows = max(1, size // 4 // 256)
    shape = (1, rows, 256)
    sketch = Sketch([Tensor("x0", "float32", shape)], [Tensor(f"x{length}", "float32", shape)], opset=20)
    moved = 2 * size
    if op in ("Add", "Mul", "Div"):
        sketch.inputs.append(Tensor("other", "float32", shape))
        moved += size
    if op in ("LayerNormalization", "SpreadAdd"):
        sketch.constant("scale", np.ones(256, np.float32))
    if op == "Pow":
        sketch.constant("two", np.array(2, np.float32))
    for i in range(length):
        inputs, given = [f"x{i}"], dict[str, Any]()
        if op in ("Add", "Mul", "Div"):
            inputs.append("other")
        elif op in ("LayerNormalization", "SpreadAdd"):
            inputs.append("scale")
        elif op == "Pow":
            inputs.append("two")
        elif op == "Softmax":
            given = {"axis": -1}
        # Engines join neighbours that add or multiply constants: they take turns.
        name = ("Add" if i % 2 else "Mul") if op == "SpreadAdd" else op
        sketch.node(name, inputs, [f"x{i + 1}"], **given)
    return sketch, moved


def alone(op: str, size: int) -> tuple[Sketch, int]:
    """One node that makes (ReduceMean: reads) ``size`` bytes; and the bytes that it moves."""
    rows = max(2, size // 4 // 256)
    whole, half = (1, rows, 256), (1, rows, 128)
    wide = Tensor("x", "float32", whole)
    sketch, moved = Sketch([wide], [Tensor("y", "float32", whole)]), 2 * size
    if op == "Concat":
        sketch.inputs = [Tensor("a", "float32", half), Tensor("b", "float32", half)]
        sketch.node("Concat", ["a", "b"], ["y"], axis=-1)
    elif op == "Slice":
        sketch.inputs = [Tensor("x", "float32", (1, rows, 512))]
        for name, value in (("start", 128), ("stop", 384), ("axis", 2)):
            sketch.constant(name, np.array([value], np.int64))
        sketch.node("Slice", ["x", "start", "stop", "axis"], ["y"])
    elif op == "Gather":
        sketch.constant("places", np.random.default_rng(2).permutation(rows).astype(np.int64))
        sketch.node("Gather", ["x", "places"], ["y"], axis=1)
    elif op == "Split":
        sketch.outputs = [Tensor("y", "float32", half), Tensor("z", "float32", half)]
        sketch.node("Split", ["x"], ["y", "z"], axis=-1)
    elif op == "Cast":
        sketch.inputs, moved = [Tensor("x", "uint8", whole)], size + size // 4
        sketch.node("Cast", ["x"], ["y"], to=1)
    elif op == "ReduceMean":
        sketch.outputs, moved = [Tensor("y", "float32", (1, rows, 1))], size
        sketch.node("ReduceMean", ["x"], ["y"], axes=[-1])
    elif op == "Greater":
        sketch.inputs.append(Tensor("other", "float32", whole))
        sketch.outputs, moved = [Tensor("y", "bool", whole)], 2 * size + size // 4
        sketch.node("Greater", ["x", "other"], ["y"])
    elif op == "Where":
        sketch.inputs += [Tensor("other", "float32", whole), Tensor("which", "bool", whole)]
        moved = 3 * size + size // 4
        sketch.node("Where", ["which", "x", "other"], ["y"])
    elif op == "Transpose":  # rows of 64 stay whole, as heads are taken apart and put together
        sketch.inputs = [Tensor("x", "float32", (1, rows, 4, 64))]
        sketch.outputs = [Tensor("y", "float32", (1, 4, rows, 64))]
        sketch.node("Transpose", ["x"], ["y"], perm=[0, 2, 1, 3])
    elif op == "Scatter":
        sketch.inputs = [Tensor("x", "float32", (1, rows, 4, 64, 1))]
        sketch.outputs = [Tensor("y", "float32", (1, 1, 4, rows, 64))]
        sketch.node("Transpose", ["x"], ["y"], perm=[0, 4, 2, 1, 3])
    elif op == "Step":
        for name, value in (("start", -1), ("stop", -1000), ("axis", 2), ("step", -1)):
            sketch.constant(name, np.array([value], np.int64))
        sketch.node("Slice", ["x", "start", "stop", "axis", "step"], ["y"])
    elif op == "Turn":
        sketch.outputs = [Tensor("y", "float32", (1, 256, rows))]
        sketch.node("Transpose", ["x"], ["y"], perm=[0, 2, 1])
    elif op == "Pad":
        sketch.inputs = [Tensor("x", "float32", (1, rows - 1, 256))]
        sketch.constant("by", np.array([0, 1, 0, 0, 0, 0], np.int64))
        sketch.node("Pad", ["x", "by"], ["y"])
    elif op == "Expand":
        sketch.inputs, moved = [Tensor("x", "float32", (1, rows, 1))], size
        sketch.constant("to", np.array(whole, np.int64))
        sketch.node("Expand", ["x", "to"], ["y"])
    return sketch, moved
