"""Headless Chromium for tests, driven over its debugging pipe: no package is needed besides the browser."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
KEYS = {"Enter": (13, "Enter", "\r"), " ": (32, "Space", " "), "Tab": (9, "Tab", ""),
        "ArrowRight": (39, "ArrowRight", ""), "ArrowLeft": (37, "ArrowLeft", "")}  # fmt: skip


def browser() -> str | None:
    """The browser's path, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. ``console``: what scripts said and threw."""

    def __init__(self, process: subprocess.Popen[bytes], write: int, read: int) -> None:
        self.process, self._write, self._read = process, write, read
        self._number, self._buffer = 0, b""
        self.console: list[str] = []
        target = self._ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, to this tab."""
        return self._ask(method, values, self._session)

    def _ask(self, method: str, values: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            answer = self._message(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)
        raise TimeoutError(method)

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._read, 1 << 20) if ready else b""
            if not piece:
                raise TimeoutError("the browser does not answer")
            self._buffer += piece
        first, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(first)

    def _note(self, message: dict[str, Any]) -> None:
        values = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.console.append(json.dumps(values["exceptionDetails"])[:500])
        elif message.get("method") == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.console.append(values["entry"]["text"])

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True,
                          userGesture=True)  # fmt: skip
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> None:
        """Until an expression is true."""
        deadline = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{script}; console: {self.console}")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """A key down and up, as from a keyboard."""
        if key in KEYS:
            code, name, text = KEYS[key]
        else:
            code, name, text = ord(key.upper()), f"{'Digit' if key.isdigit() else 'Key'}{key.upper()}", key
        values = {"key": key, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def picture(self, path: Path, width: int = 1000, height: int = 760, form: str = "png") -> None:
        """A screenshot into ``path``."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=False)  # fmt: skip
        more = {"quality": 80} if form == "jpeg" else {}
        data = self.call("Page.captureScreenshot", format=form, **more)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def open_page(profile: Path) -> Iterator[Page]:
    """A browser with an empty profile in the folder ``profile``, ended with the block."""
    path = browser()
    assert path is not None
    there, mine = os.pipe(), os.pipe()
    command = [
        path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--mute-audio", "--disable-background-networking", "--disable-component-update",
        "--autoplay-policy=user-gesture-required", f"--user-data-dir={profile}", "--remote-debugging-pipe",
    ]  # fmt: skip

    def wire() -> None:  # Chromium reads from 3 and writes to 4
        saved = os.dup(there[0]), os.dup(mine[1])
        os.dup2(saved[0], 3)
        os.dup2(saved[1], 4)
        os.set_inheritable(3, True)
        os.set_inheritable(4, True)

    process = subprocess.Popen(command, preexec_fn=wire, close_fds=False,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    os.close(there[0])
    os.close(mine[1])
    try:
        yield Page(process, there[1], mine[0])
    finally:
        process.kill()
        process.wait()
        os.close(there[1])
        os.close(mine[0])
