"""What a graph has to compute and to move, counted node by node.

An operation is one multiplication or addition of a matrix product or a convolution, so a multiply-add is two;
other operators have none, their work is the bytes they read and write. Bytes are those of a node's tensors,
each once: what it moves at the least when it runs alone. What the engine computes when it opens the graph
(widened weights, constants) costs nothing at run time, and what only looks at a tensor in another shape
neither.

``KINDS`` says which operators count as what. Quantised layers are told by their pattern: integer operators,
and products of two tensors that DequantizeLinear made, which engines compute in integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgefoley.bench.graph_file import Node, bytes_of
from edgefoley.bench.layer_rules import conv_operations
from edgefoley.bench.shape_rules import Value
from edgefoley.bench.workload import Pass, Shape
from edgefoley.memory import most_living

VIEWS: Final = frozenset(
    {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Size", "Dropout", "Constant"}
)
PRODUCTS: Final[Mapping[str, str]] = {
    "MatMul": "matmul", "Gemm": "matmul", "Einsum": "product", "MatMulInteger": "matmul_int8",
    "QLinearMatMul": "matmul_int8", "MatMulIntegerToFloat": "matmul_int8",
    "DynamicQuantizeMatMul": "matmul_int8", "MatMulNBits": "matmul_blocks", "Conv": "conv",
    "ConvTranspose": "conv_transpose", "ConvInteger": "conv_int8", "QLinearConv": "conv_int8",
}  # fmt: skip
MOVES: Final = frozenset(
    {
        "Transpose", "Concat", "Slice", "Split", "Gather", "GatherElements", "GatherND", "Expand", "Tile",
        "Pad", "Range", "ConstantOfShape", "ScatterND", "ScatterElements", "Resize", "Trilu",
    }
)  # fmt: skip
CURVES: Final = frozenset(
    {
        "Exp", "Log", "Sin", "Cos", "Tanh", "Sigmoid", "Erf", "Gelu", "FastGelu", "QuickGelu", "BiasGelu",
        "Softplus", "HardSwish", "Mish", "Swish", "Elu", "Pow", "Mod",
    }
)  # fmt: skip
NORMS: Final = frozenset(
    {
        "Softmax", "LogSoftmax", "LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization",
        "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LpNormalization",
    }
)  # fmt: skip
BLOCK: Final = 16  # numbers that lie together, from which a move goes by blocks
_CLAMPS: Final = frozenset({"Relu", "Clip", "LeakyRelu"})  # engines let a convolution do these as it writes


@dataclass(frozen=True)
class Work:
    """One node: ``kind`` (of ``PRODUCTS``, "conv_depthwise", or "move", "curve", "norm", "reduce",
    "elementwise"), ``operations``, bytes ``read`` and ``written``, of what is read the ``weights``.
    ``shape``: of products (rows, inner, columns) or (heads, rows, inner, columns), of convolutions (pictures,
    channels in, channels out, kernel area, places put out, groups), else the output's. ``manner``: how it
    goes through memory, see ``manner_of``."""

    op: str
    name: str
    kind: str
    operations: int
    read: int
    written: int
    weights: int
    shape: Shape
    manner: str = ""

    @property
    def bytes(self) -> int:
        return self.read + self.written


@dataclass(frozen=True)
class Count:
    """A sum over nodes: ``operations`` and ``bytes`` by kind; ``weights``: bytes of constants as the engine
    holds them; ``nodes`` that do something."""

    operations: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    nodes: int = 0

    @property
    def total(self) -> int:
        """Operations of all kinds."""
        return sum(self.operations.values())

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes.values())


def work_of(one: Pass) -> list[Work]:
    """Every node that costs something when the graph runs, in order."""
    values, makers, users = one.values, dict[str, Node](), dict[str, list[Node]]()
    for node in one.graph.nodes:
        makers |= dict.fromkeys(node.outputs, node)
        for name in node.inputs:
            users.setdefault(name, []).append(node)
    found = []
    for node in one.graph.nodes:
        outputs = [values[name] for name in node.outputs if name in values]
        if all(value.fixed for value in outputs) or node.op in VIEWS or _inside(node, makers, users):
            continue
        if all(value.content is not None for value in outputs) and node.op not in PRODUCTS:
            continue  # lengths and places: a few numbers
        inputs = [values[name] if name else None for name in node.inputs]
        found.append(_work(node, inputs, outputs, makers))
    return found


def count(works: Iterable[Work], times: int = 1) -> Count:
    """The sum of ``works``, ``times`` over."""
    operations, moved, nodes = dict[str, int](), dict[str, int](), 0
    for work in works:
        operations[work.kind] = operations.get(work.kind, 0) + times * work.operations
        moved[work.kind] = moved.get(work.kind, 0) + times * work.bytes
        nodes += times
    return Count({kind: number for kind, number in operations.items() if number}, moved, nodes)


def count_run(passes: Sequence[Pass]) -> dict[str, Count]:
    """What each component has to do in a whole run; a chain's parts under the chain's name."""
    sums: dict[str, list[Count]] = {}
    for one in passes:
        sums.setdefault(one.component.partition(".")[0], []).append(count(work_of(one), one.times))
    return {name: _joined(counts) for name, counts in sums.items()}


def _joined(counts: Sequence[Count]) -> Count:
    operations, moved = dict[str, int](), dict[str, int]()
    for one in counts:
        for total, part in ((operations, one.operations), (moved, one.bytes)):
            for kind, number in part.items():
                total[kind] = total.get(kind, 0) + number
    return Count(operations, moved, sum(one.nodes for one in counts))


def is_integer(node: Node, makers: Mapping[str, Node]) -> bool:
    """Whether both factors of a product come from DequantizeLinear: engines multiply the integers."""
    return node.op in ("MatMul", "Gemm", "Conv") and all(
        name in makers and makers[name].op == "DequantizeLinear" for name in node.inputs[:2]
    )


def _inside(node: Node, makers: Mapping[str, Node], users: Mapping[str, list[Node]]) -> bool:
    """Whether the engine does the node's work within a quantised layer: DequantizeLinear in front of one,
    Cast and Mul by scales behind an integer product, the product of two scales."""
    if node.op == "DequantizeLinear":
        after = [user for name in node.outputs for user in users.get(name, ())]
        return bool(after) and all(is_integer(user, makers) for user in after)
    maker = makers.get(node.inputs[0]) if node.inputs else None
    if node.op == "Cast" and maker is not None:
        return maker.op in ("MatMulInteger", "ConvInteger")
    if node.op == "Mul" and maker is not None:
        before = makers.get(maker.inputs[0]) if maker.op == "Cast" else None
        return before is not None and before.op in ("MatMulInteger", "ConvInteger")
    if node.op in _CLAMPS and maker is not None:
        return maker.op in ("Conv", "QLinearConv", "ConvTranspose") and len(users[node.inputs[0]]) == 1
    return False


def _work(
    node: Node, inputs: Sequence[Value | None], outputs: Sequence[Value], makers: Mapping[str, Node]
) -> Work:
    there = [value for value in inputs if value is not None]
    read = sum(bytes_of(value.dtype, value.shape) for value in there)
    weights = sum(bytes_of(value.dtype, value.shape) for value in there if value.fixed)
    written = sum(bytes_of(value.dtype, value.shape) for value in outputs)
    operations, shape = 0, outputs[0].shape
    kind = PRODUCTS.get(node.op) or _kind(node.op)
    if kind.startswith("conv"):
        kind, shape, operations = _conv(node, there, outputs[0], kind)
    elif node.op in PRODUCTS:
        kind, shape, operations = _product(node, there, outputs[0], kind)
    elif node.op in ("Gather", "GatherND", "GatherElements", "Slice", "Split"):
        read = written  # only what is taken
        weights = min(weights, read)
    if is_integer(node, makers) and kind in ("matmul", "product", "conv", "conv_depthwise"):
        kind = {"matmul": "matmul_int8", "product": "matmul_int8"}.get(kind, "conv_int8")
        read, weights = read // 4, weights // 4
    name = node.name or node.outputs[0]
    return Work(node.op, name, kind, operations, read, written, weights, shape, manner_of(node, there))


def manner_of(node: Node, inputs: Sequence[Value]) -> str:
    """ "turned": a matrix is transposed. "scattered": no two neighbours stay neighbours (any other
    transposition that moves the last axis, slices with a step along it). "spread": one factor is repeated
    along an axis. "": in order, or in blocks."""
    shape = inputs[0].shape if inputs else ()
    if node.op == "Transpose":
        order = node.attributes.get("perm") or list(range(len(shape)))[::-1]
        if not shape or (order[-1] == len(shape) - 1 and shape[-1] >= BLOCK):
            return ""
        cut = next((i for i, axis in enumerate(order) if axis != i), len(order))
        swapped = order[cut:]
        turned = any(
            swapped == [*range(cut + k, len(shape)), *range(cut, cut + k)] for k in range(1, len(swapped))
        )
        return "turned" if turned and shape[-1] > 1 else "scattered"
    if node.op == "Slice":
        steps = inputs[4].content if len(inputs) > 4 else None
        return "" if steps is None or bool((steps == 1).all()) else "scattered"
    if node.op in ("Split", "Concat"):
        axis = node.attributes.get("axis", 0)
        inner = math.prod(shape[axis + len(shape) if axis < 0 else axis :])
        return "scattered" if inner < BLOCK else ""
    if _kind(node.op) == "elementwise" and len(inputs) == 2 and min(one.size for one in inputs) > 1:
        return "spread" if inputs[0].shape != inputs[1].shape else ""
    return ""


def peak_bytes(one: Pass) -> int:
    """Largest sum of values that live at once while the graph runs in its nodes' order: what is read or put
    out later, without constants and inputs. A convolution's clamp is computed in its place."""
    owner, last, size = dict[str, str](), dict[str, int](), dict[str, int]()
    nodes = [node for node in one.graph.nodes if not one.values[node.outputs[0]].fixed]
    for index, node in enumerate(nodes):
        for name in node.inputs:
            last[owner.get(name, name)] = index
        for name in node.outputs:
            seen = node.op in (*_CLAMPS, *VIEWS) and node.op not in ("Shape", "Size", "Constant")
            owner[name] = owner.get(node.inputs[0], node.inputs[0]) if seen else name
            last.setdefault(owner[name], index)
            if owner[name] == name and name in one.values:
                size[name] = bytes_of(one.values[name].dtype, one.values[name].shape)
    for tensor in one.graph.outputs:
        last[owner.get(tensor.name, tensor.name)] = len(nodes)
    return most_living([node.outputs for node in nodes], size, last)


def _kind(op: str) -> str:
    if op in MOVES:
        return "move"
    if op in CURVES:
        return "curve"
    if op in NORMS:
        return "norm"
    return "reduce" if op.startswith(("Reduce", "Arg", "CumSum", "TopK")) else "elementwise"


def _product(node: Node, inputs: Sequence[Value], output: Value, kind: str) -> tuple[str, Shape, int]:
    if node.op == "Einsum":
        letters = node.attributes["equation"].replace(" ", "").partition("->")[0].split(",")
        sizes: dict[str, int] = {}
        for names, value in zip(letters, inputs, strict=True):
            sizes.update(zip(names, value.shape, strict=True))
        whole = math.prod(sizes.values())
        return kind, (1, output.size, whole // max(output.size, 1), 1), 2 * whole
    left = inputs[0]
    right = inputs[3] if node.op == "QLinearMatMul" else inputs[1]
    inner = left.shape[0] if node.attributes.get("transA") else left.shape[-1]
    columns = output.shape[-1] if len(output.shape) else 1
    operations = 2 * output.size * inner
    if right.fixed or left.fixed or len(right.shape) == 2:
        return kind, (output.size // max(columns, 1), inner, columns), operations
    rows = output.shape[-2] if len(output.shape) > 1 else 1
    heads = output.size // max(rows * columns, 1)
    return "product" if kind == "matmul" else kind, (heads, rows, inner, columns), operations


def _conv(node: Node, inputs: Sequence[Value], output: Value, kind: str) -> tuple[str, Shape, int]:
    weight = inputs[3] if node.op == "QLinearConv" else inputs[1]
    groups, given = node.attributes.get("group", 1), inputs[0].shape
    operations = conv_operations(node, inputs, output)
    if kind == "conv" and groups > 1 and weight.shape[1] == 1:
        kind = "conv_depthwise"
    places = math.prod(output.shape[2:]) if kind != "conv_transpose" else math.prod(given[2:])
    kernel = math.prod(weight.shape[2:])
    return kind, (given[0], given[1], output.shape[1], kernel, places, groups), operations
