"""Measure the explorer: start-up, the time from a drag to its picture, a flood.

    python benchmarks/explorer.py ORT

ORT is the folder dist/ of the npm package onnxruntime-web.  Needs the extras [web]
and [test], and Chromium.  Nothing else should run on the machine.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
from playwright.sync_api import Page, ViewportSize, sync_playwright
from run import ENVIRONMENT, SCRIPT, alternate, duration, row

import infogan_export
from infogan_export.web.site import PAGE, write_site

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic")
DRAGS = 200

# Each drag begins when the one before is painted; the first ones warm up.
DRAG = """async (drags) => {
  const slider = document.querySelector("[type=range]"), times = [];
  const put = CanvasRenderingContext2D.prototype.putImageData;
  let painted;
  CanvasRenderingContext2D.prototype.putImageData = function (...given) {
    put.apply(this, given);
    if (this.canvas.id === "picture") painted?.();
  };
  for (let i = 0; i < drags + 20; i++) {
    const done = new Promise((resolve) => (painted = resolve));
    const began = performance.now();
    slider.value = Math.sin(i);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await done;
    if (i >= 20) times.push(performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return times;
}"""


@contextlib.contextmanager
def explorer() -> Iterator[str]:
    """The address of an explorer that is on its way up."""
    with subprocess.Popen(
        [SCRIPT, "explore", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


def first_picture(latents: bytes) -> float:
    """Seconds from the command to the first image in a client's hands."""
    began = time.perf_counter()
    with explorer() as address:
        httpx.get(address + "models/mnist/card.json", timeout=60)
        httpx.post(address + "models/mnist/draw", content=latents, timeout=60)
        return time.perf_counter() - began


def startup(latents: bytes) -> None:
    ours, bare = alternate(
        lambda: first_picture(latents),
        lambda: duration(sys.executable, "-c", "import onnxruntime"),
        9,
    )
    found = f"{ours / bare:.2f} ({ours:.2f} s / {bare:.2f} s)"
    row(
        "`infogan-gen explore` to the first picture / `import onnxruntime`",
        "<= 4",
        found,
    )


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def opened(address: str, window: ViewportSize | None = None) -> Iterator[Page]:
    """The page in a browser, its pictures drawn."""
    path = shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport=window)
        page.goto(address)
        for picture in ("#stage", "#strip"):
            page.wait_for_selector(f"{picture}[aria-busy=false]")
        yield page
        browser.close()


def drag(address: str, what: str, most: int) -> None:
    with opened(address + "#set.digit=3") as page:
        times = page.evaluate(DRAG, DRAGS)
    middle, late = statistics.median(times), float(np.percentile(times, 95))
    row(
        f"drag to new picture, {what}, 95th percentile",
        f"<= {most} ms",
        f"{late:.0f} ms (median {middle:.0f})",
    )


def flood(address: str, latents: bytes, wanted: bytes) -> None:
    def ask(_: int) -> bool:
        drawn = httpx.post(address + "models/mnist/draw", content=latents, timeout=60)
        return drawn.content == wanted

    with ThreadPoolExecutor(200) as pool:
        right = sum(pool.map(ask, range(200)))
    row("of 200 requests at once, answered rightly", "200", str(right))


def main(ort: Path) -> None:
    model = infogan_export.load("mnist")
    one = model.latents(1)
    print("| what | wanted | found |\n|---|---|---|")
    startup(one.tobytes())
    with explorer() as address:
        drag(address, "drawn by the server", 30)
        flood(address, one.tobytes(), model.draw(one).tobytes())
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        write_site(site, ["mnist"], ort=ort)
        handler = functools.partial(QuietHandler, directory=str(site))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
            threading.Thread(target=files.serve_forever, daemon=True).start()
            drag(f"http://127.0.0.1:{files.server_port}/", "drawn by WebAssembly", 50)
            files.shutdown()
    weight = sum(path.stat().st_size for path in PAGE.iterdir())
    row(
        "the page, without model and onnxruntime", "<= 100 KB", f"{weight / 1e3:.1f} KB"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
