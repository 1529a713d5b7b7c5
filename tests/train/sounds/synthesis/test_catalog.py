"""Every recipe of the catalogue: sound samples, onsets, what strength does, and the folder of takes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from edgefoley.train.sounds.recordings import decode_mono
from edgefoley.train.sounds.synthesis.catalog import RECIPES, main, perform, plan, render, write_folder
from edgefoley.train.sounds.synthesis.recipe import Recipe
from edgefoley.train.sounds.synthesis.sound import LEVEL_RANGE_DB, RATE
from edgefoley.train.words.concepts import load_concepts

# Recipes whose contact makes the timbre: here a harder hit must be brighter for every thing.
STRUCK = (
    "metal_hit",
    "wood_hit",
    "plastic_hit",
    "stone_hit",
    "door_knock",
    "glass_clink",
    "bell_ring",
    "hammer_nail",
)


def short(concept: str) -> float:
    """A length that keeps the test quick."""
    return min(RECIPES[concept].seconds[0], 0.6)


def centroid(wave: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(wave)) ** 2
    return float((power * np.fft.rfftfreq(len(wave), 1 / RATE)).sum() / power.sum())


def test_recipes_are_concepts() -> None:
    known = {concept.id for concept in load_concepts()}
    assert not set(RECIPES) - known
    assert len(RECIPES) >= 60


@pytest.mark.parametrize("concept", RECIPES)
def test_every_recipe_gives_clean_sound(concept: str) -> None:
    for seed, strength in ((0, 0.15), (1, 0.6), (2, 1.0)):
        sound = render(concept, np.random.default_rng(seed), strength, short(concept))
        wave, top = sound.wave, float(np.abs(sound.wave).max())
        assert wave.dtype == np.float32 and wave.ndim == 1 and np.isfinite(wave).all()
        assert 0.02 < top <= 0.91
        assert abs(float(wave.mean(dtype=np.float64))) < 2e-3 * top  # no offset
        assert max(abs(float(wave[0])), abs(float(wave[-1]))) < 1e-2 * top  # no click at the ends
        assert 0 <= sound.onset < len(wave)
        if RECIPES[concept].kind == "event":
            assert float(np.abs(wave[: sound.onset]).max()) < 10 ** (-50 / 20) * top
            attack = wave[sound.onset : sound.onset + int(0.03 * RATE)]
            assert float(np.abs(attack).max()) > 10 ** (-30 / 20) * top
        elif RECIPES[concept].kind == "texture":
            assert sound.onset == 0


@pytest.mark.parametrize("concept", STRUCK)
def test_a_harder_hit_is_louder_and_brighter(concept: str) -> None:
    for seed in range(4):
        soft, hard = (render(concept, np.random.default_rng(seed), s, 0.4).wave for s in (0.1, 1.0))
        level = 20 * np.log10(np.abs(hard).max() / np.abs(soft).max())
        assert level == pytest.approx(0.9 * LEVEL_RANGE_DB, abs=0.1)
        assert centroid(hard) > 1.08 * centroid(soft)


def test_a_swing_is_loudest_near_its_onset() -> None:
    for seed in range(4):
        sound = render("whoosh", np.random.default_rng(seed), 0.8, 0.7)
        power = np.convolve(np.square(sound.wave), np.ones(2400), "same")
        assert abs(int(np.argmax(power)) - sound.onset) < 0.06 * RATE


def test_the_same_generator_gives_the_same_sound_and_another_does_not() -> None:
    for concept in ("glass_break", "rain", "door_creak"):
        a, b, c = (render(concept, np.random.default_rng(seed), 0.7, 0.5).wave for seed in (4, 4, 5))
        assert a.tobytes() == b.tobytes()
        assert a.tobytes() != c.tobytes()


def test_lengths_are_as_asked() -> None:
    assert len(render("rain", np.random.default_rng(0), 0.5, 0.75).wave) == 0.75 * RATE
    low, high = RECIPES["clock_tick"].seconds
    assert 0.5 * low <= len(render("clock_tick", np.random.default_rng(0)).wave) / RATE <= high + 0.1


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(KeyError, match="glass_break"):
        render("unicorn", np.random.default_rng(0))
    with pytest.raises(ValueError, match="swell"):
        Recipe("noise", (1.0, 2.0), RECIPES["rain"].make)


def test_takes_of_one_thing_share_its_group_and_its_pitch() -> None:
    takes = list(plan(12, 0, ["bell_ring"]))
    assert [take.group for take in takes] == ["synthetic/bell_ring/0"] * 6 + ["synthetic/bell_ring/1"] * 6

    def pitches(wave: np.ndarray) -> set[int]:
        """Peaks within 20 dB of the greatest, in steps of a 50th of an octave."""
        tail = wave[4800:43_200] * np.hanning(38_400)
        power = np.abs(np.fft.rfft(tail, 1 << 17))
        loud = np.flatnonzero(power > 0.1 * power.max())
        return set(np.round(50 * np.log2(loud)).astype(int).tolist())

    things = [pitches(perform(takes[i]).wave) for i in (0, 1, 6)]
    same = len(things[0] & things[1]) / min(len(things[0]), len(things[1]))
    other = len(things[0] & things[2]) / min(len(things[0]), len(things[2]))
    assert same > other + 0.3


def test_a_folder_resumes_and_repeats_to_the_byte(tmp_path: Path) -> None:
    concepts = ("clock_tick", "water_drip")
    assert write_folder(tmp_path / "a", 2, 7, concepts) == 4
    removed = tmp_path / "a" / "clock_tick" / "clock_tick_001.flac"
    before = removed.read_bytes()
    removed.unlink()
    assert write_folder(tmp_path / "a", 2, 7, concepts) == 1
    assert removed.read_bytes() == before
    assert not list((tmp_path / "a").rglob("*.part"))
    assert write_folder(tmp_path / "b", 2, 7, concepts[::-1]) == 4  # whatever the order of the recipes
    for path in (tmp_path / "a").rglob("*.flac"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    with pytest.raises(ValueError, match="seed 7"):
        write_folder(tmp_path / "a", 2, 8, concepts)


def test_the_manifest_tells_what_lies_there(tmp_path: Path) -> None:
    write_folder(tmp_path, 1, 0, ("beep", "light_switch"))
    with (tmp_path / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["label"] for row in rows] == ["synthetic beep", "synthetic light_switch"]
    for row, take in zip(rows, plan(1, 0, ("beep", "light_switch")), strict=True):
        wave = decode_mono(tmp_path / row["path"])
        np.testing.assert_allclose(wave, perform(take).wave, atol=1 / 32_000)
        assert float(row["seconds"]) == pytest.approx(len(wave) / RATE, abs=1e-3)
        assert (row["licence"], row["sample_rate"], row["lossy"]) == ("Apache-2.0", str(RATE), "no")
        assert row["group"] == take.group and row["attribution"] == "edgefoley"
        assert row["source"] == f"edgefoley.train.sounds.synthesis.catalog:{take.concept}"


def test_the_command_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert "--out" in capsys.readouterr().err
