"""The shape of every tensor of a graph, for given lengths of its free axes, without running it.

Nodes are gone through in order. A value has an element type and a shape; small ones whose numbers follow from
shapes and constants (lengths, places, what Reshape and Slice are told) have their content too, computed with
NumPy. What follows from the file's own constants alone is marked: engines compute it once, when they open the
graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from edgefoley.bench import layer_rules, shape_rules
from edgefoley.bench.graph_file import Graph, Node
from edgefoley.bench.shape_rules import Rule, Value, Values
from edgefoley.errors import EdgeFoleyError

_RULES: Final[Mapping[str, Rule]] = {**shape_rules.RULES, **layer_rules.RULES}


class UnknownShapeError(EdgeFoleyError):
    """An operator that is not known here, or whose result depends on what is computed."""


def propagate(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Value]:
    """Every tensor by name. ``shapes``: of the graph's inputs; further entries are left out.

    Raises UnknownShapeError for a node that cannot be told, or an input whose shape is not given or does not
    fit the file's.
    """
    known: dict[str, Value] = {
        name: Value(constant.dtype, constant.shape, constant.content, True)
        for name, constant in graph.constants.items()
    }
    for tensor in graph.inputs:
        shape = shapes.get(tensor.name)
        if shape is None or not _fits(tensor.shape, shape):
            raise UnknownShapeError(f"the input {tensor.name!r} {tensor.shape} is given as {shape}.")
        known[tensor.name] = Value(tensor.dtype, tuple(shape))
    for node in graph.nodes:
        inputs = [known[name] if name else None for name in node.inputs]
        for name, value in zip(node.outputs, _outputs(node, inputs), strict=False):
            known[name] = value
    return known


def _fits(wanted: tuple[int | str, ...], found: tuple[int, ...]) -> bool:
    return len(wanted) == len(found) and all(
        size == here for size, here in zip(wanted, found, strict=True) if isinstance(size, int)
    )


def _outputs(node: Node, inputs: Values) -> list[Value]:
    rule = _RULES.get(node.op)
    if rule is None or node.graphs:
        raise UnknownShapeError(f"the operator {node.op} of {node.name!r} is not known here.")
    try:
        made = rule(node, inputs)
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise UnknownShapeError(
            f"the shape of {node.op} {node.name!r} cannot be told: {type(error).__name__} {error}; its "
            f"inputs are {[value and value.shape for value in inputs]}."
        ) from error
    fixed = all(value is None or value.fixed for value in inputs)
    return [replace(value, fixed=fixed) for value in made]
