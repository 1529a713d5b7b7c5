"""What ONNX Runtime is told where its integer kernels would lose bits, and that sums are then exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgefoley.backends import ort, processor
from edgefoley.backends.base import LoadOptions
from edgefoley.backends.ort import EXACT_SUMS, OrtBackend
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.graphs import Graphs
from tests.backends.onnx_files import save

DYNAMIC = """g (float[T,512] x) => (float[T,24] y, float s, uint8 p) {
    q, s, p = DynamicQuantizeLinear(x)
    i = MatMulInteger(q, w, p)  f = Cast<to = 1>(i)  k = Mul(s, ws)  y = Mul(f, k)
}"""


@pytest.fixture
def product(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Weights near the ends of int8, which activations of the same sign meet: the worst case."""
    signs = np.where(np.random.default_rng(0).random((512, 24)) < 0.5, -1, 1)
    weight = (signs * 127).astype(np.int8)
    scale = np.linspace(0.01, 0.02, 24).astype(np.float32)
    path = save(tmp_path / "product.onnx", DYNAMIC, w=weight, ws=scale)
    return path, weight, scale


def config(options: LoadOptions) -> str | None:
    chosen = OrtBackend()._session_options(onnxruntime, options)
    try:
        return str(chosen.get_session_config_entry(EXACT_SUMS))
    except Exception:  # what the engine raises for an option that was not set
        return None


@pytest.mark.parametrize("narrow", [True, False])
def test_the_option_is_set_where_sums_have_16_bits(narrow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "sums_of_16_bits", lambda: narrow)
    assert config(LoadOptions()) == ("1" if narrow else None)
    assert config(LoadOptions(full_range=False)) is None


def test_sums_are_exact_on_this_processor(product: tuple[Path, np.ndarray, np.ndarray]) -> None:
    """Against integers of 64 bits, whatever the processor is."""
    path, weight, scale = product
    x = np.abs(np.random.default_rng(1).normal(size=(7, 512))).astype(np.float32) + 2
    made = OrtBackend().load(path, LoadOptions(threads=1)).run({"x": x})
    assert made["p"] == 0
    numbers = np.clip(np.rint(x / made["s"]), 0, 255).astype(np.int64)
    exact = (numbers @ weight.astype(np.int64)).astype(np.float32) * (made["s"] * scale)
    assert np.allclose(made["y"], exact, rtol=1e-6, atol=1e-6)
    pairs = numbers[:, None, :].transpose(0, 2, 1) * weight.astype(np.int64)
    assert np.abs(pairs[:, 0::2] + pairs[:, 1::2]).max() > 32767, "16 bits would not do"


def test_it_changes_nothing_where_sums_have_32_bits(
    product: tuple[Path, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    if processor.sums_of_16_bits():
        pytest.skip("without the option this processor's sums overflow")
    x = np.random.default_rng(1).normal(size=(7, 512)).astype(np.float32)
    plain = OrtBackend().load(product[0], LoadOptions(threads=1)).run({"x": x})
    monkeypatch.setattr(ort, "sums_of_16_bits", lambda: True)
    careful = OrtBackend().load(product[0], LoadOptions(threads=1)).run({"x": x})
    for name, values in plain.items():
        assert np.array_equal(values, careful[name])


@pytest.mark.parametrize(
    ("machine", "flags", "narrow"),
    [
        ("x86_64", {"avx2", "fma"}, True),
        ("AMD64", {"avx2", "avx512f"}, True),
        ("x86_64", {"avx2", "avx_vnni"}, False),
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, False),
        ("x86_64", None, False),
        ("aarch64", {"asimd"}, False),
    ],
)
def test_which_processors_those_are(
    machine: str, flags: set[str] | None, narrow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor.platform, "machine", lambda: machine)
    monkeypatch.setattr(processor, "processor", lambda: ("a processor", flags))
    assert processor.sums_of_16_bits() is narrow


def recorded(bundle: Bundle, *schemes: dict) -> Bundle:
    record = {"recipe": {"default": {"scheme": "w8a16", "reduce_range": False}, "layers": list(schemes)}}
    return replace(bundle, manifest={**bundle.manifest, "quantization": record})


def test_the_manifest_tells_whether_weights_have_all_8_bits() -> None:
    nano = open_bundle("nano")
    seven = {"scheme": "w8a8-static", "reduce_range": True}
    eight = {"scheme": "w8a8-dynamic", "reduce_range": False}
    for bundle, full in (
        (nano, False),  # as packaged: one bit less
        (recorded(nano), False),
        (recorded(nano, seven), False),
        (recorded(nano, seven, eight), True),
        (replace(nano, manifest={**nano.manifest, "quantization": None}), True),
        (replace(nano, manifest={**nano.manifest, "quantization": {"recipe": "other"}}), True),
    ):
        assert bundle.full_range is full
        for asked in (True, False):
            graphs = Graphs(bundle, OrtBackend(), LoadOptions(1, full_range=asked))
            assert graphs.options == LoadOptions(1, full_range=full and asked)
