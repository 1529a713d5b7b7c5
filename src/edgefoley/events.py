"""When something sounds: a list of events that a person can read and edit, and the curve that it is to the
model.

A model with an event curve (nano) does not hear about timing from free features but from ``sync_feat``
(S, 4), four numbers per frame of 25/s: the curve at the frame and half a frame later, the strength, the
activity. The curve is canonical - one bump per event, its height the confidence - so it can be drawn from a
true list (training), by the sync graph from its own peaks (a clip), or from a list that somebody edited, and
it can be read back. What lies between two grid places of 20 ms is lost on the way: an event sounds at the
nearest one.

Layer 1: numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edgefoley.errors import UsageError
from edgefoley.timeline import EVENT_RATE, grid_count
from edgefoley.types import Clip, Conditioning, FloatArray

CHANNELS = 4  # of sync_feat in a model with an event curve: two places of the curve in a frame, and
POWER, ACTIVITY = 2, 3  # the strength of its events, how much goes on
BUMP = (0.25, 1.0, 0.25)  # of an event on the grid: one place either side
LOWEST = 0.03  # confidence of the faintest events; what is fainter is none
# Where a list does not say. Half of the events of training are weaker than 0.62.
STRENGTH, CONFIDENCE = 0.6, 1.0
LIKELY = 0.5  # where a bundle does not say from which confidence an event counts
# Attributes of the sync component; see likely_confidence.
LIKELY_RULE = ("threshold", "threshold_spread", "threshold_least", "threshold_activity")
_SURE = 1 / (1 + math.exp(30))  # a probability nearer to 0 or 1 says no more
# Places of the grid that an event's time may differ from its own. Less than a half, so that a time written
# with three decimals is still nearest to the same place.
_REFINED = 0.45
# Numbers of a list are written with three decimals. What differs by no more than that was not edited.
_ROUNDING = 6e-4
_NOTICED = 0.01  # of activity; two readings of one clip differ by less, a person's change by more
_HALF_PLACE = 0.5 / EVENT_RATE
_FRAME = 2 / EVENT_RATE


@dataclass(frozen=True)
class Event:
    """Something begins to sound at ``time_s`` (seconds, 0 or more). ``strength`` 0 … 1: how hard;
    ``confidence`` 0 … 1: how sure, and with that how much the model heeds it (0: not at all).

    Raises UsageError for a value out of its range.
    """

    time_s: float
    strength: float = STRENGTH
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if not (math.isfinite(self.time_s) and self.time_s >= 0):
            raise UsageError(
                f"time_s is {self.time_s:g}; times are seconds from the beginning of the video, 0 or more"
            )
        for name in ("strength", "confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name):g}; it goes from 0 to 1")


@dataclass(frozen=True, eq=False)
class EventList:
    """Events in the order of time, and the stretch of the video that they speak for.

    Times count from the beginning of the video; the list speaks for [``start_s``, ``start_s`` +
    ``duration_s``) seconds, or for all of it where ``duration_s`` is None. The curves are at 50 Hz from
    ``start_s`` on, each (n,) within 0 … 1, or None where they are not told: ``activity`` (how much goes on,
    contacts or not) acts on the sound; ``probability`` of an event and ``strength`` are there to be looked
    at. ``likely``: the confidence from which an event counts where a yes or no is wanted. ``source``: the
    file that the list is from, for messages.
    """

    events: tuple[Event, ...]
    start_s: float = 0.0
    duration_s: float | None = None
    activity: FloatArray | None = None
    probability: FloatArray | None = None
    strength: FloatArray | None = None
    likely: float = LIKELY
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(sorted(self.events, key=lambda event: event.time_s)))

    def above(self, confidence: float) -> EventList:
        """The same list without the events of less ``confidence``."""
        return replace(self, events=tuple(e for e in self.events if e.confidence >= confidence))

    @property
    def likely_events(self) -> tuple[Event, ...]:
        """Those that count where a yes or no is wanted."""
        return self.above(self.likely).events

    def later(self, seconds: float) -> EventList:
        """The same list with every time, and its own beginning, ``seconds`` later."""
        moved = tuple(replace(event, time_s=event.time_s + seconds) for event in self.events)
        return replace(self, events=moved, start_s=self.start_s + seconds)

    def of_clip(self, clip: Clip) -> EventList:
        """What the list says about ``clip``, counted from the clip's own beginning. Events of the video
        outside the clip are left out.

        Raises UsageError when an event lies beyond the video's end, or the list does not speak for all of the
        clip.
        """
        begin, length, name = float(clip.start), float(clip.duration), self.source or "the event list"
        self._check_end(float(clip.info.duration), clip.info.path.name)
        if self.duration_s is not None:
            last = self.start_s + self.duration_s
            if self.start_s > begin + _HALF_PLACE or last < begin + length - _HALF_PLACE:
                raise UsageError(
                    f"{name} is about {self.start_s:.3f} s to {last:.3f} s of a video, the clip goes from "
                    f"{begin:.3f} s to {begin + length:.3f} s. Use the list of this video, and the same "
                    "--start and --end as for the list."
                )
        return self._part(begin, clip.duration)

    def of_sound(self, duration: Fraction) -> EventList:
        """What the list says about ``duration`` seconds of sound without pictures. Raises UsageError when an
        event lies beyond their end."""
        self._check_end(float(duration), "the sound")
        return self._part(0.0, duration)

    def _check_end(self, whole: float, of: str) -> None:
        for event in self.events:
            # The last place of the grid may lie up to a frame beyond the last picture's end.
            if event.time_s >= whole + _FRAME:
                raise UsageError(
                    f"{self.source or 'the event list'}: the event at {event.time_s:g} s lies beyond the end "
                    f"of {of}, which lasts {whole:.3f} s. Correct its time, or remove it."
                )

    def _part(self, begin: float, duration: Fraction) -> EventList:
        frames = grid_count(duration, Fraction(EVENT_RATE, 2))
        limit = frames * _FRAME
        inside = [
            replace(event, time_s=max(0.0, event.time_s - begin))
            for event in self.events
            if -_HALF_PLACE < event.time_s - begin < limit
        ]
        activity = self.activity
        if activity is not None:
            at = (begin - self.start_s) * EVENT_RATE + np.arange(2 * frames)
            activity = np.interp(at, np.arange(len(activity)), activity).astype(np.float32)
        return EventList(tuple(inside), 0.0, float(duration), activity, source=self.source)


def likely_confidence(
    probability: npt.ArrayLike, rule: Mapping[str, float], activity: npt.ArrayLike | None = None
) -> float:
    """The confidence from which an event of a clip counts, where a yes or no is wanted.

    ``rule`` (the sync component's attributes): ``threshold``, the highest it may be. With ``threshold_least``
    and ``threshold_spread`` it adapts to the clip, since in dim, shaky or distant pictures the encoder is
    sure of nothing: ``threshold_spread`` standard deviations above the mean of the clip's log odds, between
    ``threshold_least`` and ``threshold``. ``threshold_activity`` log odds are then added for every unit of
    the clip's mean activity, since water or an engine moves all the time and never begins. ``probability``
    (n,): the event curve, 50 Hz; ``activity``: that of the clip, at any rate, or None where it is not known.
    """
    most = float(rule.get("threshold", LIKELY))
    p = np.clip(np.asarray(probability, np.float64), _SURE, 1 - _SURE)
    level = most
    if "threshold_spread" in rule and p.size:
        odds = np.log(p / (1 - p))
        level = 1 / (1 + math.exp(-float(odds.mean() + rule["threshold_spread"] * odds.std())))
        level = float(np.clip(level, rule["threshold_least"], most))
    much = 0.0 if activity is None or not np.size(activity) else np.asarray(activity, np.float64).mean()
    more = float(rule.get("threshold_activity", 0.0) * much)
    return level if more == 0 else 1 / (1 + (1 / level - 1) * math.exp(-more))


def draw_curve(
    times: npt.NDArray[np.float64],
    heights: npt.NDArray[np.float64],
    strengths: npt.NDArray[np.float64],
    activity: npt.NDArray[np.float32],
    frames: int,
) -> npt.NDArray[np.float32]:
    """Events (seconds; height and strength 0..1) and activity (50 Hz) -> sync_feat (frames, 4)."""
    curve = np.zeros(2 * frames + 2, dtype=np.float32)
    strength = np.zeros(2 * frames + 2, dtype=np.float32)
    for time, height, power in zip(times, heights, strengths, strict=True):
        place = round(time * EVENT_RATE) + 1
        for offset, weight in zip((-1, 0, 1), BUMP, strict=True):
            if 0 <= place + offset < len(curve) and weight * height > curve[place + offset]:
                curve[place + offset] = weight * height
                strength[place + offset] = power
    curve, strength = curve[1:-1], strength[1:-1]
    padded = np.zeros(2 * frames, dtype=np.float32)
    padded[: min(len(activity), 2 * frames)] = activity[: 2 * frames]
    return np.stack(
        [curve[0::2], curve[1::2], np.maximum(strength[0::2], strength[1::2]), padded[0::2]], axis=1
    )


def read_curve(conditioning: Conditioning) -> EventList:
    """The events in what the sync encoder said, counted from the clip's beginning, with all three curves.

    Every place of ``sync_feat`` that is more than its neighbour's bump is an event; its height is the
    confidence. The event logits refine its time between the places of the grid. The probability is the
    graph's own function of the logits. Raises UsageError when the conditioning has no event curve.
    """
    feat = _curve_of(conditioning)
    curve, frames = feat[:, :2].reshape(-1), len(feat)
    padded = np.pad(curve, 1)
    places = np.flatnonzero(curve > BUMP[0] * np.maximum(padded[:-2], padded[2:]))
    times, probability = places / EVENT_RATE, curve.astype(np.float64)
    if conditioning.event_logits is not None:
        logits = conditioning.event_logits[0].astype(np.float64)
        times = (places + _refined(logits, places)) / EVENT_RATE
        probability = _probability(logits, places, curve)
    strengths = _strengths(feat[:, POWER], places)
    told = np.arange(0, 2 * frames, 2)  # the activity is known at the frames only
    return EventList(
        tuple(
            Event(float(time), float(power), float(curve[place]))
            for time, power, place in zip(times, strengths, places, strict=True)
        ),
        duration_s=float(conditioning.duration),
        activity=np.interp(np.arange(2 * frames), told, feat[:, ACTIVITY]).astype(np.float32),
        probability=probability.astype(np.float32),
        strength=np.where(curve > 0, np.repeat(feat[:, POWER], 2), 0).astype(np.float32),
    )


def with_events(conditioning: Conditioning, edited: EventList) -> Conditioning:
    """``conditioning`` with the events of ``edited`` (counted from the clip's beginning, see ``of_clip``) in
    place of its own; also its activity, where it tells one.

    A frame at which the edit changes nothing keeps exactly what the encoder said: a list that nobody touched
    gives the same sound, bit by bit, and an edit acts at its place. (The encoder's strength may differ
    between the two frames that an event spans; a drawn one does not.) Raises UsageError when the conditioning
    has no event curve.
    """
    feat, own = _curve_of(conditioning), read_curve(conditioning)
    assert own.activity is not None
    before = _drawn(own.events, own.activity, len(feat))
    after = _drawn(edited.events, own.activity if edited.activity is None else edited.activity, len(feat))
    same = np.abs(after - before).max(axis=1) <= _ROUNDING
    drawn = np.where(same[:, None], feat, after)
    told = np.abs(after[:, ACTIVITY] - before[:, ACTIVITY]) > _NOTICED
    if conditioning.activity_told is not None:
        told |= conditioning.activity_told
    return replace(conditioning, sync_feat=drawn[None], event_logits=None, activity_told=told)


def with_unseen_events(conditioning: Conditioning, edited: EventList) -> Conditioning:
    """``conditioning`` without pictures, given the events of ``edited`` (see ``of_sound``), and its activity,
    where it tells one. As with a rhythm of the model's own (``encoders.with_timbres``), a
    single sound has the curve in both passes of guidance."""
    frames = grid_count(conditioning.duration, Fraction(EVENT_RATE, 2))
    activity = np.zeros(2 * frames, np.float32) if edited.activity is None else edited.activity
    curve = _drawn(edited.events, activity, frames)[None]
    told = None if edited.activity is None else np.ones(frames, np.bool_)
    single = len(conditioning.timbres) == 1
    return replace(conditioning, sync_feat=curve, sync_always=single, activity_told=told)


def _drawn(events: Sequence[Event], activity: FloatArray, frames: int) -> FloatArray:
    rows = np.array([(e.time_s, e.confidence, e.strength) for e in events]).reshape(-1, 3)
    return draw_curve(rows[:, 0], rows[:, 1], rows[:, 2], activity, frames)


def _curve_of(conditioning: Conditioning) -> FloatArray:
    feat = conditioning.sync_feat
    if feat is None or feat.shape[2] != CHANNELS:
        found = "no picture" if feat is None else f"sync features of {feat.shape[2]} channels"
        raise UsageError(f"there is no event curve: the model was given {found}. Use nano, and a video.")
    return feat[0]


def _refined(logits: npt.NDArray[np.float64], places: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Where between the grid places the top of the parabola through three logits lies, in places."""
    shift = np.zeros(len(places))
    inner = (places > 0) & (places < len(logits) - 1)
    left, top, right = (logits[places[inner] + k] for k in (-1, 0, 1))
    bend = np.minimum(left - 2 * top + right, -1e-9)
    shift[inner] = np.clip(0.5 * (left - right) / bend, -_REFINED, _REFINED)
    return shift


def _probability(
    logits: npt.NDArray[np.float64], places: npt.NDArray[np.intp], curve: FloatArray
) -> npt.NDArray[np.float64]:
    """sigmoid(gain * logit + bias) everywhere. Gain and bias are inside the sync graph; its peaks, where
    both sides are known, tell them."""
    gain, bias = 1.0, 0.0
    heights = curve[places].astype(np.float64)
    clear = (heights > 1e-3) & (heights < 1 - 1e-3)  # nearer to 1 the logarithm is all rounding
    if clear.any():
        x, y = logits[places[clear]], np.log(heights[clear] / (1 - heights[clear]))
        spread = x - x.mean()
        if np.square(spread).sum() > 1e-2:
            gain = max(0.0, float(spread @ y / np.square(spread).sum()))
        bias = float(y.mean() - gain * x.mean())
    probability = 1 / (1 + np.exp(-np.clip(gain * logits + bias, -60, 60)))
    probability[places] = heights
    return probability


def _strengths(strength: FloatArray, places: npt.NDArray[np.intp]) -> FloatArray:
    """Strength of each event from its own frame, or, where another event reaches into that and not into the
    other frame of its bump, from the other: a frame tells the strongest of the events in it."""
    if not len(places):
        return np.zeros(0, np.float32)
    own = places // 2
    other = np.clip(own + np.where(places % 2, 1, -1), 0, len(strength) - 1)
    count = np.zeros(len(strength), np.int64)
    for frames in (own, np.where(other == own, -1, other)):
        np.add.at(count, frames[frames >= 0], 1)
    return strength[np.where((count[own] > 1) & (count[other] == 1), other, own)]
