"""`edgefoley doctor` and `edgefoley models` tell the truth about this installation."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from edgefoley import bundle as bundles
from edgefoley.backends.ort import OrtBackend
from edgefoley.backends.ov import OvBackend
from edgefoley.backends.processor import parse_cpuinfo
from edgefoley.cli import doctor
from edgefoley.machine import Machine
from tests.fake_bundle import make_fake_bundle


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """An installation whose built-in models are `nano` and `other`, made for the fake back end."""
    for name in ("nano", "other"):
        make_fake_bundle(tmp_path / name, name=name)
    monkeypatch.setattr(bundles, "builtin_folder", lambda: tmp_path)
    return tmp_path


def findings(result) -> dict[str, dict]:
    return {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}


def test_all_is_well(run, installed):
    result = run("doctor")
    assert result.exit_code == 0
    assert "Ready: edgefoley generate VIDEO" in result.stdout and "ERROR" not in result.stdout
    found = findings(run("doctor", "--json"))
    assert found["ort"]["ok"] is True and found["ort"]["text"] == "ready"
    assert found["nano"]["ok"] is True and "intact" in found["nano"]["text"]
    for engine in ("tensorrt", "litert"):
        assert found[engine]["ok"] is None and "not supported in this version" in found[engine]["text"]
    for package in ("numpy", "av", "onnxruntime", "tokenizers"):
        assert found[package]["text"][0].isdigit()
    assert "libavcodec" in found["av"]["text"]


def test_the_machine(run, installed):
    machine = json.loads(run("doctor", "--json").stdout)["machine"]
    assert machine["cores"] >= 1 and "Python" in machine["system"]
    assert machine["memory_mb"] is None or machine["memory_mb"] > 100


@pytest.mark.parametrize(("name", "code"), [("nano", 1), ("other", 0)])
def test_a_damaged_model(run, installed, name, code):
    """Same size, other bytes: only the sha256 tells. Only nano is needed for the main job."""
    path = installed / name / "decoder.json"
    path.write_bytes(path.read_bytes().replace(b"4", b"5"))
    result = run("doctor", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["ready"] is (code == 0)
    assert "sha256" in findings(result)[name]["text"]
    assert run("doctor").exit_code == code


def test_no_model_at_all(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "builtin_folder", lambda: tmp_path)
    result = run("doctor")
    assert result.exit_code == 1
    assert "ERROR nano: is not in this installation" in result.stdout and "cannot run" in result.stdout
    listing = run("models")
    assert listing.exit_code == 0 and listing.stdout == "" and "No models are built in" in listing.stderr


def test_a_missing_engine_names_the_command_that_installs_it(run, installed, monkeypatch):
    monkeypatch.setattr("edgefoley.backends.ort.find_spec", lambda name: None)
    assert OrtBackend().available() is not None
    result = run("doctor")
    assert result.exit_code == 1
    assert 'python -m pip install "onnxruntime' in result.stdout


def test_the_second_engine_is_not_needed(run, installed, monkeypatch):
    monkeypatch.setattr("edgefoley.backends.ov.find_spec", lambda name: None)
    result = run("doctor", "--json")
    assert result.exit_code == 0
    found = findings(result)["ov"]
    assert found["ok"] is None and 'python -m pip install "edgefoley[openvino]"' in found["text"]


def test_the_second_engine_with_its_version(run, installed):
    reason = OvBackend().available()
    if reason is not None:
        pytest.skip(reason)
    found = findings(run("doctor", "--json"))["ov"]
    assert found["ok"] is True and found["text"] == f"ready, openvino {version('openvino')}"


def test_a_missing_package(monkeypatch):
    real = doctor.version

    def version(name):
        if name == "tokenizers":
            raise doctor.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor, "version", version)
    (finding,) = [finding for finding in doctor.packages() if finding.ok is False]
    assert finding.name == "tokenizers" and "python -m pip install tokenizers" in finding.text


def test_little_memory_is_said_but_no_error():
    machine = Machine("", "", (), 1, 900.0, 300.0)
    finding = doctor.memory(machine)
    assert finding.ok is None and "may need 700 MB" in finding.text
    assert doctor.memory(Machine("", "", (), 1, 8000.0, None)).ok is True
    assert doctor.memory(Machine("", "", None, 1, None, None)).text.startswith("unknown")


def test_cpu_features_of_arm_and_x86():
    arm = "processor : 0\nFeatures : fp asimd asimddp i8mm\n\nprocessor : 1\nFeatures : fp\n"
    arm += "Model : Raspberry Pi 5\n"
    assert parse_cpuinfo(arm) == ("Raspberry Pi 5", {"fp", "asimd", "asimddp", "i8mm"})
    x86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni\n"
    assert parse_cpuinfo(x86) == ("Some CPU", {"fpu", "avx2", "avx512_vnni"})
    assert parse_cpuinfo("") == (None, None)


def test_models(run, installed):
    (installed / "other" / "text.json").unlink()
    listing = run("models")
    assert listing.exit_code == 0
    size = sum(p.stat().st_size for p in (installed / "nano").iterdir() if p.name != "manifest.json")
    assert f"nano  1  {size / 1e3:.1f} kB  Apache-2.0  engines: fake\n  sines for tests\n" in listing.stdout
    assert "other  damaged\n" in listing.stdout and "text.json is missing" in listing.stdout
    nano, other = (json.loads(line) for line in run("models", "--json").stdout.splitlines())
    assert (nano["name"], nano["problem"], nano["backends"]) == ("nano", None, ["fake"])
    assert (
        nano["bytes"]
        == sum(p.stat().st_size for p in (installed / "nano").iterdir())
        - (installed / "nano" / "manifest.json").stat().st_size
    )
    assert other["name"] == "other" and "text.json is missing" in other["problem"]
