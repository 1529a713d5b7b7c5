"""The way back from narrow storage: constants that widen others are computed, products of integers, as
``emit``'s dynamic scheme writes them, become products of floats again, and factors that smoothing put before
products go back into their weights."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.quant.nodes import consumers_of, make_node, makers_of

Array = npt.NDArray[Any]
_SMOOTH: Final = re.compile(r"\.smooth\d+\.factors$")


def computed_ahead(
    nodes: Sequence[Any],
    weights: dict[str, Array],
    operators: Collection[str],
    versions: Mapping[str, int],
    origin: dict[str, str],
) -> list[Any]:
    """The nodes without those of ``operators`` that depend on constants alone: their results are added to
    ``weights``, and to ``origin`` which stored constant they were made of. ``versions``: domain -> opset.

    A product of two constants is computed only where one was stored in int8: others may be larger than both.
    Numbers that shapes are computed with stay as they are.
    """
    rest = []
    for node in nodes:
        used = [name for name in node.input if name]
        known = node.op_type in operators and used and all(name in weights for name in used)
        if known and node.op_type == "Mul":
            known = any(weights[origin.get(name, name)].dtype == np.int8 for name in used)
        if known and any(_is_weight(weights[name]) for name in used):
            source = max(used, key=lambda name: weights[name].size)
            made = _computed(node, [weights[name] for name in used], weights[source], versions)
            for name, value in zip(node.output, made, strict=True):
                weights[name] = np.asarray(value)
                origin[name] = origin.get(source, source)
        else:
            rest.append(node)
    return rest


def _computed(
    node: Any, values: Sequence[Array], largest: Array, versions: Mapping[str, int]
) -> Sequence[Any]:
    import onnx.helper
    import onnx.reference

    if node.op_type == "Cast":
        return [largest.astype(onnx.helper.tensor_dtype_to_np_dtype(node.attribute[0].i))]
    run = onnx.reference.ReferenceEvaluator(node, opsets=dict(versions))
    names = [name for name in node.input if name]
    return list(run.run(None, dict(zip(names, values, strict=True))))


def _is_weight(values: Array) -> bool:
    """Not one of the numbers that shapes are computed with."""
    return values.dtype.kind not in "iu" or values.ndim > 1


def without_integers(nodes: list[Any], weights: dict[str, Array]) -> list[Any]:
    """The nodes with every ``DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul`` as one MatMul of the
    same input with the weight that the integers stand for, which is added to ``weights``. Other forms
    stay."""
    made, users = makers_of(nodes), consumers_of(nodes)
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
        products[id(last)] = make_node("MatMul", [source, name], [last.output[0]], node.name)
    rest = [products.get(id(node), node) for node in nodes if id(node) not in gone]
    read = {name for node in rest for name in node.input}
    return [n for n in rest if n.op_type != "DynamicQuantizeLinear" or read & set(n.output)]


def without_smoothing(nodes: Sequence[Any], weights: dict[str, Array]) -> list[Any]:
    """The nodes without ``technique.smooth``'s multiplications by constants, where all that takes their
    result is products with weights of one use: those are multiplied instead."""
    users, uses = consumers_of(nodes), [name for node in nodes for name in node.input]
    gone: set[int] = set()
    for node in nodes:
        factors = next((name for name in node.input if _SMOOTH.search(name)), "")
        takers = users.get(node.output[0], []) if node.op_type == "Mul" and factors in weights else []
        plain = [
            taker.op_type == "MatMul" and taker.input[0] == node.output[0]
            and taker.input[1] in weights and uses.count(taker.input[1]) == 1
            for taker in takers
        ]  # fmt: skip
        if not plain or not all(plain):
            continue
        source = next(name for name in node.input if name != factors)
        for taker in takers:
            taker.input[0] = source
            weights[taker.input[1]] = weights[taker.input[1]] * weights[factors][:, None]
        gone.add(id(node))
    return [node for node in nodes if id(node) not in gone]


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
    scales = made.get(next((name for name in last.input if name != casts[0].output[0]), ""))
    if scales is None or scales.op_type != "Mul" or measure.output[1] not in scales.input:
        return None
    constant = next(name for name in scales.input if name != measure.output[1])
    if constant not in weights or len(users[scales.output[0]]) != 1:
        return None
    return measure.input[0], weights[constant].astype(np.float32), [node, casts[0], scales], last


def _weight_name(stored: str, weights: dict[str, Array]) -> str:
    """A free name that still tells what layer it is."""
    name = stored.removesuffix(".int8").removesuffix(".q8")
    return name if name not in weights else f"{name}.float"
