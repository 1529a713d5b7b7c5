"""The page that listeners see: on 127.0.0.1, for one test.

    GET  /                 the page; its script and style beside it
    GET  /api/test         title, method, questions with their scales
    POST /api/listeners    a new listener -> {"code"}
    GET  /api/trial?code=  the next trial, or {"done": true}
    POST /api/ratings      {"code", "position", "ratings": [{"question", "token", "value"}], ...}
    GET  /media/TOKEN      a video, with ranges, so that players can seek

No answer names a system, a clip or a file; a token is drawn at random for every listener, trial and sound.
Only files that the rating file lists are served. Requests must name this host (a page elsewhere that has
its name point here gets nothing), and what is posted must be JSON, which a foreign page cannot send.
Starlette and uvicorn are in the extra ``listen``.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgefoley.errors import UsageError
from edgefoley.listening.definition import ListeningError
from edgefoley.listening.questions import Question
from edgefoley.listening.store import Answer, Store, SubmissionError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST: Final = "127.0.0.1"
LARGEST: Final = 1 << 16  # bytes of a submission
PAGES: Final = {"/": ("listen.html", "text/html"), "/listen.js": ("listen.js", "text/javascript"),
                "/listen.css": ("listen.css", "text/css")}  # fmt: skip
HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; "
     b"media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)  # fmt: skip
_TOLD: Final = (b"last-modified", b"etag", b"content-disposition")  # might tell sounds apart
Message = MutableMapping[str, Any]


class RejectedError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def make_app(store: Store, media: Path) -> Starlette:
    """The application for the test of ``store``, whose videos lie in ``media``."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    def page(request: Request) -> Response:
        name, kind = PAGES[request.url.path]
        return Response((files("edgefoley.listening") / "page" / name).read_bytes(), media_type=kind)

    def test(request: Request) -> Response:
        return JSONResponse(told_test(store))

    def listeners(request: Request) -> Response:
        return JSONResponse({"code": store.add_listener()})

    def trial(request: Request) -> Response:
        return JSONResponse(told_trial(store, request.query_params.get("code", "")))

    def media_file(request: Request) -> Response:
        name = store.file_of(request.path_params["token"])
        path = None if name is None else media / name
        # The name comes from the rating file; it is still kept inside the folder.
        if path is None or path.parent.resolve() != media.resolve() or not path.is_file():
            raise RejectedError(404, "there is no such sound")
        return FileResponse(path, media_type="video/mp4")

    async def ratings(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        values = await _posted(request)
        return JSONResponse({"stored": await run_in_threadpool(take_ratings, store, values)})

    async def posted_listeners(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        await _posted(request)
        return await run_in_threadpool(listeners, request)

    routes = [Route(path, page) for path in PAGES]
    routes += [
        Route("/api/test", test),
        Route("/api/trial", trial),
        Route("/api/listeners", posted_listeners, methods=["POST"]),
        Route("/api/ratings", ratings, methods=["POST"]),
        Route("/media/{token}", media_file),
    ]
    return Starlette(
        routes=routes,
        middleware=[
            Middleware(Quiet),
            Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"]),
        ],
        exception_handlers={ListeningError: _failed, RejectedError: _failed},
    )


def _failed(request: Request, error: Exception) -> Response:
    from starlette.responses import JSONResponse

    if isinstance(error, SubmissionError):
        return JSONResponse({"error": str(error)}, 409 if error.conflict else 400)
    # The rating file does not answer: nothing was stored, and the page says to try again.
    status = error.status if isinstance(error, RejectedError) else 503
    return JSONResponse({"error": str(error)}, status)


class Quiet:
    """ASGI middleware: adds ``HEADERS`` to every answer and takes away what might tell sounds apart."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(
        self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]
    ) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [item for item in message["headers"] if item[0].lower() not in _TOLD]
                message["headers"] = [*kept, *HEADERS]
            await send(message)

        await self.app(scope, receive, tell if scope["type"] == "http" else send)


async def _posted(request: Request) -> dict[str, Any]:
    """The JSON object of a request's body. Raises RejectedError."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RejectedError(415, "JSON is wanted (content-type: application/json)")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise RejectedError(413, "that is too much")
    try:
        values = json.loads(body)
    except ValueError as error:
        raise RejectedError(400, f"this is no JSON: {error}") from error
    if not isinstance(values, dict):
        raise RejectedError(400, "a JSON object is wanted")
    return values


def take_ratings(store: Store, values: dict[str, Any]) -> bool:
    """Store a submission; False when it was there already. Raises SubmissionError."""
    try:
        answers = [
            Answer(str(item["question"]), str(item["token"]), _grade(item["value"]))
            for item in values["ratings"]
        ]
        code, position = str(values["code"]), int(values["position"])
        seconds, plays = float(values.get("seconds", 0)), int(values.get("plays", 0))
    except (KeyError, TypeError, ValueError) as error:
        raise SubmissionError(
            f"the submission lacks something or holds something else: {error!r}."
        ) from error
    return store.submit(store.listener_of(code), position, answers, seconds, plays)


def _grade(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def told_test(store: Store) -> dict[str, Any]:
    """What the page says before the first trial."""
    return {
        "title": store.record["title"],
        "method": store.record["method"],
        "questions": [_told_question(question) for question in store.questions.values()],
    }


def told_trial(store: Store, code: str) -> dict[str, Any]:
    """The next trial as the page gets it: tokens and labels, nothing else. Raises SubmissionError."""
    trial = store.next_trial(store.listener_of(code))
    if trial["position"] is None:
        return {"done": True, "total": trial["total"]}
    labels = labels_of(store.record["method"], len(trial["slots"]))
    return {
        "done": False,
        **{key: trial[key] for key in ("position", "total", "training", "grade")},
        "slots": [{**slot, "label": label} for slot, label in zip(trial["slots"], labels, strict=True)],
    }


def labels_of(method: str, count: int) -> list[str]:
    """What the sounds of a trial are called on the page."""
    if method == "acr":
        return ["Clip"]
    if method == "dcr":
        return ["Reference", "Second"]
    if method == "ccr":
        return ["First", "Second"]
    return ["Reference", *(chr(ord("A") + i) for i in range(count - 1))]


def _told_question(question: Question) -> dict[str, Any]:
    scale = question.scale
    return {"key": question.key, "text": question.text, "low": scale.low, "high": scale.high,
            "labels": list(scale.labels), "steps": scale.steps}  # fmt: skip


def bound(port: int) -> socket.socket:
    """A listening place on this host. ``port`` 0: a free one. Raises UsageError when the port is taken."""
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind((HOST, port))
    except OSError as error:
        place.close()
        raise UsageError(
            f"port {port} cannot be used ({error.strerror}); take another with --port."
        ) from error
    return place


def serve(store: Store, media: Path, place: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve at ``place`` until Ctrl-C or SIGTERM. ``ready`` hears the address once it answers."""
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready(f"http://{HOST}:{place.getsockname()[1]}/")

    config = uvicorn.Config(
        make_app(store, media), log_level="warning", access_log=False, server_header=False,
        date_header=False, lifespan="off", timeout_graceful_shutdown=2,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # the way to end a test
        Server(config).run(sockets=[place])
