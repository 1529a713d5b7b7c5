"""Synchformer: which frames form a segment, strict loading, and the parts that compute less than the
published ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgefoley.models.synchformer import (
    SpatialAggregator,
    Synchformer,
    SynchformerConfig,
    segment_indices,
    unused_keys,
)
from edgefoley.models.vit import PatchEmbedding
from tests.parity import rule

TINY = SynchformerConfig(image_size=32, width=24, heads=2, depth=2)


@pytest.fixture(scope="module")
def tiny() -> Synchformer:
    model = Synchformer(TINY).eval()
    rule.fill(model, 0)
    return model


def segments(count: int) -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 32, 32, 3), dtype=np.uint8)
    return torch.from_numpy(pixels)


@pytest.mark.parametrize(
    ("num_frames", "rows"),
    [(1, 8), (15, 8), (16, 8), (23, 8), (24, 16), (199, 184), (200, 192), (250, 240), (375, 360)],
)
def test_segments_give_the_reference_number_of_rows(num_frames: int, rows: int) -> None:
    indices = segment_indices(num_frames)
    assert indices.shape == (rows // 8, 16)
    assert indices.min() == 0 and indices.max() < num_frames


def test_segments_overlap_by_half() -> None:
    assert np.array_equal(segment_indices(40), [np.arange(i, i + 16) for i in (0, 8, 16, 24)])


def test_short_clips_hold_the_last_frame() -> None:
    assert segment_indices(3).tolist() == [[0, 1, *[2] * 14]]
    assert segment_indices(1).tolist() == [[0] * 16]
    with pytest.raises(ValueError, match="at least one frame, got 0"):
        segment_indices(0)


def test_published_size() -> None:
    """All of the visual extractor but the patch embedding for single pictures."""
    with torch.device("meta"):
        count = sum(p.numel() for p in Synchformer().parameters())
    assert count == 122_440_704 - 590_592


def test_loading_is_strict(tiny: Synchformer) -> None:
    published = dict(tiny.state_dict())
    extra = [
        "vfeat_extractor.patch_embed.proj.weight",
        "vfeat_extractor.patch_embed.proj.bias",
        "afeat_extractor.ast.embeddings.cls_token",
        "vproj.weight",
        "aproj.bias",
        "transformer.OFF_tok",
    ]
    everything = published | dict.fromkeys(extra, torch.zeros(1))
    assert unused_keys(everything) == extra
    Synchformer(TINY).load_state_dict({k: v for k, v in everything.items() if k not in extra})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*vproj"):
        Synchformer(TINY).load_state_dict(published | {"vproj.weight": torch.zeros(1)})
    del published["vfeat_extractor.patch_embed_3d.proj.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*patch_embed_3d"):
        Synchformer(TINY).load_state_dict(published)


def test_segments_do_not_see_one_another(tiny: Synchformer) -> None:
    batch = segments(3)
    with torch.no_grad():
        together, alone = tiny(batch), torch.cat([tiny(part) for part in batch.split(1)])
    assert together.shape == (3, 8, 24)
    assert rule.relative_error(together.numpy(), alone.numpy()) < 1e-5
    assert rule.relative_error(together[0].numpy(), together[1].numpy()) > 1e-2


def test_patches_are_a_strided_convolution() -> None:
    embedding, frames = PatchEmbedding(24, (2, 8, 8)), segments(2)
    pixels = frames.permute(0, 4, 1, 2, 3) / 127.5 - 1
    with torch.no_grad():
        wanted = nn.functional.conv3d(pixels, embedding.weight, embedding.bias, stride=(2, 8, 8))
        made = embedding(frames)
    assert rule.relative_error(made.numpy(), wanted.flatten(2).transpose(1, 2).numpy()) < 1e-5


def test_one_row_equals_that_row_of_the_whole_layer() -> None:
    torch.manual_seed(0)
    ours = SpatialAggregator(TINY).eval()
    layer = nn.TransformerEncoderLayer(24, 2, 96, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True).eval()
    state = ours.state_dict()
    token = nn.init.normal_(state.pop("cls_token"))
    nn.init.normal_(state["self_attn.in_proj_bias"])
    layer.load_state_dict(state)
    places = torch.randn(5, 4, 24)
    with torch.no_grad():
        made, wanted = ours(places), layer(torch.cat([token.expand(5, -1, -1), places], 1))[:, 0]
    assert rule.relative_error(made.numpy(), wanted.numpy()) < 1e-5


@pytest.mark.parametrize(
    "wrong", [torch.zeros(1, 16, 32, 32, 3), torch.zeros(1, 15, 32, 32, 3).byte(), segments(1)[0]]
)
def test_wrong_input_is_refused(tiny: Synchformer, wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"uint8 segments of shape \(G, 16, 32, 32, 3\)"):
        tiny(wrong)
