"""The explorer's server: the page, and a model that draws for it.

It listens on the loopback address and trusts no request: names it does not
answer to, other sites' pages, bodies without end and images by the million are
refused.  Latents come in as float32 and images go out as uint8, so there is
nothing to parse and nothing to unpack.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infogan_export.errors import InfoganError, UsageError
from infogan_export.limits import readable
from infogan_export.runtime import Model
from infogan_export.web import PAGE
from infogan_export.web.cards import page_card
from infogan_export.web.gallery import Gallery

MAX_BODY = 10_000_000  # bytes
MAX_IMAGES = 1024  # in one request
_AT_ONCE = 2  # models that draw; each may use all cores
_BODIES_AT_ONCE = 8  # requests held in memory; the others wait, unread
_PATIENCE = 20.0  # seconds for a body to arrive
_BYTES = "application/octet-stream"

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; "
    "worker-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


def build_app(gallery: Gallery, *, hosts: Sequence[str] = LOOPBACK) -> ASGIApp:
    """The application.

    Args:
        gallery: the models that it draws with.
        hosts: the names that requests may address it by.
    """
    mimetypes.add_type("text/javascript", ".js")  # not so in every registry
    desk = _Desk(gallery)
    routes = [
        Route("/models.json", desk.models),
        Route("/models/{name}/card.json", desk.card),
        Route("/models/{name}/draw", desk.draw, methods=["POST"]),
        Route("/models/{name}/recognize", desk.recognize, methods=["POST"]),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    # Outermost first: whoever calls us by another name learns nothing.
    middleware = [
        Middleware(
            TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False
        ),
        Middleware(_OwnPagesOnly),
        Middleware(_WithHeaders),
    ]
    return Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={InfoganError: _refused},
    )


class _Desk:
    """Takes requests in, a bounded number at a time, and has models answer them."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._drawing = anyio.CapacityLimiter(_AT_ONCE)
        self._reading = anyio.Semaphore(_BODIES_AT_ONCE)

    async def models(self, request: Request) -> Response:
        return _json({"drawing": "server", "models": self._gallery.names})

    async def card(self, request: Request) -> Response:
        name = self._name(request)
        model = await self._run(self._gallery.open, name)
        recognizes = self._gallery.recognizes(name)
        return _json({**page_card(model, recognizes=recognizes), "name": name})

    async def draw(self, request: Request) -> Response:
        """Latents, float32 little-endian (n, dim), to images, uint8."""
        return await self._answer(request, _draw)

    async def recognize(self, request: Request) -> Response:
        """One image, uint8 (height, width, channels), to what Q reads in it."""
        return await self._answer(request, _recognize)

    async def _answer(
        self, request: Request, work: Callable[[Model, bytes], Response]
    ) -> Response:
        name = self._name(request)
        async with self._reading:
            body = await _body(request)
            answer: Response = await self._run(
                lambda: work(self._gallery.open(name), body)
            )
        return answer

    def _name(self, request: Request) -> str:
        name: str = request.path_params["name"]
        if name not in self._gallery.names:
            raise HTTPException(404, f"no model {name[:80]!r} here")
        return name

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        # Threads of its own: the page's files are read while models draw.
        return await anyio.to_thread.run_sync(
            function, *arguments, limiter=self._drawing
        )


def _draw(model: Model, body: bytes) -> Response:
    dim = model.spec.dim
    if not body or len(body) % (4 * dim):
        raise UsageError(
            f"latents of {model.name!r} are rows of {dim} float32, {4 * dim} bytes "
            f"each, got {len(body):,} bytes"
        )
    latents = np.frombuffer(body, "<f4").reshape(-1, dim)
    if len(latents) > MAX_IMAGES:
        raise HTTPException(
            413, f"at most {MAX_IMAGES} images at once, got {len(latents):,}"
        )
    return Response(model.draw(latents).tobytes(), media_type=_BYTES)


def _recognize(model: Model, body: bytes) -> Response:
    from infogan_export.readings import to_rows

    channels, height, width = model.image_shape
    if len(body) != channels * height * width:
        raise UsageError(
            f"{model.name!r} reads the {channels * height * width} bytes of an image "
            f"of {width} x {height} with {channels} channel(s), got {len(body):,}"
        )
    colour = () if channels == 1 else (channels,)
    image = np.frombuffer(body, np.uint8).reshape(1, height, width, *colour)
    return _json(to_rows(model.recognize(image), [""])[0])


async def _body(request: Request) -> bytes:
    """The body, unless it is too long or does not come."""
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > MAX_BODY:
        raise _too_long()
    body = bytearray()
    try:
        with anyio.fail_after(_PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise _too_long()
    except ClientDisconnect:  # nobody is there to read this
        raise HTTPException(400, "the body was broken off") from None
    except TimeoutError:
        raise HTTPException(408, "the body did not arrive in time") from None
    return bytes(body)


def _too_long() -> HTTPException:
    return HTTPException(
        413,
        f"a body has at most {readable(MAX_BODY)}",
        headers={"connection": "close"},
    )


def _json(value: object) -> Response:
    text = json.dumps(value, allow_nan=False)
    return Response(text, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    status = 400 if isinstance(error, UsageError) else 500
    return PlainTextResponse(str(error), status)


class _OwnPagesOnly:
    """Refuses requests that another site's page makes.

    A page of ours sends its own address as ``Origin``, if any; a link that is
    followed from elsewhere is a navigation, and shows nothing to the other site.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and _is_foreign(Headers(scope=scope), scope):
            app = PlainTextResponse("this is for the explorer's own page", 403)
        await app(scope, receive, send)


def _is_foreign(headers: Headers, scope: Scope) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin != f"{scope['scheme']}://{headers.get('host')}":
        return True
    followed = (
        scope["method"] == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    site = headers.get("sec-fetch-site", "none")
    return site not in ("same-origin", "none") and not followed


class _WithHeaders:
    """Adds what tells a browser how little the page may do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
