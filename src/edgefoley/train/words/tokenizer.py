"""Trains nano's tokenizer on its own corpus and saves it as one `tokenizer.json`.

Chinese characters stand alone; everything else is cut at spaces and punctuation and then by byte-pair merges
(Sennrich et al. 2016, arXiv 1508.07909), where a piece that continues a word is marked so that "cat" and the
start of "catapult" differ. A Chinese character that was never seen falls into its three UTF-8 bytes: Unicode
orders characters by radical, so the first two bytes tell that 砾 has to do with stone. Other unseen
characters become one [UNK] per run, so emoji, other scripts and gibberish all encode. The file also holds
the truncation and the [CLS] in front: the runtime needs nothing but
`Tokenizer.from_file(path).encode(text).ids`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from edgefoley.train.files import whole

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]")
PAD_ID, UNK_ID, CLS_ID = range(3)
_CHINESE: Final = "[\u3400-\u4dbf\u4e00-\u9fff]"
# first and further UTF-8 bytes of U+3000..U+9FFF; the names are those that the library falls back to
BYTE_TOKENS: Final = tuple(f"<0x{byte:02X}>" for byte in (*range(0x80, 0xC0), *range(0xE3, 0xEA)))


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_tokens: int) -> Tokenizer:
    """A tokenizer with at most `vocab_size` entries (numbers 0, 1, 2 are [PAD], [UNK], [CLS]) learnt from
    `texts`."""
    tokenizer = Tokenizer(
        models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=True, byte_fallback=True)
    )
    # accents are stripped: "café" and "cafe" are one word to a sound
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.NFD(), normalizers.StripAccents()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_CHINESE), "isolated"), pre_tokenizers.Whitespace()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[*SPECIAL_TOKENS, *BYTE_TOKENS],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789"),
        continuing_subword_prefix="##",
        show_progress=False,
    )
    # letters and digits inside a word have their own marked entries; make sure that each of them exists
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokenizer.train_from_iterator(
        [*texts, *("a" + c for c in alphabet), *("b" + c for c in alphabet)], trainer
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", CLS_ID)]
    )
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def rare_ids(tokenizer: Tokenizer) -> dict[int, tuple[int, ...]]:
    """For each Chinese character in the vocabulary, the byte tokens that it would be if it were not."""
    vocabulary = tokenizer.get_vocab()
    rare = {}
    for token, number in vocabulary.items():
        if len(token) == 1 and "\u3400" <= token <= "\u9fff":
            rare[number] = tuple(vocabulary[f"<0x{byte:02X}>"] for byte in token.encode())
    return rare


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write `path` whole or not at all."""
    with whole(path) as part:
        tokenizer.save(str(part))
