"""How much memory a graph's intermediate values take, counted from the graph.

Nodes run in their order, as ONNX Runtime runs a graph on one thread of execution; a value lives from the node
that makes it to the last node that reads it, and the largest sum of living values is the count. Nodes that
only look at their input in another shape take nothing. What an engine reuses in place is not taken off, and
what it needs inside a node (unfolded convolutions) is not added, so the count is a plan, not a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import onnx
import sympy
from onnx import helper

from edgefoley.export.graph import ExportError
from edgefoley.export.skeleton import Skeleton
from edgefoley.memory import most_living

_VIEWS: Final = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Identity", "Flatten"})


def peak_bytes(skeleton: Skeleton, sizes: Mapping[str, int]) -> int:
    """Largest sum of living values in bytes, inputs and weights not counted, outputs counted. ``sizes``: of
    the free axes by their names. Raises ExportError for a value whose shape is not known."""
    known = _sizes(skeleton, sizes)
    ahead = {output for recipe in skeleton.recipes for node in recipe.nodes for output in node.output}
    nodes = [node for node in skeleton.model.graph.node if not ahead.issuperset(node.output)]
    owner: dict[str, str] = {}
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            last[owner.get(name, name)] = index
        for name in node.output:
            owner[name] = owner.get(node.input[0], node.input[0]) if node.op_type in _VIEWS else name
            last.setdefault(owner[name], index)
    for name in skeleton.outputs:
        last[owner.get(name, name)] = len(nodes)
    made = {name for name, whose in owner.items() if name == whose and name}
    unknown = sorted(made - known.keys())
    if unknown:
        raise ExportError(f"the shapes of {unknown} are not known, so their memory cannot be counted")
    return most_living([node.output for node in nodes], {name: known[name] for name in made}, last)


def _sizes(skeleton: Skeleton, sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes of every value whose shape is known: from the tracer, which names shapes by formulas of the free
    axes, and from there by inference."""
    model = onnx.ModelProto()
    model.CopyFrom(skeleton.model)
    graph, symbols = model.graph, {}
    for symbol, axis in skeleton.axes.items():
        if axis in sizes:
            symbols[sympy.Symbol(symbol)] = sizes[axis]
    told = [value for value in (*graph.value_info, *graph.output) if _settle(value, symbols)]
    ending = [value.name for value in graph.output if value not in told]
    for value in graph.input:
        _settle(value, symbols)
    for value in graph.output:
        if value.name in ending:
            value.type.tensor_type.ClearField("shape")
    kept = [value for value in graph.value_info if value in told]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    found = {}
    for value in (*inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            width = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
            found[value.name] = width * math.prod(dim.dim_value for dim in kind.shape.dim)
    return found


def _settle(value: onnx.ValueInfoProto, symbols: Mapping[sympy.Symbol, int]) -> bool:
    """Put numbers in place of formulas; False where one stays open."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return False
    extents = [_extent(dim, symbols) for dim in kind.shape.dim]
    if None in extents:
        return False
    for dim, extent in zip(kind.shape.dim, extents, strict=True):
        dim.dim_value = extent or 0
    return True


def _extent(dim: onnx.TensorShapeProto.Dimension, symbols: Mapping[sympy.Symbol, int]) -> int | None:
    """Length of an axis, None where it is not known."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    if not dim.dim_param:
        return None
    try:
        return int(sympy.sympify(dim.dim_param).subs(symbols))
    except (TypeError, ValueError, sympy.SympifyError):  # a name of the inference's own
        return None
