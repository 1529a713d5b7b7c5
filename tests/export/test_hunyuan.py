"""A folder of weights becomes a bundle: what is in it, that it is checked, and that nothing half remains."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="conversion is offline work and needs torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from edgefoley.bundle import MANIFEST, open_bundle  # noqa: E402
from edgefoley.convert.checkpoint import CheckpointError  # noqa: E402
from edgefoley.convert.hunyuan import TINY, open_folder  # noqa: E402
from edgefoley.errors import EdgeFoleyError, OutputError, UsageError  # noqa: E402
from edgefoley.export import hunyuan  # noqa: E402
from edgefoley.export.graph import ExportError  # noqa: E402
from edgefoley.export.hunyuan import build  # noqa: E402
from edgefoley.types import View  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the exporter's own deprecations


@pytest.mark.slow
def test_the_bundle_says_what_the_model_needs(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    bundle.verify()
    assert (bundle.name, bundle.licence, bundle.backends) == ("random-tiny", "Apache-2.0", ("ort",))
    assert "they make noise" in bundle.description
    timeline = bundle.timeline
    rates = (timeline.sample_rate, timeline.latent_rate, timeline.visual_rate, timeline.sync_rate)
    assert rates == (48000, 50, 8, 25) and timeline.rule == "at_or_after"
    defaults = bundle.defaults
    assert (defaults.steps, defaults.guidance, defaults.negative_prompt) == (50, 4.5, "noisy, harsh")
    assert (defaults.solver, defaults.shift) == ("euler", 1.0)
    assert bundle.views() == {
        "visual": View(timeline.visual_rate, (32, 32), "rgb", "at_or_after"),
        "sync": View(timeline.sync_rate, (32, 32), "rgb", "at_or_after", "crop", "bicubic"),
    }
    assert bundle.components["denoiser"].parts == ("denoiser.00", "denoiser.01", "denoiser.02")
    assert bundle.components["text"].attributes["kept_tokens"] == 77


@pytest.mark.slow
def test_the_source_is_told_and_rounding_measured(tiny_bundle: Path, tiny_source: Path) -> None:
    manifest = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))
    files = manifest["source"]["files"]
    assert set(files) == {
        str(path.relative_to(tiny_source)) for path in open_folder(tiny_source).paths.values()
    }
    stored = manifest["quantization"]
    assert stored["storage"] == "bf16" and stored["largest_rounding_of_a_tensor"] == 0  # bfloat16 in the file
    graphs = {name for name, entry in manifest["components"].items() if entry["artefacts"]}
    assert set(stored["relative_error"]) == graphs
    assert all(0 < error < 3e-5 for error in stored["relative_error"].values())


@pytest.mark.slow
def test_the_transformer_has_products_and_no_convolution(tiny_bundle: Path) -> None:
    """Every weight of a kernel of 3 is a matrix of three times the rows, which INT8 products take."""
    config = TINY.transformer
    graph = onnx.load(str(tiny_bundle / "denoiser.02.onnx"), load_external_data=False).graph
    assert not [node.name for node in graph.node if "Conv" in node.op_type]
    shapes = {tensor.name.removesuffix(".bf16"): tuple(tensor.dims) for tensor in graph.initializer}
    h, hidden = config.hidden_size, config.gated_hidden
    for block in range(config.depth_single_blocks):
        assert shapes[f"single_blocks.{block}.linear1.weight"] == (3 * h, h)
        assert shapes[f"single_blocks.{block}.linear2.w1.weight"] == (3 * h, hidden)


@pytest.mark.slow
def test_only_what_reaches_the_sound_is_stored(tiny_bundle: Path) -> None:
    """Numbers in all graphs are the weights of the networks, each once."""
    source = open_folder(tiny_bundle.parent / "source")
    stored: dict[str, int] = {}
    bundle = open_bundle(tiny_bundle)
    for name, component in bundle.components.items():
        if not component.parts:
            kind = name.partition(".")[0]
            stored[kind] = stored.get(kind, 0) + sum(component.attributes["weights"].values())
    network = {
        part: sum(value.numel() for value in hunyuan.weights_of(source, spec).values())
        for part, spec in (
            (spec.source, spec) for spec in hunyuan.parts_of(source.sizes, 2)
        )
    }  # fmt: skip
    # The last two-stream block has no use for the norm of its picture's queries.
    shared = stored["conditioner"] + stored["timestep"] + stored["denoiser"]
    assert shared == network["transformer"] - TINY.transformer.head_dim
    assert stored["text"] == network["clap"] and stored["visual"] == network["siglip2"]
    # Embeddings of place and time are stored added up, a row for every patch and one for the class token.
    sync = TINY.synchformer
    added = sync.places * sync.moments * sync.width + sync.width
    kept = (1 + sync.places) * sync.width + sync.moments * sync.width + sync.width
    assert stored["sync"] == network["synchformer"] + added - kept


def test_senseless_choices_are_refused(tiny_source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="storage must be one of fp32, bf16, fp16"):
        build(tiny_source, tmp_path / "out", storage="int8")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least 1 block"):
        build(tiny_source, tmp_path / "out", group=0)
    with pytest.raises(CheckpointError, match="is no folder"):
        build(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(OutputError, match="is no folder"):
        build(tiny_source, tmp_path / "absent" / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        build(tiny_source, tmp_path / "full")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.slow
def test_a_graph_that_differs_is_refused_and_nothing_remains(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One weight is read wrongly for the graph, rightly for PyTorch."""
    write = hunyuan.write

    def wrong(skeleton, weights, *further):
        spoiled = lambda name: weights(name) * (1.01 if name.endswith("value.weight") else 1)  # noqa: E731
        return write(skeleton, spoiled, *further)

    monkeypatch.setattr(hunyuan, "write", wrong)
    with pytest.raises(ExportError, match="text: text_feat differs by"):
        build(tiny_source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_no_room_is_told_before_anything_is_made(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("edgefoley.hub.shutil.disk_usage", lambda path: usage)
    with pytest.raises(EdgeFoleyError, match="not enough room"):
        build(tiny_source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_published_weights_carry_their_terms(tiny_source: Path, tmp_path: Path) -> None:
    """A folder that is no stand-in: Tencent's agreement, where it does not apply, and its files."""
    source = open_folder(tiny_source)
    assert hunyuan.name_of(source) == "random-tiny"
    published = type(source)(tmp_path, "xl", source.sizes, source.paths, None)
    for name in ("LICENSE", "NOTICE"):
        (tmp_path / name).write_text(name)
    assert hunyuan.name_of(published) == "xl"
    (tmp_path / "work").mkdir()
    terms = hunyuan._terms(published, tmp_path / "work")
    assert "Tencent Hunyuan Community" in terms["licence"]
    assert "European Union, United Kingdom, South Korea" in terms["description"]
    assert any("were changed" in line for line in terms["attributions"])
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"LICENSE", "NOTICE"}


@pytest.mark.slow
def test_other_groups_and_full_storage_compute_the_same(
    tiny_source: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    """One block per part and float32 on the disk: the same sound, bit by bit."""
    from edgefoley.pipeline import Pipeline

    build(tiny_source, tmp_path / "wide", storage="fp32", group=1)
    sounds, sizes = [], []
    for folder in (tiny_bundle, tmp_path / "wide"):
        with Pipeline.open(folder, threads=1) as pipeline:
            foley = pipeline.generate(None, "rain", seed=4, num_steps=2, duration=hunyuan.Fraction(1))
        sounds.append(foley.audio.samples)
        sizes.append(
            sum(file.bytes for file in open_bundle(folder).files if file.path.startswith("denoiser"))
        )
    assert len(open_bundle(tmp_path / "wide").components["denoiser"].parts) == 5
    assert sizes[1] > 1.4 * sizes[0]  # small matrices stay in float32
    np.testing.assert_array_equal(*sounds)
