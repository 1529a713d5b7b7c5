"""Clip and words in, sound out: encode -> denoise (a generator of steps) -> decode; ``generate`` joins them.

The pipeline cannot tell which back end it holds. Long clips are worked off in pieces of bounded memory:
pictures in batches, the sync encoder and the decoder in chunks with real context (same result as the whole),
the denoiser in overlapping windows (``velocity``).

Layer 3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from edgefoley.backends import get_backend
from edgefoley.backends.base import Backend, LoadOptions
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.encoders import (
    Cuts,
    look,
    named_sounds,
    piecewise_features,
    suggestion,
    sync_features,
    text_features,
    with_timbres,
)
from edgefoley.errors import BackendUnavailableError, BundleIntegrityError, NumericError, UsageError
from edgefoley.events import CHANNELS, EventList, likely_confidence, read_curve
from edgefoley.graphs import Graphs
from edgefoley.memory import Stopwatch, available_bytes, hold_little
from edgefoley.plan import Plan, Run, make_plan, parse_size, states_its_needs
from edgefoley.sampling import SOLVERS, evaluated, noise, sigmas
from edgefoley.timeline import DECODE_CHUNK, EVENT_RATE, chunks, grid_count
from edgefoley.types import (
    Audio,
    Clip,
    Conditioning,
    FloatArray,
    Foley,
    FrameView,
    Stats,
    Step,
    VideoInfo,
)
from edgefoley.velocity import VelocityField

CROSSFADE = 480  # samples: 10 ms
Progress = Callable[[str, float], None]
Memory = Literal["fast", "low"]


def _no_progress(stage: str, fraction: float) -> None:
    pass


class Pipeline:
    """One model on one back end. ``memory``: "fast" keeps every network open for the next clip, "low" closes
    each as soon as its part is done. ``memory_limit`` (bytes): see ``prepare``. Use as a context manager, or
    call ``close``."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        options: LoadOptions | None = None,
        memory: Memory = "fast",
        memory_limit: int | None = None,
    ) -> None:
        self.bundle, self.backend, self.memory = bundle, backend, memory
        self.memory_limit = memory_limit
        self.on_plan: Callable[[Plan], None] | None = None  # hears what ``prepare`` decided
        self._graphs = Graphs(bundle, backend, options or LoadOptions())
        self._graphs.keep = memory == "fast"

    @classmethod
    def open(
        cls,
        model: str | Path = "nano",
        backend: str = "ort",
        threads: int | None = None,
        memory: Memory = "fast",
        memory_limit: int | str | None = None,
    ) -> Pipeline:
        """Open a built-in model by name or a bundle's folder. ``threads`` None: as many as suit the machine.
        ``memory_limit``: bytes, or words like "4GB", that a run may take; see ``prepare``.

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
        limit = None if memory_limit is None else parse_size(memory_limit)
        return cls(open_bundle(model), engine, LoadOptions(threads=threads), memory, limit)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free every network; they are opened again if the pipeline is used again."""
        self._graphs.close()

    @property
    def graphs(self) -> Graphs:
        """The model's networks, opened as they are needed."""
        return self._graphs

    @property
    def plans_memory(self) -> bool:
        """Whether ``prepare`` has something to decide: there is a limit, or the model states its needs."""
        return self.memory_limit is not None or states_its_needs(self.bundle)

    def prepare(
        self,
        duration: Fraction,
        info: VideoInfo | None = None,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> Plan | None:
        """Decide how to run ``duration`` seconds within the memory limit, before anything is opened: which
        networks stay open, whether the denoiser's parts are opened one at a time. The sound is the same.

        Without a limit it is what the machine has left; None where nobody tells, or where the model does not
        state its needs. ``info``: the video, None for sound without one. Raises UsageError when the run does
        not fit, with what would.
        """
        steps, guidance = self.bundle.defaults.choose(num_steps, guidance_scale, "", info is not None)
        limit = self.memory_limit
        if limit is None and (not self.plans_memory or (limit := available_bytes()) is None):
            return None
        picture = (0, 0) if info is None else info.size
        run = Run(duration, info is not None, picture, 1 if guidance <= 1 else 2, steps)
        plan = make_plan(self.bundle, self.backend.name, run, limit, self.memory == "fast")
        hold_little()
        if not plan.keep:
            self._graphs.close()
        self._graphs.keep, self._graphs.streamed = plan.keep, plan.streamed
        if self.on_plan is not None:
            self.on_plan(plan)
        return plan

    @property
    def default_steps(self) -> int:
        """Denoising steps where the caller asks for none in particular."""
        return self.bundle.defaults.steps

    def check_event_curve(self) -> None:
        """Raise UsageError when the model has no event curve, so that events can be neither seen nor
        edited."""
        sync, rate = self.bundle.components["sync"], self.bundle.timeline.sync_rate
        width = sync.width("sync_feat")
        if width != CHANNELS or 2 * rate != EVENT_RATE or "event_logits" not in sync.outputs:
            raise UsageError(
                f"model {self.bundle.name!r} has no event curve: its sync encoder gives {width} features per "
                "frame instead of events. Lists of events work with the model nano, a shift of all sound "
                "(--offset-ms) with every model."
            )

    def events(self, clip: Clip) -> EventList:
        """What the sync encoder sees happen in ``clip``, counted from the clip's beginning; see
        ``events.read_curve``. Runs nothing but that encoder. Raises UsageError for a model without event
        curve."""
        self.check_event_curve()
        sync_feat, event_logits = sync_features(self._graphs, self._view(clip, "sync"))
        self._done("sync")
        found = read_curve(Conditioning(clip.duration, None, None, None, sync_feat, event_logits))
        assert found.probability is not None
        rule = self.bundle.components["sync"].attributes
        return replace(found, likely=likely_confidence(found.probability, rule, found.activity))

    def encode(
        self,
        clip: Clip | None,
        prompt: str = "",
        negative_prompt: str | None = None,
        duration: Fraction | None = None,
        on_progress: Progress | None = None,
        pieces: Iterable[Clip] | None = None,
    ) -> Conditioning:
        """What the encoders say about pictures and words. ``duration`` (seconds) is for sound without a clip.
        A clip without a prompt gets the one that its pictures suggest (``encoders.suggestion``). ``pieces``:
        the frames of a clip that has none itself, see ``encoders.piece_spans``.

        ``negative_prompt`` None: the model's default; it acts when guidance is above 1. Raises UsageError
        when there is neither clip nor prompt, or when clip and duration contradict.
        """
        seconds = self._duration(clip, prompt, duration)
        negative = self.bundle.defaults.negative_prompt if negative_prompt is None else negative_prompt
        report, watch = on_progress or _no_progress, Stopwatch()
        with watch.stage("encode"):
            report("encode", 0.0)
            visual_feat = sync_feat = event_logits = None
            suggested, cuts = False, tuple[Fraction, ...]()
            if clip is not None and pieces is not None:
                visual_feat, sync_feat, cuts = piecewise_features(self._graphs, clip.duration, pieces, report)
                self._done("visual", "sync")
            elif clip is not None:
                report("encode", 0.05)
                visual_feat, logits = look(self._graphs, self._view(clip, "visual"))
                self._done("visual")
                if not prompt.strip():
                    prompt = suggestion(self._graphs, logits)
                    suggested = bool(prompt)
                report("encode", 0.6)
                view, shots = self._view(clip, "sync"), Cuts(self.bundle, seconds)
                sync_feat, event_logits = sync_features(self._graphs, view)
                self._done("sync")
                shots.look(view)
                cuts = shots.found()
            text_feat, negative_feat = text_features(self._graphs, prompt, negative)
            timbres = named_sounds(self._graphs, prompt, negative)
            self._done("text")
            report("encode", 1.0)
        return Conditioning(
            seconds, text_feat, negative_feat, visual_feat, sync_feat, event_logits,
            prompt, negative, watch.stages, cuts, suggested, *timbres,
        )  # fmt: skip

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
        steps, guidance = self._choices(conditioning, num_steps, guidance_scale)
        levels = sigmas(steps, self.bundle.defaults.shift)
        asked = evaluated(SOLVERS[self._solver()], levels)
        shown = with_timbres(self.bundle, conditioning, seed)
        field = VelocityField(self._graphs, shown, guidance, asked)
        depth = int(self.bundle.components["denoiser"].attributes["latent_dim"])
        # Time runs first in the noise, so that a longer clip begins with the noise of a shorter one.
        start = np.ascontiguousarray(noise(seed, (field.count, depth)).T[None])
        return self._steps(field, start, levels)

    def decode(self, latents: FloatArray, duration: Fraction, on_progress: Progress | None = None) -> Audio:
        """Sound from latents (1, D, L), cut to exactly the samples of ``duration`` seconds. Mono.

        Chunks change over within ``CROSSFADE`` samples. A decoder that sees no further than its context gives
        the same in both; one that chooses phases for all of what it gets (nano's) does not, and would click.
        """
        report, timeline = on_progress or _no_progress, self.bundle.timeline
        count, wanted = latents.shape[-1], timeline.samples(duration)
        if count * timeline.hop < wanted:
            raise UsageError(
                f"{count} latents hold {count * timeline.hop} samples, {float(duration)} s need {wanted}."
            )
        samples = np.empty(count * timeline.hop, dtype=np.float32)
        tail = samples[:0]  # what the chunk before has beyond its end
        # One latent more than it needs: what of this is beside the chunk is right too.
        context = int(self.bundle.components["decoder"].attributes["context_latents"]) + 1
        report("decode", 0.0)
        for start, stop, first, last in chunks(count, DECODE_CHUNK, context):
            fed = np.ascontiguousarray(latents[:, :, first:last])
            wave = self._graphs.run("decoder", {"latents": fed})["waveform"].reshape(-1)
            if wave.size != (last - first) * timeline.hop:
                raise BundleIntegrityError(
                    f"the decoder of model {self.bundle.name!r} made {wave.size} samples of "
                    f"{last - first} latents, the timeline says {timeline.hop} each."
                )
            wave = wave[(start - first) * timeline.hop :]
            joined = min(CROSSFADE, tail.size, wave.size)
            fade = np.linspace(0, 1, joined, dtype=np.float32)
            wave[:joined] = tail[:joined] + (wave[:joined] - tail[:joined]) * fade
            size = (stop - start) * timeline.hop
            samples[start * timeline.hop : stop * timeline.hop], tail = wave[:size], wave[size:]
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
        steps, guidance = self._choices(conditioning, num_steps, guidance_scale)
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
            suggested=conditioning.suggested,
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
        num_steps, guidance_scale = self.bundle.defaults.choose(
            num_steps, guidance_scale, negative_prompt, clip is not None
        )
        if seed < 0:
            raise UsageError(f"the seed must be 0 or above, got {seed}.")
        seconds = self._duration(clip, prompt, duration)
        self.prepare(seconds, None if clip is None else clip.info, num_steps, guidance_scale)
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

    def _choices(self, c: Conditioning, steps: int | None, guidance: float | None) -> tuple[int, float]:
        return self.bundle.defaults.choose(steps, guidance, c.negative_prompt, c.visual_feat is not None)

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

    def _done(self, *components: str) -> None:
        self._graphs.done(*components)
