"""The wall: who may import whom, each tried in a process of its own."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import infogan_export

TRAINING = ("torch", "onnx", "onnxscript", "lightning_fabric", "tensorboard", "pooch")
WEB = ("starlette", "uvicorn", "anyio")
OPTIONAL = (*TRAINING, *WEB, "scipy", "sklearn", "matplotlib", "imageio_ffmpeg")
# These need [train] or [web]; everything else works in a base installation.
BEHIND_THE_WALL = (
    "infogan_export.training",
    "infogan_export.export",
    "infogan_export.evaluation.train_judge",
    "infogan_export.web.server",
)


def folders() -> dict[str, Path]:
    """Where the package and its mapped parts are: in a checkout, or installed."""
    names = ("infogan_export", "infogan_export.cli", "infogan_export.pretrained")
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        found[name] = Path(spec.origin).parent
    return found


def base_modules() -> list[str]:
    found = set()
    for package, folder in folders().items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found.add(".".join([package, *(p for p in parts if p != "__init__")]))
    return sorted(name for name in found if not name.startswith(BEHIND_THE_WALL))


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_modules_of_the_base_import_without_the_extras():
    base = base_modules()
    assert {"infogan_export.runtime", "infogan_export.cli.app"} <= set(base)
    run(
        f"import sys\nfor name in {OPTIONAL}: sys.modules[name] = None\n"
        f"from importlib import import_module\n"
        f"for name in {base}: import_module(name)"
    )


def test_no_module_of_the_base_loads_an_extra_that_is_there():
    names = run(
        f"import sys\nfrom importlib import import_module\n"
        f"for name in {base_modules()}: import_module(name)\n"
        f"print(*(name for name in {OPTIONAL} if name in sys.modules))"
    )
    assert names.split() == []


def test_the_package_and_the_command_line_start_light():
    heavy = ("numpy", "onnxruntime", "PIL", "imageio", *OPTIONAL)
    for name in ("infogan_export", "infogan_export.errors", "infogan_export.cli.app"):
        program = (
            f"import sys, {name}\nprint(*(m for m in {heavy} if m in sys.modules))"
        )
        assert run(program).split() == [], name


def test_the_runtime_draws_without_the_extras(tiny):
    run(
        f"import sys\nfor name in {OPTIONAL}: sys.modules[name] = None\n"
        f"import infogan_export\nmodel = infogan_export.load({str(tiny)!r})\n"
        f"assert model.recognize(model.sample(2, cat=1))['cat'].category.tolist() == "
        f"[1, 1]"
    )


def test_all_names_are_the_public_names_and_each_resolves():
    homes = [name for names in infogan_export._HOMES.values() for name in names]
    assert sorted(homes) == sorted(infogan_export.__all__) == dir(infogan_export)
    for name in infogan_export.__all__:
        value = getattr(infogan_export, name)
        assert value.__name__ == name
        assert value.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = infogan_export.nothing


def test_the_names_that_type_checkers_see_are_the_same():
    assert infogan_export.__file__ is not None
    tree = ast.parse(Path(infogan_export.__file__).read_text("utf-8"))
    seen = {
        alias.name: (node.module or "").removeprefix("infogan_export.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("infog")
        for alias in node.names
    }
    assert seen == infogan_export._HOME_OF
