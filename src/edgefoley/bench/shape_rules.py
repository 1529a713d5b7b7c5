"""The shapes that operators make, and the numbers of small tensors: element by element, reductions, moves.

Rules are those of onnx/docs/Operators.md (Apache-2.0). See ``shapes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgefoley.bench.graph_file import SMALL, TYPES, Array, Constant, Node


@dataclass(frozen=True)
class Value:
    """A tensor: ``content`` where it is known and small; ``fixed``: it follows from constants alone."""

    dtype: str
    shape: tuple[int, ...]
    content: Array | None = None
    fixed: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Values = Sequence[Value | None]
Rule = Callable[[Node, Values], list[Value]]


def small(content: Array | None, shape: Sequence[int]) -> Array | None:
    return None if content is None or math.prod(shape) > SMALL else np.asarray(content).reshape(shape)


def content_of(value: Value | None) -> Array:
    if value is None or value.content is None:
        raise ValueError("it depends on what is computed")
    return value.content


def integers(value: Value | None) -> list[int]:
    return [int(item) for item in np.ravel(content_of(value))]


def told_list(node: Node, inputs: Values, name: str, at: int) -> list[int] | None:
    """A list that older operators have as an attribute and newer ones as an input; None: neither."""
    if name in node.attributes:
        return list(node.attributes[name])
    return integers(inputs[at]) if len(inputs) > at and inputs[at] is not None else None


def first(inputs: Values) -> Value:
    value = inputs[0]
    assert value is not None
    return value


def axis_at(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


# --- element by element -------------------------------------------------------------------------------------

_UNARY: Final[Mapping[str, Callable[..., Any] | None]] = {
    "Neg": np.negative, "Abs": np.abs, "Floor": np.floor, "Ceil": np.ceil, "Sqrt": np.sqrt, "Exp": np.exp,
    "Log": np.log, "Sin": np.sin, "Cos": np.cos, "Reciprocal": np.reciprocal, "Identity": np.positive,
    "Round": np.round, "Not": np.logical_not, "Sign": np.sign, "Tanh": np.tanh, "IsNaN": np.isnan,
    "Sigmoid": None, "Relu": None, "Erf": None, "Gelu": None, "FastGelu": None, "QuickGelu": None,
    "Softmax": None, "LogSoftmax": None, "Clip": None, "LeakyRelu": None, "HardSigmoid": None,
    "HardSwish": None, "Softplus": None, "Elu": None, "CumSum": None, "LayerNormalization": None,
    "SimplifiedLayerNormalization": None, "RMSNormalization": None, "BatchNormalization": None,
    "InstanceNormalization": None, "GroupNormalization": None, "LpNormalization": None, "Dropout": None,
    "Trilu": None, "Mish": None, "Swish": None, "PRelu": None, "BiasGelu": None, "ScatterND": None,
    "ScatterElements": None,
}  # fmt: skip
_BINARY: Final[Mapping[str, Callable[..., Any]]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power, "Mod": np.mod,
    "Min": np.minimum, "Max": np.maximum, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
    "Equal": np.equal, "Greater": np.greater, "Less": np.less, "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal, "Div": np.divide, "Sum": np.add,
}  # fmt: skip
_LOGICAL: Final = frozenset(
    {"And", "Or", "Xor", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not", "IsNaN"}
)
_REDUCE: Final[Mapping[str, Callable[..., Any] | None]] = {
    "ReduceMean": np.mean, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min,
    "ReduceProd": np.prod, "ReduceL2": None, "ReduceL1": None, "ReduceSumSquare": None,
}  # fmt: skip


def _unary(node: Node, inputs: Values) -> list[Value]:
    value, compute = first(inputs), _UNARY[node.op]
    content = None
    if compute is not None and value.content is not None and value.dtype not in ("bfloat16", "string"):
        with np.errstate(all="ignore"):
            content = compute(value.content)
    return [Value("bool" if node.op in _LOGICAL else value.dtype, value.shape, content)]


def _binary(node: Node, inputs: Values) -> list[Value]:
    values = [value for value in inputs if value is not None]
    shape = np.broadcast_shapes(*(value.shape for value in values))
    content = None
    if all(value.content is not None for value in values) and math.prod(shape) <= SMALL:
        content, whole = content_of(values[0]), "int" in values[0].dtype
        compute = np.floor_divide if node.op == "Div" and whole else _BINARY[node.op]
        with np.errstate(all="ignore"):
            for value in values[1:]:
                content = compute(content, content_of(value))
    return [Value("bool" if node.op in _LOGICAL else values[0].dtype, tuple(shape), content)]


def _where(node: Node, inputs: Values) -> list[Value]:
    asked, yes, no = (value for value in inputs if value is not None)
    shape = tuple(np.broadcast_shapes(asked.shape, yes.shape, no.shape))
    if asked.content is None or yes.content is None or no.content is None:
        return [Value(yes.dtype, shape)]
    return [Value(yes.dtype, shape, np.where(asked.content, yes.content, no.content))]


def _cast(node: Node, inputs: Values) -> list[Value]:
    value, dtype = first(inputs), TYPES[node.attributes["to"]]
    content = None
    if value.content is not None and dtype not in ("bfloat16", "string", "int4", "uint4"):
        with np.errstate(all="ignore"):
            content = value.content.astype(dtype)
    return [Value(dtype, value.shape, content)]


def _reduce(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    axes = told_list(node, inputs, "axes", 1)
    if not axes and not node.attributes.get("noop_with_empty_axes"):
        axes = list(range(len(value.shape)))
    axes = [axis_at(axis, len(value.shape)) for axis in axes or ()]
    keep = bool(node.attributes.get("keepdims", 1))
    compute, content = _REDUCE.get(node.op), None
    if compute is not None and value.content is not None and value.size:
        content = compute(value.content, axis=tuple(axes), keepdims=keep)
    extents = [1 if i in axes else size for i, size in enumerate(value.shape) if keep or i not in axes]
    return [Value("int64" if node.op.startswith("Arg") else value.dtype, tuple(extents), content)]


def _arg(node: Node, inputs: Values) -> list[Value]:
    axis = axis_at(node.attributes.get("axis", 0), len(first(inputs).shape))
    return _reduce(Node(node.op, "", (), (), {**node.attributes, "axes": [axis]}), inputs[:1])


# --- shapes and places --------------------------------------------------------------------------------------


def _shape(node: Node, inputs: Values) -> list[Value]:
    shape = first(inputs).shape
    part = shape[node.attributes.get("start", 0) : node.attributes.get("end", len(shape))]
    return [Value("int64", (len(part),), np.array(part, np.int64))]


def _reshape(node: Node, inputs: Values) -> list[Value]:
    value, wanted = first(inputs), integers(inputs[1])
    if not node.attributes.get("allowzero"):
        wanted = [value.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if -1 in wanted:
        rest = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = value.size // rest
    if math.prod(wanted) != value.size:
        raise ValueError(f"{value.shape} does not fit into {wanted}")
    return [Value(value.dtype, tuple(wanted), small(value.content, wanted))]


def _squeeze(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    axes = told_list(node, inputs, "axes", 1)
    if axes is None:
        axes = [i for i, size in enumerate(value.shape) if size == 1]
    gone = {axis_at(axis, len(value.shape)) for axis in axes}
    shape = tuple(size for i, size in enumerate(value.shape) if i not in gone)
    return [Value(value.dtype, shape, small(value.content, shape))]


def _unsqueeze(node: Node, inputs: Values) -> list[Value]:
    value, axes = first(inputs), told_list(node, inputs, "axes", 1) or []
    rank = len(value.shape) + len(axes)
    new = {axis_at(axis, rank) for axis in axes}
    rest = iter(value.shape)
    shape = tuple(1 if i in new else next(rest) for i in range(rank))
    return [Value(value.dtype, shape, small(value.content, shape))]


def _flatten(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    axis = axis_at(node.attributes.get("axis", 1), len(value.shape))
    return [Value(value.dtype, (math.prod(value.shape[:axis]), math.prod(value.shape[axis:])))]


def _transpose(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    order = node.attributes.get("perm") or list(range(len(value.shape)))[::-1]
    content = None if value.content is None else np.transpose(value.content, order)
    return [Value(value.dtype, tuple(value.shape[i] for i in order), content)]


def _concat(node: Node, inputs: Values) -> list[Value]:
    values = [value for value in inputs if value is not None]
    axis = axis_at(node.attributes["axis"], len(values[0].shape))
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    content = None
    if math.prod(shape) <= SMALL and all(value.content is not None for value in values):
        content = np.concatenate([content_of(value) for value in values], axis)
    return [Value(values[0].dtype, tuple(shape), content)]


def _slice(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    starts, ends = told_list(node, inputs, "starts", 1), told_list(node, inputs, "ends", 2)
    assert starts is not None and ends is not None
    axes = told_list(node, inputs, "axes", 3) or list(range(len(starts)))
    steps = told_list(node, inputs, "steps", 4) or [1] * len(starts)
    cut: list[slice] = [slice(None)] * len(value.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis, length = axis_at(axis, len(value.shape)), value.shape[axis]
        # From the last element backwards to the first: an end before it is none at all.
        stop = None if step < 0 and end < -length else end
        cut[axis] = slice(max(start, -length), stop, step)
    shape = tuple(len(range(*part.indices(size))) for part, size in zip(cut, value.shape, strict=True))
    return [Value(value.dtype, shape, None if value.content is None else value.content[tuple(cut)])]


def _split(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    axis = axis_at(node.attributes.get("axis", 0), len(value.shape))
    parts = told_list(node, inputs, "split", 1)
    if parts is None:
        many, whole = len(node.outputs), value.shape[axis]
        size = -(-whole // many)
        parts = [min(size, whole - i * size) for i in range(many)]
    made, begin = [], 0
    for size in parts:
        shape = (*value.shape[:axis], size, *value.shape[axis + 1 :])
        content = None
        if value.content is not None:
            content = np.take(value.content, range(begin, begin + size), axis)
        made.append(Value(value.dtype, shape, content))
        begin += size
    return made


def _gather(node: Node, inputs: Values) -> list[Value]:
    value, index = first(inputs), inputs[1]
    assert index is not None
    axis = axis_at(node.attributes.get("axis", 0), len(value.shape))
    shape = (*value.shape[:axis], *index.shape, *value.shape[axis + 1 :])
    content = None
    if value.content is not None and index.content is not None and math.prod(shape) <= SMALL:
        content = np.take(value.content, index.content, axis)
    return [Value(value.dtype, shape, content)]


def _like_index(node: Node, inputs: Values) -> list[Value]:
    index = inputs[1]
    assert index is not None
    return [Value(first(inputs).dtype, index.shape)]


def _gather_nd(node: Node, inputs: Values) -> list[Value]:
    value, index, batch = first(inputs), inputs[1], node.attributes.get("batch_dims", 0)
    assert index is not None
    return [Value(value.dtype, (*index.shape[:-1], *value.shape[batch + index.shape[-1] :]))]


def _expand(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    shape = tuple(np.broadcast_shapes(value.shape, tuple(integers(inputs[1]))))
    known = value.content is not None and math.prod(shape) <= SMALL
    return [Value(value.dtype, shape, np.broadcast_to(content_of(value), shape) if known else None)]


def _tile(node: Node, inputs: Values) -> list[Value]:
    value, times = first(inputs), integers(inputs[1])
    shape = tuple(a * b for a, b in zip(value.shape, times, strict=True))
    known = value.content is not None and math.prod(shape) <= SMALL
    return [Value(value.dtype, shape, np.tile(content_of(value), times) if known else None)]


def _pad(node: Node, inputs: Values) -> list[Value]:
    value, pads = first(inputs), told_list(node, inputs, "pads", 1) or []
    rank = len(value.shape)
    axes = list(range(rank))
    if len(inputs) > 3 and inputs[3] is not None:
        axes = [axis_at(axis, rank) for axis in integers(inputs[3])]
    shape = list(value.shape)
    for i, axis in enumerate(axes):
        shape[axis] += pads[i] + pads[i + len(axes)]
    return [Value(value.dtype, tuple(shape))]


def _range(node: Node, inputs: Values) -> list[Value]:
    start, stop, step = (content_of(value).reshape(()) for value in inputs)
    made: Array = np.arange(start.item(), stop.item(), step.item(), dtype=start.dtype)
    return [Value(first(inputs).dtype, made.shape, small(made, made.shape))]


def _filled(node: Node, inputs: Values) -> list[Value]:
    shape, told = tuple(integers(inputs[0])), node.attributes.get("value")
    value = np.zeros(1, np.float32) if told is None else np.ravel(told.content)
    content = np.full(shape, value[0]) if math.prod(shape) <= SMALL else None
    return [Value(value.dtype.name, shape, content)]


def _constant(node: Node, inputs: Values) -> list[Value]:
    for told in node.attributes.values():
        if isinstance(told, Constant):
            return [Value(told.dtype, told.shape, told.content)]
        if isinstance(told, int | float | list):
            content = np.array(
                told, np.int64 if isinstance(np.ravel(told)[:1].tolist()[0], int) else np.float32
            )
            return [Value(content.dtype.name, content.shape, content)]
    raise ValueError("a constant of an unknown kind")


def _size(node: Node, inputs: Values) -> list[Value]:
    return [Value("int64", (), np.array(first(inputs).size, np.int64))]


def _resize(node: Node, inputs: Values) -> list[Value]:
    value = first(inputs)
    if len(inputs) > 3 and inputs[3] is not None:
        return [Value(value.dtype, tuple(integers(inputs[3])))]
    scales = np.ravel(content_of(inputs[2]))
    return [Value(value.dtype, tuple(math.floor(n * s) for n, s in zip(value.shape, scales, strict=True)))]


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_REDUCE, _reduce),
    "ArgMax": _arg, "ArgMin": _arg, "Where": _where, "Cast": _cast, "Shape": _shape, "Reshape": _reshape,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Flatten": _flatten, "Transpose": _transpose,
    "Concat": _concat, "Slice": _slice, "Split": _split, "Gather": _gather, "GatherElements": _like_index,
    "GatherND": _gather_nd, "Expand": _expand, "Tile": _tile, "Pad": _pad, "Range": _range,
    "ConstantOfShape": _filled, "Constant": _constant, "Size": _size, "Resize": _resize,
}  # fmt: skip
