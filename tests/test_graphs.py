"""Running components: a chain gives what its graph would, whether its parts stay open or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the graphs are built with the onnx package (extra: convert)")

from edgefoley.backends.base import LoadOptions
from edgefoley.backends.ort import OrtBackend
from edgefoley.bundle import MANIFEST, open_bundle, write_manifest
from edgefoley.errors import BundleIntegrityError
from edgefoley.graphs import Graphs
from edgefoley.pipeline import Pipeline
from tests.fake_bundle import SIZES, make_clip
from tests.onnx_bundle import make_chained_bundle, make_onnx_bundle

PARTS = ["denoiser.00", "denoiser.01"]


class Watched(OrtBackend):
    """Notes what is opened and closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def load(self, path: Path, options: LoadOptions) -> Any:
        session, close = super().load(path, options), self.log
        self.log.append(f"+{path.stem}")
        freed = session.close

        def noted() -> None:
            close.append(f"-{path.stem}")
            freed()

        session.close = noted  # type: ignore[method-assign]
        return session


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_onnx_bundle(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def chained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chained_bundle(tmp_path_factory.mktemp("chained"))


def feeds(count: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    normal = lambda *shape: random.standard_normal(shape, dtype=np.float32)  # noqa: E731
    latent = SIZES["latent"]
    return {
        "latents": normal(1, latent, 2 * count),
        "target": normal(1, latent, count),
        "text_level": normal(1),
        "clock": normal(1),
    }


@pytest.mark.parametrize("streamed", [False, True])
def test_a_chain_gives_what_the_whole_graph_gives(whole: Path, chained: Path, streamed: bool) -> None:
    passes = [feeds(count, seed) for seed, count in enumerate((9, 9, 4))]
    results = []
    for folder in (whole, chained):
        graphs = Graphs(open_bundle(folder), OrtBackend(), LoadOptions(threads=1))
        if streamed and folder == chained:
            graphs.streamed = frozenset(PARTS)
        constants = {"target": passes[0].pop("target")} if folder == whole else {}
        passes[0] |= constants
        results.append(list(graphs.run_many("denoiser", [(feed, constants) for feed in passes])))
    for one, other in zip(*results, strict=True):
        assert list(one) == list(other) == ["velocity"]
        np.testing.assert_array_equal(one["velocity"], other["velocity"])


def test_streaming_opens_each_part_once_for_all_passes(chained: Path) -> None:
    passes = [(feeds(5, seed), None) for seed in range(3)]
    for streamed, wanted in ((False, ["+{0}", "+{1}"]), (True, ["+{0}", "-{0}", "+{1}", "-{1}"])):
        backend = Watched()
        graphs = Graphs(open_bundle(chained), backend, LoadOptions(threads=1))
        graphs.streamed = frozenset(PARTS if streamed else ())
        list(graphs.run_many("denoiser", passes))
        assert backend.log == [line.format(*PARTS) for line in wanted]
        assert graphs.opened == (() if streamed else tuple(PARTS))
        graphs.close(["denoiser"])
        assert graphs.opened == ()


def test_the_sound_of_a_chain_is_that_of_the_whole_graph(whole: Path, chained: Path) -> None:
    """Several windows, two branches; the parts stay open, are closed after the stage, are streamed."""
    clip, sounds = make_clip(whole, "13"), []
    for folder, keep, streamed in ((whole, True, ()), (chained, True, ()), (chained, False, PARTS)):
        pipeline = Pipeline.open(folder, "ort", threads=1)
        pipeline.graphs.keep, pipeline.graphs.streamed = keep, frozenset(streamed)
        sounds.append(pipeline.generate(clip, "rain", guidance_scale=2.0, seed=3).audio.samples)
        assert (pipeline.graphs.opened == ()) is not keep
    np.testing.assert_array_equal(sounds[0], sounds[1])
    np.testing.assert_array_equal(sounds[0], sounds[2])


DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no such part": (lambda c: c["denoiser"]["attributes"]["parts"].append("denoiser.02"), "denoiser.02"),
    "part twice": (lambda c: c["denoiser"]["attributes"]["parts"].append("text"), "'text' is named twice"),
    "wrong order": (lambda c: c["denoiser"]["attributes"]["parts"].reverse(), "takes .*'weighed'"),
    "unknown input": (
        lambda c: c["denoiser.01"]["inputs"].append({"name": "extra", "shape": [1]}),
        r"takes \['extra'\]",
    ),
    "made twice": (
        lambda c: c["denoiser.01"]["outputs"].append({"name": "pull", "shape": [1]}),
        r"puts out \['pull'\]",
    ),
    "made by nobody": (
        lambda c: c["denoiser"]["outputs"].append({"name": "more", "shape": [1]}),
        r"no part puts out \['more'\]",
    ),
    "taken by nobody": (
        lambda c: c["denoiser.01"]["inputs"].pop(),
        r"no part takes \['text_level'\]",
    ),
    "files of its own": (
        lambda c: c["denoiser"].update(artefacts=c["text"]["artefacts"]),
        "both parts and files",
    ),
    "chain in a chain": (
        lambda c: c["denoiser.00"].update(attributes={"parts": ["x"]}, artefacts={}),
        "cannot be a chain",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_chain_is_named(tmp_path: Path, name: str) -> None:
    folder = make_chained_bundle(tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    change, words = DAMAGE[name]
    change(manifest["components"])
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleIntegrityError, match=words):
        open_bundle(folder)


def test_files_that_a_graph_refers_to_are_checked_with_it(tmp_path: Path) -> None:
    folder = make_chained_bundle(tmp_path)
    (folder / "denoiser.00.data").write_bytes(b"weights")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    artefact = manifest["components"]["denoiser.00"]["artefacts"]["ort"]
    artefact["data"] = [{"path": "denoiser.00.data"}]
    bundle = write_manifest(folder, manifest)
    assert "denoiser.00.data" in {file.path for file in bundle.files}
    assert bundle.backends == ("ort",)
    bundle.artefact("denoiser.00", "ort")
    (folder / "denoiser.00.data").write_bytes(b"Weights")
    with pytest.raises(BundleIntegrityError, match=r"denoiser\.00\.data was changed or damaged"):
        open_bundle(folder).artefact("denoiser.00", "ort")
    (folder / "denoiser.00.data").unlink()
    with pytest.raises(BundleIntegrityError, match=r"denoiser\.00\.data is missing"):
        open_bundle(folder)
