"""Downloads through the hub's own client, from a server on this machine."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from edgefoley import hub as hub_module
from edgefoley.hub import (
    DownloadError,
    SourceFile,
    bring,
    bytes_to_fetch,
    default_folder,
    licences_of,
    models_folder,
)
from tests.hub_server import FREE, STRICT, Hub, serve

CONTENT = bytes(range(256)) * 3000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub", reason="downloads go through huggingface_hub")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    # The client writes whole chunks of 10 MB; an interruption costs less than one.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    with serve() as running:
        yield running


def fetch(files: Sequence[SourceFile], folder: Path, **where: object) -> list[tuple[str, str]]:
    return [(file.path, step) for file, step in bring(files, folder, **where)]


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_come_under_our_names_and_only_once(hub: Hub, tmp_path: Path) -> None:
    files = [hub.add("big.pth", CONTENT), hub.add("inner/tokenizer.json", b'{"a": 1}')]
    steps = fetch(files, tmp_path / "new" / "place", mirror=hub.url + "/")
    assert steps == [
        (name, step) for name in ("big.pth", "inner/tokenizer.json") for step in ("fetch", "verify", "done")
    ]
    assert content_of(tmp_path / "new" / "place") == {
        "big.pth": CONTENT,
        "inner/tokenizer.json": b'{"a": 1}',
    }
    hub.log.clear()
    steps = fetch(files, tmp_path / "new" / "place", mirror=hub.url)
    assert [step for _, step in steps] == ["present", "verify", "done"] * 2 and not hub.log


def test_a_mirror_does_not_get_the_token(hub: Hub, tmp_path: Path) -> None:
    fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror=hub.url)
    assert [token for _, _, token in hub.log] == [None]


def test_a_short_break_is_bridged(hub: Hub, tmp_path: Path) -> None:
    hub.cut = 100_000
    fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror=hub.url)
    assert [start for _, start, _ in hub.log] == [0, 100_000]
    assert content_of(tmp_path) == {"big.pth": CONTENT}


def test_an_interrupted_download_goes_on_in_the_next_run(hub: Hub, tmp_path: Path) -> None:
    hub.cut, hub.status_after_cut = 300_000, 503
    files = [hub.add("big.pth", CONTENT)]
    with pytest.raises(
        DownloadError, match=r"big\.pth could not be downloaded.*goes on from there"
    ) as caught:
        fetch(files, tmp_path, mirror=hub.url)
    assert hub.url in str(caught.value)
    assert content_of(tmp_path) == {"big.pth.part": CONTENT[:300_000]}
    assert bytes_to_fetch(files, tmp_path) == len(CONTENT) - 300_000
    hub.status = None
    hub.log.clear()
    fetch(files, tmp_path, mirror=hub.url)
    assert [start for _, start, _ in hub.log] == [300_000]
    assert content_of(tmp_path) == {"big.pth": CONTENT}


def test_all_bytes_there_but_not_yet_checked(hub: Hub, tmp_path: Path) -> None:
    """A run that was killed between the last byte and the check."""
    files = [hub.add("big.pth", CONTENT)]
    (tmp_path / "big.pth.part").write_bytes(CONTENT)
    fetch(files, tmp_path, mirror=hub.url)
    assert not hub.log and content_of(tmp_path) == {"big.pth": CONTENT}


def test_a_part_that_is_too_long_is_begun_again(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "big.pth.part").write_bytes(CONTENT + b"more")
    fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror=hub.url)
    assert content_of(tmp_path) == {"big.pth": CONTENT}


def test_a_wrong_sha256_keeps_nothing(hub: Hub, tmp_path: Path) -> None:
    wrong = hashlib.sha256(b"other").hexdigest()
    files = [hub.add("good.bin", b"good"), hub.add("big.pth", CONTENT, sha256=wrong)]
    with pytest.raises(DownloadError, match=f"is not big.pth as published.*{wrong[:16]}.*not kept"):
        fetch(files, tmp_path, mirror=hub.url)
    assert content_of(tmp_path) == {"good.bin": b"good"}


def test_a_wrong_file_of_the_users_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "big.pth").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"has 4 bytes.*left as it is"):
        fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror=hub.url)
    assert content_of(tmp_path) == {"big.pth": b"mine"} and not hub.log


@pytest.mark.parametrize(("status", "hint"), [(401, "hf auth login"), (404, "another --mirror")])
def test_what_the_server_says(hub: Hub, tmp_path: Path, status: int, hint: str) -> None:
    hub.status = status
    with pytest.raises(DownloadError, match=hint):
        fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror=hub.url)
    assert not list(tmp_path.iterdir())


def test_nobody_answers(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    with pytest.raises(DownloadError, match="could not be downloaded"):
        fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror="http://127.0.0.1:9")


def test_room_is_looked_at_before_anything_comes(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [hub.add("big.pth", CONTENT)]
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: usage._replace(free=len(CONTENT) - 1))
    with pytest.raises(DownloadError, match=r"not enough room in .*new.*--dir"):
        fetch(files, tmp_path / "new" / "place", mirror=hub.url)
    assert not hub.log and not list(tmp_path.iterdir())


def test_without_the_client_the_message_tells_how_to_get_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'edgefoley\[convert\]'"):
        fetch([hub.add("big.pth", CONTENT)], tmp_path, mirror=hub.url)


def test_a_place_that_cannot_be_written_to(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"file.* cannot be written to.*--dir"):
        fetch([hub.add("big.pth", CONTENT)], tmp_path / "file" / "below", mirror=hub.url)
    assert not hub.log


def test_a_mirror_needs_an_address(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="begin with https"):
        fetch([], tmp_path, mirror="hf-mirror.com")


@pytest.mark.parametrize("place", ["inner/model.bin", "owner/repo/model.bin", "repo/model.bin", "model.bin"])
def test_a_local_folder(tmp_path: Path, place: str) -> None:
    file = Hub().add("inner/model.bin", CONTENT)
    there = tmp_path / "disk" / place
    there.parent.mkdir(parents=True)
    there.write_bytes(CONTENT)
    steps = fetch([file], tmp_path / "ours", origin=tmp_path / "disk")
    assert [step for _, step in steps] == ["copy", "verify", "done"]
    made = tmp_path / "ours" / "inner" / "model.bin"
    assert made.read_bytes() == CONTENT and made.samefile(there)  # linked: no second copy on the disk


def test_a_local_folder_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(hub_module.os, "link", refuse)
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "model.bin").write_bytes(CONTENT)
    fetch([Hub().add("model.bin", CONTENT)], tmp_path / "ours", origin=tmp_path / "disk")
    made = tmp_path / "ours" / "model.bin"
    assert made.read_bytes() == CONTENT and not made.samefile(tmp_path / "disk" / "model.bin")


def test_a_local_folder_with_wrong_files(tmp_path: Path) -> None:
    file = Hub().add("inner/model.bin", CONTENT)
    disk = tmp_path / "disk"
    disk.mkdir()
    with pytest.raises(DownloadError, match=r"has no inner/model\.bin\. Looked for: inner/model\.bin, owner"):
        fetch([file], tmp_path / "ours", origin=disk)
    (disk / "model.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match=f"is of another size than {len(CONTENT)} bytes"):
        fetch([file], tmp_path / "ours", origin=disk)
    (disk / "model.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(DownloadError, match=r"is not model\.bin as published"):
        fetch([file], tmp_path / "ours", origin=disk)
    assert (disk / "model.bin").read_bytes() == CONTENT[::-1]  # the user's file is untouched
    assert not content_of(tmp_path / "ours")


def test_licences_come_once_those_to_accept_first() -> None:
    hub = Hub()
    files = [hub.add("a", b"", FREE), hub.add("b", b"", STRICT), hub.add("c", b"", FREE)]
    assert licences_of(files) == [STRICT, FREE]


def test_converted_models_are_the_users_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for platform, variable, below in (
        ("linux", "XDG_DATA_HOME", ".local/share"),
        ("darwin", None, "Library/Application Support"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
    ):
        monkeypatch.setattr(sys, "platform", platform)
        if variable is not None:
            monkeypatch.setenv(variable, "/somewhere")
            assert models_folder() == Path("/somewhere/edgefoley/models")
            monkeypatch.delenv(variable)
        assert models_folder() == tmp_path / below / "edgefoley" / "models"


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/edgefoley/hunyuan")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_folder() == Path.home() / ".cache" / "edgefoley" / "hunyuan"
