"""Compare two sides over a set of clips: every clip's figures, and means with paired 95 % intervals.

An interval is a percentile bootstrap over clips (``metrics.event_scores``); of a difference the same clips
are drawn on both sides. A figure stands for the clips that have it on both sides, and says for how many. What
was not measured is named with the reason, and so is every clip that was left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgefoley.errors import MediaReadError
from edgefoley.evaluation import measures as m
from edgefoley.evaluation.embedders import Aisfx, Embedder, Pieces, Tagger, aisfx_missing
from edgefoley.evaluation.forwards import Forward, forwards, why_not
from edgefoley.evaluation.sides import EvaluationError, Made, Options, Say, Side, duration_of, sounds_of
from edgefoley.media import read_audio
from edgefoley.metrics.event_scores import chance_f1, interval
from edgefoley.metrics.set_distance import frechet_distance, kernel_change, kernel_distance
from edgefoley.timeline import SAMPLE_RATE, Timeline
from edgefoley.types import Audio

Interval = dict[str, float]
SIDES: Final = ("a", "b")
TIMELINE: Final = Timeline(sample_rate=SAMPLE_RATE)


@dataclass(frozen=True)
class Extras:
    """What is measured only when asked for or installed. ``aisfx``: its unpacked folder (None: the installed
    package, if any); ``tagger``: an ONNX file and its output; ``predict`` False: no models of listeners."""

    aisfx: Path | None = None
    tagger: Path | None = None
    tagger_output: str | None = None
    predict: bool = True


@dataclass
class Comparison:
    """The result. ``clips``: name -> {"a", "b", "between"} -> figures; ``summary``: measure -> what
    ``paired`` says, or {"between", "n"}; ``sets``: distances between sets of sounds; ``forwards``: every
    forward; ``sounds``: what was compared, for listening."""

    a: str
    b: str
    clips: dict[str, dict[str, m.Figures]]
    summary: dict[str, dict[str, Any]]
    sets: dict[str, Any] = field(default_factory=dict)
    forwards: list[Forward] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sounds: dict[str, dict[str, Audio]] = field(default_factory=dict)


def compare(
    a: Side, b: Side, clips: Mapping[str, Path], options: Options, extras: Extras, say: Say
) -> Comparison:
    """Everything. Raises EvaluationError when no clip has sound on both sides, UsageError for a tagger or
    aisfx folder that is none, and what running a model raises."""
    embedders, missing = _embedders(extras)
    made = {name: sounds_of(side, clips, options, say) for name, side in zip(SIDES, (a, b), strict=True)}
    left_out = _left_out(clips, made)
    kept = {clip: video for clip, video in clips.items() if clip not in left_out}
    if not kept:
        why = "; ".join(f"{clip}: {reason}" for clip, reason in list(left_out.items())[:3])
        raise EvaluationError(f"no clip has a sound on both sides ({why}).")
    result = Comparison(a.label, b.label, {}, {}, left_out=left_out, not_measured=missing)
    result.sounds = {clip: {name: made[name].sounds[clip] for name in SIDES} for clip in kept}
    _measure(result, kept, embedders, extras, say)
    _extra_files(result, (a, b), clips)
    reason = why_not(a.bundle, b.bundle)
    if reason is not None or a.bundle is None or b.bundle is None:
        result.not_measured["velocity_sqnr_db"] = reason or ""
    else:
        result.forwards = forwards(a.bundle, b.bundle, kept, options, say)
    return result


def _embedders(extras: Extras) -> tuple[list[Embedder], dict[str, str]]:
    found: list[Embedder] = []
    missing: dict[str, str] = {}
    reason = None if extras.aisfx is not None else aisfx_missing()
    if reason is None:
        found.append(Aisfx(extras.aisfx))
    else:
        missing |= dict.fromkeys(("aisfx_cosine", "true_aisfx_cosine", "fd_aisfx", "kd_aisfx"), reason)
    if extras.tagger is not None:
        found.append(Tagger(extras.tagger, extras.tagger_output))
    else:
        missing["fd_tagger"] = missing["kd_tagger"] = (
            "name a tagger's ONNX file with --tagger; none is shipped"
        )
    return found, missing


def _left_out(clips: Mapping[str, Path], made: Mapping[str, Made]) -> dict[str, str]:
    out = {}
    for clip in clips:
        reasons = [made[name].problems[clip] for name in SIDES if clip in made[name].problems]
        if reasons:
            out[clip] = "; ".join(dict.fromkeys(reasons))
    return out


def _extra_files(result: Comparison, sides: Sequence[Side], clips: Mapping[str, Path]) -> None:
    for side in sides:
        extra = [stem for stem in side.files or {} if stem not in clips]
        if extra:
            result.notes.append(
                f"{side.label}: {len(extra)} sounds belong to no clip ({', '.join(extra[:3])} …)"
            )


def _measure(
    result: Comparison, kept: Mapping[str, Path], embedders: Sequence[Embedder], extras: Extras, say: Say
) -> None:
    seconds = {clip: duration_of(video) for clip, video in kept.items()}
    lengths = {clip: TIMELINE.samples(value) for clip, value in seconds.items()}
    heard = {
        name: {clip: m.heard(result.sounds[clip][name], lengths[clip]) for clip in kept} for name in SIDES
    }
    heard["true"] = _true_sounds(result, kept, lengths)
    pieces = {e.name: {name: m.embedded(sounds, e) for name, sounds in heard.items()} for e in embedders}
    predictors, absent = m.predictors_here()
    if not extras.predict:
        predictors, absent = [], dict.fromkeys(m.PREDICTORS, "left out on request (--no-predictors)")
    result.not_measured |= absent
    aisfx = pieces.get("aisfx", {})
    for clip in kept:
        sounds = result.sounds[clip]
        figures = {
            name: m.own_figures(sounds[name], heard[name][clip], float(seconds[clip])) for name in SIDES
        }
        if clip in heard["true"]:
            for name in SIDES:
                both = _both(aisfx, clip, name, "true")
                figures[name] |= m.true_figures(heard[name][clip], heard["true"][clip], both)
        figures["between"] = m.between_figures(
            heard["a"][clip], heard["b"][clip], _both(aisfx, clip, "a", "b"), predictors
        )
        result.clips[clip] = figures
        say(f"measured: {clip}")
    _chance(result, heard, {clip: float(value) for clip, value in seconds.items()})
    _summarise(result)
    for embedder in embedders:
        result.sets |= _set_distances(embedder.name, pieces[embedder.name])


def _true_sounds(
    result: Comparison, kept: Mapping[str, Path], lengths: Mapping[str, int]
) -> dict[str, m.Heard]:
    found = {}
    for clip, video in kept.items():
        try:
            audio = read_audio(video)
        except MediaReadError as error:
            result.notes.append(f"{clip}: its own sound cannot be read ({error})")
            continue
        if audio is not None:
            found[clip] = m.heard(audio, lengths[clip])
    found = {clip: sound for clip, sound in found.items() if not sound.silent}
    if not found:
        result.not_measured |= dict.fromkeys(m.AGAINST_TRUE, "no clip has a sound of its own")
    elif len(found) < len(kept):
        silent = [clip for clip in kept if clip not in found]
        result.notes.append(f"no sound of their own to compare with: {', '.join(silent)}")
    return found


def _both(
    pieces: Mapping[str, Mapping[str, Pieces]], clip: str, first: str, second: str
) -> tuple[Pieces, Pieces] | None:
    a, b = pieces.get(first, {}).get(clip), pieces.get(second, {}).get(clip)
    return None if a is None or b is None else (a, b)


def _chance(
    result: Comparison, heard: Mapping[str, Mapping[str, m.Heard]], seconds: Mapping[str, float]
) -> None:
    clips = list(heard["true"])
    true = [heard["true"][clip].onsets for clip in clips]
    lengths = [seconds[clip] for clip in clips]
    for name in SIDES:
        found = [heard[name][clip].onsets for clip in clips]
        for clip, value in zip(clips, chance_f1(found, true, lengths, m.TOLERANCE), strict=True):
            figures = result.clips[clip][name]
            figures["onset_f1_chance"] = float(value)
            figures["onset_f1_gain"] = figures["onset_f1"] - float(value)
    if clips and all(math.isnan(result.clips[c]["a"]["onset_f1_chance"]) for c in clips):
        why = "no two clips with sound of their own are about as long"
        result.not_measured |= {"onset_f1_chance": why, "onset_f1_gain": why}


def _summarise(result: Comparison) -> None:
    for name in (*m.OWN, *m.AGAINST_TRUE):
        values = [[row[side].get(name, math.nan) for row in result.clips.values()] for side in SIDES]
        found = paired(*values)
        if found is not None:
            result.summary[name] = found
    for name in m.BETWEEN:
        single = [row["between"][name] for row in result.clips.values()]
        finite = [value for value in single if math.isfinite(value)]
        if finite:
            result.summary[name] = {"between": _interval(finite), "n": len(finite)}
        elif name not in result.not_measured:
            result.not_measured[name] = "one of the two is silent in every clip"


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, Any] | None:
    """Means of both with intervals, and of second minus first, over the clips in which both are finite."""
    pairs = [(x, y) for x, y in zip(first, second, strict=True) if math.isfinite(x) and math.isfinite(y)]
    if not pairs:
        return None
    a, b = np.array(pairs).T
    return {"a": _interval(a), "b": _interval(b), "difference": _interval(b - a), "n": len(pairs)}


def _interval(values: Sequence[float] | np.ndarray[Any, Any]) -> Interval:
    """Of one clip alone there is none: a bootstrap would call it certain."""
    found = interval(values)
    return found if len(values) > 1 else found | {"low": math.nan, "high": math.nan}


def _set_distances(name: str, pieces: Mapping[str, Mapping[str, Pieces]]) -> dict[str, Any]:
    """Fréchet and kernel distance by this embedder, between the sides and of each to the true sounds."""
    clips = [clip for clip in pieces["a"] if clip in pieces["b"]]
    heard = [clip for clip in clips if clip in pieces["true"]]
    lists = {side: [pieces[side][clip] for clip in clips] for side in SIDES}
    found: dict[str, Any] = {
        f"fd_{name}": {"a_b": _frechet(lists["a"], lists["b"])},
        f"kd_{name}": {"a_b": kernel_distance(lists["a"], lists["b"]) if len(clips) > 1 else None},
        f"pieces_{name}": {side: sum(map(len, lists[side])) for side in SIDES} | {"clips": len(clips)},
    }
    if heard:
        true = [pieces["true"][clip] for clip in heard]
        ours = {side: [pieces[side][clip] for clip in heard] for side in SIDES}
        for side in SIDES:
            found[f"fd_{name}"][f"{side}_true"] = _frechet(ours[side], true)
            if len(heard) > 1:
                found[f"kd_{name}"][f"{side}_true"] = kernel_distance(ours[side], true)
        if len(heard) > 1:
            found[f"kd_{name}"]["difference"] = kernel_change(ours["a"], ours["b"], true)
    return found


def _frechet(first: Sequence[Pieces], second: Sequence[Pieces]) -> float | None:
    if sum(map(len, first)) < 2 or sum(map(len, second)) < 2:
        return None
    return frechet_distance(np.concatenate(first), np.concatenate(second))


def forward_levels(found: Sequence[Forward]) -> list[dict[str, float]]:
    """Per noise level: ``sigma``, mean SQNR over clips with its interval, the least. Clips in which the two
    are equal (infinite SQNR) are counted in ``equal`` and left out of the mean."""
    rows = []
    for sigma in sorted({item.sigma for item in found}, reverse=True):
        values = [item.sqnr_db for item in found if item.sigma == sigma]
        finite = [value for value in values if math.isfinite(value)]
        row = {"sigma": sigma, "n": float(len(values)), "equal": float(len(values) - len(finite))}
        if finite:
            row |= _interval(finite) | {"least": min(finite)}
        rows.append(row)
    return rows
