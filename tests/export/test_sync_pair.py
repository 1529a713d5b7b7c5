"""Two sync encoders in one graph give the mean of their log odds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from edgefoley.events import likely_confidence
from edgefoley.export.components import SyncGraph, is_peak, sync_graph
from edgefoley.export.graph import ExportError, export_graph
from edgefoley.export.sync_pair import MOST_FALSE, best_rule, calibration, join
from edgefoley.models.sync import SyncConfig, SyncEncoder

onnxruntime = pytest.importorskip("onnxruntime")
SMALL = SyncConfig(size=32, stem=(4, 6, 8), squeeze=2, expand=8, width=8, dilations=(1, 2))
CALIBRATIONS = ((1.7, -0.4), (0.6, 0.3))
GAIN, BIAS = 1.3, -0.2


def graph(seed: int) -> SyncGraph:
    torch.manual_seed(seed)
    encoder = SyncEncoder(replace(SMALL, located=seed == 1))
    for value in encoder.parameters():
        torch.nn.init.normal_(value, std=0.3)
    heads = [torch.nn.Linear(SMALL.width, 2) for _ in range(2)]
    return SyncGraph(encoder, heads[0], heads[1], *CALIBRATIONS[seed]).eval()


@pytest.fixture(scope="module")
def pair() -> tuple[list[SyncGraph], list[onnx.ModelProto]]:
    modules = [graph(0), graph(1)]
    return modules, [export_graph(sync_graph(module)) for module in modules]


def test_the_joined_graph_says_the_mean_of_both(
    pair: tuple[list[SyncGraph], list[onnx.ModelProto]],
) -> None:
    """Against PyTorch: the logits, the peaks of their probability, and the first one's activity."""
    modules, graphs = pair
    assert [calibration(model)[:2] for model in graphs] == [pytest.approx(c) for c in CALIBRATIONS]
    session = onnxruntime.InferenceSession(
        join(*graphs, GAIN, BIAS).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    for count in (9, 40):
        frames = rng.integers(0, 256, (1, count, SMALL.size, SMALL.size), dtype=np.uint8)
        ages = rng.uniform(0, 0.04, (1, count)).astype(np.float32)
        feat, logits = session.run(["sync_feat", "event_logits"], {"frames": frames, "ages": ages})
        with torch.no_grad():
            seen = [module(torch.from_numpy(frames), torch.from_numpy(ages)) for module in modules]
        mean = sum(0.5 * (gain * out[1] + bias) for (gain, bias), out in zip(CALIBRATIONS, seen, strict=True))
        assert isinstance(mean, torch.Tensor)
        assert np.allclose(logits, mean.numpy(), atol=1e-4)
        assert not np.allclose(logits, seen[0][1].numpy(), atol=0.1)
        probability = torch.sigmoid(GAIN * mean + BIAS)
        peaks = torch.where(is_peak(probability), probability, torch.zeros(())).numpy()[0]
        curve = feat[0, :, :2].reshape(-1)
        heights = curve[peaks > 0.05]
        assert len(heights) and np.allclose(heights, peaks[peaks > 0.05], atol=1e-4)
        assert np.allclose(feat[..., 3], seen[0][0][..., 3].numpy(), atol=1e-4)


def test_another_graph_is_refused(pair: tuple[list[SyncGraph], list[onnx.ModelProto]]) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(pair[1][0])
    del other.graph.node[:]
    with pytest.raises(ExportError, match="gain"):
        join(other, pair[1][1], 1.0, 0.0)


class Films:
    """Thirty films of 8 s: in most things happen, clearly in half of these, faintly in the others."""

    seconds = 8.0

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.odds, self.films = list[np.ndarray](), []
        for i in range(30):
            curve = rng.normal(-4.5, 0.3, 400)
            times = np.arange(0.5, 8, 0.8) if i % 3 else np.zeros(0)
            curve[np.round(times * 50).astype(int)] = 1.0 if i % 2 else -1.5
            if not i % 3:  # something moves, and stays below
                curve[rng.choice(400, 160, replace=False)] = -1.5
            self.odds.append(curve)
            self.films.append({"times": times, "action": "strike"})

    def __len__(self) -> int:
        return len(self.films)


def test_the_rule_is_the_best_that_finds_little_where_nothing_is_heard() -> None:
    """A fixed threshold misses the faint films or fills the calm ones; one that adapts does neither."""
    films = Films()
    rule = best_rule(films.odds, [0.1] * len(films), films)  # type: ignore[arg-type]
    assert rule["threshold_least"] < rule["threshold"]
    for odds, film in zip(films.odds, films.films, strict=True):
        curve = 1 / (1 + np.exp(-odds))
        found = (curve >= likely_confidence(curve, rule, 0.1)).sum()
        if len(film["times"]):
            assert found == len(film["times"])
        else:
            assert found <= MOST_FALSE * films.seconds


def test_the_rule_heeds_activity_where_it_tells_streams_from_events() -> None:
    """Streams with peaks as high as those of faint events can be told by what goes on all the time only."""
    films = Films()
    activities = []
    for i, film in enumerate(films.films):
        stream = not len(film["times"])
        activities.append(0.6 if stream else 0.1)
        if stream:
            films.odds[i] = films.odds[i - 1 if i % 2 else i - 2].copy()  # as clear as a film with events
    rule = best_rule(films.odds, activities, films)  # type: ignore[arg-type]
    assert rule["threshold_activity"] > 0
    for odds, activity, film in zip(films.odds, activities, films.films, strict=True):
        curve = 1 / (1 + np.exp(-odds))
        found = (curve >= likely_confidence(curve, rule, activity)).sum()
        assert found == len(film["times"])
