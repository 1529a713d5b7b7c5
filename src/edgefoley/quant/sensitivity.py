"""What quantising one layer alone, or one module alone, costs a component.

Every other layer stays in float32. The loss is the signal-to-quantisation-noise ratio of the component's
output (of the denoiser: the velocity) on captured inputs, mean and least over them and by noise level; of a
module also, if asked for, the log-mel distance of the sound with the same seed. What is saved is counted in
the constants, scales included, against float32.

``modules`` says what is measured together. A chain is measured as a whole: the parts before
and after the changed one are read and run again for every unit, which is slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions, Session
from edgefoley.bundle import Bundle, Component
from edgefoley.errors import BackendError, NumericError
from edgefoley.graphs import Graphs
from edgefoley.media import read_clip
from edgefoley.memory import give_back
from edgefoley.metrics.audio_quality import log_mel_distance
from edgefoley.pipeline import Pipeline
from edgefoley.quant.apply import BACKEND, Runs, advance, summarised, write_made
from edgefoley.quant.calibrate import CalibrationSet
from edgefoley.quant.component import quantise
from edgefoley.quant.fused import check_fused
from edgefoley.quant.modules import Unit, alone, entries_of
from edgefoley.quant.network import Network
from edgefoley.quant.observe import QuantError, sqnr_db
from edgefoley.quant.recipe import Recipe

Say = Callable[[str], None]
Sqnr = Mapping[str, Any]  # see ``apply.summarised``


@dataclass(frozen=True)
class Row:
    """What a unit alone costs. ``saved``: bytes; ``sqnr``: as ``apply.compare``; ``log_mel_db``: of the
    sound, None where it was not asked for."""

    unit: Unit
    saved: int
    sqnr: Sqnr
    log_mel_db: float | None = None

    @property
    def loss(self) -> float:
        """Noise over signal, as a ratio of powers; 0 where nothing was lost. Of errors that are independent
        these add up."""
        mean = self.sqnr["mean"]
        return 0.0 if mean is None else float(10 ** (-mean / 10))

    def to_json(self) -> dict[str, Any]:
        """All of it but the fields of schemes."""
        return {
            "name": self.unit.name,
            "layers": [name for name, _, _ in self.unit.members],
            "schemes": self.unit.schemes,
            "bytes_saved": self.saved,
            "sqnr_db": dict(self.sqnr),
            "log_mel_db": self.log_mel_db,
        }


@dataclass(frozen=True)
class Files:
    """A component's files on the way: part -> file, bytes on disk (of parts that were written), bytes of
    constants saved, and of its weights in float32."""

    paths: Mapping[str, Path]
    bytes: int
    saved: int
    float32: int


class Bench:
    """Makes variants of one component and measures them against the bundle's own.

    ``inputs``: captured runs that are used per noise level for single units, spread evenly; ``few`` and
    ``all`` are the runs. ``folder``: for files. Raises QuantError for a component that there is not, a part
    of a chain, and a set without runs of it.
    """

    def __init__(
        self, bundle: Bundle, component: str, samples: CalibrationSet, folder: Path, inputs: int = 2
    ) -> None:
        self.bundle, self.folder = bundle, folder
        self.component = _known(bundle, component)
        self.parts = self.component.parts or (component,)
        self.all: Runs = list(samples.feeds(component))
        self.few = _spread(self.all, inputs)
        self._exact: dict[int, list[Mapping[str, Any]]] = {}
        self._network: Network | None = None
        self.layers = {part: entries_of(self._read(part)) for part in self.parts}

    def _read(self, part: str) -> Network:
        """A graph of its own is read once; of a chain one part is in memory at a time."""
        if self._network is None or self._network.component != part:
            self._network = Network.read(part, self.bundle.artefact(part, BACKEND))
        return self._network.copy()

    def make(self, recipe: Recipe, runs: Runs, whole: bool = False) -> Files:
        """Write the parts that ``recipe`` changes (``whole``: all, and check what ONNX Runtime fuses)."""
        touched = [part for part in self.parts if whole or self._touches(part, recipe)]
        values, graphs = list(runs), self._graphs({})
        paths: dict[str, Path] = {}
        total = saved = float32 = 0
        for index, part in enumerate(self.parts):
            if part in touched:
                network = self._read(part)
                before, taken = _constants(network), self.bundle.components[part].inputs
                fed = (
                    [(s, {key: v[key] for key in taken}) for s, v in values]
                    if len(self.parts) > 1
                    else values
                )
                made = quantise(network, recipe, fed, self.folder)
                files, _ = write_made(self.bundle, part, made, self.folder)
                if whole:
                    check_fused(files[0], made.expected, self.folder)
                paths[part] = files[0]
                total += sum(file.stat().st_size for file in files)
                saved, float32 = saved + before - _constants(network), float32 + made.float32_bytes
            if part == touched[-1]:
                break
            advance(graphs, self.component, index, values)
        return Files(paths, total, saved, float32)

    def sqnr(self, files: Files, runs: Runs) -> Sqnr:
        """As ``apply.compare``, of the component with ``files`` in the place of its own. Raises QuantError
        when an output is not finite."""
        if id(runs) not in self._exact:
            self._exact[id(runs)] = self._outputs({}, runs)
        values = []
        pairs = zip(runs, self._exact[id(runs)], self._outputs(files.paths, runs), strict=True)
        for (sample, _), exact, made in pairs:
            each = [sqnr_db(exact[key], made[key]) for key in exact if exact[key].dtype.kind == "f"]
            values.append((sample.sigma, min(each)))
        return summarised(values)

    def sound(self, files: Files | None, clip: Path) -> Any:
        """Samples of the sound that the whole pipeline makes for a video, with seed 0 and the words of the
        file's name; ``files`` None: as the bundle is."""
        with _Variant(self.bundle, {} if files is None else files.paths) as pipeline:
            frames = read_clip(clip, self.bundle.views())
            words = " ".join(clip.stem.replace("_", " ").replace("-", " ").split())
            return pipeline.generate(frames, words, seed=0).audio.samples

    def _touches(self, part: str, recipe: Recipe) -> bool:
        schemes = [recipe.scheme_of(name, kind).scheme for name, kind, _, _ in self.layers[part]]
        return any(scheme != "fp32" for scheme in schemes)

    def _graphs(self, paths: Mapping[str, Path]) -> _Swapped:
        graphs = _Swapped(self.bundle, paths)
        graphs.streamed = frozenset(self.component.parts)
        return graphs

    def _outputs(self, paths: Mapping[str, Path], runs: Runs) -> list[Mapping[str, Any]]:
        graphs = self._graphs(paths)
        try:
            return list(graphs.run_many(self.component.name, [(feeds, None) for _, feeds in runs]))
        except (BackendError, NumericError) as error:
            which = "a variant" if paths else "the network"
            raise QuantError(f"{self.component.name}: {which} cannot be measured: {error}") from error
        finally:
            graphs.close()


class _Swapped(Graphs):
    """Graphs of a bundle with other files for some components."""

    def __init__(self, bundle: Bundle, paths: Mapping[str, Path]) -> None:
        super().__init__(bundle, get_backend(BACKEND), LoadOptions(threads=1))
        self.paths = paths

    def _session(self, name: str) -> Session:
        if name in self.paths and name not in self._sessions:
            self._sessions[name] = self.backend.load(self.paths[name], self.options)
        return super()._session(name)


class _Variant(Pipeline):
    """The pipeline on such graphs."""

    def __init__(self, bundle: Bundle, paths: Mapping[str, Path]) -> None:
        super().__init__(bundle, get_backend(BACKEND), LoadOptions(threads=1))
        self._graphs = _Swapped(bundle, paths)


@dataclass(frozen=True)
class Report:
    """``layers`` and ``modules``, the most sensitive first; ``inputs``: captured runs used; ``calibration``:
    identity of the set."""

    component: str
    recipe: str
    layers: Sequence[Row]
    modules: Sequence[Row]
    inputs: int
    calibration: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "component": self.component,
            "recipe": self.recipe,
            "inputs": self.inputs,
            "calibration": self.calibration,
            "modules": [row.to_json() for row in self.modules],
            "layers": [row.to_json() for row in self.layers],
        }


def measure_units(bench: Bench, units: Sequence[Unit], say: Say = lambda line: None) -> list[Row]:
    """Each alone, in the order given; ``say`` hears a line about each."""
    rows = []
    for number, unit in enumerate(units):
        files = bench.make(alone(unit), bench.few)
        rows.append(Row(unit, files.saved, bench.sqnr(files, bench.few)))
        give_back()
        say(f"{number + 1}/{len(units)} {unit.name}: {decibels(rows[-1].sqnr['mean'], ' dB')}")
    return rows


def measure_sounds(bench: Bench, rows: Sequence[Row], clip: Path, say: Say = lambda line: None) -> list[Row]:
    """``rows`` with the log-mel distance of the sound for ``clip``, each unit alone."""
    exact, found = bench.sound(None, clip), []
    for number, row in enumerate(rows):
        files = bench.make(alone(row.unit), bench.few)
        distance = log_mel_distance(bench.sound(files, clip), exact)
        found.append(replace(row, log_mel_db=round(distance, 4)))
        say(f"{number + 1}/{len(rows)} {row.unit.name}: log-mel distance {distance:.2f} dB")
    return found


def ranked(rows: Iterable[Row]) -> list[Row]:
    """The most sensitive first."""
    return sorted(rows, key=lambda row: (-row.loss, row.unit.name))


def decibels(value: float | None, unit: str = "") -> str:
    """In words; None: exact."""
    return "exact" if value is None else f"{value:.1f}{unit}"


def _known(bundle: Bundle, name: str) -> Component:
    chains = {part: chain for chain in bundle.components.values() for part in chain.parts}
    if name in chains:
        raise QuantError(
            f"{name!r} is a part of {chains[name].name!r}, and captured inputs are those of the whole; "
            f"measure {chains[name].name!r}."
        )
    if name not in bundle.components:
        tops = [n for n in bundle.components if n not in chains]
        raise QuantError(f"the model {bundle.name!r} has no component {name!r}; it has {', '.join(tops)}.")
    return bundle.components[name]


def _spread(runs: Runs, count: int) -> Runs:
    """``count`` runs of every noise level, spread evenly over them."""
    levels: dict[float | None, Runs] = {}
    for run in runs:
        levels.setdefault(run[0].sigma, []).append(run)
    kept: Runs = []
    for each in levels.values():
        places = np.linspace(0, len(each) - 1, min(count, len(each))).round().astype(int)
        kept += [each[place] for place in places]
    return kept


def _constants(network: Network) -> int:
    """Bytes of all constants that a node reads."""
    read = {name for node in network.nodes for name in node.input}
    return sum(values.nbytes for name, values in network.weights.items() if name in read)
