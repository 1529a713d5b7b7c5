"""What every run of distillation and pruning shares: its folder, its examples, and what it is measured on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from edgefoley.errors import UsageError
from edgefoley.models.codec import Codec
from edgefoley.models.transformer import Transformer, TransformerConfig
from edgefoley.train.before_after import Decode, Row, Trial
from edgefoley.train.codec import load_codec
from edgefoley.train.examples import Captioner, Examples
from edgefoley.train.files import write_whole
from edgefoley.train.loop import LoopConfig, log_line
from edgefoley.train.teachers import Origin, save_network
from edgefoley.train.transformer import TEXT_WIDTH, channel_weights, with_timbres
from edgefoley.train.unwanted import ExamplesWithNegatives

Say = Callable[[str], None]
SETTINGS: Final = "settings.json"
BEFORE: Final = "before.json"  # figures from before the training, for the table after it
TRAIN_SEED, CHECK_SEED = 1, 2  # of examples; the same as those of train.transformer
FIRST_CHECK: Final = 100  # held-out batches before it are those by which train.transformer validates


@dataclass(frozen=True)
class Effort:
    """How long and on what a run trains. ``steps`` of ``batch`` ten-second examples (shorter ones are more)
    at the peak learning ``rate``; ``minutes``: stop after so much training (0: no limit); ``compiled``:
    minutes to begin, then quicker; ``bf16`` arithmetic; ``check``: held-out batches behind the table."""

    steps: int
    batch: int = 8
    rate: float = 3e-4
    minutes: float = 0.0
    device: str = "cpu"
    compiled: bool = False
    bf16: bool = True
    check: int = 4

    def loop(self) -> LoopConfig:
        """For ``train.loop``."""
        warmup = min(100, max(1, self.steps // 10))
        return LoopConfig(
            self.steps, self.rate, warmup, weight_decay=0.01, average=0.998, minutes=self.minutes
        )


def device_of(name: str) -> str:
    """The name of a device that works; "auto": cuda if there is one, else cpu. Raises UsageError."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(f"the device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return name


class Source(Protocol):
    """Where batches come from (see ``train.teachers``), and what belongs to their latents."""

    weights: Tensor  # (D, 1) of the latents' channels, mean one

    def train(self, step: int) -> dict[str, Tensor]: ...

    def held_out(self, step: int) -> dict[str, Tensor]: ...

    def check(self, config: TransformerConfig) -> None:
        """Raise UsageError when a network of these sizes has other latents or features."""
        ...

    @property
    def decode(self) -> Decode | None: ...


class LessonSource:
    """The project's own lessons, with negatives for a share of them. ``runs``: holds codec, text, school;
    ``teacher``: where it is shown timbres, they stand beside the words as it sees them."""

    def __init__(self, runs: Path, effort: Effort, negatives: float, teacher: Transformer) -> None:
        for name, file in (("codec", "codec.safetensors"), ("text", "tokenizer.json"), ("school", "")):
            if not (runs / name / file).exists():
                raise UsageError(
                    f"{runs / name} is missing or not trained; distillation learns on the lessons that the "
                    "teacher learnt on. Name their folder with --runs, or see docs/training.md."
                )
        captioner = Captioner(runs / "text", effort.device, TEXT_WIDTH if effort.compiled else 0)
        self.runs, self.device, self.teacher = runs, effort.device, teacher
        self._sets = [
            ExamplesWithNegatives(
                Examples(runs / "school", runs / "codec", captioner, effort.batch, seed, last), share
            )
            # Half of what is measured has a negative, so that its effect can be seen.
            for seed, last, share in ((TRAIN_SEED, False, negatives), (CHECK_SEED, True, 0.5))
        ]
        self.weights = channel_weights(runs / "codec").to(effort.device)

    def train(self, step: int) -> dict[str, Tensor]:
        return self._seen(self._sets[0](step))

    def held_out(self, step: int) -> dict[str, Tensor]:
        return self._seen(self._sets[1](step))

    @torch.no_grad()
    def _seen(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        text, mask = with_timbres(self.teacher, batch)
        return {**batch, "text": text, "mask": mask}

    def check(self, config: TransformerConfig) -> None:
        example = self.held_out(0)
        found = {name: example[part].shape[axis] for name, part, axis in _WIDTHS}
        check_widths(config, found, str(self.runs))

    @cached_property
    def _codec(self) -> Codec:
        return load_codec(self.runs / "codec").to(self.device)

    @property
    def decode(self) -> Decode | None:
        return self._codec.decode


_WIDTHS: Final = (
    ("latent_dim", "latents", 1),
    ("text_dim", "text", 2),
    ("visual_dim", "visual", 2),
    ("sync_dim", "sync", 2),
)


def check_widths(config: TransformerConfig, found: Mapping[str, int], where: str) -> None:
    """Raise UsageError when latents or features of a source are not those of a network."""
    other = [f"{name} {size} for {getattr(config, name)}" for name, size in found.items()
             if getattr(config, name) != size]  # fmt: skip
    if other:
        raise UsageError(
            f"the examples in {where} do not fit the teacher: {', '.join(other)}. A teacher with other "
            "latents or features needs examples of its own: see --features."
        )


def trial_of(source: Source, effort: Effort) -> Trial:
    """What a run's table is made of: held-out batches that no checkpoint was chosen by."""
    batches = [source.held_out(FIRST_CHECK + i) for i in range(effort.check)]
    return Trial(batches, source.weights, source.decode, bf16=effort.bf16)


def claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Make ``folder`` the run of ``settings``, or go on with it if it is that already.

    What may change between calls (how long, where, how quick) does not belong into ``settings``. Raises
    UsageError when the folder is another run's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SETTINGS
    wanted = json.loads(json.dumps(settings, default=str))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found != wanted:
            names = sorted(set(found) | set(wanted))
            differ = [f"{n} {found.get(n)} there, {wanted.get(n)} now" for n in names
                      if found.get(n) != wanted.get(n)]  # fmt: skip
            raise UsageError(
                f"{folder} holds another run ({'; '.join(differ)}). Name another folder with --out, or "
                "remove that one."
            )
        return
    write_whole(path, json.dumps(wanted, indent=1) + "\n")
    log_line(folder, {"settings": wanted})


def kept(path: Path, make: Callable[[], list[Row]]) -> list[Row]:
    """The rows in ``path``, or those that ``make`` makes, kept there for the next call."""
    if path.exists():
        found: list[Row] = json.loads(path.read_text(encoding="utf-8"))
        return found
    rows = make()
    write_whole(path, json.dumps(rows, indent=1) + "\n")
    return rows


def finish(folder: Path, network: Transformer, weights: Mapping[str, Tensor], origin: Origin) -> None:
    """Write the averaged ``weights`` as the run's result, and leave ``network`` with them."""
    network.load_state_dict(weights)
    network.eval()
    save_network(folder, network, weights, origin)


def random_of(step: int, stream: int) -> torch.Generator:
    """Random numbers of a training step, the same whether a run was resumed or not and on every device."""
    return torch.Generator().manual_seed(1_000_003 * (stream + 1) + step)


def sigmas_of(count: int, generator: torch.Generator) -> Tensor:
    """Noise levels (count,) as ``train.transformer`` draws them before it shifts them: half
    logit-normal, half uniform."""
    even = torch.rand(count, generator=generator)
    middle = torch.randn(count, generator=generator).sigmoid()
    return torch.where(torch.rand(count, generator=generator) < 0.5, even, middle).clamp(1e-3, 1)


def described(effort: Effort) -> dict[str, Any]:
    """An effort's fields that belong to a run's history."""
    return {name: value for name, value in asdict(effort).items() if name in ("steps", "batch", "rate")}
