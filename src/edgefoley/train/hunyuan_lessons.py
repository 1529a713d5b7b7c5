"""Lessons as HunyuanVideo-Foley's encoders see and hear them: ``edgefoley distill features``.

A lesson of the school (its sound, its film, its English caption) becomes one row of ``train.features``: the
DAC-VAE's mean latents of the sound, CLAP's rows of the caption, SigLIP2's rows of the film's pictures and
Synchformer's of its motion, at the rates and by the rules that the model was made for. The school has to
have kept its sound. The films are drawn again from their seeds, so that this takes about as long as making
the films did, and the encoders' time besides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor

from edgefoley.convert.hunyuan import Folder, assemble, encoder_state, vae_state
from edgefoley.errors import UsageError
from edgefoley.models.clap import PAD_ID, ClapText
from edgefoley.models.dac import DacDecoder, DacEncoder
from edgefoley.models.siglip import SiglipVision
from edgefoley.models.synchformer import Synchformer, segment_indices
from edgefoley.timeline import grid_count, pick_frames
from edgefoley.train.before_after import Decode
from edgefoley.train.features import write_shard
from edgefoley.train.scenes.film import film
from edgefoley.train.school.lessons import Lesson
from edgefoley.train.school.shards import read_flac

VISUAL_RATE, SYNC_RATE = Fraction(8), Fraction(25)
NEGATIVE: Final = "noisy, harsh"  # the model's usual negative prompt
FILM_PIXELS: Final = 224  # that films are drawn at
AT_ONCE: Final = 8  # pictures and segments
Image = npt.NDArray[np.uint8]


class Encoders:
    """The encoders of a folder of weights. ``device``: where they run, in float32."""

    def __init__(self, folder: Folder, device: str) -> None:
        sizes, self.device = folder.sizes, device
        state = {name: folder.weights(name) for name in ("vae", "clap", "siglip2", "synchformer")}
        self.sound = assemble(
            lambda: DacEncoder(sizes.vae), vae_state(state["vae"], sizes.vae, "encoder")
        ).to(device)
        self.words = assemble(lambda: ClapText(sizes.clap), encoder_state(state["clap"])).to(device)
        self.pictures = assemble(lambda: SiglipVision(sizes.siglip2), encoder_state(state["siglip2"])).to(
            device
        )
        self.motion = assemble(
            lambda: Synchformer(sizes.synchformer), encoder_state(state["synchformer"])
        ).to(device)
        self.tokenizer = Tokenizer.from_file(str(folder.paths["tokenizer"]))
        self.tokenizer.enable_truncation(sizes.clap.max_tokens)

    @torch.no_grad()
    def latents(self, wave: npt.NDArray[np.int16]) -> Tensor:
        """int16 wave at 48 kHz -> (D, L), silence appended to a whole latent."""
        samples = torch.from_numpy(wave.astype(np.float32) / 32768.0)[None, None].to(self.device)
        samples = torch.nn.functional.pad(samples, (0, -samples.shape[-1] % self.sound.config.hop))
        mean: Tensor = self.sound(samples)[0][0]
        return mean

    @torch.no_grad()
    def text(self, prompt: str) -> tuple[Tensor, Tensor]:
        """Rows (T, D) of the negative and of the prompt, both padded to the longer one, as the model wants
        it: the rows of the padding count."""
        ids = [self.tokenizer.encode(text).ids for text in (NEGATIVE, prompt)]
        width = max(map(len, ids))
        tokens = torch.tensor([row + [PAD_ID] * (width - len(row)) for row in ids], device=self.device)
        negative, text = self.words(tokens, (tokens != PAD_ID).float())
        return negative, text

    def sight(self, frames: Image, times: npt.NDArray[np.float64], seconds: float) -> tuple[Tensor, Tensor]:
        """Film (F, h, w, 3) with its times -> visual rows (M, D) and sync rows (S, D)."""
        duration = Fraction(seconds).limit_denominator(1000)
        stamps = [Fraction(float(t)).limit_denominator(100_000) for t in times]

        def at(rate: Fraction, size: int) -> Image:
            index, _ = pick_frames(stamps, rate, grid_count(duration, rate), "at_or_after")
            shown = [cv2.resize(frames[i], (size, size), interpolation=cv2.INTER_LINEAR) for i in index]
            return np.asarray(shown, np.uint8)

        pictures = at(VISUAL_RATE, self.pictures.config.image_size)
        moving = at(SYNC_RATE, self.motion.config.image_size)
        segments = moving[segment_indices(len(moving), self.motion.config)]
        return self._rows(self.pictures, pictures), self._rows(self.motion, segments).flatten(0, 1)

    def darkness(self, seconds: float) -> tuple[Tensor, Tensor]:
        """Rows of zeros, as many as a film of that length has; ``flags`` says that nobody may see them."""
        duration, motion = Fraction(seconds).limit_denominator(1000), self.motion.config
        rows = len(segment_indices(grid_count(duration, SYNC_RATE), motion)) * motion.moments
        pictures = torch.zeros(grid_count(duration, VISUAL_RATE), self.pictures.config.width)
        return pictures, torch.zeros(rows, motion.width)

    @torch.no_grad()
    def _rows(self, network: torch.nn.Module, frames: Image) -> Tensor:
        parts = torch.from_numpy(frames).split(AT_ONCE)
        return torch.cat([network(part.to(self.device)) for part in parts])


def decoder_of(folder: Folder, device: str) -> Decode:
    """Latents (B, D, L) to waves (B, 1, samples) by the folder's DAC-VAE."""
    state = vae_state(folder.weights("vae"), folder.sizes.vae, "decoder")
    decoder = assemble(lambda: DacDecoder(folder.sizes.vae), state).to(device)
    return lambda latents: decoder(latents.float())


def features_of(encoders: Encoders, row: dict[str, Any], wave: npt.NDArray[np.int16]) -> dict[str, Tensor]:
    """One lesson as a row of ``train.features``, without padding."""
    lesson = Lesson.from_json({k: v for k, v in row.items() if k != "captions"})
    negative, text = encoders.text(str(row["captions"]["en"]["levels"][1]))
    made = {"latents": encoders.latents(wave), "text": text, "negative": negative}
    shown = lesson.film_seed is not None
    if lesson.film_seed is not None:
        drawn = film(
            lesson.film_seed, lesson.seconds, size=FILM_PIXELS, action=lesson.action,
            striker=lesson.striker, struck=lesson.struck,
        )  # fmt: skip
        made["visual"], made["sync"] = encoders.sight(drawn.frames, drawn.timestamps, lesson.seconds)
    else:
        made["visual"], made["sync"] = encoders.darkness(lesson.seconds)
    return {**made, "flags": torch.full((2,), float(shown))}


def write_features(folder: Folder, school: Path, out: Path, device: str = "cpu") -> Iterator[int]:
    """Write a shard of features for every shard of lessons that has kept its sound; yields its number.

    What is whole stays when a call is interrupted, and the next goes on. Raises UsageError for a school
    without sound, CheckpointError for a folder without weights.
    """
    shards = [path for path in sorted(school.glob("lessons_*.json")) if path.with_suffix(".flac").exists()]
    if not shards:
        raise UsageError(
            f"{school} has no lessons with sound: run edgefoley train make-data (without --drop-sound)."
        )
    encoders: Encoders | None = None
    for number, path in enumerate(shards):
        if not (out / f"features_{number:04d}.safetensors").exists():
            encoders = encoders or Encoders(folder, device)
            rows = json.loads(path.read_text(encoding="utf-8"))
            waves = read_flac(path.with_suffix(".flac"), len(rows))
            made = [features_of(encoders, row, wave) for row, wave in zip(rows, waves, strict=True)]
            write_shard(out, number, _stacked(made))
        yield number


def _stacked(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One tensor per part in float16, texts padded, with masks of what is theirs."""
    parts = {name: [row[name].cpu() for row in rows] for name in rows[0]}
    made = {}
    for name, values in parts.items():
        if name in ("text", "negative"):
            mask = "mask" if name == "text" else "negative_mask"
            made[mask] = torch.nn.utils.rnn.pad_sequence(
                [torch.ones(len(value), dtype=torch.bool) for value in values], batch_first=True
            )
            made[name] = torch.nn.utils.rnn.pad_sequence(values, batch_first=True).half()
        else:
            made[name] = torch.stack(values).half()
    return made
