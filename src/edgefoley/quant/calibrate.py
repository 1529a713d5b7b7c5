"""What the networks of a bundle are really fed: inputs captured while the pipeline runs on a few clips.

A calibration set is a folder: ``set.json`` and one .npz per captured run (arrays by input name, never
pickled). The denoiser's runs are stratified: ``times`` noise levels spread over the schedule, and at each
both guidance branches. Runs that repeat are stored once.

``set.json``, schema 1: ``model`` (name, and ``key``: sha256 over the name, the source of the weights and the
tensors of all components, so that a set fits every storage of the same weights and nothing else), ``clips``
(file name, sha256, seconds, prompt, seed), ``steps``, ``guidance``, ``samples``: component -> [{path, sha256,
clip, sigma, branch}], and ``identity``: sha256 over all of that.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.backends import get_backend
from edgefoley.backends.base import LoadOptions
from edgefoley.bundle import Bundle, sha256
from edgefoley.convert.folders import check_free, whole_folder
from edgefoley.graphs import Graphs, Pass
from edgefoley.media import read_clip
from edgefoley.pipeline import Pipeline
from edgefoley.quant.observe import QuantError
from edgefoley.sampling import SOLVERS, evaluated, sigmas
from edgefoley.source import inspect
from edgefoley.targets import videos_in as videos

SCHEMA: Final = 1
SET: Final = "set.json"
PER_CLIP: Final = 4  # runs of every other network that a clip gives at most
Arrays = dict[str, npt.NDArray[Any]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """``prompts`` are taken in turn (none: the words of each file's name); clip k has seed ``seed`` + k;
    ``seconds``: the most of a clip that is used; ``times``: noise levels captured; None: the model's own
    ``steps`` and ``guidance``."""

    prompts: tuple[str, ...] = ()
    seed: int = 0
    seconds: Fraction = Fraction(10)
    times: int = 5
    steps: int | None = None
    guidance: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Sample:
    """One captured run. ``sigma``: the noise level (denoiser only, else None); ``branch``: "conditional" or
    "unconditional" (denoiser only, else "")."""

    path: str
    sha256: str
    clip: int
    sigma: float | None
    branch: str


@dataclass(frozen=True)
class CalibrationSet:
    """An opened set; ``record`` is set.json as read."""

    folder: Path
    identity: str
    samples: Mapping[str, tuple[Sample, ...]]
    record: Mapping[str, Any]

    def feeds(self, component: str) -> Iterator[tuple[Sample, Arrays]]:
        """Every captured run of a component (chains as a whole), one at a time. Raises QuantError for a file
        that is missing or was changed, or when there is none."""
        if not self.samples.get(component):
            raise QuantError(
                f"the calibration set {self.folder} has no run of {component!r}; calibrate with clips that "
                "use it."
            )
        for sample in self.samples[component]:
            path = self.folder / sample.path
            try:
                data = path.read_bytes()
            except OSError as error:
                raise QuantError(f"{path} cannot be read: {error.strerror}.") from error
            if hashlib.sha256(data).hexdigest() != sample.sha256:
                raise QuantError(f"{path} was changed or damaged; calibrate again.")
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                yield sample, {name: arrays[name] for name in arrays.files}

    @property
    def about(self) -> dict[str, Any]:
        """What a bundle made with it records."""
        kept = ("model", "clips", "steps", "guidance")
        return {"identity": self.identity, **{key: self.record[key] for key in kept}}


def model_key(bundle: Bundle) -> str:
    """See the module."""
    tensors = {
        name: [[s.name, list(s.shape), s.dtype] for s in (*c.inputs.values(), *c.outputs.values())]
        for name, c in bundle.components.items()
        if "." not in name  # parts of a chain may be cut otherwise
    }
    facts = {"name": bundle.name, "source": bundle.manifest.get("source"), "tensors": tensors}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def open_set(folder: str | Path, bundle: Bundle) -> CalibrationSet:
    """Open a set and check that it is whole and was made with the same model. Raises QuantError."""
    path = Path(folder) / SET
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["schema"] != SCHEMA:
            raise QuantError(
                f"{path} has schema {record['schema']!r}; this version of edgefoley reads {SCHEMA}."
            )
        samples = {
            name: tuple(Sample(**entry) for entry in entries) for name, entries in record["samples"].items()
        }
        identity, key, name = record["identity"], record["model"]["key"], record["model"]["name"]
    except OSError as error:
        raise QuantError(f"{folder} is no calibration set: {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise QuantError(f"{path} is not the list of a calibration set: {error!r}.") from error
    if not any(samples.values()):
        raise QuantError(f"the calibration set {folder} is empty; make it from at least one clip.")
    if identity != _identity(record):
        raise QuantError(f"{path} was changed after it was made; calibrate again.")
    if key != model_key(bundle):
        raise QuantError(
            f"the calibration set {folder} was made with a model {name!r} of other weights or tensors than "
            f"those of {bundle.name!r} in {bundle.folder}; calibrate with this one."
        )
    return CalibrationSet(Path(folder), identity, samples, record)


def videos_in(folder: str | Path) -> list[Path]:
    """The clips of a folder, sorted by name. Raises QuantError when there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise QuantError(f"{folder} is no folder of clips.")
    found = videos(folder)
    if not found:
        raise QuantError(f"{folder} holds no video, so there is nothing to calibrate with.")
    return found


def calibrate(
    bundle: Bundle, clips: Iterable[Path], out: str | Path, options: Options, say: Say = lambda line: None
) -> CalibrationSet:
    """Run the pipeline on ``clips`` and write the set ``out``, which appears when it is complete.

    Raises QuantError (no clips), OutputError (``out`` is there and not empty, or cannot be written), and what
    reading a clip and running the model raise.
    """
    out, paths = Path(out), list(clips)
    if not paths:
        raise QuantError("a calibration set needs at least one clip.")
    if options.times < 1:
        raise QuantError(f"at least 1 noise level is to be captured, not {options.times}.")
    check_free(out)
    with whole_folder(out) as work:
        record = _record(bundle, paths, work, options, say)
        (work / SET).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return open_set(out, bundle)


def _record(bundle: Bundle, paths: Sequence[Path], work: Path, options: Options, say: Say) -> dict[str, Any]:
    defaults = bundle.defaults
    steps = defaults.steps if options.steps is None else options.steps
    guidance = defaults.guidance if options.guidance is None else options.guidance
    levels = evaluated(SOLVERS[defaults.solver], sigmas(steps, defaults.shift))
    recorder = _Recorder(work, levels, options.times, 1 if guidance <= 1 else 2)
    clips = []
    with _Recorded(bundle, recorder, LoadOptions(options.threads)) as pipeline:
        for number, path in enumerate(paths):
            prompts = options.prompts or (" ".join(path.stem.replace("_", " ").replace("-", " ").split()),)
            prompt, seed = prompts[number % len(prompts)], options.seed + number
            seconds = min(inspect(path).info.duration, options.seconds)
            clip = read_clip(path, bundle.views(), end=seconds)
            recorder.begin(number)
            pipeline.generate(clip, prompt, seed=seed, num_steps=steps, guidance_scale=guidance)
            clips.append({"file": path.name, "sha256": sha256(path), "seconds": str(clip.duration),
                          "prompt": prompt, "seed": seed})  # fmt: skip
            say(f"{path.name}: {float(clip.duration):.1f} s, {prompt!r}, seed {seed}")
    record = {
        "schema": SCHEMA,
        "model": {"name": bundle.name, "version": bundle.version, "key": model_key(bundle)},
        "clips": clips,
        "steps": steps,
        "guidance": guidance,
        "samples": {name: [asdict(s) for s in made] for name, made in recorder.samples.items()},
    }
    return {**record, "identity": _identity(record)}


def _identity(record: Mapping[str, Any]) -> str:
    facts = {key: value for key, value in record.items() if key != "identity"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


@dataclass
class _Recorder:
    """Decides which runs are kept, and writes them."""

    folder: Path
    levels: Sequence[float]
    times: int
    branches: int
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    clip: int = 0
    calls: dict[str, int] = field(default_factory=dict)

    def begin(self, clip: int) -> None:
        self.clip, self.calls = clip, {}

    def starts(self, component: str) -> int:
        """Count a call of ``Graphs.run_many``; of the denoiser: one per noise level."""
        self.calls[component] = self.calls.get(component, -1) + 1
        return self.calls[component]

    def sees(self, component: str, call: int, number: int, arrays: Arrays) -> None:
        """``number``: which pass of the call."""
        if component != "denoiser":
            if call < PER_CLIP:
                self._keep(component, arrays, None, "")
            return
        # Of a clip longer than a window the first one: what the network sees there is like the others.
        branch, window = number % self.branches, number // self.branches
        last = len(self.levels) - 1
        asked = {round(last * i / max(self.times - 1, 1)) for i in range(self.times)}
        if call in asked and window == 0:
            self._keep(component, arrays, self.levels[call], "unconditional" if branch else "conditional")

    def _keep(self, component: str, arrays: Arrays, sigma: float | None, branch: str) -> None:
        entries = self.samples.setdefault(component, [])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stubs mix up its flags
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        if any(entry.sha256 == digest for entry in entries):
            return
        path = f"{component}.{len(entries):03d}.npz"
        (self.folder / path).write_bytes(buffer.getvalue())
        entries.append(Sample(path, digest, self.clip, sigma, branch))


class _Watched(Graphs):
    """Graphs that show a recorder what they are fed."""

    def __init__(self, bundle: Bundle, recorder: _Recorder, options: LoadOptions) -> None:
        super().__init__(bundle, get_backend("ort"), options)
        self.recorder = recorder

    def run_many(self, component: str, passes: Iterable[Pass]) -> Iterator[dict[str, npt.NDArray]]:
        """See ``Graphs``."""
        call = self.recorder.starts(component)
        return super().run_many(component, self._shown(component, call, passes))

    def _shown(self, component: str, call: int, passes: Iterable[Pass]) -> Iterator[Pass]:
        taken = self.bundle.components[component].inputs
        for number, (feeds, constants) in enumerate(passes):
            both = {**(constants or {}), **feeds}
            arrays = {name: np.asarray(array) for name, array in both.items() if name in taken}
            self.recorder.sees(component, call, number, arrays)
            yield feeds, constants


class _Recorded(Pipeline):
    """The pipeline on such graphs."""

    def __init__(self, bundle: Bundle, recorder: _Recorder, options: LoadOptions) -> None:
        super().__init__(bundle, get_backend("ort"), options)
        self._graphs = _Watched(bundle, recorder, options)
