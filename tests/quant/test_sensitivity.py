"""Sensitivity against numpy on graphs whose answer is known; the choice of a mix against every subset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantisation rewrites graphs with onnx (extra: quantize)")
pytest.importorskip("onnxruntime")

import onnx
from click.testing import CliRunner, Result
from onnx import helper, numpy_helper

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.bundle import MANIFEST, Bundle, open_bundle, write_manifest
from edgefoley.cli.main import cli
from edgefoley.media import read_clip
from edgefoley.metrics.audio_quality import log_mel_distance
from edgefoley.pipeline import Pipeline
from edgefoley.quant.apply import compare, quantize
from edgefoley.quant.calibrate import CalibrationSet, Options, calibrate, videos_in
from edgefoley.quant.mixture import Aim, Mix, find_mix, toml_of
from edgefoley.quant.modules import Unit, alone, chosen_recipe, modules_of, units_of
from edgefoley.quant.network import Network
from edgefoley.quant.observe import QuantError
from edgefoley.quant.recipe import Recipe, Scheme, load_recipe
from edgefoley.quant.sensitivity import Bench, Row, measure_sounds, measure_units, ranked
from edgefoley.quant.watch import open_session
from tests.cli.test_cli_events import png_of
from tests.fake_bundle import SIZES
from tests.onnx_bundle import make_onnx_bundle
from tests.quant.small import make_clips, make_small_bundle

WIDE, LATENT = 1024, SIZES["latent"]
NAMES = "abcdef"
OUTLIER = "c"  # the layer whose input has one channel a hundred times larger than the others
# Without smoothing, which would do away with the outlier.
PLAIN = {"name": "base", "version": 1, "about": "", "layers": [
    {"pattern": "none/*", "scheme": "w8a8-dynamic", "reduce_range": True, "optional": True},
]}  # fmt: skip
BASE = Recipe.from_json(PLAIN)


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    found = {"up": random.standard_normal((LATENT, WIDE)) / np.sqrt(LATENT)}
    for number, name in enumerate(NAMES):
        found[name] = random.standard_normal((WIDE, LATENT)) * 0.03 * (1 + number / 3)
    found[OUTLIER][0] /= 100
    return {name: values.astype(np.float32) for name, values in found.items()}


def make_parallel_bundle(folder: Path) -> Path:
    """Its denoiser: velocity = plain + sum over layers k of transpose((h * c_k) W_k), h = transpose(plain) U:
    linear in every W_k."""
    folder = make_onnx_bundle(folder, guidance=2.0, steps=4)
    path, values = folder / "denoiser.onnx", weights()
    model = onnx.load(str(path))
    graph, nodes = model.graph, []
    graph.node[-1].output[0] = "plain"
    nodes.append(helper.make_node("Transpose", ["plain"], ["rows"], perm=[0, 2, 1]))
    nodes.append(helper.make_node("MatMul", ["rows", "net.up.weight"], ["hidden"]))
    for name in NAMES:
        factors = np.ones(WIDE, np.float32)
        factors[0] = 100 if name == OUTLIER else 1
        graph.initializer.append(numpy_helper.from_array(factors, f"{name}_factors"))
        nodes.append(helper.make_node("Mul", ["hidden", f"{name}_factors"], [f"{name}_in"]))
        nodes.append(helper.make_node("MatMul", [f"{name}_in", f"net.{name}.weight"], [f"{name}_out"]))
    nodes.append(helper.make_node("Sum", [f"{name}_out" for name in NAMES], ["sum"]))
    nodes.append(helper.make_node("Transpose", ["sum"], ["columns"], perm=[0, 2, 1]))
    nodes.append(helper.make_node("Add", ["plain", "columns"], ["velocity"]))
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(v, f"net.{k}.weight") for k, v in values.items())
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    for component in manifest["components"].values():
        component["artefacts"].pop("fake", None)
    manifest["components"]["denoiser"]["artefacts"]["ort"] = {"path": path.name}
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("videos") / "clips", 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return open_bundle(make_parallel_bundle(tmp_path_factory.mktemp("parallel") / "bundle"))


def captured(bundle: Bundle, clips: Path, out: Path) -> CalibrationSet:
    return calibrate(bundle, videos_in(clips), out, Options(times=3, seed=5, threads=1))


@pytest.fixture(scope="module")
def samples(bundle: Bundle, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    return captured(bundle, clips, tmp_path_factory.mktemp("set") / "set")


@pytest.fixture(scope="module")
def bench(bundle: Bundle, samples: CalibrationSet, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(bundle, "denoiser", samples, tmp_path_factory.mktemp("bench"))


def measured(bench: Bench, scheme: str) -> dict[str, Row]:
    """By the layer's short name."""
    units = units_of(bench.layers, chosen_recipe(BASE, scheme))
    return {row.unit.name.rpartition(".")[2]: row for row in measure_units(bench, units)}


@pytest.fixture(scope="module")
def int8(bench: Bench) -> dict[str, Row]:
    return measured(bench, "w8a8-dynamic")


# Measuring


def test_the_layer_with_an_outlier_channel_is_the_most_sensitive(int8: dict[str, Row]) -> None:
    """One scale for the whole input leaves the other channels a hundredth of the levels; at 8 bits 100
    times coarser steps are 40 dB, of which the layers' sizes change a few."""
    assert set(int8) == {"up", *NAMES}
    first, *others = ranked(int8.values())
    assert first is int8[OUTLIER]
    assert first.sqnr["mean"] < min(row.sqnr["mean"] for row in others if row is not int8["up"]) - 20


def float_values(bench: Bench, folder: Path) -> list[dict[str, np.ndarray]]:
    """What the layers see and the velocity, at every captured run that is used."""
    network = Network.read("denoiser", bench.bundle.artefact("denoiser", "ort"))
    path = network.write(folder / "watched.onnx", False, ["plain", "hidden"])[0]
    session = open_session(path)
    taken = [value.name for value in session.get_inputs()]
    names = ["plain", "hidden", "velocity"]
    return [
        dict(zip(names, session.run(names, {key: feeds[key] for key in taken}), strict=True))
        for _, feeds in bench.few
    ]


def by_hand(
    bench: Bench, layers: str, rounded: Callable[[np.ndarray], np.ndarray], folder: Path
) -> list[float]:
    """SQNR of every run when ``layers`` have rounded weights: the errors of single layers, added in numpy."""
    found, values = [], weights()
    for seen in float_values(bench, folder):
        error = np.zeros(seen["velocity"].shape, np.float64)
        for name in layers:
            factors = np.ones(WIDE)
            factors[0] = 100 if name == OUTLIER else 1
            change = rounded(values[name]).astype(np.float64) - values[name]
            error += ((seen["hidden"] * factors) @ change).transpose(0, 2, 1)
        signal = np.sum(seen["velocity"].astype(np.float64) ** 2)
        found.append(10 * np.log10(signal / np.sum(error**2)))
    return found


def eight_bits(weight: np.ndarray) -> np.ndarray:
    scale = np.abs(weight).max(axis=0) / 127
    return np.rint(weight / scale) * scale


def half(weight: np.ndarray) -> np.ndarray:
    return weight.astype(np.float16)


@pytest.mark.parametrize(("scheme", "rounded"), [("w8a16", eight_bits), ("fp16", half)])
def test_a_linear_graph_loses_what_numpy_says(
    bench: Bench, scheme: str, rounded: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    rows = measured(bench, scheme)
    sigmas = [sample.sigma for sample, _ in bench.few]
    for name in NAMES:
        wanted = by_hand(bench, name, rounded, tmp_path)
        assert rows[name].sqnr["mean"] == pytest.approx(np.mean(wanted), abs=0.05)
        assert rows[name].sqnr["least"] == pytest.approx(min(wanted), abs=0.05)
        for level in set(sigmas):
            each = [value for value, sigma in zip(wanted, sigmas, strict=True) if sigma == level]
            assert rows[name].sqnr["by_level"][f"{level:.4g}"] == pytest.approx(np.mean(each), abs=0.05)


def test_errors_of_several_layers_superpose(bench: Bench, tmp_path: Path) -> None:
    units = units_of(bench.layers, chosen_recipe(BASE, "w8a16"))
    members = tuple(m for unit in units for m in unit.members if m[0][-1] in "abef")
    row = measure_units(bench, [Unit("four", members, 0)])[0]
    wanted = by_hand(bench, "abef", eight_bits, tmp_path)
    assert row.sqnr["mean"] == pytest.approx(np.mean(wanted), abs=0.05)


def test_bytes_saved_are_those_of_the_constants(bench: Bench) -> None:
    rows = measured(bench, "w8a16")
    for name in NAMES:  # 8 bits a number, and a float32 scale per output channel
        assert rows[name].saved == 4 * WIDE * LATENT - WIDE * LATENT - 4 * LATENT
    assert measured(bench, "fp16")["up"].saved == 2 * WIDE * LATENT


def test_inputs_are_spread_over_levels_and_branches(
    bundle: Bundle, samples: CalibrationSet, tmp_path: Path
) -> None:
    one = Bench(bundle, "denoiser", samples, tmp_path, inputs=1)
    assert [s.sigma for s, _ in one.few] == [1.0, 0.5, 0.25] and len(one.all) == 6
    two = Bench(bundle, "denoiser", samples, tmp_path, inputs=2)
    assert [s.branch for s, _ in two.few] == ["conditional", "unconditional"] * 3


@pytest.mark.parametrize("chained", [False, True])
def test_a_unit_alone_loses_what_a_bundle_with_it_loses(chained: bool, clips: Path, tmp_path: Path) -> None:
    """The same by another way: the whole bundle quantised, both run side by side. And the sound likewise."""
    source = open_bundle(make_small_bundle(tmp_path / "bundle", chained=chained))
    samples = captured(source, clips, tmp_path / "set")
    (tmp_path / "work").mkdir()
    bench = Bench(source, "denoiser", samples, tmp_path / "work", inputs=9)
    units = units_of(bench.layers, chosen_recipe(BASE, "w8a8-dynamic"))
    rows = measure_units(bench, units)
    part = "denoiser.01" if chained else "denoiser"
    assert {row.unit.name for row in rows} >= {f"{part}/net.fc1", f"{part}/net.fc2"}
    row = next(row for row in rows if row.unit.name == f"{part}/net.fc1")
    made = quantize(source, alone(row.unit), samples, tmp_path / "made")
    found = compare(source, made, "denoiser", samples.feeds("denoiser"))
    assert row.sqnr == found and found["mean"] < 70
    if not chained:
        clip = videos_in(clips)[0]
        wanted = log_mel_distance(sound(made, clip), sound(source, clip))
        assert wanted > 0
        assert measure_sounds(bench, [row], clip)[0].log_mel_db == pytest.approx(wanted, abs=1e-3)


def sound(bundle: Bundle, clip: Path) -> np.ndarray:
    with Pipeline(bundle, get_backend("ort"), LoadOptions(threads=1)) as pipeline:
        return pipeline.generate(read_clip(clip, bundle.views()), "dog barks 0", seed=0).audio.samples


# Modules


def test_modules_hold_every_layer_once_or_those_that_fit(bench: Bench) -> None:
    units = units_of(bench.layers, chosen_recipe(BASE, "w8a16"))
    groups = modules_of(units)
    assert sorted(m for g in groups for m in g.members) == sorted(m for u in units for m in u.members)
    chosen = modules_of(units, ["denoiser/net.[ab]"])
    assert [len(group.members) for group in chosen] == [2] and chosen[0].size == 2 * WIDE * LATENT
    with pytest.raises(QuantError, match=r"fits denoiser/no\*\. There are:\n  denoiser/net.up"):
        modules_of(units, ["denoiser/no*"])


# The recipe


@pytest.fixture(scope="module")
def mix(bench: Bench, int8: dict[str, Row]) -> Mix:
    return find_mix(bench, list(int8.values()), Aim(min_sqnr=38.0), load_recipe("w8a16"))


def test_a_mix_leaves_out_what_costs_most(mix: Mix) -> None:
    assert OUTLIER not in {row.unit.name[-1] for row in mix.chosen} and mix.chosen
    assert mix.sqnr["mean"] >= 38.0


def test_a_written_recipe_loads_and_gives_the_measured_bundle(
    mix: Mix, bench: Bench, samples: CalibrationSet, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(toml_of(mix, bench, samples.identity), encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded == mix.recipe
    made = quantize(bench.bundle, loaded, samples, tmp_path / "made")
    record = made.manifest["quantization"]["components"]["denoiser"]
    assert record["bytes"] == mix.bytes and record["sqnr_db"] == mix.sqnr
    schemes = {name: layer["scheme"] for name, layer in record["layers"].items() if name.startswith("net.")}
    chosen = {row.unit.name.partition("/")[2] for row in mix.chosen}
    assert {name for name, scheme in schemes.items() if scheme == "w8a8-dynamic"} == chosen
    assert schemes[f"net.{OUTLIER}"] == "fp16"
    again = quantize(bench.bundle, loaded, samples, tmp_path / "again")
    assert (made.folder / "denoiser.onnx").read_bytes() == (again.folder / "denoiser.onnx").read_bytes()


def test_the_reasons_are_in_the_recipe(mix: Mix, bench: Bench) -> None:
    text = toml_of(mix, bench, "0" * 64)
    for row in (*mix.chosen, *mix.kept):
        assert f"{row.unit.name}: {row.sqnr['mean']:.1f} dB" in text and f"{row.saved} bytes" in text


def test_a_mix_has_at_most_the_bytes_asked_for(bench: Bench, int8: dict[str, Row]) -> None:
    rows = list(int8.values())
    every = bench.make(
        Recipe("all", 1, "", tuple(r for row in rows for r in row.unit.rules)), bench.all, True
    )
    none = bench.make(Recipe("none", 1, "", (), Scheme("fp16")), bench.all, True)
    limit = (every.bytes + none.bytes) // 2
    mix = find_mix(bench, rows, Aim(max_bytes=limit), BASE)
    assert every.bytes < mix.bytes <= limit < none.bytes
    assert OUTLIER not in {row.unit.name[-1] for row in mix.chosen}
    assert mix.recipe.gate["bytes"]["denoiser"] >= mix.bytes / every.float32


# The command


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_shows_a_table_and_writes_recipe_and_picture(
    bundle: Bundle,
    samples: CalibrationSet,
    tmp_path: Path,
) -> None:
    (tmp_path / "plain.json").write_text(json.dumps(PLAIN))
    done = run("sensitivity", bundle.folder, "--calibration", samples.folder, "--scheme", "w8a8-dynamic",
               "--recipe", tmp_path / "plain.json",
               "--min-sqnr", "38", "-o", tmp_path / "mine.toml", "--plot", tmp_path / "p.png")  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("layer "))
    assert lines[first + 1].startswith(f"denoiser/net.{OUTLIER} ")
    assert f"  kept: denoiser/net.{OUTLIER}" in lines and "7/" in done.stderr
    assert load_recipe(tmp_path / "mine.toml").gate == {"sqnr_db": {"denoiser": 38.0}}
    assert png_of(tmp_path / "p.png").shape[2] == 3
    again = run("sensitivity", bundle.folder, "--calibration", samples.folder, "--min-sqnr", "38",
                "-o", tmp_path / "mine.toml")  # fmt: skip
    assert again.exit_code != 0 and "exists" in again.stderr


def test_the_command_prints_json(bundle: Bundle, samples: CalibrationSet) -> None:
    done = run("sensitivity", bundle.folder, "--calibration", samples.folder, "--modules-only",
               "--json", "-q",
               "--scheme", "w8a16", "--module", "*/net.[ab]", "--module", "*/net.up",
               "--inputs", "1")  # fmt: skip
    found = json.loads(done.stdout)
    assert [row["name"] for row in found["modules"]] and not found["layers"] and not done.stderr
    assert {row["name"]: len(row["layers"]) for row in found["modules"]} == {"*/net.[ab]": 2, "*/net.up": 1}
    assert found["inputs"] == 3 and found["calibration"] == samples.identity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--calibration is needed"),
        (("--calibration", "SET", "--component", "nose"), "has no component 'nose'; it has text"),
        (("--calibration", "SET", "--scheme", "w3"), "no scheme 'w3'; known: w8a8-static"),
        (("--calibration", "SET", "--recipe", "fp32"), "leaves every layer of denoiser in float32"),
        (("--calibration", "SET", "-o", "x.toml"), "--max-bytes or --min-sqnr"),
        (("--calibration", "SET", "--max-bytes", "9", "-o", "x.txt"), "ends in .toml"),
        (("--calibration", "SET", "--plot", "x.jpg"), "ends in .png"),
        (("--calibration", "nowhere"), "is no calibration set"),
    ],
)
def test_wrong_use_is_refused(
    bundle: Bundle,
    samples: CalibrationSet,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    given = [str(samples.folder) if word == "SET" else word for word in arguments]
    done = run("sensitivity", bundle.folder, *given)
    assert done.exit_code not in (0, 70) and message in done.stderr


def test_sets_of_another_model_and_parts_of_chains_are_refused(
    samples: CalibrationSet,
    clips: Path,
    tmp_path: Path,
) -> None:
    other = make_small_bundle(tmp_path / "other", chained=True, seed=1)
    done = run("sensitivity", other, "--calibration", samples.folder)
    assert done.exit_code not in (0, 70) and "of other weights" in done.stderr
    own = captured(open_bundle(other), clips, tmp_path / "own")
    with pytest.raises(QuantError, match=r"'denoiser\.01' is a part of 'denoiser'"):
        Bench(open_bundle(other), "denoiser.01", own, tmp_path)
