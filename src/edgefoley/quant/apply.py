"""``quantize(bundle, recipe, calibration) -> Bundle``: the one verb.

Every graph is read in float32, quantised by the recipe, written, opened in ONNX Runtime to see what it
really fuses (``fused``), and the whole is run on the captured inputs beside the bundle that it was made of.
What misses the recipe's gate is refused with the figures, and nothing is left behind. A chain is worked off
part by part, so that one part's weights are in memory at a time.

The manifest's ``quantization`` records the recipe itself, the identity of the calibration set and, for every
component, bytes, operators, signal-to-noise ratio and every layer. Applying the recorded recipe to the same
bundle and set again gives the same bytes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.bundle import MANIFEST, Bundle, Component, write_manifest
from edgefoley.convert.folders import check_free, whole_folder
from edgefoley.errors import BackendError
from edgefoley.graphs import Graphs
from edgefoley.memory import give_back
from edgefoley.quant.calibrate import Arrays, CalibrationSet, Sample
from edgefoley.quant.component import Made, quantise
from edgefoley.quant.fused import check_fused
from edgefoley.quant.network import APART, Network
from edgefoley.quant.observe import QuantError, sqnr_db
from edgefoley.quant.recipe import Recipe

BACKEND: Final = "ort"
WHOLE: Final = 1_500_000_000  # bytes; a larger graph cannot be one protobuf file with its weights
Say = Callable[[str], None]
Runs = list[tuple[Sample, Arrays]]


@dataclass(frozen=True)
class Job:
    """What is to be made of what."""

    bundle: Bundle
    recipe: Recipe
    calibration: CalibrationSet | None
    folder: Path
    say: Say


def quantize(
    bundle: Bundle,
    recipe: Recipe,
    calibration: CalibrationSet | None,
    out: str | Path,
    say: Say = lambda line: None,
) -> Bundle:
    """See the module. ``out``: a folder that is not there yet, or empty. ``say`` hears a line per component.

    Raises QuantError (an unknown pattern, no calibration where it is needed, values that cannot be quantised,
    something not fused, a missed gate), OutputError (``out`` cannot be made) and BundleError.
    """
    out = Path(out)
    check_free(out)
    if recipe.needs_calibration and calibration is None:
        raise QuantError(
            f"recipe {recipe.name!r} needs a calibration set; make one with: edgefoley calibrate "
            f"{bundle.name} --clips FOLDER -o SET"
        )
    _check_gate(bundle, recipe)
    recipe.check_patterns(layers_of(bundle))
    with whole_folder(out) as folder:
        made = _make(Job(bundle, recipe, calibration, folder, say))
    return Bundle(**{**vars(made), "folder": out})


def layers_of(bundle: Bundle) -> list[tuple[str, str]]:
    """(name, kind) of every layer of a bundle that a recipe can name."""
    return [
        (layer.name, layer.kind)
        for name in graphs_of(bundle)
        for layer in Network.read(name, bundle.artefact(name, BACKEND)).layers()
    ]


def graphs_of(bundle: Bundle) -> list[str]:
    """Components that have a file, parts of chains in place of their chain, in the order of use."""
    chains = [component for component in bundle.components.values() if component.parts]
    parts = {part for chain in chains for part in chain.parts}
    tops = [component for name, component in bundle.components.items() if name not in parts]
    return [name for component in tops for name in component.parts or (component.name,)]


def _check_gate(bundle: Bundle, recipe: Recipe) -> None:
    named = {name for limits in recipe.gate.values() for name in limits}
    if unknown := sorted(named - bundle.components.keys()):
        raise QuantError(
            f"recipe {recipe.name!r}: its gate names {', '.join(unknown)}; the model has "
            f"{', '.join(bundle.components)}."
        )


def _make(job: Job) -> Bundle:
    bundle = job.bundle
    manifest = json.loads(json.dumps(bundle.manifest))
    _copy_rest(bundle, job.folder)
    records: dict[str, Any] = {}
    parts = {part for component in bundle.components.values() for part in component.parts}
    for name, component in bundle.components.items():
        if name in parts:
            continue
        runs = _runs(job, name)
        if component.parts:
            _chain(job, component, runs, manifest, records)
        else:
            _component(job, name, runs, manifest, records)
    manifest["quantization"] = {
        "recipe": job.recipe.to_json(),
        "calibration": None if job.calibration is None else job.calibration.about,
        "source": bundle.manifest.get("quantization"),
        "components": records,
    }
    made = write_manifest(job.folder, manifest)
    _measure(job, made, records)
    _gate(job, records)
    manifest["quantization"]["components"] = records
    return write_manifest(job.folder, manifest)


def _runs(job: Job, component: str) -> Runs:
    """Captured inputs of a component; none where the set has none: who needs them says so."""
    if job.calibration is None or not job.calibration.samples.get(component):
        return []
    return list(job.calibration.feeds(component))


def _chain(job: Job, chain: Component, runs: Runs, manifest: dict[str, Any], records: dict[str, Any]) -> None:
    """Every part with the inputs that the exact parts before it give."""
    components = job.bundle.components
    runs = list(runs)
    graphs = Graphs(job.bundle, get_backend(BACKEND), LoadOptions(threads=1))
    for index, name in enumerate(chain.parts):
        fed = [(s, {key: values[key] for key in components[name].inputs}) for s, values in runs]
        _component(job, name, fed, manifest, records)
        advance(graphs, chain, index, runs)
    inside = [records[name] for name in chain.parts]
    total = {key: sum(record[key] for record in inside) for key in ("bytes", "bytes_fp32")}
    records[chain.name] = {**total, "share": round(total["bytes"] / total["bytes_fp32"], 4)}


def advance(graphs: Graphs, chain: Component, index: int, runs: Runs) -> None:
    """Replace the values of every run by those after part ``index``: its outputs are added, what no later
    part takes is dropped. The part is closed again."""
    components, name = graphs.bundle.components, chain.parts[index]
    later = set(chain.outputs).union(*(components[part].inputs for part in chain.parts[index + 1 :]))
    for number, (sample, values) in enumerate(runs):
        both = {**values, **graphs.run(name, values)}
        runs[number] = (sample, {key: value for key, value in both.items() if key in later})
    graphs.close([name])


def _component(job: Job, name: str, runs: Runs, manifest: dict[str, Any], records: dict[str, Any]) -> None:
    """Quantise one graph, write its file, and enter both into the manifest."""
    entry = manifest["components"][name]
    network = Network.read(name, job.bundle.artefact(name, BACKEND))
    made = quantise(network, job.recipe, runs, job.folder)
    files, apart = write_made(job.bundle, name, made, job.folder)
    path, size = files[0], sum(file.stat().st_size for file in files)
    operators = check_fused(path, made.expected, job.folder)
    _check_size(made, name, size, apart)
    entry["artefacts"] = {
        BACKEND: {"path": path.name, **({"data": [{"path": files[1].name}]} if len(files) > 1 else {})}
    }
    if "weights" in entry.get("attributes", {}):
        entry["attributes"]["weights"] = made.stored
    share = size / made.float32_bytes if made.float32_bytes else 1.0
    records[name] = {
        "bytes": size,
        "bytes_fp32": made.float32_bytes,
        "share": round(share, 4),
        "operators": operators,
        "layers": {key.partition("/")[2]: value for key, value in made.layers.items()},
    }
    job.say(
        f"{name}: {size / 1e6:.2f} MB, {100 * share:.1f} % of float32; "
        f"{made.expected.integer + made.expected.blocks} of {len(made.layers)} layers in integers"
    )
    del network, made
    give_back()


def write_made(bundle: Bundle, name: str, made: Made, folder: Path) -> tuple[list[Path], bool]:
    """Write a quantised component as its bundle stores it; the files, and whether weights lie apart."""
    apart = bool(bundle.artefact_entry(name, BACKEND).data) or made.float32_bytes > WHOLE
    files = made.network.write(folder / f"{name}.onnx", apart)
    if len(files) > 1 and not files[1].stat().st_size:
        files.pop().unlink()
    return files, apart


def _check_size(made: Made, name: str, size: int, apart: bool) -> None:
    """At least half of what the layers save must be missing from the file; nodes and padding count apart."""
    layers = [record for record in made.layers.values() if "bytes" in record]
    saved = sum(record["bytes_fp32"] - record["bytes"] for record in layers)
    weights = made.network.weights.values()
    nodes = sum(node.ByteSize() for node in made.network.nodes) + 256 * len(weights)
    padding = APART * sum(values.nbytes >= APART for values in weights) if apart else 0
    if saved > 0 and size - nodes - padding > made.float32_bytes - saved // 2:
        raise QuantError(
            f"{name}: its layers save {saved} of {made.float32_bytes} bytes, but the file has {size}; "
            "something is stored twice."
        )


def _copy_rest(bundle: Bundle, folder: Path) -> None:
    """Everything in the bundle that is no graph: tokenizer, licences, tables."""
    graphs = {
        file.path
        for component in bundle.components.values()
        for artefact in component.artefacts.values()
        for file in artefact.files
    }
    for path in sorted(bundle.folder.rglob("*")):
        name = path.relative_to(bundle.folder).as_posix()
        if path.is_file() and name not in graphs and name != MANIFEST and not path.name.startswith("."):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def _measure(job: Job, made: Bundle, records: dict[str, Any]) -> None:
    """Signal to quantisation noise of every component's outputs, in dB, against the source bundle."""
    if job.calibration is None:
        return
    for name in made.components:
        if "." in name or not job.calibration.samples.get(name):
            continue
        found = compare(job.bundle, made, name, job.calibration.feeds(name))
        records[name]["sqnr_db"] = found
        mean = found["mean"]
        job.say(f"{name}: SQNR {mean:.1f} dB" if mean is not None else f"{name}: exact")


def compare(
    reference: Bundle, made: Bundle, component: str, runs: Iterable[tuple[Sample, Arrays]]
) -> dict[str, Any]:
    """SQNR in dB of ``made`` against ``reference`` on one component's captured inputs: ``mean`` over runs,
    ``least``, and ``by_level``: noise level -> mean. Of several outputs a run counts its worst. None: exact.
    Raises QuantError when an output is not finite."""
    backend, options = get_backend(BACKEND), LoadOptions(threads=1)
    sides = Graphs(reference, backend, options), Graphs(made, backend, options)
    for side in sides:
        side.streamed = frozenset({component}) if made.components[component].parts else frozenset()
    values: list[tuple[float | None, float]] = []
    try:
        for sample, feeds in runs:
            exact, rounded = (side.run(component, feeds) for side in sides)
            each = [sqnr_db(exact[key], rounded[key]) for key in exact if exact[key].dtype.kind == "f"]
            if each:
                values.append((sample.sigma, min(each)))
    except BackendError as error:
        raise QuantError(f"{component}: the quantised network does not run: {error}") from error
    finally:
        for side in sides:
            side.close()
    return summarised(values)


def summarised(values: Iterable[tuple[float | None, float]]) -> dict[str, Any]:
    """What ``compare`` returns, of (noise level, dB) of every run."""
    values = list(values)
    numbers = [value for _, value in values]
    levels: dict[str, list[float]] = {}
    for sigma, value in values:
        if sigma is not None:
            levels.setdefault(f"{sigma:.4g}", []).append(value)
    return {
        "mean": _mean(numbers),
        "least": _mean([min(numbers)]) if numbers else None,
        "by_level": {level: _mean(each) for level, each in levels.items()},
    }


def _mean(values: list[float]) -> float | None:
    """Mean in dB; exact runs, of infinite dB, are left out, None where all are exact."""
    finite = [value for value in values if np.isfinite(value)]
    return round(float(np.mean(finite)), 2) if finite else None


def _gate(job: Job, records: Mapping[str, Any]) -> None:
    """Raise QuantError with all figures where one misses the recipe's gate."""
    missed = []
    for name, limit in job.recipe.gate.get("bytes", {}).items():
        share = records[name]["share"]
        if share > limit:
            missed.append(
                f"{name}: {100 * share:.1f} % of its float32 bytes, wanted at most {100 * limit:g} %"
            )
    for name, least in job.recipe.gate.get("sqnr_db", {}).items():
        figures = records[name].get("sqnr_db")
        if figures is None:
            raise QuantError(
                f"the gate asks for the SQNR of {name!r}, of which the calibration set has no run."
            )
        mean = figures["mean"]
        if mean is not None and mean < least:
            by_level = ", ".join(f"{value} at {level}" for level, value in figures["by_level"].items())
            missed.append(
                f"{name}: SQNR {mean} dB (least {figures['least']}; {by_level}), wanted at least {least:g} dB"
            )
    if missed:
        raise QuantError(
            f"recipe {job.recipe.name!r} misses its gate, nothing was written: " + "; ".join(missed) + "."
        )
