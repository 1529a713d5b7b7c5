"""The codec's trainer: latents made early must fit the codec for ever, so the analysis is settled once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from edgefoley.models.codec import Codec, CodecConfig  # noqa: E402
from edgefoley.train import codec as trainer  # noqa: E402
from edgefoley.train.sounds.recordings import Pool, Recording  # noqa: E402

SMALL = CodecConfig(latent_dim=11, coarse_width=16, fine_width=16, coarse_depth=1, fine_depth=1)


def pool() -> Pool:
    """Two recordings of coloured noise, one of them held out."""
    rng, length = np.random.default_rng(0), 96_000
    noise = rng.standard_normal((2, length)).cumsum(axis=1)
    samples = (np.sin(noise) * 8000).astype(np.int16)
    recordings = tuple(
        Recording(f"{i}.wav", "noise", f"g{i}", "CC0", "", "", True, i == 1, i * length, length)
        for i in range(2)
    )
    return Pool(samples.reshape(-1), recordings)


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``train(steps)`` calls the trainer as the command line would and returns the codec that it saved."""
    library = SimpleNamespace(pool=pool())
    monkeypatch.setattr(trainer.SoundLibrary, "build", lambda folders, cache, say: library)
    monkeypatch.setattr(trainer, "Codec", lambda config=None: Codec(config or SMALL))
    out = tmp_path / "codec"

    def call(steps: int) -> dict[str, torch.Tensor]:
        arguments = ["codec", "--out", str(out), "--steps", str(steps), "--batch", "1", "--seconds", "0.2"]
        monkeypatch.setattr("sys.argv", [*arguments, "--device", "cpu"])
        trainer.main()
        assert (out / "done.json").exists()
        return trainer.load_codec(out).state_dict()

    return call


def test_training_on_and_running_again_keep_the_analysis(train) -> None:
    first, again, longer = train(1), train(1), train(2)
    assert float(first["encoder.analysis"].abs().max()) > 0, "it has been fitted"
    for name, value in first.items():
        assert torch.equal(again[name], value), f"{name}: a finished run was changed by running it again"
        if name.startswith("encoder.") or name in ("decoder.centre", "decoder.synthesis"):
            assert torch.equal(longer[name], value), f"{name} has moved: latents made earlier no longer fit"
    assert any(not torch.equal(longer[name], value) for name, value in first.items()), "it has trained on"
