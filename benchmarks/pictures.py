"""Draw the README's pictures anew: by its own commands, its plot, its screenshot.

    python benchmarks/pictures.py [MODEL ...]

Of all models, or of those named: every command in the README that writes into docs/;
for mnist also L_I over training, from the logs in docs/runs/, and the explorer.  Needs
the [train], [web] and [test] extras, and Chromium.
"""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys

from explorer import explorer, opened
from playwright.sync_api import ViewportSize
from run import ROOT, SCRIPT

import infogan_export
from infogan_export.catalog import DEFAULT_MODEL, installed
from infogan_export.training.config import preset
from infogan_export.training.runlog import plot_mutual_information

DOCS = ROOT / "docs"
COMMAND = re.compile(r"`(?:infogan-gen )?((?:grid|gif|edit|sample|arithmetic)[^`\n]*)`")
SHOWN = "#model=mnist&seed=1&along=thickness&set.digit=3&set.slant=0.4&set.thickness=0"
WINDOW = ViewportSize(width=1280, height=860)


def commands(readme: str) -> list[list[str]]:
    """The arguments of those that write into docs/; CODE stands for each code."""
    found = dict.fromkeys(c for c in COMMAND.findall(readme) if "-o docs/" in c)
    return [
        shlex.split(command.replace("CODE", code))
        for command in found
        for code in (codes_of(command) if "CODE" in command else [""])
    ]


def codes_of(command: str) -> list[str]:
    spec = infogan_export.load(model_of(shlex.split(command))).spec
    return [code.name for code in spec.uniform]


def model_of(arguments: list[str]) -> str:
    if "--model" not in arguments:
        return DEFAULT_MODEL
    return arguments[arguments.index("--model") + 1]


def plot() -> None:
    runs = {}
    for name in ("mnist", "mnist-gan"):
        with (DOCS / f"runs/{name}.csv").open(newline="") as log:
            runs[name] = list(csv.DictReader(log))
    picture = DOCS / "mutual_information.png"
    plot_mutual_information(runs, preset("mnist").spec, picture)


def photograph() -> None:
    """The explorer in a window."""
    with explorer() as address, opened(address + SHOWN, WINDOW) as page:
        page.screenshot(path=DOCS / "explore.png", animations="disabled")


def main() -> None:
    wanted = sys.argv[1:] or [model.name for model in installed()]
    for arguments in commands((ROOT / "README.md").read_text()):
        if model_of(arguments) in wanted:
            print(shlex.join(["infogan-gen", *arguments]), flush=True)
            subprocess.run([SCRIPT, *arguments], cwd=ROOT, check=True)
    if "mnist" in wanted:
        plot()
        photograph()


if __name__ == "__main__":
    main()
