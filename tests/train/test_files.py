"""Files that are there whole or not at all."""

from __future__ import annotations

import pytest

from edgefoley.train.files import whole, write_whole


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "made.json"
    write_whole(target, "雨")
    with pytest.raises(RuntimeError), whole(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "雨" and [*tmp_path.iterdir()] == [target]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "made.json"
    write_whole(target, b"old")
    with whole(target) as part:
        part.write_bytes(b"new")
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new" and [*tmp_path.iterdir()] == [target]
