"""A small server on this machine with the hub's paths, /OWNER/REPO/resolve/REVISION/NAME, that can fail on
demand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from edgefoley.hub import Licence, SourceFile

FREE = Licence("Free Licence 1.0", "https://licences.example/free", ("Do what you like.",))
STRICT = Licence(
    "Strict Licence 2.0",
    "https://licences.example/strict",
    ("Only with care.",),
    excluded=("Atlantis", "Lemuria"),
    ask=True,
)


@dataclass
class Hub:
    """``files``: path -> content. ``cut``: bytes after which the next answer breaks off, once; ``status``:
    answer everything with it; ``redirect``: send the client to /store first, as the hub does. ``log``: (path,
    bytes from, Authorization) of every request for content."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None
    status: int | None = None
    status_after_cut: int | None = None
    redirect: bool = True
    log: list[tuple[str, int, str | None]] = field(default_factory=list)

    def add(
        self, path: str, content: bytes, licence: Licence = FREE, sha256: str | None = None
    ) -> SourceFile:
        """Publish ``content``; the description of it, by default with the right sha256."""
        name = path.rpartition("/")[2]
        self.files[f"/owner/repo/resolve/rev1/{name}"] = content
        digest = hashlib.sha256(content).hexdigest() if sha256 is None else sha256
        return SourceFile(path, "owner/repo", "rev1", name, len(content), digest, licence, f"use of {name}")


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if hub.redirect and not self.path.startswith("/store"):
                self.send_response(302)
                self.send_header("Location", f"{hub.url}/store{self.path}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path = self.path.removeprefix("/store").partition("?")[0]
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            start = int(match[1]) if match else 0
            hub.log.append((path, start, self.headers.get("Authorization")))
            content = hub.files.get(path)
            if hub.status is not None or content is None:
                self.send_response(hub.status or 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if match else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if match:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if hub.cut is not None:
                self.wfile.write(content[start : start + hub.cut])
                self.wfile.flush()
                hub.cut, hub.status = None, hub.status_after_cut
                self.connection.shutdown(2)
                self.close_connection = True
                return
            self.wfile.write(content[start:])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serve() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
