"""What every back end must do: one class, run for each of them on the same graph with the same answers.

The graph is the fake bundle's sync component: two inputs (uint8 and float32, one free axis), two outputs. To
add a back end, say in ``CASES`` how its artefact of that graph is made.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgefoley.backends import BACKENDS, backend_names, get_backend
from edgefoley.backends.base import Backend, LoadOptions, Session
from edgefoley.errors import BackendError, BackendUnavailableError, UsageError
from tests.fake_bundle import SIZES, make_fake_bundle


def fake_graph(folder: Path) -> Path:
    return make_fake_bundle(folder) / "sync.json"


def onnx_graph(folder: Path) -> Path:
    pytest.importorskip("onnx", reason="the graph is built with the onnx package (extra: train)")
    from tests.onnx_bundle import graphs, save

    save(graphs()["sync"], folder / "sync.onnx")
    return folder / "sync.onnx"


CASES: dict[str, Callable[[Path], Path]] = {"fake": fake_graph, "ort": onnx_graph, "ov": onnx_graph}


def make_feeds(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "frames": random.integers(0, 256, (1, count, *SIZES["size_sync"]), dtype=np.uint8),
        "ages": random.uniform(0, 0.04, (1, count)).astype(np.float32),
    }


def answer(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The graph's function, as ``backends/fake.py`` describes it."""
    level = feeds["frames"].mean(axis=(2, 3)) / 255 + 10 * feeds["ages"]
    near = np.convolve(level[0], np.ones(5) / 5, mode="full")[2:-2][None]
    return {
        "sync_feat": near[..., None] * np.cos(np.arange(SIZES["sync"])),
        "event_logits": np.repeat(10 * (level - near), 2, axis=1),
    }


@pytest.mark.parametrize("name", BACKENDS)
class TestBackend:
    @pytest.fixture
    def backend(self, name: str) -> Backend:
        assert name in CASES, f"no contract case for the back end {name!r}; add one to CASES"
        backend = get_backend(name)
        reason = backend.available()
        if reason is not None:
            pytest.skip(reason)
        return backend

    @pytest.fixture
    def path(self, name: str, tmp_path: Path) -> Path:
        return CASES[name](tmp_path)

    @pytest.fixture
    def session(self, backend: Backend, path: Path) -> Iterator[Session]:
        session = backend.load(path, LoadOptions(threads=1))
        yield session
        session.close()

    def test_knows_its_name(self, backend: Backend, name: str) -> None:
        assert backend.name == name

    def test_specs(self, session: Session) -> None:
        inputs, outputs = session.inputs, session.outputs
        assert set(inputs) == {"frames", "ages"}
        assert set(outputs) == {"sync_feat", "event_logits"}
        assert (inputs["frames"].dtype, inputs["ages"].dtype) == ("uint8", "float32")
        free = inputs["frames"].shape[1]
        assert isinstance(free, str)
        assert inputs["frames"].shape == (1, free, *SIZES["size_sync"])
        assert outputs["sync_feat"].shape[-1] == SIZES["sync"]

    @pytest.mark.parametrize("count", [1, 2, 5, 63])
    def test_values_at_several_lengths(self, session: Session, count: int) -> None:
        feeds = make_feeds(count)
        found = session.run(feeds)
        assert set(found) == {"sync_feat", "event_logits"}
        for name, expected in answer(feeds).items():
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], expected, atol=1e-5)

    def test_same_feeds_same_bits(self, session: Session) -> None:
        feeds = make_feeds(9)
        first, second = session.run(feeds), session.run(feeds)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])

    def test_results_outlive_the_next_run(self, session: Session) -> None:
        feeds = make_feeds(6)
        kept = session.run(feeds)["sync_feat"]
        copy = kept.copy()
        session.run(make_feeds(6, seed=1))
        np.testing.assert_array_equal(kept, copy)

    def test_feeds_are_not_changed(self, session: Session) -> None:
        feeds = make_feeds(6)
        copies = {name: array.copy() for name, array in feeds.items()}
        session.run(feeds)
        for name, array in feeds.items():
            np.testing.assert_array_equal(array, copies[name])

    def test_strided_feeds(self, session: Session) -> None:
        feeds = make_feeds(12)
        strided = {name: array[:, ::2] for name, array in feeds.items()}
        np.testing.assert_allclose(session.run(strided)["sync_feat"], answer(strided)["sync_feat"], atol=1e-5)

    def test_some_outputs(self, session: Session) -> None:
        assert list(session.run(make_feeds(3), ["event_logits"])) == ["event_logits"]

    def test_unknown_output(self, session: Session) -> None:
        with pytest.raises(BackendError, match="unknown outputs"):
            session.run(make_feeds(3), ["loudness"])

    def test_missing_input(self, session: Session) -> None:
        with pytest.raises(BackendError, match=r"missing inputs \['ages'\]"):
            session.run({"frames": make_feeds(3)["frames"]})

    def test_unknown_input(self, session: Session) -> None:
        feeds = make_feeds(3)
        with pytest.raises(BackendError, match=r"unknown inputs \['prompt'\]"):
            session.run({**feeds, "prompt": feeds["ages"]})

    @pytest.mark.parametrize("shape", [(1, 3, 8), (1, 3, 8, 11), (2, 3, 8, 10)])
    def test_wrong_shape(self, session: Session, shape: tuple[int, ...]) -> None:
        with pytest.raises(BackendError, match="'frames' has shape"):
            session.run({**make_feeds(3), "frames": np.zeros(shape, dtype=np.uint8)})

    def test_wrong_type_is_not_cast(self, session: Session) -> None:
        feeds = make_feeds(3)
        with pytest.raises(BackendError, match="'ages' is float64"):
            session.run({**feeds, "ages": feeds["ages"].astype(np.float64)})

    def test_contradicting_lengths(self, session: Session) -> None:
        feeds = make_feeds(7)
        with pytest.raises(BackendError):
            session.run({**feeds, "ages": feeds["ages"][:, :3]})

    def test_bound_inputs_stay_and_can_be_replaced(self, session: Session) -> None:
        feeds, other = make_feeds(4), make_feeds(4, seed=1)
        session.bind({"ages": feeds["ages"]})
        for _ in range(2):
            found = session.run({"frames": feeds["frames"]})["sync_feat"]
            np.testing.assert_allclose(found, answer(feeds)["sync_feat"], atol=1e-5)
        session.bind({"ages": other["ages"]})
        mixed = {"frames": feeds["frames"], "ages": other["ages"]}
        found = session.run({"frames": feeds["frames"]})["sync_feat"]
        np.testing.assert_allclose(found, answer(mixed)["sync_feat"], atol=1e-5)

    def test_a_feed_wins_over_a_bound_input(self, session: Session) -> None:
        feeds, other = make_feeds(4), make_feeds(4, seed=1)
        session.bind({"ages": other["ages"]})
        np.testing.assert_allclose(session.run(feeds)["sync_feat"], answer(feeds)["sync_feat"], atol=1e-5)

    def test_bad_binding(self, session: Session) -> None:
        with pytest.raises(BackendError, match="unknown inputs"):
            session.bind({"prompt": np.zeros(1, dtype=np.float32)})
        with pytest.raises(BackendError, match="has shape"):
            session.bind({"ages": np.zeros(1, dtype=np.float32)})

    def test_closed(self, session: Session) -> None:
        session.close()
        session.close()
        with pytest.raises(BackendError, match="was closed"):
            session.run(make_feeds(3))
        with pytest.raises(BackendError, match="was closed"):
            session.bind({})

    def test_two_sessions_do_not_share_bindings(self, backend: Backend, path: Path) -> None:
        first, second = (backend.load(path, LoadOptions(threads=1)) for _ in range(2))
        first.bind({"ages": make_feeds(4)["ages"]})
        with pytest.raises(BackendError, match="missing inputs"):
            second.run({"frames": make_feeds(4)["frames"]})
        first.close()
        second.run(make_feeds(4))
        second.close()

    @pytest.mark.parametrize("content", [None, b"", b"no graph at all", b"\x00" * 64])
    def test_unreadable_file(self, backend: Backend, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "broken.graph"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BackendError, match=r"broken\.graph"):
            backend.load(path, LoadOptions())

    @pytest.mark.parametrize("threads", [None, 1, 2])
    def test_threads_do_not_change_the_answer(
        self, backend: Backend, path: Path, threads: int | None
    ) -> None:
        session, feeds = backend.load(path, LoadOptions(threads=threads)), make_feeds(40)
        np.testing.assert_allclose(session.run(feeds)["sync_feat"], answer(feeds)["sync_feat"], atol=1e-5)
        session.close()

    def test_asking_whether_it_is_ready_imports_no_engine(self, name: str) -> None:
        code = (
            "import sys; from edgefoley.backends import get_backend;"
            f"get_backend({name!r}).available();"
            "print([m for m in ('onnxruntime', 'torch', 'openvino', 'tensorrt') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


def test_unknown_back_end_lists_the_known() -> None:
    with pytest.raises(UsageError, match="unknown back end 'cuda'; known: ort"):
        get_backend("cuda")
    assert "fake" not in backend_names()


def test_missing_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from edgefoley.backends import ort

    monkeypatch.setattr(ort, "find_spec", lambda name: None)
    backend = get_backend("ort")
    reason = backend.available()
    assert reason is not None
    assert ort.INSTALL in reason
    with pytest.raises(BackendUnavailableError, match="pip install"):
        backend.load(tmp_path / "any.onnx", LoadOptions())
