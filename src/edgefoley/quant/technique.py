"""Two techniques that cost nothing at run time, or one multiplication per input.

Smoothing (SmoothQuant: Xiao et al., ICML 2023, https://arxiv.org/abs/2211.10438): what differs between the
input channels of a product is moved from the activations, which share one scale, into the weights: x W =
(x / s) (s W) with s = a^alpha / w^(1 - alpha), a the channel's largest activation and w its largest weight.
A denoiser's activations change with the noise level, so a is the mean of the largest values at each captured
level: every level counts the same, however large its values are (the idea of smoothing over time steps:
Khandelwal and Fuentes, WASPAA 2025, https://arxiv.org/abs/2510.00313). The division goes into what makes x
where that is exact (a LayerNormalization's own factors; one factor of a product that is itself the output of
a layer), else a Mul is put before the product.

Bias correction (Nagel et al., ICCV 2019, https://arxiv.org/abs/1906.04721): rounding shifts the mean of an
output channel; the mean difference over captured inputs is added to the bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.quant.network import Layer, Network
from edgefoley.quant.nodes import make_node, makers_of

Float = npt.NDArray[np.float32]
FACTORS: Final = (1e-3, 1e3)  # s stays within


def smoothing_factors(peaks: Mapping[float | None, Float], weights: Sequence[Float], alpha: float) -> Float:
    """s (K,), with a geometric mean of 1. ``weights`` (K, N) that share the input; channels that never differ
    from zero keep 1."""
    activation = np.mean([peak.astype(np.float64) for peak in peaks.values()], axis=0)
    weight = np.max([np.abs(w).max(axis=1) for w in weights], axis=0).astype(np.float64)
    alive = (activation > 0) & (weight > 0)
    if not alive.any():
        return np.ones(activation.shape, np.float32)
    factors = np.ones(activation.shape)
    factors[alive] = activation[alive] ** alpha / weight[alive] ** (1 - alpha)
    factors[alive] /= np.exp(np.log(factors[alive]).mean())
    return np.clip(factors, *FACTORS).astype(np.float32)


def smooth(network: Network, layers: Sequence[Layer], factors: Float) -> str:
    """Multiply the weights of ``layers``, which share an input, and divide the input; returns how: "folded"
    or "multiplied". The layers' nodes take another input in the latter case."""
    source, weights = layers[0].source, network.weights
    for layer in layers:
        weights[layer.weight] = weights[layer.weight] * factors[:, None]
    inverse = (1 / factors).astype(np.float32)
    if _fold(network, source, inverse, layers):
        return "folded"
    made = f"{source}.smooth{sum(name.startswith(f'{source}.smooth') for name in weights)}"
    weights[f"{made}.factors"] = inverse
    network.fixed.add(f"{made}.factors")
    first = min(layers, key=lambda layer: _place(network, layer.node)).node
    node = make_node("Mul", [source, f"{made}.factors"], [made], f"{made}.divide")
    network.replace({id(first): [node, first]})
    for layer in layers:
        layer.node.input[0] = made
    return "multiplied"


def can_smooth(network: Network, layers: Sequence[Layer]) -> bool:
    """Whether every weight has one use only, so that it may be changed."""
    uses = [name for node in network.nodes for name in node.input]
    return all(uses.count(layer.weight) == 1 for layer in layers)


def correct_bias(network: Network, layer: Layer, shift: Float) -> str:
    """Add ``shift`` (N,) to a MatMul's output; returns the tensor's present name (a new one where an Add had
    to be made: the old name is then the corrected output's)."""
    weights, output = network.weights, layer.output
    name = f"{output}.corrected_bias"
    if layer.bias:
        adding = next(node for node in network.nodes if output in node.input)
        weights[name] = weights[layer.bias] + shift.astype(np.float32)
        adding.input[list(adding.input).index(layer.bias)] = name
        return output
    weights[name] = shift.astype(np.float32)
    layer.node.output[0] = f"{output}.uncorrected"
    node = make_node("Add", [layer.node.output[0], name], [output], f"{output}.correct")
    network.replace({id(layer.node): [layer.node, node]})
    return str(layer.node.output[0])


def _place(network: Network, node: Any) -> int:
    return next(index for index, other in enumerate(network.nodes) if other is node)


def _fold(network: Network, source: str, inverse: Float, layers: Sequence[Layer]) -> bool:
    """Divide what makes ``source``, if nothing else reads it and it can be done exactly."""
    nodes = [layer.node for layer in layers]
    users = network.consumers().get(source, [])
    if source in network.outputs or any(all(user is not node for node in nodes) for user in users):
        return False
    made = makers_of(network.nodes)
    node = made.get(source)
    if node is None:
        return False
    if node.op_type == "LayerNormalization":
        return _scale_rows(network, [name for name in node.input[1:] if name], inverse)
    if node.op_type == "Mul" and node.input[0] != node.input[1]:  # a square would be divided twice
        return any(_scale_output(network, made, name, inverse) for name in node.input)
    return False


def _scale_output(network: Network, made: Mapping[str, Any], tensor: str, inverse: Float) -> bool:
    """Scale the columns of the layer that makes ``tensor``, and its bias."""
    users = network.consumers()
    node, bias = made.get(tensor), ""
    if len(users.get(tensor, [])) != 1 or node is None:
        return False
    if node.op_type == "Add":
        bias = next((name for name in node.input if name in network.weights), "")
        inner = next((name for name in node.input if name != bias), "")
        node = made.get(inner)
        if not bias or node is None or len(users.get(inner, [])) != 1:
            return False
    if node.op_type != "MatMul" or node.input[1] not in network.weights:
        return False
    return _scale_rows(network, [name for name in (node.input[1], bias) if name], inverse)


def _scale_rows(network: Network, names: Sequence[str], inverse: Float) -> bool:
    """Multiply the last axis of constants that have one use each."""
    uses = [name for node in network.nodes for name in node.input]
    weights = network.weights
    fits = all(
        name in weights and weights[name].shape[-1:] == inverse.shape and uses.count(name) == 1
        for name in names
    )
    if fits:
        for name in names:
            weights[name] = weights[name] * inverse
    return fits
