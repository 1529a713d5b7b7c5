"""SigLIP2's vision tower: strict loading, frames that do not see one another, and the parts against torch's
own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgefoley.models.siglip import SiglipConfig, SiglipVision, unused_keys
from edgefoley.models.vit import PatchEmbedding, PooledAttention
from tests.parity import rule

TINY = SiglipConfig(image_size=32, width=24, heads=2, depth=2, mlp_width=40)


@pytest.fixture(scope="module")
def tiny() -> SiglipVision:
    model = SiglipVision(TINY).eval()
    rule.fill(model, 0)
    return model


def frames(count: int) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


def test_published_size() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in SiglipVision().parameters()) == 93_520_128


def test_loading_is_strict(tiny: SiglipVision) -> None:
    published = dict(tiny.state_dict())
    extra = ["text_model.head.weight", "logit_scale", "logit_bias", "vision_model.embeddings.position_ids"]
    everything = published | dict.fromkeys(extra, torch.zeros(1))
    assert unused_keys(everything) == extra
    SiglipVision(TINY).load_state_dict({k: v for k, v in everything.items() if k not in extra})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*logit_scale"):
        SiglipVision(TINY).load_state_dict(published | {"logit_scale": torch.zeros(1)})
    del published["vision_model.head.probe"]
    with pytest.raises(RuntimeError, match=r"Missing key.*probe"):
        SiglipVision(TINY).load_state_dict(published)


def test_frames_do_not_see_one_another(tiny: SiglipVision) -> None:
    batch = frames(3)
    with torch.no_grad():
        together, alone = tiny(batch), torch.cat([tiny(part) for part in batch.split(1)])
    assert together.shape == (3, 24)
    assert rule.relative_error(together.numpy(), alone.numpy()) < 1e-5
    assert rule.relative_error(together[0].numpy(), together[1].numpy()) > 1e-2


def test_patches_are_a_strided_convolution() -> None:
    embedding, pixels = PatchEmbedding(24, (1, 8, 8), flat=True), frames(2)
    assert embedding.weight.shape == (24, 3, 8, 8)
    with torch.no_grad():
        scaled = pixels.permute(0, 3, 1, 2) / 127.5 - 1
        wanted = nn.functional.conv2d(scaled, embedding.weight, embedding.bias, stride=8)
        made = embedding(pixels[:, None])
    assert rule.relative_error(made.numpy(), wanted.flatten(2).transpose(1, 2).numpy()) < 1e-5


def test_pooling_is_torchs_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = PooledAttention(24, 3), nn.MultiheadAttention(24, 3, batch_first=True)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    queries, x = torch.randn(2, 1, 24), torch.randn(2, 9, 24)
    with torch.no_grad():
        assert rule.relative_error(ours(queries, x).numpy(), theirs(queries, x, x)[0].numpy()) < 1e-5


@pytest.mark.parametrize("wrong", [frames(1).float(), frames(1)[:, :31], frames(1)[..., :1], frames(1)[0]])
def test_wrong_input_is_refused(tiny: SiglipVision, wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"uint8 frames of shape \(M, 32, 32, 3\)"):
        tiny(wrong)
