"""What memory a bundle's networks need, counted from their graphs, for bundles whose manifest does not say.

``plan`` works with two attributes of every network: how many numbers its file holds by type, and the largest
sum of its intermediate values for some lengths. Here both are counted as the engine holds them: weights that
are widened when the graph is opened count as float32, those that are multiplied as integers as "int8".
Intermediate values of several runs are tabulated by the length of the axis that ``plan.Needs`` looks up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Final

from edgefoley.bench.graph_file import Node
from edgefoley.bench.operations import is_integer, peak_bytes
from edgefoley.bench.workload import Pass, Workload
from edgefoley.bundle import Bundle
from edgefoley.plan import Run, plans, states_its_needs

# Seconds of sound for which intermediate values are counted; longer clips are worked off in windows and
# chunks.
LENGTHS: Final = (Fraction(5, 2), Fraction(5), Fraction(10), Fraction(12))
_TYPES: Final[Mapping[str, str]] = {
    "float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8",
    "int4": "int8", "uint4": "int8",
}  # fmt: skip
_AXES: Final[Mapping[str, tuple[str, int]]] = {
    # Network -> (input, axis) of the length that its table is by.
    "text": ("token_ids", 1), "visual": ("frames", 0), "timestep": ("t", 0), "conditioner": ("sync_index", 0),
    "denoiser": ("sync_row", 0), "decoder": ("latents", 2),
}  # fmt: skip


def with_needs(bundle: Bundle, backend: str) -> Bundle:
    """``bundle`` itself where its manifest states its needs, else with what was counted. Raises
    UnknownShapeError for a graph that cannot be counted."""
    if states_its_needs(bundle):
        return bundle
    tables: dict[str, dict[int, int]] = {}
    weights: dict[str, Mapping[str, int]] = {}
    for seconds in LENGTHS:
        run = Run(seconds, True, (1280, 720), 2, bundle.defaults.steps)
        for one in Workload(bundle, backend, run).passes():
            length = length_of(bundle, one)
            table = tables.setdefault(one.component, {})
            table[length] = max(table.get(length, 0), peak_bytes(one))
            weights.setdefault(one.component, weights_of(one))
    components = dict(bundle.components)
    for name, table in tables.items():
        attributes = {
            **components[name].attributes, "weights": dict(weights[name]),
            "activations": [[length, table[length]] for length in sorted(table)],
        }  # fmt: skip
        components[name] = replace(components[name], attributes=attributes)
    return replace(bundle, components=components)


def length_of(bundle: Bundle, one: Pass) -> int:
    """The length by which ``plan.Needs`` looks a network's values up."""
    name = one.component.partition(".")[0]
    if name == "sync":
        return one.shapes["frames"][1 if "ages" in one.shapes else 0]
    source, axis = _AXES[name]
    if source in one.shapes:
        return one.shapes[source][axis]
    if name == "denoiser":  # a part of a chain: tokens, as its first part has them
        places = one.shapes.get("latents")
        if places is not None:
            return places[2] // int(bundle.components["denoiser"].attributes["latent_multiple"])
        return max(shape[1] for shape in one.shapes.values() if len(shape) == 3)
    return max(shape[0] for shape in one.shapes.values())


def weights_of(one: Pass) -> dict[str, int]:
    """How many numbers of each type the engine holds for a graph: constants as the nodes that run take
    them."""
    makers: dict[str, Node] = {name: node for node in one.graph.nodes for name in node.outputs}
    counted: dict[str, str] = {}
    for node in one.graph.nodes:
        if one.values[node.outputs[0]].fixed:
            continue
        for name in node.inputs:
            if name and one.values[name].fixed:
                kind = _TYPES.get(one.values[name].dtype)
                kind = "int8" if is_integer(node, makers) and kind else kind
                if kind is not None:
                    counted[name] = kind
    sums: dict[str, int] = {}
    for name, kind in counted.items():
        sums[kind] = sums.get(kind, 0) + one.values[name].size
    return sums


def longest_clip(bundle: Bundle, backend: str, run: Run, limit: int, most: int = 3600) -> int | None:
    """Whole seconds of the longest clip that fits into ``limit`` bytes, ``most`` at the most; None where not
    even one second does. ``bundle``: with its needs."""

    def fits(seconds: int) -> bool:
        longer = replace(run, duration=Fraction(seconds))
        return any(plan.peak <= limit for plan in plans(bundle, backend, longer))

    if not fits(1):
        return None
    low, high = 1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
