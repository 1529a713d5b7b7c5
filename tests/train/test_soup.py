"""The mean of several stages of a training."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from edgefoley.export.nano import load_sync  # noqa: E402
from edgefoley.models.sync import SyncConfig  # noqa: E402
from edgefoley.train.soup import mean, write_mean  # noqa: E402
from edgefoley.train.sync import SyncTrainer  # noqa: E402

CONFIG = SyncConfig(size=32, stem=(4, 6, 8), squeeze=4, expand=8, width=8, located=True)
VALIDATION = {"peak_gain": 1.5, "peak_bias": 0.25, "threshold_probability": 0.3}


def _run(folder, seed, config=CONFIG):
    torch.manual_seed(seed)
    state = SyncTrainer(config).state_dict()
    folder.mkdir()
    torch.save({"average": state, "step": 7}, folder / "last.pt")
    about = {"config": config.to_json(), "validation": VALIDATION, "steps": seed}
    (folder / "sync.json").write_text(json.dumps(about))
    return state


def test_a_mean_lies_between_its_runs_and_is_a_run_itself(tmp_path):
    one, other = _run(tmp_path / "one", 1), _run(tmp_path / "other", 2)
    write_mean([tmp_path / "one", tmp_path / "other"], tmp_path / "mean")
    graph = load_sync(tmp_path / "mean")
    made = graph.encoder.state_dict()
    for name, value in made.items():
        if value.is_floating_point():
            expected = (one[f"encoder.{name}"] + other[f"encoder.{name}"]) / 2
            assert torch.allclose(value, expected, atol=1e-7), name
    about = json.loads((tmp_path / "mean" / "sync.json").read_text())
    assert about["mean_of"] == ["one", "other"] and about["steps"] == 2
    with pytest.raises(SystemExit, match="exists"):
        write_mean([tmp_path / "one", tmp_path / "other"], tmp_path / "mean")


def test_counters_are_the_last_ones_and_small_types_stay():
    one = {"weight": torch.tensor([1.0, 3.0], dtype=torch.float16), "seen": torch.tensor(5)}
    other = {"weight": torch.tensor([2.0, 5.0], dtype=torch.float16), "seen": torch.tensor(9)}
    made = mean([one, one, other])
    assert made["weight"].dtype == torch.float16 and made["seen"] == 9
    assert made["weight"].tolist() == pytest.approx([4 / 3, 11 / 3], abs=2e-3)


def test_other_networks_have_no_mean(tmp_path):
    _run(tmp_path / "one", 1)
    _run(tmp_path / "wide", 1, SyncConfig(size=32, stem=(4, 6, 8), squeeze=4, expand=16, width=8))
    with pytest.raises(ValueError, match="different networks"):
        write_mean([tmp_path / "one", tmp_path / "wide"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
