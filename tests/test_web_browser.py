"""The page in a real browser, drawn by the server and by WebAssembly alone."""

from __future__ import annotations

import functools
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

import infogan_export
from infogan_export.web.site import write_site

README = Path(__file__).parent.parent / "README.md"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
PATIENCE = 30_000  # ms; a model takes seconds to open where all cores are busy
SERVER, WASM = "server", "wasm"
WAYS = (SERVER, WASM)


@pytest.fixture(scope="module")
def chromium(require) -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    require(path, "Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory, ort_web: Path, tiny: Path, colour: Path) -> Path:
    out: Path = tmp_path_factory.mktemp("site") / "site"
    models = ["mnist", "mnist-gan", "faces", str(tiny.parent), str(colour.parent)]
    write_site(out, models, ort=ort_web)
    return out


@pytest.fixture(scope="module")
def addresses(site: Path, tmp_path_factory, tiny: Path, colour: Path) -> Iterator[Any]:
    """Where the page is, by the way it draws; the site by a plain file server."""
    models = tmp_path_factory.mktemp("models")
    for path in (tiny, colour):
        shutil.copytree(path.parent, models / path.parent.name)
    explore = "from infogan_export.cli import main; main()"
    command = [sys.executable, "-c", explore, "explore", "--no-browser", "--port", "0"]
    with (
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={"INFOGAN_EXPORT_MODELS": str(models), "PATH": ""},
        ) as explorer,
        ThreadingHTTPServer(("127.0.0.1", 0), _Quiet.serving(site)) as files,
    ):
        assert explorer.stdout is not None
        threading.Thread(target=files.serve_forever, daemon=True).start()
        yield {
            SERVER: explorer.stdout.readline().split()[0],
            WASM: f"http://127.0.0.1:{files.server_port}/",
        }
        files.shutdown()
        explorer.terminate()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    @classmethod
    def serving(cls, folder: Path) -> Any:
        return functools.partial(cls, directory=str(folder))


class Shown:
    """The page under test, and what it complained of."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and self.complaints.append(said.text),
        )
        page.route(
            lambda url: not url.startswith((address, "data:", "blob:")),
            lambda route: (self.complaints.append(route.request.url), route.abort()),
        )

    def open(self, state: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(self.address + state)
        self.settled()

    def settled(self) -> None:
        """Wait until both pictures are drawn and the address says so."""
        for frame in ("#stage", "#strip"):
            expect(self.page.locator(frame)).to_have_attribute(
                "aria-busy", "false", timeout=PATIENCE
            )
        self.page.wait_for_timeout(400)

    def pixels(self) -> np.ndarray[Any, Any]:
        """What is on the stage: (height, width, 4)."""
        data, width = self.page.evaluate(
            "() => { const c = document.getElementById('picture');"
            "return [[...c.getContext('2d').getImageData(0, 0, c.width, c.height)"
            ".data], c.width]; }"
        )
        return np.array(data, np.uint8).reshape(-1, width, 4)

    def read(self) -> dict[str, str]:
        """The codes that the page reads in its own picture."""
        self.page.click("#read-own")
        self.page.wait_for_timeout(50)
        expect(self.page.locator("#read")).to_be_visible(timeout=PATIENCE)
        self.page.wait_for_timeout(300)
        names = self.page.locator("#read-codes dt").all_text_contents()
        values = self.page.locator("#read-codes dd").all_text_contents()
        return dict(zip(names, values, strict=True))

    def take(self, button: str) -> bytes:
        with self.page.expect_download(timeout=PATIENCE) as waiting:
            self.page.click(button)
        return Path(waiting.value.path()).read_bytes()


@pytest.fixture(params=WAYS)
def shown(request, chromium: Browser, addresses) -> Iterator[Shown]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    made = Shown(context.new_page(), addresses[request.param])
    yield made
    context.close()
    assert made.complaints == []


def expected(name: str, **options: Any) -> np.ndarray[Any, Any]:
    return infogan_export.load(name).sample(1, **options)[0]


@pytest.mark.parametrize("name", ["mnist", "mnist-gan", "faces"])
def test_shows_the_picture_that_python_draws(shown: Shown, name: str):
    codes = {"digit": 4} if name == "mnist" else {}
    state = "&set.digit=4" if codes else ""
    shown.open(f"#model={name}&seed=18446744073709551615&start=7{state}")
    wanted = expected(name, seed=2**64 - 1, start=7, **codes)
    difference = shown.pixels()[..., 0].astype(int) - wanted
    assert np.abs(difference).max() <= 1


def test_each_knob_changes_what_it_names(shown: Shown):
    shown.open("#model=mnist&seed=1")
    for digit in ("3", "8"):
        shown.page.get_by_role("radio", name=digit, exact=True).check(force=True)
        shown.settled()
        assert shown.read()["digit"].startswith(f"{digit} ")
    slider = shown.page.get_by_role("slider").first
    name = slider.get_attribute("aria-label")
    assert name
    readings = []
    for key in ("Home", "End"):
        slider.press(key)
        shown.settled()
        readings.append(float(shown.read()[name].split()[0]))
    assert readings[1] - readings[0] > 2
    before = shown.pixels()
    shown.page.click("#again")
    shown.settled()
    assert (shown.pixels() != before).any()


def test_a_drag_draws_on_the_way_and_stays_in_place(shown: Shown):
    shown.open("#model=mnist&seed=1&set.digit=3")
    slider = shown.page.get_by_role("slider").first
    box = slider.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    seen = []
    shown.page.mouse.move(box["x"] + box["width"] / 2, middle)
    shown.page.mouse.down()
    for part in (0.7, 0.95):
        shown.page.mouse.move(box["x"] + part * box["width"], middle)
        shown.page.wait_for_timeout(400)
        seen.append(shown.pixels())
        assert slider.bounding_box() == box
    shown.page.mouse.up()
    assert (seen[0] != seen[1]).any()


def test_lock_keeps_the_noise_and_again_draws_other_codes(shown: Shown):
    shown.open("#model=mnist&seed=5")
    shown.page.click("#lock")
    shown.page.click("#again")
    shown.settled()
    assert shown.page.input_value("#seed") == "5"
    assert "set.digit" in shown.page.url


def test_what_is_drawn_for_locked_noise_is_within_the_knobs(shown: Shown):
    shown.open("#model=mnist&seed=5&lock=1")
    shown.page.evaluate("Math.random = () => 0")  # seed 0: a thickness of 2.03
    shown.page.click("#again")
    shown.settled()
    assert "set.thickness=2&" in shown.page.url + "&"
    first, link = shown.pixels(), shown.page.url
    shown.open(link.removeprefix(shown.address))
    assert (shown.pixels() == first).all()
    expect(shown.page.locator(".notice")).to_have_count(0)


def test_a_link_shows_the_same_again(shown: Shown):
    shown.open("#model=mnist&seed=3&view=sheet&cells=9&set.digit=2&set.slant=0.7")
    first, link = shown.pixels(), shown.page.url
    shown.open(link.removeprefix(shown.address))
    assert (shown.pixels() == first).all()
    assert shown.page.url == link
    assert first.shape[:2] == (84, 84)


def test_an_address_that_is_wrong_is_said_and_survived(shown: Shown):
    shown.open("#model=nope&seed=-1&set.digit=77&set.slant=NaN&cells=1e9&view=all")
    said = shown.page.locator(".notice").all_text_contents()
    assert len(said) == 6
    assert "nope" in said[0]
    assert (shown.pixels()[..., 0] == expected("mnist")).all()


def test_play_moves_and_pause_holds(shown: Shown):
    shown.open("#model=mnist&seed=1&set.digit=3")
    shown.page.click("#play")
    shown.page.wait_for_timeout(600)
    first = shown.pixels()
    shown.page.wait_for_timeout(600)
    assert (shown.pixels() != first).any()
    shown.page.click("#play")
    shown.settled()
    held = shown.pixels()
    shown.page.wait_for_timeout(300)
    assert (shown.pixels() == held).all()


def test_where_motion_is_not_wanted_play_goes_by_steps(chromium: Browser, addresses):
    context = chromium.new_context(reduced_motion="reduce")
    shown = Shown(context.new_page(), addresses[SERVER])
    shown.open("#model=mnist&seed=1&set.digit=3")
    shown.page.click("#play")
    shown.page.wait_for_timeout(400)
    pictures = []
    for _ in range(6):
        pictures.append(shown.pixels().tobytes())
        shown.page.wait_for_timeout(100)
    context.close()
    assert len(set(pictures)) <= 2


def test_files_carry_what_was_shown_and_how_it_was_made(shown: Shown, tmp_path, capfd):
    shown.open("#model=tiny&seed=3&view=sheet&cells=4&along=slant&set.shape=cross")
    model = infogan_export.load(str(Path(__file__).parent / "data" / "tiny"))
    latents = model.latents(4, seed=3, shape=2)
    png = Image.open(io.BytesIO(shown.take("#png")))
    record = json.loads(png.info["infogan-export"])
    scale = record["options"]["scale"]
    small = np.asarray(png.convert("L"))[::scale, ::scale]
    wanted = model.draw(latents)
    sheet = np.vstack([np.hstack(wanted[:2]), np.hstack(wanted[2:])])
    assert np.abs(small.astype(int) - sheet).max() <= 1
    content = json.loads(shown.take("#json"))
    assert np.allclose(content["latents"], latents, atol=1e-7)
    assert content["sha256"] == model.sha256
    film = Image.open(io.BytesIO(shown.take("#gif")))
    assert film.n_frames == 80
    assert len({frame.tobytes() for frame in ImageSequence.Iterator(film)}) > 40


def test_the_command_makes_the_same_picture(shown: Shown, tmp_path, monkeypatch):
    from shlex import split

    from infogan_export.cli import main

    shown.open("#model=mnist&seed=3&start=2&along=slant&set.digit=7")
    taken = np.asarray(Image.open(io.BytesIO(shown.take("#strip-png"))).convert("L"))
    shown.page.select_option("#which", "strip")
    command = split(shown.page.locator("#command").inner_text())
    assert command[:2] == ["infogan-gen", "grid"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="0"):
        main(command[1:])
    drawn = np.asarray(Image.open(command[-1]).convert("L"))
    assert np.abs(drawn.astype(int) - taken).max() <= 1


DROP = """([bytes, type]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(bytes)], "it", { type }));
  const event = kind => kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: files })
    : new DragEvent("drop", { dataTransfer: files, cancelable: true });
  document.dispatchEvent(event("%s"));
}"""


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_an_image_that_is_given_is_read(shown: Shown, way: str):
    shown.open()
    large = Image.fromarray(expected("mnist", seed=4, digit=6)).resize((560, 560))
    png = io.BytesIO()
    large.save(png, "PNG")
    shown.page.evaluate(DROP % way, [list(png.getvalue()), "image/png"])
    expect(shown.page.locator("#read-codes dd").first).to_contain_text(
        "6", timeout=PATIENCE
    )
    shown.page.click("#use")
    shown.settled()
    assert "set.digit=6" in shown.page.url


def bomb() -> bytes:
    """A small PNG of 60 million pixels."""
    png = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(png, "PNG")
    return png.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"abc", "no image"), (bytes(10_000_001), "10 MB"), (bomb(), "50 million")],
    ids=["text", "long", "bomb"],
)
def test_a_file_that_cannot_be_read_is_said(shown: Shown, content: bytes, said: str):
    shown.open()
    shown.page.set_input_files(
        "#file", {"name": "it.png", "mimeType": "image/png", "buffer": content}
    )
    expect(shown.page.locator(".notice")).to_contain_text(said, timeout=PATIENCE)


def test_another_model_keeps_seed_and_view(shown: Shown):
    shown.open("#model=mnist&seed=9&view=sheet&cells=4")
    shown.page.select_option("#model", "colour")
    shown.settled()
    assert "model=colour&seed=9&view=sheet&cells=4" in shown.page.url
    expect(shown.page.locator("#reading")).to_be_hidden()
    picture = shown.pixels()
    assert picture.shape == (16, 24, 4)
    assert (picture[..., 0] != picture[..., 2]).any()


def test_the_model_that_is_chosen_last_is_shown(shown: Shown):
    shown.open("#model=mnist&seed=9")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    shown.page.route("**/models/faces/card.json", hold)
    shown.page.select_option("#model", "faces")
    while not held:
        shown.page.wait_for_timeout(50)
    shown.page.select_option("#model", "mnist-gan")
    shown.settled()
    held[0].continue_()
    shown.settled()
    assert "mnist-gan" in shown.page.title()
    assert "model=mnist-gan&seed=9" in shown.page.url
    assert shown.page.input_value("#model") == "mnist-gan"


def test_a_gif_is_of_what_was_shown_when_it_was_asked_for(shown: Shown):
    shown.open("#model=mnist&seed=1&view=sheet&cells=9")
    with shown.page.expect_download(timeout=PATIENCE) as waiting:
        shown.page.evaluate(
            "document.getElementById('gif').click();"
            "document.querySelector('[name=view][value=one]').click()"
        )
    film = Image.open(waiting.value.path())
    assert film.width == film.height > 84
    assert shown.page.input_value("[name=view]:checked") == "one"


def test_a_smaller_sheet_is_still_reached_by_the_keyboard(shown: Shown):
    shown.open("#model=mnist&seed=1&view=sheet&cells=9")
    shown.page.locator("#picture-cells button").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        shown.page.keyboard.press(key)
    shown.page.select_option("#cells", "4")
    shown.settled()
    stops = shown.page.locator("#picture-cells button[tabindex='0']")
    expect(stops).to_have_count(1)


def test_the_keyboard_alone_is_enough(shown: Shown):
    shown.open("#model=mnist&seed=1&view=sheet&cells=4")
    reached = set()
    for _ in range(60):
        shown.page.keyboard.press("Tab")
        reached.add(shown.page.evaluate("document.activeElement.closest('[id]')?.id"))
    assert {"play", "again", "lock", "png", "gif", "json", "link", "seed"} <= reached
    assert {"code-digit", "picture-cells", "strip-cells"} <= {
        name if name.startswith(("picture", "strip")) else name.removesuffix("-range")
        for name in reached
        if name
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_shuts_people_out(chromium, addresses, axe: Path, scheme, width):
    context = chromium.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 844}, bypass_csp=True
    )
    shown = Shown(context.new_page(), addresses[SERVER])
    shown.open("#model=mnist&seed=1&bogus=1")
    shown.read()
    shown.page.evaluate(axe.read_text())
    found = shown.page.evaluate("axe.run()")
    wide = shown.page.evaluate("document.documentElement.scrollWidth")
    context.close()
    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == []
    assert wide <= width


# --- onnxruntime-web without a page ------------------------------------------

NODE = """
import {{ pathToFileURL }} from "node:url";
const ort = await import(pathToFileURL("{site}/ort/ort.wasm.min.mjs"));
const {{ openModel }} = await import(pathToFileURL("{site}/infogan.js"));
ort.env.wasm.wasmPaths = pathToFileURL("{site}/ort/").href;
ort.env.wasm.numThreads = 1;
const model = await openModel(ort, new URL("{address}models/{name}/"));
const latents = model.latents(6, {{ seed: 12345678901234567n, start: 3 }});
const images = await model.draw(latents);
const [first, reached] = [images.slice(0, images.length / 6), globalThis.fetch];
globalThis.fetch = () => Promise.reject(new Error("offline"));
const failed = await model.recognize(first).catch((error) => error.message);
if (!failed.includes("offline")) throw new Error(failed);
globalThis.fetch = reached;
const read = await model.recognize(first);
const bytes = (array) => Buffer.from(array.buffer).toString("base64");
console.log(JSON.stringify({{ latents: bytes(latents), images: bytes(images), read }}));
"""


@pytest.mark.parametrize("name", ["mnist", "mnist-gan"])
def test_node_draws_the_same_latents_and_images(
    addresses, site, name, tmp_path, require
):
    from base64 import b64decode

    node = shutil.which("node")
    require(node, "Node")
    script = tmp_path / "draw.mjs"
    script.write_text(NODE.format(site=site, address=addresses[WASM], name=name))
    done = subprocess.run([node, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    model = infogan_export.load(name)
    latents = model.latents(6, seed=12345678901234567, start=3)
    assert b64decode(result["latents"]) == latents.tobytes()
    wanted = model.draw(latents)
    images = np.frombuffer(b64decode(result["images"]), np.uint8).reshape(wanted.shape)
    assert np.abs(images.astype(int) - wanted).max() <= 1
    code = model.spec.categorical[0].name
    read = model.recognize(wanted[:1])[code]
    assert result["read"][code]["category"] == int(read.category[0])


def test_the_readme_s_javascript_draws_a_digit(chromium, addresses, site):
    text = README.read_text()
    snippet = text.split("```js\n")[1].split("```")[0]
    page_of = '<!doctype html><title>x</title><canvas></canvas><script type="module">'
    (site / "example.html").write_text(f"{page_of}\n{snippet}</script>")
    context = chromium.new_context()
    shown = Shown(context.new_page(), addresses[WASM])
    shown.page.goto(addresses[WASM] + "example.html")
    shown.page.wait_for_function(
        "document.querySelector('canvas').width === 28", timeout=PATIENCE
    )
    data = shown.page.evaluate(
        "[...document.querySelector('canvas').getContext('2d')"
        ".getImageData(0, 0, 28, 28).data]"
    )
    context.close()
    assert shown.complaints == []
    pixels = np.array(data, np.uint8).reshape(28, 28, 4)[..., 0]
    read = infogan_export.load("mnist").recognize(pixels[None])["digit"]
    assert int(read.category[0]) == 3
