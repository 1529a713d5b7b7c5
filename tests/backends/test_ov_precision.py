"""OpenVINO computes in float32 unless asked, and then with two exceptions."""

from __future__ import annotations

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgefoley.backends.ov import OvBackend, OvOptions
from edgefoley.errors import BackendError, UsageError
from tests.backends.onnx_files import ONE_THREAD, error, in_a_process, normal, save, stored_in_8_bits


def test_activations_are_not_rounded_where_weights_are_8_bit(engine: OvBackend, tmp_path: Path) -> None:
    """The engine's own choice rounds them (error 0.007 here), also in float32."""
    path, weights = stored_in_8_bits(tmp_path / "g.onnx")
    x = normal(1, 40, 256)
    session = engine.load(path, ONE_THREAD)
    assert error(session.run({"x": x})["y"], x @ weights) < 1e-5


def test_bfloat16_only_when_asked_for(engine: OvBackend, bf16: OvBackend, tmp_path: Path) -> None:
    weights, x = normal(256, 192), normal(1, 40, 256)
    path = save(
        tmp_path / "g.onnx", "g (float[1,T,256] x) => (float[1,T,192] y) { y = MatMul(x, w) }", w=weights
    )
    exact, rounded = (b.load(path, ONE_THREAD).run({"x": x})["y"] for b in (engine, bf16))
    assert error(exact, x @ weights) < 1e-5
    assert 1e-4 < error(rounded, x @ weights) < 2e-2


GATED = """g (float[1,T,64] x) => (float[1,T,64] y) {
    ta = Transpose <perm = [1, 0]> (a)
    tb = Transpose <perm = [1, 0]> (b)
    tc = Transpose <perm = [1, 0]> (c)
    gate = MatMul(x, ta)
    sigmoid = Sigmoid(gate)
    silu = Mul(gate, sigmoid)
    up = MatMul(x, tb)
    both = Mul(silu, up)
    y = MatMul(both, tc)
}"""


def test_gated_layer_in_bfloat16_with_one_thread(bf16: OvBackend, tmp_path: Path) -> None:
    """Left to itself the engine (2026.4.1) ends the process here on processors with AMX."""
    a, b, c = (
        normal(128, 64, scale=0.1),
        normal(128, 64, scale=0.1, seed=1),
        normal(64, 128, scale=0.1, seed=2),
    )
    path, x = save(tmp_path / "g.onnx", GATED, a=a, b=b, c=c), normal(1, 9, 64)
    np.save(tmp_path / "x.npy", x)
    code = """
import sys, numpy as np
from pathlib import Path
from edgefoley.backends import LoadOptions
from edgefoley.backends.ov import OvBackend, OvOptions
folder = Path(sys.argv[1])
session = OvBackend(OvOptions("bf16")).load(folder / "g.onnx", LoadOptions(threads=1))
np.save(folder / "y.npy", session.run({"x": np.load(folder / "x.npy")})["y"])
"""
    in_a_process(code, path.parent, HOME=str(tmp_path))
    gate = x @ a.T
    assert error(np.load(tmp_path / "y.npy"), (gate / (1 + np.exp(-gate)) * (x @ b.T)) @ c.T) < 2e-2


def test_sinusoids_of_an_input_stay_in_float32(bf16: OvBackend, tmp_path: Path) -> None:
    """The embedding of the diffusion time; in bfloat16 an angle of 900 rad is off by up to 2 rad."""
    frequencies, weights = np.geomspace(1, 1e-3, 64).astype(np.float32), normal(64, 32)
    graph = """g (float[N,1] t) => (float[N,32] y) {
        angle = Mul(t, f)
        wave = Sin(angle)
        y = MatMul(wave, w)
    }"""
    path = save(tmp_path / "g.onnx", graph, f=frequencies, w=weights)
    t = np.array([[901.0], [333.0], [7.0]], dtype=np.float32)
    expected = np.sin(t * frequencies) @ weights
    assert error(bf16.load(path, ONE_THREAD).run({"t": t})["y"], expected) < 1e-4


def test_other_sinusoids_are_no_exception(bf16: OvBackend, tmp_path: Path) -> None:
    """Those of a decoder's activation functions, behind its products."""
    graph = "g (float[1,T,256] x) => (float[1,T,64] y) { z = MatMul(x, w)\n y = Sin(z) }"
    weights, x = normal(256, 64, scale=0.05), normal(1, 40, 256)
    path = save(tmp_path / "g.onnx", graph, w=weights)
    assert error(bf16.load(path, ONE_THREAD).run({"x": x})["y"], np.sin(x @ weights)) > 1e-4


def test_unknown_precision() -> None:
    with pytest.raises(UsageError, match="unknown precision 'f8' of OpenVINO; known: f32, bf16, f16"):
        OvBackend(OvOptions("f8"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "able", "machine", "message"),
    [
        ("bf16", ["FP32", "INT8"], "x86_64", r"bf16 on this processor \(only in f32\)"),
        ("f16", ["FP32", "FP16", "BF16"], "AMD64", "no f16 convolutions for x86"),
        ("f16", ["FP32"], "aarch64", "f16 on this processor"),
        ("f16", ["FP32", "FP16"], "aarch64", None),
        ("bf16", ["FP32", "BF16"], "x86_64", None),
    ],
)
def test_precisions_of_processors(
    monkeypatch: pytest.MonkeyPatch, wanted: Any, able: list[str], machine: str, message: str | None
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    core = SimpleNamespace(get_property=lambda device, name: able)
    if message is None:
        OvBackend(OvOptions(wanted))._check_precision(core)
    else:
        with pytest.raises(BackendError, match=message):
            OvBackend(OvOptions(wanted))._check_precision(core)
