"""The runtime's solver around the transformer, against the reference implementation's whole sampling loop."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgefoley.models.transformer import Transformer, TransformerConfig  # noqa: E402
from edgefoley.sampling import euler, guided, sigmas  # noqa: E402
from tests.parity import rule  # noqa: E402


@pytest.mark.parametrize("name", ["denoise_loop", "denoise_loop_no_guidance"])
def test_latents_equal_reference(name: str) -> None:
    stored, meta = rule.reference(name)
    seed, m, s, t, n = (meta[k] for k in ("seed", "M", "S", "T", "N"))
    config = TransformerConfig(
        meta["hidden_size"], meta["num_heads"], meta["depth_triple_blocks"], meta["depth_single_blocks"]
    )
    model = Transformer(config).eval()
    rule.fill(model, seed)
    text, negative = (rule.inputs(k, seed, 1, t, 768) for k in ("text_feat", "uncond_text_feat"))
    visual, sync = rule.inputs("siglip2_feat", seed, 1, m, 768), rule.inputs("sync_feat", seed, 1, s, 768)
    no_visual, no_sync = model.empty_clip_feat.expand(1, m, -1), model.empty_sync_feat.expand(1, s, -1)
    scale = meta["guidance_scale"]

    def velocity(x: np.ndarray, sigma: float) -> np.ndarray:
        latents, step = torch.from_numpy(x), torch.tensor([1000 * sigma])
        with torch.no_grad():
            conditional = model(latents, step, text, visual, sync).numpy()
            if scale <= 1:
                return conditional
            return guided(conditional, model(latents, step, negative, no_visual, no_sync).numpy(), scale)

    start = rule.inputs("latents", seed, 1, 128, n).numpy()
    *_, (_, _, made) = euler(velocity, start, sigmas(meta["num_steps"]))
    assert rule.relative_error(made, stored["latents"]) < 1e-4
