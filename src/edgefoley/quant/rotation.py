"""Rotation of attention's values: outliers are spread over a head's channels, at no cost when it runs.

Attention mixes tokens and leaves channels alone, and nothing stands between its values and the layer behind
it: out(P V) = P V W. So the channels of a head can be turned by any orthogonal R, V -> V R and W -> R^T W,
both folded into weights (QuaRot: Ashkboos et al., NeurIPS 2024, https://arxiv.org/abs/2404.00456). What the
layer behind is fed, and what it is rounded to, then has no channel that stands out.

R is a Hadamard matrix of the largest power of two in the head's width (several side by side where that is
less than the width) over its square root. Signs are put on its rows first (Rudin-Shapiro's, whose products
with all columns are small): a mean that channels have in common would come together in one channel else.

No other two linear layers of these networks allow it. The residual stream is scaled channel by channel with
numbers that depend on time step and picture (modulation), behind a LayerNormalization that takes the mean
off; MLPs have GELU or a gate in between; queries and keys have a norm with a weight per channel and turn by
pairs with the position. Keys and values of the text come from another network, the conditioner.

Which columns of a weight make values, and which row of the next layer meets which of them, is found by
running the network with numbered columns, so that no exporter's way of cutting heads has to be known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.quant.network import Layer, Network
from edgefoley.quant.nodes import consumers_of, makers_of
from edgefoley.quant.technique import correct_bias
from edgefoley.quant.watch import Arrays, Runs, values_of

Float = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]
# Operators that only move numbers; the tensor that they move is their first input (of Concat, all are).
_MOVES: Final = frozenset({
    "Reshape", "Transpose", "Slice", "Squeeze", "Unsqueeze", "Split", "Concat", "Gather", "Identity",
})  # fmt: skip
_APART: Final = 1 << 17  # between the numbers of two layers' columns: float32 holds 128 times as many


@dataclass(frozen=True)
class Pair:
    """An attention: ``sources`` make its values, ``targets`` take what it makes of them. ``columns`` of each
    source's weight (heads, width) and ``rows`` of each target's (taps, heads, width), place by place the same
    channel; a product of neighbours side by side has several taps."""

    sources: tuple[Layer, ...]
    targets: tuple[Layer, ...]
    columns: tuple[Index, ...]
    rows: tuple[Index, ...]


def hadamard(width: int) -> Float:
    """An orthogonal matrix (width, width) of equal magnitudes within blocks; see the module."""
    size = width & -width
    turn = np.ones((1, 1))
    while len(turn) < size:
        turn = np.block([[turn, turn], [turn, -turn]])
    number = np.arange(size)
    signs = np.array([(-1.0) ** bin(n & n >> 1).count("1") for n in number])
    return np.kron(np.eye(width // size), signs[:, None] * turn / np.sqrt(size)).astype(np.float32)


def rotate(network: Network, pair: Pair) -> int:
    """Fold the rotation into the weights of a pair; returns the size of the Hadamard matrix."""
    width = pair.columns[0].shape[1]
    turn, weights = hadamard(width).astype(np.float64), network.weights
    for layer, columns in zip(pair.sources, pair.columns, strict=True):
        for name in filter(None, (layer.weight, layer.bias)):
            values = weights[name] = weights[name].copy()
            for head in columns:
                values[..., head] = values[..., head] @ turn
    for layer, rows in zip(pair.targets, pair.rows, strict=True):
        weight = weights[layer.weight] = weights[layer.weight].copy()
        for head in rows.reshape(-1, width):
            weight[head] = turn.T @ weight[head]
    return width & -width


def pairs_of(network: Network, layers: Sequence[Layer], runs: Runs, work: Path) -> list[Pair]:
    """The attentions before ``layers`` that can be rotated; the first captured run shows their columns."""
    trace = _Trace(network, {id(layer.node): layer for layer in network.layers()})
    found: dict[int, _Attention] = {}
    for layer in layers:
        product = trace.product_before(layer.source)
        if product is None or id(product) in found:
            continue
        sources, targets = trace.sources(product.input[1]), trace.targets(product.output[0])
        if sources and targets:
            ends = [end for source in sources for end in trace.ends(trace.end_of(source))]
            others = {name for node, name in ends if node is not product}
            found[id(product)] = _Attention(str(product.input[1]), sources, targets, others)
    return _numbered(network, list(found.values()), runs[0][1], work) if found and runs else []


class _Trace:
    """Ways through operators that only move numbers."""

    def __init__(self, network: Network, layers: Mapping[int, Layer]) -> None:
        self.network, self.layers = network, layers
        self.makers, self.users = makers_of(network.nodes), consumers_of(network.nodes)
        self.uses = [name for node in network.nodes for name in node.input]

    def product_before(self, tensor: str) -> Any:
        """The product of two inputs that ``tensor`` is moved from; None: it is something else."""
        node = self.makers.get(tensor)
        while node is not None and (node.op_type in _MOVES or self._pads_zeros(node)):
            node = self.makers.get(node.input[0])
        both = node is not None and node.op_type == "MatMul" and node.input[1] not in self.network.weights
        return node if both else None

    def sources(self, tensor: str) -> list[Layer]:
        """The layers that ``tensor`` is moved from; none where something else is among it."""
        node = self.makers.get(tensor)
        if node is None:
            return []
        if node.op_type in _MOVES:
            inputs = node.input if node.op_type == "Concat" else node.input[:1]
            parts = [self.sources(name) for name in inputs]
            return _once(layer for part in parts for layer in part) if all(parts) else []
        if node.op_type == "Add":
            node = next((self.makers[name] for name in node.input if name in self.makers), node)
        layer = self._usable(node)
        return [layer] if layer is not None and tensor == self.end_of(layer) else []

    def end_of(self, layer: Layer) -> str:
        """A layer's output with its bias."""
        return str(self.users[layer.output][0].output[0]) if layer.bias else layer.output

    def targets(self, tensor: str) -> list[Layer]:
        """The layers that ``tensor`` is moved to; none where something else takes it."""
        found = []
        for node, name in self.ends(tensor):
            layer = self._usable(node)
            if layer is None or name != layer.source:
                return []
            found.append(layer)
        return _once(found)

    def ends(self, tensor: str) -> list[tuple[Any, str]]:
        """Nodes that do more than move what they take of ``tensor``, and what they take; None for the graph's
        own outputs."""
        found: list[tuple[Any, str]] = [(None, tensor)] if tensor in self.network.outputs else []
        for node in self.users.get(tensor, []):
            moved = node.op_type in _MOVES or self._pads_zeros(node)
            if node.op_type == "Shape":
                continue
            if moved and (node.op_type == "Concat" or node.input[0] == tensor):
                found += [end for name in node.output for end in self.ends(name)]
            else:
                found.append((node, tensor))
        return found

    def _pads_zeros(self, node: Any) -> bool:
        """Whether it is a Pad with zeros, as before a convolution; they stay what they are when turned."""
        if node.op_type != "Pad" or any(a.name == "mode" and a.s != b"constant" for a in node.attribute):
            return False
        filling = self.network.weights.get(node.input[2]) if len(node.input) > 2 and node.input[2] else 0
        return filling is not None and not np.any(filling)

    def _usable(self, node: Any) -> Layer | None:
        """The layer of a MatMul whose weight and bias nothing else uses, else None."""
        layer = self.layers.get(id(node))
        if layer is None or layer.node.op_type != "MatMul" or layer.kind != "matmul":
            return None
        return layer if all(self.uses.count(n) == 1 for n in (layer.weight, layer.bias) if n) else None


@dataclass
class _Attention:
    """``value``: the tensor of its values; ``others``: tensors that its sources' outputs are moved to
    besides."""

    value: str
    sources: list[Layer]
    targets: list[Layer]
    others: set[str]
    columns: list[Index] = field(default_factory=list)

    @property
    def places(self) -> Index:
        """(heads, width) numbers from 1 on."""
        shape = self.columns[0].shape
        return np.arange(1, shape[0] * shape[1] + 1).reshape(shape)

    def find_columns(self, seen: Mapping[str, Float]) -> bool:
        """Find ``columns``; whether they make values alone."""
        shape = seen[self.value].shape
        if self.value in self.others or len(shape) < 3 or shape[0] != 1 or shape[-1] % 2:
            return False
        each = seen[self.value].reshape(-1, *shape[-2:])  # (heads, tokens, width)
        found = [_columns(each, number) for number in range(len(self.sources))]
        self.columns = [columns for columns in found if columns is not None]
        if len(self.columns) < len(self.sources):
            return False
        numbers = np.concatenate([c.ravel() + _APART * i for i, c in enumerate(self.columns)])
        apart = not any(np.isin(numbers, seen[name]).any() for name in self.others)
        return apart and len(np.unique(numbers)) == numbers.size

    def pair(self, taken: Mapping[str, Float]) -> Pair | None:
        """With the targets' rows; None where one of them takes something else too."""
        found = [_rows(taken[layer.source], self.places) for layer in self.targets]
        rows = tuple(r for r in found if r is not None)
        whole = len(rows) == len(self.targets)
        return Pair(tuple(self.sources), tuple(self.targets), tuple(self.columns), rows) if whole else None


def _numbered(network: Network, found: Sequence[_Attention], feeds: Arrays, work: Path) -> list[Pair]:
    """Those of the attentions that are pairs: with every column numbered, then with the values' alone."""
    numbers = [
        (layer, np.arange(layer.shape[1]) + _APART * number)
        for attention in found for number, layer in enumerate(attention.sources)
    ]  # fmt: skip
    names = {name for attention in found for name in (attention.value, *attention.others)}
    seen = values_of(_putting_out(network, numbers), feeds, work, names)
    able = [attention for attention in found if attention.find_columns(seen)]
    if not able:
        return []
    marks = [
        (layer, _marked(layer.shape[1], columns, attention.places))
        for attention in able for layer, columns in zip(attention.sources, attention.columns, strict=True)
    ]  # fmt: skip
    names = {layer.source for attention in able for layer in attention.targets}
    taken = values_of(_putting_out(network, marks), feeds, work, names)
    return [pair for attention in able if (pair := attention.pair(taken)) is not None]


def _putting_out(network: Network, rows: Sequence[tuple[Layer, npt.NDArray[Any]]]) -> Network:
    """A copy in which each layer puts out one row of numbers, whatever it is fed."""
    copy = network.copy()
    for layer, row in rows:
        bias = copy.weights[layer.bias] if layer.bias else 0.0
        copy.weights[layer.weight] = np.zeros_like(copy.weights[layer.weight])
        there = next(node for node in copy.nodes if node.output[0] == layer.output)
        correct_bias(copy, replace(layer, node=there), np.asarray(row - bias, np.float32))
    return copy


def _once(layers: Iterable[Layer]) -> list[Layer]:
    """Each layer once: neighbours side by side come three times."""
    return list({id(layer.node): layer for layer in layers}.values())


def _columns(each: Float, number: int) -> Index | None:
    """(heads, width) columns of layer ``number`` that are its values; None where they differ by token."""
    ids = np.rint(each).astype(np.int64)
    here = ids // _APART == number
    tokens = here.all(axis=(0, 2))
    if not tokens.any() or (here.any(axis=(0, 2)) != tokens).any():
        return None
    found = ids[:, tokens] - _APART * number
    return found[:, 0] if (found == found[:, :1]).all() else None


def _marked(size: int, columns: Index, places: Index) -> Float:
    row = np.zeros(size, np.float32)
    row[columns] = places
    return row


def _rows(taken: Float, places: Index) -> Index | None:
    """(taps, heads, width) where in the last axis each of ``places`` is; None where that differs by token,
    but for tokens of zeros, or something else is there too."""
    flat = taken.reshape(-1, taken.shape[-1])
    ids = np.rint(flat.max(axis=0)).astype(np.int64)
    strange = np.minimum(np.abs(flat - ids), np.abs(flat)) > 0.1
    taps, rest = divmod(ids.size, places.size)
    if strange.any() or rest or not np.array_equal(np.sort(ids), np.repeat(places.ravel(), taps)):
        return None
    order = np.argsort(ids, kind="stable").reshape(places.size, taps)  # the taps of a place in their order
    return order[places - 1].transpose(2, 0, 1)
