"""From clips to a quantised bundle that the pipeline runs; what is recorded; what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantisation rewrites graphs with onnx (extra: quantize)")
pytest.importorskip("onnxruntime")

from click.testing import Result

from edgefoley.bundle import open_bundle
from edgefoley.errors import OutputError
from edgefoley.pipeline import Pipeline
from edgefoley.quant.apply import compare, layers_of, quantize
from edgefoley.quant.calibrate import (
    CalibrationSet,
    Options,
    calibrate,
    open_set,
    videos_in,
)
from edgefoley.quant.observe import QuantError, sqnr_db
from edgefoley.quant.recipe import Recipe, load_recipe
from tests.cli.conftest import names_in, run  # noqa: F401  # run is a fixture
from tests.fake_bundle import make_clip
from tests.quant.small import make_clips, make_small_bundle

STATIC = {"pattern": "denoiser*/net.*", "scheme": "w8a8-static", "reduce_range": True}


def recipe(*rules: dict, **more) -> Recipe:
    return Recipe.from_json({"name": "t", "version": 1, "about": "", "layers": list(rules), **more})


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clips(tmp_path_factory.mktemp("videos") / "clips")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small_bundle(tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The denoiser in two parts, its constants in a data file."""
    return make_small_bundle(tmp_path_factory.mktemp("chained") / "bundle", chained=True, apart=True)


def captured(bundle: Path, clips: Path, out: Path) -> CalibrationSet:
    return calibrate(open_bundle(bundle), videos_in(clips), out, Options(times=3, seed=5, threads=1))


@pytest.fixture(scope="module")
def samples(small: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    return captured(small, clips, tmp_path_factory.mktemp("set") / "set")


@pytest.fixture(scope="module")
def chain_samples(chained: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    return captured(chained, clips, tmp_path_factory.mktemp("set") / "set")


def test_the_denoiser_is_captured_at_every_level_in_both_branches(samples: CalibrationSet) -> None:
    found = [(s.clip, s.sigma, s.branch) for s, _ in samples.feeds("denoiser")]
    branches = ("conditional", "unconditional")
    # Levels of 4 steps are 1, 0.75, 0.5, 0.25; three of them, the first and last included.
    assert found == [(clip, level, b) for clip in (0, 1) for level in (1.0, 0.5, 0.25) for b in branches]
    assert all(samples.samples[name] for name in ("text", "visual", "sync", "conditioner", "decoder"))
    assert len({s.sha256 for s in samples.samples["text"]}) == len(samples.samples["text"])


def test_what_is_captured_is_what_was_fed(small: Path, clips: Path, samples: CalibrationSet) -> None:
    """The captured run of the first level holds the noise of the clip's seed."""
    from edgefoley.sampling import noise

    first = next(iter(samples.feeds("denoiser")))[1]
    latents = first["latents"]
    assert set(first) == set(open_bundle(small).components["denoiser"].inputs)
    assert np.array_equal(latents[0].T, noise(5, latents[0].T.shape))
    made = open_bundle(small)
    from edgefoley.backends import get_backend
    from edgefoley.backends.base import LoadOptions
    from edgefoley.graphs import Graphs

    graphs = Graphs(made, get_backend("ort"), LoadOptions(threads=1))
    assert np.isfinite(graphs.run("denoiser", first)["velocity"]).all()


def test_a_set_says_what_it_was_made_of(samples: CalibrationSet, small: Path, clips: Path) -> None:
    clip = samples.about["clips"][1]
    assert (clip["file"], clip["prompt"], clip["seed"]) == ("dog_barks-1.mp4", "dog barks 1", 6)
    assert samples.about["steps"] == 4 and samples.about["guidance"] == 2.0
    assert open_set(samples.folder, open_bundle(small)).identity == samples.identity


def test_the_same_clips_give_the_same_set(
    small: Path, clips: Path, samples: CalibrationSet, tmp_path: Path
) -> None:
    again = captured(small, clips, tmp_path / "again")
    assert again.identity == samples.identity and names_in(again.folder) == names_in(samples.folder)


def test_sets_of_another_model_empty_or_changed_are_refused(
    small: Path, samples: CalibrationSet, tmp_path: Path
) -> None:
    other = open_bundle(make_small_bundle(tmp_path / "other", seed=1))
    with pytest.raises(QuantError, match="made with a model 'fake' of other weights"):
        open_set(samples.folder, other)
    with pytest.raises(QuantError, match="is no calibration set"):
        open_set(tmp_path, other)
    copy = tmp_path / "copy"
    shutil.copytree(samples.folder, copy)
    record = json.loads((copy / "set.json").read_text())
    (copy / "set.json").write_text(json.dumps({**record, "samples": {}}))
    with pytest.raises(QuantError, match="is empty"):
        open_set(copy, open_bundle(small))
    (copy / "set.json").write_text(json.dumps({**record, "guidance": 9}))
    with pytest.raises(QuantError, match="was changed"):
        open_set(copy, open_bundle(small))
    (copy / "set.json").write_text("[]")
    with pytest.raises(QuantError, match="not the list"):
        open_set(copy, open_bundle(small))
    (copy / "set.json").write_text(json.dumps(record))
    whole = open_set(copy, open_bundle(small))
    (copy / whole.samples["denoiser"][0].path).write_bytes(b"")
    with pytest.raises(QuantError, match="changed or damaged"):
        list(whole.feeds("denoiser"))


def test_clips_are_needed(small: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(QuantError, match="holds no video"):
        videos_in(tmp_path / "none")
    with pytest.raises(QuantError, match="no folder"):
        videos_in(tmp_path / "missing")
    with pytest.raises(QuantError, match="at least one clip"):
        calibrate(open_bundle(small), [], tmp_path / "set", Options())
    (tmp_path / "none" / "x.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        calibrate(open_bundle(small), [tmp_path / "a.mp4"], tmp_path / "none", Options())
    assert names_in(tmp_path) == ["none"]


def sound(folder: Path) -> np.ndarray:
    with Pipeline.open(folder, threads=1) as pipeline:
        return pipeline.generate(make_clip(folder, Fraction(2)), "rain", seed=3).audio.samples


@pytest.mark.parametrize("packaged", ["int8", "int8-dynamic", "w8a16", "fp32", "article", "article-table"])
def test_the_pipeline_runs_what_a_recipe_made(
    small: Path, samples: CalibrationSet, tmp_path: Path, packaged: str
) -> None:
    chosen = load_recipe(packaged)
    # Not every fake network has layers.
    rules = tuple(replace(rule, optional=True) for rule in chosen.rules)
    gate = {"sqnr_db": {"denoiser": 15.0}}  # none of bytes: these files are mostly nodes
    chosen = replace(chosen, gate=gate, rules=rules)
    if packaged == "article":
        chosen = replace(chosen, gate={})  # a bundle of noise has no use for an 8-bit codec
    made = quantize(open_bundle(small), chosen, samples, tmp_path / "out")
    assert made == open_bundle(tmp_path / "out") and made.folder == tmp_path / "out"
    made.verify()
    exact, rounded = sound(small), sound(tmp_path / "out")
    assert exact.shape == rounded.shape and sqnr_db(exact, rounded) > (
        5 if packaged.startswith("article") else 15  # those quantise pictures, here noise never seen before
    )
    assert names_in(tmp_path) == ["out"]


def test_the_manifest_says_what_was_done(small: Path, samples: CalibrationSet, tmp_path: Path) -> None:
    made = quantize(open_bundle(small), recipe(STATIC), samples, tmp_path / "out")
    record = made.manifest["quantization"]
    assert Recipe.from_json(record["recipe"]) == recipe(STATIC)
    assert record["calibration"]["identity"] == samples.identity
    entry = record["components"]["denoiser"]
    layer = entry["layers"]["net.fc1"]
    assert layer["scheme"] == "w8a8-static" and layer["shape"] == [4, 64] and layer["sqnr_db"] > 25
    assert layer["bytes"] < layer["bytes_fp32"] and set(layer["activations"]["rows"]) == {
        "scale", "zero_point", "type",
    }  # fmt: skip
    assert sum(entry["operators"].get(n, 0) for n in ("MatMulIntegerToFloat", "MatMulInteger")) == 2
    found = compare(open_bundle(small), made, "denoiser", samples.feeds("denoiser"))
    assert entry["sqnr_db"] == found and set(found["by_level"]) == {"1", "0.5", "0.25"}
    assert found["least"] <= found["mean"] and found["mean"] > 20
    assert entry["bytes"] == (tmp_path / "out" / "denoiser.onnx").stat().st_size


def test_applying_the_record_again_gives_the_same_bytes(
    small: Path, samples: CalibrationSet, tmp_path: Path
) -> None:
    rule = {**STATIC, "smoothing": 0.5, "bias_correction": True, "activation_range": "mse", "bins": 2}
    first = quantize(open_bundle(small), recipe(rule, rest="fp16"), samples, tmp_path / "first")
    recorded = Recipe.from_json(first.manifest["quantization"]["recipe"])
    quantize(open_bundle(small), recorded, open_set(samples.folder, open_bundle(small)), tmp_path / "second")
    assert names_in(tmp_path / "first") == names_in(tmp_path / "second")
    for name in names_in(tmp_path / "first"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_chains_are_quantised_part_by_part(
    chained: Path, chain_samples: CalibrationSet, small: Path, samples: CalibrationSet, tmp_path: Path
) -> None:
    """As the same denoiser in one piece is: ranges come from what the parts before give."""
    made = quantize(open_bundle(chained), recipe(STATIC), chain_samples, tmp_path / "out")
    whole = quantize(open_bundle(small), recipe(STATIC), samples, tmp_path / "whole")
    parts = made.manifest["quantization"]["components"]
    one = whole.manifest["quantization"]["components"]["denoiser"]["layers"]["net.fc1"]
    assert parts["denoiser.01"]["layers"]["net.fc1"]["activations"] == one["activations"]
    assert parts["denoiser"]["sqnr_db"]["mean"] > 20
    assert parts["denoiser"]["bytes"] == parts["denoiser.00"]["bytes"] + parts["denoiser.01"]["bytes"]
    assert made.components["denoiser"].parts and not made.components["denoiser"].artefacts
    assert sqnr_db(sound(chained), sound(tmp_path / "out")) > 15


def test_a_missed_gate_is_refused_with_the_figures(
    small: Path, samples: CalibrationSet, tmp_path: Path
) -> None:
    gate = {"sqnr_db": {"denoiser": 90.0}, "bytes": {"denoiser": 0.1}}
    with pytest.raises(QuantError, match=r"misses its gate.*% of its float32.*SQNR \d+\.\d+ dB.* at 0\.5"):
        quantize(open_bundle(small), recipe(STATIC, gate=gate), samples, tmp_path / "out")
    with pytest.raises(QuantError, match="its gate names denoizer; the model has"):
        quantize(open_bundle(small), recipe(gate={"bytes": {"denoizer": 1}}), None, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_wrong_requests_leave_nothing(small: Path, samples: CalibrationSet, tmp_path: Path) -> None:
    bundle = open_bundle(small)
    with pytest.raises(QuantError, match="edgefoley calibrate fake"):
        quantize(bundle, recipe(STATIC), None, tmp_path / "out")
    with pytest.raises(QuantError, match=r"(?s)no layer fits 'denoiser/no'.*denoiser/net\.fc1 \(matmul\)"):
        quantize(bundle, recipe({"pattern": "denoiser/no", "scheme": "fp16"}), None, tmp_path / "out")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    with pytest.raises(OutputError, match="not empty"):
        quantize(bundle, recipe(), None, tmp_path / "there")
    with pytest.raises(OutputError, match="cannot be made"):
        quantize(bundle, recipe(), None, tmp_path / "missing" / "out")
    assert names_in(tmp_path) == ["there"]


def test_bins_need_a_part_that_knows_the_noise_level(
    small: Path, samples: CalibrationSet, chained: Path, chain_samples: CalibrationSet, tmp_path: Path
) -> None:
    binned = recipe({**STATIC, "bins": 2})
    made = quantize(open_bundle(small), binned, samples, tmp_path / "out")
    layer = made.manifest["quantization"]["components"]["denoiser"]["layers"]["net.fc1"]
    assert layer["bins"] == [[1.0, 0.5], [0.25]] and len(layer["activations"]["rows"]["scale"]) == 2
    assert sqnr_db(sound(small), sound(tmp_path / "out")) > 15
    with pytest.raises(QuantError, match=r"denoiser\.01: bins need an input that tells the noise level"):
        quantize(open_bundle(chained), binned, chain_samples, tmp_path / "no")
    assert names_in(tmp_path) == ["out"]


def test_narrow_storage_is_read_as_float32(small: Path, chained: Path) -> None:
    names = dict(layers_of(open_bundle(small)))
    assert names["denoiser/net.fc1"] == names["denoiser/net.fc2"] == "matmul"
    assert "denoiser.01/net.fc2" in dict(layers_of(open_bundle(chained)))


def test_the_command_line(run: Callable[..., Result], small: Path, clips: Path, tmp_path: Path) -> None:  # noqa: F811
    flags = ("--times", "2", "--max-clips", "1", "-p", "rain", "--seconds", "0.8", "--threads", "1")
    made = run("calibrate", small, "--clips", clips, "-o", tmp_path / "set", *flags)
    assert made.exit_code == 0 and made.stdout.strip() == str(tmp_path / "set"), made.stderr
    assert "'rain', seed 0" in made.stderr and "0.8 s" in made.stderr
    listed = run("quantize", "--list")
    assert "int8-dynamic" in listed.stdout and "w8a16" in listed.stdout
    assert "denoiser/net.fc1\tmatmul" in run("quantize", small, "--layers").stdout
    file = tmp_path / "mine.toml"
    file.write_text('name = "m"\nversion = 1\nabout = ""\n[[layers]]\npattern = "denoiser/*"\n'
                    'scheme = "w8a8-dynamic"\nreduce_range = true\n')  # fmt: skip
    done = run("quantize", small, "--recipe", file, "--calibration", tmp_path / "set", "-o", tmp_path / "out",
               "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)["quantization"]
    assert record["recipe"] == "m" and record["components"]["denoiser"]["sqnr_db"]["mean"] > 15
    assert "denoiser: SQNR" in done.stderr


def test_the_command_line_refuses(run: Callable[..., Result], small: Path, tmp_path: Path) -> None:  # noqa: F811
    for arguments, words in (
        ((), "name a BUNDLE"),
        ((small,), "--recipe and --output are needed"),
        ((small, "--recipe", "int9", "-o", tmp_path / "out"), "no recipe 'int9'"),
        ((small, "--recipe", "int8", "-o", tmp_path / "out"), "needs a calibration set"),
        ((small, "--recipe", "int8", "-o", tmp_path / "o", "--calibration", tmp_path), "no calibration set"),
    ):
        result = run("quantize", *arguments)
        assert result.exit_code != 0 and words in result.stderr, result.stderr
    result = run("calibrate", small, "--clips", tmp_path, "-o", tmp_path / "set")
    assert result.exit_code == 1 and "holds no video" in result.stderr
    assert not list(tmp_path.iterdir())
