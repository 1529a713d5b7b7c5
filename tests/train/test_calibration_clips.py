"""The clips that nano is calibrated with."""

from __future__ import annotations

import pytest

pytest.importorskip("cv2", reason="scenes are drawn with OpenCV (extra: networks)")

import numpy as np

import edgefoley
from edgefoley.train import calibration_clips as module
from edgefoley.train.scenes.film import film


def test_a_film_keeps_its_times_and_pictures(tmp_path) -> None:
    shown = film(5, 1.0, fps=30, size=64, action="strike")
    module.write_film(shown, tmp_path / "a hit.mp4")
    info = edgefoley.probe(tmp_path / "a hit.mp4")
    assert info.size == (64, 64) and abs(float(info.duration) - 1.0) < 0.05
    import av

    with av.open(str(tmp_path / "a hit.mp4")) as clip:
        frames = list(clip.decode(video=0))
    assert len(frames) == len(shown.frames)
    assert np.allclose([f.time for f in frames], shown.timestamps, atol=6e-4)
    off = [
        np.abs(f.to_ndarray(format="rgb24").astype(int) - s).mean()
        for f, s in zip(frames, shown.frames, strict=True)
    ]
    assert max(off) < 12, "the right picture at the right time"


def test_what_is_there_is_not_rendered_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SCENES", (("strike", "a hit"), ("rain", "雨声")))
    paths = module.write_clips(tmp_path, 0.5)
    assert [p.stem for p in paths] == ["a hit", "雨声"]
    monkeypatch.setattr(module, "film", lambda *_, **__: pytest.fail("rendered again"))
    assert module.write_clips(tmp_path, 0.5) == paths
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a hit.mp4", "雨声.mp4"]
