"""Do the generator's controls work? python benchmarks/controls.py [--model nano] [--aisfx DIR] [--json FILE]

Sounds of --seconds each, from words alone unless told otherwise, by prompts of its own (never those of the
evaluation), loudness set to -23 LUFS as the command line does where a listener would hear them.

faults     of all sounds from words: silent (below -60 LUFS as made), NaN, clipped; pops in steady sounds only
           (rain, an engine: impacts begin like pops)
variety    mean log-mel distance (dB) between takes of one prompt, over that between takes of different
           prompts, always of different seeds: 0 means that the seed does nothing, 1 that the prompt does
           nothing
guidance   what each value changes against guidance 1 with the same seed: latents (norm of the difference
           over the norm), log-mel distance, level before the loudness is set, faults
negative   prompts that name two sounds, made with no negative prompt, with one that refuses the second, and
           with one that refuses a third that is not there (control). By sound-effect embeddings (package
           aisfx, unpacked: --aisfx): how much nearer the sound comes to the refused and to the kept concept
           than without; refused must be below 0, kept and the control near 0. A concept is its real
           recordings in the library (--sounds), or without it what the model makes of it when asked for
           nothing else.
silence    level over pictures that stand still: prompts that ask for silence, none, and one that asks for a
           sound. LUFS and RMS as made, before the command line sets the loudness.
tagger     with --shared (the evaluation folder): share of sounds among whose five strongest classes the
           tagger has Speech or Music, which no prompt here asks for; and share in which it hears the refused
           sound, by negative prompt. For reporting; nothing is chosen by it.

95 % intervals: percentile bootstrap over prompts, 10 000 draws. Prints a card, tables, and one last line of
JSON; --json writes it to a file too. About three minutes of one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from controls_cases import PROMPTS, REFUSALS, STILL, still_clip
from outcome import put_out

from edgefoley import mix
from edgefoley.metrics.audio_quality import log_mel_distance
from edgefoley.metrics.controls import (
    Faults,
    faults,
    heard,
    likeness,
    lufs,
    relative_change,
    rms_dbfs,
    take_distances,
)
from edgefoley.metrics.event_scores import interval, ratio_interval
from edgefoley.pipeline import Pipeline
from edgefoley.types import Conditioning

LOUDNESS = -23.0  # LUFS, as the command line's default
PARTS = ("variety", "guidance", "negative", "silence")
UNWANTED = ("Speech", "Music")
MOST = 10  # recordings of a concept


@dataclass(frozen=True)
class Made:
    """One sound: latents (D, L), the wave as ``made``, and as it would be ``heard``."""

    latents: np.ndarray
    made: np.ndarray
    heard: np.ndarray


class Maker:
    """Makes each sound once, however many parts ask for it."""

    def __init__(self, pipeline: Pipeline, seconds: Fraction, steps: int | None) -> None:
        self.pipeline, self.seconds, self.steps = pipeline, seconds, steps
        self.sounds: dict[tuple[Any, ...], Made] = {}
        self.stills: dict[int, Conditioning] = {}

    def words(self, prompt: str, seed: int, guidance: float, negative: str = "") -> Made:
        """From words alone."""
        key = (prompt, seed, guidance, negative)
        if key not in self.sounds:
            asked = self.pipeline.encode(None, prompt, negative, self.seconds)
            self.sounds[key] = self.make(asked, seed, guidance)
            if len(self.sounds) % 20 == 0:
                print(f"{len(self.sounds)} sounds", file=sys.stderr, flush=True)
        return self.sounds[key]

    def still(self, prompt: str, seed: int, guidance: float) -> Made:
        """Over a picture that stands still, another one for each seed."""
        if seed not in self.stills:
            clip = still_clip(self.pipeline.bundle.views(), self.seconds, seed)
            self.stills[seed] = self.pipeline.encode(clip, "")
        seen = self.stills[seed]
        if prompt:
            said = self.pipeline.encode(None, prompt, duration=self.seconds)
            seen = replace(seen, text_feat=said.text_feat, prompt=prompt)
        return self.make(seen, seed, guidance)

    def make(self, conditioning: Conditioning, seed: int, guidance: float) -> Made:
        *_, last = self.pipeline.denoise(conditioning, seed, self.steps, guidance)
        audio = self.pipeline.decode(last.latents, conditioning.duration)
        return Made(last.latents[0], audio.samples, mix.normalise(audio, LOUDNESS).samples)


class Heard:
    """What listening networks say, each asked once per sound; None where one is not there."""

    def __init__(self, aisfx: Path | None, shared: Path | None) -> None:
        self.embed: Callable[[np.ndarray], np.ndarray] | None = None
        self.tagger: Any = None
        if aisfx is not None:
            import torch
            from codec import Embedder

            torch.set_num_threads(1)
            self.embed = Embedder(aisfx)
        if shared is not None:
            from footage import load_ruler

            self.tagger = load_ruler(shared / "eval" / "score.py").Yamnet()
        self.vectors: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # with the wave, whose id would be reused

    def vector(self, wave: np.ndarray) -> np.ndarray:
        """(D,) mean embedding of a sound."""
        assert self.embed is not None
        if id(wave) not in self.vectors:
            self.vectors[id(wave)] = wave, self.embed(wave).mean(0)
        return self.vectors[id(wave)][1]

    def scores(self, waves: list[np.ndarray]) -> np.ndarray:
        """(sounds, labels) of the tagger, mean over time."""
        from scipy.signal import resample_poly

        low = [resample_poly(wave, 1, 3).astype(np.float32) for wave in waves]
        return np.stack([self.tagger(wave)[0].mean(0) for wave in low])


def fault_counts(found: list[Faults], steady: list[Faults]) -> dict[str, Any]:
    return {
        "sounds": len(found),
        "silent": sum(f.silent for f in found),
        "not_finite": sum(f.not_finite for f in found),
        "clipped": sum(f.clipped > 0 for f in found),
        "steady_sounds": len(steady),
        "pops_in_steady": sum(f.pops for f in steady),
    }


def variety(maker: Maker, seeds: range, guidance: float) -> dict[str, Any]:
    takes = [[maker.words(prompt, seed, guidance) for seed in seeds] for prompt, _ in PROMPTS]
    checked = [[faults(take.made, take.heard) for take in group] for group in takes]
    steady = [f for group, (_, calm) in zip(checked, PROMPTS, strict=True) for f in group if calm]
    within, between = take_distances([[take.heard for take in group] for group in takes], log_mel_distance)
    return {
        "within_db": interval(within),
        "between_db": interval(between),
        "ratio": ratio_interval(within, between),
        "least_within_db": min(within),
        "faults": fault_counts([f for group in checked for f in group], steady),
    }


def guidance_effect(maker: Maker, values: list[float]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in values:
        pairs = [(maker.words(p, 1, value), maker.words(p, 1, values[0])) for p, _ in PROMPTS]
        checked = [faults(new.made, new.heard) for new, _ in pairs]
        steady = [f for f, (_, calm) in zip(checked, PROMPTS, strict=True) if calm]
        found[f"{value:g}"] = {
            "latents": interval([relative_change(new.latents, old.latents) for new, old in pairs]),
            "log_mel_db": interval([log_mel_distance(new.heard, old.heard) for new, old in pairs]),
            "lufs": interval([lufs(new.made) for new, _ in pairs]),
            "faults": fault_counts(checked, steady),
        }
    return found


def negative(maker: Maker, ears: Heard, seeds: range, guidance: float, library: Any) -> dict[str, Any]:
    """Effect of negative prompts; needs at least one of embedder and tagger, and guidance above 1."""
    names = ("none", "refused", "control")
    sounds = {
        (i, name): [maker.words(r.prompt, seed, guidance, words).heard for seed in seeds]
        for i, r in enumerate(REFUSALS)
        for name, words in zip(names, ("", r.negative, r.control), strict=True)
    }
    found: dict[str, Any] = {"prompts": len(REFUSALS)}
    if ears.embed is not None:
        found["reference"] = "recordings" if library is not None else "the model's own"
        found["likeness"] = likenesses(maker, ears, sounds, seeds, guidance, library)
    if ears.tagger is not None:
        for name in names:
            hits = [
                np.mean(heard(ears.scores(sounds[i, name]), ears.tagger.labels, r.labels))
                for i, r in enumerate(REFUSALS)
            ]
            found[f"tagger_{name}"] = interval(hits)
    return found


def likenesses(
    maker: Maker,
    ears: Heard,
    sounds: dict[Any, list[np.ndarray]],
    seeds: range,
    guidance: float,
    library: Any,
) -> dict[str, Any]:
    """How much nearer than without a negative prompt each one brings the sound to the two concepts."""
    centre = np.mean([ears.vector(wave) for group in sounds.values() for wave in group], axis=0)

    def references(concept: tuple[str, str]) -> np.ndarray:
        if library is None:
            waves = [maker.words(concept[1], seed, guidance).heard for seed in seeds]
        else:
            waves = recordings_of(library, concept[0])
        return np.stack([ears.vector(wave) for wave in waves])

    rows: dict[str, list[float]] = {}
    for i, refusal in enumerate(REFUSALS):
        for side, concept in (("refused", refusal.refused), ("kept", refusal.kept)):
            known = references(concept)
            near = {
                name: np.mean([likeness(ears.vector(wave), known, centre) for wave in sounds[i, name]])
                for name in ("none", "refused", "control")
            }
            rows.setdefault(f"to_{side}_without", []).append(float(near["none"]))
            rows.setdefault(f"to_{side}_change", []).append(float(near["refused"] - near["none"]))
            rows.setdefault(f"to_{side}_control", []).append(float(near["control"] - near["none"]))
    return {name: interval(values) for name, values in rows.items()}


def recordings_of(library: Any, concept: str) -> list[np.ndarray]:
    from edgefoley.train.likeness import recordings

    found = [w for side in (False, True) for w in recordings(library, library.concepts[concept], side)]
    if not found:
        sys.exit(f"the library has no real recording of {concept}; leave out --sounds")
    return found[:MOST]


def silence(maker: Maker, seeds: range, guidance: float) -> dict[str, Any]:
    found = {}
    for name, prompts in STILL.items():
        made = [[maker.still(prompt, seed, guidance).made for seed in seeds] for prompt in prompts]
        levels = [[lufs(wave) for wave in group] for group in made]
        found[name] = {
            "sounds": sum(map(len, made)),
            "lufs": interval([np.mean(group) for group in levels]),
            "rms_dbfs": interval([np.mean([rms_dbfs(wave) for wave in group]) for group in made]),
            "loudest_lufs": max(max(group) for group in levels),
            "below_-60_lufs": interval([np.mean(np.array(group) < -60) for group in levels]),
        }
    return found


def unwanted(maker: Maker, ears: Heard, guidance: float) -> dict[str, Any]:
    """Share of the sounds from words, at the model's guidance and without a refusal, in which it hears what
    no prompt asks for."""
    waves = [m.heard for (_, _, g, no), m in maker.sounds.items() if g == guidance and not no]
    scores = ears.scores(waves)
    rates = {
        name: interval([float(hit) for hit in heard(scores, ears.tagger.labels, (name,))])
        for name in UNWANTED
    }
    return {"sounds": len(waves), **rates}


def show(name: str, value: Any, indent: str = "") -> None:
    """A table of nested figures, intervals in one cell."""
    if isinstance(value, dict) and "low" in value:
        text = f"{value['mean']:9.3f}  [{value['low']:.3f}, {value['high']:.3f}]"
        print(f"{indent}{name:<{30 - len(indent)}}{text}")
    elif isinstance(value, dict):
        print(f"{indent}{name}")
        for key, inner in value.items():
            show(key, inner, indent + "  ")
    else:
        print(f"{indent}{name:<{30 - len(indent)}}{value:9.3f}" if isinstance(value, float) else
              f"{indent}{name:<{30 - len(indent)}}{value!s:>9}")  # fmt: skip


def measure(maker: Maker, ears: Heard, arguments: argparse.Namespace, guidance: float) -> dict[str, Any]:
    seeds, library = range(1, 1 + arguments.seeds), None
    if arguments.sounds:
        from edgefoley.train.sounds.library import SoundLibrary

        library = SoundLibrary.build(tuple(arguments.sounds), arguments.library)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "variety": lambda: variety(maker, seeds, guidance),
        "guidance": lambda: guidance_effect(maker, arguments.guidance),
        # Without guidance a negative prompt cannot act.
        "negative": lambda: negative(maker, ears, seeds, guidance if guidance > 1 else 2.5, library),
        "silence": lambda: silence(maker, seeds, guidance),
    }
    found: dict[str, Any] = {}
    for name in arguments.only:
        found[name] = parts[name]()
        show(name, found[name])
    if ears.tagger is not None and maker.sounds:
        found["tagger"] = unwanted(maker, ears, guidance)
        show("tagger", found["tagger"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="nano")
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--seconds", type=Fraction, default=Fraction(4), help="of each sound")
    parser.add_argument("--seeds", type=int, default=3, help="takes of each prompt, 2 or more")
    parser.add_argument("--steps", type=int, help="default: what the model asks for")
    parser.add_argument(
        "--guidance", type=float, nargs="+", default=[1.0, 2.5, 4.0], help="values to compare with the first "
        "of them. The other parts use what the model asks for (negative prompts: 2.5 where that is 1)",
    )  # fmt: skip
    parser.add_argument("--aisfx", type=Path, help="folder with cnn2d.py and checkpoint.pth")
    parser.add_argument("--sounds", type=Path, nargs="+", help="folders of recordings with manifest.tsv")
    parser.add_argument("--library", type=Path, default=Path("runs/library"), help="cache of the cuts")
    parser.add_argument("--shared", type=Path, help="evaluation folder with eval/score.py; not used without")
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    if "negative" in arguments.only and arguments.aisfx is None and arguments.shared is None:
        print("negative prompts are left out: name --aisfx or --shared to listen with", file=sys.stderr)
        arguments.only.remove("negative")
    with Pipeline.open(arguments.model, arguments.backend, arguments.threads) as pipeline:
        guidance = pipeline.bundle.defaults.guidance
        card = {
            "model": f"{pipeline.bundle.name} {pipeline.bundle.version}",
            "steps": pipeline.default_steps if arguments.steps is None else arguments.steps,
            "guidance": guidance, "seconds": float(arguments.seconds), "seeds": arguments.seeds,
        }  # fmt: skip
        for key, value in card.items():
            print(f"{key:10} {value}")
        maker = Maker(pipeline, arguments.seconds, arguments.steps)
        found = measure(maker, Heard(arguments.aisfx, arguments.shared), arguments, guidance)
    result = {"card": card, **found}
    put_out(result, arguments.json)


if __name__ == "__main__":
    main()
