"""Choosing examples: those that make the right sound, not those that are near each other."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from edgefoley import encoders
from edgefoley.export.choose_timbres import FINALISTS, KEPT, MEANS, SINGLES, Maker, choose, choose_all
from edgefoley.export.timbres import SILENCE, origin_of, read_groups, timbre_table, typical
from edgefoley.models.timbre import Timbre
from edgefoley.pipeline import Pipeline
from edgefoley.train.likeness import SoundMap
from edgefoley.train.timbre import Example
from edgefoley.train.words.concepts import Concept, load_concepts

DOG, CAT = load_concepts()[:2]
TARGET = np.array([1.0, 1.0, 0.0])  # a sound is its timbre, and the nearer to this the better


class Heard:
    """The likeness of a sound is that of its timbre; counts what it hears."""

    ids = (DOG.id, CAT.id)

    def __init__(self) -> None:
        self.count = 0

    def margin(self, wave: np.ndarray, concept: str) -> float:
        self.count += 1
        return -float(np.linalg.norm(wave - TARGET))


def maker(broken_after: int | None = None) -> Maker:
    """Sounds are the timbres themselves."""
    used: list[tuple[str, int]] = []

    def sound(concept: Concept, phrase: str, parts: torch.Tensor, seed: int) -> np.ndarray:
        used.append((phrase, seed))
        if len(used) == broken_after:
            raise KeyboardInterrupt
        return parts.numpy()

    same = SimpleNamespace(whiten=lambda raw: raw)
    return cast(Maker, SimpleNamespace(sound=sound, module=same, used=used))


def test_a_mean_is_taken_where_it_sounds_better_than_its_parts() -> None:
    parts = torch.tensor([[2.0, 0, 0], [0, 2, 0], [5, 5, 5], [-1, -1, -1]])
    groups = choose(maker(), cast(SoundMap, Heard()), DOG, parts)
    assert sorted(groups[0]) == [0, 1]  # their mean is the target
    assert len(groups) == KEPT


def test_one_that_sounds_right_is_kept_alone() -> None:
    parts = torch.tensor([[9.0, 0, 0], [1, 1, 0], [0, 0, 9], [0, 9, 0]])
    assert choose(maker(), cast(SoundMap, Heard()), DOG, parts)[0] == [1]
    assert choose(maker(), cast(SoundMap, Heard()), DOG, parts[:1]) == [[0]]


def test_of_many_examples_the_most_typical_are_tried() -> None:
    parts = torch.zeros(30, 3)
    parts[:, 2] = torch.arange(30.0) ** 2  # their mean is 285
    assert typical(parts, 4) == [17, 16, 18, 15]
    heard = Heard()
    groups = choose(maker(), cast(SoundMap, heard), DOG, parts)
    assert {i for group in groups for i in group} <= set(typical(parts, SINGLES))
    assert heard.count == 2 * (SINGLES + FINALISTS + len(MEANS))


def test_finalists_are_heard_with_other_phrases_and_seeds() -> None:
    """None of them the first phrase, which measures what came of it."""
    made = maker()
    choose(made, cast(SoundMap, Heard()), DOG, torch.eye(3))
    used = cast(Any, made).used
    first, second = used[: 2 * 3], used[2 * 3 :]
    assert not {phrase for phrase, _ in first} & {phrase for phrase, _ in second}
    assert not {seed for _, seed in first} & {seed for _, seed in second}
    assert not {DOG.en[0], DOG.zh[0]} & {phrase for phrase, _ in used}
    assert {phrase for phrase, _ in used} <= {*DOG.en, *DOG.zh}


def test_a_stopped_choice_goes_on(tmp_path: Path) -> None:
    out, rng = tmp_path / "timbres.json", np.random.default_rng(0)
    raw = {c.id: rng.normal(size=(4, 3)).astype(np.float32) for c in (DOG, CAT)}
    examples = {c: [Example(f"latents_0000:{i}", row) for i, row in enumerate(raw[c])] for c in raw}
    arguments = ([DOG, CAT], examples, {"school": "s", "transformer": "t"})
    with pytest.raises(KeyboardInterrupt):
        choose_all(
            maker(2 * 4 + 2 * 6 + 3), cast(SoundMap, Heard()), *arguments, out
        )  # in the second concept
    assert list(json.loads(out.read_text())["groups"]) == [DOG.id]
    heard = Heard()
    chosen = choose_all(maker(), cast(SoundMap, heard), *arguments, out)
    assert heard.count == 2 * 4 + 2 * 6
    whole = choose_all(maker(), cast(SoundMap, Heard()), *arguments, tmp_path / "whole.json")
    assert chosen == whole == json.loads(out.read_text())["groups"]
    with pytest.raises(SystemExit, match="other weights"):
        choose_all(maker(), cast(SoundMap, heard), *arguments[:2], {"school": "s", "transformer": "u"}, out)


def test_a_sound_is_what_the_bundle_would_make_with_that_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged model, its table replaced by one row."""
    concept = next(c for c in load_concepts() if c.id == "door_knock")
    torch.manual_seed(0)
    module = Timbre(20, 5, 256).eval()
    torch.nn.init.normal_(module.pooled.weight, std=0.05)
    parts = torch.randn(5)
    with Pipeline.open("nano", threads=1) as pipeline:
        table = encoders.read_timbres(pipeline.bundle)
        assert table is not None
        sound = Maker(pipeline, module).sound(concept, "a knock on the door", parts, 5)
        other = Maker(pipeline, module).sound(concept, "a knock on the door", -parts, 5)
        with torch.no_grad():
            row, gain = (made.numpy() for made in module(parts[None]))
        index = np.array([table.names.index(concept.id)])
        one = replace(table, owner=index, rows=row, pooled=gain)
        monkeypatch.setattr(encoders, "read_timbres", lambda bundle: one)
        made = pipeline.generate(None, "a knock on the door", seed=5, duration=Fraction(4))
    assert np.array_equal(sound, made.audio.samples)
    assert not np.array_equal(sound, other)


def test_a_group_is_one_row_of_the_table_its_mean() -> None:
    raw = np.random.default_rng(1).normal(size=(5, 20)).astype(np.float32)
    torch.manual_seed(0)
    module = Timbre(20, 5, 8)
    module.basis.copy_(torch.randn(5, 20))
    embed = lambda texts: np.ones((len(texts), 8), np.float32)  # noqa: E731
    own = [Example(f"shard:{7 * i}", row) for i, row in enumerate(raw)]
    groups = {DOG.id: [["shard:0", "shard:21"], ["shard:7"]]}
    made = timbre_table(module, {DOG.id: own, CAT.id: own[:2]}, [DOG, CAT], embed, groups)
    assert made.names == (DOG.id, CAT.id, SILENCE) and made.owner.tolist() == [0, 0, 1, 1]
    with torch.no_grad():
        row, gain = module(module.whiten(torch.from_numpy((raw[[0]] + raw[[3]]) / 2)))
    assert np.allclose(made.rows[0], row[0], atol=1e-5) and np.allclose(made.pooled[0], gain[0], atol=1e-5)


def test_a_choice_from_another_school_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ("school/school.json", "transformer/transformer.safetensors"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text("as it was")
    chosen = tmp_path / "timbres.json"
    groups = {DOG.id: [["latents_0002:7"]]}
    chosen.write_text(json.dumps({**origin_of(tmp_path), "groups": groups}))
    assert read_groups(chosen, tmp_path) == groups and not capsys.readouterr().out
    (tmp_path / "transformer/transformer.safetensors").write_text("trained on")
    assert read_groups(chosen, tmp_path) == groups and "another transformer" in capsys.readouterr().out
    (tmp_path / "school/school.json").write_text("another")
    with pytest.raises(SystemExit, match="other lessons"):
        read_groups(chosen, tmp_path)
