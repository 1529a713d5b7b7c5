"""Folders and models against each other: figures with known answers, and everything that can be missing."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgefoley.errors import UsageError
from edgefoley.evaluation.comparison import Comparison, Extras, compare, forward_levels, paired
from edgefoley.evaluation.embedders import Tagger, cosine, log_mel_patches
from edgefoley.evaluation.forwards import why_not
from edgefoley.evaluation.measures import between_figures, heard
from edgefoley.evaluation.report import html_page, lines, to_json, write_report
from edgefoley.evaluation.sides import EvaluationError, Options, clips_in, open_side, prompt_of
from edgefoley.media import read_audio, read_clip
from edgefoley.metrics.event_scores import interval
from edgefoley.metrics.sound_onsets import decimated
from edgefoley.mix import normalise
from edgefoley.output import write_wav
from edgefoley.pipeline import Pipeline
from edgefoley.types import Audio
from tests.evaluation.conftest import RATE, SECONDS, TIMES, bursts

QUICK = Extras(predict=False)


def run(a: Path, b: Path, clips: Path, extras: Extras = QUICK, **options) -> Comparison:
    return compare(
        open_side(str(a)), open_side(str(b)), clips_in(clips), Options(**options), extras, lambda _: None
    )


@pytest.fixture(scope="module")
def ab(scenes: Path) -> Comparison:
    """The two folders, compared once."""
    return run(scenes / "a", scenes / "b", scenes / "clips")


@pytest.fixture(scope="module")
def one_clip(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first clip alone."""
    folder = tmp_path_factory.mktemp("one")
    shutil.copy(scenes / "clips" / "door.mov", folder)
    return folder


@pytest.fixture
def changed(scenes: Path, tmp_path: Path) -> Path:
    """A copy of the scenes to break."""
    shutil.copytree(scenes, tmp_path / "scenes")
    return tmp_path / "scenes"


def test_what_is_known_beforehand(ab):
    found = ab
    assert list(found.clips) == sorted(TIMES) and not found.left_out
    row = found.summary
    assert row["lufs"]["difference"]["mean"] == pytest.approx(-6.02, abs=0.5)
    assert row["onset_f1"]["a"]["mean"] == 1.0 and row["onset_f1"]["b"]["mean"] < 0.5
    assert row["onset_f1"]["difference"]["high"] < 0
    assert row["onset_f1_gain"]["a"]["mean"] == pytest.approx(1 - row["onset_f1_chance"]["a"]["mean"])
    assert row["onset_f1_ab"]["between"]["mean"] < 0.5
    assert (
        row["silent"]["a"]["mean"] == row["clipped"]["b"]["mean"] == row["length_error_s"]["a"]["mean"] == 0
    )
    for name in row:
        assert row[name]["n"] == 3


def test_a_folder_against_itself_differs_in_nothing(scenes):
    found = run(scenes / "a", scenes / "a", scenes / "clips")
    row = found.summary
    for name in ("log_mel_db", "stft_db", "stft_convergence", "added_pops", "cancelled"):
        assert row[name]["between"] == {"mean": 0.0, "low": 0.0, "high": 0.0}, name
    assert row["onset_f1_ab"]["between"]["mean"] == 1.0
    assert all(row[name]["difference"]["mean"] == 0 for name in row if "difference" in row[name])


def test_loudness_is_no_distance(scenes, changed):
    for clip in TIMES:
        wave = bursts(TIMES[clip], sorted(TIMES).index(clip))
        write_wav(
            changed / "b" / f"{clip}.foley.wav", Audio(0.25 * wave, RATE), {}, overwrite=True, subtype="FLOAT"
        )
        write_wav(changed / "a" / f"{clip}.wav", Audio(wave, RATE), {}, overwrite=True, subtype="FLOAT")
    row = run(changed / "a", changed / "b", changed / "clips").summary
    assert row["log_mel_db"]["between"]["mean"] < 1e-3
    assert row["lufs"]["difference"]["mean"] == pytest.approx(-12.04, abs=0.01)


def test_missing_silent_short_and_other_rates(changed):
    (changed / "b" / "door.foley.wav").unlink()
    write_wav(changed / "a" / "more.wav", Audio(bursts(()), RATE), {})
    silent = Audio(np.zeros(round(SECONDS * RATE), np.float32), RATE)
    write_wav(changed / "b" / "step.foley.wav", silent, {}, overwrite=True)
    short = bursts(TIMES["tap"], 2)[: RATE // 2][::2]  # half a second at 24 kHz, stereo
    write_wav(
        changed / "b" / "tap.foley.wav", Audio(np.stack([short, -short]), RATE // 2), {}, overwrite=True
    )
    found = run(changed / "a", changed / "b", changed / "clips")
    assert list(found.clips) == ["step", "tap"] and "has no sound for it" in found.left_out["door"]
    assert "1 sounds belong to no clip (more" in found.notes[0]
    step, tap = found.clips["step"], found.clips["tap"]
    assert (
        step["b"]["silent"] == 1
        and math.isnan(step["b"]["lufs"])
        and math.isnan(step["between"]["log_mel_db"])
    )
    assert step["b"]["onset_f1"] == 0.0
    assert tap["b"]["length_error_s"] == pytest.approx(0.5 - SECONDS, abs=1e-3)
    assert tap["b"]["mono_loss_db"] > 60  # the channels cancel
    assert found.summary["lufs"]["n"] == 1 and math.isnan(found.summary["lufs"]["a"]["low"])
    assert found.summary["silent"]["n"] == 2
    text = "\n".join(lines(found))
    assert "left out: door" in text and "nan" not in text
    assert "nan" not in html_page(found) and "left out" in html_page(found)


def test_damaged_sounds_are_named_and_nothing_in_common_is_an_error(changed):
    (changed / "a" / "door.wav").write_bytes(b"RIFF broken" * 99)
    found = run(changed / "a", changed / "b", changed / "clips")
    assert "door.wav" in found.left_out["door"]
    for clip in TIMES:
        (changed / "a" / f"{clip}.wav").unlink()
    write_wav(changed / "a" / "x.wav", Audio(bursts(()), RATE), {})
    with pytest.raises(EvaluationError, match="no clip has a sound on both sides"):
        run(changed / "a", changed / "b", changed / "clips")


def test_clips_without_sound_of_their_own(changed):
    from tests.clips import make_clip

    for path in (changed / "clips").iterdir():
        path.unlink()
    for clip in TIMES:
        make_clip(changed / "clips" / f"{clip}.mp4", count=40)
    found = run(changed / "a", changed / "b", changed / "clips")
    assert "onset_f1" not in found.summary
    assert found.not_measured["onset_f1"] == "no clip has a sound of its own"


def test_what_is_not_installed_is_named(scenes, monkeypatch):
    there = importlib.util.find_spec
    hidden = {"aisfx", "zimtohrli", "visqol"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in hidden else there(name, *a)
    )
    found = run(scenes / "a", scenes / "b", scenes / "clips", Extras())
    assert found.not_measured["zimtohrli_predicted"] == "pip install zimtohrli"
    assert found.not_measured["visqol_predicted"].startswith("pip install visqol-python")
    assert "pip install --no-deps aisfx" in found.not_measured["aisfx_cosine"]
    assert "--tagger" in found.not_measured["fd_tagger"]
    assert not {"zimtohrli_predicted", "aisfx_cosine"} & set(found.summary)
    assert "not measured: zimtohrli_predicted: pip install zimtohrli" in "\n".join(lines(found))


def test_predicted_grades_are_called_predicted_and_fall():
    pytest.importorskip("zimtohrli", reason="a model of listeners (pip install zimtohrli)")
    length = round(SECONDS * RATE)
    true = heard(Audio(bursts((0.3, 0.9), 0), RATE), length)
    noisy = bursts((0.3, 0.9), 0) + 0.02 * np.random.default_rng(9).standard_normal(length).astype(np.float32)
    worse = heard(Audio(noisy, RATE), length)
    names = ["zimtohrli_predicted"]
    same = between_figures(true, true, None, names)["zimtohrli_predicted"]
    assert same > 4.5 > between_figures(true, worse, None, names)["zimtohrli_predicted"]


def test_paired_intervals_use_clips_that_both_have():
    a, b = [1.0, 2.0, math.nan, 4.0, 5.0], [2.0, 2.5, 3.0, math.inf, 7.0]
    found = paired(a, b)
    assert found["n"] == 3
    assert found["difference"] == interval([1.0, 0.5, 2.0]) and found["a"] == interval([1.0, 2.0, 5.0])
    assert paired([math.nan], [1.0]) is None
    assert math.isnan(paired([1.0], [2.0])["difference"]["low"])


def test_every_forward_of_a_model_that_is_one_percent_off(models, scenes):
    """The second model's velocity is 1.01 times the first's, so every SQNR is 40 dB."""
    exact, louder, _ = models
    found = run(exact, louder, scenes / "clips", seed=3)
    steps = 4
    assert len(found.forwards) == 3 * steps
    assert {item.clip for item in found.forwards} == set(TIMES)
    assert [item.sqnr_db for item in found.forwards] == pytest.approx([40.0] * 12, abs=0.01)
    levels = forward_levels(found.forwards)
    assert len(levels) == steps and all(
        row["n"] == 3 and row["mean"] == pytest.approx(40, abs=0.01) for row in levels
    )
    assert [row["sigma"] for row in levels] == sorted((row["sigma"] for row in levels), reverse=True)
    assert "velocity, every forward" in "\n".join(lines(found))


def test_a_model_against_itself_is_equal_in_every_forward(models, one_clip):
    found = run(models[0], models[0], one_clip)
    assert all(math.isinf(item.sqnr_db) for item in found.forwards)
    assert all(row["equal"] == 1 and "mean" not in row for row in forward_levels(found.forwards))
    assert "Every forward is equal" in html_page(found)


def test_other_weights_and_folders_have_no_velocity_to_compare(models, scenes, one_clip):
    exact, _, other = models
    found = run(exact, other, one_clip)
    assert not found.forwards and "differ in more than how" in found.not_measured["velocity_sqnr_db"]
    mixed = run(scenes / "a", exact, one_clip)
    assert "not both sides" in mixed.not_measured["velocity_sqnr_db"] and mixed.clips
    assert why_not(None, None) is not None


def test_models_make_what_generate_makes(models, one_clip):
    found = run(models[0], models[0], one_clip, prompts=("a knock",), steps=2)
    sound = found.sounds["door"]["a"]
    assert sound.samples.shape[-1] == round(SECONDS * RATE)
    assert np.array_equal(sound.samples, found.sounds["door"]["b"].samples)
    other = run(models[0], models[0], one_clip, prompts=("a bell",), steps=2)
    assert not np.array_equal(sound.samples, other.sounds["door"]["a"].samples)
    with Pipeline.open(models[0]) as pipeline:
        clip = read_clip(one_clip / "door.mov", pipeline.bundle.views())
        made = normalise(pipeline.generate(clip, "a knock", seed=0, num_steps=2).audio, -23.0)
    assert np.array_equal(made.samples, sound.samples)
    assert prompt_of("a_dog-barks", 0, ()) == "a dog barks" and prompt_of("x", 3, ("p", "q")) == "q"


@pytest.mark.parametrize(
    ("name", "words"), [("nothing-like-it", "neither a folder of sounds nor a model"), ("", "")]
)
def test_sides_that_are_none(tmp_path, name, words):
    with pytest.raises(UsageError, match=words or "holds neither sounds nor a model"):
        open_side(name or str(tmp_path))
    with pytest.raises(UsageError, match="holds no video"):
        clips_in(tmp_path)
    with pytest.raises(UsageError, match="no folder of clips"):
        clips_in(tmp_path / "none")


def tagger_file(path: Path, shape: list, graph: str) -> Path:
    onnx = pytest.importorskip("onnx", reason="graphs are made with onnx (extra: quantize)")
    pytest.importorskip("onnx.parser")
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}')
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def test_a_tagger_of_waves(tmp_path, scenes):
    graph = """tagger (float[n] waveform) => (float[1] scores, float[1, 2] embeddings) {
        axes = Constant <value = int64[1] {0}> ()
        level = ReduceL1 <axes = [0], keepdims = 1> (waveform)
        scores = ReduceMax <axes = [0], keepdims = 1> (waveform)
        both = Concat <axis = 0> (level, scores)
        embeddings = Unsqueeze (both, axes)
    }"""
    tagger = Tagger(tagger_file(tmp_path / "levels.onnx", ["n"], graph))
    wave = bursts((0.3,), 0, 2.0)
    found = tagger(wave)
    low = decimated(wave.astype(np.float64))
    assert found.shape == (1, 2) and found[0] == pytest.approx([np.abs(low).sum(), low.max()], rel=1e-4)
    assert tagger.name == "levels"
    result = run(
        scenes / "a", scenes / "b", scenes / "clips", Extras(tagger=tmp_path / "levels.onnx", predict=False)
    )
    assert set(result.sets) >= {"fd_levels", "kd_levels", "pieces_levels"}
    assert set(result.sets["kd_levels"]) == {"a_b", "a_true", "b_true", "difference"}
    assert "fd_tagger" not in result.not_measured and "fd_levels" in "\n".join(lines(result))


def test_a_tagger_of_patches(tmp_path):
    graph = """tagger (float[1, 96, 64] patch) => (float[1, 64] bands) {
        bands = ReduceMean <axes = [1], keepdims = 0> (patch)
    }"""
    tagger = Tagger(tagger_file(tmp_path / "bands.onnx", [1, 96, 64], graph))
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE)
    found = tagger(tone)
    assert found.shape == (3, 64)  # 0.96 s every 0.48 s in 2 s
    # Band edges are even on the mel scale from 125 to 7500 Hz: 1 kHz lies here.
    mel = 1127 * np.log1p(np.array([125.0, 1000.0, 7500.0]) / 700)
    assert abs(int(found[0].argmax()) - (mel[1] - mel[0]) / (mel[2] - mel[0]) * 65 + 1) <= 1
    assert len(log_mel_patches(np.zeros(1000))) == 1
    assert cosine(found, found) == pytest.approx(1.0)


def test_taggers_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="there is no tagger"):
        Tagger(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="no ONNX file"):
        Tagger(tmp_path / "bad.onnx")
    square = "tagger (float[3, 8] x) => (float[3, 8] y) { y = Identity (x) }"
    with pytest.raises(UsageError, match="neither a wave nor patches"):
        Tagger(tagger_file(tmp_path / "square.onnx", [3, 8], square))
    flat = "tagger (float[n] x) => (float[n] y) { y = Identity (x) }"
    path = tagger_file(tmp_path / "flat.onnx", ["n"], flat)
    with pytest.raises(UsageError, match="has no output 'z'; there are y"):
        Tagger(path, "z")
    with pytest.raises(UsageError, match="no embedding"):
        Tagger(path)(np.zeros(RATE))
    two = "tagger (float[n] x, float[n] w) => (float[n] y) { y = Add (x, w) }"
    with pytest.raises(UsageError, match="one float input"):
        Tagger(tagger_file(tmp_path / "two.onnx", ["n"], two))


def test_the_page_plays_both_and_fetches_nothing(ab, scenes, tmp_path):
    found = ab
    clips = clips_in(scenes / "clips")
    page = write_report(found, clips, tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    assert text.count("<video") == 6 and "http" not in text and "nobody listened" in text
    names = sorted(path.name for path in (tmp_path / "report" / "media").iterdir())
    assert names == [f"00{i}.{side}.mp4" for i in range(3) for side in "ab"]
    assert all(f'src="media/{name}"' in text for name in names)
    played = read_audio(tmp_path / "report" / "media" / "000.b.mp4").samples[0]
    given = found.sounds["door"]["b"].samples.reshape(-1)
    assert np.abs(played - given[: len(played)]).max() < 1e-6
    values = json.loads(json.dumps(to_json(found), default=str))
    assert set(values) == {
        "a",
        "b",
        "clips",
        "summary",
        "sets",
        "velocity_sqnr_db",
        "left_out",
        "not_measured",
        "notes",
    }
