"""The trainers' sampler against closed forms and the runtime's solver, and what compiling changes."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.layers import attention, rope_tables, rotate  # noqa: E402
from edgefoley.models.transformer import Transformer, TransformerConfig  # noqa: E402
from edgefoley.sampling import euler, guided, sigmas  # noqa: E402
from edgefoley.train.sampler import grid, trajectory, velocity_of  # noqa: E402

TINY = TransformerConfig(
    hidden_size=32, num_heads=2, depth_triple_blocks=1, depth_single_blocks=1, latent_dim=6, patch_size=2,
    text_dim=16, visual_dim=16, sync_dim=4, sync_segment=1, mlp_multiple=8, shared_modulation=True,
    pooled_conditions=True,
)  # fmt: skip


def test_a_constant_velocity_ends_at_the_data():
    data, noise = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    states = trajectory(lambda x, sigma: noise - data, noise, 5)
    assert len(states) == 6 and torch.allclose(states[-1], data, atol=1e-6)
    assert grid(4) == [1.0, 0.75, 0.5, 0.25, 0.0]


def test_it_walks_like_the_runtime_with_guidance():
    torch.manual_seed(0)
    model = Transformer(TINY).eval()
    feeds = {
        "text": torch.randn(1, 5, 16), "mask": torch.ones(1, 5, dtype=torch.bool),
        "negative": torch.randn(1, 3, 16), "negative_mask": torch.ones(1, 3, dtype=torch.bool),
        "visual": torch.randn(1, 2, 16), "sync": torch.randn(1, 10, 4), "flags": torch.ones(1, 2),
    }  # fmt: skip
    noise = torch.randn(1, 6, 20)
    with torch.no_grad():
        mine = trajectory(velocity_of(model, feeds, 3.0, False), noise, 4)[-1]

    def velocity(x, sigma):
        t = torch.tensor([1000.0 * sigma])
        empty = (model.empty_clip_feat.expand(1, 2, -1), model.empty_sync_feat.expand(1, 10, -1))
        with torch.no_grad():
            shown = model(torch.tensor(x), t, feeds["text"], feeds["visual"], feeds["sync"])
            hidden = model(torch.tensor(x), t, feeds["negative"], *empty)
        return guided(shown.numpy(), hidden.numpy(), 3.0)

    *_, (_, _, theirs) = euler(velocity, noise.numpy(), sigmas(4))
    np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_what_is_compiled_for_training_gives_the_same_values():
    q, k, v = (torch.randn(2, 3, 7, 8) for _ in range(3))
    mask = torch.rand(2, 1, 1, 7) < 0.7
    mask[..., 0] = True
    tables = rope_tables(torch.arange(7), 8)

    def both(q, k, v, mask):
        return attention(rotate(q, tables), rotate(k, tables), v, mask)

    compiled = torch.compile(both, backend="eager", fullgraph=True)
    assert torch.allclose(both(q, k, v, mask), compiled(q, k, v, mask), atol=1e-6)
