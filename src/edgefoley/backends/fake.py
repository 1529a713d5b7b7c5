"""A back end for tests: every component is a few lines of NumPy, so that runs are quick and answers known.

A graph file is a JSON object: {"component": NAME, "sizes": {"text": Dt, "visual": Dv, "sync": Ds, "latent":
D, "multiple": p, "hop": H, "size_visual": [h, w], "size_sync": [h, w]}}. ``tests/fake_bundle.py`` writes a
bundle of them. What the functions compute is in their docstrings; every input of the real networks has an
influence on the sound: prompt, pictures, ages, seed, steps, and with guidance the negative prompt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgefoley.backends.base import LoadOptions
from edgefoley.backends.feeds import check_feeds, check_outputs
from edgefoley.errors import BackendError
from edgefoley.types import FloatArray, TensorSpec

Arrays = Mapping[str, npt.NDArray]
CONTEXT = {"sync": 2, "decoder": 1}  # neighbours on each side that the two chunked components look at


class FakeBackend:
    """See the module; ``runs`` counts the runs of every component, for tests."""

    name = "fake"

    def __init__(self) -> None:
        self.runs: dict[str, int] = {}
        self.open: list[str] = []

    def available(self) -> str | None:
        """Always ready."""
        return None

    def load(self, path: Path, options: LoadOptions) -> FakeSession:
        """See ``base.Backend``; ``options`` change nothing here."""
        try:
            graph = json.loads(path.read_text(encoding="utf-8"))
            return FakeSession(graph["component"], graph["sizes"], self)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BackendError(f"{path} is not a graph of the fake back end: {error!r}") from error


class FakeSession:
    """One component; see ``base.Session``."""

    def __init__(self, component: str, sizes: Mapping[str, Any], backend: FakeBackend) -> None:
        self._component, self._sizes, self._backend = component, sizes, backend
        self._inputs, self._outputs = (
            {spec.name: spec for spec in specs} for specs in component_specs(component, sizes)
        )
        self._bound: dict[str, npt.NDArray] = {}
        self._closed = False
        backend.open.append(component)

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """See ``base.Session``."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """See ``base.Session``."""
        return self._outputs

    def bind(self, constants: Arrays) -> None:
        """See ``base.Session``."""
        self._check_open()
        check_feeds(self._component, self._inputs, constants, partial=True)
        self._bound.update(constants)

    def run(self, feeds: Arrays, outputs: Sequence[str] | None = None) -> dict[str, npt.NDArray]:
        """See ``base.Session``."""
        self._check_open()
        names = check_outputs(self._component, self._outputs, outputs)
        everything = {**self._bound, **feeds}
        check_feeds(self._component, self._inputs, everything)
        self._backend.runs[self._component] = self._backend.runs.get(self._component, 0) + 1
        try:
            values = _FUNCTIONS[self._component](everything, self._sizes)
        except ValueError as error:
            raise BackendError(f"{self._component}: the lengths of its inputs contradict: {error}") from error
        return {name: values[name] for name in names}

    def close(self) -> None:
        """See ``base.Session``."""
        if not self._closed:
            self._backend.open.remove(self._component)
        self._closed, self._bound = True, {}

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError(f"{self._component} was closed; load it again before running it.")


def component_specs(component: str, sizes: Mapping[str, Any]) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of a component; the bundle builder writes them into the manifest."""
    text, visual, sync, latent = sizes["text"], sizes["visual"], sizes["sync"], sizes["latent"]
    f, k, u = "float32", "int64", "uint8"
    features = [
        ("text_feat", (1, "T", text), f),
        ("visual_feat", (1, "M", visual), f),
        ("sync_feat", (1, "S", sync), f),
    ]
    per_component: dict[str, tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]] = {
        "text": ([("token_ids", (1, "T"), k), ("mask", (1, "T"), f)], [("text_feat", (1, "T", text), f)]),
        "visual": (
            [("frames", ("M", *sizes["size_visual"], 3), u)],
            [("visual_feat", ("M", visual), f)],
        ),
        "sync": (
            [("frames", (1, "S", *sizes["size_sync"]), u), ("ages", (1, "S"), f)],
            [("sync_feat", (1, "S", sync), f), ("event_logits", (1, "S2"), f)],
        ),
        "conditioner": (
            [
                *features,
                ("visual_present", (1,), f),
                ("sync_present", (1,), f),
                ("sync_index", ("N",), k),
                ("visual_position", ("M",), f),
            ],
            [("target", (1, latent, "N"), f), ("text_level", (1,), f)],
        ),
        "timestep": ([("t", (1,), f)], [("clock", (1,), f)]),
        "denoiser": (
            [
                ("latents", (1, latent, "L"), f),
                ("target", (1, latent, "N"), f),
                ("text_level", (1,), f),
                ("clock", (1,), f),
            ],
            [("velocity", (1, latent, "L"), f)],
        ),
        "decoder": ([("latents", (1, latent, "L"), f)], [("waveform", (1, 1, "samples"), f)]),
    }
    inputs, outputs = per_component[component]
    return [TensorSpec(*row) for row in inputs], [TensorSpec(*row) for row in outputs]


def _neighbours(x: FloatArray, reach: int) -> FloatArray:
    """Mean over the last axis' positions within ``reach``, zeros beyond the ends (as a padded convolution
    has)."""
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(reach, reach)])
    count = x.shape[-1]
    total = sum(padded[..., i : i + count] for i in range(2 * reach + 1))
    return np.asarray(total / np.float32(2 * reach + 1), dtype=np.float32)


def _text(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """text_feat[t, d] = sin((token + 1)(d + 1) / 7) where the mask is 1, else 0; row 0 is the mean of the
    others."""
    waves = np.sin((x["token_ids"][..., None] + 1) * np.arange(1, sizes["text"] + 1) / 7)
    feat = (waves * x["mask"][..., None]).astype(np.float32)
    feat[:, 0] = feat.sum(axis=1) / x["mask"].sum()
    return {"text_feat": feat}


def _visual(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """visual_feat[m, d] = brightness 0 … 1 of colour channel d mod 3, times cos(d)."""
    channels = x["frames"].mean(axis=(1, 2)) / 255
    d = np.arange(sizes["visual"])
    return {"visual_feat": (channels[:, d % 3] * np.cos(d)).astype(np.float32)}


def _sync(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """sync_feat[s, d] = cos(d) times the neighbourhood mean of brightness + ten times the age; the event
    logits are ten times what a frame has above its neighbourhood, twice."""
    level = (x["frames"].mean(axis=(2, 3)) / 255 + 10 * x["ages"]).astype(np.float32)
    near = _neighbours(level, CONTEXT["sync"])
    feat = near[..., None] * np.cos(np.arange(sizes["sync"]))
    return {
        "sync_feat": feat.astype(np.float32),
        "event_logits": np.repeat(10 * (level - near), 2, axis=1).astype(np.float32),
    }


def _conditioner(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """target[d, i] = what text, pictures (near ones more) and the token's sync row say; text_level is the
    text's sum."""
    tokens, d = len(x["sync_index"]), sizes["latent"]
    nearness = np.exp(-np.abs(2 * np.arange(tokens)[:, None] - x["visual_position"][None]) / 20)
    seen = x["visual_present"] * (nearness @ x["visual_feat"][0]).sum(axis=1) / sizes["visual"]
    moved = x["sync_present"] * x["sync_feat"][0, x["sync_index"]].sum(axis=1)
    said = float(x["text_feat"][0, 0].sum())
    rows = np.cos(np.arange(d))[:, None] * (seen + moved)[None] + np.sin(said * np.arange(1, d + 1))[:, None]
    return {"target": rows[None].astype(np.float32), "text_level": np.array([said], dtype=np.float32)}


def _timestep(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """clock = t / 1000."""
    return {"clock": (x["t"] / 1000).astype(np.float32)}


def _denoiser(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """velocity = 0.8 latents - (1 + 0.1 clock) target + 0.01 text_level; the target's tokens span p latents
    each."""
    target = np.repeat(x["target"], sizes["multiple"], axis=2)
    if target.shape != x["latents"].shape:
        raise BackendError(f"denoiser: latents {x['latents'].shape} do not fit the condition {target.shape}.")
    velocity = np.float32(0.8) * x["latents"] - (1 + np.float32(0.1) * x["clock"]) * target
    return {"velocity": (velocity + np.float32(0.01) * x["text_level"]).astype(np.float32)}


def _decoder(x: Arrays, sizes: Mapping[str, Any]) -> Arrays:
    """Each latent channel d sounds as a sine of 2 + 3 d periods per latent, its level the mean over the
    neighbours."""
    latents, hop = _neighbours(x["latents"][0], CONTEXT["decoder"]), sizes["hop"]
    tones = np.sin(2 * np.pi * np.outer(2 + 3 * np.arange(len(latents)), np.arange(hop)) / hop)
    wave = 0.5 * np.tanh(latents.T @ tones / len(latents))
    return {"waveform": wave.reshape(1, 1, -1).astype(np.float32)}


_FUNCTIONS: dict[str, Callable[[Arrays, Mapping[str, Any]], Arrays]] = {
    "text": _text,
    "visual": _visual,
    "sync": _sync,
    "conditioner": _conditioner,
    "timestep": _timestep,
    "denoiser": _denoiser,
    "decoder": _decoder,
}
