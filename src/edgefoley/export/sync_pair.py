"""Two sync encoders in one graph:
``python -m edgefoley.export.sync_pair --run runs/sync --films runs/held --out runs/pair``.

Encoders that learnt from differently drawn films err at different places, so the mean of what they say is
often better than either (Breiman 1996, "Bagging predictors", for a mean of two). The first is a bundle's
graph as it is; of the second, a run of ``train.sync``, only the event logits are added. Each is brought to
log odds by its own calibration, both count the same, and the mean is calibrated on rendered films that
neither has seen. Strength and activity stay the first one's. Writes a copy of the bundle to ``--out``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.compose
import onnx.utils
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgefoley.bundle import MANIFEST, open_bundle, write_manifest
from edgefoley.export.compact import store_fp16, strip_metadata
from edgefoley.export.components import sync_graph
from edgefoley.export.graph import ExportError, export_graph
from edgefoley.export.nano import load_sync

LOGITS = "event_logits"
INPUTS = ("frames", "ages")
PREFIX = "second_"


def calibration_nodes(model: ModelProto) -> tuple[NodeProto, NodeProto]:
    """The product and the sum that turn event logits into log odds inside a sync graph. Raises
    ExportError."""
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    product = [node for node in users.get(LOGITS, ()) if node.op_type == "Mul"]
    if len(product) == 1:
        total = [node for node in users.get(product[0].output[0], ()) if node.op_type == "Add"]
        if len(total) == 1:
            return product[0], total[0]
    raise ExportError("this graph's event probability is not sigmoid(gain * event_logits + bias)")


def constants(model: ModelProto) -> tuple[float, float]:
    """(gain, bias) of a sync graph."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = []
    for node in calibration_nodes(model):
        value = [known[name] for name in node.input if name in known]
        if len(value) != 1 or value[0].size != 1:
            raise ExportError(f"{node.op_type} of the event logits is not with one number")
        found.append(float(value[0].reshape(())))
    return found[0], found[1]


def join(first: ModelProto, second: ModelProto, gain: float, bias: float) -> ModelProto:
    """The graph ``first`` whose event logits are the mean of both graphs' log odds, and whose probability is
    sigmoid(gain * logit + bias) of that."""
    scales = constants(first), constants(second)
    made = onnx.ModelProto()
    made.CopyFrom(first)
    product, total = calibration_nodes(made)
    own = f"first_{LOGITS}"
    for node in made.graph.node:
        for index, name in enumerate(node.output):
            if name == LOGITS:
                node.output[index] = own
    numbers = {"gain": gain, "bias": bias}
    for node, name in ((product, "gain"), (total, "bias")):
        known = {tensor.name for tensor in made.graph.initializer}
        place = next(i for i, value in enumerate(node.input) if value in known)
        node.input[place] = f"pair.{name}"
    for index, (scale, shift) in enumerate(scales):
        numbers |= {f"scale{index}": scale / 2, f"shift{index}": shift / 2}
    tensors = [numpy_helper.from_array(np.array(v, np.float32), f"pair.{k}") for k, v in numbers.items()]
    shared = {f"{PREFIX}{name}": name for name in INPUTS}
    other = onnx.compose.add_prefix(onnx.utils.Extractor(second).extract_model([*INPUTS], [LOGITS]), PREFIX)
    for node in other.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = shared.get(name, name)
    sides = [(own, 0), (f"{PREFIX}{LOGITS}", 1)]
    mixed = [
        node
        for name, i in sides
        for node in (
            helper.make_node("Mul", [name, f"pair.scale{i}"], [f"pair.scaled{i}"]),
            helper.make_node("Add", [f"pair.scaled{i}", f"pair.shift{i}"], [f"pair.odds{i}"]),
        )
    ]
    mixed.append(helper.make_node("Add", ["pair.odds0", "pair.odds1"], [LOGITS]))
    at = next(i for i, node in enumerate(made.graph.node) if own in node.output) + 1
    nodes = [*made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend([*nodes[:at], *other.graph.node, *mixed, *nodes[at:]])
    made.graph.initializer.extend([*other.graph.initializer, *tensors])
    onnx.checker.check_model(made, full_check=True)
    return made


def fitted(model: ModelProto, films: Path) -> tuple[float, float, float]:
    """Gain, bias and threshold (a probability) of a joined graph, from its logits on rendered ``films``."""
    import onnxruntime

    from edgefoley.metrics.onsets import pick_peaks
    from edgefoley.train.scenes.pool import SYNC_RATE, Pool
    from edgefoley.train.sync import MIN_GAP_S, calibrate, f1_by_action

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pool, curves = Pool(films), list[NDArray[np.float32]]()
    for i in range(len(pool)):
        crop = pool.crop(i, 0.0, int(pool.seconds * SYNC_RATE))
        curves.append(session.run([LOGITS], {"frames": crop.frames[None], "ages": crop.ages[None]})[0][0])
    gain, bias = calibrate(curves, pool)
    best = (-1.0, 0.0)
    for threshold in np.arange(0.05, 0.8, 0.025):
        least = (np.log(threshold / (1 - threshold)) - bias) / gain
        found = [pick_peaks(curve, float(least), MIN_GAP_S) for curve in curves]
        best = max(best, (f1_by_action(found, pool, 0.05)["mean"], float(threshold)))
    print(f"{len(pool)} films: F1 (50 ms) {best[0]:.3f} at probability {best[1]:.3f}")
    return gain, bias, best[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="nano", help="whose sync encoder is the first")
    parser.add_argument("--run", type=Path, default=Path("runs/sync"), help="the second: a run of train.sync")
    parser.add_argument("--films", type=Path, required=True, help="rendered films that neither has seen")
    parser.add_argument("--out", type=Path, required=True, help="a copy of the bundle with both")
    args = parser.parse_args()
    bundle = open_bundle(args.bundle)
    bundle.verify()
    first = onnx.load(str(bundle.artefact("sync", "ort")))
    spec = sync_graph(load_sync(args.run))
    second = store_fp16(strip_metadata(export_graph(spec)))[0]
    gain, bias, threshold = fitted(join(first, second, 1.0, 0.0), args.films)
    shutil.copytree(bundle.folder, args.out)
    made = join(first, second, gain, bias)
    (args.out / "sync.onnx").write_bytes(made.SerializeToString())
    manifest: dict[str, Any] = json.loads((args.out / MANIFEST).read_text(encoding="utf-8"))
    attributes = manifest["components"]["sync"]["attributes"]
    attributes |= {"threshold": threshold, "peak_gain": gain, "peak_bias": bias}
    attributes["context_frames"] = max(attributes["context_frames"], spec.attributes["context_frames"])
    write_manifest(args.out, manifest)
    open_bundle(args.out).verify()
    print(f"{args.out}: threshold {threshold:.3f}, {len(made.SerializeToString()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
