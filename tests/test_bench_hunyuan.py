"""The benchmark of HunyuanVideo-Foley's guided step: its plain form, its counts, its table.

That times are right cannot be tested; that they are of the right thing can.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch modules")

from edgefoley.convert.hunyuan import SIZES, TINY, transformer_shapes  # noqa: E402
from edgefoley.models.transformer import TransformerConfig  # noqa: E402
from tests.parity import rule  # noqa: E402

FOLDER = Path(__file__).parent.parent / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield import_module("hunyuan")


@pytest.fixture(scope="module")
def plain(bench: Any) -> Any:
    return import_module("hunyuan_plain")


@pytest.mark.parametrize(
    ("name", "products"),
    [("dit_tiny_2x2", True), ("dit_tiny_3x4_odd_lengths", False), ("dit_tiny_two_timesteps", False)],
)
def test_the_plain_form_is_the_published_one(plain: Any, name: str, products: bool) -> None:
    stored, meta = rule.reference(name)
    depths = meta["depth_triple_blocks"], meta["depth_single_blocks"]
    config = TransformerConfig(meta["hidden_size"], meta["num_heads"], *depths)
    weights = {
        key: rule.weight(key, meta["seed"], shape) for key, shape in transformer_shapes(config).items()
    }
    if products:
        weights = {key: plain.laid_out(value) for key, value in weights.items()}
    rows = {"cond": meta["T"], "clip_feat": meta["M"], "sync_feat": meta["S"]}
    features = tuple(rule.inputs(key, meta["seed"], meta["B"], n, 768) for key, n in rows.items())
    latents, times = rule.inputs("x", meta["seed"], meta["B"], 128, meta["N"]), torch.tensor(meta["t"])
    with torch.inference_mode():
        made = plain.velocity(weights, config, latents, times, features, products)
    assert rule.relative_error(made.numpy(), stored["velocity"]) < 1e-5


@pytest.mark.parametrize(
    ("seconds", "words", "tera"), [(10, 16, 4.396), (10, 77, 4.413), (8, 77, 3.516), (5, 16, 2.172)]
)
def test_counts_are_those_of_the_published_code(plain: Any, seconds: int, words: int, tera: float) -> None:
    """What the authors' code was counted to take for a guided step of XL, to four digits. Blocks of a kind
    cost the same, so three shallow networks tell what the whole takes."""
    config = SIZES["xl"].transformer
    lengths = plain.lengths_of(Fraction(seconds), words, SIZES["xl"])
    one, two, single = (
        plain.count_plain(replace(config, depth_triple_blocks=a, depth_single_blocks=b), lengths)
        for a, b in ((1, 1), (2, 1), (1, 2))
    )
    whole = one + (config.depth_triple_blocks - 1) * (two - one)
    whole += (config.depth_single_blocks - 1) * (single - one)
    assert round(whole / 1e12, 3) == tera


def test_the_savings_are_exactly_what_is_left_out(plain: Any) -> None:
    """Both counts' difference, written down by hand: rows times inputs times outputs, twice for two
    branches and for multiply and add."""
    c, steps = TINY.transformer, 7
    n = plain.lengths_of(Fraction(3), 5, TINY)
    h, g, tokens, pictures, words = c.hidden_size, c.gated_hidden, n.tokens, n.pictures, n.words
    time_embedding = 2 * (256 * h + h * h)
    projections = (
        words * (c.text_dim * h + h * h)
        + pictures * (2 * c.visual_dim * h + h * h)
        + n.sync * (c.sync_dim * h + 3 * h * g)
    )
    text = c.depth_triple_blocks * words * 2 * h * h
    modulations = c.depth_triple_blocks * 2 * 9 * h * h
    dead = pictures * 11 * h * h + 2 * pictures * (pictures + tokens + words) * h + tokens * 2 * h * h
    branches = 2 * 2 * (projections + text + modulations + dead) + 2 * time_embedding
    distinct = c.depth_single_blocks * 2 * 6 * h * h * (2 * tokens - n.sync - n.segment)
    made = plain.count_savings(c, n, steps)
    assert plain.count_plain(c, n) - made["step"] == branches + distinct
    # Once: projections and text of both branches (one segment's sync rows in the one without a video), and
    # what depends on the time for every step; the last block has two of nine vectors for the picture.
    fewer = (n.sync - n.segment) * (c.sync_dim * h + 3 * h * g)
    vectors = 2 * ((2 * c.depth_triple_blocks - 1) * 9 + 2) * h * h
    assert made["once"] == 2 * (2 * (projections + text) - fewer) + steps * (time_embedding + vectors)


def test_a_part_is_scaled_by_the_numbers_of_blocks(plain: Any) -> None:
    whole = TINY.transformer
    assert (whole.depth_triple_blocks, whole.depth_single_blocks) == (3, 2)
    run = plain.shortened(whole, 1)
    assert plain.scaled([10.0, 11.0, 13.0, 18.0, 18.5], whole, run) == 1 + 2 * 3 + 5 * 2 + 0.5
    assert plain.shortened(whole, None) == plain.shortened(whole, 3) == whole
    assert set(plain.needed(whole, 1)) < set(plain.needed(whole, None)) == set(transformer_shapes(whole))


def row(case: str, seconds: float, **more: Any) -> dict[str, Any]:
    peaks = {"anonymous_mb": 11_700.0, "total_mb": 12_100.0}
    return {
        "case": case, "form": "savings" if "plain" not in case else "plain", "step_s": seconds,
        "step_cpu_s": 2 * seconds, "step_opening_s": 0.0, "step_flop": 4e12, "first_s": 60.0,
        "memory": {"open": peaks, "first": peaks, "step": peaks}, "differs": None,
        "weights": "random weights: speed, memory, parity; never quality", **more,
    }  # fmt: skip


def test_ratios_compare_like_with_like(bench: Any) -> None:
    rows = [
        row("torch-fp32-plain", 50.0),
        row("torch-fp32-savings", 44.0),
        row("torch-bf16-plain", 700.0, scaled_from="scaled from 2 + 2 blocks"),
        row("torch-bf16-plain-products", 300.0, scaled_from="scaled from 2 + 2 blocks"),
        row("ort-fp32", 40.0),
        row("ov-fp32", 48.0),
        {"case": "ov-bf16", "refused": "no units", "weights": "random weights"},
    ]
    found = {ratio["name"]: ratio for ratio in bench.ratios(rows, {"ratio": 1.119}, half_units=False)}
    savings = found["exact savings, PyTorch fp32, convolutions"]
    assert savings["value"] == pytest.approx(50 / 44) and savings["aim"] == 1.1
    assert "exact savings, PyTorch fp32, products" not in found  # its rows are not there
    half = found["our best path against PyTorch bf16"]
    assert (half["of"], half["to"]) == ("torch-bf16-plain-products", "ort-fp32")  # the faster bf16 form
    assert half["value"] == 7.5 and half["aim"] == 1.3
    assert "soft" in half["note"] and "torch-bf16-plain-products is scaled from 2 + 2" in half["note"]
    assert found["our best path against the best published form in PyTorch"]["value"] == 1.25
    assert found["our best path against the best of PyTorch, our savings included"]["value"] == 1.1
    assert found["exact savings, counted operations"]["value"] == 1.119
    hard = bench.ratios(rows, {"ratio": 1.119}, half_units=True)
    assert not any("soft" in ratio["note"] for ratio in hard)
    wrong = [*rows[:4], {**rows[4], "failed": "velocity differs by 2e-02"}, *rows[5:]]
    names = {ratio["name"]: ratio["to"] for ratio in bench.ratios(wrong, {"ratio": 1.119}, half_units=True)}
    assert names["our best path against PyTorch bf16"] == "ov-fp32"  # what computes something else is no path


def test_every_line_says_what_random_weights_show(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row("torch-fp32-plain", 50.0),
        row("ort-fp32", 40.0, differs=3e-6, plan="12 GB at most", compiled_for=["f32"]),
        {"case": "ov-bf16", "refused": "no bf16 units", "weights": bench.RANDOM},
        {"case": "ov-fp32", "failed": "ended by signal 9", "weights": bench.RANDOM},
    ]
    flop = {"plain": 4.396e12, "savings": 3.928e12, "once": 5e10, "ratio": 1.119, "ratio_with_once": 1.1187}
    bench.show(rows, flop, bench.ratios(rows, flop, half_units=False))
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith(("torch-", "ort-", "ov-"))]
    assert len(told) == 4 and all("never quality" in line for line in told)
    assert "    80.0 " in told[0] and " 11.70  12.10 " in told[0] and "50.00   100.00" in told[0]
    assert "3e-06" in told[1] and "12 GB at most; compiled for f32" in told[1]
    assert "refused: no bf16 units" in told[2] and "FAILED: ended by signal 9" in told[3]
    assert any("4.3960 TFLOP as published, 3.9280 with savings (1.1190 x)" in line for line in lines)


def test_units_are_read_from_the_flags(bench: Any) -> None:
    assert set(bench.units(None).values()) == {"unknown"}
    milan = bench.units(("sse4_1", "avx", "fma", "avx2"))
    assert milan == {"avx512": "no", "amx": "no", "bf16": "no", "vnni": "no"}
    sapphire = bench.units(("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"))
    assert set(sapphire.values()) == {"yes"}


@pytest.mark.slow
@pytest.mark.timeout(900)  # converting, and four processes that import PyTorch
@pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations
def test_the_cases_compute_the_same(tiny_source: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    cases = ["torch-fp32-plain", "torch-fp32-savings", "torch-bf16-plain-products", "ort-fp32"]
    command = [
        sys.executable, str(FOLDER / "hunyuan.py"), "--source", str(tiny_source), "--bundle",
        str(tiny_bundle), "--seconds", "1", "--steps", "1", "--threads", "1", "--blocks", "1",
        "--json", str(tmp_path / "made.json"), "--only", *cases,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made == json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    rows = {each["case"]: each for each in made["rows"]}
    assert list(rows) == cases
    for name in ("torch-fp32-savings", "ort-fp32"):
        assert 0 < rows[name]["differs"] < 1e-5
    assert rows["torch-bf16-plain-products"]["scaled_from"] == "scaled from 1 + 1 blocks"
    assert all(each["step_s"] > 0 and each["step_cpu_s"] > 0 for each in rows.values())
    assert all(0 < peak["anonymous_mb"] < peak["total_mb"] for each in rows.values()
               for peak in each["memory"].values())  # fmt: skip
