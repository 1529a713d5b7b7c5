"""The transformer against outputs of the reference implementation (random weights made from names; see
rule.py)."""

from __future__ import annotations

import pytest
import torch

from edgefoley.models.transformer import NANO, XL, XXL, Transformer, TransformerConfig
from tests.parity import rule


def build(meta: dict, seed: int) -> Transformer:
    config = TransformerConfig(
        meta["hidden_size"], meta["num_heads"], meta["depth_triple_blocks"], meta["depth_single_blocks"]
    )
    model = Transformer(config).eval()
    rule.fill(model, seed)
    return model


@pytest.mark.parametrize(
    "name", ["dit_tiny_2x2", "dit_tiny_3x4_odd_lengths", "dit_tiny_two_timesteps", "dit_xl_width_1x1"]
)
def test_velocity_equals_reference(name: str) -> None:
    stored, meta = rule.reference(name)
    seed, batch = meta["seed"], meta["B"]
    model = build(meta, seed)
    with torch.no_grad():
        made = model(
            rule.inputs("x", seed, batch, 128, meta["N"]),
            torch.tensor(meta["t"]),
            rule.inputs("cond", seed, batch, meta["T"], 768),
            rule.inputs("clip_feat", seed, batch, meta["M"], 768),
            rule.inputs("sync_feat", seed, batch, meta["S"], 768),
        )
    assert rule.relative_error(made.numpy(), stored["velocity"]) < 1e-5


def test_published_sizes() -> None:
    """Parameter counts of the published models, less the weights that cannot influence their output."""
    for config, total in ((XXL, 5_134_014_848), (XL, 2_912_962_688)):
        with torch.device("meta"):
            count = sum(p.numel() for p in Transformer(config).parameters())
        h = config.hidden_size
        unused_final = 2 * h * h + 2 * h
        # The last two-stream block's visual half after keys and values: 7 of 9 modulation vectors, the
        # projection after the joint attention, query and projection of the attention to the text, that
        # query's norm, and the MLP of four times the width.
        unused_visual = 7 * (h * h + h) + 3 * (h * h + h) + config.head_dim + 8 * h * h + 5 * h
        assert total - count == unused_final + unused_visual


def test_nano_is_small_and_padding_is_masked() -> None:
    model = Transformer(NANO).eval()
    rule.fill(model, 0)
    shipped = (p.numel() for name, p in model.named_parameters() if not name.startswith("timbre_in."))
    assert sum(shipped) < 13.5e6  # stored in 8 bits: 13.5 MB
    x, t = rule.inputs("x", 0, 1, NANO.latent_dim, 60), torch.tensor([300.0])
    text, visual, sync = (
        rule.inputs(n, 0, 1, r, d) for n, r, d in (("t", 5, 256), ("v", 3, 256), ("s", 30, 4))
    )
    padded = torch.cat([text, rule.inputs("pad", 0, 1, 4, 256)], dim=1)
    mask = (torch.arange(9) < 5)[None, None, None]
    with torch.no_grad():
        plain, masked = model(x, t, text, visual, sync), model(x, t, padded, visual, sync, mask)
    assert rule.relative_error(masked.numpy(), plain.numpy()) < 1e-5
