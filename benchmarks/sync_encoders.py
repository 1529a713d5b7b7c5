"""A sync encoder to be measured: a bundle's ONNX graph or the encoder of a training run, behind one function
from frames to event logits; its threshold, its counted cost and how far it looks ahead and back.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgefoley import media
from edgefoley.events import ACTIVITY, LIKELY, LIKELY_RULE, likely_confidence
from edgefoley.metrics.onsets import Times, pick_peaks
from edgefoley.timeline import EVENT_RATE
from edgefoley.types import FrameView, View

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "bouncing_ball.mp4"
MIN_GAP_S = 0.08  # of a bundle that does not say its own; the exported graph keeps its peaks this far apart
COUNTED_FRAMES = 100
# Operators with weights or products that the counter does not know: better to stop than to count too little.
UNKNOWN = {"ConvTranspose", "QLinearConv", "QLinearMatMul", "LSTM", "GRU", "RNN", "Attention", "Einsum"}


class Seen(NamedTuple):
    """Event logits (2 n,) at 50 Hz and the mean activity of n frames (None where the encoder has none)."""

    logits: NDArray[np.float32]
    activity: float | None


Predict = Callable[[NDArray[np.uint8], NDArray[np.float32]], Seen]


@dataclass(frozen=True)
class SyncModel:
    """``predict``: frames (n, h, w) and ages (n,) s -> what is seen in them. The event probability is
    sigmoid(gain * logit + bias); an event is a peak of at least the probability that ``rule`` gives for the
    clip (``edgefoley.events.likely_confidence``), ``min_gap_s`` apart. ``cost``: GFLOP per second of video,
    bytes and what is stored."""

    name: str
    view: View
    predict: Predict
    rule: dict[str, float]
    rule_from: str
    min_gap_s: float
    gain: float
    bias: float
    cost: dict[str, Any]

    def see(self, view: FrameView) -> Seen:
        return self.predict(np.ascontiguousarray(view.frames), np.ascontiguousarray(view.ages))

    def likely(self, seen: Seen) -> float:
        """The probability from which an event of this clip counts."""
        curve = 1 / (1 + np.exp(-(self.gain * seen.logits.astype(np.float64) + self.bias)))
        return likely_confidence(curve, self.rule, seen.activity)

    def events(self, seen: Seen, seconds: float, probability: float | None = None) -> Times:
        """Times (s) of the events in [0, seconds). ``probability``: another threshold than the model's."""
        p = self.likely(seen) if probability is None else probability
        least = (math.log(p / (1 - p)) - self.bias) / self.gain
        times = pick_peaks(seen.logits, least, self.min_gap_s, EVENT_RATE)
        return times[(times >= 0) & (times < seconds)]


def open_bundle_model(model: str, threads: int | None) -> SyncModel:
    """The sync graph of a bundle, in ONNX Runtime.

    Its attributes may name ``threshold`` (probability), ``min_gap_s``, ``peak_gain`` and ``peak_bias``.
    Without the last two they are recovered from the graph itself: the heights of its event curve are the
    probabilities of its logits.
    """
    from edgefoley.backends import get_backend
    from edgefoley.backends.base import LoadOptions
    from edgefoley.bundle import open_bundle

    bundle = open_bundle(model)
    path, attributes = bundle.artefact("sync", "ort"), bundle.components["sync"].attributes
    session = get_backend("ort").load(path, LoadOptions(threads=threads))
    if "event_logits" not in session.outputs:
        sys.exit(f"the sync graph of {bundle.name!r} puts out no event_logits; it cannot be measured")
    view = bundle.views()["sync"]

    def run(frames: NDArray[np.uint8], ages: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        found: dict[str, NDArray[np.float32]] = session.run({"frames": frames[None], "ages": ages[None]})
        return found

    def predict(frames: NDArray[np.uint8], ages: NDArray[np.float32]) -> Seen:
        found = run(frames, ages)
        return Seen(found["event_logits"][0], float(found["sync_feat"][0, :, ACTIVITY].mean()))

    if "peak_gain" in attributes and "peak_bias" in attributes:
        gain, bias = float(attributes["peak_gain"]), float(attributes["peak_bias"])
    else:
        seen = media.read_clip(EXAMPLE, {"sync": view}).views["sync"]
        gain, bias = calibration(run(seen.frames, seen.ages))
    named = "threshold" in attributes
    return SyncModel(
        name=f"{bundle.name} {bundle.version}",
        view=view,
        predict=predict,
        rule={"threshold": LIKELY}
        | {key: float(attributes[key]) for key in LIKELY_RULE if key in attributes},
        rule_from="the bundle's attributes" if named else "default of the calibrated probability",
        min_gap_s=float(attributes.get("min_gap_s", MIN_GAP_S)),
        gain=gain,
        bias=bias,
        cost={
            "gflop_per_s": round(graph_flop(path, view) / COUNTED_FRAMES * float(view.rate) / 1e9, 4),
            "bytes": path.stat().st_size,
            "stored": "ONNX graph",
            "context_frames": attributes["context_frames"],
        },
    )


def calibration(outputs: dict[str, NDArray[np.float32]]) -> tuple[float, float]:
    """Gain and bias with which a bundle's curve (first two channels of sync_feat, 50 Hz) follows its
    logits."""
    logits = outputs["event_logits"][0].astype(np.float64)
    curve = outputs["sync_feat"][0, :, :2].reshape(-1).astype(np.float64)
    padded = np.concatenate([[0.0], curve, [0.0]])
    peak = (curve > padded[:-2]) & (curve > padded[2:]) & (curve > 0.03) & (curve < 0.995)
    if peak.sum() < 3:
        sys.exit("the event curve of the example clip has too few peaks to recover gain and bias")
    height = np.log(curve[peak] / (1 - curve[peak]))
    gain, bias = np.polyfit(logits[peak], height, 1)
    if np.abs(gain * logits[peak] + bias - height).max() > 0.02:
        sys.exit("the bundle's event curve is not sigmoid(gain * logit + bias); name both in its attributes")
    return float(gain), float(bias)


def graph_flop(path: Path, view: View) -> int:
    """Multiplications and additions (a multiply-add counts as two) of the graph's convolutions and matrix
    products for ``COUNTED_FRAMES`` frames, at the shapes that they have in a run."""
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    heavy = [n for n in model.graph.node if n.op_type in _PLACES]
    strange = sorted({n.op_type for n in model.graph.node} & UNKNOWN)
    if strange:
        sys.exit(f"{path}: the counter of arithmetic does not know {', '.join(strange)}; teach it first")
    shapes = {i.name: tuple(i.dims) for i in model.graph.initializer}
    ends = {o.name for o in model.graph.output}
    wanted = {name for n in heavy for name in (*n.input[:2], n.output[0])} - shapes.keys()
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - ends))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    frames = np.zeros((1, COUNTED_FRAMES, *view.size), np.uint8)
    feeds = {"frames": frames, "ages": np.zeros((1, COUNTED_FRAMES), np.float32)}
    names = sorted(wanted)
    for name, value in zip(names, session.run(names, feeds), strict=True):
        shapes[name] = value.shape
    return 2 * sum(math.prod(shapes[n.output[0]]) * _PLACES[n.op_type](n, shapes) for n in heavy)


def _conv_inner(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    return math.prod(shapes[node.input[1]][1:])


def _matrix_inner(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return shapes[node.input[0]][0 if transposed else -1]


# Operator -> how many products go into one value of its output.
_PLACES: dict[str, Callable[[Any, dict[str, tuple[int, ...]]], int]] = {
    "Conv": _conv_inner,
    "ConvInteger": _conv_inner,
    "MatMul": _matrix_inner,
    "MatMulInteger": _matrix_inner,
    "Gemm": _matrix_inner,
}


def open_run_model(folder: Path, threads: int | None) -> SyncModel:
    """The encoder that ``train.sync`` saved in ``folder``, in PyTorch; threshold and gap from sync.json."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from edgefoley.train.sync import load_encoder

    if threads is not None:
        torch.set_num_threads(threads)
    try:
        about = json.loads((folder / "sync.json").read_text(encoding="utf-8"))
        encoder = load_encoder(folder)
        least, gap = float(about["validation"]["threshold"]), float(about["validation"]["min_gap_s"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        what = str(error).strip().splitlines()[0]
        sys.exit(
            f"{folder}: this version of the code cannot open the run ({type(error).__name__}: {what}).\n"
            "Name a finished run of this version with --run, or a bundle with --model."
        )
    config = encoder.config

    @torch.inference_mode()
    def predict(frames: NDArray[np.uint8], ages: NDArray[np.float32]) -> Seen:
        logits = encoder(torch.from_numpy(frames)[None], torch.from_numpy(ages)[None])[1]
        return Seen(logits[0].float().numpy(), None)  # activity is told by a head of training

    size = (config.size, config.size)
    with FlopCounterMode(display=False) as counter:
        predict(np.zeros((COUNTED_FRAMES, *size), np.uint8), np.zeros(COUNTED_FRAMES, np.float32))
    return SyncModel(
        name=str(folder),
        view=View(Fraction(config.rate), size, "gray"),
        predict=predict,
        rule={"threshold": 1 / (1 + math.exp(-least))},
        rule_from="sync.json of the run",
        min_gap_s=gap,
        gain=1.0,
        bias=0.0,
        cost={
            "gflop_per_s": round(counter.get_total_flops() / COUNTED_FRAMES * config.rate / 1e9, 4),
            "bytes": (folder / "sync.safetensors").stat().st_size,
            "stored": "float32 weights of the encoder, not the exported graph",
            "context_frames": encoder.context_frames,
        },
    )


def reach(model: SyncModel) -> dict[str, float]:
    """How far the event logit of an instant depends on pictures after and before it, in ms, measured: random
    frames are exchanged from a place on, or up to it, and the logits compared.

    ``look_ahead_ms`` is to the time of the last grid frame that counts; an event is settled ``min_gap_s``
    later, when no higher peak can follow. Context is the largest of fresh frames and of frames that are
    repeated (age 0.19 s), which look back further.
    """
    rng, rate, ahead, back, count = np.random.default_rng(0), float(model.view.rate), [0.0], [0.0], 140
    middle = count // 2
    for age in (0.0, 0.19):
        ages = np.full(count, age, np.float32)
        first, second = rng.integers(0, 256, (2, count, *model.view.size), dtype=np.uint8)
        before = model.predict(first, ages).logits
        for later in (True, False):
            mixed, place = first.copy(), slice(middle, None) if later else slice(0, middle)
            mixed[place] = second[place]
            moved = np.flatnonzero(np.abs(model.predict(mixed, ages).logits - before) > 1e-5)
            if len(moved) and later:
                ahead.append(middle / rate - moved[0] / EVENT_RATE)
            elif len(moved):
                back.append(moved[-1] / EVENT_RATE - (middle - 1) / rate)
    return {
        "look_ahead_ms": round(1000 * max(ahead)),
        "event_settled_ms": round(1000 * (max(ahead) + model.min_gap_s)),
        "context_ms": round(1000 * max(back)),
    }
