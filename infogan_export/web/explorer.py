"""Serve the explorer: bind, open a browser, load what draws, all side by side."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING

from infogan_export.errors import MissingExtraError, OutputError, UsageError

if TYPE_CHECKING:
    from infogan_export.runtime import Model
    from infogan_export.web.gallery import Gallery

DEFAULT_PORT = 8765


def explore(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    browser: bool = True,
    tell: Callable[[str], object],
) -> None:
    """Serve the explorer until interrupted.

    Args:
        model: the name or path of the model that is shown first.
        host: the address to listen on.
        port: the port; 0 for one that is free.
        browser: open the page in the user's browser.
        tell: called with lines for the user: where the page is, and warnings.

    Raises:
        MissingExtraError: without the ``web`` extra.
        UsageError: no such model, or no such port.
        ModelError: the model is damaged.
        OutputError: the port is taken, or not for this user.
    """
    if not (find_spec("starlette") and find_spec("uvicorn")):
        raise MissingExtraError("the explorer", "web")
    listening = _listen(host, port)
    with listening, ThreadPoolExecutor(1) as pool:
        from infogan_export.web.gallery import Gallery

        gallery = Gallery(model)
        first = pool.submit(gallery.open, gallery.names[0])
        number = listening.getsockname()[1]
        name = "127.0.0.1" if _is_wildcard(host) else _in_url(host)
        url = f"http://{name}:{number}/"
        tell(f"{url}  (Ctrl-C ends it)")
        if not _is_loopback(host):
            tell(
                f"warning: it listens on {host}, so whoever reaches port {number} of "
                f"this machine may use it"
            )
        if browser:
            # The socket listens already, so a browser may come before we answer.
            threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
        _serve(gallery, listening, host, first)
        first.result()  # raises what was wrong with the model


def _serve(
    gallery: Gallery, listening: socket.socket, host: str, first: Future[Model]
) -> None:
    import uvicorn

    from infogan_export.web.server import LOOPBACK, build_app

    names = (*LOOPBACK, _in_url(host))
    app = build_app(gallery, hosts=["*"] if _is_wildcard(host) else names)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )

    def stop_if_failed(loaded: Future[Model]) -> None:
        if loaded.exception() is not None:
            server.should_exit = True

    first.add_done_callback(stop_if_failed)
    server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UsageError(f"a port is from 0 to 65535, got {port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UsageError(f"no address {host!r}: {error.strerror}") from None
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option would share a port in use
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise OutputError(
            f"cannot listen on {host} port {port}: {(error.strerror or '').lower()}; "
            f"--port takes another one, 0 any that is free"
        ) from None
    return listening


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
