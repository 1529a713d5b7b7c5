"""Training data on disk: shards of lessons (sound, latents, truth, captions) and of films (pictures, events).

``folder/school.json`` says what the folder was made from; a folder made from something else is refused, so
that two sound libraries never mix unnoticed. Shard i holds the seeds ``i * per_shard ...``. A shard's JSON is
written last: where it is, the shard is whole. Everything is a pure function of the seeds, the library and the
codec.

lessons_0000.json    one object per lesson: school.lessons.Lesson and its captions
lessons_0000.flac    their sounds one after the other, 16 bit, 48 kHz, mono (unless sound is not kept)
latents_0000.npy     float16 (lessons, latent_dim, latents), when a codec is given
films_0000.*         see scenes.pool
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import numpy.typing as npt

from edgefoley.errors import UsageError
from edgefoley.timeline import SAMPLE_RATE
from edgefoley.train.files import whole, write_whole
from edgefoley.train.scenes import photos
from edgefoley.train.scenes.film import RENDERER_VERSION
from edgefoley.train.scenes.pool import render_shard
from edgefoley.train.school.lessons import Composer, Lesson
from edgefoley.train.school.rooms import RoomBank
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.words.captions import caption
from edgefoley.train.words.negatives import negatives

SCHOOL_VERSION: Final = 8  # raised whenever the same seed gives another lesson
LEVELS: Final = (0, 1, 2)
LANGUAGES: Final = ("en", "zh")
BLOCK: Final = 4096  # samples per FLAC frame


@dataclass(frozen=True)
class Plan:
    """What a folder of training data is made from.

    sounds: folders with a manifest.tsv; out; lessons, films: number of shards of each; per_shard; seconds of
    a lesson; film_seconds; codec: a run of train.codec, or None for no latents; keep_sound;
    rooms: how many to draw from; photos: panoramas behind the films (scenes.photos), or None.
    """

    sounds: tuple[Path, ...]
    out: Path
    lessons: int = 100
    films: int = 16
    per_shard: int = 64
    seconds: float = 10.0
    film_seconds: float = 5.0
    codec: Path | None = None
    keep_sound: bool = True
    rooms: int = 90
    photos: Path | None = None

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to be able to share a folder."""
        manifests = hashlib.sha256()
        for folder in self.sounds:
            manifests.update((folder / "manifest.tsv").read_bytes())
        weights = None if self.codec is None else analysis_digest(self.codec)
        return {
            "school": SCHOOL_VERSION,
            "renderer": RENDERER_VERSION,
            "sounds": manifests.hexdigest(),
            "codec": weights,
            "per_shard": self.per_shard,
            "seconds": self.seconds,
            "film_seconds": self.film_seconds,
            "rooms": self.rooms,
            "photos": None if self.photos is None else photos.digest(self.photos),
        }


def claim(plan: Plan) -> None:
    """Write school.json, or compare with the one that is there. Raises UsageError when they differ."""
    plan.out.mkdir(parents=True, exist_ok=True)
    path, mine = plan.out / "school.json", plan.identity()
    if path.exists():
        theirs = json.loads(path.read_text())
        differing = sorted(key for key in mine if theirs.get(key) != mine[key])
        if differing:
            raise UsageError(
                f"{plan.out} was made from something else ({', '.join(differing)} differ): "
                "choose another --out, or delete it"
            )
        return
    write_whole(path, json.dumps(mine, indent=1) + "\n")


def analysis_digest(codec: Path) -> str:
    """SHA-256 of the encoder's tensors: training the decoder on does not make latents worthless."""
    from safetensors.numpy import load_file

    digest = hashlib.sha256()
    for name, value in sorted(load_file(codec / "codec.safetensors").items()):
        if name.startswith("encoder."):
            digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()


def claim_codec(school: Path, codec: Path) -> None:
    """Note in school.json whose latents the folder holds. Raises UsageError when it holds another codec's."""
    path = school / "school.json"
    if not path.is_file():
        raise UsageError(f"{school} is no school: run edgefoley train make-data first")
    identity, mine = json.loads(path.read_text()), analysis_digest(codec)
    if identity["codec"] not in (None, mine) and any(school.glob("latents_*.npy")):
        raise UsageError(f"{school} holds latents of another codec: delete its latents_*.npy first")
    identity["codec"] = mine
    write_whole(path, json.dumps(identity, indent=1) + "\n")


def write_flac(path: Path, waves: Sequence[npt.NDArray[np.int16]]) -> None:
    """Equally long int16 waves one after the other in one FLAC file, whole or not at all."""
    with whole(path) as part, av.open(str(part), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=SAMPLE_RATE, layout="mono", format="s16")
        position = 0
        joined = np.concatenate(waves)
        for start in range(0, len(joined), BLOCK):
            frame = av.AudioFrame.from_ndarray(
                joined[None, start : start + BLOCK], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = SAMPLE_RATE, position
            position += frame.samples
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


def read_flac(path: Path, count: int) -> npt.NDArray[np.int16]:
    """The ``count`` waves of ``write_flac``, (count, samples). Raises ValueError when they do not divide."""
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    samples = np.concatenate(parts).astype(np.int16)
    if len(samples) % count:
        raise ValueError(f"{path}: {len(samples)} samples are not {count} equal waves")
    return samples.reshape(count, -1)


def write_latents(lessons: Path, latents: npt.NDArray[np.float16]) -> Path:
    """The latents of a shard beside its ``lessons`` file, whole or not at all; returns their path."""
    target = latents_path(lessons)
    with whole(target) as part, part.open("wb") as file:
        np.save(file, latents)
    return target


def latents_path(lessons: Path) -> Path:
    """lessons_0000.json -> latents_0000.npy"""
    return lessons.with_name(lessons.stem.replace("lessons", "latents") + ".npy")


def captions_of(lesson: Lesson) -> dict[str, Any]:
    """Captions at the three levels in both languages, wording for the sound alone, and a negative prompt."""
    facts, rng = lesson.facts(), np.random.default_rng([13, lesson.seed])
    return {
        language: {
            "levels": [caption(facts, language, level, rng) for level in LEVELS],
            "sound_only": caption(facts, language, 1, rng, sound_only=True),
            "negative": negatives(facts, language, rng),
        }
        for language in LANGUAGES
    }


Encoder = Callable[[npt.NDArray[np.int16]], npt.NDArray[np.float16]]


def write_lessons(composer: Composer, plan: Plan, number: int, encode: Encoder | None) -> None:
    """Shard ``number`` of lessons, unless it is there."""
    target = plan.out / f"lessons_{number:04d}.json"
    if target.exists():
        return
    waves, rows = [], []
    for seed in range(number * plan.per_shard, (number + 1) * plan.per_shard):
        wave, lesson = composer.compose(seed, plan.seconds)
        waves.append(np.asarray(np.round(wave * 32767), np.int16))
        rows.append({**asdict(lesson), "captions": captions_of(lesson)})
    if plan.keep_sound:
        write_flac(target.with_suffix(".flac"), waves)
    if encode is not None:
        write_latents(target, encode(np.stack(waves)))
    write_whole(target, json.dumps(rows, ensure_ascii=False))


class _Worker:
    """What a process of the pool keeps between shards."""

    plan: Plan
    composer: Composer | None = None
    encode: Encoder | None = None


def _start(plan: Plan) -> None:
    """Runs once in each process; the composer is opened by the first shard of lessons."""
    import cv2

    cv2.setNumThreads(1)
    photos.use(plan.photos)
    _Worker.plan, _Worker.composer, _Worker.encode = plan, None, None


def open_composer(plan: Plan, held_out: bool = False) -> Composer:
    """Library and rooms of a plan; both are cached beside the plan's folder."""
    library = SoundLibrary.build(plan.sounds, plan.out.parent / "library")
    return Composer(library, RoomBank.open(plan.out.parent / f"rooms_{plan.rooms}.npz", plan.rooms), held_out)


def _encoder(codec: Path) -> Encoder:
    import torch

    from edgefoley.train.codec import load_codec
    from edgefoley.train.latents import encode_shard

    torch.set_num_threads(1)
    loaded = load_codec(codec)
    return lambda waves: encode_shard(loaded, waves)


def _make(job: tuple[str, int]) -> tuple[str, int]:
    kind, number = job
    plan = _Worker.plan
    if kind == "films":
        render_shard(plan.out, number, number * plan.per_shard, plan.per_shard, plan.film_seconds)
        return job
    if _Worker.composer is None:
        _Worker.composer = open_composer(plan)
        _Worker.encode = _encoder(plan.codec) if plan.codec is not None else None
    write_lessons(_Worker.composer, plan, number, _Worker.encode)
    return job


def make(plan: Plan, workers: int = 1) -> Iterator[tuple[str, int]]:
    """Write every shard that is missing; yields ("lessons" | "films", number) as each becomes whole.

    Raises UsageError when the folder was made from something else. Stop at any time: what is whole stays, and
    the next call goes on.
    """
    claim(plan)
    jobs = [("films", i) for i in range(plan.films)] + [("lessons", i) for i in range(plan.lessons)]
    if plan.lessons:
        open_composer(plan)  # once, before several processes want to write the same cache
    if workers <= 1:
        _start(plan)
        yield from map(_make, jobs)
        return
    # A fresh interpreter per process: forking one that has threads (BLAS, OpenCV) can hang.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(plan,)) as pool:
        yield from pool.map(_make, jobs)
