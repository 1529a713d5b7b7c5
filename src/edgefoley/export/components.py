"""nano's seven graphs: which module, which tensors, which free axes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgefoley.export.graph import GraphSpec
from edgefoley.models.codec import CodecDecoder, ExportDecoder
from edgefoley.models.sync import SyncEncoder
from edgefoley.models.text import TextEncoder
from edgefoley.models.transformer import Condition, Time, Transformer, sync_rows, visual_positions
from edgefoley.train.sync_curve import BUMP, LOWEST

# Names of the conditioner's outputs, in the order of Condition; no output may bear an input's name.
CONDITION = (
    "text_k", "text_v", "visual_tokens", "sync_tokens", "sync_row",
    "sound_rope", "visual_rope", "sound_plain", "visual_plain",
)  # fmt: skip
TIME = Time._fields


class ConditionerGraph(nn.Module):
    """``Transformer.condition`` with learned rows in place of an absent picture (present = 0)."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, text_feat: Tensor, visual_feat: Tensor, sync_feat: Tensor,
        visual_present: Tensor, sync_present: Tensor, sync_index: Tensor, visual_position: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        t = self.transformer
        visual = visual_present * visual_feat + (1 - visual_present) * t.empty_clip_feat
        sync = sync_present * sync_feat + (1 - sync_present) * t.empty_sync_feat
        condition = t.condition(text_feat, visual, sync, sync_index, visual_position)
        return tuple(condition._replace(sync_index=sync_index + 0))


class TimestepGraph(nn.Module):
    """``Transformer.time``."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, t: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.transformer.time(t))


class DenoiserGraph(nn.Module):
    """``Transformer.denoise`` with its conditions as named inputs."""

    def __init__(self, transformer: Transformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, latents: Tensor, text_k: Tensor, text_v: Tensor, visual_tokens: Tensor, sync_tokens: Tensor,
        sync_row: Tensor, sound_rope: Tensor, visual_rope: Tensor, sound_plain: Tensor, visual_plain: Tensor,
        vec: Tensor, sound_mod: Tensor, visual_mod: Tensor,
    ) -> Tensor:  # fmt: skip
        condition = Condition(
            text_k,
            text_v,
            visual_tokens,
            sync_tokens,
            sync_row,
            sound_rope,
            visual_rope,
            sound_plain,
            visual_plain,
        )
        return self.transformer.denoise(latents, condition, Time(vec, sound_mod, visual_mod))


PEAK_REACH = 3  # places of 20 ms: a peak is the largest value within 60 ms either side
MIN_GAP_S = (PEAK_REACH + 1) / 50  # between two events, therefore


def largest_near(x: Tensor, reach: int) -> Tensor:
    """Largest value within ``reach`` places of each place; (B, n) -> (B, n). Values are not negative.

    Shifts instead of a pooling operator, whose tracing fixes the length.
    """
    count, padded = x.shape[1], F.pad(x, (reach, reach))
    best = x
    for shift in range(2 * reach + 1):
        best = torch.maximum(best, padded[:, shift : shift + count])
    return best


def is_peak(x: Tensor) -> Tensor:
    """Whether each place is the largest within ``PEAK_REACH`` places; (B, n) -> (B, n) bool. A flat top
    counts once, at its first place, as in ``metrics.onsets.pick_peaks``. Values are not negative."""
    count, padded = x.shape[1], F.pad(x, (PEAK_REACH, PEAK_REACH))
    peak = x > 0
    for shift in range(PEAK_REACH):
        later = PEAK_REACH + 1 + shift
        peak = peak & (x > padded[:, shift : shift + count]) & (x >= padded[:, later : later + count])
    return peak


class SyncGraph(nn.Module):
    """Sync encoder -> canonical event curve (see ``train.sync_curve``) and event logits.

    A peak of the event probability that reaches ``LOWEST`` becomes one bump whose height is the probability;
    everything between peaks is zero. That is what the transformer was trained on, and what an edited list of
    events looks like. ``gain`` and ``bias`` turn a logit into a probability; ``threshold``: the probability
    from which a peak counts as an event where a yes or no is wanted.
    """

    def __init__(
        self, encoder: SyncEncoder, strength: nn.Linear, activity: nn.Linear, gain: float, bias: float,
        threshold: float = 0.5,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.strength, self.activity = encoder, strength, activity
        self.gain, self.bias, self.threshold = gain, bias, threshold

    def forward(self, frames: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
        feat, logits = self.encoder(frames, ages)
        hidden = torch.relu(feat)
        probability = torch.sigmoid(logits * self.gain + self.bias)
        found = is_peak(probability) & (probability >= LOWEST)
        peaks = torch.where(found, probability, torch.zeros(()))
        curve = torch.maximum(peaks, BUMP[0] * largest_near(peaks, 1))
        near = (curve > 0).float()
        strength = torch.sigmoid(self.strength(hidden).flatten(1)) * near
        activity = torch.sigmoid(self.activity(hidden).flatten(1))
        half = lambda x, k: x.unflatten(1, (-1, 2))[..., k]  # noqa: E731
        power = torch.maximum(half(strength, 0), half(strength, 1))
        return torch.stack([half(curve, 0), half(curve, 1), power, half(activity, 0)], dim=-1), logits


class TextGraph(nn.Module):
    """The text encoder with named inputs."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(token_ids, mask)


def _examples(transformer: Transformer, sizes: list[tuple[int, int, int, int]]) -> list[dict[str, Tensor]]:
    """Conditioner inputs for (T, M, S, N)."""
    c, made = transformer.config, []
    generator = torch.Generator().manual_seed(1)
    for i, (t, m, s, n) in enumerate(sizes):
        rows = lambda count, dim: torch.randn(1, count, dim, generator=generator)  # noqa: E731
        made.append(
            {
                "text_feat": rows(t, c.text_dim),
                "visual_feat": rows(m, c.visual_dim),
                "sync_feat": rows(s, c.sync_dim),
                "visual_present": torch.tensor([float(i != 1)]),
                "sync_present": torch.tensor([float(i != 1)]),
                "sync_index": sync_rows(n, s),
                "visual_position": visual_positions(n, m).float(),
            }
        )
    return made


def transformer_graphs(transformer: Transformer) -> list[GraphSpec]:
    """Conditioner, timestep and denoiser."""
    c = transformer.config
    conditioner, timestep = ConditionerGraph(transformer), TimestepGraph(transformer)
    inputs = _examples(transformer, [(9, 20, 250, 251), (1, 3, 5, 40), (32, 7, 83, 84)])
    times = [{"t": torch.tensor([v])} for v in (500.0, 1000.0, 20.0)]
    steps = []
    with torch.no_grad():
        for feeds, t in zip(inputs, times, strict=True):
            latents = torch.randn(1, c.latent_dim, len(feeds["sync_index"]) * c.patch_size)
            fixed = dict(zip(CONDITION, conditioner(**feeds), strict=True))
            step = dict(zip(TIME, timestep(**t), strict=True))
            steps.append({"latents": latents, **{k: v.clone() for k, v in (fixed | step).items()}})
    text, visual, sync, token = {3: "text"}, {1: "visual"}, {1: "sync"}, {1: "token"}
    free = {
        "latents": {2: "latent"}, "text_k": text, "text_v": text, "visual_tokens": visual,
        "sync_tokens": sync, "sync_row": {0: "token"}, "sound_rope": token, "visual_rope": visual,
        "sound_plain": token, "visual_plain": visual,
    }  # fmt: skip
    return [
        GraphSpec(
            "conditioner", conditioner, CONDITION,
            {
                "text_feat": {1: "text"}, "visual_feat": visual, "sync_feat": sync,
                "sync_index": {0: "token"}, "visual_position": {0: "visual"},
            },
            inputs, {},
        ),
        GraphSpec("timestep", timestep, TIME, {}, times, {}),
        GraphSpec(
            "denoiser", DenoiserGraph(transformer), ("velocity",), free, steps,
            {"latent_dim": c.latent_dim, "latent_multiple": c.patch_size},
        ),
    ]  # fmt: skip


def decoder_graph(decoder: CodecDecoder) -> GraphSpec:
    """Normalised latents -> waveform."""
    c = decoder.config
    examples = [{"latents": torch.randn(1, c.latent_dim, n)} for n in (50, 3, 117)]
    return GraphSpec(
        "decoder", ExportDecoder(decoder), ("waveform",), {"latents": {2: "latent"}}, examples,
        {"context_latents": c.context_latents},
    )  # fmt: skip


def sync_graph(module: SyncGraph) -> GraphSpec:
    """Frames and ages -> event curve and logits."""
    c = module.encoder.config
    examples = []
    for count in (60, 8, 131):
        frames = torch.randint(0, 256, (1, count, c.size, c.size), dtype=torch.uint8)
        ages = torch.rand(1, count) * 0.06
        examples.append({"frames": frames, "ages": ages})
    context = module.encoder.context_frames + PEAK_REACH
    return GraphSpec(
        "sync", module, ("sync_feat", "event_logits"), {"frames": {1: "frame"}, "ages": {1: "frame"}},
        examples,
        {
            "size": [c.size, c.size], "pixel": "gray", "context_frames": context,
            "lookahead_frames": module.encoder.lookahead_frames + PEAK_REACH,
            "peak_gain": module.gain, "peak_bias": module.bias, "threshold": module.threshold,
            "min_gap_s": MIN_GAP_S,
        },
    )  # fmt: skip


def text_graph(encoder: TextEncoder) -> GraphSpec:
    """Token numbers -> features."""
    c = encoder.config
    examples = [
        {"token_ids": torch.randint(0, c.vocab_size, (1, n)), "mask": torch.ones(1, n)}
        for n in (7, 1, c.max_tokens)
    ]
    axes = {"token_ids": {1: "token"}, "mask": {1: "token"}}
    return GraphSpec("text", TextGraph(encoder), ("text_feat",), axes, examples, {})
