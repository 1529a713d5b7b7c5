"""Small ONNX files, the numbers that go with them, and a process of its own to open them in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgefoley.backends import LoadOptions

ONE_THREAD = LoadOptions(threads=1)


def save(path: Path, graph: str, external: bool = False, **weights: np.ndarray) -> Path:
    """Write a graph in ONNX's text form, with ``weights`` as initializers, as a model file."""
    onnx = pytest.importorskip("onnx", reason="the graph is built with the onnx package (extra: dev)")
    from onnx import numpy_helper, parser

    model = parser.parse_model('<ir_version: 8, opset_import: ["" : 20, "odd" : 1]>\n' + graph)
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    if external:
        onnx.save(
            model, str(path), save_as_external_data=True, location=f"{path.stem}.data", size_threshold=0
        )
    else:
        onnx.save(model, str(path))
    return path


def normal(*shape: int, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def in_a_process(code: str, *arguments: str | Path, **environment: str) -> str:
    """What a program prints that is run with nothing in its environment but ``environment``; where the engine
    takes its process with it, only that one ends."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr}"
    assert done.stderr == ""
    return done.stdout


def stored_in_8_bits(path: Path) -> tuple[Path, np.ndarray]:
    """A product whose weights are int8 times a scale, as ``export.compact`` writes them; and the weights."""
    q = np.random.default_rng(1).integers(-127, 128, (256, 192)).astype(np.int8)
    scale = np.random.default_rng(2).uniform(0.001, 0.01, (1, 192)).astype(np.float32)
    graph = """g (float[1,T,256] x) => (float[1,T,192] y) {
        wide = Cast <to = 1> (q)
        w = Mul(wide, s)
        y = MatMul(x, w)
    }"""
    return save(path, graph, q=q, s=scale), q * scale
