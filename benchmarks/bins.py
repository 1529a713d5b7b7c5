"""What engines make of ranges that follow the noise level: python benchmarks/bins.py [--json FILE]

First one product, 256 x 320 times 320 x 960, whose input has a scale for each of three bins:

constant   one scale for all, for comparison
gathered   QuantizeLinear and DequantizeLinear take their scale and zero point from a Gather
factors    what ``quant/bins.py`` writes: divided before and multiplied behind, constants in between

with the operators that ONNX Runtime makes of it, or the type in which OpenVINO multiplies, and the largest
error against integers of 64 bits, relative to the largest value. Then nano's denoiser, quantised on the
example clip, with one range and with three bins, and with ranges measured at every run: milliseconds of a
forward and SQNR against float32 on the same clip. Times are the least processor time of one thread, all forms
in turn. Prints a card, two tables, one line of JSON.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from outcome import put_out

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.backends.ov import _import_openvino
from edgefoley.bundle import open_bundle
from edgefoley.machine import this_machine
from edgefoley.quant.calibrate import Options, calibrate
from edgefoley.quant.component import quantise
from edgefoley.quant.network import Network
from edgefoley.quant.nodes import make_node
from edgefoley.quant.observe import sqnr_db
from edgefoley.quant.recipe import Recipe, load_recipe
from edgefoley.quant.watch import open_session

CLIP = Path(__file__).parent.parent / "examples" / "bouncing_ball.mp4"
ROWS, INPUTS, OUTPUTS = 256, 320, 960
SCALES = np.array([0.02, 0.03, 0.05], np.float32)
ZEROS = {"uint8": np.array([120, 128, 131], np.uint8), "int8": np.zeros(3, np.int8)}
FORMS = ("constant", "gathered", "factors")
SYMMETRIC = {"activation_type": "int8", "activation_symmetric": True}
DENOISERS: dict[str, dict[str, Any] | None] = {
    "float32": None,
    "static, uint8": {},
    "static, uint8, 3 bins": {"bins": 3},
    "static, int8": SYMMETRIC,
    "static, int8, 3 bins": {**SYMMETRIC, "bins": 3},
    "dynamic": {"scheme": "w8a8-dynamic"},
}


def product(form: str, kind: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the product as a graph; input, and what comes out exactly in bin 1."""
    random = np.random.default_rng(0)
    weight = random.integers(-60, 61, (INPUTS, OUTPUTS)).astype(np.int8)
    scale, zeros = random.uniform(0.01, 0.02, OUTPUTS).astype(np.float32), ZEROS[kind]
    constants: dict[str, np.ndarray] = {"w": weight, "ws": scale, "wz": np.zeros(OUTPUTS, np.int8)}
    constants |= {"s": SCALES[1], "z": zeros[1]} if form == "constant" else {"scales": SCALES}
    nodes, source, target = [], "x", "y"
    if form == "gathered":
        constants["zeros"] = zeros
        nodes += [make_node("Gather", [f"{n}s", "bin"], [n[0]], n) for n in ("scale", "zero")]
    elif form == "factors":
        zeros = np.full(3, zeros[1])
        constants |= {"inverses": 1 / SCALES, "s": np.float32(1), "z": zeros[1]}
        source, target = "divided", "steps"
        nodes += [make_node("Gather", [f"{n}s", "bin"], [n], n) for n in ("scale", "inverse")]
        nodes.append(make_node("Mul", ["x", "inverse"], [source], "divide"))
    nodes += [
        make_node("QuantizeLinear", [source, "s", "z"], ["q"], "quantise"),
        make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantise"),
        make_node("DequantizeLinear", ["w", "ws", "wz"], ["wide"], "widen", axis=1),
        make_node("MatMul", ["d", "wide"], [target], "product"),
    ]
    if form == "factors":
        nodes.append(make_node("Mul", [target, "scale"], ["y"], "multiply"))
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, [1, "n", INPUTS]), value("bin", TensorProto.INT64, [1])]
    outputs = [value("y", TensorProto.FLOAT, [1, "n", OUTPUTS])]
    graph = helper.make_graph(
        nodes, "g", inputs[: 1 if form == "constant" else 2], outputs,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))
    x = random.normal(size=(1, ROWS, INPUTS)).astype(np.float32)
    ends = np.iinfo(kind)
    zero = int(zeros[1])
    numbers = np.clip(np.rint(x / SCALES[1]) + zero, ends.min, ends.max).astype(np.int64) - zero
    return x, (numbers @ weight.astype(np.int64)) * (np.float64(SCALES[1]) * scale)


def on_ort(path: Path) -> tuple[Callable[[dict[str, Any]], Any], str]:
    """How to run a graph, and what is made of it."""
    optimised = path.with_suffix(".optimised.onnx")
    session = open_session(path, optimised=str(optimised))
    counts = Counter(node.op_type for node in onnx.load(str(optimised)).graph.node)
    names = [value.name for value in session.get_inputs()]
    made = ", ".join(f"{count} {name}" for name, count in counts.items() if "MatMul" in name or "Deq" in name)
    return lambda feeds: session.run(None, {name: feeds[name] for name in names})[0], made


def on_openvino(path: Path) -> tuple[Callable[[dict[str, Any]], Any], str]:
    """The same with OpenVINO: the type that its product is computed in."""
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERF_COUNT": True}
    options |= {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}  # as backends/ov.py has it
    compiled = _import_openvino().Core().compile_model(str(path), "CPU", options)
    request, names = compiled.create_infer_request(), [port.any_name for port in compiled.inputs]
    facts = (node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops())
    kinds = [
        str(fact["primitiveType"].astype(str)) for fact in facts
        if "layerType" in fact and fact["layerType"].astype(str) in ("FullyConnected", "MatMul")
    ]  # fmt: skip
    return lambda feeds: request.infer({name: feeds[name] for name in names})[0], ", ".join(kinds)


def least_ms(work: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """Processor milliseconds of each, all in turn."""
    best = dict.fromkeys(work, float("inf"))
    for number in range(1 + rounds):  # the first warms up
        for key, run in work.items():
            start = time.process_time()
            run()
            if number:
                best[key] = min(best[key], 1e3 * (time.process_time() - start))
    return best


def products(folder: Path, rounds: int) -> list[dict[str, Any]]:
    rows, work = [], {}
    for engine, opened in (("ort", on_ort), ("ov", on_openvino)):
        for kind in ZEROS:
            for form in FORMS:
                path = folder / f"{form}-{kind}.onnx"
                x, exact = product(form, kind, path)
                run, made = opened(path)
                feeds = {"x": x, "bin": np.array([1])}
                error = float(np.abs(run(feeds) - exact).max() / np.abs(exact).max())
                work[len(rows)] = lambda run=run, feeds=feeds: run(feeds)
                rows.append({"engine": engine, "type": kind, "form": form, "error": error, "made": made})
    for index, best in least_ms(work, rounds).items():
        rows[index]["ms"] = best
    return rows


def denoisers(folder: Path, rounds: int) -> list[dict[str, Any]]:
    bundle = open_bundle("nano")
    options = Options(("a ball bounces",), times=5, threads=1)
    samples = calibrate(bundle, [CLIP], folder / "set", options)
    runs, path = list(samples.feeds("denoiser")), bundle.artefact("denoiser", "ort")
    base, opened = load_recipe("int8").to_json(), {}
    for name, change in DENOISERS.items():
        network = Network.read("denoiser", path)
        if change is not None:
            rules = [r for r in base["layers"] if r["pattern"].startswith("denoiser")]
            rules = [{**r, **(change if r["scheme"] == "w8a8-static" else {})} for r in rules]
            rules = [{key: value for key, value in r.items() if key != "kinds"} for r in rules]
            network = quantise(
                network, Recipe.from_json({**base, "layers": rules, "gate": {}}), runs, folder
            ).network
        file = network.write(folder / f"{len(opened)}.onnx", apart=False)[0]
        for engine in ("ort", "ov"):
            opened[name, engine] = get_backend(engine).load(file, LoadOptions(threads=1))
    feeds = {name: runs[0][1][name] for name in opened["float32", "ort"].inputs}
    times = least_ms({k: lambda s=s: s.run(feeds) for k, s in opened.items()}, rounds)
    rows = []
    for (name, engine), session in opened.items():
        row = {"denoiser": name, "engine": engine, "ms": times[name, engine]}
        if name != "float32":
            given = [{key: fed[key] for key in feeds} for _, fed in runs]
            exact = [opened["float32", "ort"].run(fed)["velocity"] for fed in given]
            found = [sqnr_db(a, session.run(fed)["velocity"]) for a, fed in zip(exact, given, strict=True)]
            row |= {"sqnr_db": float(np.mean(found)), "least": float(min(found))}
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write card and rows here too")
    arguments = parser.parse_args()
    card = {"processor": this_machine().processor, "features": this_machine().features}
    card |= {name: version(name) for name in ("onnxruntime", "openvino", "onnx", "numpy")}
    for key, value in card.items():
        print(f"{key:14} {value}")
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "card": card,
            "products": products(Path(folder), 3 * arguments.rounds),
            "denoisers": denoisers(Path(folder), arguments.rounds),
        }
    print(f"\n{'engine':6} {'type':6} {'form':9} {'ms':>6} {'error':>7}  made")
    for row in result["products"]:
        what = f"{row['engine']:6} {row['type']:6} {row['form']:9}"
        print(f"{what} {row['ms']:6.2f} {row['error']:7.0e}  {row['made']}")
    print(f"\n{'denoiser':24} {'engine':6} {'ms':>6} {'SQNR dB':>8} {'least':>6}")
    for row in result["denoisers"]:
        tail = f"{row['sqnr_db']:8.1f} {row['least']:6.1f}" if "sqnr_db" in row else f"{'-':>8} {'-':>6}"
        print(f"{row['denoiser']:24} {row['engine']:6} {row['ms']:6.1f} {tail}")
    put_out(result, arguments.json)


if __name__ == "__main__":
    main()
