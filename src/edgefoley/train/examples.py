"""What the transformer sees of a lesson: latents, a caption, rows for the picture, and the event curve.

In nano the picture speaks through names of classes, so a row is a blend of sentence vectors in which the
right one weighs most. The event curve is drawn from the lesson's true events with the errors of a good but
fallible sync encoder, or, for words alone, as ``edgefoley.timbres`` draws it. Each condition is dropped at
times, so that every combination works and guidance has an unconditional branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edgefoley.events import ACTIVITY
from edgefoley.models.timbre import timbre_width
from edgefoley.models.transformer import NANO
from edgefoley.timbres import CERTAIN, CONTINUOUS, LASTING, STEADY, least_activity
from edgefoley.train.school.lessons import Lesson
from edgefoley.train.sync_curve import degrade, draw_curve
from edgefoley.train.text import load_encoder
from edgefoley.train.timbre import (
    LATENT_RATE,
    is_example,
    lesson_shards,
    loudness_sign,
    read_lessons,
    timbre,
)  # fmt: skip
from edgefoley.train.words.captions import caption
from edgefoley.train.words.concepts import load_concepts

NO_WORDS = 0.15  # share of examples without a caption
UNKNOWN = 0.15  # share of the captions without a timbre beside them
ITSELF = 0.7  # share of the timbres that are the lesson's own, where nothing else is heard in it
TIMBRES = 2  # of one caption, at most
WORDS_ALONE = 0.22  # share of pictured lessons that are shown without their picture
TOLD = 0.7  # share of words alone that have a rhythm, and of beds nobody sees whose activity the curve shows
PAUSE = 0.8  # a continuous sound that gets so much fainter, in deviations of the first latent, is not steady
STRETCHES = {100: 0.5, 250: 0.5}  # tokens -> share; compiled, every length is a graph of its own


class Captioner:
    """Text -> features by the frozen text encoder, in padded batches; ``width``: tokens of every batch
    (longer captions are cut, which a compiled network wants) or 0 for as many as the longest has."""

    def __init__(self, folder: Path, device: str, width: int = 0) -> None:
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.encoder = load_encoder(folder).to(device)
        self.device, self.width = device, width

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """-> text_feat (B, T, D) and mask (B, T) bool."""
        ids = [self.tokenizer.encode(text).ids[: self.width or None] for text in texts]
        width = self.width or max(map(len, ids))
        tokens = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=self.device)
        mask = torch.tensor(
            [[1.0] * len(row) + [0.0] * (width - len(row)) for row in ids], device=self.device
        )
        return self.encoder(tokens, mask).float(), mask.bool()


@dataclass(frozen=True)
class Row:
    """One example before batching: latents (D, 2 tokens); its caption; visual (rows, D) or None when the
    picture is not shown; sync (tokens, sync_dim); timed: whether the event curve is shown; timbres: which
    lessons are examples of what the caption names."""

    latents: np.ndarray
    text: str
    visual: Tensor | None
    sync: np.ndarray
    timed: bool
    timbres: tuple[int, ...] = ()


def visual_rows(tokens: int) -> int:
    """Pictures of a stretch of so many tokens (25 per second, 2 pictures per second)."""
    return max(1, -(-tokens * 2 // 25))


def within(hits: Sequence[tuple[float, float]], begin: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Times from its beginning (s) and strengths of the (time, strength) ``hits`` in a stretch of ``count``
    latents."""
    times, strengths = np.array(hits, dtype=np.float64).reshape(-1, 2).T
    at = begin / LATENT_RATE
    inside = (times >= at) & (times < at + count / LATENT_RATE)
    return times[inside] - at, strengths[inside]


def told_curve(
    lesson: Lesson, kinds: Mapping[str, str], loudness: np.ndarray, begin: int
) -> np.ndarray | None:
    """Event curve (tokens, 4) of the first sound of a lesson that nobody sees, as the runtime draws it for
    words alone: its events, or steady activity. None where the lesson has neither: a recording without
    onsets, a continuous sound with a pause. ``kinds``: of concepts by id; ``loudness`` (2 tokens,) of the
    stretch of its latents that begins at ``begin``."""
    count = len(loudness)
    times, strengths, activity = *np.zeros((2, 0)), np.zeros(count, np.float32)
    if lesson.silent or not lesson.voices:
        return draw_curve(times, times, strengths, activity, count // 2)
    main = lesson.voices[0]
    activity += least_activity([kinds[voice.concept] for voice in lesson.voices[:TIMBRES]])
    if kinds[main.concept] in CONTINUOUS:
        if pauses(loudness):
            return None
        activity[:] = STEADY
    elif not main.hits:
        return None
    else:
        times, strengths = within(main.hits, begin, count)
    return draw_curve(times, np.full(len(times), CERTAIN), strengths, activity, count // 2)


def pauses(loudness: np.ndarray) -> bool:
    """Whether a stretch is much fainter in one place than in another, for 0.2 s. ``loudness`` (2 tokens,)."""
    smooth = np.convolve(loudness.astype(np.float64), np.full(10, 0.1), "valid")
    return bool(np.ptp(smooth) > PAUSE)


def bed_activity(lesson: Lesson, kinds: Mapping[str, str], loudness: np.ndarray) -> float:
    """Activity, at least, of a pictured lesson whose sounds are named, as the runtime has it
    (``timbres.least_activity``); 0 where the picture shows that of one that lasts, and for one that should be
    steady and ``pauses``."""
    named = lesson.voices[:TIMBRES]
    if any(voice.role == "seen" and kinds[voice.concept] == LASTING for voice in named):
        return 0.0
    least = least_activity([kinds[voice.concept] for voice in named])
    return 0.0 if least == STEADY and pauses(loudness) else least


class Examples:
    """``self(step)`` is a pure function of seed and step."""

    def __init__(
        self, school: Path, codec: Path, captioner: Captioner, batch: int, seed: int, last: bool
    ) -> None:
        chosen = lesson_shards(school, last)
        self.latents = [np.load(p, mmap_mode="r") for p in chosen]
        self.lessons: list[Lesson] = []
        for path in chosen:
            self.lessons += read_lessons(path)
        self.per_shard = len(self.latents[0])
        self.loudness = loudness_sign(codec)
        self.captioner, self.batch, self.seed = captioner, batch, seed
        self.concepts = {c.id: c for c in load_concepts()}
        self.kinds = {c.id: c.table_kind for c in self.concepts.values()}
        everything = [c.phrases(lang)[0] for c in self.concepts.values() for lang in ("en", "zh")]
        self.vectors = captioner(everything)[0][:, 0]
        self.timbres = {i: self.timbre(i) for i, lesson in enumerate(self.lessons) if is_example(lesson)}
        self.examples_of: dict[str, list[int]] = {}
        for i in self.timbres:
            self.examples_of.setdefault(self.lessons[i].voices[0].concept, []).append(i)

    def whole(self, index: int) -> np.ndarray:
        """Latents (D, L) of a lesson."""
        found: np.ndarray = self.latents[index // self.per_shard][index % self.per_shard]
        return found

    def timbre(self, index: int) -> np.ndarray:
        """Raw timbre (R,) of the main sound of a lesson in which nothing else is heard."""
        return timbre(self.whole(index), self.lessons[index].voices[0].hits, self.loudness)

    def shown(self, index: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Examples for the sounds of a lesson: the lesson itself, or others of the same concept."""
        if rng.random() < UNKNOWN:
            return ()
        if index in self.timbres and rng.random() < ITSELF:
            return (index,)
        found = []
        for place, voice in enumerate(self.lessons[index].voices[:TIMBRES]):
            options = self.examples_of.get(voice.concept, [])
            if options and (not place or rng.random() < 0.7):
                found.append(options[int(rng.integers(len(options)))])
        return tuple(found)

    def visual(self, concept: str, rows: int, rng: np.random.Generator) -> Tensor:
        """Rows (rows, D): a blend of sentence vectors, the concept's own with a random share."""
        phrases = self.concepts[concept].phrases
        names = [phrases(lang)[int(rng.integers(2))] for lang in ("en", "zh")]
        own = self.captioner(names)[0][:, 0].mean(0)
        share = float(rng.uniform(0.15, 0.95))
        picks = rng.integers(0, len(self.vectors), (rows, 4))
        weights = torch.from_numpy(rng.dirichlet(np.ones(4), rows).astype(np.float32)).to(own.device)
        steady = torch.from_numpy(picks[:1].repeat(rows, 0)).to(own.device)
        varied = torch.from_numpy(picks).to(own.device)
        others = (self.vectors[torch.where(weights > 0.3, varied, steady)] * weights[..., None]).sum(1)
        return share * own + (1 - share) * others

    def example(self, tokens: int, rng: np.random.Generator) -> Row:
        """A stretch of a random lesson."""
        size, index = 2 * tokens, int(rng.integers(len(self.lessons)))
        lesson = self.lessons[index]
        picture = lesson.film_seed is not None and rng.random() > WORDS_ALONE
        text = ""
        timbres: tuple[int, ...] = ()
        if rng.random() > NO_WORDS:
            level = int(rng.choice([0, 1, 1, 2]))
            language = "en" if rng.random() < 0.5 else "zh"
            alone = level > 0 and rng.random() < (0.1 if picture else 0.3)
            text = caption(lesson.facts(), language, level, rng, sound_only=alone)
            timbres = self.shown(index, rng)
        whole = self.whole(index)
        latest = (whole.shape[1] - size) // 2
        begins = 2 * rng.integers(0, latest + 1, 1 if picture else 6)
        # Words alone ask for a sound: without a picture to explain a silence, take the fullest stretch.
        begin = int(max(begins, key=lambda b: self.loudness * float(whole[0, b : b + size].mean())))
        stretch = whole[:, begin : begin + size].astype(np.float32)
        loudness, curve = self.loudness * stretch[0], None
        if picture:
            noisy = degrade(*within(lesson.events, begin, size), tokens / 25, rng)
            activity = np.array(lesson.activity, dtype=np.float32)
            curve = draw_curve(*noisy, activity[begin : begin + size], tokens)
            if timbres and rng.random() < TOLD:
                bed = bed_activity(lesson, self.kinds, loudness)
                curve[:, ACTIVITY] = np.maximum(curve[:, ACTIVITY], bed)
        elif rng.random() < (TOLD if text else TOLD / 2):
            curve = told_curve(lesson, self.kinds, loudness, begin)
        seen = [voice.concept for voice in lesson.voices if voice.role == "seen"]
        visual = None
        if picture and seen and rng.random() < (0.9 if not text else 0.6):
            visual = self.visual(seen[0], visual_rows(tokens), rng)
        timed = curve is not None
        curve = np.zeros((tokens, NANO.sync_dim), np.float32) if curve is None else curve
        return Row(stretch, text, visual, curve, timed, timbres)

    def __call__(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        tokens = int(rng.choice(list(STRETCHES), p=list(STRETCHES.values())))
        rows = [self.example(tokens, rng) for _ in range(max(1, round(self.batch * 250 / tokens)))]
        text, mask = self.captioner([row.text for row in rows])
        device = text.device
        nothing = torch.zeros(visual_rows(tokens), NANO.visual_dim, device=device)
        raw = np.zeros((len(rows), TIMBRES, timbre_width(NANO.latent_dim)), np.float32)
        for place, row in enumerate(rows):
            for k, index in enumerate(row.timbres):
                raw[place, k] = self.timbres[index]
        flags = [(float(row.visual is not None), float(row.timed)) for row in rows]
        return {
            "latents": torch.from_numpy(np.stack([row.latents for row in rows])).to(device),
            "text": text,
            "mask": mask,
            "visual": torch.stack([nothing if row.visual is None else row.visual for row in rows]),
            "sync": torch.from_numpy(np.stack([row.sync for row in rows])).to(device),
            "flags": torch.tensor(flags, device=device),
            "timbres": torch.from_numpy(raw).to(device),
            "shown": torch.tensor(
                [[k < len(row.timbres) for k in range(TIMBRES)] for row in rows], device=device
            ),
        }
