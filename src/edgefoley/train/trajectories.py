"""A teacher's walks from noise to sound, written once and learnt from many times.

A walk costs two dozen passes of the teacher, a step of the student's training three. So the teacher walks
once, over batch number ``step`` of the examples, and a shard keeps what it cannot tell again cheaply: the
starting noise and the state at each of the student's noise levels, in float16 (latents have variance one; the
rounding, 5e-4, is far below what a student gets wrong). Conditions are not kept: a batch is a pure function
of seed and step, and ``fingerprint`` notices when the school behind it has changed.

    FOLDER/00017.safetensors     states (N + 1, B, D, L) float16, noise first; fingerprint, settings
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgefoley.errors import UsageError
from edgefoley.train.files import whole
from edgefoley.train.sampler import trajectory
from edgefoley.train.teachers import Batch, Teacher

BatchAt = Callable[[int], dict[str, Tensor]]
EXACT: Final = ("latents", "sync", "flags", "mask")  # parts of a batch that are the same on every machine


@dataclass(frozen=True)
class Walks:
    """Where trajectories lie and what they are: ``levels`` steps of the student, the teacher's ``steps`` a
    multiple of them; ``seed`` of the noise."""

    folder: Path
    levels: int
    steps: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.levels < 1 or self.steps % self.levels:
            raise UsageError(
                f"the teacher's steps ({self.steps}) have to be a multiple of the student's ({self.levels}): "
                "the student learns to jump between noise levels at which the teacher stops."
            )

    def path(self, step: int) -> Path:
        return self.folder / f"{step:05d}.safetensors"

    def noise(self, step: int, like: Tensor) -> Tensor:
        """Starting noise of batch ``step``, rounded as it is stored; the same on every device."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return torch.randn(like.shape, generator=generator).half().float().to(like.device)


def fingerprint(batch: Batch) -> str:
    """Of what a batch was made from, so that stored states never meet other conditions."""
    found = hashlib.sha256()
    for name in EXACT:
        found.update(batch[name].contiguous().cpu().numpy().tobytes())
    return found.hexdigest()[:32]


def write(walks: Walks, teacher: Teacher, batch_at: BatchAt, count: int) -> Iterator[int]:
    """Let the teacher walk over batches 0 … ``count`` - 1, those that are not there yet; yields each step.

    Nothing half-written remains; a call after a kill goes on with the shard that was under way.
    """
    walks.folder.mkdir(parents=True, exist_ok=True)
    for step in range(count):
        path = walks.path(step)
        if not path.exists():
            batch = batch_at(step)
            states = walk(walks, teacher, batch, step)
            about = {"fingerprint": fingerprint(batch), "steps": f"{walks.steps}/{walks.levels}"}
            with whole(path) as part:
                save_file({"states": states.half().cpu()}, part, about)
        yield step


@torch.no_grad()
def walk(walks: Walks, teacher: Teacher, batch: Batch, step: int) -> Tensor:
    """States (N + 1, B, D, L) of the teacher's walk over one batch, noise first."""
    noise = walks.noise(step, batch["latents"])
    states = trajectory(lambda x, sigma: teacher.velocity(x, sigma, batch), noise, walks.steps)
    return torch.stack(states[:: walks.steps // walks.levels])


class StoredWalks:
    """``self(step)``: batch and states of the training step, an epoch's shards in an order of its own.

    A pure function of the step, so that a resumed run sees what it would have seen. Raises UsageError when
    shards are missing or were made of other lessons or steps.
    """

    def __init__(self, walks: Walks, batch_at: BatchAt, count: int) -> None:
        missing = sum(not walks.path(step).exists() for step in range(count))
        if missing or not count:
            raise UsageError(
                f"{missing} of {count} trajectories are missing in {walks.folder}: write them first."
            )
        self.walks, self.batch_at, self.count = walks, batch_at, count

    def shard(self, step: int) -> int:
        """Which shard a training step learns from."""
        epoch, place = divmod(step, self.count)
        return int(np.random.default_rng([self.walks.seed, epoch]).permutation(self.count)[place])

    def __call__(self, step: int) -> tuple[dict[str, Tensor], Tensor]:
        number = self.shard(step)
        batch = self.batch_at(number)
        with safe_open(self.walks.path(number), "pt") as file:
            about, states = file.metadata(), file.get_tensor("states")
        wanted = f"{self.walks.steps}/{self.walks.levels}"
        if about["steps"] != wanted or about["fingerprint"] != fingerprint(batch):
            raise UsageError(
                f"{self.walks.path(number)} was made of other lessons, or with steps {about['steps']}, not "
                f"{wanted}. Remove {self.walks.folder} and write the trajectories again."
            )
        return batch, states.float().to(batch["latents"].device)
