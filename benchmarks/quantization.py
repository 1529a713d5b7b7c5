"""What every recipe costs and gives: python benchmarks/quantization.py [--model nano] [--json FILE]

The model is quantised by every packaged recipe (``--recipes``), with a calibration set made of rendered
scenes (or of ``--clips``, a folder of videos). Everything is then measured on other scenes, other seeds and
other prompts (which need not fit the scenes), against the recipe fp32:

bytes         of every component, and of the whole bundle
SQNR          of the denoiser's velocity per forward, at five noise levels
sound         log-mel distance in dB of the sound of the same seed: mean over takes, 95 % bootstrap interval
seconds       of one forward of the denoiser for 10 s of sound, on one thread: all recipes take turns in one
              process, and the least counts, as wall and as processor time (which others disturb less)
clip          seconds and peak memory of a whole clip of 10 s, warm, in a process of its own

A recipe that is refused is listed with the reason. A second table (``--techniques``, some rows of it:
``--choices``) changes one switch of int8's denoiser layers at a time: SQNR only, of the denoiser alone.
Prints a card, a table, and one last line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.errors import EdgeFoleyError
from edgefoley.graphs import Graphs
from edgefoley.machine import this_machine
from edgefoley.media import read_clip
from edgefoley.memory import peak_rss_mb, reset_peak_rss
from edgefoley.metrics.audio_quality import log_mel_distance
from edgefoley.pipeline import Pipeline
from edgefoley.quant.apply import compare, quantize
from edgefoley.quant.calibrate import CalibrationSet, Options, calibrate, open_set, videos_in
from edgefoley.quant.component import quantise
from edgefoley.quant.network import Network
from edgefoley.quant.observe import sqnr_db
from edgefoley.quant.recipe import Recipe, known_recipes, load_recipe
from edgefoley.quant.watch import open_session

RATE, SIZE = 25, 112  # pixels: what the school is rendered at
REFERENCE = "fp32"
PLAIN = {"smoothing": 0.0, "bias_correction": False}
SYMMETRIC = {"activation_type": "int8", "activation_symmetric": True}
TECHNIQUES: dict[str, dict[str, Any]] = {
    "int8 as it is": {},
    "no bias correction": {"bias_correction": False},
    "no smoothing, no bias correction": PLAIN,
    "smoothing 0.3": {"smoothing": 0.3},
    "smoothing 0.5": {"smoothing": 0.5},
    "smoothing 0.9": {"smoothing": 0.9},
    "all 8 bits of the weights": {"reduce_range": False},
    "one scale per weight tensor": {"weight_granularity": "per_tensor"},
    "range: moving average": {"activation_range": "moving"},
    "range: percentile 99.99": {"activation_range": "percentile"},
    "range: squared error": {"activation_range": "mse"},
    "range: entropy": {"activation_range": "entropy"},
    "range: 2 bins of noise levels": {"bins": 2},
    "range: 3 bins": {"bins": 3},
    "range: 5 bins": {"bins": 5},
    "symmetric int8 activations": SYMMETRIC,
    "symmetric, 5 bins": {**SYMMETRIC, "bins": 5},
    "no smoothing, 5 bins": {**PLAIN, "bins": 5},
    "rotation": {"rotation": True},
    "no smoothing, rotation": {**PLAIN, "rotation": True},
    "qoperator": {"format": "qoperator"},
    "dynamic": {"scheme": "w8a8-dynamic"},
    "dynamic, no smoothing": {"scheme": "w8a8-dynamic", **PLAIN},
    "dynamic, rotation": {"scheme": "w8a8-dynamic", "rotation": True},
}
# Recipes that differ by name alone are measured once.
SAME = {"x86-avx2": "int8", "cortex-a72": "cortex-a76"}
CALIBRATING = ((9_100_001, "a stick hits wood"), (9_100_002, "footsteps on gravel"))
MEASURING = ((9_200_001, "a metal pan is hit"), (9_200_002, "walking in snow"))


def render(folder: Path, scenes: tuple[tuple[int, str], ...], seconds: float) -> Path:
    """Scenes of the training school that training has not seen, as files named by their prompts."""
    from edgefoley.train.scenes.film import film

    folder.mkdir(parents=True, exist_ok=True)
    for seed, prompt in scenes:
        path = folder / f"{prompt.replace(' ', '_')}.mp4"
        if path.exists():
            continue
        frames = film(seed, seconds, fps=RATE, size=SIZE).frames
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=RATE, options={"crf": "18"})
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for picture in frames:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode(None))
    return folder


def timing_clip(path: Path, seconds: int = 10) -> Path:
    """Noise pictures for as long as a clip usually is: what they show does not change what networks cost."""
    random = np.random.default_rng(0)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=RATE)
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for _ in range(RATE * seconds):
                picture = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode(None))
    return path


def captured(bundle: Bundle, clips: Path, out: Path, seed: int, seconds: int) -> CalibrationSet:
    if (out / "set.json").exists():
        return open_set(out, bundle)
    return calibrate(bundle, videos_in(clips), out, Options(seed=seed, seconds=Fraction(seconds)))


def made_bundles(
    bundle: Bundle, names: list[str], samples: CalibrationSet, work: Path
) -> tuple[dict[str, Bundle], dict[str, str]]:
    """Bundle by recipe; the reason of every refusal."""
    made, refused = {}, {}
    for name in names:
        folder = work / f"made-{name}"
        start = time.perf_counter()
        try:
            made[name] = (
                open_bundle(folder)
                if folder.exists()
                else quantize(bundle, load_recipe(name), samples, folder)
            )
            print(f"{name}: made in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
        except EdgeFoleyError as error:
            refused[name] = str(error)
            print(f"{name}: refused: {error}", file=sys.stderr, flush=True)
    return made, refused


def forward_seconds(bundles: dict[str, Bundle], feeds: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """[wall, processor] seconds of one forward, the least of ``rounds``."""
    opened = {n: Graphs(b, get_backend("ort"), LoadOptions(threads=1)) for n, b in bundles.items()}
    best = {name: [float("inf")] * 2 for name in bundles}
    for number in range(1 + rounds):  # the first opens and warms up
        for name, graphs in opened.items():
            wall, busy = time.perf_counter(), time.process_time()
            graphs.run("denoiser", feeds)
            took = time.perf_counter() - wall, time.process_time() - busy
            if number:
                best[name] = [min(a, b) for a, b in zip(best[name], took, strict=True)]
    return best


def clip_work(task: dict[str, Any]) -> dict[str, Any]:
    """A whole clip, ``repeats`` times warm, in this process."""
    seconds: list[float] = []
    busy: list[float] = []
    peak = 0.0
    with Pipeline.open(task["model"], threads=1) as pipeline:
        clip = read_clip(task["clip"], pipeline.bundle.views())
        for _ in range(1 + task["repeats"]):
            reset_peak_rss()
            wall, used = time.perf_counter(), time.process_time()
            foley = pipeline.generate(clip, task["prompt"], seed=1)
            seconds.append(time.perf_counter() - wall)
            busy.append(time.process_time() - used)
            peak = max(peak, foley.stats.peak_rss_mb, peak_rss_mb())
        length = float(clip.duration)
    return {"clip_s": min(seconds[1:]), "clip_cpu_s": min(busy[1:]), "audio_s": length, "peak_rss_mb": peak}


def in_own_process(task: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--work-clip", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{task} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def sounds(bundle: Bundle, clips: Path, seeds: int) -> list[np.ndarray]:
    takes = []
    with Pipeline(bundle, get_backend("ort"), LoadOptions(threads=1)) as pipeline:
        for path in videos_in(clips):
            clip = read_clip(path, bundle.views())
            for seed in range(seeds):
                foley = pipeline.generate(clip, path.stem.replace("_", " "), seed=100 + seed)
                takes.append(foley.audio.samples)
    return takes


def interval(values: list[float]) -> dict[str, Any]:
    """Mean and its 95 % interval by bootstrap over takes."""
    random, each = np.random.default_rng(0), np.array(values)
    means = each[random.integers(0, each.size, (4000, each.size))].mean(axis=1)
    return {
        "mean": float(each.mean()),
        "low_high": np.percentile(means, [2.5, 97.5]).tolist(),
        "n": each.size,
    }


def component_bytes(bundle: Bundle) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, component in bundle.components.items():
        top = name.partition(".")[0]
        sizes[top] = sizes.get(top, 0) + sum(
            file.bytes for artefact in component.artefacts.values() for file in artefact.files
        )
    return sizes


def measure(
    bundles: dict[str, Bundle], test: CalibrationSet, clips: Path, arguments: Any, work: Path
) -> list[dict[str, Any]]:
    reference, path = bundles[REFERENCE], timing_clip(work / "timing" / "noise.mp4")
    exact = sounds(reference, clips, arguments.seeds)
    if not (work / "timing-set").exists():
        calibrate(reference, [path], work / "timing-set", Options(steps=1, times=1, prompts=("rain",)))
    timing = open_set(work / "timing-set", reference)
    times = forward_seconds(bundles, next(iter(timing.feeds("denoiser")))[1], arguments.rounds)
    whole, rows = component_bytes(reference), []
    for name, bundle in bundles.items():
        row: dict[str, Any] = {"recipe": name, "bytes": component_bytes(bundle)}
        row["bytes_total"] = sum(file.bytes for file in bundle.files)
        row["denoiser_share"] = row["bytes"]["denoiser"] / whole["denoiser"]
        row["forward_s"], row["forward_cpu_s"] = times[name]
        row["speed_up"] = times[REFERENCE][1] / times[name][1]
        row |= in_own_process({"model": str(bundle.folder), "clip": str(path), "repeats": arguments.repeats,
                               "prompt": "rain"})  # fmt: skip
        if name != REFERENCE:
            row["sqnr_db"] = compare(reference, bundle, "denoiser", test.feeds("denoiser"))
            made = sounds(bundle, clips, arguments.seeds)
            row["log_mel_db"] = interval([log_mel_distance(a, b) for a, b in zip(made, exact, strict=True)])
        rows.append(row)
        print(f"{name}: measured", file=sys.stderr, flush=True)
    return rows


def techniques(
    bundle: Bundle, samples: CalibrationSet, test: CalibrationSet, work: Path, choices: list[str]
) -> list[dict[str, Any]]:
    """SQNR on the other scenes with one switch of int8's denoiser layers changed."""
    path, base = bundle.artefact("denoiser", "ort"), load_recipe("int8").to_json()
    runs, others = list(samples.feeds("denoiser")), [feeds for _, feeds in test.feeds("denoiser")]
    plain = Network.read("denoiser", path).write(work / "plain.onnx", apart=False)[0]
    session = open_session(plain)  # not the bundle's own file, which may multiply integers
    plain.unlink()
    names = [value.name for value in session.get_inputs()]
    given = [{name: feeds[name] for name in names} for feeds in others]
    exact = [session.run(["velocity"], feeds)[0] for feeds in given]
    rows = []
    for name in choices:
        change = TECHNIQUES[name]
        layers = [
            {**rule, **change} if rule["scheme"] == "w8a8-static" else rule
            for rule in base["layers"] if rule["pattern"].startswith("denoiser")
        ]  # fmt: skip
        for rule in layers:
            rule.pop("kinds", None)
        recipe = Recipe.from_json({**base, "layers": layers, "gate": {}})
        made = quantise(Network.read("denoiser", path), recipe, runs, work)
        file = made.network.write(work / "technique.onnx", apart=False)[0]
        session = open_session(file)
        values = [
            sqnr_db(a, session.run(["velocity"], feeds)[0]) for a, feeds in zip(exact, given, strict=True)
        ]
        rows.append({"technique": name, "sqnr_db": float(np.mean(values)), "least": float(min(values))})
        print(f"{name:34} {np.mean(values):6.2f} dB, least {min(values):6.2f}", flush=True)
        file.unlink()
    return rows


def show(rows: list[dict[str, Any]], refused: dict[str, str]) -> None:
    print(f"\n{'recipe':14} {'MB':>6} {'den. MB':>7} {'share':>6} {'ms':>7} {'cpu ms':>7} {'times':>6} "
          f"{'clip s':>7} {'cpu s':>6} {'peak MB':>7} {'SQNR dB':>8} {'log-mel dB':>10}")  # fmt: skip
    for row in sorted(rows, key=lambda r: r["bytes_total"]):
        sqnr, mel = row.get("sqnr_db", {}).get("mean"), row.get("log_mel_db", {}).get("mean")
        print(
            f"{row['recipe']:14} {row['bytes_total'] / 1e6:6.1f} {row['bytes']['denoiser'] / 1e6:7.2f} "
            f"{row['denoiser_share']:6.3f} {row['forward_s'] * 1e3:7.1f} {row['forward_cpu_s'] * 1e3:7.1f} "
            f"{row['speed_up']:6.2f} {row['clip_s']:7.2f} {row['clip_cpu_s']:6.2f} {row['peak_rss_mb']:7.0f} "
            f"{'-' if sqnr is None else f'{sqnr:.1f}':>8} {'-' if mel is None else f'{mel:.2f}':>10}"
        )
    for name, reason in refused.items():
        print(f"{name:14} refused: {reason}")
    for name, other in SAME.items():
        print(f"{name:14} the same as {other}, by name")


def card(bundle: Bundle, arguments: Any, samples: CalibrationSet) -> dict[str, Any]:
    machine = this_machine()
    features = [name for name in machine.features or () if "vnni" in name or name.startswith(("avx", "amx"))]
    return {
        "model": f"{bundle.name} {bundle.version}",
        "source": bundle.manifest.get("source", {}).get("sha256", "")[:16],
        "calibration": samples.identity[:16],
        "seconds": arguments.seconds,
        "calibrated_on": [float(Fraction(clip["seconds"])) for clip in samples.record["clips"]],
        "takes": arguments.seeds * len(MEASURING),
        "threads": 1,
        "processor": machine.processor,
        "features": " ".join(features),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **{name: version(name) for name in ("edgefoley", "onnxruntime", "onnx", "numpy")},
        "python": platform.python_version(),
    }


def run(arguments: Any, work: Path) -> dict[str, Any]:
    bundle = open_bundle(arguments.model)
    clips = arguments.clips or render(work / "calibrating", CALIBRATING, arguments.seconds)
    others = arguments.test_clips or render(work / "measuring", MEASURING, arguments.seconds)
    if arguments.calibration:
        samples = open_set(arguments.calibration, bundle)
    else:
        samples = captured(bundle, clips, work / "set", 0, arguments.seconds)
    test = captured(bundle, others, work / "test-set", 50, arguments.seconds)
    about = card(bundle, arguments, samples)
    for key, value in about.items():
        print(f"{key:14} {value}")
    if arguments.techniques:
        rows = techniques(bundle, samples, test, work, arguments.choices)
        return {arguments.table: {"card": about, "rows": rows}}
    names = [n for n in dict.fromkeys([REFERENCE, *arguments.recipes]) if n not in SAME]
    bundles, refused = made_bundles(bundle, names, samples, work)
    rows = measure(bundles, test, others, arguments, work)
    show(rows, refused)
    return {"card": about, "rows": rows, "refused": refused, "same": SAME}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--recipes", nargs="*", default=known_recipes(), help="default: all packaged ones")
    parser.add_argument("--clips", type=Path, help="folder of videos to calibrate with")
    parser.add_argument("--calibration", type=Path, metavar="SET", help="calibrate with this set instead")
    parser.add_argument("--test-clips", type=Path, help="folder of other videos, named by their prompts")
    parser.add_argument("--seconds", type=int, default=5, help="of each clip")
    parser.add_argument("--seeds", type=int, default=2, help="takes per clip whose sound is compared")
    parser.add_argument("--rounds", type=int, default=15, help="forwards per recipe, in turn")
    parser.add_argument("--repeats", type=int, default=2, help="warm clips per recipe")
    parser.add_argument("--techniques", action="store_true", help="the second table instead")
    parser.add_argument("--choices", nargs="*", choices=TECHNIQUES, default=list(TECHNIQUES), metavar="NAME",
                        help="rows of the second table; default: all")  # fmt: skip
    parser.add_argument("--table", default="techniques", help="the second table's name in the JSON file")
    parser.add_argument("--work", type=Path, help="keep clips, sets and bundles here, and use what is there")
    parser.add_argument("--json", type=Path, help="write card and rows here too")
    parser.add_argument("--work-clip", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work_clip is not None:
        print(json.dumps(clip_work(arguments.work_clip)))
        return
    if arguments.work is not None:
        arguments.work.mkdir(parents=True, exist_ok=True)
        result = run(arguments, arguments.work)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = run(arguments, Path(folder))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        if arguments.json.exists():  # each table keeps the other one
            result = {**json.loads(arguments.json.read_text(encoding="utf-8")), **result}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
