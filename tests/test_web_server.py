"""The explorer's server and its static site, without a browser."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from infogan_export.cli import main
from starlette.testclient import TestClient

import infogan_export
from infogan_export.errors import OutputError, UsageError
from infogan_export.web import explorer, site
from infogan_export.web.gallery import Gallery
from infogan_export.web.server import MAX_BODY, MAX_IMAGES, build_app

HOME = "http://127.0.0.1"


@pytest.fixture(scope="module")
def client(tiny: Path) -> TestClient:
    return TestClient(build_app(Gallery(str(tiny.parent))), base_url=HOME)


@pytest.fixture(scope="module")
def model(tiny: Path) -> infogan_export.Model:
    return infogan_export.load(str(tiny.parent))


@pytest.fixture(scope="module")
def served(tiny: Path) -> Iterator[str]:
    """The address of an explorer that could open no browser."""
    program = [sys.executable, "-c", "from infogan_export.cli import main; main()"]
    with subprocess.Popen(
        [*program, "explore", "--model", str(tiny.parent), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "", "BROWSER": "/nonexistent", "HOME": "/nonexistent"},
    ) as server:
        assert server.stdout is not None
        yield server.stdout.readline().split()[0]
        server.terminate()


def test_draws_and_reads_what_the_runtime_does(client, model):
    latents = model.latents(5, seed=3)
    drawn = client.post("/models/tiny/draw", content=latents.tobytes())
    assert drawn.content == model.draw(latents).tobytes()
    image = model.draw(latents[:1])
    read = client.post("/models/tiny/recognize", content=image.tobytes()).json()
    found = model.recognize(image)
    assert read["shape"]["category"] == int(found["shape"].category[0])
    assert read["slant"]["mean"] == pytest.approx(float(found["slant"].mean[0]))


def test_the_card_names_every_code_with_its_range(client, model):
    card = client.get("/models/tiny/card.json").json()
    assert [code["name"] for code in card["codes"]] == ["shape", "slant", "thickness"]
    assert (card["codes"][1]["sweep_low"], card["codes"][1]["sweep_high"]) == (-2, 2)
    assert card["sha256"] == model.sha256
    assert client.get("/models.json").json()["models"][0] == "tiny"


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"abc", 400),
        (np.full(9, np.nan, "<f4").tobytes(), 400),
        (np.zeros((MAX_IMAGES + 1, 9), "<f4").tobytes(), 413),
        (bytes(MAX_BODY + 1), 413),
    ],
)
def test_latents_that_are_none_are_refused(client, content, status):
    answer = client.post("/models/tiny/draw", content=content)
    assert answer.status_code == status
    assert answer.text and "\n" not in answer.text


def test_an_upload_that_is_no_image_of_the_model_is_refused(client):
    for content in (b"GIF89a", bytes(65), b""):
        assert client.post("/models/tiny/recognize", content=content).status_code == 400


def test_an_upload_that_is_broken_off_is_no_failure_of_ours(tiny: Path):
    app = build_app(Gallery(str(tiny.parent)))
    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"64")]
    scope = {
        **{"type": "http", "method": "POST", "path": "/models/tiny/recognize"},
        **{"headers": headers, "query_string": b"", "scheme": "http"},
    }
    parts = [
        {"type": "http.request", "body": b"abc", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    anyio.run(app, scope, receive, send)
    assert sent[0]["status"] == 400


@pytest.mark.parametrize(
    "path",
    [
        "/models/nope/card.json",
        "/models/..%2f..%2f/card.json",
        "/../pyproject.toml",
        "/..%2f..%2fserver.py",
        "/%2e%2e/server.py",
        "//etc/passwd",
    ],
)
def test_nothing_but_the_page_and_the_models_is_served(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": HOME, "sec-fetch-site": "same-origin"}, 200),
        ({"host": "localhost"}, 200),
    ],
)
def test_other_names_and_other_sites_are_refused(client, headers, status):
    assert client.get("/models.json", headers=headers).status_code == status


def test_the_page_may_reach_nothing_but_us(client):
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy


def test_a_flood_loses_no_request(served, model):
    latents = model.latents(4)
    wanted = model.draw(latents).tobytes()

    def ask(_: int) -> bool:
        drawn = httpx.post(
            f"{served}models/tiny/draw", content=latents.tobytes(), timeout=60
        )
        return drawn.content == wanted

    with ThreadPoolExecutor(200) as pool:
        assert all(pool.map(ask, range(200)))
    assert httpx.get(served).status_code == 200


def test_a_port_in_use_and_an_unknown_model_are_one_line(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit, match="1"):
            main(["explore", "--port", port, "--no-browser"])
    assert f"port {port}" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["explore", "--model", "mnits", "--port", "0", "--no-browser"])
    assert "mnist" in capsys.readouterr().err


def test_an_open_address_is_warned_of(monkeypatch, tiny):
    told: list[str] = []
    monkeypatch.setattr(explorer, "_serve", lambda *_: None)
    explorer.explore(
        str(tiny.parent), host="0.0.0.0", port=0, browser=False, tell=told.append
    )
    assert "warning" in told[1]
    told.clear()
    explorer.explore(str(tiny.parent), port=0, browser=False, tell=told.append)
    assert len(told) == 1


# --- the static site ---------------------------------------------------------


def test_a_site_holds_the_page_the_models_and_their_hashes(tmp_path, tiny, colour):
    out = tmp_path / "site"
    size = site.write_site(out, [str(tiny.parent), str(colour.parent)])
    assert size == sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    content = json.loads((out / "models.json").read_text())
    assert [model["name"] for model in content["models"]] == ["tiny", "colour"]
    assert content["ort"]["base"].endswith(f"@{site.ORT_VERSION}/dist/")
    for model in content["models"]:
        folder = out / "models" / model["folder"]
        card = json.loads((folder / "card.json").read_text())
        network = card["generator"]
        assert network["integrity"] == site.integrity(folder / network["file"])


def test_the_cdn_has_the_files_that_the_hashes_are_of(ort_web):
    for name, expected in site.ORT_INTEGRITY.items():
        assert site.integrity(ort_web / name) == expected


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, tiny):
    kept = tmp_path / "kept.txt"
    kept.write_text("mine")
    with pytest.raises(UsageError, match="--force"):
        site.write_site(tmp_path, [str(tiny.parent)])
    assert [p.name for p in tmp_path.iterdir()] == ["kept.txt"]
    site.write_site(tmp_path, [str(tiny.parent)], force=True)
    assert kept.read_text() == "mine"
    assert (tmp_path / "index.html").is_file()


def test_a_site_that_cannot_be_made_leaves_nothing(tmp_path, tiny):
    with pytest.raises(UsageError, match="onnxruntime-web"):
        site.write_site(tmp_path / "a", [str(tiny.parent)], ort=tmp_path)
    with pytest.raises(UsageError, match="no model"):
        site.write_site(tmp_path / "a", ["nope"])
    file = tmp_path / "file"
    file.touch()
    with pytest.raises((OutputError, UsageError)):
        site.write_site(file / "site", [str(tiny.parent)])
    assert list(tmp_path.iterdir()) == [file]


def test_the_page_is_light():
    assert sum(p.stat().st_size for p in site.PAGE.iterdir()) <= 100_000
