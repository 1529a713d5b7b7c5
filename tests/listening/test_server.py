"""The page's server: what it tells, what it refuses, and that a killed one loses nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from edgefoley.listening.analysis import analyse
from edgefoley.listening.store import open_store

pytest.importorskip("starlette", reason="the page's server (extra: listen)")
pytest.importorskip("uvicorn", reason="the page's server (extra: listen)")


@contextmanager
def serving(folder: Path, db: Path, port: str = "0") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A real ``edgefoley listen run``: its address and process."""
    command = [sys.executable, "-m", "edgefoley", "listen", "run", str(folder), "--db", str(db),
               "--port", port, "--no-browser", "-q"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise AssertionError(process.communicate()[1])
        yield address, process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    db = tmp_path_factory.mktemp("server") / "ratings.sqlite"
    with serving(folder, db) as (address, _):
        yield address, db


def ask(address: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body."""
    place = urlsplit(address)
    connection = HTTPConnection(place.hostname or "", place.port or 0, timeout=30)
    sent = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    try:
        if body is None:
            connection.request("GET", path, headers={k: v for k, v in sent.items() if k != "content-type"})
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, sent)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def enter(address: str) -> str:
    status, _, body = ask(address, "/api/listeners", {})
    assert status == 200
    return json.loads(body)["code"]


def next_trial(address: str, code: str) -> dict[str, Any]:
    status, _, body = ask(address, f"/api/trial?code={code}")
    assert status == 200, body
    return json.loads(body)


def submission(code: str, trial: dict[str, Any], grade: int = 3) -> dict[str, Any]:
    keys = ("realism", "synchrony", "clarity")
    tokens = [slot["token"] for slot in trial["slots"] if slot["rated"]]
    ratings = [{"question": k, "token": t, "value": grade} for k in keys for t in tokens]
    return {"code": code, "position": trial["position"], "ratings": ratings, "seconds": 3.5, "plays": 1}


def test_nothing_names_a_system_a_clip_or_a_file(server):
    address, _ = server
    code = enter(address)
    told = b""
    for path in ("/", "/listen.js", "/listen.css", "/api/test"):
        status, headers, body = ask(address, path)
        assert status == 200
        told += body + str(headers).encode()
    tokens = set()
    for _ in range(8):
        trial = next_trial(address, code)
        told += json.dumps(trial).encode()
        for slot in trial["slots"]:
            status, headers, _ = ask(address, f"/media/{slot['token']}")
            assert status == 200
            told += str(headers).encode()
            tokens.add(slot["token"])
        assert ask(address, "/api/ratings", submission(code, trial))[0] == 200
    for word in (b"fp32", b"int8", b"bird", b"door", b"walk", b".mp4", b"@", b"modified", b"etag"):
        assert word not in told.lower().replace(b"@media", b""), word
    assert len(tokens) == 8  # the same sound has another token for everybody, and every time


def test_a_video_can_be_asked_for_in_pieces(server):
    address, _ = server
    token = next_trial(address, enter(address))["slots"][0]["token"]
    status, headers, whole = ask(address, f"/media/{token}")
    assert status == 200 and headers["content-type"] == "video/mp4" and headers["accept-ranges"] == "bytes"
    assert whole[4:8] == b"ftyp" and headers["cache-control"] == "no-store"
    status, headers, piece = ask(address, f"/media/{token}", range="bytes=100-199")
    assert status == 206 and piece == whole[100:200]
    assert headers["content-range"] == f"bytes 100-199/{len(whole)}"
    status, _, rest = ask(address, f"/media/{token}", range=f"bytes={len(whole) - 10}-")
    assert status == 206 and rest == whole[-10:]
    assert ask(address, f"/media/{token}", range=f"bytes={len(whole) + 5}-")[0] == 416


@pytest.mark.parametrize(
    "path",
    [
        "/media/nothing", "/media/", "/media/..%2f..%2fetc%2fpasswd", "/media/../ratings.sqlite",
        "/ratings.sqlite", "/media/%2e%2e/ratings.sqlite", "//etc/passwd", "/page/listen.html", "/store.py",
        "/media/' OR 1=1 --".replace(" ", "%20"),
    ],
)  # fmt: skip
def test_only_files_of_the_test_are_served(server, path):
    status, _, body = ask(server[0], path)
    assert status == 404 and b"root:" not in body and b"SQLite" not in body


def test_requests_that_are_refused(server):
    address, _ = server
    code = enter(address)
    good = submission(code, next_trial(address, code))
    assert ask(address, "/api/trial", host="evil.example")[0] == 400  # a name that was made to point here
    assert (
        ask(address, "/api/ratings", good, content_type="text/plain")[0] == 415
    )  # what other pages can send
    assert ask(address, "/api/ratings", b"x" * 70_000)[0] == 413
    for bad in (b"{", b"[]", b"{}", {**good, "ratings": 3}, {**good, "position": "x"}, {**good, "code": "no"},
                {**good, "ratings": [{**r, "value": True} for r in good["ratings"]]},
                {**good, "ratings": [{**r, "value": "5"} for r in good["ratings"]]},
                {**good, "ratings": good["ratings"][:1]}):  # fmt: skip
        status, _, body = ask(address, "/api/ratings", bad)
        assert status == 400 and json.loads(body)["error"], bad
    assert ask(address, "/api/listeners")[0] == 405
    assert next_trial(address, code)["position"] == 0
    assert "default-src 'none'" in ask(address, "/")[1]["content-security-policy"]


def test_double_and_contradicting_submissions(server):
    address, _ = server
    code = enter(address)
    good = submission(code, next_trial(address, code))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(address, "/api/ratings", good), range(8)))
    assert [status for status, _, _ in answers] == [200] * 8
    assert sum(json.loads(body)["stored"] for _, _, body in answers) == 1
    other = {**good, "ratings": [{**r, "value": 5} for r in good["ratings"]]}
    status, _, body = ask(address, "/api/ratings", other)
    assert status == 409 and "other grades" in json.loads(body)["error"]


def test_two_listeners_at_once(server):
    address, db = server
    before = len(analyse(open_store(db), keep_failed=True).listeners)

    def listen(grade: int) -> str:
        code = enter(address)
        while not (trial := next_trial(address, code))["done"]:
            assert ask(address, "/api/ratings", submission(code, trial, grade))[0] == 200
        return code

    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(listen, (2, 4)))
    assert len(set(codes)) == 2
    found = analyse(open_store(db), keep_failed=True)
    done = [p for p in found.listeners if p.answered == p.trials]
    assert len(done) >= 2 and len(found.listeners) == before + 2


def test_a_killed_server_loses_nothing(folder, tmp_path):
    """SIGKILL while two listeners submit: everything that was answered with "stored" is there afterwards,
    each trial whole, and the same listeners go on where they were."""
    db = tmp_path / "ratings.sqlite"
    accepted: dict[str, int] = {}
    with serving(folder, db) as (address, process):
        codes = [enter(address) for _ in range(2)]
        under_way = threading.Event()

        def listen(code: str) -> None:
            while True:
                try:
                    trial = next_trial(address, code)
                    if trial["done"]:
                        return
                    if ask(address, "/api/ratings", submission(code, trial))[0] == 200:
                        accepted[code] = trial["position"] + 1
                        if trial["position"] >= 2:
                            under_way.set()
                except OSError:
                    return

        threads = [threading.Thread(target=listen, args=(code,)) for code in codes]
        for thread in threads:
            thread.start()
        assert under_way.wait(30)
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert process.returncode == -signal.SIGKILL and accepted
    store = open_store(db)
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT l.code, t.position, count(r.value), t.answered FROM trials t "
            "JOIN listeners l ON l.id = t.listener LEFT JOIN ratings r ON r.trial = t.id "
            "GROUP BY t.id ORDER BY t.position"
        ).fetchall()
    for code in codes:
        mine = [(count, answered) for c, _, count, answered in rows if c == code]
        stored = sum(answered is not None for _, answered in mine)
        # One more than was acknowledged may be there: written, but killed before the answer.
        assert accepted.get(code, 0) <= stored <= accepted.get(code, 0) + 1
        assert all(count == (3 if answered else 0) for count, answered in mine)
    with serving(folder, db) as (address, _):
        for code in codes:
            trial = next_trial(address, code)
            assert trial["done"] or trial["position"] >= accepted.get(code, 0)


def test_ctrl_c_ends_it_and_a_taken_port_is_said(folder, tmp_path):
    with serving(folder, tmp_path / "a.sqlite") as (address, process):
        port = address.rstrip("/").rpartition(":")[2]
        command = [sys.executable, "-m", "edgefoley", "listen", "run", str(folder), "--db",
                   str(tmp_path / "b.sqlite"), "--port", port, "--no-browser"]  # fmt: skip
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert second.returncode == 2 and f"port {port} cannot be used" in second.stderr
        assert not (tmp_path / "b.sqlite").exists()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(address, timeout=5)
