"""Three short clips with sound of their own, and two folders of sounds for them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgefoley.bundle import MANIFEST, write_manifest
from edgefoley.output import write_wav
from edgefoley.types import Audio
from tests.clips import Sound, make_clip

RATE = 48_000
SECONDS = 1.6
TIMES = {"door": (0.3, 0.9), "step": (0.2, 0.6, 1.1), "tap": (0.5, 1.3)}


def bursts(
    times: tuple[float, ...], seed: int = 0, seconds: float = SECONDS, level: float = 0.3
) -> np.ndarray:
    """(n,) float32: noise that begins at each time and dies away."""
    random = np.random.default_rng(seed)
    wave = 1e-3 * random.standard_normal(round(seconds * RATE))
    for time in times:
        at = round(time * RATE)
        burst = level * random.standard_normal(6000) * np.exp(-np.arange(6000) / 1200)
        wave[at : at + 6000] += burst[: max(0, len(wave) - at)]
    return np.clip(wave, -0.99, 0.99).astype(np.float32)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clips/, a/ (right in time) and b/ (200 ms late, half as loud)."""
    root = tmp_path_factory.mktemp("scenes")
    for name in ("clips", "a", "b"):
        (root / name).mkdir()
    for number, (clip, times) in enumerate(TIMES.items()):
        own = Sound(bursts(times, 50 + number)[None], codec="pcm_s16le")
        make_clip(root / "clips" / f"{clip}.mov", count=40, sound=own)
        write_wav(root / "a" / f"{clip}.wav", Audio(bursts(times, number), RATE), {})
        late = tuple(time + 0.2 for time in times)
        write_wav(root / "b" / f"{clip}.foley.wav", Audio(0.5 * bursts(late, number), RATE), {})
    return root


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A small model; the same whose velocity is 1 % too large in the file; and one of other weights."""
    onnx = pytest.importorskip("onnx", reason="graphs are made with onnx (extra: quantize)")
    from tests.quant.small import make_small_bundle

    root = tmp_path_factory.mktemp("models")
    exact, louder, other = (make_small_bundle(root / name, seed=seed) for name, seed in
                            (("exact", 0), ("louder", 0), ("other", 1)))  # fmt: skip
    path = louder / "denoiser.onnx"
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.output[:] = ["exact_velocity" if name == "velocity" else name for name in node.output]
    factor = onnx.numpy_helper.from_array(np.array(1.01, np.float32), "one_percent")
    model.graph.initializer.append(factor)
    model.graph.node.append(onnx.helper.make_node("Mul", ["exact_velocity", "one_percent"], ["velocity"]))
    onnx.save(model, str(path))
    write_manifest(louder, json.loads((louder / MANIFEST).read_text(encoding="utf-8")))
    return exact, louder, other
