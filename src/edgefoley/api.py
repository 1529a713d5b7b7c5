"""A video in, sound out, in one call: reading, the pipeline, loudness and the files, put together.

The command line is a thin layer over ``generate`` and ``sound``: what it can do, a program can.

Layer 3.
"""

from __future__ import annotations

import math
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Unpack

import numpy as np

from edgefoley import media, mix, output, targets
from edgefoley._version import __version__
from edgefoley.bundle import bundle_folder, converted_bundles, known_bundles, open_bundle
from edgefoley.encoders import piece_spans
from edgefoley.errors import BundleError, UsageError
from edgefoley.event_files import read_event_file
from edgefoley.events import EventList, with_events, with_unseen_events
from edgefoley.memory import Stopwatch
from edgefoley.pipeline import Pipeline
from edgefoley.settings import (
    DRAWN_SEEDS,
    Seconds,
    Settings,
    SettingValues,
    SoundValues,
    exact,
    sound_seconds,
)
from edgefoley.soundtrack import moved
from edgefoley.source import excerpt
from edgefoley.targets import Target
from edgefoley.timeline import Timeline
from edgefoley.types import Audio, Clip, Foley, Stats

Progress = Callable[[str, float], None]
PathLike = str | os.PathLike[str]

_NOWHERE = Target(wav=None, video=None)


@dataclass(frozen=True)
class Take:
    """One result: the sound as written (loudness set) and the files that hold it (None: not asked for)."""

    foley: Foley
    wav: Path | None = None
    video: Path | None = None


@dataclass(frozen=True)
class ModelInfo:
    """A model with a name: ``bytes`` of all its files, ``backends`` that can run it, ``problem`` in words
    (None: its manifest and the sizes of its files are right)."""

    name: str
    folder: str
    version: str = ""
    licence: str = ""
    description: str = ""
    bytes: int = 0
    backends: tuple[str, ...] = ()
    problem: str | None = None


def list_models() -> list[ModelInfo]:
    """The built-in models, then the converted ones, each sorted by name; damaged ones are listed with their
    ``problem``."""
    return [_model_info(name) for name in (*known_bundles(), *converted_bundles())]


def generate(
    video: PathLike,
    prompt: str = "",
    *,
    output: PathLike | None = None,
    model: str | Path | Pipeline = "nano",
    on_progress: Progress | None = None,
    **settings: Unpack[SettingValues],
) -> list[Take]:
    """Make the sound of ``video`` and, when ``output`` names a place, write it. Returns the takes in order.

    ``output``: None writes nothing; a folder gets ``NAME.foley.wav`` and ``NAME.foley.mp4`` (.mkv where MP4
    cannot hold the pictures); a file ending in .wav gets the sound only, in .mp4, .m4v, .mov or .mkv the
    video only. ``model``: a name, a bundle's folder, or an open ``Pipeline`` (it stays open, which saves
    loading it again for the next clip). ``on_progress(stage, fraction)``: stages read, encode, then denoise,
    decode, level and, with an ``output``, write for every take. ``settings``: see ``Settings``.

    Raises EdgeFoleyError and leaves nothing partial behind. What could not be done as usual is a
    MediaWarning.
    """
    options, source = Settings(**settings), Path(video)
    start, end = exact(options.start, "start"), exact(options.end, "end")
    planned = _planned(source, source.stem, output, options)
    with _opened(model) as pipeline:
        run, watch = _Run(pipeline, prompt, options, on_progress, True), Stopwatch()
        # The clip is handed over, not kept here: its frames are let go when they are encoded.
        return run.takes(run.read(source, start, end, watch), None, planned, watch)


def find_events(
    video: PathLike,
    *,
    start: Seconds | None = None,
    end: Seconds | None = None,
    model: str | Path | Pipeline = "nano",
    on_progress: Progress | None = None,
) -> EventList:
    """When the model sees something happen in ``video`` that sounds, with the curves behind it; times count
    from the video's beginning. An edited copy goes back in as ``generate(video, events=...)``.

    ``on_progress(stage, fraction)`` hears "read" and "encode". Raises UsageError for a model without event
    curve, and the reader's errors.
    """
    begin, stop = exact(start, "start"), exact(end, "end")
    report = on_progress or _silent
    with _opened(model) as pipeline:
        pipeline.check_event_curve()
        views = {name: view for name, view in pipeline.bundle.views().items() if name == "sync"}
        report("read", 0.0)
        clip = media.read_clip(Path(video), views, begin, stop)
        report("read", 1.0)
        report("encode", 0.0)
        found = pipeline.events(clip).later(float(clip.start))
        report("encode", 1.0)
    return replace(found, source=str(video))


def sound(
    prompt: str,
    seconds: Seconds,
    *,
    output: PathLike | None = None,
    model: str | Path | Pipeline = "nano",
    on_progress: Progress | None = None,
    **settings: Unpack[SoundValues],
) -> list[Take]:
    """Make ``seconds`` (above 0, up to 3600) of sound from ``prompt`` alone. Everything else as ``generate``.

    ``output``: None writes nothing; a .wav file, or a folder (the file is then named after the prompt).
    """
    for name in settings:
        if name in SettingValues.__annotations__ and name not in SoundValues.__annotations__:
            raise UsageError(f"{name} needs a video; sound() takes {', '.join(SoundValues.__annotations__)}.")
    options, duration = Settings(**settings), sound_seconds(seconds)
    planned = _planned(None, targets.stem_of(prompt), output, options)
    with _opened(model) as pipeline:
        return _Run(pipeline, prompt, options, on_progress, False).takes(None, duration, planned, Stopwatch())


class _Run:
    """One call. The stages that its takes share are measured once and belong to the first take's costs."""

    def __init__(
        self, pipeline: Pipeline, prompt: str, options: Settings, progress: Progress | None, pictured: bool
    ) -> None:
        self.pipeline, self.prompt, self.options = pipeline, prompt, options
        self.progress = progress or _silent
        self.original: Audio | None = None
        self.edited: EventList | None = None
        if (given := options.events) is not None:
            pipeline.check_event_curve()
            self.edited = given if isinstance(given, EventList) else read_event_file(os.fspath(given))
        self.offset = exact(options.offset_ms, "offset_ms", "milliseconds") or Fraction(0)
        defaults = pipeline.bundle.defaults
        guidance = defaults.guidance_for(options.guidance_scale, options.negative_prompt, pictured)
        self.options = replace(options, guidance_scale=guidance)
        if options.negative_prompt and guidance <= 1:
            raise UsageError(
                f"the negative prompt {options.negative_prompt!r} would do nothing: it acts with guidance "
                f"above 1, and guidance is {guidance:g}. Ask for more (--guidance 2), or leave it out."
            )

    @contextmanager
    def stage(self, watch: Stopwatch, name: str) -> Iterator[None]:
        """Measure a stage and report its begin and end."""
        self.progress(name, 0.0)
        with watch.stage(name):
            yield
        self.progress(name, 1.0)

    def read(self, source: Path, start: Fraction | None, end: Fraction | None, watch: Stopwatch) -> Clip:
        """The clip with its frames; without them, where the memory limit has it read in pieces."""
        pipeline, options = self.pipeline, self.options
        if pipeline.plans_memory:
            info = media.probe(source)
            begin, stop = excerpt(source, info.duration, start, end)
            plan = pipeline.prepare(stop - begin, info, options.num_steps, options.guidance_scale)
            if plan is not None and plan.pieces:
                return Clip(info, begin, stop - begin, {})
        with self.stage(watch, "read"):
            views = pipeline.bundle.views()
            return media.read_clip(source, views, start, end, max_height=options.max_height)

    def pieces(self, clip: Clip) -> Iterator[Clip]:
        """The frames of a clip that has none itself."""
        views, height = self.pipeline.bundle.views(), self.options.max_height
        for start, stop in piece_spans(self.pipeline.bundle, clip.duration):
            span = clip.start + start, clip.start + stop
            yield media.read_clip(clip.info.path, views, *span, max_height=height)

    def takes(
        self, clip: Clip | None, length: Fraction | None, planned: Sequence[Target], before: Stopwatch
    ) -> list[Take]:
        """Encode once, then make every take. ``length`` (seconds) stands in for the clip; ``before``: stages
        so far."""
        options = self.options
        seed = secrets.randbelow(DRAWN_SEEDS) if options.seed is None else options.seed
        events = self.checked_events(clip, length)
        if length is not None:
            self.pipeline.prepare(length, None, options.num_steps, options.guidance_scale)
        pieces = None if clip is None or clip.views else self.pieces(clip)
        conditioning = self.pipeline.encode(
            clip, self.prompt, options.negative_prompt, length, self.progress, pieces
        )
        clip = None if clip is None else replace(clip, views={})
        conditioning = replace(conditioning, stages=(*before.stages, *conditioning.stages))
        if events is not None:
            conditioning = (with_unseen_events if clip is None else with_events)(conditioning, events)
        results = []
        for number, target in enumerate(planned):
            foley = self.pipeline.render(
                conditioning, seed + number, options.num_steps, options.guidance_scale, self.progress
            )
            results.append(self.finish(foley, clip, target))
            conditioning = replace(conditioning, stages=())
        return results

    def checked_events(self, clip: Clip | None, length: Fraction | None) -> EventList | None:
        """The list that was given, for this clip or so many seconds without one, if one was; checked with the
        offset before any work."""
        if clip is None:
            return None if self.edited is None or length is None else self.edited.of_sound(length)
        if abs(self.offset) >= 1000 * clip.duration:
            raise UsageError(
                f"offset_ms {float(self.offset):g} moves all of the sound out of the clip, which lasts "
                f"{float(clip.duration):.3f} s; take less."
            )
        if self.edited is None:
            return None
        here = self.edited.of_clip(clip)
        if self.edited.events and not here.events:
            name = self.edited.source or "the event list"
            note = f"{name}: none of its {len(self.edited.events)} events lies in the clip, which begins at "
            note += f"{float(clip.start):.3f} s; times count from the beginning of the video"
            warnings.warn(note, media.MediaWarning, stacklevel=2)
        return here

    def shifted(self, audio: Audio) -> Audio:
        """``audio`` moved by the offset, to the sample.

        The finished sound is moved, not the events before it is made: with the same seed it stays the same
        sound, which is what somebody who nudges it expects. Moved events would give another one, and only to
        the next 20 ms. The price is silence, as long as the offset, at the end that the sound leaves.
        """
        return moved(audio, math.floor(self.offset * audio.rate / 1000 + Fraction(1, 2)))

    def finish(self, foley: Foley, clip: Clip | None, target: Target) -> Take:
        """Set the loudness and write the files of one take: all of them or none."""
        watch = Stopwatch()
        with self.stage(watch, "level"):
            audio, level = mix.normalise_with_report(self.shifted(foley.audio), self.options.loudness)
        if not level.reached:
            warnings.warn(_why_not_reached(self.options.loudness, level), media.MediaWarning, stacklevel=2)
        measured = {
            "loudness_lufs": level.loudness_after,
            "true_peak_dbtp": level.true_peak,
            "gain_db": level.gain_db,
            "limited_db": level.limited_db,
            "offset_ms": float(self.offset),
            "events": None if self.edited is None else self.edited.source or "given",
        }
        foley = replace(foley, audio=audio, extra={**foley.extra, **measured})
        written = _NOWHERE
        if target.paths:
            with self.stage(watch, "write"):
                written = self.write(foley, clip, target)
        stats = Stats((*foley.stats.stages, *watch.stages), foley.stats.audio_seconds)
        return Take(replace(foley, stats=stats), written.wav, written.video)

    def write(self, foley: Foley, clip: Clip | None, target: Target) -> Target:
        """Write the files of one take; returns them as really named. On any exception neither remains."""
        overwrite, tags, video = self.options.overwrite, metadata_of(foley), None
        with targets.folder_for(target):
            if target.video is not None and clip is not None:
                video = self.write_video(target.video, foley, clip, tags)
            try:
                if target.wav is not None:
                    output.write_wav(target.wav, foley.audio, tags, overwrite)
            except BaseException:
                if video is not None:
                    video.unlink(missing_ok=True)  # or a second attempt would be refused because it exists
                raise
        return Target(wav=target.wav, video=video)

    def write_video(self, path: Path, foley: Foley, clip: Clip, tags: Mapping[str, str]) -> Path:
        """Copy the pictures and add the sound as ``original`` asks for; returns the path really written."""
        source, span = clip.info.path, (clip.start, clip.start + clip.duration)
        mixed = self.mixed(foley.audio, clip) if self.options.original in ("mix", "duck") else None
        if mixed is None:
            track = output.Track(foley.audio, "Foley")
        else:
            track, span = output.Track(mixed, "Original and foley"), (Fraction(0), clip.info.duration)
        keep, overwrite = self.options.original == "keep", self.options.overwrite
        written = output.write_video(path, source, [track], tags, keep, *span, overwrite=overwrite)
        if written != path:
            note = f"{path.name} cannot hold the streams of {source.name}; written as {written.name} instead"
            warnings.warn(note, media.MediaWarning, stacklevel=2)
        return written

    def mixed(self, foley: Audio, clip: Clip) -> Audio | None:
        """The video's own sound, all of it, with the new one at its place; None when the video has none."""
        source, mode = clip.info.path, self.options.original
        if self.original is None:
            self.original = media.read_audio(source, foley.rate)
        if self.original is None:
            note = f"{source} has no sound to {mode}; its only track is the new sound"
            warnings.warn(note, media.MediaWarning, stacklevel=2)
            return None
        placed = _placed(foley, clip.start, self.original)
        under = mix.duck(self.original, placed) if mode == "duck" else self.original
        return mix.limit(mix.add(under, placed))


def metadata_of(foley: Foley) -> dict[str, str]:
    """The tags of a written file: who made it and everything needed to make it again."""
    facts = {"model": foley.model, "prompt": foley.prompt}
    if foley.suggested:
        facts["prompt"] += " (suggested by the picture)"
    if foley.guidance_scale > 1:
        facts["negative prompt"] = foley.negative_prompt
    facts |= {"seed": str(foley.seed), "steps": str(foley.num_steps), "guidance": f"{foley.guidance_scale:g}"}
    if foley.extra.get("events") is not None:
        facts["events"] = Path(foley.extra["events"]).name
    if foley.extra.get("offset_ms"):
        facts["offset"] = f"{foley.extra['offset_ms']:g} ms"
    words = "; ".join(f"{name}: {value}" for name, value in facts.items())
    return {"comment": f"Machine-generated by edgefoley {__version__}; {words}"}


def _placed(foley: Audio, start: Fraction, whole: Audio) -> Audio:
    """``foley`` at ``start`` seconds in silence as long as ``whole``."""
    first = Timeline(sample_rate=foley.rate).samples(start) if start else 0
    samples = np.zeros(whole.samples.shape[-1], dtype=np.float32)
    part = foley.samples[: samples.size - first]
    samples[first : first + part.size] = part
    return Audio(samples, foley.rate)


def _why_not_reached(asked: float, level: mix.LevelReport) -> str:
    if level.loudness_before == float("-inf"):
        return "the sound is silent, so its loudness was not set"
    return (
        f"the sound has {level.loudness_after:.1f} LUFS instead of {asked:g}: more gain would have raised "
        "noise or flattened its attacks"
    )


def _planned(source: Path | None, stem: str, place: PathLike | None, options: Settings) -> tuple[Target, ...]:
    """The files of every take, checked; no files when there is no place."""
    if place is None:
        return (_NOWHERE,) * options.takes
    planned = targets.plan(place, stem, options.takes, sound_only=source is None)
    targets.check([(source, planned)], options.overwrite)
    return planned


@contextmanager
def _opened(model: str | Path | Pipeline) -> Iterator[Pipeline]:
    """An open pipeline: the caller's own, which stays open, or one for this call."""
    if isinstance(model, Pipeline):
        yield model
    else:
        with Pipeline.open(model) as pipeline:
            yield pipeline


def _model_info(name: str) -> ModelInfo:
    folder = str(bundle_folder(name))
    try:
        bundle = open_bundle(name)
    except BundleError as error:
        return ModelInfo(name, folder, problem=str(error))
    size = sum(artefact.bytes for artefact in bundle.files)
    return ModelInfo(name, folder, bundle.version, bundle.licence, bundle.description, size, bundle.backends)


def _silent(stage: str, fraction: float) -> None:
    pass
