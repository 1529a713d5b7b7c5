"""The sync encoder: shapes, chunks equal the whole, counted work, repeats looked through, ONNX export."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.sync import SyncConfig, SyncEncoder  # noqa: E402


def _encoder(seed: int = 0, located: bool = False) -> SyncEncoder:
    torch.manual_seed(seed)
    encoder = SyncEncoder(SyncConfig(located=located))
    for module in encoder.modules():  # not the identity, as after training
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return encoder.eval()


def _clip(count: int, fps: float = 30.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (int(count / 25 * fps) + 2, 112, 112)).astype(np.uint8)
    places = np.floor(np.arange(count) / 25 * fps + 1e-6).astype(int)
    ages = np.arange(count) / 25 - places / fps
    return torch.from_numpy(frames[places])[None], torch.from_numpy(ages.astype(np.float32))[None]


def test_shapes_and_both_frame_types() -> None:
    encoder, (frames, ages) = _encoder(), _clip(10)
    with torch.inference_mode():
        feat, logits = encoder(frames, ages)
        same = encoder(frames.float() / 255, ages)
    assert feat.shape == (1, 10, 128) and logits.shape == (1, 20)
    assert torch.allclose(feat, same[0], atol=1e-4) and torch.allclose(logits, same[1], atol=1e-4)


@pytest.mark.parametrize(("fps", "located"), [(12.0, False), (30.0, False), (30.0, True)])
def test_chunks_with_context_equal_the_whole(fps: float, located: bool) -> None:
    encoder, (frames, ages) = _encoder(0, located), _clip(90, fps)
    before, after = encoder.context_frames, encoder.lookahead_frames
    with torch.inference_mode():
        feat, logits = encoder(frames, ages)
        for start, stop in ((0, 30), (30, 60), (60, 90)):
            a, b = max(0, start - before), min(90, stop + after)
            part, part_logits = encoder(frames[:, a:b], ages[:, a:b])
            part, part_logits = (
                part[:, start - a : stop - a],
                part_logits[:, 2 * (start - a) : 2 * (stop - a)],
            )
            assert torch.allclose(part, feat[:, start:stop], atol=1e-4)
            assert torch.allclose(part_logits, logits[:, 2 * start : 2 * stop], atol=1e-4)


def test_context_is_not_overstated() -> None:
    encoder, (frames, ages) = _encoder(), _clip(80, 12.0)
    last = 45 + encoder.lookahead_frames
    changed = frames.clone()
    changed[:, last] = 0
    with torch.inference_mode():
        moved = (encoder(frames, ages)[0] - encoder(changed, ages)[0]).abs().amax(2)[0]
    assert moved[45] > 0 and moved[:45].max() == 0


def test_batch_rows_do_not_mix_and_training_mode_sees_the_same_pictures() -> None:
    encoder = _encoder()
    clips = [_clip(20, 15.0, 1), _clip(20, 30.0, 2)]
    frames, ages = torch.cat([c[0] for c in clips]), torch.cat([c[1] for c in clips])
    with torch.inference_mode():
        both = encoder(frames, ages)[0]
        for row, clip in enumerate(clips):
            assert torch.allclose(both[row], encoder(*clip)[0][0], atol=1e-4)
        pictures = encoder.pictures(frames, ages)[0].unflatten(0, (2, 20))
        assert torch.equal(pictures[1], encoder.pictures(*clips[1])[0])


def test_a_repeated_frame_is_compared_with_the_newest_different_one() -> None:
    encoder = _encoder()
    frames = torch.zeros(1, 6, 112, 112)
    frames[0, :3], frames[0, 3:, :56] = 0.5, 1.0
    ages = torch.tensor([[0.0, 0.04, 0.08, 0.0, 0.04, 0.08]])
    pictures, clocks = encoder.pictures(frames, ages)
    difference = pictures[:, 1].abs().mean((1, 2))
    assert difference[:3].max() == 0
    assert difference[3] > 0.3 and torch.allclose(difference[3:], difference[3].expand(3))
    assert torch.allclose(clocks[0, 3:, 1], torch.full((3,), 0.12 * 5))  # 0.12 s between the two pictures


def test_a_place_answers_for_its_surroundings_only() -> None:
    """A change in one corner reaches no place in the opposite half."""
    encoder, (frames, ages) = _encoder(0, True), _clip(40)
    with torch.no_grad():
        pictures, clocks = encoder.pictures(frames, ages)
        changed = pictures.clone()
        changed[20, 1, :16, :16] = 0.9
        one, two = (encoder.results(x, clocks)[2] for x in (pictures, changed))
    assert one is not None and two is not None and one.shape == (1, 80, 7, 7)
    moved = (one - two).abs().amax((0, 1))
    assert moved[0, 0] > 0 and moved[-3:, -3:].max() == 0


@pytest.mark.parametrize("located", [False, True])
def test_work_and_size(located: bool) -> None:
    encoder = _encoder(0, located)
    flops = []
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(
                lambda m, i, o: (
                    flops.append(2 * o.numel() * m.weight[0].numel())
                    if not isinstance(m, torch.nn.Linear)
                    else flops.append(2 * o.numel() * m.in_features)
                )
            )
    with torch.inference_mode():
        encoder(*_clip(8))
    assert sum(flops) / 8 == pytest.approx(encoder.flops_per_frame(), rel=1e-6)
    assert encoder.flops_per_frame() <= 40e6
    assert sum(p.numel() for p in encoder.parameters()) <= 600_000
    assert SyncConfig.from_json(encoder.config.to_json()) == encoder.config
    with pytest.raises(ValueError, match="multiple of 16"):
        SyncEncoder(SyncConfig(size=100))
