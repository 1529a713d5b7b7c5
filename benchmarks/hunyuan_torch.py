"""The PyTorch cases of ``hunyuan.py``: the published form, and the network with our savings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import hunyuan_plain as plain
import torch
import torch.nn.functional as F
from hunyuan_steps import GUIDANCE, SCHEDULE, Case, FloatArray, Lengths, Pass, features

from edgefoley.convert.hunyuan import assemble, open_folder, transformer_state
from edgefoley.memory import give_back
from edgefoley.models import layers, transformer
from edgefoley.sampling import guided, sigmas


class TorchPlain:
    """``hunyuan_plain.velocity``, both branches in one batch. The weights are copies in memory, as a program
    that loads the checkpoint has them. In bfloat16 the warm-up goes through one block of each kind, because a
    whole pass may take minutes; ``task["blocks"]`` shortens the network there."""

    def __init__(self, task: Mapping[str, Any], case: Case, n: Lengths) -> None:
        torch.set_num_threads(task["threads"])
        self.case, source = case, open_folder(task["source"])
        self.dtype = torch.float32 if case.precision == "fp32" else torch.bfloat16
        self.whole = source.sizes.transformer
        slow = case.precision == "bf16"
        blocks = task["blocks"] if slow else None
        self.config = plain.shortened(self.whole, blocks)
        self.first = plain.shortened(self.config, 1 if slow else None)
        weights = source.weights("transformer")
        self.weights = {}
        for name in plain.needed(self.whole, blocks):
            value = weights[name].to(self.dtype, copy=True)
            self.weights[name] = plain.laid_out(value) if case.products else value.contiguous()
        given = {
            key: torch.from_numpy(value).to(self.dtype) for key, value in features(task["dims"], n).items()
        }
        w, visual, sync = self.weights, given["visual"], given["sync"]
        self.features = (
            torch.cat([given["negative"], given["text"]]),
            torch.cat([w["empty_clip_feat"].expand_as(visual), visual]),
            torch.cat([w["empty_sync_feat"].expand_as(sync), sync]),
        )
        self.about: dict[str, Any] = {"warm_up": "one block of each kind" if slow else "one whole step"}
        if self.config != self.whole:
            ran = f"{self.config.depth_triple_blocks} + {self.config.depth_single_blocks}"
            self.about["scaled_from"] = f"scaled from {ran} blocks"

    def warm_up(self, latents: FloatArray, sigma: float) -> Pass:
        started = time.perf_counter()
        made = self._run(latents, sigma, self.first)
        return made._replace(wall=time.perf_counter() - started)  # as it was, not scaled

    def step(self, latents: FloatArray, sigma: float) -> Pass:
        return self._run(latents, sigma, self.config)

    def _run(self, latents: FloatArray, sigma: float, config: Any) -> Pass:
        marks = plain.Marks()
        with torch.inference_mode():
            marks()
            x = torch.from_numpy(latents).to(self.dtype).expand(2, -1, -1)
            times = torch.full((2,), 1000 * sigma)
            made = plain.velocity(
                self.weights, config, x, times, self.features, self.case.products, marks
            ).float()
            velocity = guided(made[1:].numpy(), made[:1].numpy(), GUIDANCE)
            marks()
        wall, busy = (plain.scaled(side, self.whole, config) for side in (marks.wall, marks.busy))
        return Pass(velocity if config == self.whole else None, wall, busy)


class TorchSavings:
    """``edgefoley.models.transformer`` as it is exported: conditions once per clip and branch, modulations of
    the two-stream blocks once per schedule, both made before the first step and their weights freed."""

    def __init__(self, task: Mapping[str, Any], case: Case, n: Lengths) -> None:
        torch.set_num_threads(task["threads"])
        source = open_folder(task["source"])
        if not case.products:
            layers.TimeConv.forward = _as_convolution  # type: ignore[method-assign, assignment]
        state = transformer_state(source.weights("transformer"), source.sizes.transformer)
        for name in list(state):
            value = state.pop(name).to(torch.float32, copy=True)
            state[name] = plain.laid_out(value) if case.products else value.contiguous()
        self.network = assemble(lambda: transformer.Transformer(source.sizes.transformer), state)
        del state
        given = {key: torch.from_numpy(value) for key, value in features(task["dims"], n).items()}
        levels = sigmas(SCHEDULE)
        with torch.inference_mode():
            index = transformer.sync_rows(n.tokens, n.sync)
            places = transformer.visual_positions(n.tokens, n.pictures)
            empty, still = self.network.empty_clip_feat, self.network.empty_sync_feat
            without = empty.expand_as(given["visual"]), still.expand(1, n.segment, -1)
            self.conditions = [
                self.network.condition(given["text"], given["visual"], given["sync"], index, places),
                self.network.condition(given["negative"], *without, index % n.segment, places),
            ]
            self.times = self.network.time(1000 * torch.tensor(levels[:-1]))
        self.rows = {level: row for row, level in enumerate(levels[:-1])}
        for block in self.network.two_stream():
            del block.audio_mod, block.v_cond_mod, block.text_cross_kv
        give_back()
        self.about: dict[str, Any] = {"warm_up": "one whole step"}

    def warm_up(self, latents: FloatArray, sigma: float) -> Pass:
        return self.step(latents, sigma)

    def step(self, latents: FloatArray, sigma: float) -> Pass:
        row = self.rows[sigma]
        wall, busy = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            vec, sound, visual = self.times
            now = type(self.times)(vec[row : row + 1], sound[:, row : row + 1], visual[:, row : row + 1])
            x = torch.from_numpy(latents)
            made = [self.network.denoise(x, condition, now).numpy() for condition in self.conditions]
            velocity = guided(made[0], made[1], GUIDANCE)
        return Pass(velocity, time.perf_counter() - wall, time.process_time() - busy)


def _as_convolution(layer: Any, x: Any) -> Any:
    """``layers.TimeConv.forward`` with PyTorch's convolution, for the comparison at equal kernels."""
    if layer.kernel == 1:
        return F.linear(x, layer.weight[..., 0], layer.bias)
    return F.conv1d(x.mT, layer.weight, layer.bias, padding=layer.kernel // 2).mT
