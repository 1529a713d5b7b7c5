"""The text encoder's shapes and padding, its graph, and the tokenizer in front of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from edgefoley.models.text import NANO_TEXT, TextConfig, TextEncoder
from edgefoley.train.words.tokenizer import CLS_ID, UNK_ID, save_tokenizer, train_tokenizer

TEXTS = [
    "a dog is barking",
    "the dog barks",
    "heavy rain",
    "rain on a window",
    "一只狗在叫",
    "下大雨",
    "狗叫",
] * 4


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(TextConfig(vocab_size=500, embed_width=64)).eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    save_tokenizer(train_tokenizer(TEXTS, 500, 32), path)
    return Tokenizer.from_file(str(path))


def test_size_fits_the_budget() -> None:
    """8 MB in FP16, less what the graph around the weights takes."""
    assert 2 * sum(p.numel() for p in TextEncoder(NANO_TEXT).parameters()) <= 7_900_000


def test_narrow_tokens_are_widened() -> None:
    config = TextConfig(vocab_size=50, embed_width=16)
    assert TextEncoder(config).token.weight.shape == (50, 16)
    assert TextEncoder(config)(torch.tensor([[2, 7]]), torch.ones(1, 2)).shape == (1, 2, 256)
    assert TextEncoder(TextConfig(vocab_size=50)).token.weight.shape == (50, 192)


def test_shapes(encoder: TextEncoder) -> None:
    for batch, length in [(1, 1), (3, 7), (2, 32)]:
        ids = torch.randint(3, 500, (batch, length))
        feat = encoder(ids, torch.ones(batch, length))
        assert feat.shape == (batch, length, 256)
        assert torch.isfinite(feat).all()


def test_padding_changes_nothing(encoder: TextEncoder) -> None:
    torch.manual_seed(1)
    lengths = [1, 5, 12]
    ids, mask = torch.zeros(3, 12, dtype=torch.int64), torch.zeros(3, 12)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, 500, (length,))
        mask[row, :length] = 1
    with torch.no_grad():
        padded = encoder(ids, mask)
        for row, length in enumerate(lengths):
            alone = encoder(ids[row : row + 1, :length], torch.ones(1, length))
            torch.testing.assert_close(padded[row, :length], alone[0], atol=1e-5, rtol=0)
            assert (padded[row, length:] == 0).all()


def test_every_token_matters(encoder: TextEncoder) -> None:
    ids = torch.tensor([[CLS_ID, 10, 20, 30]])
    swapped = torch.tensor([[CLS_ID, 20, 10, 30]])
    with torch.no_grad():
        one, two = encoder(ids, torch.ones(1, 4))[:, 0], encoder(swapped, torch.ones(1, 4))[:, 0]
    assert (one - two).abs().max() > 1e-4


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="multiple"):
        TextConfig(width=100, heads=6)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"
)  # torch's exporter, not ours
def test_exported_graph_matches_at_other_sizes(encoder: TextEncoder, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "text.onnx"
    batch, length = torch.export.Dim("batch", max=64), torch.export.Dim("length", min=1, max=32)
    ids, mask = torch.randint(3, 500, (2, 9)), torch.ones(2, 9)
    torch.onnx.export(
        encoder,
        (ids, mask),
        str(path),
        input_names=["token_ids", "mask"],
        output_names=["text_feat"],
        dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for size in [(1, 1), (1, 32), (4, 6)]:
        ids, mask = torch.randint(3, 500, size), torch.ones(size)
        mask[:, size[1] // 2 + 1 :] = 0
        feeds = {"token_ids": ids.numpy(), "mask": mask.numpy()}
        with torch.no_grad():
            expected = encoder(ids, mask).numpy()
        np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=2e-5)


@pytest.mark.parametrize(
    "text",
    ["", " ", "🐶🐶🔥", "asdkjh qwzx!!", "Привет мир", "한국어", "\x00\t\n", "a" * 5000, "龘", "dog🐶叫"],
)
def test_odd_text_encodes(encoder: TextEncoder, tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert ids[0] == CLS_ID
    assert len(ids) <= 32
    with torch.no_grad():
        feat = encoder(torch.tensor([ids]), torch.ones(1, len(ids)))
    assert torch.isfinite(feat).all()


def test_tokenizer_ignores_case_width_and_accents(tokenizer: Tokenizer) -> None:
    plain = tokenizer.encode("a dog").ids
    assert tokenizer.encode("A DOG").ids == plain
    assert tokenizer.encode("ａ　ｄｏｇ").ids == plain
    assert tokenizer.encode("á dög").ids == plain
    assert UNK_ID not in plain


def test_chinese_characters_stand_alone(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("狗叫").tokens == ["[CLS]", "狗", "叫"]
    assert tokenizer.encode("下大雨").tokens == ["[CLS]", "下", "大", "雨"]


def test_text_survives_the_round_trip(tokenizer: Tokenizer) -> None:
    for text in ("a dog is barking", "一只狗在叫", "rain on a window", "狗叫 dog"):
        tokens = tokenizer.encode(text).tokens[1:]
        assert "".join(token.removeprefix("##") for token in tokens) == text.replace(" ", "")
    bytes_of = tokenizer.encode("砾").tokens[1:]
    assert bytes(int(token[3:5], 16) for token in bytes_of).decode() == "砾"
    assert tokenizer.encode("🐶砾🐶").tokens == ["[CLS]", "[UNK]", *bytes_of, "[UNK]"]


def test_unseen_words_fall_into_pieces(tokenizer: Tokenizer) -> None:
    assert UNK_ID not in tokenizer.encode("zebra quiz 2024").ids
    assert tokenizer.encode("🦓").ids == [CLS_ID, UNK_ID]
