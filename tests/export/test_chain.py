"""The whole chain of a converted bundle, in both engines, against the plain networks in PyTorch: every
encoder, the sampling loop with and without guidance, the decoder.

The plain loop is written here: one network, all of it at every step, two texts padded to one length, learned
rows in the unconditional branch. That it is the published model's: tests/parity.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the networks are PyTorch modules")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from tokenizers import Tokenizer  # noqa: E402

from edgefoley import pipeline as pipeline_module  # noqa: E402
from edgefoley.backends import get_backend  # noqa: E402
from edgefoley.backends.base import LoadOptions  # noqa: E402
from edgefoley.bundle import open_bundle  # noqa: E402
from edgefoley.convert.hunyuan import (  # noqa: E402
    TINY,
    assemble,
    encoder_state,
    open_folder,
    transformer_state,
    vae_state,
)
from edgefoley.media import read_clip  # noqa: E402
from edgefoley.models.clap import ClapText  # noqa: E402
from edgefoley.models.dac import DacDecoder  # noqa: E402
from edgefoley.models.siglip import SiglipVision  # noqa: E402
from edgefoley.models.synchformer import Synchformer  # noqa: E402
from edgefoley.models.transformer import Transformer  # noqa: E402
from edgefoley.pipeline import Pipeline  # noqa: E402
from edgefoley.sampling import noise  # noqa: E402
from edgefoley.types import Clip  # noqa: E402
from tests.clips import make_clip  # noqa: E402
from tests.parity.rule import relative_error  # noqa: E402
from tests.test_graphs import Watched  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the exporter's own deprecations
PROMPT, NEGATIVE = "a dog barks twice and runs over gravel", "noisy, harsh"
SEED, STEPS, SECONDS = 11, 3, Fraction(8, 5)
TOLERANCE = 1e-5  # measured 1.5e-6 without guidance, 3.1e-6 with it, in both engines


@dataclass(frozen=True)
class Plain:
    """The networks, and what the encoders say of the test's clip and texts."""

    transformer: Transformer
    decoder: DacDecoder
    text: Any
    negative: Any
    visual: Any
    sync: Any


@pytest.fixture(scope="module")
def clip(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    random = np.random.default_rng(2)
    pictures = [random.integers(16, 240, (64, 96), dtype=np.uint8) for _ in range(40)]
    path = make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", count=40, pictures=pictures)
    made = read_clip(path, open_bundle(tiny_bundle).views())
    assert made.duration == SECONDS
    return made


@pytest.fixture(scope="module")
def plain(tiny_source: Path, clip: Clip) -> Plain:
    source = open_folder(tiny_source)
    state = lambda name: encoder_state(source.weights(name))  # noqa: E731
    clap = assemble(lambda: ClapText(TINY.clap), state("clap"))
    siglip = assemble(lambda: SiglipVision(TINY.siglip2), state("siglip2"))
    synchformer = assemble(lambda: Synchformer(TINY.synchformer), state("synchformer"))
    weights = transformer_state(source.weights("transformer"), TINY.transformer, dtype=torch.float32)
    transformer = assemble(lambda: Transformer(TINY.transformer), weights)
    decoder = assemble(lambda: DacDecoder(TINY.vae), vae_state(source.weights("vae"), TINY.vae))
    tokenizer = Tokenizer.from_file(str(source.paths["tokenizer"]))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    encoded = tokenizer.encode_batch([NEGATIVE, PROMPT])
    ids, mask = (torch.tensor([getattr(text, key) for text in encoded]) for key in ("ids", "attention_mask"))
    frames = clip.views["sync"].frames
    segments = np.stack([frames[first : first + 16] for first in range(0, len(frames) - 15, 8)])
    assert segments.shape[0] == 4 and ids.shape[0] == 2 and not mask.all()
    with torch.inference_mode():
        text = clap.text_model(ids, mask[:, None, None] > 0)
        return Plain(
            transformer,
            decoder,
            text[1:],
            text[:1],
            siglip(torch.from_numpy(clip.views["visual"].frames))[None],
            synchformer(torch.from_numpy(segments)).flatten(0, 1)[None],
        )


@pytest.fixture(scope="module", params=["ort", "ov"])
def pipeline(request: pytest.FixtureRequest, tiny_bundle: Path) -> Iterator[Pipeline]:
    reason = get_backend(request.param).available()
    if reason is not None:
        pytest.skip(reason)
    with Pipeline.open(tiny_bundle, request.param, threads=1) as opened:
        yield opened


def loop(plain: Plain, guidance: float) -> Any:
    """Euler's method from noise to latents, evenly spaced, every velocity from the whole network."""
    t, c = plain.transformer, TINY.transformer
    count = math.ceil(SECONDS * 50)
    x = torch.from_numpy(noise(SEED, (count, c.latent_dim)).T[None].copy())
    no_visual = t.empty_clip_feat.expand(1, plain.visual.shape[1], -1)
    no_sync = t.empty_sync_feat.expand(1, plain.sync.shape[1], -1)
    levels = torch.linspace(1, 0, STEPS + 1, dtype=torch.float64)
    with torch.inference_mode():
        for here, there in zip(levels[:-1].tolist(), levels[1:].tolist(), strict=True):
            time = torch.tensor([1000 * here])
            velocity = t(x, time, plain.text, plain.visual, plain.sync)
            if guidance > 1:
                without = t(x, time, plain.negative, no_visual, no_sync)
                velocity = without + guidance * (velocity - without)
            x = x + (there - here) * velocity
    return x


def test_the_encoders_say_what_the_networks_say(pipeline: Pipeline, plain: Plain, clip: Clip) -> None:
    made = pipeline.encode(clip, PROMPT, NEGATIVE)
    for found, wanted in (
        (made.text_feat, plain.text), (made.negative_text_feat, plain.negative),
        (made.visual_feat, plain.visual), (made.sync_feat, plain.sync),
    ):  # fmt: skip
        assert found is not None and found.shape == tuple(wanted.shape)
        assert relative_error(found, wanted.numpy()) < 1e-5


@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_the_sampling_loop_is_the_plain_one(
    pipeline: Pipeline, plain: Plain, clip: Clip, guidance: float
) -> None:
    """From the clip and the words to latents."""
    conditioning = pipeline.encode(clip, PROMPT, NEGATIVE)
    *_, last = pipeline.denoise(conditioning, SEED, STEPS, guidance)
    wanted = loop(plain, guidance).numpy()
    assert last.latents.shape == wanted.shape
    assert relative_error(last.latents, wanted) < TOLERANCE


def test_guidance_and_every_input_change_the_plain_loop(plain: Plain) -> None:
    """Were they without effect, the test above could not fail: even rows in another order are noticed."""
    whole = loop(plain, 4.5).numpy()
    assert relative_error(loop(plain, 1.0).numpy(), whole) > 0.05
    for name in ("text", "negative", "visual", "sync"):
        other = Plain(**{**vars(plain), name: getattr(plain, name).flip(1)})
        assert relative_error(loop(other, 4.5).numpy(), whole) > 2 * TOLERANCE, name


@pytest.mark.parametrize("chunk", [16, 1000])
def test_the_decoder_in_chunks_is_the_whole(
    pipeline: Pipeline, plain: Plain, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "DECODE_CHUNK", chunk)
    latents = loop(plain, 1.0)
    with torch.inference_mode():
        wanted = plain.decoder(latents).flatten().numpy()
    made = pipeline.decode(latents.numpy(), SECONDS)
    assert relative_error(made.samples, wanted[: len(made.samples)]) < 1e-5
    assert len(made.samples) == SECONDS * 48000


def test_modulations_are_made_once_and_freed_before_the_blocks_run(tiny_bundle: Path, clip: Clip) -> None:
    """The whole schedule's in one run of each part, which is closed before the denoiser is opened; so is the
    conditioner, after one run for each branch."""
    backend, runs = Watched(), []
    load = backend.load

    def counted(path: Path, options: LoadOptions) -> Any:
        session = load(path, options)
        run = session.run
        session.run = lambda feeds: (runs.append(path.stem), run(feeds))[1]  # type: ignore[method-assign]
        return session

    backend.load = counted  # type: ignore[method-assign]
    with Pipeline(open_bundle(tiny_bundle), backend, LoadOptions(threads=1), memory="low") as pipeline:
        conditioning = pipeline.encode(clip, PROMPT, NEGATIVE)
        backend.log.clear(), runs.clear()
        list(pipeline.denoise(conditioning, SEED, STEPS, 4.5))
    timestep = list(open_bundle(tiny_bundle).components["timestep"].parts)
    assert [name for name in runs if name.startswith("timestep")] == timestep
    assert runs.count("conditioner") == 2
    assert all(runs.count(f"denoiser.{i:02}") == 2 * STEPS for i in range(3))
    begin = backend.log.index("+denoiser.00")
    for name in (*timestep, "conditioner"):
        assert backend.log.count(f"+{name}") == 1 and backend.log.index(f"-{name}") < begin
