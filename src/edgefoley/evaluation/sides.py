"""The two sides of an evaluation: a folder of sounds, or a model that makes them.

A model's sound is made as ``edgefoley generate`` makes it: the same seed for both sides, loudness -23 LUFS,
true peak at most -1 dBTP. A folder's sounds are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from edgefoley import media, mix
from edgefoley.bundle import Bundle, open_bundle
from edgefoley.errors import BundleError, EdgeFoleyError, MediaReadError, UsageError
from edgefoley.pipeline import Pipeline
from edgefoley.sound_files import read_sound, sounds_in
from edgefoley.targets import videos_in
from edgefoley.types import Audio, Clip

LOUDNESS = -23.0  # LUFS, as the command line's default
Say = Callable[[str], None]


class EvaluationError(EdgeFoleyError):
    """The two sides or the clips allow no comparison."""


@dataclass(frozen=True)
class Options:
    """How a model makes sounds. ``prompts`` are taken in turn (none: the words of each clip's name);
    ``steps`` and ``guidance`` None: the model's own."""

    prompts: tuple[str, ...] = ()
    seed: int = 0
    steps: int | None = None
    guidance: float | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Side:
    """``bundle`` or ``files`` (clip's name -> sound file) is there, the other None."""

    label: str
    bundle: Bundle | None = None
    files: Mapping[str, Path] | None = None


@dataclass(frozen=True)
class Made:
    """The sounds of one side by clip, and why clips have none."""

    sounds: Mapping[str, Audio]
    problems: Mapping[str, str] = field(default_factory=dict)


def open_side(name: str) -> Side:
    """A folder of sounds, or a model by name or folder. Raises UsageError, BundleError."""
    path = Path(name)
    if path.is_dir() and not (path / "manifest.json").exists():
        files = sounds_in(path)
        if not files:
            raise UsageError(f"{path} holds neither sounds nor a model; name a folder of one of them.")
        return Side(str(path), files=files)
    try:
        bundle = open_bundle(name)
    except BundleError as error:
        if path.exists() or "/" in name:
            raise
        raise UsageError(f"{name!r} is neither a folder of sounds nor a model: {error}") from error
    return Side(f"{bundle.name} ({name})" if bundle.name != name else name, bundle=bundle)


def clips_in(folder: Path) -> dict[str, Path]:
    """Name -> video of a folder. Raises UsageError for none."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder of clips.")
    found = {path.stem: path for path in videos_in(folder)}
    if not found:
        raise UsageError(f"{folder} holds no video, so there is nothing to evaluate.")
    return found


def prompt_of(clip: str, number: int, prompts: tuple[str, ...]) -> str:
    """The words for the clip of this number."""
    return (
        prompts[number % len(prompts)]
        if prompts
        else " ".join(clip.replace("_", " ").replace("-", " ").split())
    )


def clip_for(bundle: Bundle, video: Path) -> Clip:
    """The clip as the model wants to see it."""
    return media.read_clip(video, bundle.views())


def sounds_of(side: Side, clips: Mapping[str, Path], options: Options, say: Say) -> Made:
    """Read or make the sound of every clip; what cannot be had is told, not raised."""
    sounds: dict[str, Audio] = {}
    problems: dict[str, str] = {}
    if side.files is not None:
        for clip in clips:
            if clip not in side.files:
                problems[clip] = f"{side.label} has no sound for it"
                continue
            try:
                sounds[clip] = read_sound(side.files[clip])
            except MediaReadError as error:
                problems[clip] = str(error)
        return Made(sounds, problems)
    assert side.bundle is not None
    with opened(side.bundle, options) as pipeline:
        for clip, audio in _generated(pipeline, clips, options):
            sounds[clip] = audio
            say(f"{side.label}: {clip}")
    return Made(sounds, problems)


def opened(bundle: Bundle, options: Options) -> Pipeline:
    """A pipeline for the bundle, to be closed."""
    return Pipeline.open(bundle.folder, threads=options.threads)


def _generated(
    pipeline: Pipeline, clips: Mapping[str, Path], options: Options
) -> Iterator[tuple[str, Audio]]:
    for number, (clip, video) in enumerate(clips.items()):
        seen = clip_for(pipeline.bundle, video)
        prompt = prompt_of(clip, number, options.prompts)
        foley = pipeline.generate(
            seen, prompt, seed=options.seed + number, num_steps=options.steps,
            guidance_scale=options.guidance,
        )  # fmt: skip
        yield clip, mix.normalise(foley.audio, LOUDNESS)


def duration_of(video: Path) -> Fraction:
    """Seconds of a clip's pictures."""
    return media.probe(video).duration
