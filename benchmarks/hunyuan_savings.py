"""The exact savings at equal engine, precision and kernel: python benchmarks/hunyuan_savings.py

Blocks of HunyuanVideo-Foley XL's width with random weights (speed and parity, never quality), one two-stream
block to two single-stream blocks as in XL, float32 PyTorch: the published form (``hunyuan_plain``: everything
at every step) against the project's network, which makes once what depends on the clip or the time alone and
modulates distinct rows. Both guidance branches one after the other in either form, the same kernel for the
convolutions, steps interleaved; what is in the blocks is scaled to XL's number of them; the quickest of
``--rounds`` counts, by the clock and by processor time. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import hunyuan_plain as plain
import numpy as np
import torch
from hunyuan_torch import _as_convolution

from edgefoley.models import layers
from edgefoley.models.transformer import XL, Transformer, TransformerConfig, sync_rows, visual_positions

Step = tuple[list[Any], tuple[float, float]]  # velocities; wall and processor seconds
TOKENS, PICTURES, ROWS, WORDS = 500, 80, 240, 16  # 10 s and a short prompt


def network(two: int, single: int) -> Transformer:
    """Random weights as large as training leaves them."""
    torch.manual_seed(0)
    config = replace(XL, depth_triple_blocks=two, depth_single_blocks=single)
    model = Transformer(config).eval().requires_grad_(False)
    for value in model.parameters():
        value.normal_(std=0.02 if value.ndim > 1 else 0.1)
    return model


def published_weights(model: Transformer, products: bool) -> dict[str, torch.Tensor]:
    """The network's weights, with those that cannot reach the output, as the published form has them."""
    weights, state = {}, model.state_dict()
    for name, shape in plain.needed(model.config, None).items():
        value = torch.randn(shape) * 0.02
        if name in state:
            value[: len(state[name])] = state[name]
        weights[name] = plain.laid_out(value) if products else value
    return weights


def published(
    w: Any, c: TransformerConfig, latents: Any, t: Any, feats: list[Any], products: bool
) -> Step:  # fmt: skip
    """A step of the published form: velocities of both branches, seconds as the whole XL would take."""
    made, wall, busy = [], 0.0, 0.0
    for feat in feats:
        marks = plain.Marks()
        marks()
        made.append(plain.velocity(w, c, latents, t, feat, products, marks))
        marks()
        wall += plain.scaled(marks.wall, XL, c)
        busy += plain.scaled(marks.busy, XL, c)
    return made, (wall, busy)


def saved(model: Transformer, latents: Any, conditions: list[Any], now: Any) -> Step:
    """A step of the project's network. Next to nothing of it is outside the blocks: all of it is scaled."""
    times = XL.depth_triple_blocks / model.config.depth_triple_blocks
    wall, busy = time.perf_counter(), time.process_time()
    made = [model.denoise(latents, condition, now) for condition in conditions]
    return made, (times * (time.perf_counter() - wall), times * (time.process_time() - busy))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--two", type=int, default=2, help="two-stream blocks, and twice as many single")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--products", action="store_true", help="convolutions as products")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = network(args.two, 2 * args.two)
    if not args.products:
        layers.TimeConv.forward = _as_convolution  # type: ignore[method-assign, assignment]
    make = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=make)  # noqa: E731
    latents, text = draw(1, XL.latent_dim, TOKENS), draw(2, WORDS, XL.text_dim)
    visual, sync = draw(1, PICTURES, XL.visual_dim), draw(1, ROWS, XL.sync_dim)
    empty, still = model.empty_clip_feat.expand_as(visual), model.empty_sync_feat.expand(1, ROWS, -1)
    feats = [(text[:1], empty, still), (text[1:], visual, sync)]
    time_step = torch.tensor([500.0])
    index, places = sync_rows(TOKENS, ROWS), visual_positions(TOKENS, PICTURES)
    shortest = still[:, : XL.sync_segment]
    conditions = [
        model.condition(text[:1], empty, shortest, index % XL.sync_segment, places),
        model.condition(text[1:], visual, sync, index, places),
    ]
    now = model.time(time_step)
    weights = published_weights(model, args.products)

    seconds: dict[str, list[tuple[float, float]]] = {"published": [], "saved": []}
    given = (weights, model.config, latents, time_step, feats, args.products)
    with torch.inference_mode():
        for number in range(args.rounds + 1):
            (a, published_s), (b, saved_s) = published(*given), saved(model, latents, conditions, now)
            if number:  # the first is not counted
                seconds["published"].append(published_s)
                seconds["saved"].append(saved_s)
    error = max(float((x - y).norm() / x.norm()) for x, y in zip(a, b, strict=True))
    lowest = {name: np.min(rounds, axis=0) for name, rounds in seconds.items()}
    wall, busy = lowest["published"] / lowest["saved"]
    print(f"{args.two} + {2 * args.two} blocks of XL's width, random weights, {args.threads} thread(s), 10 s")
    slow, fast = lowest["published"][0], lowest["saved"][0]
    print(f"a guided step, scaled to XL: published {slow:.1f} s, saved {fast:.1f} s")
    print(f"the two differ by {error:.0e}")
    print(f"ratio {wall:.3f} by the clock, {busy:.3f} by processor time")
    if error > 1e-4:
        raise SystemExit("the two forms do not agree")
    facts = {"two": args.two, "threads": args.threads, "products": args.products, "torch": torch.__version__}
    print(json.dumps({**facts, "ratio": wall, "ratio_cpu": busy, "differs": error, "seconds": seconds}))


if __name__ == "__main__":
    main()
