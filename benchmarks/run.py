"""Measure the figures in the README's table, in one run.

    python benchmarks/run.py [ROW ...]

Rows: startup, throughput, memory, training, install (downloads torch).  Needs the
[train] extra.  Everything is a ratio taken in this run, alternating between the
two sides, with the median of several; nothing else should run on the machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = str(Path(sys.executable).with_name("infogan-gen"))

PAUSE = 0.3  # seconds: threads wait busily for more work, and slow what comes next
STEP, BATCH = "--step", 128  # of training

BARE = """
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession({model!r}, providers=["CPUExecutionProvider"])
noise = np.random.default_rng(0).uniform(-1, 1, (100, 62)).astype(np.float32)
code = np.tile(np.eye(10, 12, dtype=np.float32), (10, 1))
image = session.run(None, {{"noise": noise, "code": code}})[0]
cells = (image.reshape(10, 10, 28, 28) * 255).round().astype(np.uint8)
Image.fromarray(cells.transpose(0, 2, 1, 3).reshape(280, 280)).save({out!r})
"""

PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""

# As a user has it: without this, Python compiles a source tree every time.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def row(what: str, wanted: str, found: str) -> None:
    print(f"| {what} | {wanted} | {found} |", flush=True)


def alternate(
    a: Callable[[], float], b: Callable[[], float], runs: int
) -> tuple[float, float]:
    """The medians of two measurements taken in turn, after one of each unseen."""

    def settled(measure: Callable[[], float]) -> float:
        time.sleep(PAUSE)
        return measure()

    a(), b()
    pairs = [(settled(a), settled(b)) for _ in range(runs)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def duration(*command: str) -> float:
    """How long a whole process takes."""
    began = time.perf_counter()
    subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)
    return time.perf_counter() - began


def megabytes(*command: str) -> float:
    """The peak memory of a whole process."""
    # Linux counts what the parent held as well, so the parent is a small one.
    small = (sys.executable, "-c", PEAK, *command)
    done = subprocess.run(small, env=ENVIRONMENT, capture_output=True, check=True)
    return int(done.stdout) / 1024


def startup() -> None:
    from infogan_export import catalog

    with tempfile.TemporaryDirectory() as folder:
        generator = str(catalog.find("mnist").generator)
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE.format(model=generator, out=f"{folder}/b.png"))
        grid = (SCRIPT, "grid", "--model", "mnist", "--vary", "cat")
        ours, other = alternate(
            lambda: duration(*grid, "-o", f"{folder}/a.png"),
            lambda: duration(sys.executable, str(bare)),
            15,
        )
    row(
        "`infogan-gen grid` / a bare onnxruntime script",
        "<= 1.4",
        f"{ours / other:.2f} ({ours:.2f} s / {other:.2f} s)",
    )
    ours, other = alternate(
        lambda: duration(SCRIPT, "--help"),
        lambda: duration(sys.executable, "-c", "import typer"),
        15,
    )
    row(
        "`infogan-gen --help` / `import typer`",
        "<= 2",
        f"{ours / other:.2f} ({ours:.2f} s / {other:.2f} s)",
    )


def throughput() -> None:
    for name, batches in (("mnist", (1, 64, 512)), ("faces", (1, 64))):
        for batch in batches:
            against_torch(name, batch)


def against_torch(name: str, batch: int) -> None:
    import torch

    import infogan_export
    from infogan_export.training.config import preset
    from infogan_export.training.networks import Generator

    model = infogan_export.load(name)
    architecture = preset(name).architecture
    network = Generator(model.spec, model.image_shape, architecture).eval()
    latents = model.spec.sample(batch)
    tensor = torch.from_numpy(latents)
    repeats = max(1, 1024 // batch)

    def ours() -> float:
        began = time.perf_counter()
        for _ in range(repeats):
            model.draw(latents)
        return time.perf_counter() - began

    def torch_eager() -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            for _ in range(repeats):
                network(tensor).mul(255).round().to(torch.uint8).numpy()
        return time.perf_counter() - began

    a, b = alternate(ours, torch_eager, 9)
    images = batch * repeats
    row(
        f"images/s of {name} at batch {batch}, runtime / torch eager",
        ">= 1",
        f"{b / a:.2f} ({images / a:,.0f} / {images / b:,.0f})",
    )


def memory() -> None:
    with tempfile.TemporaryDirectory() as folder:

        def peak(count: int) -> float:
            out = f"{folder}/{count}.npy"
            command = (SCRIPT, "sample", "--count", str(count), "-o", out)
            return megabytes(*command)

        many, few = alternate(lambda: peak(100_000), lambda: peak(2_000), 3)
    row(
        "peak memory of `sample` to .npy, 100,000 / 2,000 images",
        "<= 1.2",
        f"{many / few:.2f} ({many:.0f} MB / {few:.0f} MB)",
    )


def training() -> None:
    from infogan_export.training.engine import bf16_is_fast

    def seconds(way: str) -> float:  # each in a process of its own, as users have it
        command = [sys.executable, __file__, STEP, way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    a, b = alternate(lambda: seconds("tuned"), lambda: seconds("plain"), 5)
    row(
        "training images/s / eager fp32, no fused Adam",
        ">= 1.8 where bf16 is fast",
        f"{b / a:.2f} ({BATCH / a:.0f} / {BATCH / b:.0f}); "
        f"bf16 is {'' if bf16_is_fast() else 'not '}fast here",
    )


def step_seconds(way: str) -> float:
    """The median time of a training step: ``tuned``, as in ``train``, or ``plain``."""
    import torch
    from lightning_fabric import Fabric

    from infogan_export.training.config import preset
    from infogan_export.training.engine import build_fabric
    from infogan_export.training.state import build_state
    from infogan_export.training.step import training_step

    config = preset("mnist")
    tuned = way == "tuned"
    fabric = build_fabric() if tuned else Fabric(precision="32-true")
    state = build_state(config, (1, 28, 28), fabric)
    if not tuned:
        for network in (state.G, state.D):
            network.to(memory_format=torch.contiguous_format)
        for optimizer in (state.G_optimizer, state.D_optimizer):
            for group in optimizer.param_groups:
                group["fused"] = False
    layout = torch.channels_last if tuned else torch.contiguous_format
    x = torch.rand(BATCH, 1, 28, 28).contiguous(memory_format=layout)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        training_step(x, state, config)
        times.append(time.perf_counter() - began)
    return statistics.median(times[5:])


def install() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "wheel",
                "-q",
                "--no-deps",
                "-w",
                folder,
                ".",
            ],
            cwd=ROOT,
            check=True,
        )
        wheel = next(Path(folder).glob("*.whl"))
        row("wheel", "<= 50 MB", f"{wheel.stat().st_size / 1e6:.1f} MB")
        base = installed_size(Path(folder) / "base", str(wheel))
        whole = installed_size(Path(folder) / "whole", str(wheel), "torch")
        row("base install, with all dependencies", "<= 250 MB", f"{base / 1e6:.1f} MB")
        row("the same with torch", "", f"{whole / 1e6:,.0f} MB")


def installed_size(folder: Path, *requirements: str) -> int:
    """Bytes that packages take in a new environment, pip itself left out."""
    venv.create(folder, with_pip=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    before = size_of(packages)
    pip = [str(folder / "bin/pip"), "install", "-q", "-c", "constraints.txt"]
    subprocess.run([*pip, *requirements], cwd=ROOT, check=True)
    return size_of(packages) - before


def size_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


ROWS = {
    "startup": startup,
    "throughput": throughput,
    "memory": memory,
    "training": training,
    "install": install,
}

if __name__ == "__main__":
    if sys.argv[1:2] == [STEP]:
        print(step_seconds(sys.argv[2]))
        raise SystemExit
    print("| what | wanted | found |\n|---|---|---|")
    for name in sys.argv[1:] or ROWS:
        ROWS[name]()
