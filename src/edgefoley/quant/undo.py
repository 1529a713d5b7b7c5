"""Products of integers as products of floats again: the way back from ``emit``'s dynamic scheme."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def without_integers(nodes: list[Any], weights: dict[str, Array]) -> list[Any]:
    """The nodes with every ``DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul`` as one MatMul of the
    same input with the weight that the integers stand for, which is added to ``weights``. Other forms
    stay."""
    made = {name: node for node in nodes for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            users.setdefault(name, []).append(node)
    gone: set[int] = set()
    products: dict[int, Any] = {}  # by the id of the last node of each
    for node in nodes:
        found = _chain(node, made, users, weights) if node.op_type == "MatMulInteger" else None
        if found is None:
            continue
        source, scale, between, last = found
        name = _weight_name(node.input[1], weights)
        zero = weights[node.input[3]] if len(node.input) > 3 else np.zeros((), np.int8)
        weights[name] = (weights[node.input[1]].astype(np.float32) - zero.astype(np.float32)) * scale
        gone |= {id(other) for other in between}
        products[id(last)] = _product(source, name, last.output[0], node.name)
    rest = [products.get(id(node), node) for node in nodes if id(node) not in gone]
    read = {name for node in rest for name in node.input}
    return [n for n in rest if n.op_type != "DynamicQuantizeLinear" or read & set(n.output)]


def _chain(
    node: Any, made: dict[str, Any], users: dict[str, list[Any]], weights: dict[str, Array]
) -> tuple[str, Array, list[Any], Any] | None:
    """(input before it is quantised, scale of the weight, nodes that fall away, node that gives the result)
    of a MatMulInteger; None where it is not of that form."""
    measure = made.get(node.input[0])
    if measure is None or measure.op_type != "DynamicQuantizeLinear" or node.input[1] not in weights:
        return None
    casts = users.get(node.output[0], [])
    if len(casts) != 1 or casts[0].op_type != "Cast":
        return None
    muls = users.get(casts[0].output[0], [])
    if len(muls) != 1 or muls[0].op_type != "Mul":
        return None
    last = muls[0]
    scales = made.get(next(name for name in last.input if name != casts[0].output[0]))
    if scales is None or scales.op_type != "Mul" or measure.output[1] not in scales.input:
        return None
    constant = next(name for name in scales.input if name != measure.output[1])
    if constant not in weights or len(users[scales.output[0]]) != 1:
        return None
    return measure.input[0], weights[constant].astype(np.float32), [node, casts[0], scales], last


def _weight_name(stored: str, weights: dict[str, Array]) -> str:
    """A free name that still tells what layer it is."""
    name = stored.removesuffix(".int8")
    return name if name not in weights else f"{name}.float"


def _product(source: str, weight: str, output: str, name: str) -> Any:
    from onnx import helper

    return helper.make_node("MatMul", [source, weight], [output], name=name)
