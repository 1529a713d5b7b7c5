"""The library of two small folders: doubles, split, cuts, weights, cache, credits, report."""

from __future__ import annotations

import csv
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgefoley.train.sounds.catalogue import LibraryError, licence_rank
from edgefoley.train.sounds.credits import credits_of_folders, credits_of_recordings, write_credits
from edgefoley.train.sounds.fetch import COLUMNS
from edgefoley.train.sounds.library import SoundLibrary
from edgefoley.train.sounds.onsets import onset_times, to_16k
from edgefoley.train.words.concepts import load_concepts

HZ = 48_000
CONCEPTS = tuple(
    replace(load_concepts()[0], id=name, kind=kind, labels=labels)
    for name, kind, labels in (
        ("knock", "impact", ("knock", "tap")),
        ("rain", "texture", ("rain",)),
        ("unicorn", "vocal", ("unicorn",)),
    )
)


def write_wav(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def knocks(seed: int, gains: tuple[float, ...]) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = np.zeros(int((len(gains) + 0.3) * HZ), np.float32)
    for k, gain in enumerate(gains):
        begin = int((k + 0.2) * HZ)
        out[begin : begin + 9600] += gain * rng.standard_normal(9600) * np.exp(-np.arange(9600) / 1200)
    return 0.3 * out


def folder(path: Path, files: dict[str, tuple[str, str, str, np.ndarray]]) -> Path:
    """files: name -> (label, group, licence, samples)."""
    path.mkdir(parents=True, exist_ok=True)
    with (path / "manifest.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, (label, group, licence, samples) in files.items():
            write_wav(path / name, samples)
            seconds = f"{len(samples) / HZ:.3f}"
            writer.writerow(
                [name, label, seconds, HZ, "no", group, licence, f"deb:pack 1 {name}", "A. Person"]
            )
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(9)
    rain = 0.05 * rng.standard_normal(4 * HZ).astype(np.float32)
    one = {f"k{i}.wav": ("knock", f"g{i}", "CC BY 3.0", knocks(i, (1.0, 0.1, 0.4, 0.02))) for i in range(12)}
    one["rain.wav"] = ("rain", "rain", "CC0", rain)
    two = {
        "copy.wav": ("other", "elsewhere", "CC0", 0.2 * knocks(3, (1.0, 0.1, 0.4, 0.02))),
        "tap.wav": ("tap", "taps", "MIT", knocks(99, (0.3,))),
    }
    return [folder(root / "one", one), folder(root / "two", two)]


@pytest.fixture(scope="module")
def library(folders: list[Path], tmp_path_factory: pytest.TempPathFactory) -> SoundLibrary:
    return SoundLibrary.build(folders, tmp_path_factory.mktemp("cache"), CONCEPTS)


def test_only_concepts_with_sound(library: SoundLibrary) -> None:
    assert set(library.concepts) == {"knock", "rain"}
    with pytest.raises(LibraryError, match="knock"):
        library.draw("unicorn", np.random.default_rng(0))
    with pytest.raises(LibraryError, match="kind"):
        library.draw("knock", np.random.default_rng(0), kind="loops")


def test_a_double_is_dropped_for_the_freer_licence_and_keeps_a_known_label(library: SoundLibrary) -> None:
    assert library.dropped == (("k3.wav", "copy.wav"),)
    (kept,) = [r for r in library.pool.recordings if r.path == "copy.wav"]
    assert kept.label == "knock" and kept.licence == "CC0"
    assert kept.group == min("elsewhere", "g3")


def test_a_group_is_on_one_side_of_the_split(library: SoundLibrary) -> None:
    sides: dict[str, set[bool]] = {}
    for recording in library.pool.recordings:
        sides.setdefault(recording.group, set()).add(recording.held_out)
    assert all(len(side) == 1 for side in sides.values())


def test_draws_respect_split_and_seed(library: SoundLibrary) -> None:
    for side in (False, True):
        rng, again = np.random.default_rng(1), np.random.default_rng(1)
        for _ in range(30):
            take = library.draw("knock", rng, held_out=side)
            assert take == library.draw("knock", again, held_out=side)
            if any(library.pool.recordings[i].held_out == side for i in library.members("knock", side)):
                assert take.recording.held_out == side


def test_strength_chooses_hard_or_soft(library: SoundLibrary) -> None:
    rng = np.random.default_rng(2)
    hard = [library.draw("knock", rng, strength=1.0).cut.intensity for _ in range(60)]
    soft = [library.draw("knock", rng, strength=0.0).cut.intensity for _ in range(60)]
    assert np.mean(hard) > 0.7 and np.mean(soft) < 0.3


def test_wave_of_an_event_is_found_where_it_is_placed(library: SoundLibrary) -> None:
    rng = np.random.default_rng(3)
    for _ in range(10):
        take = library.draw("knock", rng)
        part = library.wave(take)
        assert take.cut.kind == "event" and part.dtype == np.float32
        scene = np.zeros(5 * HZ, np.float32)
        at = int(rng.uniform(0.5, 3.0) * HZ)
        scene[at - take.cut.onset : at - take.cut.onset + len(part)] = part
        found = onset_times(to_16k(scene))
        assert np.abs(found - at / HZ).min() < 0.020


def test_another_of_the_same_source(library: SoundLibrary) -> None:
    rng = np.random.default_rng(4)
    take = next(t for t in (library.draw("knock", rng) for _ in range(50)) if t.recording.path != "tap.wav")
    others = {library.draw_like(take, rng).cut for _ in range(40)}
    assert len(others) > 1
    assert all(library.draw_like(take, rng).recording.group == take.recording.group for _ in range(10))


def test_loops_and_wholes(library: SoundLibrary) -> None:
    rng = np.random.default_rng(5)
    loop = library.draw("rain", rng, "loop")
    assert loop.cut.kind == "loop" and HZ < len(library.wave(loop)) < 4 * HZ
    whole = library.draw("knock", rng, "whole")
    assert whole.cut.kind == "whole"
    assert library.has("rain", "loop", loop.recording.held_out)
    assert not library.has("knock", "loop", False)
    assert library.draw("knock", rng, "loop").cut.kind == "whole"  # what there is


def test_opens_again_and_notices_a_changed_manifest(
    folders: list[Path], tmp_path: Path, library: SoundLibrary
) -> None:
    said: list[str] = []
    first = SoundLibrary.build(folders[1:], tmp_path, CONCEPTS, said.append)
    stamp = (tmp_path / "samples.i16").stat().st_mtime_ns
    assert said
    said.clear()
    again = SoundLibrary.build(folders[1:], tmp_path, CONCEPTS, said.append)
    assert said == [] and (tmp_path / "samples.i16").stat().st_mtime_ns == stamp
    assert again.pool.recordings == first.pool.recordings
    both = SoundLibrary.build(folders, tmp_path, CONCEPTS, said.append)
    assert said and both.pool.recordings == library.pool.recordings
    with pytest.raises(LibraryError, match="manifest"):
        SoundLibrary.build([tmp_path / "nothing"], tmp_path, CONCEPTS)


def test_credits_name_everyone_once(folders: list[Path], library: SoundLibrary, tmp_path: Path) -> None:
    rows = credits_of_folders(folders)
    assert [r["licence"] for r in rows] == ["CC BY 3.0", "CC0", "MIT"]
    assert rows[0]["source"] == "deb:pack 1 (12 files)" and rows[2]["source"] == "deb:pack 1 tap.wav"
    used = credits_of_recordings(library.pool.recordings)
    assert used[0]["source"] == "deb:pack 1 (11 files)"  # the double is not used
    write_credits(rows, tmp_path / "CREDITS.tsv")
    with (tmp_path / "CREDITS.tsv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file, delimiter="\t")) == rows


def test_freer_licences_come_first() -> None:
    names = ["CC0", "Public Domain", "MIT (repo)", "BSD-3-Clause", "CC BY 3.0", "CC BY-SA 3.0"]
    assert sorted(names, key=licence_rank) == names
