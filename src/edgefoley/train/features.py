"""Examples for teachers with latents and features of their own: shards of what their encoders said.

    FOLDER/features_0000.safetensors
        latents (n, D, L)   text (n, T, text_dim), mask (n, T)    negative (n, T', text_dim), negative_mask
        visual (n, M, visual_dim)    sync (n, S, sync_dim)        flags (n, 2): visual and sync are there

Any dtype; rows of a shard are equally long, shards need not be. The last shard is held out. ``edgefoley
distill features`` writes such a folder for HunyuanVideo-Foley from lessons (``train.hunyuan_lessons``); from
clips of your own, any script that calls the encoders can.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgefoley.errors import UsageError
from edgefoley.models.transformer import TransformerConfig
from edgefoley.train.before_after import Decode
from edgefoley.train.distill_run import CHECK_SEED, TRAIN_SEED, check_widths
from edgefoley.train.files import whole

PARTS: Final = ("latents", "text", "mask", "negative", "negative_mask", "visual", "sync", "flags")
NO_WORDS, NO_SIGHT = 0.1, 0.1  # shares of examples without words, pictures, events: for guidance


def write_shard(folder: Path, number: int, parts: Mapping[str, Tensor]) -> Path:
    """Write one shard whole or not at all; returns its path. Raises ValueError when a part is missing."""
    missing = [name for name in PARTS if name not in parts]
    if missing or len({len(part) for part in parts.values()}) != 1:
        raise ValueError(f"a shard has one row per example of {', '.join(PARTS)}; missing: {missing}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"features_{number:04d}.safetensors"
    # Copies: parts may share memory, which the format refuses.
    copies = {name: value.cpu().contiguous().clone() for name, value in parts.items()}
    with whole(path) as part:
        save_file(copies, part)
    return path


class FeatureSource:
    """Batches from a folder of shards; see ``distill_run.Source``. ``decode``: latents to sound, if it can
    be had. Pure functions of the step. Raises UsageError for a folder with fewer than two shards."""

    def __init__(self, folder: Path, batch: int, device: str, decode: Decode | None = None) -> None:
        self.paths = sorted(folder.glob("features_*.safetensors"))
        if len(self.paths) < 2:
            raise UsageError(
                f"{folder} holds {len(self.paths)} shards of features; two are needed, of which the last is "
                "held out. Write them with: edgefoley distill features"
            )
        self.folder, self.batch, self.device, self.decode = folder, batch, device, decode
        self.weights = torch.ones(self._read(self.paths[0], [0])["latents"].shape[1], 1, device=device)

    def train(self, step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([TRAIN_SEED, step])
        batch = self._draw(self.paths[int(rng.integers(len(self.paths) - 1))], rng)
        count = len(batch["latents"])
        wordless = torch.from_numpy(rng.random(count) < NO_WORDS)
        unseen = torch.from_numpy(rng.random((count, 2)) < NO_SIGHT)
        batch["flags"] = batch["flags"] * ~unseen.to(self.device)
        return _with_words(batch, wordless.to(self.device))

    def held_out(self, step: int) -> dict[str, Tensor]:
        return self._draw(self.paths[-1], np.random.default_rng([CHECK_SEED, step]))

    def check(self, config: TransformerConfig) -> None:
        row = self._read(self.paths[0], [0])
        axes = {"latent_dim": ("latents", 1), "text_dim": ("text", 2), "visual_dim": ("visual", 2),
                "sync_dim": ("sync", 2)}  # fmt: skip
        check_widths(config, {k: row[part].shape[axis] for k, (part, axis) in axes.items()}, str(self.folder))

    def _draw(self, path: Path, rng: np.random.Generator) -> dict[str, Tensor]:
        with safe_open(path, "pt") as file:
            count = file.get_slice("latents").get_shape()[0]
        rows = rng.permutation(count)[: self.batch]
        return self._read(path, sorted(rows.tolist()))

    def _read(self, path: Path, rows: list[int]) -> dict[str, Tensor]:
        try:
            with safe_open(path, "pt") as file:
                parts = {name: file.get_slice(name) for name in PARTS}
                batch = {
                    name: torch.cat([part[i : i + 1] for i in rows]).to(self.device)
                    for name, part in parts.items()
                }
        except SafetensorError as error:
            raise UsageError(f"{path} is no shard of features: {error}") from error
        for name, value in batch.items():
            batch[name] = value.bool() if "mask" in name else value.float()
        return batch


def _with_words(batch: dict[str, Tensor], wordless: Tensor) -> dict[str, Tensor]:
    """The batch in which the ``wordless`` examples (B,) bool have the negative's words, as guidance's other
    branch has."""
    width = max(batch["text"].shape[1], batch["negative"].shape[1])
    made = dict(batch)
    for rows, mask in (("text", "mask"), ("negative", "negative_mask")):
        lacking = width - batch[rows].shape[1]
        made[rows] = torch.nn.functional.pad(batch[rows], (0, 0, 0, lacking))
        made[mask] = torch.nn.functional.pad(batch[mask], (0, lacking))
    made["text"] = torch.where(wordless[:, None, None], made["negative"], made["text"])
    made["mask"] = torch.where(wordless[:, None], made["negative_mask"], made["mask"])
    return made
