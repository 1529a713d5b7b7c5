"""Compose lessons: a scene's truth, the right sound at each of its contacts, and the facts for captions.

A lesson is a pure function of its seed, the sound library and the rooms. It has one to three sources. Those
in the picture come from a film's truth (scenes.film.plan; the film itself is drawn only by who needs its
frames); others are heard from outside the picture, and a bed of ambience may lie under everything. Nearly a
third of the lessons has no picture at all: words alone must be enough for the model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.scenes import film
from edgefoley.train.scenes.truth import ACTIVITY_RATE, STREAM_ACTIONS, Truth
from edgefoley.train.school import mixing
from edgefoley.train.school.mixing import Hit, Wave
from edgefoley.train.school.rhythms import natural_hits
from edgefoley.train.school.rooms import DISTANCES, RoomBank
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.sounds.onsets import onset_times, to_16k
from edgefoley.train.words.captions import CaptionFacts, SoundFact
from edgefoley.train.words.concepts import Concept

FIRST_SEED: Final = 2_000_000  # of films in lessons: no sync encoder trains on these pictures
SILENT: Final = 0.04  # share of lessons in which things move and nothing sounds
PICTURED: Final = 0.72  # share of the others with a film
AS_RECORDED: Final = 0.45  # share of the lessons without a film that are one recording as it is
PLAIN: Final = 0.4  # share of lessons with nothing but their main sound, near and dry: what a word means
RECORDED: Final = 0.5  # share of lessons whose main concept is drawn from those with real recordings
TONED: Final = 0.9  # share of the sounding lessons with a room tone: nothing real is digitally silent
TONE_DB: Final = (-45.0, -12.0)  # its level, to the RMS of the lesson: what cameras record has no less
TAKES: Final = 6  # different recordings of one source in a lesson, at most
LONGEST_WHOLE_S: Final = 4.0  # a recording that could not be cut is placed whole when it is no longer
SPACING: Final = 0.35  # of a sound's median length: contacts of one source closer than that share one sound
VOICES: Final = ("vocal", "burst")  # kinds that make one sound at a time
ROOMS: Final = {"": 0.3, "outdoors": 0.25, "small room": 0.15, "room": 0.2, "hall": 0.1}


@dataclass(frozen=True)
class Voice:
    """One source of a lesson as it was mixed.

    concept: id; role: "seen", "unseen" or "bed"; source: index into the film's truth, -1 outside the picture;
    distance_m; hits: (time s, strength) in time order; looped: whether its continuous sound was laid under
    its activity (then it counts as continuous); striker, struck: materials or "".
    """

    concept: str
    role: str
    source: int = -1
    distance_m: float = 2.0
    hits: tuple[tuple[float, float], ...] = ()
    looped: bool = False
    striker: str = ""
    struck: str = ""


@dataclass(frozen=True)
class Lesson:
    """What a trainer needs to know about one composed sound.

    seed, seconds; film_seed and the film's arguments (action, striker, struck) or None without a picture;
    voices, the main one first; events: (time s, strength) of what is seen and heard; activity: loudness 0..1
    at 50 Hz of what is seen and sounds continuously; room: one of ROOMS; silent: nothing sounds.
    """

    seed: int
    seconds: float
    film_seed: int | None
    action: str
    striker: str
    struck: str
    voices: tuple[Voice, ...]
    events: tuple[tuple[float, float], ...] = ()
    activity: tuple[float, ...] = ()
    room: str = ""
    silent: bool = False

    def facts(self) -> CaptionFacts:
        """What a caption may say; faint beds are left out."""
        return CaptionFacts(
            sounds=tuple(_fact(voice, self.seconds) for voice in self.voices),
            room=self.room,
            seconds=self.seconds,
            silent=self.silent,
        )

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Lesson:
        """Inverse of dataclasses.asdict after a trip through JSON."""
        voices = tuple(
            Voice(**{**voice, "hits": tuple((float(t), float(s)) for t, s in voice["hits"])})
            for voice in row["voices"]
        )
        events = tuple((float(t), float(s)) for t, s in row["events"])
        return cls(**{**row, "voices": voices, "events": events, "activity": tuple(row["activity"])})


def _fact(voice: Voice, seconds: float) -> SoundFact:
    strengths = [strength for _, strength in voice.hits]
    span = voice.hits[-1][0] - voice.hits[0][0] if len(voice.hits) > 1 else seconds
    return SoundFact(
        concept=voice.concept,
        count=0 if voice.looped else len(voice.hits),
        strength=float(np.mean(strengths)) if strengths else 0.5,
        rate_hz=(len(voice.hits) - 1) / span if len(voice.hits) > 1 and span > 0 else 0.0,
        distance_m=voice.distance_m,
        onscreen=voice.role == "seen",
        striker="" if voice.looped else voice.striker,
        struck="" if voice.looped else voice.struck,
    )


@dataclass
class _Mix:
    """A lesson while it is being mixed."""

    wave: Wave
    voices: list[Voice] = field(default_factory=list)
    events: list[tuple[float, float]] = field(default_factory=list)
    activity: npt.NDArray[np.float32] | None = None


class Composer:
    """Makes lessons from a library and rooms. ``held_out``: from the recordings kept out of training."""

    def __init__(self, library: SoundLibrary, rooms: RoomBank, held_out: bool = False) -> None:
        self.library, self.rooms, self.held_out = library, rooms, held_out
        self.ids = list(library.concepts)
        self.recorded = [i for i in self.ids if library.recorded(i)] or self.ids
        self.beds = [c.id for c in library.concepts.values() if c.kind == "texture"]
        self.by_action: dict[str, list[str]] = {
            action: [] for engine in film.engines().values() for action in engine.actions
        }
        for concept in library.concepts.values():
            for action in set(concept.actions) & self.by_action.keys():
                self.by_action[action].append(concept.id)

    def compose(self, seed: int, seconds: float = 10.0) -> tuple[Wave, Lesson]:
        """Sound (seconds * 48000,) float32 and what is in it."""
        rng = np.random.default_rng([11, seed])
        mix = _Mix(np.zeros(round(seconds * SAMPLE_RATE), np.float32))
        ids = self.recorded if rng.random() < RECORDED else self.ids
        main = self._drawn(ids, rng)
        plain = rng.random() < PLAIN
        shown = [action for action in main.actions if action in self.by_action]
        film_seed, asked = None, ("", "", "")
        kind = "" if plain else str(rng.choice(list(ROOMS), p=list(ROOMS.values())))
        if rng.random() < SILENT:
            film_seed, asked = FIRST_SEED + seed, (film.QUIET, "", "")
        elif shown and rng.random() < PICTURED:
            film_seed = FIRST_SEED + seed
            action = shown[0] if rng.random() < 0.5 else shown[int(rng.integers(len(shown)))]
            asked = (action, _one(main.striker, rng), _one(main.struck, rng))
            self._seen(mix, film.plan(film_seed, seconds, *asked), main, kind, rng)
        elif rng.random() < AS_RECORDED:
            self._as_recorded(mix, main, rng)
        else:
            self._unseen(mix, main, float(rng.uniform(0.5, 2.0 if plain else 8.0)), kind, rng)
        silent = not mix.voices
        alone = silent or plain
        if not alone and rng.random() < 0.3:
            other = self._drawn(self.ids, rng)
            if other.id != main.id:
                self._unseen(mix, other, float(np.exp(rng.uniform(np.log(3), np.log(40)))), kind, rng)
        if not alone:
            self._bed(mix, rng)
        if not silent and rng.random() < TONED:
            level = float(np.sqrt(np.square(mix.wave).mean())) * 10 ** (rng.uniform(*TONE_DB) / 20)
            tone = mixing.room_tone(len(mix.wave), float(rng.uniform(0.0, 7.0)), rng)
            mix.wave += np.float32(level) * tone
        wave = mixing.finish(mix.wave, rng)
        activity = () if mix.activity is None else tuple(round(float(a), 2) for a in mix.activity)
        voices = tuple(mix.voices)
        events = tuple(sorted((round(t, 4), round(s, 3)) for t, s in mix.events))
        return wave, Lesson(
            seed, seconds, film_seed, *asked, voices, events, activity, kind, silent or not wave.any()
        )

    def _drawn(self, ids: list[str], rng: np.random.Generator) -> Concept:
        """One of the concepts, each as often as its share says."""
        concepts = [self.library.concepts[i] for i in ids]
        shares = np.array([concept.share for concept in concepts])
        return concepts[int(rng.choice(len(concepts), p=shares / shares.sum()))]

    def _seen(self, mix: _Mix, truth: Truth, main: Concept, kind: str, rng: np.random.Generator) -> None:
        """The sources of a film, each with its sound; only what is visible and heard becomes an event."""
        for index, source in enumerate(truth.sources):
            concept: Concept | None = main
            if index:
                fitting = self.by_action.get(source.action, [])
                concept = self._drawn(fitting, rng) if fitting else None
            if concept is None:
                continue
            contacts = [c for c in truth.contacts if c.source == index and c.time_s < truth.seconds - 0.02]
            distance = float(np.median([c.distance_m for c in contacts])) if contacts else 3.0
            row = truth.activity[index]
            streams = source.action in STREAM_ACTIONS or concept.kind == "texture"
            wave, looped = np.zeros_like(mix.wave), False
            loop = self._loop(concept, len(wave), rng) if row.max(initial=0) > 0.02 else None
            if loop is not None:
                level = 1.0 if streams else float(10 ** (-rng.uniform(4, 12) / 20))
                wave += np.float32(level) * mixing.under_activity(loop, row, ACTIVITY_RATE)
                looped = streams or not contacts
                mix.activity = row if mix.activity is None else np.maximum(mix.activity, row)
            hits = [Hit(c.time_s, c.strength) for c in contacts]
            blows = self._blows(concept, hits, rng) if hits and not looped else []
            if blows:
                kept = spaced(hits, SPACING * float(np.median([len(b.wave) - b.onset for b in blows])))
                contacts, hits = [contacts[i] for i in kept], [hits[i] for i in kept]
                wave += mixing.place_hits(hits, blows, len(wave), rng, concept.kind in VOICES)
                mix.events += [(c.time_s, c.strength) for c in contacts if c.visible]
            if not wave.any():
                continue
            self._add(mix, wave, distance, kind, rng)
            heard = tuple((round(h.time_s, 4), round(h.strength, 3)) for h in hits) if blows else ()
            mix.voices.append(
                Voice(
                    concept.id,
                    "seen",
                    index,
                    round(distance, 2),
                    heard,
                    looped,
                    source.striker,
                    source.struck,
                )
            )

    def _unseen(
        self, mix: _Mix, concept: Concept, distance: float, kind: str, rng: np.random.Generator
    ) -> None:
        """A source outside the picture, with times of its own."""
        samples = len(mix.wave)
        wave, hits, looped = np.zeros(samples, np.float32), list[Hit](), False
        loop = self._loop(concept, samples, rng) if concept.kind == "texture" else None
        if loop is not None:
            wave, looped = mixing.under_activity(loop, slow_swell(samples, rng), ACTIVITY_RATE), True
        else:
            hits = natural_hits(concept.id, concept.kind, samples / SAMPLE_RATE, rng)
            blows = self._blows(concept, hits, rng)
            if not blows:
                return
            wave = mixing.place_hits(hits, blows, samples, rng, concept.kind in VOICES)
        self._add(mix, wave, distance, kind, rng)
        heard = tuple((round(h.time_s, 4), round(h.strength, 3)) for h in hits)
        materials = (_one(concept.striker, rng), _one(concept.struck, rng))
        mix.voices.append(Voice(concept.id, "unseen", -1, round(distance, 2), heard, looped, *materials))

    def _as_recorded(self, mix: _Mix, concept: Concept, rng: np.random.Generator) -> None:
        """One recording as it is: its own rhythm, tails and room."""
        take = self.library.draw(concept.id, rng, "whole", held_out=self.held_out)
        wave = self.library.wave(take)[: len(mix.wave)]
        latest = max(1, min(2 * SAMPLE_RATE, len(mix.wave) - len(wave) + 1))
        begin = int(rng.integers(latest))
        mixing.add_at(mix.wave, 0.5 * wave, begin)
        heard = () if concept.kind == "texture" else onset_times(to_16k(wave))
        hits = tuple((round(float(t) + begin / SAMPLE_RATE, 4), 0.6) for t in heard)
        mix.voices.append(Voice(concept.id, "unseen", hits=hits, looped=not hits))

    def _bed(self, mix: _Mix, rng: np.random.Generator) -> None:
        """Ambience under everything: mentioned when it is near the main sound's level, faint otherwise."""
        draw, used = rng.random(), {voice.concept for voice in mix.voices}
        if draw > 0.26 or not self.beds:
            return
        concept = self._drawn(self.beds, rng)
        loop = None if concept.id in used else self._loop(concept, len(mix.wave), rng)
        if loop is None:
            return
        present = float(np.sqrt(np.square(mix.wave).mean())) + 1e-4
        told = draw < 0.14
        below = rng.uniform(0, 12) if told else rng.uniform(18, 32)
        mix.wave += loop * np.float32(
            present / (np.sqrt(np.square(loop).mean()) + 1e-6) * 10 ** (-below / 20)
        )
        if told:
            mix.voices.append(Voice(concept.id, "bed", distance_m=8.0, looped=True))

    def _blows(self, concept: Concept, hits: list[Hit], rng: np.random.Generator) -> list[mixing.Blow]:
        """Events of one source, recordings of about the strengths asked for: a scene keeps its timbre."""
        first = self.library.draw(concept.id, rng, "event", hits[0].strength, self.held_out)
        if first.cut.kind != "event" and first.cut.stop - first.cut.start > LONGEST_WHOLE_S * SAMPLE_RATE:
            return []
        drawn = [first]
        for hit in hits[1:TAKES]:
            if (like := self.library.draw_like(first, rng, hit.strength)) not in drawn:
                drawn.append(like)
        blows = [mixing.Blow(self.library.wave(t), t.cut.onset, t.cut.intensity) for t in drawn]
        return [mixing.sharpened(blow) for blow in blows] if concept.kind in VOICES else blows

    def _loop(self, concept: Concept, samples: int, rng: np.random.Generator) -> Wave | None:
        """A continuous sound of the concept, RMS 0.08; None where no recording of it can be repeated."""
        drawn = self.library.draw(concept.id, rng, "loop", held_out=self.held_out)
        if drawn.cut.kind != "loop":
            return None
        loop = mixing.change_speed(self.library.wave(drawn), round(float(rng.uniform(0.92, 1.08)), 2))
        loop = mixing.extend(loop, samples, rng)
        return loop * np.float32(0.08 / (np.sqrt(np.square(loop).mean()) + 1e-5))

    def _add(self, mix: _Mix, wave: Wave, distance: float, kind: str, rng: np.random.Generator) -> None:
        """Add a source at its distance, in the room."""
        wave = mixing.at_distance(wave, distance)
        if kind in self.rooms.kinds:
            room = self.rooms.draw(kind, rng)
            near = int(np.argmin(np.abs(np.log(np.array(DISTANCES) * 4 / max(distance, 0.3)))))
            wave = mixing.reverberate(wave, room.responses[near], -float(rng.uniform(0, 8)))
        mix.wave += wave


def _one(options: tuple[str, ...], rng: np.random.Generator) -> str:
    """One of the options, "" when there is none."""
    return options[int(rng.integers(len(options)))] if options else ""


def spaced(hits: list[Hit], samples: float) -> list[int]:
    """Indices of hits at least ``samples`` apart, the strongest first: ten vases do not break in a second."""
    kept: list[int] = []
    for i in sorted(range(len(hits)), key=lambda i: -hits[i].strength):
        if all(abs(hits[i].time_s - hits[k].time_s) * SAMPLE_RATE >= samples for k in kept):
            kept.append(i)
    return sorted(kept)


def slow_swell(samples: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A slow curve 0..1 at ACTIVITY_RATE for a continuous sound that nobody sees."""
    count = int(np.ceil(samples / SAMPLE_RATE * ACTIVITY_RATE))
    knots = rng.uniform(0.55, 1.0, 6)
    if rng.random() < 0.3:  # begins or ends inside the clip
        knots[: int(rng.integers(1, 3))] *= rng.uniform(0, 0.3)
    curve = np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)
    return np.asarray(curve, np.float32)
