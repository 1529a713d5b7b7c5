from __future__ import annotations

import os

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from edgefoley.errors import BundleIntegrityError
from edgefoley.preprocess import tokenize, tokenize_together


def save_tokenizer(path, vocabulary, sentence=True, limit=None, pad=None):
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[U]" if "[U]" in vocabulary else None))
    tokenizer.pre_tokenizer = Whitespace()
    if sentence:
        tokenizer.post_processor = TemplateProcessing(
            single="[S] $A", special_tokens=[("[S]", vocabulary["[S]"])]
        )
    if limit is not None:
        tokenizer.enable_truncation(limit)
    if pad is not None:
        tokenizer.enable_padding(length=pad, pad_id=0, pad_token="[U]")
    tokenizer.save(str(path))
    return path


WORDS = {"[U]": 0, "[S]": 1, "dog": 2, "barks": 3, "狗": 4}


def test_ids_and_mask(tmp_path):
    path = save_tokenizer(tmp_path / "t.json", WORDS)
    ids, mask = tokenize(path, "dog barks 狗 loudly")
    np.testing.assert_array_equal(ids, [[1, 2, 3, 4, 0]])
    np.testing.assert_array_equal(mask, np.ones((1, 5)))
    assert ids.dtype == np.int64
    assert mask.dtype == np.float32


def test_empty_text_keeps_the_sentence_token(tmp_path):
    ids, mask = tokenize(save_tokenizer(tmp_path / "t.json", WORDS), "")
    assert ids.tolist() == [[1]]
    assert mask.tolist() == [[1.0]]


def test_truncation_and_padding_are_the_files(tmp_path):
    path = save_tokenizer(tmp_path / "t.json", WORDS, limit=3, pad=6)
    ids, mask = tokenize(path, "dog dog dog dog dog dog dog")
    assert ids.tolist() == [[1, 2, 2, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 1, 0, 0, 0]]


def test_a_replaced_file_is_read_anew(tmp_path):
    path = save_tokenizer(tmp_path / "t.json", WORDS)
    assert tokenize(path, "dog")[0].tolist() == [[1, 2]]
    save_tokenizer(path, WORDS | {"dog": 4, "狗": 2})
    os.utime(path, ns=(1, 1))
    assert tokenize(path, "dog")[0].tolist() == [[1, 4]]


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(BundleIntegrityError, match=r"none\.json cannot be read"):
        tokenize(tmp_path / "none.json", "dog")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(BundleIntegrityError, match=r"bad\.json cannot be read"):
        tokenize(tmp_path / "bad.json", "dog")


def test_no_token_at_all_is_an_error(tmp_path):
    path = save_tokenizer(tmp_path / "t.json", {"dog": 0}, sentence=False)
    with pytest.raises(BundleIntegrityError, match="no token"):
        tokenize(path, "")


def test_texts_together_are_padded_to_the_longest(tmp_path):
    path = save_tokenizer(tmp_path / "t.json", WORDS)
    (ids, mask), (short, short_mask) = tokenize_together(path, ["dog barks dog", "dog"], pad_id=9)
    assert ids.tolist() == [[1, 2, 3, 2]]
    assert short.tolist() == [[1, 2, 9, 9]]
    assert mask.tolist() == [[1.0] * 4]
    assert short_mask.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert short.dtype == np.int64
    assert short_mask.dtype == np.float32
