"""One component of a bundle by a recipe: the network is rewritten, watched, and its layers are replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.quant import technique
from edgefoley.quant.bins import BinObserver, TimeBins, time_bins
from edgefoley.quant.emit import Emitter, Stored, pack_blocks, span_of, weight_grid
from edgefoley.quant.fused import Expected
from edgefoley.quant.network import Layer, Network
from edgefoley.quant.observe import Grid, Observer, QuantError, make_grid, sqnr_db
from edgefoley.quant.recipe import COMPUTED, Recipe, Scheme
from edgefoley.quant.rewrite import as_product, must_be_spelled, output_of
from edgefoley.quant.rotation import pairs_of, rotate
from edgefoley.quant.watch import Runs, Watch, values_of, watch

Float = npt.NDArray[np.float32]
SAME: Final = 80.0  # dB by which two orders of additions agree at least
SMALL: Final = 256  # numbers up to which a constant stays in float32: a Cast takes more room than it saves


@dataclass
class Work:
    """A layer on its way. ``record``: what the manifest says of it; ``spelled``: see ``Emitter.static``;
    ``bins``: those that its input's ranges have."""

    layer: Layer
    scheme: Scheme
    record: dict[str, Any]
    spelled: bool = False
    bins: TimeBins | None = None


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
    _rotate(network, items, runs, work)
    _divide_levels(network, items, runs)
    _smooth(network, items, runs, work)
    observers = _observers(network, items)
    rows = [item.layer.source for item in items if item.layer.kind == "matmul" and _has_rows(item.scheme)]
    seen = watch(
        network, runs, work,
        observers={name: list(each.values()) for name, each in observers.items()},
        rows=dict.fromkeys(rows) if runs else (),
    )  # fmt: skip
    levels = [sample.sigma for sample, _ in runs]
    for item in items:
        _simulate(network, item, seen, observers, levels)
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


def _rotate(network: Network, items: Sequence[Work], runs: Runs, work: Path) -> None:
    """Rotate the values of attentions before layers that ask for it, and see that nothing else changes."""
    asked = [item for item in items if item.scheme.rotation and item.scheme.scheme in COMPUTED]
    wanted = [item.layer for item in asked if item.layer.kind == "matmul"]
    pairs = pairs_of(network, wanted, runs, work) if wanted else []
    if not pairs:
        return
    before = values_of(network, runs[0][1], work, network.outputs)
    for pair in pairs:
        size = rotate(network, pair)
        for item in items:
            if any(item.layer.node is layer.node for layer in pair.targets):
                item.record["rotation"] = {"size": size, "values": [layer.name for layer in pair.sources]}
    after = values_of(network, runs[0][1], work, network.outputs)
    for name, values in before.items():
        if values.dtype == np.float32 and sqnr_db(values, after[name]) < SAME:
            raise QuantError(f"{network.component}: rotation changes {name}; leave it out for this network.")


def _divide_levels(network: Network, items: Sequence[Work], runs: Runs) -> None:
    """Find the bins that layers ask for."""
    found: dict[int, TimeBins] = {}
    for item in items:
        if not item.scheme.binned:
            continue
        if item.layer.kind != "matmul":
            raise QuantError(
                f"{item.layer.name}: bins are for products with a weight, not {item.layer.kind}."
            )
        count = item.scheme.bins
        if count not in found:
            found[count] = time_bins(network, runs, count)
        item.bins = found[count]
        item.record["bins"] = [list(levels) for levels in item.bins.levels]


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
Observers = Mapping[str, Mapping[Key, Observer | BinObserver]]


def _key(scheme: Scheme) -> Key:
    return (
        scheme.activation_range, scheme.activation_type, scheme.activation_symmetric, scheme.percentile,
        scheme.bins,
    )  # fmt: skip


def _observers(network: Network, items: Sequence[Work]) -> Observers:
    """One observer for every tensor and way of finding its range."""
    found: dict[str, dict[Key, Observer | BinObserver]] = {}
    for item in items:
        if not item.scheme.static:
            continue
        method, kind, symmetric, percentile, _ = key = _key(item.scheme)
        make = partial(Observer, method, kind=kind, symmetric=symmetric, percentile=percentile)
        for tensor in _tensors(network, item):
            if key not in found.setdefault(tensor, {}):
                found[tensor][key] = make() if item.bins is None else BinObserver(item.bins, make)
    return found


def _tensors(network: Network, item: Work) -> list[str]:
    """The tensors of a layer that get a static grid."""
    layer, whole = item.layer, item.scheme.format == "qoperator"
    if layer.kind == "conv":
        return [layer.source, output_of(network, layer)[0]]
    inputs = list(layer.node.input) if layer.kind == "product" else [layer.source]
    return [*inputs, layer.output] if whole else inputs


def _grids(scheme: Scheme, observers: Observers) -> dict[str, Grid]:
    """Tensor -> grid, of those that have one for all noise levels."""
    if not scheme.static:
        return {}
    found = {name: each.get(_key(scheme)) for name, each in observers.items()}
    return {name: each.grid() for name, each in found.items() if isinstance(each, Observer)}


def _grids_by_level(item: Work, observers: Observers, levels: Sequence[float | None]) -> list[Grid]:
    """The grid of a static layer's input in every run."""
    observer = observers[item.layer.source][_key(item.scheme)]
    if isinstance(observer, Observer):
        return [observer.grid()] * len(levels)
    return [observer.grid().at(observer.bins.of(level)) for level in levels]


def _simulate(
    network: Network, item: Work, seen: Watch, observers: Observers, levels: Sequence[float | None]
) -> None:
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
    inputs = _grids_by_level(item, observers, levels) if scheme.static else []
    output = _grids(scheme, observers).get(layer.output)
    for number, (rows, low, high) in enumerate(seen.rows[layer.source]):
        exact.append(rows @ weight)
        fed = rows
        if scheme.static:
            fed = inputs[number].rounded(rows)
        elif scheme.scheme == "w8a8-dynamic":
            fed = make_grid(span_of(low, high), "uint8", symmetric=False).rounded(rows)
        value = fed @ rounded
        if output is not None and scheme.format == "qoperator":
            value = output.rounded(value)
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


def _emit(network: Network, items: Sequence[Work], observers: Observers) -> Expected:
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
        _ranges(item, grids, network, observers)
        if layer.kind == "product":
            emitter.product(layer, scheme, grids)
            integer += 1
            continue
        weight = network.weights.get(layer.weight)
        stored = done.get(layer.weight)
        if stored is None or _as_matrix(scheme) or (layer.kind == "conv" and scheme.static):
            stored = done[layer.weight] = _emit_one(emitter, item, grids, observers)
        integer += scheme.scheme in COMPUTED
        blocks += scheme.scheme not in COMPUTED and _as_matrix(scheme)
        _account(item, stored, weight)
    return Expected(integer, blocks)


def _emit_one(emitter: Emitter, item: Work, grids: Mapping[str, Grid], observers: Observers) -> Stored | int:
    """Bytes where nothing but the storage changes."""
    network, layer, scheme = emitter.network, item.layer, item.scheme
    if scheme.static:
        observer = observers.get(layer.source, {}).get(_key(scheme))
        if isinstance(observer, BinObserver):
            return emitter.binned(layer, scheme, observer.grid(), observer.bins)
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


def _ranges(item: Work, grids: Mapping[str, Grid], network: Network, observers: Observers) -> None:
    """What the manifest says of ranges; with bins a scale for each."""
    if not item.scheme.static:
        return
    item.record["activations"] = noted = {}
    for name in _tensors(network, item):
        observer = observers.get(name, {}).get(_key(item.scheme))
        if isinstance(observer, BinObserver):
            grid, scale = observer.grid().unit, [float(s) for s in observer.grid().scales]
            noted[name] = {"scale": scale, "zero_point": int(grid.zero_point[0]), "type": grid.kind}
        else:
            grid = grids[name]
            noted[name] = {
                "scale": float(grid.scale[0]), "zero_point": int(grid.zero_point[0]), "type": grid.kind,
            }  # fmt: skip


def _store_rest(network: Network) -> None:
    """Float constants that no layer decided, in float16 where they are many and it can hold them."""
    read = {name for node in network.nodes for name in node.input}
    emitter = Emitter(network)
    for name, values in list(network.weights.items()):
        free = name in read and name not in network.fixed and values.dtype == np.float32
        if free and values.size >= SMALL and np.abs(values).max() <= np.finfo(np.float16).max:
            emitter.half(name)


def _stored(network: Network) -> dict[str, int]:
    """Type -> numbers stored in it, as ``plan`` counts them: "int8" for those that are multiplied as they
    are, "int8 widened" for those that become float32 when the file is opened."""
    readers: dict[str, set[str]] = {}
    for node in network.nodes:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    names = {"float32": "fp32", "float16": "fp16", "int8": "int8", "uint8": "int8"}
    counts: dict[str, int] = {}
    for name, values in network.weights.items():
        if name in readers and values.dtype.name in names:
            kind = names[values.dtype.name]
            if kind == "int8" and "Cast" in readers[name]:
                kind = "int8 widened"
            counts[kind] = counts.get(kind, 0) + values.size
    return counts


def _figure(value: Any) -> float | None:
    """Rounded to what is worth saying; None for infinity, which JSON lacks."""
    number = float(value)
    return float(f"{number:.4g}") if np.isfinite(number) else None
