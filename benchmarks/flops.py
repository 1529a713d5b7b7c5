"""Arithmetic of one clip, counted from nano's networks: python benchmarks/flops.py [--seconds 10]

Multiplications and additions of products and convolutions (a multiply-add counts as two) at the shapes a clip
of so many seconds has; no weights are needed. Prints a table and one last line of JSON. Needs torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from edgefoley.models.codec import Codec, ExportDecoder
from edgefoley.models.sync import SyncEncoder
from edgefoley.models.text import TextEncoder
from edgefoley.models.transformer import NANO, Transformer, sync_rows, visual_positions
from edgefoley.models.visual import VisualEncoder
from edgefoley.timeline import Timeline, grid_count


def count(work: Callable[[], Any]) -> float:
    """GFLOP of one call."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 1e9


def count_all(seconds: Fraction, words: int) -> dict[str, float]:
    """GFLOP of each part, once: ``denoiser`` is one pass of one step."""
    timeline = Timeline()
    latents = timeline.latents(seconds)
    tokens = -(-latents // NANO.patch_size)
    frames, pictures = grid_count(seconds, timeline.sync_rate), grid_count(seconds, timeline.visual_rate)
    transformer = Transformer(NANO).eval()
    text, sync = TextEncoder().eval(), SyncEncoder().eval()
    visual, decoder = VisualEncoder().eval(), ExportDecoder(Codec().decoder).eval()
    rows = lambda n, dim: torch.randn(1, n, dim)  # noqa: E731
    made: dict[str, Any] = {}

    def condition() -> None:
        made["condition"] = transformer.condition(
            rows(words, NANO.text_dim), rows(pictures, NANO.visual_dim), rows(frames, NANO.sync_dim),
            sync_rows(tokens, frames), visual_positions(tokens, pictures).float(),
        )  # fmt: skip

    def time() -> None:
        made["time"] = transformer.time(torch.tensor([500.0]))

    noise = torch.randn(1, NANO.latent_dim, tokens * NANO.patch_size)
    size = (1, frames, sync.config.size, sync.config.size)
    picture = torch.zeros(1, 224, 224, 3, dtype=torch.uint8)
    return {
        "text": count(lambda: text(torch.ones(1, words, dtype=torch.int64), torch.ones(1, words))),
        "visual": pictures * count(lambda: visual(picture)),
        "sync": count(lambda: sync(torch.zeros(size, dtype=torch.uint8), torch.zeros(1, frames))),
        "conditioner": count(condition),
        "timestep": count(time),
        "denoiser": count(lambda: transformer.denoise(noise, made["condition"], made["time"])),
        "decoder": count(lambda: decoder(torch.randn(1, NANO.latent_dim, latents))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=Fraction, default=Fraction(10))
    parser.add_argument("--words", type=int, default=8, help="tokens of the prompt")
    parser.add_argument("--steps", type=int, help="denoising steps; default: those of the packaged nano")
    parser.add_argument("--guidance", type=float, help="above 1 two passes per step; default: as packaged")
    parser.add_argument("--json", type=Path, help="write the result here too")
    arguments = parser.parse_args()
    steps, guidance = arguments.steps, arguments.guidance
    if steps is None or guidance is None:
        from edgefoley.bundle import open_bundle

        defaults = open_bundle("nano").defaults
        steps = defaults.steps if steps is None else steps
        guidance = defaults.guidance if guidance is None else guidance
    passes = 2 if guidance > 1 else 1
    times = {"text": 2, "conditioner": passes, "timestep": steps, "denoiser": steps * passes}
    total = 0.0
    print(f"{float(arguments.seconds):g} s, {steps} steps, guidance {guidance:g}")
    print(f"{'part':12} {'once':>8} {'times':>6} {'GFLOP':>8}")
    parts = count_all(arguments.seconds, arguments.words)
    for name, once in parts.items():
        number = times.get(name, 1)
        total += number * once
        print(f"{name:12} {once:8.3f} {number:6d} {number * once:8.2f}")
    print(f"{'all':12} {'':8} {'':6} {total:8.2f}")
    result = {"seconds": float(arguments.seconds), "steps": steps, "guidance": guidance, "once_gflop": parts,
              "gflop": total}  # fmt: skip
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
