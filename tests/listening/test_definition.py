"""What a test file may say, and what is refused with which words."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import pairwise

import pytest

from edgefoley.errors import UsageError
from edgefoley.listening.definition import ListeningError, define, identity, load
from edgefoley.listening.design import compared, trials_of, williams

TOML = """
title = "Steps"
method = "mushra"
reference = "clips"
clips = "clips"
anchors = ["7 kHz"]
[systems]
fp32 = "systems/fp32"
int8 = "systems/int8"
"""


def test_a_folder_and_a_file_say_the_same(folder, tmp_path):
    by_folder = load(folder)
    assert by_folder.method == "acr" and list(by_folder.systems) == ["fp32", "int8"]
    assert list(by_folder.clips) == ["bird", "door", "walk"]
    file = folder / "test.toml"
    file.write_text(TOML, encoding="utf-8")
    try:
        by_file = load(file)
    finally:
        file.unlink()
    assert by_file.clips == by_folder.clips and by_file.systems == by_folder.systems
    assert by_file.anchors == ("@7 kHz",) and by_file.reference == by_file.clips
    assert identity(by_file.record()) != identity(by_folder.record())


def test_changed_files_make_another_test(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert {**load(copy).record(), "title": ""} == {**load(folder).record(), "title": ""}
    shutil.copy(copy / "systems/fp32/bird.wav", copy / "systems/int8/bird.wav")
    assert load(copy).record()["systems"] != load(folder).record()["systems"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sytems": {}}, "unknown key 'sytems'"),
        ({"method": "mos"}, "acr, dcr, ccr, mushra"),
        ({"systems": {}}, "needs \\[systems\\]"),
        ({"clips": "nowhere"}, "no folder of videos"),
        ({"clips": "systems"}, "holds no video"),
        ({"questions": ["beauty"]}, "realism, synchrony, clarity"),
        ({"questions": []}, "list without repeats"),
        ({"method": "dcr"}, 'reference = "clips"'),
        ({"anchors": ["7 kHz"]}, "made from a reference"),
        ({"anchors": ["5 kHz"], "method": "mushra", "reference": "clips"}, "3.5 kHz"),
        ({"baseline": "int4"}, "fp32, int8"),
        ({"training": -1}, "from 0 to 20"),
        ({"training": True}, "from 0 to 20"),
        ({"seed": "one"}, "whole number"),
        ({"title": 3}, "must be words"),
        ({"systems": {"@fp32": "systems/fp32"}}, "do not begin with @"),
        ({"method": "ccr", "systems": {"a": "systems/fp32"}, "reference": "a"}, "nothing to compare"),
    ],
)  # fmt: skip
def test_what_is_refused(defined, change, words):
    with pytest.raises(ListeningError, match=words):
        defined(**change)


def test_missing_and_doubled_sounds_are_named(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "systems/int8/door.wav").unlink()
    with pytest.raises(ListeningError, match="'int8' has no sound for 1 of 3 clips: door"):
        load(copy)
    shutil.copy(copy / "systems/int8/bird.wav", copy / "systems/int8/door.foley.wav")
    assert load(copy).systems["int8"]["door"].name == "door.foley.wav"
    shutil.copy(copy / "systems/int8/bird.wav", copy / "systems/int8/door.flac")
    with pytest.raises(UsageError, match="both sounds of 'door'"):
        load(copy)


def test_files_that_are_no_tests(tmp_path):
    with pytest.raises(ListeningError, match="needs a folder clips/"):
        load(tmp_path)
    with pytest.raises(ListeningError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("title = ", encoding="utf-8")
    with pytest.raises(ListeningError, match="is not TOML"):
        load(tmp_path / "bad.toml")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_a_williams_design_is_balanced(count):
    rows = williams(count)
    assert len(rows) == (count if count % 2 == 0 or count == 1 else 2 * count)
    assert all(sorted(row) == list(range(count)) for row in rows)
    places = Counter((place, item) for row in rows for place, item in enumerate(row))
    assert len(set(places.values())) == 1 and len(places) == count * count
    follows = Counter(pair for row in rows for pair in pairwise(row))
    assert len(set(follows.values())) <= 1 and len(follows) == count * (count - 1)
    with pytest.raises(ValueError, match="at least one"):
        williams(0)


@pytest.mark.parametrize("method", ["acr", "dcr", "ccr"])
def test_every_listener_rates_everything_once(defined, method):
    record = defined(method=method, reference="clips", training=3, silence=2, asked=1).record()
    for number in range(6):
        trials = trials_of(record, number)
        rated = [t for t in trials if t.kind == "rating"]
        names = {s.system for t in rated for s in t.slots}
        assert names == {"fp32", "int8"} | ({"@reference"} if method != "acr" else set())
        pairs = Counter((t.clip, *sorted({s.system for s in t.slots} - {"@reference"})) for t in rated)
        assert len(pairs) == 6 and set(pairs.values()) == {1}
        assert all(a.clip != b.clip for a, b in pairwise(rated))
        assert Counter(t.kind for t in trials) == {"training": 3, "silence": 2, "asked": 1, "rating": 6}
        assert [t.kind for t in trials[:4]] == ["training"] * 3 + ["rating"]
        assert trials == trials_of(record, number) != trials_of(record, number + 1)


def test_systems_come_equally_early_over_listeners(defined):
    record = defined(silence=0, asked=0, training=0).record()
    first = Counter()
    for number in range(20):
        trials = trials_of(record, number)
        first.update(t.slots[0].system for t in trials[:3])  # the first round
    assert first == {"fp32": 30, "int8": 30}


def test_which_comes_first_in_a_pair_is_drawn(defined):
    record = defined(method="ccr", reference="fp32").record()
    assert compared(record) == ["int8"]
    first = Counter(t.slots[0].system for n in range(40) for t in trials_of(record, n) if t.kind == "rating")
    assert 35 < first["@reference"] < 85 and sum(first.values()) == 120


def test_mushra_has_a_reference_anchors_and_orders_of_its_own(defined):
    record = defined(method="mushra", reference="fp32").record()
    wanted = {"int8", "@reference", "@3.5 kHz", "@7 kHz", "@250 ms late"}
    orders = set()
    for number in range(5):
        for trial in trials_of(record, number):
            assert trial.slots[0].system == "@reference" and not trial.slots[0].rated
            assert {s.system for s in trial.slots[1:]} == wanted and len(trial.slots) == 6
            orders.add(tuple(s.system for s in trial.slots))
    assert len(orders) > 10
    many = {f"s{i}": "systems/fp32" for i in range(9)}
    with pytest.raises(ListeningError, match="13 sounds side by side"):
        defined(method="mushra", reference="clips", systems=many)


def test_define_does_not_depend_on_the_working_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = define({"title": "a", "clips": "clips", "systems": {"x": "systems/fp32"}}, folder)
    assert found.clips["bird"].is_file()
