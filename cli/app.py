"""The commands, and the one place where an error becomes a line and a code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Annotated

import typer

from infogan_export.errors import InfoganError, UsageError

from .options import join_ranges
from .output import tell

COMMANDS = (
    "grid",
    "gif",
    "sample",
    "arithmetic",
    "models",
    "info",
    "check",
    "recognize",
    "reconstruct",
    "edit",
    "morph",
    "explore",
    "web",
    "train",
    "export",
    "evaluate",
    "train-judge",
)
USAGE, FAILURE, INTERRUPTED = 2, 1, 130


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"infogan-gen {version('infogan-export')}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_print_version,
            is_eager=True,
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="On failure, show the traceback; anywhere."),
    ] = False,
) -> None:
    """Draw with pretrained InfoGAN generators: every latent code is a knob."""


def build_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands: each is a function in its own module."""
    app = typer.Typer(
        rich_markup_mode=None,  # rich would take twice the time of all the rest
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        callback=root,
    )
    for name in names:
        function = name.replace("-", "_")
        module = import_module(f".{function}", __package__)
        app.command()(getattr(module, function))
    return app


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code: 0, 1 for failure, 2 for usage."""
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    arguments = join_ranges(a for a in given if a != "--debug") or ["--help"]
    # Building every command would be felt at each start.
    names = arguments[:1] if arguments[0] in COMMANDS else COMMANDS
    try:
        app = build_app(names)
        result = app(arguments, prog_name="infogan-gen", standalone_mode=False)
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
        if code == INTERRUPTED:  # the parser catches Ctrl-C itself
            _fail("interrupted", code)
    except BrokenPipeError:
        # The reader of stdout left.  Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILURE
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("interrupted", INTERRUPTED)
    except Exception as error:
        if debug:
            raise
        code = _explain(error)
    sys.exit(code)


def _explain(error: Exception) -> int:
    if isinstance(error, InfoganError):
        return _fail(str(error), USAGE if isinstance(error, UsageError) else FAILURE)
    usage = getattr(error, "format_message", None)  # the parser's own errors
    if usage is not None:
        return _fail(usage(), USAGE)
    return _fail(
        f"unexpected {type(error).__name__}: {error} (--debug shows where)", FAILURE
    )


def _fail(message: str, code: int) -> int:
    tell(f"infogan-gen: {' '.join(message.split())}")
    return code
