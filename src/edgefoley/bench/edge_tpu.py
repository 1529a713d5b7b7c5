"""Which parts of a network an Edge TPU could run, operator by operator.

The chip runs TensorFlow Lite graphs that are fully quantised to INT8 with fixed ranges, have fixed shapes of
at most three dimensions (of more, only the inner three may exceed 1), use the operators below, and are
compiled ahead. The compiler takes one stretch of the graph: from the first operator that it cannot map on,
everything runs on the host's processor. Weights that do not fit the chip's memory (about 8 MB, part of which
holds the program) are sent over at every run. Sources: coral.ai/docs/edgetpu/models-intro (operators,
requirements), coral.ai/docs/edgetpu/compiler (memory), developer.axis.com, ARTPEC-7, supported ops and
optimization tips (the same compiler).

Here an ONNX graph is judged as it is: what each operator would become, and whether that is on the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgefoley.bench.graph_file import Node
from edgefoley.bench.operations import VIEWS, work_of
from edgefoley.bench.shape_rules import Value
from edgefoley.bench.workload import Pass

MEMORY: Final = 8_000_000  # bytes on the chip
_WEIGHTS: Final = frozenset({"float32", "float16", "bfloat16", "int8", "uint8"})
SOFTMAX: Final = 16_000  # elements that a Softmax may have
# ONNX operator -> what it becomes. What an operator needs beyond being on the list is checked in
# ``_obstacle``.
SUPPORTED: Final[Mapping[str, str]] = {
    "Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Max": "MAXIMUM", "Min": "MINIMUM", "Conv": "CONV_2D",
    "ConvTranspose": "TRANSPOSE_CONV", "Gemm": "FULLY_CONNECTED", "MatMul": "FULLY_CONNECTED",
    "Relu": "RELU", "Clip": "RELU6", "PRelu": "PRELU", "LeakyRelu": "PRELU", "Sigmoid": "LOGISTIC",
    "Tanh": "TANH", "Softmax": "SOFTMAX", "ReduceMean": "MEAN", "GlobalAveragePool": "MEAN",
    "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN", "ReduceSum": "SUM", "MaxPool": "MAX_POOL_2D",
    "AveragePool": "AVERAGE_POOL_2D", "Concat": "CONCATENATION", "Transpose": "TRANSPOSE",
    "Slice": "STRIDED_SLICE", "Split": "SPLIT", "Pad": "PAD", "Resize": "RESIZE_BILINEAR",
    "QuantizeLinear": "QUANTIZE", "QLinearConv": "CONV_2D", "QLinearMatMul": "FULLY_CONNECTED",
    "DequantizeLinear": "QUANTIZE",
}  # fmt: skip
_WHY: Final[Mapping[str, str]] = {
    "DynamicQuantizeLinear": "ranges found while running; the chip takes fixed ones only",
    "MatMulInteger": "part of a layer whose ranges are found while running",
    "MatMulNBits": "weights in blocks", "Gather": "looks numbers up", "Cast": "changes the number type",
    "LayerNormalization": "not an operator of the chip; taken apart it needs a square root in INT8",
}  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """One network. ``mapped`` and ``others``: nodes that could run on the chip, and that could not, with the
    reason: ``obstacles`` reason -> (operator, how many). ``before``: share of the arithmetic that lies before
    the first obstacle, 0 … 1. ``weight_bytes`` in INT8. ``free``: names of axes that are not fixed in the
    file."""

    component: str
    mapped: int
    others: int
    obstacles: Mapping[str, int]
    before: float
    weight_bytes: int
    free: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Whether all of it could run there, once exported with fixed shapes in static INT8."""
        return not self.others and self.weight_bytes <= MEMORY

    @property
    def words(self) -> str:
        """What would become of it, in a sentence."""
        size = f"{self.weight_bytes / 1e6:.1f} MB of INT8 weights"
        if self.weight_bytes > MEMORY:
            size += f" (more than the chip's {MEMORY / 1e6:.0f} MB: sent over at every run)"
        shapes = f"; shapes to be fixed: {', '.join(self.free)}" if self.free else ""
        if not self.others:
            return f"all {self.mapped} operators are on the list; {size}{shapes}"
        most = sorted(self.obstacles.items(), key=lambda item: -item[1])
        told = "; ".join(f"{many} × {reason}" for reason, many in most[:5])
        rest = f"; {len(most) - 5} kinds more" if len(most) > 5 else ""
        return (
            f"{self.others} of {self.mapped + self.others} operators are not on the list, and only "
            f"{100 * self.before:.0f} % of the arithmetic lies before the first of them: {told}{rest}. "
            f"{size}{shapes}"
        )


def judge(one: Pass) -> Verdict:
    """What the chip's compiler would make of a graph at these shapes."""
    mapped, obstacles = 0, dict[str, int]()
    before, total, open_ = 0, 0, True
    operations = {work.name: work.operations for work in work_of(one)}
    for node in one.graph.nodes:
        outputs = [one.values[name] for name in node.outputs if name in one.values]
        known = all(value.fixed or value.content is not None for value in outputs)
        if known or node.op in VIEWS:
            continue
        inputs = [one.values[name] for name in node.inputs if name]
        obstacle = _obstacle(node, inputs, outputs)
        cost = operations.get(node.name or node.outputs[0], 0)
        total += cost
        if obstacle is None:
            mapped += 1
            before += cost if open_ else 0
        else:
            open_ = False
            obstacles[obstacle] = obstacles.get(obstacle, 0) + 1
    free = tuple(
        dict.fromkeys(axis for tensor in one.graph.inputs for axis in tensor.shape if isinstance(axis, str))
    )
    weights = sum(
        one.values[name].size
        for name in {name for node in one.graph.nodes for name in _weights(node, one.values)}
    )
    share = before / total if total else (0.0 if obstacles else 1.0)
    return Verdict(one.component, mapped, sum(obstacles.values()), obstacles, share, weights, free)


def _weights(node: Node, values: Mapping[str, Value]) -> list[str]:
    if values[node.outputs[0]].fixed:
        return []
    return [
        name for name in node.inputs
        if name and values[name].fixed and values[name].size > 1 and values[name].dtype in _WEIGHTS
    ]  # fmt: skip


def _obstacle(node: Node, inputs: Sequence[Value], outputs: Sequence[Value]) -> str | None:
    """Why the chip cannot run a node; None where it can."""
    if node.op not in SUPPORTED:
        why = _WHY.get(node.op)
        return node.op if why is None else f"{node.op} ({why})"
    shapes = [value.shape for value in (*inputs, *outputs) if not value.fixed]
    if any(sum(size > 1 for size in shape[:-3]) for shape in shapes):
        return f"{node.op} of more than three dimensions"
    if node.op == "MatMul" and len(inputs) > 1 and not inputs[1].fixed:
        return "MatMul of two inputs (attention)"
    if node.op in ("Mul", "Add") and any(
        not value.dtype.startswith(("float", "uint8", "int8")) for value in inputs
    ):
        return f"{node.op} of whole numbers"
    if node.op == "Softmax" and outputs[0].size > SOFTMAX:
        return f"Softmax of more than {SOFTMAX} elements"
    if node.op == "Clip":
        ends = [value.content for value in inputs[1:]]
        if len(ends) != 2 or any(end is None for end in ends) or float(ends[0]) != 0:  # type: ignore[arg-type]
            return "Clip that is no ReLU"
    return None
