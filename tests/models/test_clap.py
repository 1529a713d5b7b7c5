"""CLAP's text tower: padding as the reference treats it, the cut, strict loading."""

from __future__ import annotations

import pytest
import torch

from edgefoley.models.clap import PAD_ID, ClapConfig, ClapText, unused_keys
from tests.parity import from_transformers, rule

TINY = ClapConfig(vocab_size=60, positions=100, width=24, heads=2, depth=2, mlp_width=40)


@pytest.fixture(scope="module")
def tiny() -> ClapText:
    model = ClapText(TINY).eval()
    from_transformers.fill(model)
    return model


def encode(model: ClapText, ids: list[list[int]]) -> torch.Tensor:
    """Pads to the longest, as the tokenizer does."""
    longest = max(map(len, ids))
    padded = torch.tensor([row + [PAD_ID] * (longest - len(row)) for row in ids])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in ids])
    with torch.no_grad():
        return model(padded, mask)


def test_published_size() -> None:
    """All but the pooler and the projection; the positions' 512 usable rows."""
    with torch.device("meta"):
        count = sum(p.numel() for p in ClapText().parameters())
    assert count == 125_302_016 - (768 * 768 + 768) - (512 * 768 + 512 + 512 * 512 + 512)
    assert ClapConfig().max_tokens == 512


def test_loading_is_strict(tiny: ClapText) -> None:
    published = dict(tiny.state_dict())
    extra = [
        "text_model.pooler.dense.weight",
        "text_model.embeddings.position_ids",
        "text_model.embeddings.token_type_ids",
        "text_projection.linear1.weight",
        "audio_model.audio_encoder.norm.weight",
        "audio_projection.linear1.bias",
        "logit_scale_a",
        "logit_scale_t",
    ]
    everything = published | dict.fromkeys(extra, torch.zeros(1))
    assert unused_keys(everything) == extra
    ClapText(TINY).load_state_dict({k: v for k, v in everything.items() if k not in extra})
    with pytest.raises(RuntimeError, match=r"Unexpected key.*logit_scale_a"):
        ClapText(TINY).load_state_dict(published | {"logit_scale_a": torch.zeros(1)})
    del published["text_model.embeddings.LayerNorm.bias"]
    with pytest.raises(RuntimeError, match=r"Missing key.*LayerNorm"):
        ClapText(TINY).load_state_dict(published)


def test_words_do_not_see_padding_but_padding_has_rows(tiny: ClapText) -> None:
    short, long = [0, 7, 9, 2], [0, 11, 12, 13, 14, 15, 2]
    both, alone = encode(tiny, [short, long]), encode(tiny, [short])
    assert both.shape == (2, 7, 24)
    assert rule.relative_error(both[0, :4].numpy(), alone[0].numpy()) < 1e-5
    padding = both[0, 4:]
    assert padding.std() > 0.1
    torch.testing.assert_close(padding[1:], padding[:1].expand(2, -1))
    other = encode(tiny, [[0, 8, 9, 2], long])[0, 4:]
    assert rule.relative_error(other.numpy(), padding.numpy()) > 1e-3  # a row about the words before it


def test_rows_are_cut_after_the_tower(tiny: ClapText) -> None:
    words = list(range(3, 53)) + list(range(3, 43))  # 90 tokens
    whole = encode(tiny, [words])
    assert whole.shape == (1, 77, 24)
    changed = encode(tiny, [[*words[:-1], 59]])
    assert rule.relative_error(changed.numpy(), whole.numpy()) > 1e-4
    assert rule.relative_error(encode(tiny, [words[:77]]).numpy(), whole.numpy()) > 1e-4


def test_order_matters(tiny: ClapText) -> None:
    one, two = encode(tiny, [[0, 10, 20, 2]])[0, 0], encode(tiny, [[0, 20, 10, 2]])[0, 0]
    assert rule.relative_error(one.numpy(), two.numpy()) > 1e-3


def test_too_many_tokens_are_refused(tiny: ClapText) -> None:
    assert encode(tiny, [[5] * 98]).shape == (1, 77, 24)
    with pytest.raises(ValueError, match="at most 98 tokens, got 99"):
        encode(tiny, [[5] * 99])
