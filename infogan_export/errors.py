"""Every error that this package raises on purpose.

The library raises these and never prints or exits; the command line turns
each into one line on stderr and an exit code.  A message names the thing, the
value received and what would have worked.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InfoganError(Exception):
    """Base of the errors that this package raises on purpose."""


class UsageError(InfoganError, ValueError):
    """The request itself is wrong: an unknown name, a value out of range."""


class CodeError(UsageError):
    """A latent code, or a value for one, that the model does not have."""


class DataError(InfoganError):
    """Images or labels that cannot be read as training or evaluation data."""


class ModelError(InfoganError):
    """A model file that is missing, damaged, foreign or from the future."""


class ProviderError(InfoganError):
    """An onnxruntime execution provider that this installation lacks."""


class OutputError(InfoganError):
    """A file that could not be written."""


class TrainingError(InfoganError):
    """A training run that cannot start, resume or go on."""


class ExportError(InfoganError):
    """An exported graph that does not agree with the network it came from."""


class MissingExtraError(InfoganError):
    """An optional dependency that is not installed."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs an extra: pip install 'infogan-export[{extra}]'"
        )


def first_line(error: Exception) -> str:
    """What an error of another library says, in one line; its kind if nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def unknown(kind: str, name: str, known: Iterable[str], owner: str = "") -> str:
    """One line for a failed look-up: the name, the nearest match, what exists."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    where = owner or "there"
    have = ", ".join(names) if names else "none"
    verb = "has" if owner else "are"
    return f"no {kind} {name!r}{hint}; {where} {verb} {have}"
