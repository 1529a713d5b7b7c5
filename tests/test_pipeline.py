"""The pipeline on the fake back end: every input is heard, every length is exact, every refusal has words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from edgefoley import pipeline as pipeline_module
from edgefoley import velocity as velocity_module
from edgefoley.backends.base import LoadOptions
from edgefoley.backends.fake import FakeBackend, FakeSession
from edgefoley.bundle import MANIFEST, open_bundle
from edgefoley.errors import (
    BackendUnavailableError,
    BundleError,
    BundleIntegrityError,
    BundleNotFoundError,
    NumericError,
    UsageError,
)
from edgefoley.pipeline import Pipeline
from edgefoley.timeline import SAMPLE_RATE, Timeline, chunks
from edgefoley.types import Clip, Foley, FrameView
from tests.fake_bundle import SIZES, make_clip, make_fake_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_fake_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def pipeline(folder: Path) -> Iterator[Pipeline]:
    with Pipeline.open(folder, "fake") as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return make_clip(folder, 2)


def with_view(clip: Clip, name: str, view: FrameView) -> Clip:
    return replace(clip, views={**clip.views, name: view})


def darker(clip: Clip, name: str) -> Clip:
    return with_view(clip, name, replace(clip.views[name], frames=clip.views[name].frames // 2))


def older(clip: Clip) -> Clip:
    view = clip.views["sync"]
    return with_view(clip, "sync", replace(view, ages=view.ages + np.float32(0.01)))


def differ(a: Foley, b: Foley) -> bool:
    return not np.array_equal(a.audio.samples, b.audio.samples)


# --- what is heard


def test_same_seed_same_bits(folder: Path, pipeline: Pipeline, clip: Clip) -> None:
    first, second = pipeline.generate(clip, "dog", seed=5), pipeline.generate(clip, "dog", seed=5)
    with Pipeline.open(folder, "fake") as other:
        third = other.generate(clip, "dog", seed=5)
    assert not differ(first, second)
    assert not differ(first, third)
    assert np.abs(first.audio.samples).max() > 0.01


CHANGES: dict[str, Callable[[Pipeline, Clip], Foley]] = {
    "seed": lambda p, c: p.generate(c, "dog", seed=6),
    "prompt": lambda p, c: p.generate(c, "cat", seed=5),
    "no prompt": lambda p, c: p.generate(c, "", seed=5),
    "steps": lambda p, c: p.generate(c, "dog", seed=5, num_steps=5),
    "guidance": lambda p, c: p.generate(c, "dog", seed=5, guidance_scale=3.0),
    "no clip": lambda p, c: p.generate(None, "dog", seed=5, duration=c.duration),
    "pictures": lambda p, c: p.generate(darker(c, "visual"), "dog", seed=5),
    "motion": lambda p, c: p.generate(darker(c, "sync"), "dog", seed=5),
    "ages": lambda p, c: p.generate(older(c), "dog", seed=5),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_input_is_heard(pipeline: Pipeline, clip: Clip, name: str) -> None:
    assert differ(pipeline.generate(clip, "dog", seed=5), CHANGES[name](pipeline, clip))


def test_negative_prompt_acts_with_guidance_and_only_then(pipeline: Pipeline, clip: Clip) -> None:
    def run(negative: str | None, guidance: float) -> Foley:
        return pipeline.generate(clip, "dog", negative, seed=5, guidance_scale=guidance)

    assert differ(run("hiss", 3.0), run("hum", 3.0))
    assert not differ(run("hiss", 1.0), run("hum", 1.0))
    assert not differ(run(None, 3.0), run("noise", 3.0))  # "noise" is the bundle's default
    assert run(None, 3.0).negative_prompt == "noise"
    assert differ(run("", 3.0), run(None, 3.0))  # empty is a choice, not "use the default"


def test_a_model_can_ask_for_guidance_where_something_is_to_be_avoided(tmp_path: Path, clip: Clip) -> None:
    folder = make_fake_bundle(tmp_path, negative_prompt="", negative_guidance=3.0)
    with Pipeline.open(folder, "fake") as pipeline:
        plain, avoiding = (pipeline.generate(clip, "dog", words, seed=5) for words in (None, "hiss"))
        asked = pipeline.generate(clip, "dog", "hiss", seed=5, guidance_scale=1.0)
    assert [foley.guidance_scale for foley in (plain, avoiding, asked)] == [1.0, 3.0, 1.0]
    assert differ(plain, avoiding) and not differ(plain, asked)


def test_guidance_up_to_one_costs_one_pass(folder: Path, clip: Clip) -> None:
    for guidance, passes in ((0.0, 4), (1.0, 4), (1.5, 8)):
        backend = FakeBackend()
        Pipeline(open_bundle(folder), backend).generate(clip, "dog", guidance_scale=guidance)
        assert backend.runs["denoiser"] == passes
        assert backend.runs["timestep"] == 4  # once per noise level, whatever the passes
        assert backend.runs["conditioner"] == passes // 4


def test_the_unconditional_pass_sees_no_picture(
    folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[dict[str, np.ndarray]] = []
    run = FakeSession.run

    def watching(self: FakeSession, feeds: dict, outputs: None = None) -> dict:
        if "sync_index" in feeds:
            fed.append(dict(feeds))
        return run(self, feeds, outputs)

    monkeypatch.setattr(FakeSession, "run", watching)
    pipeline = Pipeline.open(folder, "fake")
    pipeline.generate(clip, "dog", guidance_scale=2.0)
    pipeline.generate(None, "dog", duration=clip.duration)
    conditional, unconditional, blind = fed
    assert (conditional["visual_present"], conditional["sync_present"]) == (1, 1)
    assert conditional["visual_feat"].shape == (1, 4, SIZES["visual"])
    assert conditional["sync_feat"].shape == (1, 50, SIZES["sync"])
    for feeds in (unconditional, blind):
        assert (feeds["visual_present"], feeds["sync_present"]) == (0, 0)
        assert feeds["visual_feat"].shape == (1, 1, SIZES["visual"])
        assert feeds["sync_feat"].shape == (1, 1, SIZES["sync"])
        assert not feeds["visual_feat"].any()
        assert not feeds["sync_feat"].any()
        np.testing.assert_array_equal(feeds["sync_index"], np.zeros(50))
    np.testing.assert_array_equal(blind["text_feat"], conditional["text_feat"])
    assert not np.array_equal(unconditional["text_feat"].shape, conditional["text_feat"].shape)


def test_a_motion_is_heard_where_it_is_seen(pipeline: Pipeline, folder: Path) -> None:
    clip = make_clip(folder, 4)
    frames = clip.views["sync"].frames.copy()
    frames[75:77] = 255  # 3.0 s … 3.08 s
    moved = with_view(clip, "sync", replace(clip.views["sync"], frames=frames))
    change = np.abs(
        pipeline.generate(moved, "dog").audio.samples - pipeline.generate(clip, "dog").audio.samples
    )
    where = np.flatnonzero(change > 1e-4) / SAMPLE_RATE
    assert 2.85 < where.min() < 3.0  # the encoder looks 2 frames and the decoder 1 latent ahead
    assert 3.05 < where.max() < 3.25


def test_sync_rows_and_picture_places_follow_the_contract() -> None:
    np.testing.assert_array_equal(velocity_module.sync_rows(4, 4), [0, 1, 2, 3])
    np.testing.assert_array_equal(velocity_module.sync_rows(6, 3), [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(velocity_module.sync_rows(3, 5), [0, 2, 4])
    np.testing.assert_array_equal(velocity_module.visual_positions(8, 2), [5, 13])
    np.testing.assert_array_equal(velocity_module.visual_positions(5, 5), [1, 3, 5, 7, 9])


# --- lengths


@pytest.mark.parametrize(
    "seconds", ["0.001", "0.3", "1/3", "8", "33.3", "1001/30", "10.0001", "20.02"], ids=str
)
def test_as_long_as_the_clip_to_the_sample(pipeline: Pipeline, folder: Path, seconds: str) -> None:
    clip = make_clip(folder, Fraction(seconds))
    audio = pipeline.generate(clip, "rain").audio
    exact = Fraction(seconds) * SAMPLE_RATE
    assert audio.samples.shape == (int(exact + Fraction(1, 2)),)
    assert (audio.rate, audio.samples.dtype) == (SAMPLE_RATE, np.float32)
    assert audio.seconds == pytest.approx(float(Fraction(seconds)), abs=0.5 / SAMPLE_RATE)


def test_latents_are_a_multiple_of_the_patch(pipeline: Pipeline, folder: Path) -> None:
    conditioning = pipeline.encode(make_clip(folder, "0.3"), "rain")  # 15 latents, of two each
    *_, last = pipeline.denoise(conditioning, seed=0)
    assert last.latents.shape == (1, SIZES["latent"], 16)


# --- pieces equal the whole


@pytest.mark.parametrize("seconds", ["10", "10.04", "33.3"])
def test_chunked_encoder_and_decoder_equal_the_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    clip = make_clip(folder, seconds)
    results, counts = [], []
    for chunk in (7, 250, 10_000):
        monkeypatch.setattr("edgefoley.encoders.SYNC_CHUNK", chunk)
        monkeypatch.setattr(pipeline_module, "DECODE_CHUNK", chunk)
        backend = FakeBackend()
        pipeline = Pipeline(open_bundle(folder), backend)
        conditioning = pipeline.encode(clip, "rain")
        latents = np.random.default_rng(0).standard_normal((1, 4, 1700)).astype(np.float32)
        audio = pipeline.decode(latents, clip.duration)
        results.append((conditioning.sync_feat, conditioning.event_logits, audio.samples))
        counts.append((backend.runs["sync"], backend.runs["decoder"]))
    assert counts[-1] == (1, 1)
    assert counts[0][0] > 30
    for pieces in results[:-1]:
        for piece, whole in zip(pieces, results[-1], strict=True):
            assert piece is not None
            assert whole is not None
            np.testing.assert_allclose(piece, whole, atol=1e-6)


def test_without_context_the_chunks_would_show(folder: Path) -> None:
    """The check above can fail: cutting without context changes the sound at the cuts."""
    pipeline = Pipeline(open_bundle(folder), FakeBackend())
    latents = np.random.default_rng(0).standard_normal((1, 4, 40)).astype(np.float32)
    whole = pipeline.decode(latents, Fraction(40, 50)).samples
    halves = [pipeline.decode(latents[:, :, a:b], Fraction(20, 50)).samples for a, b in ((0, 20), (20, 40))]
    assert np.abs(np.concatenate(halves) - whole).max() > 0.01


def test_chunks_cover_everything_once() -> None:
    for count in (1, 249, 250, 251, 1000, 1001):
        parts = chunks(count, 250, 3)
        assert [i for start, stop, _, _ in parts for i in range(start, stop)] == list(range(count))
        assert all(stop - start <= 250 for start, stop, _, _ in parts)
        assert all(
            first == max(0, start - 3) and last == min(count, stop + 3) for start, stop, first, last in parts
        )


def test_visual_frames_run_in_batches(folder: Path) -> None:
    backend = FakeBackend()
    Pipeline(open_bundle(folder), backend).encode(make_clip(folder, 10), "rain")  # 20 frames in batches of 8
    assert backend.runs["visual"] == 3


def test_long_clips_in_windows_are_close_to_the_whole(tmp_path: Path) -> None:
    """The fake velocity depends on its window only through far pictures, so windows must hardly change it."""
    windowed = make_fake_bundle(tmp_path / "windowed")
    whole = make_fake_bundle(tmp_path / "whole", timeline=Timeline(window=Fraction(100)))
    clip, results = make_clip(windowed, "33.3"), []
    for bundle in (windowed, whole):
        backend = FakeBackend()
        pipeline = Pipeline(open_bundle(bundle), backend)
        *_, last = pipeline.denoise(pipeline.encode(clip, "rain"), seed=1)
        results.append((last.latents, backend.runs["denoiser"]))
    (in_windows, runs), (at_once, one) = results
    assert (runs, one) == (4 * 4, 4)
    error = np.abs(in_windows - at_once)
    assert error.max() < 0.2 * at_once.std()
    assert np.median(error) < 1e-5


def test_conditions_beyond_the_budget_are_computed_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, takes, runs = make_clip(folder, "33.3"), [], []
    for budget in (10**9, 5000):
        monkeypatch.setattr(velocity_module, "CONDITION_BYTES", budget)
        backend = FakeBackend()
        takes.append(Pipeline(open_bundle(folder), backend).generate(clip, "rain", guidance_scale=2.0))
        runs.append(backend.runs["conditioner"])
    assert runs[0] == 8
    assert runs[1] > 8
    assert not differ(*takes)


# --- steps, progress, stats, memory


def test_steps_count_and_reach_zero(pipeline: Pipeline, clip: Clip) -> None:
    steps = list(pipeline.denoise(pipeline.encode(clip, "dog"), seed=0, num_steps=5))
    assert [(step.index, step.total) for step in steps] == [(i, 5) for i in range(1, 6)]
    assert [step.sigma for step in steps] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert all(step.seconds >= 0 for step in steps)


def test_two_takes_at_once_do_not_mix(pipeline: Pipeline, clip: Clip) -> None:
    """Steps of two generators, taken in turn, give what each gives alone."""
    dog, cat = pipeline.encode(clip, "dog"), pipeline.encode(clip, "cat")
    alone = [list(pipeline.denoise(c, seed=2))[-1].latents for c in (dog, cat)]
    pairs = list(zip(pipeline.denoise(dog, seed=2), pipeline.denoise(cat, seed=2), strict=True))
    for mixed, single in zip(pairs[-1], alone, strict=True):
        np.testing.assert_array_equal(mixed.latents, single)


def test_further_takes_need_no_encoder(folder: Path, clip: Clip) -> None:
    backend = FakeBackend()
    pipeline = Pipeline(open_bundle(folder), backend)
    conditioning = pipeline.encode(clip, "dog")
    takes = [pipeline.render(replace(conditioning, stages=()), seed) for seed in (1, 2)]
    assert backend.runs["sync"] == 1
    assert not differ(takes[1], pipeline.generate(clip, "dog", seed=2))
    assert [stage.name for stage in takes[0].stats.stages] == ["denoise", "decode"]


@pytest.mark.parametrize("solver", ["euler", "heun", "midpoint"])
def test_the_bundle_chooses_solver_and_shift(tmp_path: Path, clip: Clip, solver: str) -> None:
    backend = FakeBackend()
    bundle = open_bundle(make_fake_bundle(tmp_path / "b", solver=solver, shift=2.0))
    steps = list(Pipeline(bundle, backend).denoise(Pipeline(bundle, backend).encode(clip, "dog"), 0, 2))
    assert steps[0].sigma == pytest.approx(2 / 3)
    assert backend.runs["denoiser"] == (2 if solver == "euler" else 4)


def test_unknown_solver(tmp_path: Path, clip: Clip) -> None:
    pipeline = Pipeline.open(make_fake_bundle(tmp_path / "b", solver="magic"), "fake")
    with pytest.raises(BundleIntegrityError, match="solver 'magic'; known: euler"):
        pipeline.generate(clip, "dog")


def test_progress_goes_from_0_to_1_in_every_stage(pipeline: Pipeline, folder: Path) -> None:
    heard: list[tuple[str, float]] = []
    pipeline.generate(
        make_clip(folder, "33.3"), "dog", on_progress=lambda stage, fraction: heard.append((stage, fraction))
    )
    assert list(dict.fromkeys(stage for stage, _ in heard)) == ["encode", "denoise", "decode"]
    for name in ("encode", "denoise", "decode"):
        fractions = [fraction for stage, fraction in heard if stage == name]
        assert (fractions[0], fractions[-1]) == (0.0, 1.0)
        assert fractions == sorted(fractions)
    assert ("denoise", 0.5) in heard


def test_stats_and_what_the_result_says(pipeline: Pipeline, clip: Clip) -> None:
    foley = pipeline.generate(clip, "dog", "hiss", seed=9, num_steps=3, guidance_scale=2)
    stats = foley.stats
    assert [stage.name for stage in stats.stages] == ["encode", "denoise", "decode"]
    assert all(stage.seconds > 0 and stage.peak_rss_mb > 10 for stage in stats.stages)
    assert stats.audio_seconds == 2
    assert stats.rtf == pytest.approx(stats.seconds / 2)
    assert (foley.model, foley.backend, foley.prompt, foley.negative_prompt) == (
        "fake",
        "fake",
        "dog",
        "hiss",
    )
    assert (foley.seed, foley.num_steps, foley.guidance_scale) == (9, 3, 2.0)


def test_low_memory_closes_what_is_done_and_sounds_the_same(folder: Path, clip: Clip) -> None:
    fast, low = FakeBackend(), FakeBackend()
    kept = Pipeline(open_bundle(folder), fast)
    freed = Pipeline(open_bundle(folder), low, memory="low")
    during: dict[str, list[str]] = {}
    take = freed.generate(
        clip,
        "dog",
        on_progress=lambda stage, fraction: during.update({f"{stage} {fraction}": sorted(low.open)}),
    )
    assert not differ(take, kept.generate(clip, "dog"))
    assert len(fast.open) == 7
    assert during["denoise 0.0"] == []
    assert during["denoise 1.0"] == ["denoiser", "timestep"]  # the conditioner is done before the first step
    assert during["decode 1.0"] == ["decoder"]
    assert low.open == []
    kept.close()
    assert fast.open == []
    assert not differ(take, kept.generate(clip, "dog"))  # a closed pipeline opens again


# --- refusals


def test_neither_clip_nor_prompt(pipeline: Pipeline) -> None:
    for prompt in ("", "  \n"):
        with pytest.raises(UsageError, match="neither a clip nor a prompt"):
            pipeline.generate(None, prompt, duration=Fraction(3))


@pytest.mark.parametrize("duration", [None, Fraction(0), Fraction(-1)])
def test_sound_without_clip_needs_a_duration(pipeline: Pipeline, duration: Fraction | None) -> None:
    with pytest.raises(UsageError, match="duration"):
        pipeline.generate(None, "dog", duration=duration)


def test_duration_cannot_contradict_the_clip(pipeline: Pipeline, clip: Clip) -> None:
    assert pipeline.generate(clip, "dog", duration=clip.duration).audio.seconds == 2
    with pytest.raises(UsageError, match=r"the clip lasts 2\.0 s"):
        pipeline.generate(clip, "dog", duration=Fraction(3))


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"num_steps": 0}, "steps must be at least 1"),
        ({"guidance_scale": -0.5}, "guidance must be"),
        ({"guidance_scale": float("nan")}, "guidance must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_senseless_choices_are_refused_before_any_work(
    folder: Path, clip: Clip, choice: dict[str, float], words: str
) -> None:
    backend = FakeBackend()
    with pytest.raises(UsageError, match=words):
        Pipeline(open_bundle(folder), backend).generate(clip, "dog", **choice)  # type: ignore[arg-type]
    assert backend.runs == {}


def test_denoise_refuses_at_the_call_not_at_the_first_step(pipeline: Pipeline, clip: Clip) -> None:
    conditioning = pipeline.encode(clip, "dog")
    with pytest.raises(UsageError):
        pipeline.denoise(conditioning, seed=0, num_steps=0)


def test_clip_read_for_another_model(pipeline: Pipeline, clip: Clip) -> None:
    small = with_view(
        clip, "visual", replace(clip.views["visual"], frames=clip.views["visual"].frames[:, :5])
    )
    with pytest.raises(UsageError, match=r"'visual' frames are \(4, 5, 16, 3\)"):
        pipeline.encode(small, "dog")
    with pytest.raises(UsageError, match="'sync' frames are none"):
        pipeline.encode(replace(clip, views={"visual": clip.views["visual"]}), "dog")


def test_too_few_latents(pipeline: Pipeline) -> None:
    with pytest.raises(UsageError, match="10 latents hold 9600 samples"):
        pipeline.decode(np.zeros((1, 4, 10), dtype=np.float32), Fraction(1))


@pytest.mark.parametrize(
    ("component", "tensor"),
    [
        ("text", "text_feat"),
        ("visual", "visual_feat"),
        ("sync", "sync_feat"),
        ("denoiser", "velocity"),
        ("decoder", "waveform"),
    ],
)
def test_nan_raises(
    folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch, component: str, tensor: str
) -> None:
    run = FakeSession.run

    def broken(self: FakeSession, feeds: dict, outputs: None = None) -> dict:
        found = run(self, feeds, outputs)
        if tensor in found:
            found[tensor].flat[-1] = np.nan if component != "decoder" else np.inf
        return found

    monkeypatch.setattr(FakeSession, "run", broken)
    with pytest.raises(NumericError, match=f"the '{component}' network .* NaN or infinity in '{tensor}'"):
        Pipeline.open(folder, "fake").generate(clip, "dog")


def test_latents_that_overflow_raise(folder: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finite velocities can still sum to infinity."""
    run, signs = FakeSession.run, cycle((1, -1))  # the two passes of a step pull apart

    def huge(self: FakeSession, feeds: dict, outputs: None = None) -> dict:
        found = run(self, feeds, outputs)
        if "velocity" in found:
            found["velocity"][:] = next(signs) * np.finfo(np.float32).max
        return found

    monkeypatch.setattr(FakeSession, "run", huge)
    with np.errstate(over="ignore"), pytest.raises(NumericError, match="not finite after step"):
        Pipeline.open(folder, "fake").generate(clip, "dog", num_steps=2, guidance_scale=3.0)


def test_graph_that_is_not_what_the_manifest_says(tmp_path: Path, clip: Clip) -> None:
    folder = make_fake_bundle(tmp_path / "b")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest["components"]["denoiser"]["outputs"][0]["shape"][1] = 5
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleIntegrityError, match=r"the graph of 'denoiser' has .*velocity.*manifest says"):
        Pipeline.open(folder, "fake").generate(clip, "dog")


def test_opening(folder: Path, monkeypatch: pytest.MonkeyPatch, clip: Clip) -> None:
    with pytest.raises(UsageError, match="unknown back end 'gpu'"):
        Pipeline.open(folder, "gpu")
    with pytest.raises(UsageError, match="threads must be at least 1"):
        Pipeline.open(folder, "fake", threads=0)
    with pytest.raises(UsageError, match="memory must be"):
        Pipeline.open(folder, "fake", memory="tiny")  # type: ignore[arg-type]
    with pytest.raises(BundleNotFoundError, match="no model 'nobody'"):
        Pipeline.open("nobody", "fake")
    with pytest.raises(BundleError, match="back end 'ort'"):
        Pipeline.open(folder, "ort").generate(clip, "dog")
    monkeypatch.setattr(FakeBackend, "available", lambda self: "not here; install it with: pip install fake")
    with pytest.raises(BackendUnavailableError, match="pip install fake"):
        Pipeline.open(folder, "fake")


def test_threads_reach_the_back_end(folder: Path, clip: Clip) -> None:
    asked: list[LoadOptions] = []

    class Watching(FakeBackend):
        def load(self, path: Path, options: LoadOptions) -> FakeSession:
            asked.append(options)
            return super().load(path, options)

    Pipeline(open_bundle(folder), Watching(), LoadOptions(threads=3)).generate(clip, "dog")
    assert {options.threads for options in asked} == {3}
    assert len(asked) == 7


# --- a real engine, the same answers


def test_onnx_runtime_gives_what_the_fake_gives(tmp_path: Path) -> None:
    """The seven networks as ONNX graphs: the pipeline cannot tell which back end it holds."""
    pytest.importorskip("onnx", reason="the graphs are built with the onnx package (extra: train)")
    pytest.importorskip("onnxruntime")
    from tests.onnx_bundle import make_onnx_bundle

    folder = make_onnx_bundle(tmp_path / "bundle")
    assert open_bundle(folder).backends == ("fake", "ort")
    for seconds in ("0.3", "12.5"):
        clip = make_clip(folder, seconds)
        takes = [
            Pipeline.open(folder, name, threads=1).generate(clip, "狗叫", "hiss", seed=4, guidance_scale=2.5)
            for name in ("fake", "ort")
        ]
        np.testing.assert_allclose(takes[1].audio.samples, takes[0].audio.samples, atol=2e-5)
        assert takes[1].backend == "ort"
