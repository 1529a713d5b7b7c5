"""The public Python API: what a program gets, and what importing it costs."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import warnings
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import edgefoley
from edgefoley import bundle as bundles
from edgefoley.errors import OutputError, UsageError
from edgefoley.media import MediaWarning
from edgefoley.settings import MAX_SEED, Settings, SettingValues, SoundValues, exact
from tests import clips
from tests.fake_bundle import make_fake_bundle

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def pipeline(tmp_path_factory):
    with edgefoley.Pipeline.open(make_fake_bundle(tmp_path_factory.mktemp("bundle")), "fake") as opened:
        yield opened


@pytest.fixture
def video(make_clip):
    return make_clip("clip.mp4", count=10)


def test_the_names():
    assert len(edgefoley.__all__) <= 14
    assert all(getattr(edgefoley, name) is not None for name in edgefoley.__all__)
    assert set(edgefoley.__all__) <= set(dir(edgefoley))
    with pytest.raises(AttributeError, match="generate, list_models"):
        edgefoley.generat  # noqa: B018


def test_probe_is_the_function_whatever_was_imported_before():
    import edgefoley.media
    import edgefoley.pipeline

    assert all(
        inspect.isroutine(getattr(edgefoley, name)) for name in ("probe", "generate", "sound", "read_clip")
    )


def test_importing_costs_nothing():
    code = """
import sys, time
before = time.process_time()
import edgefoley
spent = time.process_time() - before
heavy = [name for name in ("torch", "onnxruntime", "av", "numpy", "tokenizers") if name in sys.modules]
print(spent < 0.15, heavy, edgefoley.__version__ != "")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split(" ", 1)[1].strip() == "[] True"
    assert done.stdout.startswith("True"), "importing edgefoley took more than 150 ms of processor time"


def test_generate_without_output_writes_nothing(pipeline, video, tmp_path):
    (take,) = edgefoley.generate(video, "steps", model=pipeline, seed=3)
    assert take.wav is None and take.video is None
    assert take.foley.audio.samples.shape == (19200,)
    assert (take.foley.seed, take.foley.prompt, take.foley.model) == (3, "steps", "fake")
    assert [stage.name for stage in take.foley.stats.stages] == [
        "read",
        "encode",
        "denoise",
        "decode",
        "level",
    ]
    assert take.foley.extra["loudness_lufs"] == pytest.approx(-23, abs=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_generate_with_output(pipeline, video, tmp_path):
    first, second = edgefoley.generate(video, model=pipeline, output=tmp_path / "out", takes=2, seed=3)
    assert first.wav == tmp_path / "out" / "clip.foley.wav"
    assert second.video == tmp_path / "out" / "clip.foley.take2.mp4"
    assert second.foley.seed == 4
    assert not np.array_equal(first.foley.audio.samples, second.foley.audio.samples)
    assert pipeline.backend.runs["text"] == 2  # prompt and negative prompt, once for both takes


def test_a_negative_prompt_takes_the_guidance_that_the_model_has_for_it(video, tmp_path):
    defaults = {"negative_prompt": "", "negative_guidance": 2.5}
    with edgefoley.Pipeline.open(make_fake_bundle(tmp_path / "fake", **defaults), "fake") as opened:
        guidance = [
            edgefoley.generate(video, "steps", model=opened, seed=3, **options)[0].foley.guidance_scale
            for options in ({}, {"negative_prompt": "hiss"}, {"guidance_scale": 4.0})
        ]
    assert guidance == [1.0, 2.5, 4.0]


def test_words_alone_take_the_guidance_that_the_model_has_for_them(video, tmp_path):
    defaults = {"negative_prompt": "", "words_guidance": 3.0}
    with edgefoley.Pipeline.open(make_fake_bundle(tmp_path / "fake", **defaults), "fake") as opened:
        seen = edgefoley.generate(video, "steps", model=opened, seed=3)
        heard = edgefoley.sound("steps", 0.5, model=opened, seed=3)
        asked = edgefoley.sound("steps", 0.5, model=opened, seed=3, guidance_scale=1.5)
        direct = opened.generate(None, "steps", seed=3, duration=Fraction(1, 2))
    found = [take.foley.guidance_scale for take in (*seen, *heard, *asked)]
    assert found == [1.0, 3.0, 1.5] and direct.guidance_scale == 3.0


def test_a_model_by_its_folder_is_opened_and_closed(tmp_path, monkeypatch):
    """The default engine has no files in this bundle, so the engine is swapped."""
    from edgefoley import api

    opened = []
    real = api.Pipeline.open
    monkeypatch.setattr(api.Pipeline, "open", lambda model: opened.append(real(model, "fake")) or opened[-1])
    edgefoley.sound("rain", 0.1, model=make_fake_bundle(tmp_path / "bundle"))
    assert opened[0].backend.runs["decoder"] == 1
    assert opened[0].backend.open == []


def test_an_open_pipeline_stays_open(pipeline):
    edgefoley.sound("rain", 0.1, model=pipeline)
    assert "decoder" in pipeline.backend.open


def test_a_seed_is_drawn(pipeline):
    seeds = {edgefoley.sound("rain", 0.1, model=pipeline)[0].foley.seed for _ in range(3)}
    assert len(seeds) == 3 and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("seconds", "count"), [(0.1, 4800), (Fraction(1, 3), 16000), ("0.25", 12000), (1, 48000)]
)
def test_sound(pipeline, tmp_path, seconds, count):
    (take,) = edgefoley.sound("rain", seconds, model=pipeline, output=tmp_path / "rain.wav")
    assert take.foley.audio.samples.size == count
    assert take.wav == tmp_path / "rain.wav" and take.wav.is_file()


@pytest.mark.parametrize("seconds", [0, -1, 3601, float("nan"), float("inf"), "soon"])
def test_senseless_seconds(pipeline, seconds):
    with pytest.raises(UsageError, match="seconds must be"):
        edgefoley.sound("rain", seconds, model=pipeline)


def test_sound_takes_no_settings_of_a_video(pipeline):
    with pytest.raises(UsageError, match="start needs a video"):
        edgefoley.sound("rain", 1, model=pipeline, start=0.5)
    with pytest.raises(TypeError, match="tempo"):
        edgefoley.sound("rain", 1, model=pipeline, tempo=3)


def test_progress(pipeline, video, tmp_path):
    heard = []
    edgefoley.generate(
        video, model=pipeline, output=tmp_path / "o", takes=2, on_progress=lambda *r: heard.append(r)
    )
    order = list(dict.fromkeys(stage for stage, _ in heard))
    assert order == ["read", "encode", "denoise", "decode", "level", "write"]
    assert [fraction for stage, fraction in heard if stage == "denoise"] == [0, 0.25, 0.5, 0.75, 1] * 2
    assert all(("write", edge) in heard for edge in (0.0, 1.0))


def test_existing_outputs_are_refused_before_the_work(pipeline, video, tmp_path):
    (tmp_path / "clip.foley.mp4").touch()
    with pytest.raises(OutputError, match="exists already"):
        edgefoley.generate(video, model=pipeline, output=tmp_path)
    assert pipeline.backend.runs == {}


def test_a_silent_sound_is_a_warning(pipeline, monkeypatch):
    from edgefoley.backends import fake

    def silence(x, sizes):
        return {"waveform": np.zeros((1, 1, x["latents"].shape[2] * sizes["hop"]), np.float32)}

    monkeypatch.setitem(fake._FUNCTIONS, "decoder", silence)
    with pytest.warns(MediaWarning, match="silent"):
        (take,) = edgefoley.sound("rain", 0.5, model=pipeline)
    assert not take.foley.audio.samples.any()


def test_an_unreachable_loudness_is_a_warning(pipeline, monkeypatch):
    """A single click cannot have -5 LUFS under a true peak of -1 dBTP."""
    from edgefoley.backends import fake

    def click(x, sizes):
        wave = np.zeros((1, 1, x["latents"].shape[2] * sizes["hop"]), np.float32)
        wave[..., 100] = 0.5
        return {"waveform": wave}

    monkeypatch.setitem(fake._FUNCTIONS, "decoder", click)
    with pytest.warns(MediaWarning, match="instead of -5"):
        (take,) = edgefoley.sound("rain", 0.5, model=pipeline, loudness=-5)
    assert take.foley.extra["true_peak_dbtp"] <= -1


def test_a_clip_read_by_hand_gives_the_same_sound(pipeline, video):
    clip = edgefoley.read_clip(video, pipeline.bundle.views())
    foley = pipeline.generate(clip, "steps", seed=3)
    (take,) = edgefoley.generate(video, "steps", model=pipeline, seed=3)
    ratio = take.foley.audio.samples[1000:1100] / foley.audio.samples[1000:1100]
    assert ratio == pytest.approx(np.full(100, ratio[0]), rel=1e-3)


def test_the_page_names_everything():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in [*edgefoley.__all__, *SettingValues.__annotations__]:
        assert f"`{name}" in page, name


def test_the_keywords_are_the_settings():
    assert set(SettingValues.__annotations__) == {field.name for field in fields(Settings)}
    assert set(SoundValues.__annotations__) < set(SettingValues.__annotations__)


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"guidance_scale": -0.1},
        {"guidance_scale": float("nan")},
        {"takes": 0},
        {"seed": -1},
        {"seed": MAX_SEED, "takes": 2},
        {"loudness": -4.9},
        {"loudness": -71},
        {"loudness": float("nan")},
        {"original": "louder"},
        {"max_height": 15},
        {"start": "now"},
        {"end": float("inf")},
    ],
)
def test_values_out_of_range(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        Settings(**values)


def test_values_at_the_edge_of_their_range():
    Settings(num_steps=1, guidance_scale=0, takes=2, seed=MAX_SEED - 1, loudness=-5, max_height=16)
    Settings(guidance_scale=100, seed=0, loudness=-70)


def test_seconds_are_exact():
    assert exact(0.1, "x") == Fraction(1, 10)
    assert exact("1/3", "x") == Fraction(1, 3)
    assert exact(None, "x") is None


def test_list_models(tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "builtin_folder", lambda: tmp_path)
    assert edgefoley.list_models() == []
    make_fake_bundle(tmp_path / "good", name="good")
    make_fake_bundle(tmp_path / "bad", name="bad")
    (tmp_path / "bad" / "manifest.json").write_text("{}")
    bad, good = edgefoley.list_models()
    assert (good.name, good.problem, good.backends) == ("good", None, ("fake",))
    assert bad.name == "bad" and "schema" in bad.problem


def test_write_wav(tmp_path):
    audio = edgefoley.Audio(np.zeros(480, np.float32), 48000)
    edgefoley.write_wav(tmp_path / "a.wav", audio, {})
    assert (tmp_path / "a.wav").stat().st_size > 1440
    with pytest.raises(edgefoley.EdgeFoleyError):
        edgefoley.write_wav(tmp_path / "a.wav", audio, {})


def test_a_run_without_trouble_gives_no_warning(pipeline, tmp_path):
    video = clips.make_clip(tmp_path / "c.mp4", count=10, sound=clips.Sound(clips.clicks(0.4, [0.1])))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("keep", "replace", "mix", "duck"):
            edgefoley.generate(video, model=pipeline, output=tmp_path / f"{mode}.mp4", original=mode, seed=1)
