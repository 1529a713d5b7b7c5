"""What is quantised together when sensitivity is measured: layers, and modules of them.

A module is a group of layers that do the same thing in every block ("attention qkv", "MLP down"); layers
whose names tell nothing are grouped by their name with numbers replaced by "*". Layers that share one weight
are one unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from glob import escape
from typing import Final

import numpy as np

from edgefoley.quant.network import Network
from edgefoley.quant.observe import QuantError
from edgefoley.quant.recipe import COMPUTED, SCHEMES, Recipe, Rule, Scheme, load_recipe

# What a layer is for, by its name: the first expression that is found decides.
MODULES: Final = (
    ("modulation", r"(^|[._])mod(ulation)?[._]|modulation|adaln"),
    ("embedders", r"embed|(^|[._])(inp?|stem|token)([._]|$)"),
    ("final layer", r"final_layer"),
    ("attention qkv", r"qkv|(^|[._])(to_)?(q|k|v|kv)$"),
    (
        "attention out",
        r"(self|cross|attn)[._](proj|out)$|to_out|single_blocks\.\d+\.linear1$|blocks\.\d+\.out$",
    ),
    ("MLP up", r"(^|[._])(fc1|w1|w3|up|linear1|expand)([._]|$)"),
    ("MLP down", r"(^|[._])(fc2|w2|down|linear2|project)([._]|$)"),
)
PRODUCTS: Final = "attention products"
_FIELDS_OF: Final = ("int8", "int8-dynamic", "w8a16", "w4a16")  # whose rules a scheme's fields are taken from
Entry = tuple[str, str, str, int]  # name, kind, weight, numbers in it; of a layer


@dataclass(frozen=True)
class Unit:
    """What is quantised together. ``members``: (layer, kind, scheme); ``size``: numbers in their weights."""

    name: str
    members: tuple[tuple[str, str, Scheme], ...]
    size: int

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What does that in a recipe."""
        return tuple(Rule(escape(name), scheme, (kind,)) for name, kind, scheme in self.members)

    @property
    def schemes(self) -> str:
        """Their names, each once."""
        return ", ".join(dict.fromkeys(scheme.scheme for _, _, scheme in self.members))


def alone(unit: Unit) -> Recipe:
    """That quantises a unit and leaves everything else in float32."""
    return Recipe("alone", 1, unit.name, unit.rules)


def chosen_recipe(recipe: Recipe, scheme: str | None) -> Recipe:
    """``recipe``, or with ``scheme`` one that gives every layer that can have it that scheme; its other
    fields are those of the first rule for it in ``recipe`` or a packaged one. Raises QuantError for an
    unknown scheme."""
    if scheme is None:
        return recipe
    if scheme not in SCHEMES:
        raise QuantError(f"no scheme {scheme!r}; known: {', '.join(SCHEMES)}.")
    found = Scheme(scheme, reduce_range=scheme in COMPUTED)
    for source in (recipe, *map(load_recipe, _FIELDS_OF)):
        schemes = [rule.scheme for rule in source.rules] + [source.default]
        if (first := next((s for s in schemes if s.scheme == scheme), None)) is not None:
            found = first
            break
    kinds = tuple(sorted(SCHEMES[scheme] - {"product"}))
    return replace(recipe, name=scheme, rules=(Rule("*", found, kinds), *recipe.rules), default=Scheme())


def units_of(layers: Mapping[str, Sequence[Entry]], recipe: Recipe) -> list[Unit]:
    """The layers that ``recipe`` does not leave in float32, those that share a weight together. ``layers``:
    component or part of a chain -> its layers. Raises QuantError when there is none."""
    units: dict[tuple[str, str], Unit] = {}
    for part, entries in layers.items():
        for name, kind, weight, size in entries:
            scheme = recipe.scheme_of(name, kind)
            if scheme.scheme == "fp32" or (kind == "product" and not scheme.static):
                continue
            key = (part, weight or name)
            if key in units:
                scheme = units[key].members[0][2]  # as one weight is stored
                units[key] = replace(units[key], members=(*units[key].members, (name, kind, scheme)))
            else:
                units[key] = Unit(name, ((name, kind, scheme),), size)
    if not units:
        raise QuantError(
            f"recipe {recipe.name!r} leaves every layer of {', '.join(layers)} in float32; "
            "there is nothing to measure. Name another --recipe or a --scheme."
        )
    return list(units.values())


def modules_of(units: Iterable[Unit], patterns: Sequence[str] = ()) -> list[Unit]:
    """Units by what they are for (see ``MODULES``), or by ``patterns`` of layers (COMPONENT/LAYER), what none
    fits left out. Raises QuantError for a pattern that fits nothing."""
    units = list(units)
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        if patterns:
            for pattern in patterns:
                if fnmatchcase(unit.name, pattern):
                    groups.setdefault(pattern, []).append(unit)
        else:
            groups.setdefault(module_of(*unit.members[0][:2]), []).append(unit)
    if lost := [pattern for pattern in patterns if pattern not in groups]:
        known = "\n  ".join(unit.name for unit in units)
        raise QuantError(f"no layer that is quantised fits {', '.join(lost)}. There are:\n  {known}")
    return [
        Unit(name, tuple(m for u in each for m in u.members), sum(u.size for u in each))
        for name, each in groups.items()
    ]


def module_of(name: str, kind: str) -> str:
    """The module of a layer (COMPONENT/LAYER)."""
    if kind == "product":
        return PRODUCTS
    local = name.partition("/")[2]
    for label, expression in MODULES:
        if re.search(expression, local):
            return label
    return re.sub(r"\d+", "*", local)


def entries_of(network: Network) -> list[Entry]:
    """(name, kind, weight, numbers in it) of every layer."""
    return [
        (layer.name, layer.kind, layer.weight, int(np.prod(layer.shape)) if layer.weight else 0)
        for layer in network.layers()
    ]
