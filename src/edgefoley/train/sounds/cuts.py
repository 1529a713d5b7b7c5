"""Cut recordings into single events: where each begins, where it is heard to begin, and where it ends.

A recording of steps, keys or barks holds many events; a mixer needs one at a time, and needs to know which
sample has to fall on the moment seen in the picture. `event_cuts` finds stretches that stand out from the
floor (``events.single_events``), splits them where the level jumps again, ends each before a second strong
attack, and places its onset where both the attack itself and the project's onset measure
(``sounds.onsets``) put it. A piece whose onset the measure cannot find alone is dropped: a model could not
learn it and nobody could hear it. Loops are in ``sounds.loops``.

Left out: separating sounds that overlap. A second sound under the first stays in the cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.sounds.events import FRAME, Wave, envelope_db, fade, single_events
from edgefoley.train.sounds.onsets import EARLY_S, onsets_alone

CUT_KINDS: Final = ("event", "loop", "whole")


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a recording, in samples at 48 kHz.

    ``start``, ``stop``: inside the recording. ``onset``: where it is heard to begin, in samples from
    ``start`` (0 for a loop). ``kind``: one of CUT_KINDS. ``level_db``: RMS of its loudest 50 ms (of the
    whole for a loop), dB re full scale. ``intensity``: 0 (softest of its like) to 1 (hardest), see
    `ranked`. ``centroid_hz``: mean frequency of the spectrum's magnitude around the attack.
    """

    start: int
    stop: int
    onset: int
    kind: str
    level_db: float
    intensity: float = 0.5
    centroid_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """How events of one character are told apart. ``gap_s``: quieter stretches up to this long belong to the
    event. ``jump_db``: a rise of the level that begins a new event inside a stretch. ``longest_s``: longest
    event. ``ends_at_second``: the event ends before a second strong attack."""

    gap_s: float
    jump_db: float
    longest_s: float
    ends_at_second: bool


RULES: Final[dict[str, Rule]] = {
    "sharp": Rule(0.06, 6.0, 3.0, True),
    "call": Rule(0.12, 15.0, 4.0, False),
    "long": Rule(1.0, 60.0, 8.0, False),
}
# Which rule cuts the recordings of a concept of each kind (``words.concepts.KINDS``).
RULE_OF_KIND: Final = {
    "impact": "sharp",
    "step": "sharp",
    "burst": "call",
    "vocal": "call",
    "texture": "long",
}

LEAD = SAMPLE_RATE // 100  # samples in front of an attack that a cut may keep: 10 ms
SHORTEST = SAMPLE_RATE // 100  # of what follows the attack: a key release is hardly longer
SECOND_STRONG_DB = 14.0  # a second attack counts when it comes this close to the loudest part
FAINT_DB = 24.0  # an event this far below the recording's loudest is a remnant
# The measure may report an attack up to 13 ms early and 12 ms late at the positions tried; elsewhere on its
# 10 ms grid that leaves it within 20 ms.
EARLIEST_S, LATEST_S = 0.013, 0.012


def loudest_db(wave: Wave, window: int = SAMPLE_RATE // 20) -> float:
    """RMS (dB re full scale) of the loudest ``window`` samples; -120 for nothing."""
    if not len(wave):
        return -120.0
    size = min(window, len(wave))
    total = np.concatenate([[0.0], np.cumsum(np.square(wave, dtype=np.float64))])
    power = float((total[size:] - total[:-size]).max()) / size
    return float(10 * np.log10(max(power, 1e-12)))


def centroid(wave: Wave) -> float:
    """Magnitude-weighted mean frequency (Hz) of up to 100 ms."""
    part = wave[: SAMPLE_RATE // 10]
    if len(part) < 64:
        return 0.0
    magnitude = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    hz = np.fft.rfftfreq(len(part), 1 / SAMPLE_RATE)
    return float((magnitude * hz).sum() / (magnitude.sum() + 1e-12))


def jumps(level: Wave, jump_db: float, gap_frames: int) -> list[int]:
    """Frames (5 ms) at which the level rises by ``jump_db`` or more over what came before, ``gap_frames`` or
    more apart, the highest rises first."""
    if len(level) < 12:
        return []
    windows = np.lib.stride_tricks.sliding_window_view(level, 6)
    after = windows[6:].max(1)  # 30 ms from frame i on
    before = windows[: len(after)].mean(1)  # the 30 ms in front of it
    rise = after - before
    steep = np.maximum(level[7 : 6 + len(rise)] - level[5 : 4 + len(rise)], 0)
    score = rise[: len(steep)] + 0.1 * steep
    kept: list[int] = []
    for i in np.argsort(-score, kind="stable"):
        if rise[i] < jump_db:
            break
        if all(abs(int(i) + 6 - k) >= gap_frames for k in kept):
            kept.append(int(i) + 6)
    return sorted(kept)


def pieces(wave: Wave, rule: Rule) -> list[tuple[int, int]]:
    """(begin, limit) samples of what may be single events, before their onsets are known."""
    level = envelope_db(wave)
    found: list[tuple[int, int]] = []
    for start, stop in single_events(wave, rule.gap_s, rule.longest_s):
        first, last = start // FRAME, min(stop // FRAME, len(level))
        inner = jumps(level[first:last], rule.jump_db, max(8, round(rule.gap_s * SAMPLE_RATE / FRAME)))
        # A jump right at the stretch's beginning is the stretch's own attack.
        splits = [first + j for j in inner if j * FRAME > 0.03 * SAMPLE_RATE]
        marks = [start, *(max(0, s * FRAME - FRAME) for s in splits), stop]
        found += [(a, b) for a, b in pairwise(marks) if b - a > SHORTEST]
    top = float(level.max()) if len(level) else -120.0
    return [
        (a, b)
        for a, b in found
        if float(level[a // FRAME : max(a // FRAME + 1, b // FRAME)].max()) > top - FAINT_DB
    ]


def decayed(wave: Wave, floor_db: float) -> int:
    """Samples until the sound has died away: 45 dB below its loudest, or at the recording's floor."""
    level = envelope_db(wave)
    peak = int(np.argmax(level))
    loud = np.flatnonzero(
        level > max(float(level.max()) - 45.0, min(floor_db + 3.0, float(level.max()) - 12.0))
    )
    last = max(peak, int(loud[-1])) if len(loud) else peak
    return min(len(wave), (last + 1) * FRAME + SAMPLE_RATE // 50)


def attack(wave: Wave, near: int) -> int:
    """Sample where the amplitude first comes within 12 dB of what it reaches in the next 40 ms, searched from
    10 ms before ``near``."""
    begin = max(0, near - SAMPLE_RATE // 100)
    part = np.abs(wave[begin : near + SAMPLE_RATE * 6 // 100])
    if not len(part):
        return near
    step = 24  # half a millisecond
    count = max(1, len(part) // step)
    peaks = part[: count * step].reshape(count, -1).max(1) if len(part) >= step else part[:1]
    first = int(np.argmax(peaks >= 0.25 * peaks.max()))
    return begin + first * step


def strong_onsets(wave: Wave, heard: list[npt.NDArray[np.float64]]) -> list[list[float]]:
    """Per setting of ``onsets_alone`` the onset times after which the sound comes close to its loudest."""
    level = envelope_db(wave)
    top = float(level.max())

    def strong(time: float) -> bool:
        frame = max(0, int(time * SAMPLE_RATE) // FRAME)
        return float(level[frame : frame + 12].max(initial=-120.0)) >= top - SECOND_STRONG_DB

    return [[float(t) for t in times if strong(float(t))] for times in heard]


def place_onset(wave: Wave, firsts: list[float]) -> int | None:
    """The onset (sample) that the attack and the measure's ``firsts`` (s, one per setting) agree on; None
    where the settings are too far apart."""
    low, high = max(firsts) - LATEST_S, min(firsts) + EARLIEST_S
    if low > high:
        return None
    middle = attack(wave, max(0, round((np.mean(firsts) + EARLY_S) * SAMPLE_RATE))) / SAMPLE_RATE
    return max(0, round(min(max(middle, low), high) * SAMPLE_RATE))


def refine(wave: Wave, begin: int, limit: int, rule: Rule, floor_db: float) -> Cut | None:
    """The single event between ``begin`` and ``limit``, or None when no onset can be placed in it."""
    start = max(0, begin)
    stop = min(limit, start + decayed(wave[start:limit], floor_db))
    for _ in range(
        4
    ):  # each round may move the start past a faint forerunner or the stop before a second hit
        if stop - start < SHORTEST:
            return None
        part = event_wave(wave[start:stop], min(LEAD, stop - start))
        heard = onsets_alone(part)
        strong = strong_onsets(part, heard)
        if not all(strong):
            return None
        firsts = [times[0] for times in strong]
        onset = place_onset(part, firsts)
        if onset is None:
            return None
        forerunner = any(len(h) and h[0] < s - 0.015 for h, s in zip(heard, firsts, strict=True))
        if (forerunner and onset > LEAD) or onset > 4 * LEAD:
            start += onset - LEAD * 4 // 5
            continue
        seconds = [times[1] for times in strong if len(times) > 1]
        if rule.ends_at_second and len(seconds) >= 2:
            second = start + round((min(seconds) + 0.004) * SAMPLE_RATE)
            if second < stop:
                stop = second
                continue
        if stop - start - onset < SHORTEST:
            return None
        after = part[onset:]
        return Cut(start, stop, onset, "event", loudest_db(part), centroid_hz=centroid(after))
    return None


def event_cuts(wave: Wave, rule: Rule) -> list[Cut]:
    """Single events of a recording (n,) at 48 kHz, in time order; empty when none can be told apart."""
    if len(wave) < 2 * SHORTEST or not np.any(np.abs(wave) > 1e-4):
        return []
    floor_db = float(np.percentile(envelope_db(wave), 10))
    found: list[Cut] = []
    for begin, limit in pieces(wave, rule):
        low = max(begin - LEAD // 2, found[-1].stop if found else 0)
        cut = refine(wave, low, limit, rule, floor_db)
        if cut is not None:
            found.append(cut)
    return found


def whole_cut(wave: Wave) -> Cut | None:
    """The recording without silence at its ends; None for silence."""
    level = envelope_db(wave)
    loud = np.flatnonzero(level > float(level.max()) - 50.0)
    if not len(loud) or float(level.max()) < -80.0:
        return None
    start = max(0, int(loud[0]) * FRAME - LEAD // 2)
    stop = min(len(wave), (int(loud[-1]) + 1) * FRAME + LEAD)
    part = wave[start:stop]
    firsts = [float(times[0]) for times in onsets_alone(part) if len(times)]
    onset = place_onset(part, firsts) if firsts else 0
    if onset is None:  # a slow beginning: where the settings hear it on average
        onset = max(0, round((float(np.mean(firsts)) + EARLY_S) * SAMPLE_RATE))
    return Cut(start, stop, onset, "whole", loudest_db(part), centroid_hz=centroid(part))


def event_wave(part: Wave, onset: int) -> Wave:
    """A cut's samples with ends that do not click: the front rises within the 2 ms before the onset (half a
    millisecond where there is no room), the end falls over up to 50 ms."""
    front = min(max(onset, SAMPLE_RATE // 2000), SAMPLE_RATE // 500)
    tail = int(np.clip(0.3 * (len(part) - onset), SAMPLE_RATE // 200, SAMPLE_RATE // 20))
    return fade(part, front, min(tail, len(part)))


def ranked(cuts: list[Cut], original_db: list[float]) -> list[Cut]:
    """The same cuts with ``intensity`` set by rank: louder and brighter is harder.

    ``original_db``: each cut's level before its recording was levelled. An octave of the centroid counts as
    6 dB, since harder blows excite higher modes by about that much.
    """
    if not cuts:
        return []
    octaves = np.log2(np.maximum([c.centroid_hz for c in cuts], 50.0))
    order = np.argsort(np.argsort(np.asarray(original_db) + 6.0 * octaves, kind="stable"), kind="stable")
    return [replace(c, intensity=(int(o) + 0.5) / len(cuts)) for c, o in zip(cuts, order, strict=True)]
