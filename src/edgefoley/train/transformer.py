"""Train nano's transformer by flow matching:
``python -m edgefoley.train.transformer --out runs/transformer``.

Needs runs/codec, runs/text and runs/school with latents; what it sees of a lesson is in ``train.examples``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from edgefoley.models.timbre import join
from edgefoley.models.transformer import NANO, Transformer
from edgefoley.sampling import shifted
from edgefoley.train.examples import Captioner, Examples
from edgefoley.train.loop import LoopConfig, adopt, mark_done, train
from edgefoley.train.precision import mixed
from edgefoley.train.timbre import fit

BLUR = 0.4  # of a timbre's components, at most; they have about unit variance
SHIFT = 2.0  # of the schedule that nano is run with
TEXT_WIDTH = 48  # tokens of a caption when the network is compiled; of all captions one in 1,000 is longer


def channel_weights(codec: Path) -> Tensor:
    """Weight (D, 1) of each latent channel: the square root of how much it moves the spectrum, mean one.

    Latents are whitened, so without weights the last components, mostly chance, would get as much of a small
    network's attention as loudness and timbre. The optimum is the same.
    """
    deviation = load_file(codec / "codec.safetensors")["encoder.synthesis"].norm(dim=1)
    return (deviation.sqrt() / deviation.sqrt().mean())[:, None]


def with_timbres(
    model: Transformer, batch: dict[str, Tensor], blur: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Text (B, T + K, D) and mask of a batch of ``Examples``, the timbres of the sounds it names beside the
    words. ``blur`` (B,): deviation of noise on their components, so that neighbours sound alike."""
    if not model.config.timbre_components:
        return batch["text"], batch["mask"]
    parts = model.timbre_in.whiten(batch["timbres"])
    if blur is not None:
        parts = parts + blur[:, None, None] * torch.randn_like(parts)
    rows, pooled = model.timbre_in(parts)
    return join(batch["text"], batch["mask"], rows, pooled, batch["shown"])


def flow_loss(
    model: Transformer,
    weights: Tensor,
    batch: dict[str, Tensor],
    sigma: Tensor,
    noise: Tensor,
    blur: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the velocity (noise - data) at ``sigma`` (B,), channels weighed by
    ``weights``."""
    data = batch["latents"]
    at = sigma[:, None, None]
    see, timed = batch["flags"][:, 0, None, None], batch["flags"][:, 1, None, None]
    visual = see * batch["visual"] + (1 - see) * model.empty_clip_feat
    sync = timed * batch["sync"] + (1 - timed) * model.empty_sync_feat
    text, mask = with_timbres(model, batch, blur)
    with mixed(data.device.type):
        made = model(at * noise + (1 - at) * data, 1000 * sigma, text, visual, sync, mask[:, None, None, :])
    return (weights * (made.float() - (noise - data)).square()).mean((1, 2))


def parse() -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds codec, text and school")
    parser.add_argument("--out", type=Path, default=Path("runs/transformer"))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument(
        "--batch", type=int, default=10, help="ten-second examples a step; shorter ones are more"
    )
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--start", type=Path, help="begin with another run's weights wherever shapes agree")
    parser.add_argument(
        "--compile", action="store_true", help="needs a C++ compiler; minutes to begin, then 1.8 times faster"
    )
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def new_model(start: Path | None, examples: Examples) -> Transformer:
    """With the weights of another run wherever shapes agree, and timbres whitened for these examples."""
    torch.manual_seed(0)
    model = Transformer(NANO)
    model.initialise()
    if start is not None:
        print(f"{adopt(model, start)} of {len(model.state_dict())} tensors from {start}", flush=True)
    if not model.timbre_in.basis.any():
        rows = np.stack(list(examples.timbres.values()))
        print(f"{len(rows)} timbres, {fit(model.timbre_in, rows):.3f} of their variance kept", flush=True)
    return model


class Check:
    """Losses on held-out examples, always the same: with timbres, and with words alone."""

    def __init__(self, model: Transformer, weights: Tensor, held_out: Examples) -> None:
        self.model, self.weights = model, weights
        generator = torch.Generator().manual_seed(5)
        self.cases = []
        for i in range(4):
            batch = held_out(i)
            data = batch["latents"]
            sigma = ((torch.arange(len(data)) + 0.5) / len(data)).to(data.device)
            self.cases.append((batch, sigma, torch.randn(data.shape, generator=generator).to(data.device)))

    @torch.no_grad()
    def __call__(self, _: nn.Module) -> dict[str, float]:
        words = [({**b, "shown": torch.zeros_like(b["shown"])}, s, n) for b, s, n in self.cases]
        return {
            name: float(torch.cat([flow_loss(self.model, self.weights, *case) for case in cases]).mean())
            for name, cases in (("val_loss", self.cases), ("val_loss_words", words))
        }


def main() -> None:
    args = parse()
    captioner = Captioner(args.runs / "text", args.device, TEXT_WIDTH if args.compile else 0)
    make: Callable[[int, bool], Examples] = lambda seed, last: Examples(  # noqa: E731
        args.runs / "school", args.runs / "codec", captioner, args.batch, seed, last
    )
    examples, held_out = make(1, False), make(2, True)
    model = new_model(args.start, examples).to(args.device)
    network = cast(Transformer, torch.compile(model, dynamic=False)) if args.compile else model
    weights = channel_weights(args.runs / "codec").to(args.device)

    def loss_fn(step: int) -> dict[str, Tensor]:
        batch = examples(step)
        count = len(batch["latents"])
        # Half logit-normal (Esser et al. 2024, arXiv 2403.03206), half uniform, since the ends matter with
        # few steps; then shifted as the schedule is: what a sound is of is decided where there is most noise.
        spread = torch.where(torch.rand(count) < 0.5, torch.rand(count), torch.randn(count).sigmoid())
        sigma = shifted(spread.clamp(1e-3, 1), SHIFT).to(args.device)
        blur = BLUR * torch.rand(count, device=args.device)
        noise = torch.randn_like(batch["latents"])
        return {"loss": flow_loss(network, weights, batch, sigma, noise, blur).mean()}

    config = LoopConfig(steps=args.steps, rate=args.rate, minutes=args.minutes, warmup=300, weight_decay=0.02)
    average = train(model, loss_fn, args.out, config, Check(model, weights, held_out))
    save_file(
        {k: v.contiguous().cpu() for k, v in average.state.items()}, args.out / "transformer.safetensors"
    )
    (args.out / "transformer.json").write_text(json.dumps(asdict(NANO), indent=1))
    mark_done(args.out, average, config)


if __name__ == "__main__":
    main()
