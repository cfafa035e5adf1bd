"""Check what a wheel and an sdist hold: everything needed, and nothing else.

python tests/check_dist.py dist/*
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

MODELS = ("mnist", "mnist-gan", "faces")
WHEEL_LIMIT = 50e6  # bytes
NEEDED = (
    "infogan_export/__init__.py",
    "infogan_export/py.typed",
    "infogan_export/cli/app.py",
    "infogan_export/runtime.py",
    "infogan_export/training/loop.py",
    "infogan_export/web/page/index.html",
    "infogan_export/web/page/infogan.js",
    "infogan_export/pretrained/__init__.py",
    "infogan_export/pretrained/manifest.json",
    *(
        f"infogan_export/pretrained/{model}/{file}"
        for model in MODELS
        for file in ("generator.onnx", "recognition.onnx", "golden.png")
    ),
)
SOURCE_ONLY = (
    "cli/app.py",
    "pretrained/manifest.json",
    "tests/conftest.py",
    "constraints.txt",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


def check_wheel(path: Path) -> list[str]:
    names = zipfile.ZipFile(path).namelist()
    faults = [f"{path.name} lacks {name}" for name in NEEDED if name not in names]
    tops = {name.split("/")[0] for name in names}
    tops = {top for top in tops if not top.endswith(".dist-info")}
    if tops != {"infogan_export"}:
        faults.append(f"{path.name} also installs {sorted(tops - {'infogan_export'})}")
    if path.stat().st_size > WHEEL_LIMIT:
        faults.append(f"{path.name} has {path.stat().st_size / 1e6:.1f} MB")
    return faults


def check_sdist(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    faults = [f"{path.name} lacks {name}" for name in SOURCE_ONLY if name not in names]
    strays = [n for n in names if n.startswith("runs/") or n.endswith((".pt", ".pyc"))]
    return faults + [f"{path.name} holds {stray}" for stray in strays]


def main(paths: list[str]) -> int:
    found = [Path(path) for path in paths]
    wheels = [path for path in found if path.suffix == ".whl"]
    sdists = [path for path in found if path.name.endswith(".tar.gz")]
    faults = [] if wheels and sdists else ["give one wheel and one sdist"]
    faults += [fault for wheel in wheels for fault in check_wheel(wheel)]
    faults += [fault for sdist in sdists for fault in check_sdist(sdist)]
    for path in found:
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
