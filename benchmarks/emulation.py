"""Do the files compute the same on other processors? python benchmarks/emulation.py [--json FILE]

nano's denoiser is quantised in several ways, and what comes out here is compared with what comes out under
QEMU as a Cortex-A72 (Raspberry Pi 4), a Cortex-A76 (Raspberry Pi 5) and a Haswell (x86 with AVX2, without
VNNI), on half a second of the example clip:

layers   every product on its own, fed with the same bits everywhere: how many come out bit by bit, and the
         largest relative error of the others. Integer kernels have to agree to 1e-5, or the exit code is 1
whole    the network's velocity, SQNR in dB against this machine's: floats between the products differ in
         their last bits, which now and then rounds an activation the other way; beside it the SQNR of
         quantisation itself

Full-range weights (all 8 bits) overflow on Haswell unless ONNX Runtime is told to avoid it, as
``backends/ort`` does; both are shown. Timings mean nothing under emulation.

What is needed is fetched on first use and kept in ``--cache`` (230 MB): QEMU 10 (7.2 crashes) and an arm64
Python from Debian with mmdebstrap (``apt-get install mmdebstrap``; root is not needed), arm64 wheels of
onnxruntime and numpy from the package index. Runs on x86-64 Linux. Prints a card, a table, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from outcome import put_out

if TYPE_CHECKING:  # this file also runs where edgefoley is not installed
    from edgefoley.quant.calibrate import Arrays
    from edgefoley.quant.network import Network

CLIP = Path(__file__).parent.parent / "examples" / "bouncing_ball.mp4"
EXACT = "session.x64quantprecision"  # see backends/ort.py
FEATURES = ("AVX2", "AVX512F", "AVX512VNNI", "ASIMD", "ASIMDDP")
NAMES = ("cortex-a72", "cortex-a76", "Haswell")
AGREED = 1e-5
QUANTISING = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
HERE = "this machine"
PACKAGES = (
    "python3", "python3-distutils", "libstdc++6", "libgcc-s1", "libgomp1", "zlib1g", "libffi8", "libssl3",
    "libexpat1", "ca-certificates",
)  # fmt: skip
WHEELS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


@dataclass(frozen=True)
class Form:
    """A way of quantising. ``changes``: to the fields of the recipe's rules for products of integers;
    ``integer``: whether its kernels multiply integers, so that layers have to agree; ``full``: whether
    weights have all 8 bits."""

    name: str
    recipe: str
    changes: tuple[tuple[str, Any], ...] = ()
    integer: bool = True
    full: bool = False


FORMS = (
    Form("float32", "fp32", integer=False),
    Form("QDQ, uint8, 7-bit weights", "int8"),
    Form("QDQ, uint8, 8-bit weights", "x86-vnni", full=True),
    Form("QDQ, int8, 7-bit weights", "cortex-a72", (("reduce_range", True),)),
    Form("QDQ, int8, 8-bit weights", "cortex-a72", full=True),
    Form("QDQ, int8, 2 bins", "cortex-a72", (("reduce_range", True), ("bins", 2))),
    Form("QOperator, uint8, 7-bit weights", "int8", (("format", "qoperator"),)),
    Form("dynamic, 7-bit weights", "int8-dynamic"),
    Form("4-bit blocks", "w4a16", integer=False),
)


@dataclass(frozen=True)
class Processor:
    """How a Python program runs on it. ``narrow``: sums of 16 bits."""

    name: str
    command: tuple[str, ...]
    path: str
    narrow: bool = False


def fetch(cache: Path) -> list[Processor]:
    """The emulated processors; what they need is made in ``cache`` unless it is there."""
    versions = {name: version(name) for name in ("onnxruntime", "numpy")}
    packages = cache / ("arm64-" + "-".join(f"{n}-{v}" for n, v in versions.items()))
    root, emulators = cache / "arm64", cache / "qemu"
    if not emulators.is_dir():
        with whole(emulators) as folder:
            debian(folder / "root", "amd64", "trixie", ("qemu-user",))
            for name in ("qemu-aarch64", "qemu-x86_64"):
                shutil.copy2(folder / "root" / "usr" / "bin" / name, folder / name)
            shutil.rmtree(folder / "root")
    if not root.is_dir():
        with whole(root) as folder:
            debian(folder / "root", "arm64", "bookworm", PACKAGES)
    if not packages.is_dir():
        with whole(packages) as folder:
            download(folder, versions)
    arm = (str(emulators / "qemu-aarch64"), "-L", str(root / "root"), "-cpu")
    python = str(root / "root" / "usr" / "bin" / "python3.11")
    x86 = (str(emulators / "qemu-x86_64"), "-cpu", "Haswell", os.path.realpath(sys.executable))
    return [
        *(Processor(name, (*arm, name, python), str(packages)) for name in NAMES[:2]),
        Processor(NAMES[2], x86, sysconfig.get_path("purelib"), narrow=True),
    ]


class whole:  # noqa: N801  # used like a function
    """A folder that appears when everything is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.part = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=self.folder.parent))
        return self.part

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.part.chmod(0o755)
            self.part.rename(self.folder)
        else:
            shutil.rmtree(self.part, ignore_errors=True)


def debian(root: Path, architecture: str, release: str, packages: tuple[str, ...]) -> None:
    """Unpack packages of a release, and what they depend on."""
    if shutil.which("mmdebstrap") is None:
        sys.exit("mmdebstrap is missing; install it with: apt-get install mmdebstrap")
    print(f"unpacking {packages[0]} of {release}, {architecture}", file=sys.stderr, flush=True)
    command = ["mmdebstrap", f"--arch={architecture}", "--variant=extract", f"--include={','.join(packages)}"]
    call([*command, release, str(root)])


def download(folder: Path, versions: dict[str, str]) -> None:
    """Unpack arm64 wheels for Debian 12's Python, of the versions that run here."""
    print("downloading arm64 wheels", file=sys.stderr, flush=True)
    wheels = folder / "wheels"
    platforms = [f"--platform={name}_aarch64" for name in WHEELS]
    call([
        sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary=:all:",
        "--python-version=3.11", "--implementation=cp", "--abi=cp311", *platforms, "-d", str(wheels),
        *(f"{name}=={number}" for name, number in versions.items()),
    ])  # fmt: skip
    for wheel in wheels.glob("*.whl"):
        shutil.unpack_archive(wheel, folder, "zip")
    shutil.rmtree(wheels)


def call(command: list[str], **extra: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **extra)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} ... failed with {done.returncode}:\n{done.stderr[-2000:]}")


def run_files(folder: Path, out: Path, numbers: Collection[int], exact: bool) -> None:
    """Run the files of forms on the arrays beside them; outputs go to ``out``, and what the processor says it
    is (``about.json``). This is what runs on the emulated processors."""
    out.mkdir(parents=True, exist_ok=True)
    # NumPy asks the processor itself; /proc/cpuinfo is the host's where one x86 emulates another.
    flags = getattr(np, "_core", np)._multiarray_umath.__cpu_features__
    about = {"machine": platform.machine(), "features": [name for name in FEATURES if flags.get(name)]}
    (out / "about.json").write_text(json.dumps(about))
    for path in (folder / f"{number}.{part}.onnx" for number in numbers for part in ("layers", "whole")):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        if exact:
            options.add_session_config_entry(EXACT, "1")
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        with np.load(path.with_suffix(".npz")) as arrays:
            feeds = {value.name: arrays[value.name] for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        made = dict(zip(names, session.run(names, feeds), strict=True))
        np.savez(out / f"{path.stem}.npz", **made)


def layers_apart(network: Network, values: Callable[[list[str]], Arrays]) -> tuple[Network, Arrays]:
    """A network of the products with stored weights alone: integer ones if it has any, else those with
    blocks of weights, else all. Each takes its input before it is quantised; and those inputs, which
    ``values`` gives by their names in ``network``."""
    from onnx import TensorProto, helper

    from edgefoley.quant.nodes import consumers_of, makers_of

    makers, users = makers_of(network.nodes), consumers_of(network.nodes)
    fixed = set(network.weights)
    for node in network.nodes:
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)

    def start(name: str) -> str:
        while name in makers and makers[name].op_type in QUANTISING:
            name = makers[name].input[0]
        return name

    def end(node: Any) -> str:
        while node.op_type in ("QLinearMatMul", "MatMulInteger", "Cast"):
            node = users[node.output[0]][0]
        return str(node.output[0])

    weight = {"MatMul": 1, "MatMulInteger": 1, "MatMulNBits": 1, "QLinearMatMul": 3}
    products = [n for n in network.nodes if n.op_type in weight and n.input[weight[n.op_type]] in fixed]
    kinds = (
        [n for n in products if start(n.input[0]) != n.input[0]],
        [n for n in products if n.op_type == "MatMulNBits"],
        products,
    )
    chosen = next(kind for kind in kinds if kind)
    starts = [start(node.input[0]) for node in chosen]
    outputs = [end(node) for node in chosen]
    inputs = values(list(dict.fromkeys(starts)))
    made = network.copy()
    model = made.model
    del model.graph.input[:], model.graph.output[:]
    for name, array in inputs.items():
        value = helper.make_tensor_value_info(f"{name}.fed", TensorProto.FLOAT, array.shape)
        model.graph.input.append(value)
    for name, source in zip(outputs, starts, strict=True):
        free = [None] * inputs[source].ndim
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, free))
    wanted, kept = set(outputs), []
    for node in reversed(made.nodes):
        if wanted & set(node.output):
            for index, name in enumerate(node.input):
                node.input[index] = f"{name}.fed" if name in inputs else name
            wanted.update(node.input)
            kept.append(node)
    made.nodes = kept[::-1]
    return made, {f"{name}.fed": array for name, array in inputs.items()}


def make_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Quantise the denoiser in every form and write what is to be run, with what it is fed: ``NUMBER.whole``
    and ``NUMBER.layers``. Form -> its number, layers, and SQNR in dB of quantisation on what is fed."""
    from edgefoley.bundle import open_bundle
    from edgefoley.quant.calibrate import Options, calibrate
    from edgefoley.quant.component import quantise
    from edgefoley.quant.network import Network
    from edgefoley.quant.observe import sqnr_db
    from edgefoley.quant.recipe import Recipe, load_recipe
    from edgefoley.quant.watch import values_of

    bundle = open_bundle("nano")
    options = Options(("a ball bounces",), seconds=Fraction(1, 2), times=2, steps=4, threads=1)
    samples = calibrate(bundle, [CLIP], folder / "set", options)
    runs, path = list(samples.feeds("denoiser")), bundle.artefact("denoiser", "ort")
    fed, facts = runs[-2][1], {}
    for number, form in enumerate(FORMS):
        data = load_recipe(form.recipe).to_json()
        rules = [rule for rule in data["layers"] if rule["pattern"].startswith("denoiser")]
        for rule in (*rules, data["default"]):
            if rule["scheme"].startswith("w8a8"):
                rule |= dict(form.changes)
            rule.pop("kinds", None)
        recipe = Recipe.from_json({**data, "layers": rules, "gate": {}})
        made = quantise(Network.read("denoiser", path), recipe, runs, folder).network
        made.write(folder / f"{number}.whole.onnx", apart=False)
        np.savez(folder / f"{number}.whole.npz", **{name: fed[name] for name in made.inputs})
        apart, inputs = layers_apart(made, partial(values_of, made, fed, folder))
        apart.write(folder / f"{number}.layers.onnx", apart=False)
        np.savez(folder / f"{number}.layers.npz", **inputs)
        velocity = values_of(made, fed, folder, ["velocity"])["velocity"]
        exact = velocity if number == 0 else exact  # noqa: F821  # float32 comes first
        facts[form.name] = {"number": number, "layers": len(apart.outputs)}
        if number:
            facts[form.name]["quantisation_db"] = round(sqnr_db(exact, velocity), 1)
    return facts


def compare(here: Path, there: Path, number: int) -> dict[str, Any]:
    """What came out of a form's files on two processors. Relative error: largest difference over largest
    magnitude, of each layer."""
    layers, identical, error = 0, 0, 0.0
    with np.load(here / f"{number}.layers.npz") as ours, np.load(there / f"{number}.layers.npz") as theirs:
        for name in ours.files:
            a, b = ours[name].astype(np.float64), theirs[name].astype(np.float64)
            layers += 1
            identical += bool(np.array_equal(ours[name], theirs[name]))
            error = max(error, float(np.abs(a - b).max() / np.abs(a).max()))
    with np.load(here / f"{number}.whole.npz") as ours, np.load(there / f"{number}.whole.npz") as theirs:
        a, b = ours["velocity"].astype(np.float64), theirs["velocity"].astype(np.float64)
    noise = float(np.square(a - b).sum())
    whole_db = round(10 * float(np.log10(np.square(a).sum() / noise)), 1) if noise else None
    return {"layers": layers, "identical": identical, "error": error, "whole_db": whole_db}


def run_on(processor: Processor, files: Path, out: Path, numbers: list[int], exact: bool) -> None:
    """``run_files`` there."""
    task = [str(Path(__file__).resolve()), "--work-files", json.dumps([str(files), str(out), numbers, exact])]
    environment = {"PYTHONPATH": processor.path, "PATH": os.environ["PATH"], "HOME": str(out.parent)}
    call([*processor.command, *task], env=environment)


def measure(processors: list[Processor], work: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows, and of each run what the processor says it is and [wall, processor] seconds."""
    files, clock = work / "files", Clock()
    files.mkdir()
    facts = make_files(files)
    run_files(files, work / HERE, range(len(FORMS)), exact=False)
    runs, rows = {HERE: {"seconds": clock.lap()}}, []
    for processor in processors:
        for exact in (False, True) if processor.narrow else (False,):
            name, forms = (
                f"{processor.name}{', exact sums' * exact}",
                [f for f in FORMS if f.full or not exact],
            )
            print(f"running on {name}", file=sys.stderr, flush=True)
            run_on(processor, files, work / name, [facts[form.name]["number"] for form in forms], exact)
            runs[name] = {"seconds": clock.lap()}
            for form in forms:
                found = compare(work / HERE, work / name, facts[form.name]["number"])
                meant = form.integer and (exact or not (processor.narrow and form.full))
                rows.append({
                    "processor": name, "form": form.name, **found, "must_agree": meant,
                    "quantisation_db": facts[form.name].get("quantisation_db"),
                    "agrees": found["error"] <= AGREED,
                })  # fmt: skip
    for name, run in runs.items():
        run |= json.loads((work / name / "about.json").read_text())
    return rows, runs


class Clock:
    """Wall and processor time, programs that were run included."""

    def __init__(self) -> None:
        self.last = self._now()

    def lap(self) -> list[float]:
        """[wall, processor] seconds since the last lap."""
        before, self.last = self.last, self._now()
        return [round(b - a, 1) for a, b in zip(before, self.last, strict=True)]

    def _now(self) -> tuple[float, float]:
        times = os.times()
        return times.elapsed, times.user + times.system + times.children_user + times.children_system


def show(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'processor':20} {'form':31} {'same bits':>9} {'error':>7} {'whole dB':>8} {'quant. dB':>9}")
    for row in rows:
        shares = [row["whole_db"], row["quantisation_db"]]
        texts = ["-" if value is None else f"{value:.1f}" for value in shares]
        mark = "" if row["agrees"] or not row["must_agree"] else "  DISAGREES"
        print(
            f"{row['processor']:20} {row['form']:31} {row['identical']:3} of {row['layers']:2} "
            f"{row['error']:7.0e} {texts[0]:>8} {texts[1]:>9}{mark}"
        )


def main() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgefoley" / "emulation"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, default=cache, help=f"default: {cache}")
    parser.add_argument("--only", nargs="+", default=NAMES, metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path, help="write card and rows here too")
    parser.add_argument("--work-files", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work_files is not None:
        files, out, numbers, exact = arguments.work_files
        return run_files(Path(files), Path(out), numbers, exact)
    if sys.platform != "linux" or platform.machine() != "x86_64":
        sys.exit("the emulators are set up for x86-64 Linux only")
    if unknown := set(arguments.only) - set(NAMES):
        parser.error(f"unknown processors {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    clock = Clock()
    processors = [p for p in fetch(arguments.cache.resolve()) if p.name in arguments.only]
    card: dict[str, Any] = {name: version(name) for name in ("edgefoley", "onnxruntime", "numpy", "onnx")}
    card["set_up_s"] = clock.lap()
    with tempfile.TemporaryDirectory() as folder:
        rows, runs = measure(processors, Path(folder))
    for key, value in card.items():
        print(f"{key:14} {value}")
    for name, run in runs.items():
        wall, busy = run["seconds"]
        print(f"{name:20} {wall:6} s, {busy:5} s of processor, {run['machine']} {' '.join(run['features'])}")
    show(rows)
    result = {"card": card, "runs": runs, "rows": rows}
    put_out(result, arguments.json)
    if any(row["must_agree"] and not row["agrees"] for row in rows):
        sys.exit("some integer kernels disagree")


if __name__ == "__main__":
    main()
