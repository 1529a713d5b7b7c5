"""What is measured together; the choice of a mix against every subset of six layers, and with errors that do
not add up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations
from types import SimpleNamespace

import numpy as np
import pytest

from edgefoley.quant.mixture import Aim, find_mix, knapsack, most_saved, smallest_loss
from edgefoley.quant.modules import Unit, chosen_recipe, module_of, units_of
from edgefoley.quant.observe import QuantError
from edgefoley.quant.recipe import Recipe, Scheme
from edgefoley.quant.sensitivity import Files, Row

NAMES = "abcdef"
BASE = Recipe("base", 1, "", ())


def subsets(count: int) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(range(count), size) for size in range(count + 1))


def test_the_choice_comes_close_to_the_best_of_all_subsets() -> None:
    random = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        values, weight = random.lognormal(0, 1, 6), random.lognormal(0, 1, 6)
        capacity = random.uniform(0, weight.sum())
        best = max(values[list(s)].sum() for s in subsets(6) if weight[list(s)].sum() <= capacity)
        taken = list(knapsack(list(values), list(weight), capacity))
        assert weight[taken].sum() <= capacity
        assert values[taken].sum() >= best / 2
        shares.append(values[taken].sum() / best if best else 1.0)
    assert np.mean(shares) > 0.98 and np.mean(np.array(shares) > 1 - 1e-9) > 0.8


def test_the_choice_is_the_best_where_layers_are_equally_large() -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        losses, count = list(random.lognormal(0, 2, 6)), int(random.integers(0, 7))
        chosen = smallest_loss(losses, [10] * 6, 10 * count - 3)
        best = min(sum(losses[i] for i in s) for s in subsets(6) if 10 * len(s) >= 10 * count - 3)
        assert chosen is not None and sum(losses[i] for i in chosen) == pytest.approx(best)


def test_a_choice_holds_its_limit_whenever_some_subset_does() -> None:
    random = np.random.default_rng(2)
    for _ in range(200):
        losses = list(random.lognormal(0, 1, 6))
        saved = [int(value) for value in random.integers(1, 1000, 6)]
        need, budget = float(random.uniform(-10, 1.3 * sum(saved))), float(random.uniform(0, sum(losses)))
        chosen = smallest_loss(losses, saved, need)
        assert (chosen is None) == (sum(saved) < need)
        assert chosen is None or sum(saved[i] for i in chosen) >= need
        assert sum(losses[i] for i in most_saved(losses, saved, budget)) <= budget


def fake_rows(losses: list[float], saved: list[int]) -> list[Row]:
    rows = []
    for name, loss, size in zip(NAMES, losses, saved, strict=True):
        unit = Unit(f"denoiser/{name}", ((f"denoiser/{name}", "matmul", Scheme("w8a8-dynamic")),), size)
        mean = -10 * np.log10(loss)
        rows.append(Row(unit, 3 * size, {"mean": mean, "least": mean, "by_level": {}}))
    return rows


class FakeBench:
    """Noise that is ``factor`` times what single layers promise; files of 1000 bytes and 4 a number."""

    def __init__(self, rows: list[Row], factor: float) -> None:
        self.rows, self.factor, self.measured = rows, factor, 0
        self.component, self.parts, self.all = SimpleNamespace(name="denoiser"), ("denoiser",), []

    def make(self, recipe: Recipe, runs: list, whole: bool) -> Files:
        self.measured += 1
        there = {row.unit.name: row for row in self.rows}
        self.chosen = [r for n, r in there.items() if recipe.scheme_of(n, "matmul").scheme.startswith("w8")]
        total = sum(4 * row.unit.size for row in self.rows)
        return Files({}, 1000 + total - sum(row.saved for row in self.chosen), 0, total)

    def sqnr(self, files: Files, runs: list) -> dict:
        noise = self.factor * sum(row.loss for row in self.chosen)
        mean = -10 * np.log10(noise) if noise else None
        return {"mean": mean, "least": mean, "by_level": {}}


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_a_mix_holds_its_aim_where_errors_do_not_add_up(factor: float) -> None:
    rows = fake_rows([1e-5, 2e-5, 4e-5, 8e-5, 3e-4, 9e-4], [100, 90, 80, 70, 60, 50])
    bench = FakeBench(rows, factor)
    mix = find_mix(bench, rows, Aim(min_sqnr=35.0, keep="fp32"), BASE)  # type: ignore[arg-type]
    assert mix.sqnr["mean"] >= 35.0 and bench.measured <= 8
    feasible = [s for s in subsets(6) if factor * sum(rows[i].loss for i in s) <= 10**-3.5]
    assert sum(row.saved for row in mix.chosen) >= 0.9 * max(sum(rows[i].saved for i in s) for s in feasible)
    assert mix.recipe.gate == {"sqnr_db": {"denoiser": 35.0}}


def test_aims_that_cannot_be_met_are_refused_with_figures() -> None:
    rows = fake_rows([1e-3] * 6, [100] * 6)
    bench = FakeBench(rows, 2.0)
    with pytest.raises(QuantError, match=r"at most 1599 bytes: with every layer quantised .* it has 1600\."):
        find_mix(bench, rows, Aim(max_bytes=1599, keep="fp32"), BASE)  # type: ignore[arg-type]
    with pytest.raises(QuantError, match=r"SQNR of 40 dB with any layer quantised: with denoiser/. alone"):
        find_mix(bench, rows, Aim(min_sqnr=40.0, keep="fp32"), BASE)  # type: ignore[arg-type]
    with pytest.raises(QuantError, match=r"1600 bytes, of at most 1600, are reached with a SQNR of 19\.2"):
        find_mix(bench, rows, Aim(1600, 25.0, "fp32"), BASE)  # type: ignore[arg-type]
    with pytest.raises(QuantError, match="an aim is"):
        Aim()
    with pytest.raises(QuantError, match="not nan"):
        Aim(min_sqnr=float("nan"))
    with pytest.raises(QuantError, match="overlap in denoiser/a"):
        find_mix(bench, [*rows, rows[0]], Aim(1600), BASE)  # type: ignore[arg-type]


# Units


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("triple_blocks.0.audio_self_attn_qkv", "attention qkv"),
        ("triple_blocks.1.v_cond_cross_q", "attention qkv"),
        ("triple_blocks.1.audio_self_proj", "attention out"),
        ("single_blocks.2.linear1", "attention out"),
        ("single_blocks.2.linear2.w2", "MLP down"),
        ("single_blocks.2.linear2.w3", "MLP up"),
        ("triple_blocks.1.audio_mlp.fc1", "MLP up"),
        ("triple_blocks.1.audio_mlp.fc2", "MLP down"),
        ("audio_embedder.proj", "embedders"),
        ("single_mod.linear", "modulation"),
        ("final_layer.linear", "final layer"),
        ("coarse.3.depthwise", "coarse.*.depthwise"),
    ],
)
def test_layers_belong_to_what_they_are_for(name: str, module: str) -> None:
    assert module_of(f"denoiser/{name}", "matmul") == module


def test_layers_with_one_weight_are_one_unit() -> None:
    entries = {"x": [("x/a", "matmul", "w", 8), ("x/b", "matmul", "w", 8), ("x/c", "matmul", "v", 6)]}
    units = units_of(entries, chosen_recipe(BASE, "fp16"))
    assert [([m[0] for m in unit.members], unit.size) for unit in units] == [
        (["x/a", "x/b"], 8),
        (["x/c"], 6),
    ]
