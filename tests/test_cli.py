"""The command line: laws of its outputs, and one line for every error."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from infogan_export.cli import main
from infogan_export.cli.app import COMMANDS
from PIL import Image

import infogan_export
from infogan_export import sample_files
from infogan_export.pictures import write_golden
from infogan_export.record import sample_record
from infogan_export.render import read_provenance, save_image

Run = Callable[..., "Outcome"]

NO_TRAINING = "import sys; sys.modules.update(torch=None, onnx=None); "
NOTHING = (
    "import sys; sys.modules.update(dict.fromkeys("
    "['torch', 'onnx', 'numpy', 'onnxruntime', 'PIL', 'imageio', 'scipy'])); "
)


class Outcome:
    """A command's exit code, and what it printed."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.raw = out
        self.out, self.err = out.decode("utf-8", "replace"), err.decode()


@pytest.fixture
def run(
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny: Path,
) -> Run:
    """Runs a command in an empty folder, where ``tiny`` is a model of our own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INFOGAN_EXPORT_MODELS", str(tiny.parents[1]))
    monkeypatch.setenv("COLUMNS", "80")

    def run_command(line: str, *more: str | Path) -> Outcome:
        with pytest.raises(SystemExit) as left:
            main([*shlex.split(line), *map(str, more)])
        captured = capfdbinary.readouterr()
        assert isinstance(left.value.code, int)
        return Outcome(left.value.code, captured.out, captured.err)

    return run_command


def python(code: str, *, cwd: Path, models: Path | None = None) -> Outcome:
    env = dict(os.environ)
    if models is not None:
        env["INFOGAN_EXPORT_MODELS"] = str(models)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, check=False
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


# --- help and imports --------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_an_example(run: Run, command: str) -> None:
    shown = run(f"{command} --help")
    assert shown.code == 0
    assert f"Example: infogan-gen {command}" in shown.out
    options = re.split(r"\n  (?=-)", shown.out.split("Options:\n")[1])
    for option in options:
        says = re.sub(r"\[default.*", "", option, flags=re.DOTALL)
        assert len(re.split(r"\s{2,}", says.strip(), maxsplit=1)) == 2, option


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    for words in ([], ["--help"], ["--version"], *([c, "--help"] for c in COMMANDS)):
        code = f"from infogan_export.cli import main; main({words})"
        shown = python(NOTHING + code, cwd=tmp_path)
        assert (shown.code, shown.err) == (0, "")
        assert shown.out


@pytest.mark.parametrize(
    "line",
    [
        "grid -m tiny -o a.png --labels",
        "gif -m tiny --seconds 0.5 -o a.gif",
        "sample -m tiny -o a.npz",
        "models",
        "info tiny",
        "check tiny",
        "recognize -m tiny --resize picture.png",
        "edit -m tiny picture.png --every cat",
        "reconstruct -m tiny picture.png",
        "morph -m tiny picture.png picture.png",
    ],
)
def test_commands_need_neither_torch_nor_onnx(
    line: str, tmp_path: Path, tiny: Path
) -> None:
    save_image(np.zeros((8, 8), np.uint8), tmp_path / "picture.png")
    code = f"from infogan_export.cli import main; main({shlex.split(line)})"
    done = python(NO_TRAINING + code, cwd=tmp_path, models=tiny.parents[1])
    assert (done.code, done.err) == (0, "")
    assert done.out


# --- the same command, the same bytes ----------------------------------------

MADE = {
    "grid -m tiny": "grid.png",
    "grid -m tiny --vary slant --range -2 2 --steps 5 --rows 2 --labels": "a.png",
    "grid -m tiny --vary cat --vary cont1 --set cont2=0.5 --seed 7": "a.webp",
    "grid -m tiny --vary slant --vary thickness --range -1 1 --range 0 3 "
    "--steps 3 --steps 4 --set shape=cross": "a.png",
    "grid -m tiny --vary cont1 --set shape=0.5,0.25,0.25 --padding 0": "a.jpg",
    "gif -m tiny --vary cat --vary slant --labels --seconds 1": "a.gif",
    "gif -m tiny --vary slant --loop ping-pong --seconds 1 --rows 1": "a.apng",
    "gif -m tiny --walk --stops 3 --seconds 1 --set shape=bar": "a.webp",
    "edit own.png -m tiny --set shape=dash --set slant=+0.5": "a.png",
    "edit own.png -m tiny --every slant --set thickness-=0.5 --labels": "a.webp",
    "edit 'my own.png' -m tiny --every cat --no-prepare --iterations 3": "a.jpg",
    "reconstruct own.png 'my own.png' -m tiny --no-inside --labels": "a.png",
    "morph own.png 'my own.png' -m tiny --seconds 1 --loop": "a.gif",
    "morph own.png 'my own.png' -m tiny --seconds 1 --tolerance 0": "a.webp",
    "grid --from own.png --from 'my own.png' -m tiny --vary slant": "a.png",
    "grid --from own.png -m tiny --vary cat --vary slant": "a.png",
    "gif --from own.png --from own.png -m tiny --vary cat --seconds 1": "a.gif",
    "sample -m tiny -n 10 --start 5 --set shape=1": "a.png",
    "arithmetic -m tiny --plus 1,5,7 --minus 0..2 --plus 4,4 --set slant=2": "a.png",
    "arithmetic -m tiny --plus 3 --noise 0 --seed 2 --scale 1": "a.webp",
    "sample -m tiny -n 7 --columns 3 --start 90 --labels": "a.png",
    "sample -m tiny -n 300": "a.npz",
    "sample -m tiny -n 300 --seed 3": "a.npy",
}


@pytest.mark.parametrize("line", MADE)
def test_the_command_in_a_file_makes_the_same_bytes_again(run: Run, line: str) -> None:
    output = Path(MADE[line])
    for index, name in enumerate(("own.png", "my own.png")):
        save_image(infogan_export.load("tiny").sample(1, seed=index)[0], name)
    made = run(f"{line} -o {output}")
    assert (made.code, made.err) == (0, "")
    first = output.read_bytes()
    record = read_provenance(output)
    card = json.loads(run("info --json", output).out)
    assert card["sha256"] == infogan_export.load("tiny").sha256
    assert not card["note"]
    output.unlink()
    again = shlex.split(card["command_line"])
    assert again[0] == "infogan-gen"
    assert run(shlex.join(again[1:])).code == 0
    assert output.read_bytes() == first
    assert read_provenance(output) == record


def test_a_record_holds_the_latents_that_draw_the_picture(run: Run) -> None:
    run("grid -m tiny --vary cat --rows 2 --scale 1 --padding 0")
    latents = np.array(json.loads(run("info grid.png --json").out)["latents"])
    images = infogan_export.load("tiny").draw(latents)
    sheet = images.reshape(2, 3, 8, 8).transpose(0, 2, 1, 3).reshape(16, 24)
    assert (np.asarray(Image.open("grid.png")) == sheet).all()


def test_any_image_of_a_folder_can_be_made_again_alone(run: Run) -> None:
    run("sample -m tiny -n 12 --seed 4 -o many/")
    assert len(list(Path("many").glob("*.png"))) == 12
    one = Path("many/000007.png")
    first = one.read_bytes()
    card = json.loads(run("info --json", one).out)
    assert run(shlex.join(shlex.split(card["command_line"])[1:])).code == 0
    assert one.read_bytes() == first
    assert json.loads(run("info --json many").out)["options"]["count"] == 12


def test_a_folder_and_its_record_tell_of_the_same_images(run: Run) -> None:
    run("sample -m tiny -n 12 -o many")
    before = {path: path.read_bytes() for path in Path().rglob("*.*")}
    other = run("sample -m tiny -n 3 --seed 1 -o many")
    assert (other.code, other.out) == (1, "")
    assert "9 other images, 000003.png for instance" in other.err
    assert before == {path: path.read_bytes() for path in Path().rglob("*.*")}
    assert run("sample -m tiny -n 12 --seed 1 -o many").code == 0
    os.chdir("many")
    assert run("sample -m tiny -n 12 -o .").code == 0
    assert json.loads(run("info --json .").out)["options"]["count"] == 12


def test_a_folder_that_is_not_finished_has_no_record(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("sample -m tiny -n 3 -o many")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sample_files, "save_image", interrupt)
    assert run("sample -m tiny -n 3 --seed 1 -o many").code == 130
    assert "not made by infogan-gen" in run("info many").err


def test_a_record_replaces_nothing_but_a_record(run: Run) -> None:
    mine = '{"images": ["a.npy"]}'
    for target in ("a.npy", "folder"):
        Path(f"{target}.json").write_text(mine)
        failed = run(f"sample -m tiny -n 2 -o {target}")
        assert (failed.code, failed.out) == (1, "")
        assert f"{target}.json" in failed.err
        assert Path(f"{target}.json").read_text() == mine
        assert not Path(target).exists()


def test_text_in_a_file_cannot_steer_the_terminal(run: Run) -> None:
    model = infogan_export.load("tiny")
    record = sample_record(model, 1, codes={}, seed=0, start=0) | {
        "inputs": [{"path": "a.png"}],
        "codes": [{"slant": "\x1b[2J[bold]1[/x]"}],
    }
    del record["sha256"]
    save_image(model.sample(1)[0], "a.png", provenance=record)
    shown = run("info a.png")
    assert shown.code == 0
    assert "\x1b" not in shown.out
    assert "[bold]1[/x]" in shown.out


def test_every_form_of_samples_holds_the_same_images(run: Run) -> None:
    for output in ("a.npy", "a.npz", "folder"):
        assert run(f"sample -m tiny -n 5 --start 3 -o {output}").code == 0
    images = np.load("a.npy")
    archive = np.load("a.npz")
    model = infogan_export.load("tiny")
    assert (images == model.sample(8)[3:]).all()
    assert (archive["images"] == images).all()
    assert (model.draw(archive["latents"]) == images).all()
    files = [np.asarray(Image.open(p)) for p in sorted(Path("folder").glob("*.png"))]
    assert (np.stack(files) == images).all()


def test_stdout_takes_the_same_bytes_and_nothing_else(run: Run) -> None:
    for line, output in (("grid -m tiny", "a.png"), ("gif -m tiny", "a.gif")):
        run(f"{line} -o {output}")
        piped = run(f"{line} -o -")
        assert piped.raw == Path(output).read_bytes()
        assert piped.err == ""


def test_show_draws_in_the_terminal_and_writes_only_what_is_named(run: Run) -> None:
    assert len(run("grid -m tiny --show").out.splitlines()) > 10
    assert not Path("grid.png").exists()
    assert "a.gif" in run("gif -m tiny --seconds 1 --show -o a.gif").out
    assert Path("a.gif").exists()


def test_a_seamless_loop_has_no_jump_and_a_ping_pong_returns(run: Run) -> None:
    from infogan_export.animations import Film, traversal_animation

    model = infogan_export.load("tiny")
    for vary in (["slant"], ["shape"], ["slant", "shape", "thickness"]):
        film = Film(rows=1, columns=1, fps=20, seconds=6)
        swing = np.stack(list(traversal_animation(model, vary, film=film).frames))
        steps = abs(np.diff(swing.astype(int), axis=0, append=swing[:1])).max((1, 2))
        assert steps[-1] <= 1.5 * steps[:-1].max()
        film = Film(rows=1, columns=1, loop="ping-pong", seconds=6)
        there = np.stack(list(traversal_animation(model, vary, film=film).frames))
        assert (there[1:] == there[:0:-1]).all()


# --- models ------------------------------------------------------------------


def test_info_and_models_tell_codes_labels_and_digests(run: Run) -> None:
    card = json.loads(run("info tiny --json").out)
    assert [code["name"] for code in card["codes"]] == ["shape", "slant", "thickness"]
    assert card["codes"][0]["labels"] == ["bar", "dash", "cross"]
    assert card["files"][0]["sha256"] == infogan_export.load("tiny").sha256
    shown = run("info tiny").out
    for word in ("cross", "leans left", "CC0-1.0", card["files"][1]["sha256"], "kB"):
        assert word in shown
    rows = json.loads(run("models --json").out)
    assert "tiny" in [row["name"] for row in rows]
    assert "Three strokes" in run("models").out
    assert "drawn in shares of " in " ".join(run("info mnist").out.split())
    assert max(map(len, (shown + run("models").out).splitlines())) <= 80


def test_a_record_of_a_model_that_is_not_here_says_so(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("grid -m tiny")
    monkeypatch.delenv("INFOGAN_EXPORT_MODELS")
    assert "no model of that name is installed" in run("info grid.png").out


@pytest.fixture
def own(tmp_path: Path, tiny: Path) -> Path:
    """A copy of the tiny model, with a golden picture."""
    folder = tmp_path / "own"
    shutil.copytree(tiny.parent, folder)
    write_golden(folder)
    return folder


def test_check_passes_a_sound_model_and_fails_a_changed_one(
    run: Run, own: Path
) -> None:
    assert run("check", own).code == 0
    golden = np.asarray(Image.open(own / "golden.png")).astype(int)
    for levels, code in ((1, 0), (2, 1)):
        changed = np.clip(golden + levels, 0, 255).astype(np.uint8)
        save_image(changed, own / "golden.png")
        checked = run("check", own)
        assert checked.code == code
        assert len(checked.out.splitlines()) == 1
    assert "2 grey levels" in checked.out


def test_check_fails_a_file_with_another_digest(
    run: Run, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infogan_export import catalog

    manifest = {"own": {"sha256": {"generator.onnx": "0" * 64}}}
    monkeypatch.setattr(catalog, "_manifest", lambda: manifest)
    monkeypatch.setattr(catalog, "_pretrained", lambda: own.parent)
    checked = run("check own")
    assert checked.code == 1
    assert "SHA-256" in checked.out


def test_recognize_reads_back_what_was_drawn(run: Run) -> None:
    run("sample -m tiny -n 3 --set shape=dash --set slant=0.5 -o drawn")
    files = sorted(Path("drawn").glob("*.png"))
    rows = json.loads(run("recognize -m tiny --json", *files).out)
    assert [row["image"] for row in rows] == list(map(str, files))
    for row in rows:
        assert row["shape"]["label"] == "dash"
        assert abs(row["slant"]["mean"] - 0.5) < 0.1
    table = run("recognize -m tiny", *files).out
    assert table.count("dash") == 3


def test_reconstruct_tells_codes_and_errors(run: Run) -> None:
    image = infogan_export.load("tiny").sample(1, shape="dash", slant=0.5)[0]
    save_image(image, "own.png")
    (row,) = json.loads(run("reconstruct -m tiny own.png --json").out)
    assert row["codes"]["shape"] == "dash"
    assert abs(row["codes"]["slant"] - 0.5) < 0.1
    assert row["mse"] <= row["first_mse"]
    assert "dash" in run("reconstruct -m tiny own.png").out
    card = json.loads(run("info --json reconstruct.png").out)
    assert card["codes"] == [row["codes"]]
    assert card["inputs"][0]["path"] == "own.png"


def test_an_edit_shows_the_image_as_the_model_sees_it(run: Run) -> None:
    save_image(np.full((40, 90), 90, np.uint8), "wide.png")
    made = run("edit -m tiny wide.png --every cat --scale 1 --padding 0 -o a.png")
    assert made.code == 0
    assert "the middle 40x40" in made.err
    strip = np.asarray(Image.open("a.png"))
    assert strip.shape == (8, 5 * 8)
    assert (strip[:, :8] == 90).all()


# --- bad input ---------------------------------------------------------------

WRONG = {
    "grid -m tine": (2, "did you mean 'tiny'?"),
    "grid -m missing.onnx": (2, "missing.onnx"),
    "grid -m tiny --vary slint": (2, "did you mean 'slant'?"),
    "grid -m tiny --set rotation=1": (2, "shape, slant, thickness"),
    "grid -m tiny --set shape=3": (2, "0 to 2"),
    "grid -m tiny --set shape=-1": (2, "0 to 2"),
    "grid -m tiny --set shape=cros": (2, "did you mean 'cross'?"),
    "grid -m tiny --set shape=0.5,0.1,0.1": (2, "sum"),
    "grid -m tiny --set slant=nan": (2, "finite"),
    "grid -m tiny --set slant=inf": (2, "finite"),
    "grid -m tiny --set slant=left": (2, "give a number"),
    "grid -m tiny --set slant": (2, "CODE=VALUE"),
    "grid -m tiny --set slant=1 --set slant=2": (2, "twice"),
    "grid -m tiny --set cont1=1 --set slant=2": (2, "twice"),
    "grid -m tiny --vary slant --set slant=1": (2, "set as well"),
    "grid -m tiny --vary slant --vary cont1": (2, "twice"),
    "grid -m tiny --vary cat --vary cont1 --vary cont2": (2, "two axes"),
    "grid -m tiny --vary slant --range 1 1": (2, "empty"),
    "grid -m tiny --vary slant --range nan 1": (2, "finite"),
    "grid -m tiny --vary slant --range 1": (2, "two numbers"),
    "grid -m tiny --vary slant --range low high": (2, "two numbers"),
    "grid -m tiny --vary cat --range 1 5": (2, "0 to 2"),
    "grid -m tiny --vary slant --steps 1": (2, "at least 2"),
    "grid -m tiny --vary slant --steps 1000000000": (2, "TB of memory"),
    "grid -m tiny --rows 0": (2, "at least 1"),
    "grid -m tiny --rows 1000000000": (2, "TB of memory"),
    "grid -m tiny --rows many": (2, "--rows"),
    "grid -m tiny --seed -1": (2, "seed"),
    "grid -m tiny --seed 18446744073709551616": (2, "seed"),
    "grid -m tiny --scale 0": (2, "scale"),
    "grid -m tiny --scale 1000000": (2, "of memory"),
    "grid -m tiny --padding -1": (2, "padding"),
    "grid -m tiny -o old.txt": (2, ".png"),
    "grid -m tiny -o nowhere/a.png": (1, "no folder nowhere"),
    "grid -m tiny -o folder.png": (1, "folder"),
    "grid -m tiny --show -o -": (2, "stdout"),
    "gif -m tiny --fps 0": (2, "above 0"),
    "gif -m tiny --fps nan": (2, "finite"),
    "gif -m tiny --fps 1000 -o old.gif": (2, "50"),
    "gif -m tiny --seconds 0.01": (2, "at least 2"),
    "gif -m tiny --seconds 1e12": (2, "of memory"),
    "gif -m tiny --loop round": (2, "seamless"),
    "gif -m tiny --walk --vary slant": (2, "--vary"),
    "gif -m tiny --walk --stops 1": (2, "2 stops"),
    "gif -m tiny --stops 3": (2, "--walk"),
    "gif -m tiny --rows 0": (2, "at least 1"),
    "gif -m tiny -o nowhere/a.gif": (1, "no folder nowhere"),
    "gif -m tiny -o old.txt": (2, ".gif"),
    "sample -m tiny -n 0": (2, "at least 1"),
    "sample -m tiny -n 0 -o a.npy": (2, "at least 1"),
    "sample -m tiny -n 1000000000": (2, "GB of memory"),
    "sample -m tiny -n 100000000000 -o a.npy": (2, "2^32"),
    "sample -m tiny -n 4000000000 -o many/": (1, "free"),
    "sample -m tiny -o old.txt": (2, ".npy"),
    "sample -m tiny -o nowhere/a.npz": (1, "no folder nowhere"),
    "sample -m tiny -o nowhere/many/": (1, "no folder nowhere"),
    "sample -m tiny --scale 3 -o a.npy": (2, "--scale"),
    "sample -m tiny --labels -o many/": (2, "--labels"),
    "sample -m tiny -o old.txt/": (1, "file"),
    "arithmetic -m tiny": (2, "one more term"),
    "arithmetic -m tiny --plus 1 --minus 2": (2, "one more term"),
    "arithmetic -m tiny --plus 1,x": (2, "1,5,7 or 0..2"),
    "arithmetic -m tiny --plus -1": (2, "1,5,7 or 0..2"),
    "arithmetic -m tiny --plus 1,,2": (2, "1,5,7 or 0..2"),
    "arithmetic -m tiny --plus 5..2": (2, "2..5"),
    "arithmetic -m tiny --plus 0..999999999": (2, "at most 1000"),
    "arithmetic -m tiny --plus 9999999999": (2, "2^32"),
    "arithmetic -m tiny --plus 1 --noise -1": (2, "noise"),
    "arithmetic -m tiny --plus 1 --noise nan": (2, "noise"),
    "arithmetic -m tiny --plus 1 --set slint=1": (2, "did you mean 'slant'?"),
    "arithmetic -m tiny --plus 1 --scale 1000000": (2, "of memory"),
    "arithmetic -m tiny --plus 1 -o old.txt": (2, ".png"),
    "info old.txt": (2, "not made by infogan-gen"),
    "info nothing.png": (2, "nothing.png"),
    "check tine": (2, "did you mean"),
    "recognize -m tiny old.txt": (1, "no image"),
    "recognize -m tiny nothing.png": (1, "nothing.png"),
    "recognize -m tiny --no-prepare large.png": (2, "--prepare"),
    "recognize -m tiny --prepare --resize large.png": (2, "--resize"),
    "recognize -m tiny --no-prepare coloured.png": (2, "reads grey; --prepare"),
    "recognize -m tiny --resize coloured.png": (2, "reads grey; --prepare"),
    "recognize small.png": (2, "1 x 1"),
    "recognize large.png": (2, "no digit"),
    "edit -m tiny own.png": (2, "--every"),
    "edit -m tiny own.png --set shape=+1": (2, "set, not moved"),
    "edit -m tiny own.png --set slant=+nan": (2, "finite"),
    "edit -m tiny own.png --set slant-=left": (2, "by a number"),
    "edit -m tiny own.png --set slant=+1 --set slant-=1": (2, "twice"),
    "edit -m tiny own.png --set slant=1 --set slant+=1": (2, "moved as well"),
    "edit -m tiny own.png --set slant=1 --every slant": (2, "set too"),
    "edit -m tiny own.png --every slint": (2, "did you mean"),
    "edit -m tiny own.png --every cat --iterations -1": (2, "iterations"),
    "edit -m tiny own.png --every cat --tolerance nan": (2, "tolerance"),
    "edit -m tiny own.png --every cat --scale 0": (2, "scale"),
    "edit -m tiny own.png --every cat -o old.txt": (2, ".png"),
    "edit -m tiny large.png --every cat --no-prepare": (2, "--prepare"),
    "edit -m tiny nothing.png --every cat": (1, "nothing.png"),
    "edit -m tiny old.txt --every cat": (1, "no image"),
    "reconstruct": (2, "IMAGE"),
    "reconstruct -m tiny own.png --json -o -": (2, "stdout"),
    "morph -m tiny own.png": (2, "B"),
    "morph -m tiny own.png own.png --seconds nan": (2, "finite"),
    "grid -m tiny --from own.png --rows 2": (2, "--from"),
    "grid -m tiny --from own.png --seed 1": (2, "--seed"),
    "gif -m tiny --from own.png --rows 3": (2, "--from"),
    "gif -m tiny --from own.png --walk": (2, "--walk"),
    "recognize": (2, "IMAGE"),
    "grid --colour": (2, "--colour"),
    "grid -m tiny --set slant=0.1,0.2": (2, "one value"),
    "gif -m tiny --set slant=0.1,0.2": (2, "one value"),
    "gif -m tiny --seconds 1e308": (2, "finite"),
    "arithmetic -m tiny --plus 1 --set slant=0.1,0.2": (2, "one value"),
    "edit -m tiny own.png --set slant=0.1,0.2": (2, "one value"),
    "sample -m tiny -n 2 --set slant=0.1,0.2": (2, "one value"),
    "sample -m tiny --padding 9 -o a.npy": (2, "--padding"),
    "sample -m tiny -o ''": (2, "-o"),
    f"sample -m tiny -o {'x' * 300}": (1, "too long"),
    f"sample -m tiny -o {'x' * 300}.npy": (1, "too long"),
    f"info {'x' * 300}": (2, "too long"),
    "grd": (2, "grd"),
}


@pytest.mark.parametrize("line", WRONG)
def test_an_error_is_one_line_and_leaves_everything_as_it_was(
    run: Run, line: str, tmp_path: Path
) -> None:
    code, said = WRONG[line]
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "old.gif").write_text("old")
    (tmp_path / "folder.png").mkdir()
    save_image(np.zeros((9, 11), np.uint8), tmp_path / "large.png")
    coloured = np.zeros((8, 8, 3), np.uint8)
    coloured[2:5, 2:5, 0] = 200
    save_image(coloured, tmp_path / "coloured.png")
    save_image(np.zeros((1, 1), np.uint8), tmp_path / "small.png")
    save_image(np.full((8, 8), 40, np.uint8), tmp_path / "own.png")
    before = {p: p.stat() for p in tmp_path.rglob("*")}
    failed = run(line)
    assert failed.code == code
    assert said in failed.err
    assert len(failed.err.splitlines()) == 1
    assert failed.err.startswith("infogan-gen: ")
    assert failed.out == ""
    after = {p: p.stat() for p in tmp_path.rglob("*")}
    assert {p.name: s.st_mtime_ns for p, s in before.items()} == {
        p.name: s.st_mtime_ns for p, s in after.items()
    }


def test_debug_shows_where_before_or_after_the_command(run: Run) -> None:
    assert "Usage" in run("--debug").out
    for line in ("--debug grid -m tine", "grid -m tine --debug"):
        with pytest.raises(infogan_export.UsageError):
            main(shlex.split(line))


def test_an_unwritable_folder_is_an_error(run: Run, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write anywhere")
    failed = run("grid -m tiny -o closed/a.png")
    assert failed.code == 1
    assert "permission denied" in failed.err


def test_a_full_disk_leaves_the_old_file(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    for line, name in (
        ("grid -m tiny", "a.png"),
        ("gif -m tiny --seconds 1", "a.gif"),
        ("sample -m tiny -n 3000", "a.npy"),
        ("sample -m tiny", "a.npz"),
    ):
        Path(name).symlink_to("/dev/full")
        failed = run(f"{line} -o {name}")
        assert (failed.code, len(failed.err.splitlines())) == (1, 1)
        assert "no space left" in failed.err


def _damaged(tiny: Path, how: str) -> bytes:
    data = bytearray(tiny.read_bytes())
    if how == "truncated":
        return bytes(data[: len(data) // 2])
    if how == "text":
        return b"this is no model\n" * 9
    if how == "empty":
        return b""
    data[len(data) // 3] ^= 0x40
    return bytes(data)


@pytest.mark.parametrize("how", ["truncated", "text", "empty"])
def test_a_damaged_model_is_one_line(
    run: Run, tiny: Path, tmp_path: Path, how: str
) -> None:
    (tmp_path / "bad.onnx").write_bytes(_damaged(tiny, how))
    for line in ("grid -m bad.onnx", "info bad.onnx"):
        failed = run(line)
        assert (failed.code, failed.out) == (1, "")
        assert "bad.onnx" in failed.err
        assert len(failed.err.splitlines()) == 1
    assert run("check bad.onnx").code == 1


def test_a_flipped_bit_in_an_installed_model_is_refused(
    run: Run, own: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infogan_export import catalog

    digest = infogan_export.load("tiny").sha256
    manifest = {"own": {"sha256": {"generator.onnx": digest}}}
    monkeypatch.setattr(catalog, "_manifest", lambda: manifest)
    monkeypatch.setattr(catalog, "_pretrained", lambda: own.parent)
    (own / "generator.onnx").write_bytes(_damaged(tiny, "flipped"))
    failed = run("grid -m own")
    assert failed.code == 1
    assert "damaged" in failed.err


def test_weights_outside_the_folder_are_not_followed(
    run: Run, tiny: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(tiny)
    weights = next(t for t in model.graph.initializer if t.name == "W")
    (tmp_path / "secret.bin").write_bytes(weights.raw_data)
    onnx.external_data_helper.set_external_data(weights, "../secret.bin")
    weights.ClearField("raw_data")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "generator.onnx").write_bytes(model.SerializeToString())
    failed = run("grid -m inside -o a.png")
    assert (failed.code, len(failed.err.splitlines())) == (1, 1)
    assert not Path("a.png").exists()


def _start(
    line: str, cwd: Path, tiny: Path, *within: str, **options: int
) -> subprocess.Popen[bytes]:
    code = (
        # A shell's background job, and so its children, would ignore an interrupt.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"from infogan_export.cli import main; main({shlex.split(line)})"
    )
    env = dict(os.environ, INFOGAN_EXPORT_MODELS=str(tiny.parents[1]))
    return subprocess.Popen(
        [*within, sys.executable, "-c", code],
        cwd=cwd,
        env=env,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_leaves_is_no_error_message(tmp_path: Path, tiny: Path) -> None:
    line = "gif -m tiny --rows 9 --columns 9 -o -"
    with _start(line, tmp_path, tiny, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(6) == b"GIF89a"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("name", ["a.gif", "a.npy", "many"])
def test_an_interrupt_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, tiny: Path, name: str
) -> None:
    if name != "many":
        (tmp_path / name).write_text("old")
    line = {
        "a.gif": "gif -m tiny --seconds 500 -o a.gif",
        "a.npy": "sample -m tiny -n 9000000 -o a.npy",
        "many": "sample -m tiny -n 1000000 -o many",
    }[name]
    with _start(line, tmp_path, tiny) as process:
        deadline = time.monotonic() + 60
        while not _has_begun(tmp_path, name) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read().decode().strip() == "infogan-gen: interrupted"
        assert process.wait(30) == 130
    if name != "many":
        assert (tmp_path / name).read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == [name]
    for path in (tmp_path / "many").glob("*"):
        Image.open(path).load()  # every picture there is whole


def _has_begun(folder: Path, name: str) -> bool:
    if name == "many":
        return len(list((folder / name).glob("*.png"))) > 3
    begun = [p for p in folder.iterdir() if p.name != name]
    return any(p.stat().st_size > 1000 for p in begun)


_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's memory")
def test_memory_does_not_grow_with_the_count(tmp_path: Path, tiny: Path) -> None:
    peaks = []
    for count in (2000, 100_000):
        line = f"sample -m tiny -n {count} -o a.npy"
        # Linux counts what the parent held as well, so the parent is a small one.
        small = (sys.executable, "-c", _PEAK)
        with _start(line, tmp_path, tiny, *small, stdout=subprocess.PIPE) as process:
            told, _ = process.communicate()
        assert process.returncode == 0
        peaks.append(int(told))
    assert np.load(tmp_path / "a.npy", mmap_mode="r").shape == (100_000, 8, 8)
    assert peaks[1] <= 1.2 * peaks[0]
