"""``infogan-gen explore``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import ModelName


def explore(
    model: ModelName = "mnist",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes one that is free.")
    ] = 8765,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; others than this machine's are open."),
    ] = "127.0.0.1",
    no_browser: Annotated[
        bool,
        typer.Option("--no-browser", help="Only print the address, open no browser."),
    ] = False,
) -> None:
    """Turn a model's knobs in the browser: a page drawn by this machine.

    Needs the extra `web`.  Only this machine reaches the page, unless --host says
    otherwise.

    Example: infogan-gen explore --model mnist
    """
    import contextlib
    import sys

    from infogan_export.web.explorer import explore as serve

    def tell(line: str) -> None:
        warns = line.startswith("warning")
        print(line, file=sys.stderr if warns else sys.stdout, flush=True)

    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
        serve(model, host=host, port=port, browser=not no_browser, tell=tell)
