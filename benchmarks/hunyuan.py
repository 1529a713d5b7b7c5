"""Seconds of one guided step of HunyuanVideo-Foley, as published and as we run it:
python benchmarks/hunyuan.py --source DIR --bundle DIR [--seconds 10] [--steps 2] [--only CASE ...]

--source is a folder of `edgefoley models random xl` (or a download), --bundle what `edgefoley models convert`
makes of it. Random weights show speed, memory and parity, never quality; every row says so.

torch-fp32-plain      the published form in PyTorch (``hunyuan_plain.velocity``): everything at every step,
                      both guidance branches in one batch
torch-fp32-savings    the same network with our exact savings (``edgefoley.models.transformer``)
torch-bf16-plain      the published form, weights and activations in bfloat16
...-products          the same with PyTorch's convolutions as products of matrices: another kernel, the same
                      sums; one or the other is faster, depending on the processor
ort-fp32              our bundle in ONNX Runtime, float32 arithmetic, through the code that generate uses
ov-fp32, ov-bf16      the same bundle in OpenVINO; "refused" where the processor has no bfloat16 units

Each case runs in a process of its own, one after the other: it opens the network, makes one step that is not
counted (in PyTorch's bfloat16 a pass through one block of each kind, since a whole one can take minutes), and
times --steps steps; the least counts. ``cpu s``: all processors' time in that step. Where a plan opens parts
of the model at every step because the memory does not hold all, that is within the step, and ``opening s``
is its share (--memory-limit bounds that plan).

--blocks K, for PyTorch's bfloat16 alone: run the first K blocks of either kind and scale by the numbers of
blocks; the row then says "scaled from K + K blocks". Memory: the peaks of the process in 10^9 bytes,
anonymous and total (RSS), while opening (with the uncounted step) and while stepping. ``differs``: relative
difference of the guided velocity at the first noise level from torch-fp32-plain's; more than 1e-4 in float32
is a failure.

Operations are counted from the shapes (products and convolutions, a multiply-add as two). Prints a card, the
table, ratios with their aims, and one last line of JSON. Exit code 1 when a case failed. Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from hunyuan_steps import CASES, SCHEDULE, run_case
from outcome import put_out

from edgefoley.backends.threads import default_threads
from edgefoley.machine import this_machine

Row = dict[str, Any]
REFERENCE = "torch-fp32-plain"
OURS = ("ort-fp32", "ov-fp32", "ov-bf16")
HALF_UNITS = ("avx512_bf16", "amx_bf16", "bf16")
TOLERANCE = 1e-4  # relative, of a float32 velocity after 36 blocks in another order of additions
RANDOM = "random weights: speed, memory, parity; never quality"
TRAINED = "published weights"


# --- the cases ----------------------------------------------------------------------------------------------


def in_own_process(task: Mapping[str, Any]) -> Row:
    """A row's findings; ``failed`` says why there are none."""
    environment = os.environ | {"OMP_NUM_THREADS": str(task["threads"])}
    command = [sys.executable, __file__, "--task", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == 0:
        found: Row = json.loads(done.stdout.splitlines()[-1])
        return found
    if done.returncode < 0:
        return {"failed": f"ended by signal {-done.returncode} (9: memory was exhausted, or it was killed)"}
    return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}


def rows_of(only: Sequence[str], base: Mapping[str, Any], flop: Mapping[str, Any], weights: str) -> list[Row]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        velocities = {name: Path(folder, f"{name}.npy") for name in CASES}
        for name in CASES:
            if name not in only:
                continue
            print(f"{name} …", file=sys.stderr, flush=True)
            found = in_own_process({**base, "case": name, "velocity": str(velocities[name])})
            case = CASES[name]
            row = {"case": name, "engine": case.engine, "precision": case.precision, "form": case.form,
                   "what": case.words, "weights": weights, **found}  # fmt: skip
            row["differs"] = differs = difference(velocities[name], velocities[REFERENCE])
            if case.precision == "fp32" and differs is not None and not differs <= TOLERANCE:
                row["failed"] = f"velocity differs by {differs:.1e}, more than {TOLERANCE:.0e}"
            if "wall_s" in row:
                best = min(range(len(row["wall_s"])), key=row["wall_s"].__getitem__)
                row |= {"step_s": row["wall_s"][best], "step_cpu_s": row["cpu_s"][best]}
                row |= {"step_opening_s": row["opening_s"][best], "step_flop": flop[case.form]}
            rows.append(row)
            print(line_of(row), file=sys.stderr, flush=True)
    return rows


def difference(path: Path, reference: Path) -> float | None:
    """Relative difference of two stored velocities; None where one is missing."""
    if path == reference or not path.exists() or not reference.exists():
        return None
    found, wanted = np.load(path), np.load(reference)
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


# --- what they say ------------------------------------------------------------------------------------------


def ratios(rows: Sequence[Row], flop: Mapping[str, Any], half_units: bool) -> list[dict[str, Any]]:
    """What the issue aims at, from the rows that are there: name, value, aim (None: only told) and a note."""
    forms = {row["case"]: row for row in rows if "step_s" in row and "failed" not in row}
    seconds = {case: row["step_s"] for case, row in forms.items()}
    made: list[dict[str, Any]] = []

    def add(name: str, above: str | None, below: str | None, aim: float | None, note: str = "") -> None:
        if above is not None and below is not None:
            scaled = [c for c in (above, below) if "scaled_from" in forms[c]]
            notes = [note] * bool(note) + [f"{c} is {forms[c]['scaled_from']}" for c in scaled]
            busy = [forms[case]["step_cpu_s"] for case in (above, below)]
            made.append({"name": name, "of": above, "to": below, "value": seconds[above] / seconds[below],
                         "cpu": busy[0] / busy[1], "aim": aim, "note": "; ".join(notes)})  # fmt: skip

    def fastest(cases: Sequence[str]) -> str | None:
        return min((case for case in cases if case in seconds), key=seconds.__getitem__, default=None)

    for tail, words in (("", "convolutions"), ("-products", "products")):
        above, below = (f"torch-fp32-{form}{tail}" for form in ("plain", "savings"))
        if above in seconds and below in seconds:
            add(f"exact savings, PyTorch fp32, {words}", above, below, 1.10)
    counted = {"of": "plain", "to": "savings", "value": flop["ratio"], "cpu": None, "aim": None}
    made.append({"name": "exact savings, counted operations", **counted, "note": "what arithmetic allows"})
    torch = [case for case in seconds if case.startswith("torch-")]
    ours = fastest(OURS)
    soft = "" if half_units else "soft: this processor has no bfloat16 units, so PyTorch's bf16 is slow here"
    add("our best path against PyTorch bf16", fastest([c for c in torch if "bf16" in c]), ours, 1.3, soft)
    published = [case for case in torch if forms[case]["form"] == "plain"]
    add("our best path against the best published form in PyTorch", fastest(published), ours, None)
    add("our best path against the best of PyTorch, our savings included", fastest(torch), ours, None)
    return made


def line_of(row: Row) -> str:
    if "step_s" not in row:
        reason = f"refused: {row['refused']}" if "refused" in row else f"FAILED: {row.get('failed')}"
        return f"{row['case']:28} {reason} [{row['weights']}]"
    peaks = row["memory"]
    before = {key: max(peaks[phase][key] for phase in ("open", "first")) for key in peaks["step"]}
    sizes = " ".join(
        f"{part[key] / 1000:6.2f}" for part in (before, peaks["step"]) for key in ("anonymous_mb", "total_mb")
    )
    differs = "       -" if row["differs"] is None else f"{row['differs']:8.0e}"
    notes = [row[key] for key in ("failed", "scaled_from", "plan") if key in row]
    if "compiled_for" in row:
        notes.append(f"compiled for {', '.join(row['compiled_for'])}")
    speed = row["step_flop"] / row["step_s"] / 1e9
    return (
        f"{row['case']:28} {row['step_s']:8.2f} {row['step_cpu_s']:8.2f} {row['step_opening_s']:9.2f} "
        f"{speed:8.1f} {row['first_s']:8.2f} {sizes} {differs}  {'; '.join([row['weights'], *notes])}"
    )


def show(rows: Sequence[Row], flop: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    print(
        f"\ncounted, one guided step: {flop['plain'] / 1e12:.4f} TFLOP as published, "
        f"{flop['savings'] / 1e12:.4f} with savings ({flop['ratio']:.4f} x); once per clip of {SCHEDULE} "
        f"steps {flop['once'] / 1e12:.4f} ({flop['ratio_with_once']:.4f} x with it)\n"
    )
    print(f"{'':64} {'opening, GB':>16} {'stepping, GB':>13}")
    print(
        f"{'case':28} {'s/step':>8} {'cpu s':>8} {'opening s':>9} {'GFLOP/s':>8} {'first s':>8} "
        f"{'anon':>6} {'total':>6} {'anon':>6} {'total':>6} {'differs':>8}"
    )
    for row in rows:
        print(line_of(row))
    print()
    for ratio in found:
        aim = ratio["aim"]
        verdict = "" if aim is None else f" (aim {aim:.2f}: {'met' if ratio['value'] >= aim else 'missed'})"
        note = f"; {ratio['note']}" if ratio["note"] else ""
        busy = "" if ratio["cpu"] is None else f", {ratio['cpu']:.3f} x by processor time"
        print(f"{ratio['name']}: {ratio['value']:.3f} x{verdict}{busy}, {ratio['of']} / {ratio['to']}{note}")


def units(features: Sequence[str] | None) -> dict[str, str]:
    """Which arithmetic units the processor has, "unknown" where the system does not tell."""
    names = {"avx512": ("avx512f",), "amx": ("amx_int8", "amx_bf16"), "bf16": HALF_UNITS,
             "vnni": ("avx512_vnni", "avx_vnni")}  # fmt: skip
    if features is None:
        return dict.fromkeys(names, "unknown")
    return {key: "yes" if set(flags) & set(features) else "no" for key, flags in names.items()}


def card(arguments: argparse.Namespace, source: Any, lengths: Any) -> dict[str, Any]:
    machine = this_machine()
    made: dict[str, Any] = {
        "date": str(date.today()), "model": source.model, "weights": weights_of(source),
        "source": str(arguments.source), "bundle": str(arguments.bundle),
        "clip": f"{arguments.seconds} s: {lengths.tokens} sound tokens, {lengths.pictures} pictures, "
        f"{lengths.sync} sync rows, {lengths.words} text tokens", "steps": arguments.steps,
        "threads": arguments.threads, "memory_limit": arguments.memory_limit or "what is left",
        "cores": machine.cores, "processor": machine.processor,
        **units(machine.features), "memory_mb": machine.memory_mb, "available_mb": machine.available_mb,
        "system": machine.system, "load_average": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    for name in ("edgefoley", "torch", "onnxruntime", "openvino", "numpy"):
        try:
            made[name] = version(name)
        except PackageNotFoundError:
            made[name] = "not installed"
    return made


def weights_of(source: Any) -> str:
    return TRAINED if source.stand_in is None else RANDOM


def counts(config: Any, lengths: Any) -> dict[str, Any]:
    """FLOP of a guided step as published and with savings, and their ratios."""
    import hunyuan_plain as plain

    published, saved = plain.count_plain(config, lengths), plain.count_savings(config, lengths, SCHEDULE)
    return {
        "plain": published, "savings": saved["step"], "once": saved["once"],
        "ratio": published / saved["step"],
        "ratio_with_once": published / (saved["step"] + saved["once"] / SCHEDULE),
    }  # fmt: skip


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="folder of `edgefoley models random xl`")
    parser.add_argument("--bundle", type=Path, help="what `edgefoley models convert` made of it")
    parser.add_argument("--seconds", type=Fraction, default=Fraction(10), help="of sound")
    parser.add_argument("--words", type=int, default=16, help="text tokens of either branch")
    parser.add_argument("--steps", type=int, default=2, help="timed steps")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--blocks", type=int, metavar="K", help="for PyTorch's bf16: see above")
    parser.add_argument("--memory-limit", metavar="SIZE", help="of the engines' plans; default: what is left")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--json", type=Path, help="write the result here too")
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task is None and None in (arguments.source, arguments.bundle):
        parser.error("--source and --bundle are needed")
    if not 1 <= arguments.steps < SCHEDULE:
        parser.error(f"--steps must be from 1 to {SCHEDULE - 1}")
    if arguments.blocks is not None and arguments.blocks < 1:
        parser.error("--blocks must be at least 1")
    return arguments


def main() -> None:
    arguments = parsed()
    if arguments.task is not None:
        print(json.dumps(run_case(arguments.task)))
        return
    import hunyuan_plain as plain

    from edgefoley.convert.hunyuan import open_folder

    source = open_folder(arguments.source)
    config = source.sizes.transformer
    lengths = plain.lengths_of(arguments.seconds, arguments.words, source.sizes)
    about = card(arguments, source, lengths)
    for key, value in about.items():
        print(f"{key:14} {value}")
    if about["load_average"] > 0.5:
        print("Something else is running on this machine; times will be too long.", file=sys.stderr)
    flop = counts(config, lengths)
    base = {
        "source": str(arguments.source), "bundle": str(arguments.bundle), "seconds": str(arguments.seconds),
        "steps": arguments.steps, "threads": arguments.threads, "blocks": arguments.blocks,
        "memory_limit": arguments.memory_limit,
        "lengths": asdict(lengths),
        "dims": {"latent": config.latent_dim, "text": config.text_dim, "visual": config.visual_dim,
                 "sync": config.sync_dim},
    }  # fmt: skip
    rows = rows_of(arguments.only, base, flop, about["weights"])
    found = ratios(rows, flop, about["bf16"] == "yes")
    show(rows, flop, found)
    result = {"card": about, "flop": flop, "rows": rows, "ratios": found}
    put_out(result, arguments.json)
    sys.exit(any("failed" in row for row in rows))


if __name__ == "__main__":
    main()
