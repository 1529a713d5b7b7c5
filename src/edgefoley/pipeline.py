"""Clip and words in, sound out: encode -> denoise (a generator of steps) -> decode; ``generate`` joins them.

The pipeline cannot tell which back end it holds. Long clips are worked off in pieces of bounded memory:
pictures in batches, the sync encoder and the decoder in chunks with real context (same result as the whole),
the denoiser in overlapping windows (``velocity``).

Layer 3.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from edgefoley.backends import get_backend
from edgefoley.backends.base import Backend, LoadOptions
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.errors import BackendUnavailableError, BundleIntegrityError, NumericError, UsageError
from edgefoley.graphs import Graphs
from edgefoley.memory import Stopwatch
from edgefoley.preprocess import tokenize
from edgefoley.sampling import SOLVERS, noise, sigmas
from edgefoley.timeline import chunks, grid_count
from edgefoley.types import Audio, Clip, Conditioning, FloatArray, Foley, FrameView, Stats, Step
from edgefoley.velocity import VelocityField

Progress = Callable[[str, float], None]
Memory = Literal["fast", "low"]

SYNC_CHUNK = 250  # frames: 10 s at once keep the encoder's activations small
DECODE_CHUNK = 500  # latents


def _no_progress(stage: str, fraction: float) -> None:
    pass


class Pipeline:
    """One model on one back end. ``memory``: "fast" keeps every network open for the next clip, "low" closes
    each as soon as its part is done. Use as a context manager, or call ``close``."""

    def __init__(
        self, bundle: Bundle, backend: Backend, options: LoadOptions | None = None, memory: Memory = "fast"
    ) -> None:
        self.bundle, self.backend, self.memory = bundle, backend, memory
        self._graphs = Graphs(bundle, backend, options or LoadOptions())

    @classmethod
    def open(
        cls,
        model: str | Path = "nano",
        backend: str = "ort",
        threads: int | None = None,
        memory: Memory = "fast",
    ) -> Pipeline:
        """Open a built-in model by name or a bundle's folder. ``threads`` None: as many as suit the machine.

        Raises UsageError, BundleError or BackendUnavailableError. The networks are opened when they are first
        needed.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, got {threads}.")
        if memory not in ("fast", "low"):
            raise UsageError(f"memory must be 'fast' or 'low', not {memory!r}.")
        engine = get_backend(backend)
        reason = engine.available()
        if reason is not None:
            raise BackendUnavailableError(reason)
        return cls(open_bundle(model), engine, LoadOptions(threads=threads), memory)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free every network; they are opened again if the pipeline is used again."""
        self._graphs.close()

    @property
    def default_steps(self) -> int:
        """Denoising steps where the caller asks for none in particular."""
        return self.bundle.defaults.steps

    def encode(
        self,
        clip: Clip | None,
        prompt: str = "",
        negative_prompt: str | None = None,
        duration: Fraction | None = None,
        on_progress: Progress | None = None,
    ) -> Conditioning:
        """What the encoders say about pictures and words. ``duration`` (seconds) is for sound without a clip.

        ``negative_prompt`` None: the model's default; it acts when guidance is above 1. Raises UsageError
        when there is neither clip nor prompt, or when clip and duration contradict.
        """
        seconds = self._duration(clip, prompt, duration)
        negative = self.bundle.defaults.negative_prompt if negative_prompt is None else negative_prompt
        report, watch = on_progress or _no_progress, Stopwatch()
        with watch.stage("encode"):
            report("encode", 0.0)
            text_feat, negative_feat = self._text(prompt), self._text(negative)
            self._done("text")
            visual_feat = sync_feat = event_logits = None
            if clip is not None:
                report("encode", 0.05)
                visual_feat = self._visual(self._view(clip, "visual"))
                self._done("visual")
                report("encode", 0.6)
                sync_feat, event_logits = self._sync(self._view(clip, "sync"))
                self._done("sync")
            report("encode", 1.0)
        return Conditioning(
            seconds,
            text_feat,
            negative_feat,
            visual_feat,
            sync_feat,
            event_logits,
            prompt,
            negative,
            watch.stages,
        )

    def denoise(
        self,
        conditioning: Conditioning,
        seed: int,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Iterator[Step]:
        """From noise to latents (1, D, L), one ``Step`` at a time; None leaves a choice to the model's
        defaults.

        ``guidance_scale`` up to 1 costs one pass per step, above it two. Raises UsageError at once,
        NumericError at the step where values stop being finite.
        """
        steps, guidance = self._choices(num_steps, guidance_scale)
        levels = sigmas(steps, self.bundle.defaults.shift)
        field = VelocityField(self._graphs, conditioning, guidance)
        depth = int(self.bundle.components["denoiser"].attributes["latent_dim"])
        # Time runs first in the noise, so that a longer clip begins with the noise of a shorter one.
        start = np.ascontiguousarray(noise(seed, (field.count, depth)).T[None])
        return self._steps(field, start, levels)

    def decode(self, latents: FloatArray, duration: Fraction, on_progress: Progress | None = None) -> Audio:
        """Sound from latents (1, D, L), cut to exactly the samples of ``duration`` seconds. Mono."""
        report, timeline = on_progress or _no_progress, self.bundle.timeline
        count, wanted = latents.shape[-1], timeline.samples(duration)
        if count * timeline.hop < wanted:
            raise UsageError(
                f"{count} latents hold {count * timeline.hop} samples, {float(duration)} s need {wanted}."
            )
        samples = np.empty(count * timeline.hop, dtype=np.float32)
        context = int(self.bundle.components["decoder"].attributes["context_latents"])
        report("decode", 0.0)
        for start, stop, first, last in chunks(count, DECODE_CHUNK, context):
            fed = np.ascontiguousarray(latents[:, :, first:last])
            wave = self._graphs.run("decoder", {"latents": fed})["waveform"].reshape(-1)
            if wave.size != (last - first) * timeline.hop:
                raise BundleIntegrityError(
                    f"the decoder of model {self.bundle.name!r} made {wave.size} samples of "
                    f"{last - first} latents, the timeline says {timeline.hop} each."
                )
            offset = (start - first) * timeline.hop
            size = (stop - start) * timeline.hop
            samples[start * timeline.hop : stop * timeline.hop] = wave[offset : offset + size]
            report("decode", stop / count)
        self._done("decoder")
        return Audio(samples[:wanted], timeline.sample_rate)

    def render(
        self,
        conditioning: Conditioning,
        seed: int = 0,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
        on_progress: Progress | None = None,
    ) -> Foley:
        """One take from what ``encode`` returned. The stats begin with the conditioning's own stages; for a
        further take of the same conditioning, pass ``replace(conditioning, stages=())`` to count the encoders
        once."""
        steps, guidance = self._choices(num_steps, guidance_scale)
        report, watch = on_progress or _no_progress, Stopwatch()
        with watch.stage("denoise"):
            report("denoise", 0.0)
            for step in self.denoise(conditioning, seed, steps, guidance):
                report("denoise", step.index / step.total)
            self._done("conditioner", "timestep", "denoiser")
        with watch.stage("decode"):
            audio = self.decode(step.latents, conditioning.duration, report)
        return Foley(
            audio=audio,
            stats=Stats((*conditioning.stages, *watch.stages), audio.seconds),
            model=self.bundle.name,
            prompt=conditioning.prompt,
            negative_prompt=conditioning.negative_prompt,
            seed=seed,
            num_steps=steps,
            guidance_scale=guidance,
            backend=self.backend.name,
        )

    def generate(
        self,
        clip: Clip | None,
        prompt: str = "",
        negative_prompt: str | None = None,
        seed: int = 0,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
        on_progress: Progress | None = None,
        duration: Fraction | None = None,
    ) -> Foley:
        """``encode`` and ``render`` in one call. ``on_progress(stage, fraction)`` hears "encode", "denoise"
        and "decode", each from 0 to 1."""
        self._choices(num_steps, guidance_scale)
        if seed < 0:
            raise UsageError(f"the seed must be 0 or above, got {seed}.")
        conditioning = self.encode(clip, prompt, negative_prompt, duration, on_progress)
        return self.render(conditioning, seed, num_steps, guidance_scale, on_progress)

    def _steps(self, field: VelocityField, start: FloatArray, levels: tuple[float, ...]) -> Iterator[Step]:
        solver = SOLVERS[self._solver()]
        before, total = time.perf_counter(), len(levels) - 1
        for index, sigma, latents in solver(field, start, levels):
            if not np.isfinite(latents).all():
                raise NumericError(
                    f"the latents are not finite after step {index} of {total}. No sound was made."
                )
            now = time.perf_counter()
            yield Step(index, total, sigma, latents, now - before)
            before = time.perf_counter()

    def _solver(self) -> str:
        solver = self.bundle.defaults.solver
        if solver not in SOLVERS:
            raise BundleIntegrityError(
                f"model {self.bundle.name!r} asks for the solver {solver!r}; known: {', '.join(SOLVERS)}."
            )
        return solver

    def _choices(self, num_steps: int | None, guidance_scale: float | None) -> tuple[int, float]:
        defaults = self.bundle.defaults
        steps = defaults.steps if num_steps is None else num_steps
        guidance = defaults.guidance if guidance_scale is None else float(guidance_scale)
        if steps < 1:
            raise UsageError(f"steps must be at least 1, got {steps}.")
        if not (math.isfinite(guidance) and guidance >= 0):
            raise UsageError(f"guidance must be 0 or above, got {guidance}.")
        return steps, guidance

    def _duration(self, clip: Clip | None, prompt: str, duration: Fraction | None) -> Fraction:
        if clip is None:
            if not prompt.strip():
                raise UsageError(
                    "there is neither a clip nor a prompt, so there is nothing to make a sound of."
                )
            if duration is None or not duration > 0:
                raise UsageError(f"sound without a clip needs a duration above 0 seconds, got {duration}.")
            return Fraction(duration)
        if duration is not None and duration != clip.duration:
            raise UsageError(
                f"the clip lasts {float(clip.duration)} s; another duration ({duration}) cannot be asked for."
            )
        return clip.duration

    def _view(self, clip: Clip, name: str) -> FrameView:
        wanted, view = self.bundle.views()[name], clip.views.get(name)
        count = grid_count(clip.duration, wanted.rate)
        shape = (count, *wanted.size, 3) if wanted.pixel == "rgb" else (count, *wanted.size)
        if view is None or view.frames.shape != shape:
            found = "none" if view is None else view.frames.shape
            raise UsageError(
                f"the clip's {name!r} frames are {found}, model {self.bundle.name!r} takes {shape}. "
                "Read the clip with media.read_clip(path, pipeline.bundle.views())."
            )
        return view

    def _text(self, text: str) -> FloatArray:
        token_ids, mask = tokenize(self.bundle.tokenizer_path(), text)
        feat: FloatArray = self._graphs.run("text", {"token_ids": token_ids, "mask": mask})["text_feat"]
        return feat

    def _visual(self, view: FrameView) -> FloatArray:
        batch = int(self.bundle.components["visual"].attributes["batch"])
        rows = [
            self._graphs.run("visual", {"frames": np.ascontiguousarray(view.frames[i : i + batch])})[
                "visual_feat"
            ]
            for i in range(0, len(view.frames), batch)
        ]
        return np.concatenate(rows)[None]

    def _sync(self, view: FrameView) -> tuple[FloatArray, FloatArray | None]:
        context = int(self.bundle.components["sync"].attributes["context_frames"])
        feats, events = [], []
        for start, stop, first, last in chunks(len(view.frames), SYNC_CHUNK, context):
            feeds = {"frames": view.frames[None, first:last], "ages": view.ages[None, first:last]}
            out = self._graphs.run(
                "sync", {name: np.ascontiguousarray(array) for name, array in feeds.items()}
            )
            feats.append(out["sync_feat"][:, start - first : stop - first])
            if "event_logits" in out:
                events.append(out["event_logits"][:, 2 * (start - first) : 2 * (stop - first)])
        return np.concatenate(feats, axis=1), np.concatenate(events, axis=1) if events else None

    def _done(self, *components: str) -> None:
        if self.memory == "low":
            self._graphs.close(components)
