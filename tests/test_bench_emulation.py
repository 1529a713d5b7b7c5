"""The comparison of emulated processors: its layers are the network's, and it notices differences.

Emulators are not started here.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("onnx", reason="quantisation rewrites graphs with onnx (extra: quantize)")
pytest.importorskip("onnxruntime")

from edgefoley.quant.fused import BLOCKS, INTEGER, operators
from edgefoley.quant.watch import values_of
from tests.quant.test_emit import LINEAR, apply, feeds

FOLDER = Path(__file__).parent.parent / "benchmarks"
if not FOLDER.is_dir():
    pytest.skip("the benchmarks are not here", allow_module_level=True)


@pytest.fixture(scope="module")
def emulation() -> ModuleType:
    sys.path.insert(0, str(FOLDER))
    try:
        return import_module("emulation")
    finally:
        sys.path.remove(str(FOLDER))


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        ({"scheme": "w8a8-static"}, INTEGER),
        ({"scheme": "w8a8-static", "activation_type": "int8", "activation_symmetric": True}, INTEGER),
        ({"scheme": "w8a8-static", "format": "qoperator"}, INTEGER),
        ({"scheme": "w8a8-dynamic"}, INTEGER),
        ({"scheme": "w4a16"}, BLOCKS),
        ({"scheme": "fp16"}, ("MatMul",)),
    ],
)
def test_layers_alone_are_those_of_the_network(
    emulation: ModuleType, tmp_path: Path, scheme: dict, kind: tuple[str, ...]
) -> None:
    """Fed with what they get inside, they put out what they put out inside."""
    made = apply(tmp_path, {"pattern": "*", "kinds": LINEAR, "reduce_range": True, **scheme}).network
    given = feeds(7)
    apart, inputs = emulation.layers_apart(made, lambda names: values_of(made, given, tmp_path, names))
    layers = 3 if scheme["scheme"] == "fp16" else 6  # where they stay Gemm and Conv those are no products
    assert len(apart.outputs) == layers and set(apart.inputs) == set(inputs)
    apart.write(tmp_path / "0.layers.onnx", apart=False)
    counts = operators(tmp_path / "0.layers.onnx", tmp_path)[0]
    assert sum(counts.get(operator, 0) for operator in kind) == layers
    np.savez(tmp_path / "0.layers.npz", **inputs)
    (tmp_path / "made.onnx").rename(tmp_path / "0.whole.onnx")
    np.savez(tmp_path / "0.whole.npz", **given)
    inside = values_of(made, given, tmp_path, apart.outputs)
    for exact in (False, True):
        out = tmp_path / f"out{exact}"
        emulation.run_files(tmp_path, out, [0], exact)
        with np.load(out / "0.layers.npz") as outside, np.load(out / "0.whole.npz") as whole:
            assert set(whole.files) == {"sound", "scores", "image"}
            for name, values in inside.items():
                assert np.allclose(outside[name], values, rtol=1e-5, atol=1e-5), name
    assert json.loads((out / "about.json").read_text())["machine"] == platform.machine()


def test_differences_are_counted(emulation: ModuleType, tmp_path: Path) -> None:
    for name, change, noise in (("here", 0.0, 0.0), ("there", 0.02, 0.1)):
        (tmp_path / name).mkdir()
        layers = {"a": np.array([1.0, -4.0]), "b": np.array([2.0 + change, 1.0])}
        np.savez(tmp_path / name / "3.layers.npz", **layers)
        np.savez(tmp_path / name / "3.whole.npz", velocity=np.array([3.0, 4.0 + noise]))
    found = emulation.compare(tmp_path / "here", tmp_path / "there", 3)
    assert (found["layers"], found["identical"]) == (2, 1) and found["error"] == pytest.approx(0.01)
    assert found["whole_db"] == pytest.approx(10 * np.log10(25 / 0.01), abs=0.06)
    same = emulation.compare(tmp_path / "here", tmp_path / "here", 3)
    assert same == {"layers": 2, "identical": 2, "error": 0.0, "whole_db": None}


def test_what_must_agree_and_does_not_is_marked(
    emulation: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"processor": "p", "form": "f", "layers": 2, "identical": 1, "error": 0.01, "whole_db": 20.0,
           "quantisation_db": None}  # fmt: skip
    emulation.show([{**row, "agrees": a, "must_agree": m} for a in (False, True) for m in (False, True)])
    lines = capsys.readouterr().out.splitlines()[2:]
    assert ["DISAGREES" in line for line in lines] == [False, True, False, False]


def test_a_folder_appears_when_it_is_whole(emulation: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), emulation.whole(tmp_path / "root") as part:
        (part / "file").touch()
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []
    with emulation.whole(tmp_path / "root") as part:
        (part / "file").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["root", "file"]


def test_unknown_processors_are_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "emulation.py"), "--only", "m68k", "--cache", str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "known: cortex-a72, cortex-a76, Haswell" in done.stderr
    assert list(tmp_path.iterdir()) == []
