"""What a model sees in a video, in words: things and when they change, events, and a prompt that would fit.

Nothing is generated: only the image encoder and the sync encoder run.

Layer 3.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from edgefoley import media
from edgefoley.bundle import Bundle
from edgefoley.classes import ClassTable, Sound, prompts, read_class_table
from edgefoley.encoders import class_probabilities, look
from edgefoley.errors import UsageError
from edgefoley.events import EventList
from edgefoley.pipeline import Pipeline
from edgefoley.settings import Seconds, exact
from edgefoley.types import Clip, FloatArray

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Stretch:
    """From ``start_s`` to ``end_s`` (seconds from the video's beginning) the picture shows about the same:
    mean ``probabilities`` (classes,), and what that suggests, the best first, each with a score 0 … 1."""

    start_s: float
    end_s: float
    probabilities: FloatArray
    sounds: tuple[tuple[Sound, float], ...]


@dataclass(frozen=True, eq=False)
class Seen:
    """What the image encoder saw: over the ``whole`` clip, and in ``stretches`` in order (one where nothing
    changes). ``table`` names the classes."""

    table: ClassTable
    whole: Stretch
    stretches: tuple[Stretch, ...]

    @property
    def prompts(self) -> dict[str, str]:
        """Language ("en", "zh") -> suggested prompt; "" where nothing is seen well enough."""
        return prompts(list(self.whole.sounds))


@dataclass(frozen=True)
class EventSummary:
    """How much happens: ``count`` events, ``likely`` of them with this ``confidence`` or more, ``rate_hz``
    likely ones per second, their mean ``strength`` 0 … 1 (None without any), and the mean ``activity``
    0 … 1 over the clip."""

    count: int
    likely: int
    confidence: float
    rate_hz: float
    strength: float | None
    activity: float


@dataclass(frozen=True, eq=False)
class Description:
    """``start_s`` and ``duration_s`` seconds of what was looked at; ``seen`` and ``events`` are None where
    the model cannot tell, and ``missing`` says why in words."""

    start_s: float
    duration_s: float
    seen: Seen | None
    events: EventSummary | None
    missing: tuple[str, ...]


def describe(
    video: str | os.PathLike[str],
    *,
    start: Seconds | None = None,
    end: Seconds | None = None,
    model: str | Path | Pipeline = "nano",
    on_progress: Progress | None = None,
) -> Description:
    """Look at ``video`` and tell what the model sees in it. ``model``: a name, a bundle's folder, or an open
    ``Pipeline``. ``on_progress(stage, fraction)`` hears "read" and "encode".

    Raises UsageError for a model that can tell neither things nor events, and the reader's errors.
    """
    begin, stop = exact(start, "start"), exact(end, "end")
    report = on_progress or _silent
    with nullcontext(model) if isinstance(model, Pipeline) else Pipeline.open(model) as pipeline:
        table, missing = _table(pipeline.bundle)
        eventful = True
        try:
            pipeline.check_event_curve()
        except UsageError as error:
            eventful, missing = False, (*missing, str(error))
        wanted = {"visual": table is not None, "sync": eventful}
        if not any(wanted.values()):
            raise UsageError(" ".join(missing))
        report("read", 0.0)
        views = {name: view for name, view in pipeline.bundle.views().items() if wanted[name]}
        clip = media.read_clip(Path(video), views, begin, stop)
        report("read", 1.0)
        report("encode", 0.0)
        seen = None if table is None else _seen(pipeline, table, clip)
        events = summarise(pipeline.events(clip)) if eventful else None
        report("encode", 1.0)
    return Description(float(clip.start), float(clip.duration), seen, events, missing)


def summarise(found: EventList) -> EventSummary:
    """The numbers of a list with its curves, as ``Pipeline.events`` returns it."""
    likely = [event.strength for event in found.likely_events]
    seconds, curve = found.duration_s or 0.0, found.activity
    return EventSummary(
        len(found.events),
        len(likely),
        found.likely,
        len(likely) / seconds if seconds else 0.0,
        float(np.mean(likely)) if likely else None,
        float(curve.mean()) if curve is not None and curve.size else 0.0,
    )


def _table(bundle: Bundle) -> tuple[ClassTable | None, tuple[str, ...]]:
    """The bundle's class table, or why there is none."""
    if "class_logits" not in bundle.components["visual"].outputs:
        why = "its image encoder does not name things, it only compares them"
        return None, (f"Model {bundle.name!r} cannot say what it sees: {why}. Use the model nano.",)
    path = bundle.classes_path()
    if path is None:
        why = "the bundle has no class table (classes.json)"
        return None, (
            f"Model {bundle.name!r} cannot name what it sees: {why}. Use a bundle exported by a newer "
            "version of edgefoley.",
        )
    return read_class_table(path), ()


def _seen(pipeline: Pipeline, table: ClassTable, clip: Clip) -> Seen:
    frames = clip.views["visual"].frames
    logits = look(pipeline.graphs, clip.views["visual"])[1]
    assert logits is not None  # ``_table`` gives none for a model without
    probabilities = class_probabilities(pipeline.bundle, table, logits)
    pipeline.graphs.done("visual")
    rate = pipeline.bundle.timeline.visual_rate

    def stretch(first: int, last: int) -> Stretch:
        mean = probabilities[first:last].mean(axis=0, dtype=np.float64).astype(np.float32)
        end = clip.duration if last == len(frames) else last / rate
        sounds = tuple(table.suggest(mean))
        return Stretch(float(clip.start + Fraction(first) / rate), float(clip.start + end), mean, sounds)

    cuts = table.stretches(probabilities)
    return Seen(table, stretch(0, len(frames)), tuple(stretch(*cut) for cut in cuts))


def _silent(stage: str, fraction: float) -> None:
    pass
