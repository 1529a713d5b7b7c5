"""A bundle whose denoiser has layers to quantise, for "ort": the fake networks with a small perceptron added.

Import only behind ``pytest.importorskip("onnx")``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgefoley.bundle import MANIFEST, write_manifest
from tests.clips import make_clip
from tests.fake_bundle import SIZES
from tests.onnx_bundle import make_chained_bundle, make_onnx_bundle

WIDE = 64


def make_small_bundle(folder: Path, chained: bool = False, seed: int = 0, apart: bool = False) -> Path:
    """Write it. ``seed``: of the weights and of the source's digest. ``apart``: constants in a data file."""
    folder = (make_chained_bundle if chained else make_onnx_bundle)(folder, guidance=2.0, steps=4)
    name = "denoiser.01" if chained else "denoiser"
    path = folder / f"{name}.onnx"
    model = add_perceptron(onnx.load(str(path)), seed)
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    artefact = {"path": path.name}
    if apart:
        onnx.save(model, str(path), save_as_external_data=True, location=f"{name}.bin", size_threshold=0)
        artefact["data"] = [{"path": f"{name}.bin"}]
    else:
        onnx.save(model, str(path))
    for component in manifest["components"].values():
        component["artefacts"].pop("fake", None)
    manifest["components"][name]["artefacts"]["ort"] = artefact
    manifest["source"] = {"sha256": f"{seed:064d}"}
    write_manifest(folder, manifest)
    return folder


def add_perceptron(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """velocity + transpose(fc2(relu(fc1(norm(transpose(velocity))))))), the weights stored as bfloat16 behind
    Cast, as converted bundles have them, fc2 turned round behind a Transpose besides."""
    random, latent = np.random.default_rng(seed), SIZES["latent"]
    first = random.standard_normal((latent, WIDE)).astype(np.float32)
    second = (random.standard_normal((latent, WIDE)) / WIDE).astype(np.float32)
    graph = model.graph
    graph.node[-1].output[0] = "plain"
    constants = {"net.fc1.bias": random.standard_normal(WIDE).astype(np.float32)}
    for key, values in {"net.fc1.weight": first, "net.fc2.weight": second}.items():
        tensor = numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(16)), f"{key}.bf16")
        graph.initializer.append(tensor)
        graph.node.append(helper.make_node("Cast", [f"{key}.bf16"], [key], to=TensorProto.FLOAT))
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    for operator, inputs, output, extra in (
        ("Transpose", ["plain"], "rows", {"perm": [0, 2, 1]}),
        ("MatMul", ["rows", "net.fc1.weight"], "raised", {}),
        ("Add", ["raised", "net.fc1.bias"], "biased", {}),
        ("Relu", ["biased"], "hidden", {}),
        ("Transpose", ["net.fc2.weight"], "turned", {"perm": [1, 0]}),
        ("MatMul", ["hidden", "turned"], "two", {}),
        ("Transpose", ["two"], "columns", {"perm": [0, 2, 1]}),
        ("Add", ["plain", "columns"], "velocity", {}),
    ):
        graph.node.append(helper.make_node(operator, inputs, [output], **extra))
    onnx.checker.check_model(model, full_check=True)
    return model


def make_clips(folder: Path, count: int = 2) -> Path:
    """A folder of short videos."""
    folder.mkdir()
    for number in range(count):
        make_clip(folder / f"dog_barks-{number}.mp4", count=25 + 5 * number)
    return folder
