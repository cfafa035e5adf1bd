"""Laws of the catalogue: which name wins, and that digests are checked."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import infogan_export
from infogan_export import catalog
from infogan_export.errors import ModelError, UsageError


@pytest.fixture
def embedded(tiny, tmp_path, monkeypatch):
    """A folder of embedded models that holds one, named digits."""
    root = tmp_path / "pretrained"
    folder = shutil.copytree(tiny.parent, root / "digits")
    digests = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }
    write_manifest(root, {"models": {"digits": {"sha256": digests}}})
    monkeypatch.setattr(catalog, "_pretrained", lambda: root)
    monkeypatch.delenv(catalog.MODELS_VARIABLE, raising=False)
    catalog._manifest.cache_clear()
    yield root
    catalog._manifest.cache_clear()


@pytest.fixture
def own(tiny, tmp_path, monkeypatch, embedded):
    """A user's folder with two models, one of an embedded one's name."""
    root = tmp_path / "own"
    for name in ("mine", "digits"):
        shutil.copytree(tiny.parent, root / name)
    monkeypatch.setenv(catalog.MODELS_VARIABLE, str(root))
    return root


def write_manifest(root: Path, content: object) -> None:
    (root / "manifest.json").write_text(json.dumps(content))
    catalog._manifest.cache_clear()


def test_an_embedded_name_wins_over_the_users_folder_and_a_path(
    own, embedded, monkeypatch
):
    monkeypatch.chdir(own)  # so that "digits" and "mine" are paths as well
    assert catalog.find("digits").folder == embedded / "digits"
    mine = catalog.find("mine")
    assert (mine.origin, mine.folder, mine.sha256) == ("own", own / "mine", {})
    by_path = catalog.find("./mine")
    assert (by_path.origin, by_path.name) == ("path", "mine")
    found = [(m.name, m.origin) for m in catalog.installed()]
    assert found == [("digits", "embedded"), ("mine", "own")]


def test_a_path_is_a_file_or_a_folder(embedded, tiny, tmp_path):
    for path in (tiny, str(tiny), tiny.parent):
        files = catalog.find(path)
        assert files.origin == "path"
        assert files.generator == tiny
        assert files.recognition == tiny.with_name("recognition.onnx")
        assert infogan_export.load(path).name == "tiny"
    lonely = shutil.copy(tiny, tmp_path / "other.onnx")
    assert catalog.find(lonely).recognition is None


def test_a_loaded_model_has_the_name_it_was_found_by(own):
    assert infogan_export.load("digits").name == "digits"
    assert infogan_export.load("mine").name == "mine"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("digit", "'digit' .did you mean 'digits'.*has digits, mine.*path of a gen"),
        ("nowhere/x.onnx", "nowhere/x.onnx does not exist"),
        ("", r"\. holds no generator.onnx"),
        ("x" * 5000, "no model 'xxx"),
        ("no\0name", "no model"),
    ],
)
def test_an_unknown_model_is_a_usage_error(own, tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        catalog.find(name)


def test_a_folder_without_a_generator_is_a_usage_error(embedded, tmp_path):
    with pytest.raises(UsageError, match=r"holds no generator\.onnx"):
        catalog.find(tmp_path)


def test_a_folder_of_own_models_that_is_missing_is_named(embedded, monkeypatch):
    monkeypatch.setenv(catalog.MODELS_VARIABLE, "/nowhere/models")
    with pytest.raises(UsageError, match=r"INFOGAN_EXPORT_MODELS.*/nowhere/models"):
        catalog.installed()
    assert catalog.find("digits").origin == "embedded"


@pytest.mark.parametrize("name", ["generator.onnx", "recognition.onnx"])
@pytest.mark.parametrize("at", [100, -200])
def test_one_changed_bit_of_an_embedded_model_is_noticed(embedded, name, at):
    path = embedded / "digits" / name
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=rf"{name} is damaged: its SHA-256 is"):
        model = infogan_export.load("digits")
        model.recognize(model.sample(1))


def test_the_digest_of_a_model_is_that_of_its_generator(embedded, tiny):
    digest = hashlib.sha256(tiny.read_bytes()).hexdigest()
    for source in ("digits", tiny):
        assert infogan_export.load(source).sha256 == digest


def test_an_embedded_model_whose_file_is_missing_asks_to_reinstall(embedded):
    (embedded / "digits" / "generator.onnx").unlink()
    with pytest.raises(ModelError, match=r"generator.onnx is missing; reinstall"):
        infogan_export.load("digits")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"models"'])
def test_a_damaged_manifest_asks_to_reinstall(embedded, content):
    (embedded / "manifest.json").write_text(content)
    catalog._manifest.cache_clear()
    with pytest.raises(ModelError, match=r"manifest.json is not readable.*reinstall"):
        catalog.find("digits")


def test_the_golden_picture_is_optional(embedded):
    assert catalog.find("digits").golden is None
    golden = embedded / "digits" / "golden.png"
    golden.touch()
    assert catalog.find("digits").golden == golden


def test_the_manifest_of_this_package_is_true():
    catalog._manifest.cache_clear()
    for files in map(catalog.find, catalog._manifest()):
        assert set(files.sha256) >= {"generator.onnx", "recognition.onnx"}
        for name, digest in files.sha256.items():
            content = (files.folder / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest
