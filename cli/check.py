"""``infogan-gen check``."""

from __future__ import annotations

from typing import Annotated

import typer

from infogan_export.errors import ModelError


def check(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models by name or path.",
            show_default="all that are installed",
            metavar="MODEL",
        ),
    ] = None,
) -> None:
    """Verify models: SHA-256, and a golden image drawn again.

    Works offline; the exit code is 1 when a model fails.

    Example: infogan-gen check
    """
    from infogan_export.catalog import find, installed
    from infogan_export.checks import check_model

    from .tables import print_check

    found = [find(model) for model in models] if models else installed()
    if not found:
        raise ModelError("no model is installed, so there is nothing to check")
    checks = [check_model(files) for files in found]
    for each in checks:
        print_check(each)
    if any(each.problem for each in checks):
        raise typer.Exit(1)
