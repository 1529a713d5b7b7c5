"""``edgefoley describe``: what is seen, when it changes, how much happens, and the prompt."""

from __future__ import annotations

import json
import os
import re
import shutil
from importlib.resources import files
from pathlib import Path

import av
import numpy as np
import pytest

from edgefoley import media
from edgefoley.bundle import MANIFEST, builtin_folder, open_bundle, write_manifest
from edgefoley.classes import ClassTable, Sound
from edgefoley.errors import BundleIntegrityError
from edgefoley.event_files import parse_json
from edgefoley.pipeline import Pipeline
from tests.cli.conftest import names_in, samples_of
from tests.clips import make_clip

EXAMPLE = Path(__file__).parents[2] / "examples" / "bouncing_ball.mp4"
COLOURS = ("fire", "lawn", "sea")  # what the little model takes red, green and blue for
SOUNDS = (
    Sound("crackle", "texture", "a fire crackles", "火焰噼啪"),
    Sound("waves", "texture", "waves break", "海浪声"),
)
TABLE = ClassTable(COLOURS, SOUNDS, np.array([[1, 0], [0, 0], [0, 0.9]], np.float32), temperature=0.5)


def twin(source: Path, folder: Path) -> Path:
    """A copy of a bundle whose graphs (up to 38 MB) are links where the file system allows it."""

    def near_copy(path: str, to: str) -> None:
        try:
            if not path.endswith(".onnx"):
                raise OSError  # small, and may be replaced
            os.link(path, to)
        except OSError:
            shutil.copyfile(path, to)

    return Path(shutil.copytree(source, folder, copy_function=near_copy))


def with_classes(folder: Path, table: ClassTable | None) -> Path:
    """Give the bundle in ``folder`` this class table, or none."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest.pop("classes", None)
    (folder / "classes.json").unlink(missing_ok=True)
    if table is not None:
        (folder / "classes.json").write_text(json.dumps(table.to_json()), encoding="utf-8")
        manifest["classes"] = {"path": "classes.json"}
    write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="session")
def little(tmp_path_factory) -> Path:
    """A model whose image encoder tells the three colours apart; it has no event curve."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from tests.onnx_bundle import make_onnx_bundle, save

    folder = make_onnx_bundle(tmp_path_factory.mktemp("little") / "bundle")
    graph = """visual (uint8[M,12,16,3] frames) => (float[M,6] visual_feat, float[M,3] class_logits)
        <float[3,6] w = {0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}, float scale = {0.01}> {
        x = Cast <to = 1> (frames)
        mean = ReduceMean <axes = [1, 2], keepdims = 0> (x)
        visual_feat = MatMul(mean, w)
        class_logits = Mul(mean, scale)
    }"""
    save(graph, folder / "visual.onnx")
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    outputs = manifest["components"]["visual"]["outputs"]
    outputs.append({"name": "class_logits", "shape": ["M", 3], "dtype": "float32"})
    write_manifest(folder, manifest)
    return with_classes(folder, TABLE)


@pytest.fixture(scope="session")
def nano(tmp_path_factory) -> Path:
    """The packaged model with a class table of our own: only the class most seen in the example has a
    sound."""
    pytest.importorskip("onnxruntime")
    folder = twin(builtin_folder() / "nano", tmp_path_factory.mktemp("nano") / "nano")
    names = tuple(files("edgefoley.models").joinpath("imagenet_classes.txt").read_text("utf-8").splitlines())
    weights = np.zeros((1000, 2), np.float32)
    weights[np.argmax(example_probabilities()), 0] = 1
    return with_classes(folder, ClassTable(names, SOUNDS, weights, temperature=0.7))


def example_probabilities() -> np.ndarray:
    """Mean over the example's pictures of what the packaged image encoder says, by way of the engine."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = builtin_folder() / "nano" / "visual.onnx"
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    frames = media.read_clip(EXAMPLE, {"visual": open_bundle("nano").views()["visual"]}).views["visual"]
    (logits,) = session.run(["class_logits"], {"frames": frames.frames})
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / 0.7)
    return (powers / powers.sum(axis=1, keepdims=True)).mean(axis=0)


@pytest.fixture
def coloured(tmp_path):
    """``coloured(("red", 3), ("blue", 2))``: a clip of so many seconds of each colour."""

    def make(*parts: tuple[str, float]) -> Path:
        levels = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "gray": (80, 80, 80)}
        pictures = [
            np.full((64, 96, 3), levels[colour], np.uint8)
            for colour, seconds in parts
            for _ in range(round(10 * seconds))
        ]
        return make_clip(tmp_path / "clip.mp4", fps=10, count=len(pictures), pictures=pictures)

    return make


@pytest.fixture
def describe(run, little):
    """``edgefoley describe --json`` with the little model, parsed."""

    def go(*arguments: str | Path) -> dict:
        result = run("describe", "--model", little, "--json", "--threads", "1", *arguments)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return go


# --- what is seen


def test_what_is_seen_and_the_prompt(describe, coloured):
    found = describe(coloured(("red", 3)))
    assert (found["video"], found["model"]) == ("clip.mp4", "fake")
    assert (found["start_s"], found["duration_s"]) == (0, 3)
    assert found["classes"][0]["name"] == "fire"
    # 2.55 and 0 and 0, divided by the temperature of one half; the codec changes colours a little.
    expected = np.exp(5.1) / (np.exp(5.1) + 2)
    assert found["classes"][0]["probability"] == pytest.approx(expected, abs=0.01)
    assert found["prompt"] == {"en": "a fire crackles", "zh": "火焰噼啪"}
    assert found["sounds"] == [
        {"id": "crackle", "kind": "texture", "score": pytest.approx(expected, abs=0.01),
         "en": "a fire crackles", "zh": "火焰噼啪"},
    ]  # fmt: skip
    assert len(found["stretches"]) == 1


def test_a_change_begins_a_new_stretch_where_the_picture_changes(describe, coloured):
    found = describe(coloured(("red", 3), ("green", 2), ("blue", 4)))
    times = [(s["start_s"], s["end_s"], s["classes"][0]["name"]) for s in found["stretches"]]
    assert times == [(0, 3, "fire"), (3, 5, "lawn"), (5, 9, "sea")]
    assert [[sound["id"] for sound in s["sounds"]] for s in found["stretches"]] == [
        ["crackle"],
        [],
        ["waves"],
    ]
    assert found["prompt"] == {"en": "waves break, a fire crackles", "zh": "海浪声，火焰噼啪"}


def test_an_excerpt_counts_in_the_videos_time(describe, coloured):
    clip = coloured(("red", 3), ("blue", 3))
    found = describe(clip, "--start", "2", "--end", "5.2")
    assert (found["start_s"], found["duration_s"]) == (2, 3.2)
    assert [(s["start_s"], s["end_s"]) for s in found["stretches"]] == [(2, 3), (3, 5.2)]
    assert describe(clip, "--start", "3.5")["prompt"] == {"en": "waves break", "zh": "海浪声"}


def test_nothing_clear_suggests_nothing(describe, run, little, coloured):
    clip = coloured(("green", 2))
    found = describe(clip)
    assert found["sounds"] == [] and found["prompt"] is None and found["classes"][0]["name"] == "lawn"
    result = run("describe", clip, "--model", little, "--threads", "1", "-q")
    assert "no prompt suggested" in result.stdout.splitlines()[-1]


def test_top_limits_the_list(describe, coloured):
    clip = coloured(("red", 1))
    assert len(describe(clip, "--top", "2")["classes"]) == 2
    assert len(describe(clip, "--top", "9")["classes"]) == 3


def test_words_on_stdout_talk_on_stderr(run, little, coloured, tmp_path):
    result = run("describe", coloured(("red", 3), ("blue", 3)), "--model", little, "--threads", "1")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["probability", "seen"] and lines[1].split()[1] in ("fire", "sea")
    stretches = [line for line in lines if " s to " in line]
    assert stretches[0].startswith("   0.00 s to    3.00 s  fire 0.9")
    assert [line.split(" -> ")[1] for line in stretches] == ["a fire crackles", "waves break"]
    assert lines[-2].startswith("prompt (en)  ") and lines[-1].startswith("prompt (zh)  ")
    assert "clip.mp4: read" in result.stderr and "clip.mp4: encode" in result.stderr
    assert "has no event curve" in result.stderr
    assert names_in(tmp_path) == ["clip.mp4"]


# --- the packaged networks


def test_the_packaged_networks_see_the_example(run, nano):
    result = run("describe", EXAMPLE, "--model", nano, "--json", "--top", "3", "--threads", "1")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    true = example_probabilities()
    names = open_names(nano)
    assert [c["name"] for c in found["classes"]] == [names[i] for i in np.argsort(-true)[:3]]
    assert [c["probability"] for c in found["classes"]] == pytest.approx(np.sort(true)[:-4:-1], abs=0.02)
    assert found["missing"] == []
    assert found["prompt"] == {"en": "a fire crackles", "zh": "火焰噼啪"}


def open_names(folder: Path) -> list[str]:
    return list(json.loads((folder / "classes.json").read_text(encoding="utf-8"))["classes"])


def test_the_summary_sums_up_the_list_of_events(run, nano):
    flags = ("--model", nano, "--start", "1", "--end", "4", "--threads", "1", "-q", "--json")
    summary = json.loads(run("describe", EXAMPLE, *flags).stdout)["events"]
    listed = parse_json(run("events", EXAMPLE, *flags, "--curves").stdout)
    likely = [event for event in listed.events if event.confidence >= summary["confidence"]]
    assert (summary["count"], summary["likely"]) == (len(listed.events), len(likely))
    assert summary["rate_hz"] == pytest.approx(len(likely) / 3, abs=1e-3)
    assert summary["strength"] == pytest.approx(np.mean([event.strength for event in likely]), abs=2e-3)
    assert summary["activity"] == pytest.approx(listed.activity.mean(), abs=2e-3)


def test_a_bundle_without_class_table_tells_the_events_and_what_is_missing(run, nano, tmp_path):
    folder = with_classes(twin(nano, tmp_path / "bare"), None)
    result = run("describe", EXAMPLE, "--model", folder, "--end", "2", "--threads", "1", "-q")
    assert result.exit_code == 0
    line = result.stdout.splitlines()[0]
    assert "prompt" not in result.stdout and "classes.json" in result.stderr
    found = json.loads(run("describe", EXAMPLE, "--model", folder, "--end", "2", "--json").stdout)
    assert found["classes"] is found["prompt"] is found["stretches"] is None
    told = re.search(r" likely \(confidence (0\.\d+) or more\)", line)
    assert told is not None and float(told[1]) == pytest.approx(found["events"]["confidence"], abs=0.0056)
    assert found["events"]["count"] > 0 and "class table" in found["missing"][0]


# --- what is refused


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (("--top", "0"), 2, "--top"),
        (("--start", "soon"), 2, "not a time"),
        (("--start", "100"), 2, "outside"),
        (("--model", "nanoo"), 4, "no model 'nanoo'"),
    ],
)
def test_senseless_flags(run, clip, flags, code, words):
    result = run("describe", clip, *flags)
    assert result.exit_code == code and words in result.stderr and result.stdout == ""


def test_missing_video(run, little, tmp_path):
    result = run("describe", tmp_path / "missing.mp4", "--model", little)
    assert result.exit_code == 3 and "there is no such file" in result.stderr


def test_a_model_that_can_tell_nothing(run, bundle, clip):
    result = run("describe", clip, "--model", bundle, "--backend", "fake")
    assert result.exit_code == 2 and result.stdout == ""
    assert "cannot say what it sees" in result.stderr and "has no event curve" in result.stderr


def test_a_table_of_another_encoder(run, little, coloured, tmp_path):
    folder = twin(little, tmp_path / "wrong")
    with_classes(folder, ClassTable(COLOURS[:2], SOUNDS, np.eye(2, dtype=np.float32)))
    result = run("describe", coloured(("red", 1)), "--model", folder)
    assert result.exit_code == 4 and "3 classes" in result.stderr and "another image encoder" in result.stderr


def test_a_changed_table_is_noticed(little, tmp_path):
    folder = twin(little, tmp_path / "changed")
    text = (folder / "classes.json").read_text(encoding="utf-8")
    (folder / "classes.json").write_text(text.replace("fire", "wire", 1), encoding="utf-8")
    with Pipeline.open(folder) as pipeline, pytest.raises(BundleIntegrityError, match="changed or damaged"):
        pipeline.bundle.classes_path()


# --- a clip without a prompt


def test_without_a_prompt_the_sound_is_that_of_the_suggestion(run, little, coloured, tmp_path):
    clip, made = coloured(("red", 2)), {}
    for name, words in (("alone", []), ("asked", ["-p", "a fire crackles"]), ("other", ["-p", "rain"])):
        made[name] = tmp_path / f"{name}.wav"
        flags = ["--model", little, "--threads", "1", "--seed", "5", "--json", "-o", made[name]]
        result = run("generate", clip, *words, *flags)
        assert result.exit_code == 0, result.stderr
        found = json.loads(result.stdout)
        assert (found["prompt"], found["prompt_suggested"]) == (
            ("rain", False) if name == "other" else ("a fire crackles", name == "alone")
        )
        assert ('the picture suggests: "a fire crackles"' in result.stderr) == (name == "alone")
    wave = {name: samples_of(path) for name, path in made.items()}
    np.testing.assert_array_equal(wave["alone"], wave["asked"])
    assert not np.array_equal(wave["alone"], wave["other"])
    with av.open(str(made["alone"])) as file:
        assert "prompt: a fire crackles (suggested by the picture)" in file.metadata["comment"]


def test_a_picture_that_suggests_nothing_leaves_the_prompt_empty(run, little, coloured, tmp_path):
    flags = ["--model", little, "--threads", "1", "--json", "-o", tmp_path / "a.wav"]
    result = run("generate", coloured(("green", 1)), *flags)
    found = json.loads(result.stdout)
    assert (found["prompt"], found["prompt_suggested"]) == ("", False)


def test_generating_notices_a_table_of_another_encoder(run, little, coloured, tmp_path):
    wrong = with_classes(
        twin(little, tmp_path / "twin"), ClassTable(("a", "b"), SOUNDS, np.eye(2, dtype=np.float32))
    )
    result = run("generate", coloured(("red", 1)), "--model", wrong, "-o", tmp_path / "a.wav")
    assert result.exit_code != 0 and "class table belongs to another image encoder" in result.stderr
    assert not (tmp_path / "a.wav").exists()
