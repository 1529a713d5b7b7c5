"""Two sync encoders in one graph:
``python -m edgefoley.export.sync_pair --run runs/sync --films runs/held --out runs/pair``.

Encoders that learnt from differently drawn films err at different places, so the mean of what they say is
often better than either (Breiman 1996, "Bagging predictors", for a mean of two). The first is a bundle's
graph as it is, or of another run (``--first``); of the second, a run of ``train.sync``, only the event logits
are added. Each is brought to log odds by its own calibration, both count the same, and the mean is calibrated
on rendered films that neither has seen. From which probability an event counts adapts to the clip
(``events.likely_confidence``), by the rule that is best on those films. Strength and activity stay the first
one's. Writes a copy of the bundle to ``--out``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.compose
import onnx.utils
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgefoley.bundle import MANIFEST, open_bundle, write_manifest
from edgefoley.events import ACTIVITY, LIKELY_RULE, likely_confidence
from edgefoley.export.compact import store_fp16, strip_metadata
from edgefoley.export.components import sync_graph
from edgefoley.export.graph import ExportError, export_graph
from edgefoley.export.nano import load_sync

if TYPE_CHECKING:
    from edgefoley.train.scenes.pool import Pool

LOGITS = "event_logits"
INPUTS = ("frames", "ages")
PREFIX = "second_"
LEAST = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # probabilities below which no event counts, to choose from
HEEDS = (0.0, 2.0, 4.0, 6.0)  # log odds per unit of a clip's mean activity, to choose from
MOST_FALSE = 0.5  # events per second of films in which nothing makes a sound


def calibration(model: ModelProto) -> tuple[float, float, NodeProto]:
    """Gain and bias with which a sync graph turns event logits into log odds (1 and 0 where it does nothing
    to them), and the sigmoid that follows. Raises ExportError."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    name, gain, bias = LOGITS, 1.0, 0.0
    for _ in range(3):  # a product, a sum and the sigmoid, at most
        users = [node for node in model.graph.node if name in node.input]
        sigmoids = [node for node in users if node.op_type == "Sigmoid"]
        if len(sigmoids) == 1:
            return gain, bias, sigmoids[0]
        if len(users) != 1 or users[0].op_type not in ("Mul", "Add"):
            break
        value = [known[other] for other in users[0].input if other in known]
        if len(value) != 1 or value[0].size != 1:
            break
        number = float(value[0].reshape(()))
        gain, bias = (gain * number, bias * number) if users[0].op_type == "Mul" else (gain, bias + number)
        name = users[0].output[0]
    raise ExportError("this graph's event probability is not sigmoid(gain * event_logits + bias)")


def join(first: ModelProto, second: ModelProto, gain: float, bias: float) -> ModelProto:
    """The graph ``first`` whose event logits are the mean of both graphs' log odds, and whose probability is
    sigmoid(gain * logit + bias) of that."""
    made = onnx.ModelProto()
    made.CopyFrom(first)
    own, odds = f"first_{LOGITS}", "pair.odds"
    calibration(made)[2].input[0] = odds
    for node in made.graph.node:
        for index, name in enumerate(node.output):
            if name == LOGITS:
                node.output[index] = own
    shared = {f"{PREFIX}{name}": name for name in INPUTS}
    other = onnx.compose.add_prefix(onnx.utils.Extractor(second).extract_model([*INPUTS], [LOGITS]), PREFIX)
    for node in other.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = shared.get(name, name)
    mixed, tensors = list[NodeProto](), []

    def affine(source: str, target: str, scale: float, shift: float) -> None:
        for what, value in (("scale", scale), ("shift", shift)):
            tensors.append(numpy_helper.from_array(np.array(value, np.float32), f"{target}.{what}"))
        mixed.append(helper.make_node("Mul", [source, f"{target}.scale"], [f"{target}.scaled"]))
        mixed.append(helper.make_node("Add", [f"{target}.scaled", f"{target}.shift"], [target]))

    for number, (graph, source) in enumerate(((first, own), (second, f"{PREFIX}{LOGITS}"))):
        scale, shift, _ = calibration(graph)
        affine(source, f"pair.{number}", scale / 2, shift / 2)
    mixed.append(helper.make_node("Add", ["pair.0", "pair.1"], [LOGITS]))
    affine(LOGITS, odds, gain, bias)
    nodes = [*made.graph.node]
    at = next(i for i, node in enumerate(nodes) if own in node.output) + 1
    del made.graph.node[:]
    made.graph.node.extend([*nodes[:at], *other.graph.node, *mixed, *nodes[at:]])
    _drop_unused(made)
    made.graph.initializer.extend([*other.graph.initializer, *tensors])
    onnx.checker.check_model(made, full_check=True)
    return made


def _drop_unused(model: ModelProto) -> None:
    """Take out nodes whose results nothing reads: what led from the first one's logits to its
    probability."""
    read = {output.name for output in model.graph.output}
    kept = list[NodeProto]()
    for node in reversed(model.graph.node):
        if read & set(node.output):
            kept.append(node)
            read.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))


def fitted(model: ModelProto, films: Path) -> dict[str, float]:
    """Gain and bias of a joined graph and from when its events count, as attributes of the component, from
    its logits on rendered ``films``."""
    import onnxruntime

    from edgefoley.train.scenes.pool import SYNC_RATE, Pool
    from edgefoley.train.sync import calibrate

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pool, curves, activities = Pool(films), list[NDArray[np.float32]](), list[float]()
    for i in range(len(pool)):
        crop = pool.crop(i, 0.0, int(pool.seconds * SYNC_RATE))
        feeds = {"frames": crop.frames[None], "ages": crop.ages[None]}
        curve, feat = session.run([LOGITS, "sync_feat"], feeds)
        curves.append(curve[0])
        activities.append(float(feat[0, :, ACTIVITY].mean()))
    gain, bias = calibrate(curves, pool)
    rule = best_rule([gain * curve + bias for curve in curves], activities, pool)
    return {"peak_gain": gain, "peak_bias": bias, **rule}


def best_rule(odds: list[NDArray[np.float32]], activities: list[float], pool: Pool) -> dict[str, float]:
    """The rule of ``events.likely_confidence`` whose F1 (50 ms) on films with the log ``odds`` and the mean
    ``activities`` is best among those that find at most ``MOST_FALSE`` events/s where nothing begins; fixed
    ones too. Raises SystemExit where all find more."""
    from edgefoley.metrics.onsets import peaks
    from edgefoley.train.sync import MIN_GAP_S, f1_by_action

    curves = [1 / (1 + np.exp(-curve.astype(np.float64))) for curve in odds]
    tops = [peaks(curve, 0.0, MIN_GAP_S) for curve in curves]  # lower ones never displace a higher one
    calm = [i for i, film in enumerate(pool.films) if not len(film["times"])]
    best: tuple[float, float, dict[str, float]] = (-1.0, 0.0, {})
    for rule in _rules():
        found = [
            times[heights >= likely_confidence(curve, rule, activity)]
            for (times, heights), curve, activity in zip(tops, curves, activities, strict=True)
        ]
        false = float(np.mean([len(found[i]) for i in calm])) / pool.seconds if calm else 0.0
        f1 = f1_by_action(found, pool, 0.05)["mean"]
        if false <= MOST_FALSE and f1 > best[0]:
            best = (f1, false, rule)
    if not best[2]:
        raise SystemExit(f"every rule finds more than {MOST_FALSE} events/s where nothing is to be heard")
    print(f"{len(pool)} films: F1 (50 ms) {best[0]:.3f} with {best[2]}, where nothing is to be heard "
          f"{best[1]:.2f} events/s")  # fmt: skip
    return best[2]


def _rules() -> Iterator[dict[str, float]]:
    """Fixed thresholds, and after each the adaptive ones that go no higher; each without and with a heed of
    activity."""
    for most, heed in itertools.product(np.arange(0.1, 0.8, 0.05), HEEDS):
        fixed = {"threshold": float(most)} | ({"threshold_activity": heed} if heed else {})
        yield fixed
        for spread, least in itertools.product(np.arange(0.5, 2.6, 0.5), LEAST):
            if least < most:
                yield fixed | {"threshold_spread": float(spread), "threshold_least": least}


def exported(run: Path) -> tuple[ModelProto, dict[str, Any]]:
    """The graph of a run's sync encoder, in 16 bits, and its attributes for the manifest."""
    spec = sync_graph(load_sync(run))
    return store_fp16(strip_metadata(export_graph(spec)))[0], dict(spec.attributes)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="nano", help="whose sync encoder is the first")
    parser.add_argument("--first", type=Path, help="a run that is the first, in place of the bundle's")
    parser.add_argument("--run", type=Path, default=Path("runs/sync"), help="the second: a run of train.sync")
    parser.add_argument("--films", type=Path, required=True, help="rendered films that neither has seen")
    parser.add_argument("--out", type=Path, required=True, help="a copy of the bundle with both")
    args = parser.parse_args()
    bundle = open_bundle(args.bundle)
    bundle.verify()
    replaced: dict[str, Any] = {}
    if args.first is None:
        first = onnx.load(str(bundle.artefact("sync", "ort")))
    else:
        first, replaced = exported(args.first)
    second, added = exported(args.run)
    rule = fitted(join(first, second, 1.0, 0.0), args.films)
    shutil.copytree(bundle.folder, args.out)
    made = join(first, second, rule["peak_gain"], rule["peak_bias"])
    (args.out / "sync.onnx").write_bytes(made.SerializeToString())
    manifest: dict[str, Any] = json.loads((args.out / MANIFEST).read_text(encoding="utf-8"))
    attributes = manifest["components"]["sync"]["attributes"]
    for stale in LIKELY_RULE:
        attributes.pop(stale, None)
    attributes |= replaced | rule
    for reach in ("context_frames", "lookahead_frames"):
        if reach in attributes:  # an older bundle does not say how far it looks ahead
            attributes[reach] = max(attributes[reach], added[reach])
    write_manifest(args.out, manifest)
    open_bundle(args.out).verify()
    print(f"{args.out}: {len(made.SerializeToString()) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
