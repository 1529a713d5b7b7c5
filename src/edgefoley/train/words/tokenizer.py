"""Trains nano's tokenizer on its own corpus and saves it as one `tokenizer.json`.

Chinese characters stand alone; everything else is cut at spaces and punctuation and then by byte-pair merges
(Sennrich et al. 2016, arXiv 1508.07909), where a piece that continues a word is marked so that "cat" and the
start of "catapult" differ. Characters never seen become one [UNK] per run, so emoji, other scripts and
gibberish all encode. The file also holds the truncation to 32 tokens and the [CLS] in front: the runtime
needs nothing but `Tokenizer.from_file(path).encode(text).ids`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL_TOKENS: Final = ("[PAD]", "[UNK]", "[CLS]")
PAD_ID, UNK_ID, CLS_ID = range(3)
_CHINESE: Final = "[\u3400-\u4dbf\u4e00-\u9fff]"


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_tokens: int) -> Tokenizer:
    """A tokenizer with at most `vocab_size` entries (numbers 0, 1, 2 are [PAD], [UNK], [CLS]) learnt from
    `texts`."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", fuse_unk=True))
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
        special_tokens=list(SPECIAL_TOKENS),
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


def save_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write `path` whole or not at all."""
    temporary = path.with_suffix(".part")
    tokenizer.save(str(temporary))
    os.replace(temporary, path)
