"""``infogan-gen models``."""

from __future__ import annotations

from .options import AsJson
from .output import print_json


def models(as_json: AsJson = False) -> None:
    """List the models that have a name: embedded ones, then your own.

    Your own are the folders in the folder that INFOGAN_EXPORT_MODELS names.

    Example: infogan-gen models
    """
    from infogan_export.cards import list_models

    rows = list_models()
    if as_json:
        print_json(rows)
        return
    from .tables import print_models

    print_models(rows)
