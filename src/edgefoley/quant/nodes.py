"""Nodes of ONNX graphs: making them, and finding who takes what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def make_node(
    operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str, **attributes: Any
) -> Any:
    """An ONNX node."""
    from onnx import helper

    return helper.make_node(operator, list(inputs), list(outputs), name=name, **attributes)


def attribute_ints(node: Any, name: str, default: Sequence[int]) -> list[int]:
    """A list attribute of a node."""
    return next((list(item.ints) for item in node.attribute if item.name == name), list(default))


def consumers_of(nodes: Iterable[Any]) -> dict[str, list[Any]]:
    """Tensor -> nodes that take it, each once."""
    found: dict[str, list[Any]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.input):
            found.setdefault(name, []).append(node)
    return found


def makers_of(nodes: Iterable[Any]) -> dict[str, Any]:
    """Tensor -> node that makes it."""
    return {name: node for node in nodes for name in node.output}
