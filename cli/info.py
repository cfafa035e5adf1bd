"""``infogan-gen info``."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import AsJson
from .output import print_json


def info(
    target: Annotated[
        str,
        typer.Argument(
            help="A model's name or path, or a file that infogan-gen made.",
            metavar="MODEL|FILE",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Tell what a model is, or how a file was made.

    A file's record holds the command that makes the same bytes again.

    Example: infogan-gen info grid.png
    """
    from infogan_export.cards import file_card, is_output, model_card

    of_file = is_output(target)
    card = file_card(target) if of_file else model_card(target)
    if as_json:
        print_json(card)
        return
    from .tables import print_file, print_model

    (print_file if of_file else print_model)(card)
