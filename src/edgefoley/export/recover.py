"""Weights of a bundle's graphs -> the PyTorch network that they came from.

A bundle is all that is left of a training run when the machine is gone, so training must be able to go on
from it. Names are of little help: the exporter keeps those of biases and renames what it transposes or
folds. So the network is exported anew with weights that nobody could mistake for each other, and its graph
is laid beside the stored one, back from the outputs: where the fresh graph holds some weight, in whatever
shape, the stored one holds its value.

Weights that were stored in 8 or 16 bits come back as they are computed with; every graph is then run against
the recovered network. A folded batch normalisation cannot be told from its convolution, so networks with one
(image and sync encoder) are not recovered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor

from edgefoley.export.compact import strip_metadata
from edgefoley.export.graph import ExportError, GraphSpec, export_graph, verify
from edgefoley.quant.undo import computed_ahead

Array = npt.NDArray[np.float32]
WIDENING = ("Cast", "Mul", "DequantizeLinear")  # what restores float32 in ``export.compact``
ROUNDED = 1e-3  # relative error allowed between a stored graph and the network recovered from it


def recover(specs: Sequence[GraphSpec], stored: Mapping[str, ModelProto]) -> dict[str, float]:
    """Put the weights of the graphs ``stored`` (by name) into the modules of ``specs``, in place, and compare
    each graph with its module; returns the relative error of each.

    A weight that no graph holds, because it cannot reach an output, stays as it was. Raises ExportError when
    a graph is not one of that network, or computes something else.
    """
    found: dict[int, Tensor] = {}  # by the address of the parameter: modules share parts
    weights = _marked(specs)
    for spec in specs:
        fresh = strip_metadata(export_graph(spec))
        plain = widened(stored[spec.name])
        pairs = _pairs(spec.name, fresh, plain)
        for key, (weight, _) in weights.items():
            value = _value_of(weight.detach().numpy(), pairs)
            if value is not None:
                found[key] = torch.from_numpy(np.array(value))
    with torch.no_grad():
        for key, (weight, before) in weights.items():
            weight.copy_(found.get(key, before))  # what no graph holds does not act; ``verify`` would tell
    return {spec.name: verify(spec, stored[spec.name], ROUNDED) for spec in specs}


def _marked(specs: Sequence[GraphSpec]) -> dict[int, tuple[Tensor, Tensor]]:
    """Every weight of the modules by its address, with what it was before: each is filled with numbers of its
    own."""
    weights: dict[int, tuple[Tensor, Tensor]] = {}
    for spec in specs:
        named = [*spec.module.named_parameters(), *spec.module.named_buffers()]
        kept = spec.module.state_dict()
        weights |= {w.data_ptr(): (w, w.detach().clone()) for name, w in named if name in kept}
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight, _ in weights.values():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)
    return weights


def widened(model: ModelProto) -> ModelProto:
    """A copy in which weights stored in 8 or 16 bits are float32 constants again, without the nodes that
    widen them."""
    result = ModelProto()
    result.CopyFrom(model)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.graph.initializer}
    versions = {item.domain: item.version for item in result.opset_import}
    rest = computed_ahead(result.graph.node, arrays, WIDENING, versions, {})
    del result.graph.node[:], result.graph.initializer[:]
    result.graph.node.extend(rest)
    used = {name for node in rest for name in node.input}
    result.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in arrays.items() if name in used
    )
    onnx.checker.check_model(result)
    return result


def _pairs(name: str, fresh: ModelProto, plain: ModelProto) -> list[tuple[Array, Array]]:
    """(constant of the fresh graph, the stored graph's at the same place), found by going back from the
    outputs in both: the order of nodes that do not depend on each other may differ. Raises ExportError."""
    made = [{value: node for node in model.graph.node for value in node.output} for model in (fresh, plain)]
    fixed = [
        {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (fresh, plain)
    ]
    waiting = [(a.name, b.name) for a, b in zip(fresh.graph.output, plain.graph.output, strict=True)]
    seen, pairs = set(waiting), []
    while waiting:
        ours, theirs = waiting.pop()
        constants = fixed[0].get(ours), fixed[1].get(theirs)
        nodes = made[0].get(ours), made[1].get(theirs)
        if constants[0] is not None and constants[1] is not None:
            if constants[0].dtype == np.float32 and constants[0].size > 1:
                if constants[0].shape != constants[1].shape:
                    raise ExportError(
                        f"{name}: {theirs} is {constants[1].shape}, in this network {constants[0].shape}"
                    )
                pairs.append((constants[0], constants[1]))
        elif nodes[0] is not None and nodes[1] is not None and nodes[0].op_type == nodes[1].op_type:
            for pair in zip(nodes[0].input, nodes[1].input, strict=True):
                if pair not in seen:
                    seen.add(pair)
                    waiting.append(pair)
        elif ours != theirs:  # inputs have the same name
            kinds = [node.op_type if node else "a constant or input" for node in nodes]
            raise ExportError(
                f"{name}: the stored graph is not one of this network: {theirs} comes from {kinds[1]}, "
                f"in this network from {kinds[0]}"
            )
    return pairs


def _value_of(mark: Array, pairs: Sequence[tuple[Array, Array]]) -> Array | None:
    """The stored value at the place where the fresh graph has ``mark``, in the mark's own shape: the graph
    may have its axes in another order, merged, or zeros after it."""
    for ours, theirs in pairs:
        if ours.size == mark.size:
            for order in permutations(range(mark.ndim)):
                turned = mark.transpose(order)
                if np.array_equal(turned.ravel(), ours.ravel()):
                    back = np.argsort(order)
                    return theirs.reshape(turned.shape).transpose(back)
        elif ours.ndim == mark.ndim == 1 and np.array_equal(ours[: mark.size], mark):
            return theirs[: mark.size]
    return None
