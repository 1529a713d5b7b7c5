"""A mix of quantised and kept layers that meets an aim: chosen by measured sensitivity, written as a recipe.

Errors of layers are taken as independent, so that their noise powers add up; the choice is then a knapsack
problem, which is solved greedily by loss per byte and improved by exchanging pairs. They are not quite
independent, so the mix is quantised and measured as a whole on every captured input, and chosen again with
the difference allowed for; if it misses still, layers are taken back (for a signal-to-noise ratio) or added
(for a size) until the measured figure meets the aim.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any, Final

from edgefoley.quant.observe import QuantError
from edgefoley.quant.recipe import SCHEMES, Recipe, Rule, Scheme
from edgefoley.quant.sensitivity import Bench, Row, Say, Sqnr, decibels

ROUNDS: Final = 4  # of choosing again
KEEPS: Final = ("fp16", "fp32")  # what layers that are kept can be stored in


@dataclass(frozen=True)
class Aim:
    """``max_bytes``: of the component's files; the mix with the least loss is wanted. ``min_sqnr``: mean dB
    of the component's output; the smallest mix is wanted. Both: the first, which then must hold the second.
    ``keep``: what layers that are not quantised are stored in."""

    max_bytes: int | None = None
    min_sqnr: float | None = None
    keep: str = "fp16"

    def __post_init__(self) -> None:
        if self.max_bytes is None and self.min_sqnr is None:
            raise QuantError("an aim is a largest number of bytes, a least SQNR, or both.")
        if self.min_sqnr is not None and not math.isfinite(self.min_sqnr):
            raise QuantError(f"a least SQNR is a number of dB, not {self.min_sqnr}.")
        if self.keep not in KEEPS:
            raise QuantError(f"layers are kept in {' or '.join(KEEPS)}, not {self.keep!r}.")


@dataclass(frozen=True)
class Mix:
    """``chosen`` and ``kept`` rows; the ``recipe``; measured as a whole on all captured inputs: ``bytes`` of
    the component's files and ``sqnr``."""

    aim: Aim
    chosen: tuple[Row, ...]
    kept: tuple[Row, ...]
    recipe: Recipe
    bytes: int
    sqnr: Sqnr

    def to_json(self) -> dict[str, Any]:
        """Names and figures."""
        return {
            "aim": asdict(self.aim),
            "quantised": [row.unit.name for row in self.chosen],
            "kept": [row.unit.name for row in self.kept],
            "bytes": self.bytes,
            "sqnr_db": dict(self.sqnr),
        }


def knapsack(values: Sequence[float], weights: Sequence[float], capacity: float) -> set[int]:
    """Places whose ``weights`` (0 or more) sum to at most ``capacity`` with a large sum of ``values`` (above
    0): greedily by value per weight, then improved by adding and by exchanging one for one. At least half of
    the best sum, and the best one where all weights are equal."""
    fit = [i for i in range(len(values)) if weights[i] <= capacity]
    order = sorted(fit, key=lambda i: (-_ratio(values[i], weights[i]), i))
    taken: set[int] = set()
    for i in order:
        if sum(weights[j] for j in taken) + weights[i] <= capacity:
            taken.add(i)
    single = max(fit, key=lambda i: values[i], default=None)
    if single is not None and values[single] > sum(values[i] for i in taken):
        taken = {single}
    while (better := _improved(taken, fit, values, weights, capacity)) is not None:
        taken = better
    return taken


def _ratio(value: float, weight: float) -> float:
    return value / weight if weight > 0 else math.inf


def _improved(
    taken: set[int], fit: Sequence[int], values: Sequence[float], weights: Sequence[float], capacity: float
) -> set[int] | None:
    """One more, or one for another of more value; None where nothing is gained."""
    left = capacity - sum(weights[i] for i in taken)
    outside = [i for i in fit if i not in taken]
    for i in outside:
        if weights[i] <= left and values[i] > 0:
            return taken | {i}
    gains = [
        (values[new] - values[old], old, new)
        for old, new in product(taken, outside)
        if weights[new] - weights[old] <= left
    ]
    gain, old, new = max(gains, default=(0.0, 0, 0))
    return (taken - {old}) | {new} if gain > 1e-12 * max(map(abs, values)) else None


def smallest_loss(losses: Sequence[float], saved: Sequence[int], need: float) -> set[int] | None:
    """Places that save ``need`` bytes or more with a small sum of ``losses``; None where all together save
    less."""
    slack = sum(saved) - need
    if slack < 0:
        return None
    floor = max(losses, default=0) * 1e-9 + 1e-30  # a layer without loss is still worth less kept than not
    kept = knapsack([max(loss, floor) for loss in losses], saved, slack)
    return set(range(len(losses))) - kept


def most_saved(losses: Sequence[float], saved: Sequence[int], budget: float) -> set[int]:
    """Places whose ``losses`` sum to at most ``budget`` and that save much."""
    return knapsack([float(value) for value in saved], losses, budget)


def find_mix(bench: Bench, rows: Sequence[Row], aim: Aim, base: Recipe, say: Say = lambda line: None) -> Mix:
    """The mix of ``rows`` that meets ``aim``. ``base``: the recipe for every other component. Raises
    QuantError, with what can be had, when the aim cannot be met."""
    names = [name for row in rows for name, _, _ in row.unit.members]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise QuantError(f"modules overlap in {', '.join(twice[:3])}; a mix needs each layer once.")
    search = _Search(bench, list(rows), aim, base, say)
    if not search.open:
        raise QuantError(
            f"no layer of {bench.component.name!r} gets smaller than {aim.keep} by what was measured; "
            "name another --recipe or a --scheme."
        )
    mix = search.by_bytes() if aim.max_bytes is not None else search.by_sqnr()
    figures = mix.sqnr["mean"]
    if aim.min_sqnr is not None and figures is not None and figures < aim.min_sqnr:
        raise QuantError(
            f"{mix.bytes} bytes, of at most {aim.max_bytes}, are reached with a SQNR of {figures} dB only; "
            f"wanted at least {aim.min_sqnr:g} dB. Allow more bytes or less SQNR, or measure another "
            "--scheme."
        )
    return mix


class _Search:
    """``open``: rows that save something against how layers are kept."""

    def __init__(self, bench: Bench, rows: list[Row], aim: Aim, base: Recipe, say: Say) -> None:
        self.bench, self.rows, self.aim, self.base, self.say = bench, rows, aim, base, say
        kept = 2 if aim.keep == "fp16" else 0  # bytes a number that keeping saves already
        gains = [row.saved - kept * row.unit.size for row in rows]
        self.open = [row for row, gain in zip(rows, gains, strict=True) if gain > 0]
        self.saved = [gain for gain in gains if gain > 0]
        self.losses = [row.loss for row in self.open]

    def by_bytes(self) -> Mix:
        """As small as asked for, with little loss."""
        assert self.aim.max_bytes is not None
        limit = self.aim.max_bytes
        mix = self.measured(set())
        need = float(mix.bytes - limit)
        for _ in range(ROUNDS):
            if mix.bytes <= limit:
                return mix
            chosen = smallest_loss(self.losses, self.saved, need)
            if chosen is None:
                break
            mix = self.measured(chosen)
            need += max(mix.bytes - limit, 0)
        if mix.bytes > limit:
            mix = self.measured(set(range(len(self.open))))
        if mix.bytes > limit:
            schemes = ", ".join(dict.fromkeys(row.unit.schemes for row in self.open))
            raise QuantError(
                f"{self.bench.component.name!r} cannot have at most {limit} bytes: with every layer "
                f"quantised ({schemes}) it has {mix.bytes}. "
                "Allow more, or measure a --scheme with fewer bits."
            )
        return mix

    def by_sqnr(self) -> Mix:
        """As good as asked for, with few bytes."""
        assert self.aim.min_sqnr is not None
        aim = target = self.aim.min_sqnr
        best, tried = None, list[set[int]]()
        for _ in range(ROUNDS):
            chosen = most_saved(self.losses, self.saved, 10 ** (-target / 10))
            if not chosen or chosen in tried:
                break
            tried.append(chosen)
            mix = self.measured(chosen)
            if self.holds(mix) and (best is None or mix.bytes < best.bytes):
                best = mix
            expected = sum(self.losses[i] for i in chosen)
            if mix.sqnr["mean"] is None or expected == 0:
                break
            target = aim - 10 * math.log10(expected) - mix.sqnr["mean"]
        return best or self.taken_back(tried[-1] if tried else {self.least()})

    def taken_back(self, chosen: set[int]) -> Mix:
        """Without the layers of the most loss per byte, until the aim holds."""
        order = sorted(chosen, key=lambda i: _ratio(self.losses[i], self.saved[i]))
        mix = None
        while order:
            mix = self.measured(set(order))
            if self.holds(mix):
                return mix
            order.pop()
        figures = "" if mix is None else f": with {mix.chosen[0].unit.name} alone it is {mix.sqnr['mean']} dB"
        raise QuantError(
            f"{self.bench.component.name!r} cannot have a SQNR of {self.aim.min_sqnr:g} dB with any layer "
            f"quantised{figures}. Ask for less, or measure another --scheme."
        )

    def least(self) -> int:
        """The unit of the least loss."""
        return min(range(len(self.open)), key=lambda i: self.losses[i])

    def holds(self, mix: Mix) -> bool:
        """Whether the SQNR is as asked for."""
        mean = mix.sqnr["mean"]
        return self.aim.min_sqnr is None or mean is None or bool(mean >= self.aim.min_sqnr)

    def measured(self, chosen: set[int]) -> Mix:
        """Quantise with these and measure on all captured inputs."""
        rows = tuple(self.open[i] for i in sorted(chosen))
        recipe = self.recipe_of(rows)
        files = self.bench.make(recipe, self.bench.all, whole=True)
        sqnr = self.bench.sqnr(files, self.bench.all)
        self.say(
            f"mix of {len(rows)} of {len(self.open)} units: {files.bytes / 1e6:.2f} MB, "
            f"{decibels(sqnr['mean'])} dB"
        )
        gate = {key: dict(value) for key, value in self.base.gate.items()}
        for limits in gate.values():
            limits.pop(self.bench.component.name, None)
        if self.aim.max_bytes is not None and files.float32:
            share = math.ceil(self.aim.max_bytes / files.float32 * 1e4) / 1e4
            gate.setdefault("bytes", {})[self.bench.component.name] = share
        if self.aim.min_sqnr is not None:
            gate.setdefault("sqnr_db", {})[self.bench.component.name] = self.aim.min_sqnr
        gate = {key: value for key, value in gate.items() if value}
        kept = tuple(row for row in self.rows if row not in rows)
        return Mix(self.aim, rows, kept, replace(recipe, gate=gate), files.bytes, sqnr)

    def recipe_of(self, rows: Sequence[Row]) -> Recipe:
        """Rules of ``rows``, then one for the rest of every part, then those of the base recipe."""
        name = self.bench.component.name
        kinds = tuple(sorted(SCHEMES[self.aim.keep]))
        rest = [Rule(f"{part}/*", Scheme(self.aim.keep), kinds, optional=True) for part in self.bench.parts]
        rules = tuple(rule for row in rows for rule in row.unit.rules)
        others = tuple(replace(rule, optional=True) for rule in self.base.rules)
        about = f"{name}: a mix by measured sensitivity; else as {self.base.name}"
        return replace(
            self.base, name=f"mix-{name}", version=1, about=about, rules=(*rules, *rest, *others), gate={}
        )


def toml_of(mix: Mix, bench: Bench, identity: str) -> str:
    """The recipe as TOML, with the measured figures as reasons. ``identity``: of the calibration set."""
    recipe, aim, name = mix.recipe, mix.aim, bench.component.name
    wanted = [f"at most {aim.max_bytes} bytes"] if aim.max_bytes is not None else []
    wanted += [f"at least {aim.min_sqnr:g} dB"] if aim.min_sqnr is not None else []
    levels = ", ".join(f"{decibels(v)} at {k}" for k, v in mix.sqnr["by_level"].items())
    lines = [
        f"# Made by edgefoley sensitivity for {bench.bundle.name} {bench.bundle.version}, {name}:",
        f"# wanted {' and '.join(wanted)}. Calibration set {identity[:16]}.",
        f"# Measured as a whole: {mix.bytes} bytes, SQNR {decibels(mix.sqnr['mean'])} dB on average, least "
        f"{decibels(mix.sqnr['least'])} dB" + (f" ({levels} by noise level)." if levels else "."),
        f"# Beside every rule: the SQNR when only that is quantised, on {len(bench.few)} inputs, and the",
        "# bytes saved against float32.",
        f"name = {json.dumps(recipe.name)}",
        f"version = {recipe.version}",
        f"about = {json.dumps(recipe.about)}",
        f"rest = {json.dumps(recipe.rest)}",
        *["", "[default]", *_fields(recipe.default)],
    ]
    rules, position = recipe.rules, 0
    for row in mix.chosen:
        for rule in row.unit.rules:
            lines += ["", f"# {row.unit.name}: {_figures(row)}", *_rule(rule)]
            position += 1
    kept = f"# Kept in {aim.keep}: they lose more per byte, or save nothing over it."
    lines += ["", kept] if mix.kept else [""]
    lines += [f"#   {row.unit.name}: {_figures(row)}" for row in mix.kept]
    for index, rule in enumerate(rules[position:]):
        head = f"# Everything else: as {json.dumps(mix.recipe.about.partition('else as ')[2])} has it."
        lines += [*([head] if index == len(bench.parts) else []), *_rule(rule), ""]
    if recipe.gate:
        lines.append("[gate]")
        for key, limits in recipe.gate.items():
            entries = ", ".join(f"{json.dumps(k)} = {float(v)!r}" for k, v in limits.items())
            lines.append(f"{key} = {{{entries}}}")
    return "\n".join(lines).rstrip("\n") + "\n"


def _figures(row: Row) -> str:
    mean, least = decibels(row.sqnr["mean"]), decibels(row.sqnr["least"])
    return f"{mean} dB (least {least}), {row.saved} bytes"


def _rule(rule: Rule) -> list[str]:
    kinds = ", ".join(json.dumps(kind) for kind in rule.kinds)
    optional = ["optional = true"] if rule.optional else []
    head = ["[[layers]]", f"pattern = {json.dumps(rule.pattern)}", f"kinds = [{kinds}]"]
    return [*head, *_fields(rule.scheme), *optional]


def _fields(scheme: Scheme) -> list[str]:
    """Those that differ from what they are without being named."""
    found = [f"scheme = {json.dumps(scheme.scheme)}"]
    for item in fields(Scheme):
        value = getattr(scheme, item.name)
        if item.name != "scheme" and value != item.default:
            number = isinstance(item.default, float)
            found.append(f"{item.name} = {repr(float(value)) if number else json.dumps(value)}")
    return found
