"""One component of a bundle by a recipe: the network is rewritten, watched, and its layers are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.quant import technique
from edgefoley.quant.emit import Emitter, Stored, pack_blocks, span_of, weight_grid
from edgefoley.quant.fused import Expected
from edgefoley.quant.network import Layer, Network
from edgefoley.quant.observe import Grid, Observer, QuantError, make_grid, sqnr_db
from edgefoley.quant.recipe import COMPUTED, Recipe, Scheme
from edgefoley.quant.rewrite import as_product, must_be_spelled, output_of
from edgefoley.quant.watch import Runs, Watch, watch

Float = npt.NDArray[np.float32]
SMALL: Final = 256  # numbers up to which a constant stays in float32: a Cast takes more room than it saves


@dataclass
class Work:
    """A layer on its way. ``record``: what the manifest says of it; ``spelled``: see ``Emitter.static``."""

    layer: Layer
    scheme: Scheme
    record: dict[str, Any]
    spelled: bool = False


@dataclass
class Made:
    """A quantised component: its network, what the manifest says of its layers, what must have fused, and how
    many constants are stored in which type."""

    network: Network
    layers: dict[str, dict[str, Any]]
    expected: Expected
    float32_bytes: int
    stored: dict[str, int] = field(default_factory=dict)


def quantise(network: Network, recipe: Recipe, runs: Runs, work: Path) -> Made:
    """Apply ``recipe`` to ``network``, which is changed. ``runs``: captured inputs, none where the recipe's
    schemes here need none. Raises QuantError."""
    size = network.float32_bytes
    items = [
        Work(layer, recipe.scheme_of(layer.name, layer.kind), _start(layer)) for layer in network.layers()
    ]
    items = [item for item in items if item.layer.kind != "product" or item.scheme.static]
    for item in items:
        item.record |= {"scheme": item.scheme.scheme}
        if _as_matrix(item.scheme) and item.layer.kind in ("matmul", "conv1d"):
            item.layer = as_product(network, item.layer)
    needy = [item for item in items if item.scheme.needs_samples]
    if needy and not runs:
        raise QuantError(
            f"{needy[0].layer.name}: {needy[0].scheme.scheme} needs captured inputs of "
            f"{network.component!r}; give a calibration set that has some."
        )
    _smooth(network, items, runs, work)
    observers = _observers(network, items)
    rows = [item.layer.source for item in items if item.layer.kind == "matmul" and _has_rows(item.scheme)]
    seen = watch(
        network, runs, work,
        observers={name: list(each.values()) for name, each in observers.items()},
        rows=dict.fromkeys(rows) if runs else (),
    )  # fmt: skip
    for item in items:
        _simulate(network, item, seen, _grids(item.scheme, observers))
    for item in items:
        item.spelled = item.layer.kind == "matmul" and must_be_spelled(
            network, item.layer, seen.ranks.get(item.layer.source, 3)
        )
    counts = _emit(network, items, observers)
    if recipe.rest == "fp16":
        _store_rest(network)
    return Made(network, {item.layer.name: item.record for item in items}, counts, size, _stored(network))


def _start(layer: Layer) -> dict[str, Any]:
    return {"kind": layer.kind, "shape": list(layer.shape)}


def _as_matrix(scheme: Scheme) -> bool:
    blocks = scheme.scheme == "w4a16" or (scheme.scheme == "w8a16" and scheme.kernel == "nbits")
    return scheme.scheme in COMPUTED or blocks


def _has_rows(scheme: Scheme) -> bool:
    """Whether a layer's output can be simulated from rows of its input: where it is a plain MatMul then."""
    return scheme.scheme in COMPUTED or scheme.scheme in ("w8a16", "w4a16")


def _smooth(network: Network, items: Sequence[Work], runs: Runs, work: Path) -> None:
    groups: dict[tuple[str, float], list[Work]] = {}
    for item in items:
        if item.scheme.smoothing > 0 and item.scheme.scheme in COMPUTED and item.layer.kind == "matmul":
            groups.setdefault((item.layer.source, item.scheme.smoothing), []).append(item)
    seen = watch(network, runs, work, peaks=dict.fromkeys(source for source, _ in groups))
    for (source, alpha), members in groups.items():
        layers = [item.layer for item in members]
        if not technique.can_smooth(network, layers):
            continue
        weights = [network.weights[layer.weight] for layer in layers]
        factors = technique.smoothing_factors(seen.peaks[source], weights, alpha)
        how = technique.smooth(network, layers, factors)
        for item in members:
            item.layer = replace(item.layer, source=str(item.layer.node.input[0]))
            item.record["smoothing"] = {
                "alpha": alpha,
                "division": how,
                "factors": [_figure(factors.min()), _figure(factors.max())],
            }


Key = tuple[Any, ...]


def _key(scheme: Scheme) -> Key:
    return (
        scheme.activation_range, scheme.activation_type, scheme.activation_symmetric, scheme.percentile,
    )  # fmt: skip


def _observers(network: Network, items: Sequence[Work]) -> dict[str, dict[Key, Observer]]:
    """One observer for every tensor and way of finding its range."""
    found: dict[str, dict[Key, Observer]] = {}
    for item in items:
        if not item.scheme.static:
            continue
        method, kind, symmetric, percentile = key = _key(item.scheme)
        for tensor in _tensors(network, item):
            observer = Observer(method, kind=kind, symmetric=symmetric, percentile=percentile)
            found.setdefault(tensor, {}).setdefault(key, observer)
    return found


def _tensors(network: Network, item: Work) -> list[str]:
    """The tensors of a layer that get a static grid."""
    layer, whole = item.layer, item.scheme.format == "qoperator"
    if layer.kind == "conv":
        return [layer.source, output_of(network, layer)[0]]
    inputs = list(layer.node.input) if layer.kind == "product" else [layer.source]
    return [*inputs, layer.output] if whole else inputs


def _grids(scheme: Scheme, observers: Mapping[str, Mapping[Key, Observer]]) -> dict[str, Grid]:
    key = _key(scheme)
    if not scheme.static:
        return {}
    return {name: each[key].grid() for name, each in observers.items() if key in each}


def _simulate(network: Network, item: Work, seen: Watch, grids: Mapping[str, Grid]) -> None:
    """What rounding does to a matrix layer's output, in numbers; and its bias correction."""
    layer, scheme = item.layer, item.scheme
    if layer.kind != "matmul" or not _has_rows(scheme) or not seen.rows.get(layer.source):
        return
    weight = network.weights[layer.weight]
    if layer.node.op_type == "Gemm":  # only w8a16 "fold" leaves one
        turned = any(a.name == "transB" and a.i for a in layer.node.attribute)
        weight = weight.T if turned else weight
    rounded = _rounded_weight(weight, layer, scheme)
    exact, made = [], []
    for rows, low, high in seen.rows[layer.source]:
        exact.append(rows @ weight)
        fed = rows
        if scheme.static:
            fed = grids[layer.source].rounded(rows)
        elif scheme.scheme == "w8a8-dynamic":
            fed = make_grid(span_of(low, high), "uint8", symmetric=False).rounded(rows)
        value = fed @ rounded
        if scheme.static and scheme.format == "qoperator":
            value = grids[layer.output].rounded(value)
        made.append(value)
    wanted, found = np.concatenate(exact), np.concatenate(made)
    if scheme.bias_correction and scheme.scheme in COMPUTED:
        shift = (wanted - found).mean(axis=0)
        found = found + shift
        item.record["bias_correction"] = _figure(np.abs(shift).max())
        item.record["_shift"] = shift
    item.record["sqnr_db"] = _figure(sqnr_db(wanted, found))


def _rounded_weight(weight: Float, layer: Layer, scheme: Scheme) -> Float:
    if scheme.scheme == "w4a16" or (scheme.scheme == "w8a16" and scheme.kernel == "nbits"):
        bits = 4 if scheme.scheme == "w4a16" else 8
        return pack_blocks(weight, bits, scheme.block, scheme.weight_symmetric)[3]
    return weight_grid(weight, 1, scheme, layer.name).rounded(weight)


def _emit(
    network: Network, items: Sequence[Work], observers: Mapping[str, Mapping[Key, Observer]]
) -> Expected:
    """Replace every layer; returns how many products of each sort the file is meant to have."""
    emitter, done = Emitter(network), dict[str, Stored | int]()
    integer = blocks = 0
    for item in items:
        grids = _grids(item.scheme, observers)
        layer, scheme = item.layer, item.scheme
        shift = item.record.pop("_shift", None)
        if shift is not None:
            old = layer.output
            new = technique.correct_bias(network, layer, shift)
            if old in grids:
                grids[new] = grids[old]
        _ranges(item, grids, network)
        if layer.kind == "product":
            emitter.product(layer, scheme, grids)
            integer += 1
            continue
        weight = network.weights.get(layer.weight)
        stored = done.get(layer.weight)
        if stored is None or _as_matrix(scheme) or (layer.kind == "conv" and scheme.static):
            stored = done[layer.weight] = _emit_one(emitter, item, grids)
        integer += scheme.scheme in COMPUTED
        blocks += scheme.scheme not in COMPUTED and _as_matrix(scheme)
        _account(item, stored, weight)
    return Expected(integer, blocks)


def _emit_one(emitter: Emitter, item: Work, grids: Mapping[str, Grid]) -> Stored | int:
    """Bytes where nothing but the storage changes."""
    network, layer, scheme = emitter.network, item.layer, item.scheme
    if scheme.static:
        if layer.kind == "conv":
            return emitter.convolution(layer, scheme, grids)
        return emitter.static(layer, scheme, grids, item.spelled)
    if scheme.scheme == "w8a8-dynamic":
        return emitter.dynamic(layer, scheme)
    if _as_matrix(scheme):
        return emitter.blocks(layer, scheme, 4 if scheme.scheme == "w4a16" else 8)
    if scheme.scheme == "w8a16":
        return emitter.folded(layer, scheme)
    if scheme.scheme == "fp16":
        return emitter.half(layer.weight)
    network.fixed.add(layer.weight)
    return int(network.weights[layer.weight].nbytes)


def _account(item: Work, stored: Stored | int, weight: Float | None) -> None:
    """Bytes, scales and the rounding of the weight alone."""
    record = item.record
    record["bytes_fp32"] = 4 * int(np.prod(item.layer.shape, dtype=np.int64))
    if isinstance(stored, int):
        record["bytes"] = stored
        return
    record["bytes"] = stored.bytes
    bits = 4 if item.scheme.scheme == "w4a16" else 8
    record["weight"] = {
        "bits": bits,
        "scale": [_figure(stored.scale[0]), _figure(stored.scale[1])],
    }
    if weight is not None and weight.shape == stored.rounded.shape:
        record["weight"]["sqnr_db"] = _figure(sqnr_db(weight, stored.rounded))


def _ranges(item: Work, grids: Mapping[str, Grid], network: Network) -> None:
    if item.scheme.static:
        item.record["activations"] = {
            name: {
                "scale": float(grids[name].scale[0]),
                "zero_point": int(grids[name].zero_point[0]),
                "type": grids[name].kind,
            }
            for name in _tensors(network, item)
        }


def _store_rest(network: Network) -> None:
    """Float constants that no layer decided, in float16 where they are many and it can hold them."""
    read = {name for node in network.nodes for name in node.input}
    emitter = Emitter(network)
    for name, values in list(network.weights.items()):
        free = name in read and name not in network.fixed and values.dtype == np.float32
        if free and values.size >= SMALL and np.abs(values).max() <= np.finfo(np.float16).max:
            emitter.half(name)


def _stored(network: Network) -> dict[str, int]:
    """Type -> numbers stored in it, as ``plan`` counts them."""
    read = {name for node in network.nodes for name in node.input}
    names = {"float32": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}
    counts: dict[str, int] = {}
    for name, values in network.weights.items():
        if name in read and values.dtype.name in names:
            kind = names[values.dtype.name]
            counts[kind] = counts.get(kind, 0) + values.size
    return counts


def _figure(value: Any) -> float | None:
    """Rounded to what is worth saying; None for infinity, which JSON lacks."""
    number = float(value)
    return float(f"{number:.4g}") if np.isfinite(number) else None
