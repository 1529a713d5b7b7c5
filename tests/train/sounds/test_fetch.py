"""Fetching packages: with stand-ins for the clients and packages made here."""

from __future__ import annotations

import csv
import hashlib
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgefoley.train.sounds import fetch as fetching
from edgefoley.train.sounds.containers import PackageError, open_container, package_files, wav_bytes
from edgefoley.train.sounds.fetch import Rule, label_of, load_rules, words
from edgefoley.train.sounds.licences import FREE, family, licence_name, parse_copyright, stanza_of

TONE = (8000 * np.sin(np.arange(4800) * 0.2)).astype(np.int16)


def tarball(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


COPYRIGHT = """Files: *
Copyright: 2001 Everybody
License: GPL-2+

Files: snd/*.wav
 more/*.wav
Copyright: 2002 A. Person
License: CC-BY-3.0
Comment: https://freesound.org/people/x/sounds/1234/

Files: snd/old.wav
Copyright: nobody
License: public-domain
 Found in the attic.
"""


def test_the_last_stanza_that_matches_counts() -> None:
    stanzas = parse_copyright(COPYRIGHT)
    assert [s.licence for s in stanzas] == ["GPL-2+", "CC BY 3.0", "Public Domain"]
    for path, licence in (("x.c", "GPL-2+"), ("more/a.wav", "CC BY 3.0"), ("snd/old.wav", "Public Domain")):
        found = stanza_of(stanzas, path)
        assert found is not None and found.licence == licence
    assert "attic" in stanzas[2].comment


def test_licence_names_and_families() -> None:
    assert licence_name("Expat") == "MIT" and licence_name("CC0-1.0") == "CC0"
    assert licence_name("CC-BY-SA-4.0") == "CC BY-SA 4.0"
    assert family("CC BY-SA 3.0") == "CC BY-SA" and family("CC BY 4.0") == "CC BY"
    assert family("GPL-3+") == "GPL" and family("LGPL-3.0-or-later") == "GPL" and family("MIT") == "MIT"
    assert "CC BY-SA" not in FREE and "GPL" not in FREE


def test_labels_from_names() -> None:
    assert words("DoorOpen2_loop(L)") == ["door", "open", "loop"]
    assert label_of("drum {tail}", "a/drum_tom_hi1.flac") == "drum tom hi"
    assert label_of("{path:1}", "Hits.ocg/Wood.ocg/WoodHit2.ogg") == "wood wood hit"


def test_the_table_is_complete() -> None:
    rules = load_rules()
    assert len(rules) >= 12
    for package, mine in rules.items():
        assert len({(r.registry, r.version, r.sha256, r.page) for r in mine}) == 1, package
        assert len(mine[0].sha256) == 64 and mine[0].registry in ("deb", "pypi", "npm")
        for rule in mine:
            named = rule.licence.startswith("copyright:") or family(rule.licence) in FREE
            assert named and rule.attribution and rule.label and rule.page.startswith("http")


def test_a_soundfont_gives_its_samples() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)

    def header(name: bytes, start: int, end: int, kind: int) -> bytes:
        return name.ljust(20, b"\0") + struct.pack("<5IBbHH", start, end, 0, 0, 22_050, 60, 0, 0, kind)

    sdta = chunk(b"LIST", b"sdta" + chunk(b"smpl", TONE.astype("<i2").tobytes()))
    records = header(b"Bell(L)", 0, 2400, 4) + header(b"Bell(R)", 0, 2400, 2) + header(b"EOS", 0, 0, 0)
    pdta = chunk(b"LIST", b"pdta" + chunk(b"shdr", records))
    content = chunk(b"RIFF", b"sfbk" + sdta + pdta)
    ((name, sound),) = open_container("x.sf2", content)
    assert name == "Bell(L).wav" and sound == wav_bytes(TONE[:2400], 22_050)


def test_a_wad_gives_its_sounds() -> None:
    raw = np.full(132, 128, np.uint8)
    raw[20:40] = 200
    lump = struct.pack("<HHI", 3, 11_025, len(raw)) + raw.tobytes()
    directory = struct.pack("<II8s", 12, len(lump), b"DSBANG") + struct.pack("<II8s", 12, 4, b"THINGS")
    content = b"IWAD" + struct.pack("<II", 2, 12 + len(lump)) + lump + directory
    ((name, sound),) = open_container("x.wad", content)
    expected = (raw[16:-16].astype(np.int16) - 128) * 256
    assert name == "DSBANG.wav" and sound == wav_bytes(expected, 11_025)


def test_a_zip_in_a_wheel_and_an_unknown_container(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("p/x.wav", b"123")
    assert list(package_files(tmp_path / "a.whl")) == [("p/x.wav", b"123")]
    with pytest.raises(PackageError, match="no reader"):
        list(open_container("x.rar", b""))


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Two packages whose client is `cp`; the calls made are recorded. The second has another checksum."""
    sound = wav_bytes(TONE, 48_000)
    content = {
        "package/snd/a.wav": sound, "package/snd/old.wav": sound, "package/extra/b.wav": sound,
        "package/../../../evil.wav": sound, "package/usr/copyright": COPYRIGHT.encode(),
        "package/snd/broken.wav": b"no sound",
    }  # fmt: skip
    (tmp_path / "good.tgz").write_bytes(tarball(content))
    (tmp_path / "bad.tgz").write_bytes(tarball({"package/snd/a.wav": sound}))
    sha = hashlib.sha256((tmp_path / "good.tgz").read_bytes()).hexdigest()
    by_file = "copyright:package/="
    rules = {
        "good": [
            Rule("npm", "good", "1", sha, "package/*.wav", "{words}", by_file, "{holder} {comment}", "x")
        ],
        "bad": [Rule("npm", "bad", "1", "0" * 64, "*", "x", "CC0", "y", "x")],
    }
    calls: list[list[str]] = []

    def client(rule: Rule, folder: Path) -> list[str]:
        calls.append([rule.package])
        return ["cp", str(tmp_path / f"{rule.package}.tgz"), str(folder)]

    monkeypatch.setattr(fetching, "load_rules", lambda: rules)
    monkeypatch.setattr(fetching, "client", client)
    return calls


def manifest(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_fetch_checks_unpacks_and_goes_on(tmp_path: Path, registry: list[list[str]]) -> None:
    out = tmp_path / "out"
    assert fetching.main(["--out", str(out)]) == 1  # one of two
    rows = manifest(out)
    assert {(r["label"], r["licence"]) for r in rows} == {("a", "CC BY 3.0"), ("old", "Public Domain")}
    assert rows[0]["group"] == "freesound/1234" and "A. Person" in rows[0]["attribution"]
    assert float(rows[0]["seconds"]) == pytest.approx(0.1) and rows[0]["lossy"] == "no"
    assert all((out / r["path"]).resolve().is_relative_to(out) for r in rows)
    assert not list(tmp_path.rglob("evil*")) and not list(out.rglob("*b.wav"))  # GPL
    assert "A. Person" in (out / "good" / "NOTICES.txt").read_text()


def test_nothing_is_fetched_twice_and_licences_can_be_widened(
    tmp_path: Path, registry: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert fetching.main(["--out", str(out), "--only", "good"]) == 0
    assert fetching.main(["--out", str(out), "--only", "good", "--licence", "GPL"]) == 0
    assert registry == [["good"]]
    assert "GPL-2+" in {r["licence"] for r in manifest(out)}
    assert fetching.main(["--out", str(out), "--only", "bad"]) == 1
    assert "bad: the file's SHA-256" in capsys.readouterr().err
    assert len(manifest(out)) == 2  # what was there stays


def test_a_missing_client_and_an_unknown_package(
    tmp_path: Path, registry: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "client", lambda rule, folder: ["no-such-client"])
    count, failures = fetching.fetch(tmp_path / "out", FREE)
    assert count == 0 and len(failures) == 2 and "good: the client no-such-client" in failures[0]
    with pytest.raises(PackageError, match="known: bad, good"):
        fetching.fetch(tmp_path / "out", FREE, ["ugly"])
