"""Names from evidence, the evaluation of a model, its report and its command."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("scipy")
pytest.importorskip("sklearn")

pytest.importorskip("matplotlib")

from infogan_export.cli import main

from infogan_export.datasets import ImageSet
from infogan_export.errors import DataError, MissingExtraError, UsageError
from infogan_export.evaluation import association as assoc
from infogan_export.evaluation import evaluate as evaluate_module
from infogan_export.evaluation import naming, strokes
from infogan_export.evaluation.evaluate import PARTS, evaluate, nearest_training
from infogan_export.evaluation.figures import Evaluation
from infogan_export.evaluation.inception import Inception
from infogan_export.evaluation.judge import JudgeReport
from infogan_export.evaluation.report import render_report
from infogan_export.latent import CategoricalCode, LatentSpec, Noise, UniformCode
from infogan_export.runtime import load

SPEC = LatentSpec(
    Noise(2),
    (CategoricalCode("digit", 3), UniformCode("cont1"), UniformCode("cont2")),
)


def draw_strokes(latents, size=16):
    """Leaning bars: the first code thins them, the second makes them lean right.

    The category is the bar's length, the noise its place.
    """
    y, x = np.mgrid[:size, :size].astype(float)
    images = []
    for z1, _, *one_hot, thin, lean in latents.astype(float):
        half = 4 + np.argmax(one_hot)
        up = size / 2 - y
        away = abs(x - size / 2 - z1 - 0.3 * lean * up) - (2 - 0.6 * thin)
        beyond = abs(up) - half
        images.append(np.clip(0.5 - np.maximum(away, beyond), 0, 1))
    return np.rint(255 * np.array(images)).astype(np.uint8)


# --- naming ------------------------------------------------------------------


def test_codes_are_called_after_what_they_change_with_its_sign():
    thin, lean = naming.describe_uniform_codes(draw_strokes, SPEC, count=300)
    assert (thin.code, thin.name, thin.sign) == ("cont1", "thickness", -1)
    assert (lean.code, lean.name, lean.sign) == ("cont2", "slant", 1)
    assert lean.correlations["slant"] > 0.99
    assert len(lean.by_category["slant"]) == 3
    assert lean.correlations["slant"] == pytest.approx(
        np.mean(lean.by_category["slant"])
    )


def test_two_codes_never_share_a_name_and_a_weak_one_keeps_its_own():
    none = dict.fromkeys(strokes.PROPERTIES, 0.0)
    both = [none | {"ink": 0.9, "width": 0.8}, none | {"ink": -0.95}]
    assert naming.assign_names(["a", "b"], both) == ["width", "ink"]
    assert naming.assign_names(["a", "b"], [none, both[1]]) == ["a", "ink"]
    weak = none | {"slant": 0.59}
    assert naming.assign_names(["a"], [weak]) == ["a"]
    near = none | {"ink": 0.92, "thickness": 0.9}
    assert naming.assign_names(["a"], [near]) == ["thickness"]
    assert naming.assign_names([], []) == []


def test_renumbered_categories_are_their_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 400)
    read = rng.permutation(10)[labels]
    found = naming.order_categories(assoc.match_categories(read, labels, 10))
    assert (np.argsort(found.order)[read] == labels).all()
    assert found.labels == tuple("0123456789")


def test_a_category_without_a_class_of_its_own_is_marked_as_such():
    labels = np.array([0, 0, 0, 0, 1, 1])
    read = np.array([2, 2, 2, 1, 0, 0])  # two categories for class 0, no class 2
    found = naming.order_categories(assoc.match_categories(read, labels, 3))
    assert found.order == (2, 0, 1)
    assert found.labels == ("0", "1", "2?")


# --- evaluating --------------------------------------------------------------


class TemplateJudge:
    """Takes an image for the category that the tiny model's exact Q reads in it."""

    name = "pixels"
    sha256 = "0" * 64

    def __init__(self, model, labels=("bar", "dash", "cross")):
        self.model = model
        self.report = JudgeReport(0.99, "strokes", "a", "b", labels, (8, 8, 1), 0, 1)

    def features(self, images):
        return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)

    def predict(self, images):
        return self.model.recognize(images)["shape"].category


@pytest.fixture(scope="module")
def model():
    return load(Path(__file__).parent / "data" / "tiny" / "generator.onnx")


@pytest.fixture(scope="module")
def sets(model):
    """As real as can be: images of the model itself, from other seeds."""
    train, test = (model.latents(300, seed=seed) for seed in (101, 102))
    return {
        name: ImageSet(model.draw(z)[..., None], z[:, 4:7].argmax(axis=1), "strokes")
        for name, z in (("train", train), ("test", test))
    }


@pytest.fixture(scope="module")
def found(model, sets):
    return evaluate(
        model, **sets, judge=TemplateJudge(model), baseline=model, samples=300
    )


def test_a_perfect_model_has_perfect_figures(found, model):
    assert not found.skipped
    assert found.labels.accuracy == found.labels.nmi == found.labels.ari == 1
    assert np.array(found.labels.confusion).sum() == 300
    shape, *uniform = found.information
    assert shape.bound.nats == pytest.approx(shape.bound.ceiling)
    assert shape.entropy == pytest.approx(np.log(3))
    assert all(code.bound.low > code.entropy for code in uniform)
    assert [a.where for a in found.asked.agreements] == ["prior", "end", "ends"]
    assert all(a.share == 1 for a in found.asked.agreements)
    assert found.asked.at_low == found.asked.at_high == {"slant": 1, "thickness": 1}
    assert found.quality == found.baseline
    for distance in (found.quality, found.floor):
        assert distance.recall > 0.8
        assert distance.coverage > 0.8
    assert found.quality.frechet < 3 * found.floor.frechet
    assert (found.quality.draws, found.floor.draws) == (5, 1)  # 300 images to draw
    assert found.floor.frechet_deviation is None
    for evidence in (found.properties, found.sweeps):
        assert [code.name for code in evidence] == ["slant", "thickness"]
    assert found.sweeps[0].correlations["slant"] > 0.999
    assert [(a.low, a.high, a.images) for a in found.leakage] == [
        (-1, 1, 0),
        (-2, 2, 0),
    ] * 2
    assert found.neighbours.closer < 0.1


def test_figures_survive_json_and_repeat(found, model, sets):
    assert Evaluation.from_json(found.to_json()) == found
    with pytest.raises(DataError, match="not the figures"):
        Evaluation.from_json('{"conditions": 3}')
    parts = []
    again = evaluate(
        model,
        **sets,
        judge=TemplateJudge(model),
        baseline=model,
        samples=300,
        progress=lambda done, total, what: parts.append((done, total, what)),
    )
    assert again == found
    assert [done for done, *_ in parts] == list(range(PARTS + 1))


def test_what_is_asked_by_name_must_be_drawn_by_that_name(model, sets):
    swapped = TemplateJudge(model, labels=("dash", "bar", "cross"))
    asked = evaluate(model, **sets, judge=swapped, samples=300).asked
    assert asked.by_name
    assert asked.agreements[0].by_category == (0, 0, 1)
    unnamed = TemplateJudge(model, labels=("0", "1", "2", "3"))
    asked = evaluate(model, **sets, judge=unnamed, samples=300).asked
    assert not asked.by_name
    assert asked.agreements[0].share == 1


def test_categories_without_labels_are_matched_not_taken_by_number():
    code = CategoricalCode("cat1", 3)
    asked = np.array([0, 0, 1, 1, 2, 2])
    by_name, class_of = evaluate_module._classes_of(
        code, ("0", "1", "2"), asked, (asked + 1) % 3
    )
    assert not by_name
    assert class_of.tolist() == [1, 2, 0]


def test_what_cannot_be_measured_is_skipped_and_said(model, sets, tmp_path, tiny):
    bare = tmp_path / "bare.onnx"
    shutil.copy(tiny, bare)
    unlabelled = {name: replace(images, labels=None) for name, images in sets.items()}
    found = evaluate(load(bare), **unlabelled, samples=100)
    assert "no labels" in found.skipped["labels"]
    assert "recognition" in found.skipped["information"]
    assert found.skipped["asked"] == found.skipped["leakage"] == "no judge was given"
    assert {"quality", "floor", "baseline"} < set(found.skipped)
    assert found.properties is not None
    assert found.neighbours is not None
    assert Evaluation.from_json(found.to_json()) == found


def test_what_does_not_fit_is_one_line(model, sets):
    test, train = sets["test"], sets["train"]
    wide = replace(test, images=np.repeat(test.images, 2, axis=2))
    with pytest.raises(DataError, match="8x8x1, the test images are 8x16x1"):
        evaluate(model, test=wide, train=train)
    beyond = replace(test, labels=test.labels + 5)
    with pytest.raises(DataError, match=r"label 7 is out of range.* 0 to 2"):
        evaluate(model, test=beyond, train=train)
    few = ImageSet(test.images[:5], None, "few")
    with pytest.raises(DataError, match="at least 6 test images, few has 5"):
        evaluate(model, test=few, train=train)
    with pytest.raises(UsageError, match="at least 100 samples"):
        evaluate(model, test=test, train=train, samples=99)
    with pytest.raises(UsageError, match="at least 1 draw is needed, got 0"):
        evaluate(model, test=test, train=train, samples=100, draws=0)
    judge = TemplateJudge(model)
    judge.report = replace(judge.report, image_shape=(28, 28, 1))
    with pytest.raises(DataError, match="the judge sees images of 28x28x1"):
        evaluate(model, test=test, train=train, judge=judge)


def test_copies_of_training_images_are_found(model, sets):
    copied = model.sample(100, seed=5)
    train = np.concatenate([sets["train"].images[..., 0], copied])
    found = nearest_training(copied, sets["test"].images[..., 0], train)
    assert found.closer == 1
    assert found.median < 1e-3 < found.test_median
    assert all(image == 300 + sample for sample, image in found.closest)
    thirds = np.arange(100) % 3
    found = nearest_training(copied, sets["test"].images[..., 0], train, thirds)
    assert np.bincount([thirds[i] for i, _ in found.closest]).tolist() == [7, 7, 6]


def test_real_neighbours_are_those_of_a_draw_whatever_the_order(model, sets):
    test, train = sets["test"], sets["train"]
    by_class = np.argsort(test.labels, kind="stable")
    drawn = model.sample(100, seed=5)
    medians = [
        nearest_training(
            drawn, test.images[order][..., 0], train.images[..., 0]
        ).test_median
        for order in (by_class, by_class[::-1], np.arange(300))
    ]
    np.testing.assert_allclose(medians, np.mean(medians), rtol=0.1)


def test_neighbours_need_a_hundred_test_images(model, sets):
    few = ImageSet(sets["test"].images[:99], None, "few")
    found = evaluate(model, test=few, train=sets["train"], samples=100)
    assert "there are 99" in found.skipped["neighbours"]


def test_inception_sees_grey_images_in_three_channels(model, sets, monkeypatch):
    torch = pytest.importorskip("torch")

    class Extractor:
        def __init__(self, name, features):
            assert features == ["2048"]

        def __call__(self, batch):
            assert batch.dtype == torch.uint8
            assert batch.shape[1:] == (3, 8, 8)
            return (batch.flatten(1).float(),)

    module = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    network = Inception()
    images = sets["test"].images[..., 0]
    assert (network.features(images)[:, :64] == images.reshape(300, 64)).all()
    found = evaluate(model, **sets, features=network, samples=100)
    assert found.quality is not None
    assert (found.quality.draws, found.floor.draws) == (5, 3)
    assert "Inception" in found.conditions.features
    monkeypatch.setitem(sys.modules, module.__name__, None)
    with pytest.raises(MissingExtraError, match=r"infogan-export\[inception\]"):
        Inception()


# --- the report --------------------------------------------------------------


class Outline(HTMLParser):
    """Tags opened and not closed, and the attributes of images."""

    void = frozenset(["meta", "img"])

    def __init__(self, page):
        super().__init__()
        self.open, self.images, self.headings = [], [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.headings += tag == "h2"
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_report_is_one_whole_file_with_everything_in_it(found, model, sets):
    page = render_report(found, model=model, train=sets["train"])
    outline = Outline(page)
    assert not outline.open
    assert outline.headings == 9
    assert len(outline.images) == 8
    for image in outline.images:
        assert image["src"].startswith("data:image/png;base64,iVBOR")
        assert len(image["alt"]) > 20
    assert "http" not in page
    assert page == render_report(found, model=model, train=sets["train"])


def test_the_report_leaves_out_what_was_skipped_and_escapes_names(found, model, sets):
    conditions = replace(found.conditions, model="<b>", data="a & b")
    part = replace(found, conditions=conditions, labels=None, asked=None, leakage=None)
    part = replace(part, skipped={"labels": "none of <them>"})
    page = render_report(part, model=model, train=sets["train"])
    assert Outline(page).headings == 6
    assert "labels: none of &lt;them&gt;" in page
    assert "<b>" not in page


# --- the command -------------------------------------------------------------


@pytest.fixture
def command(sets, tmp_path, monkeypatch, capsys, tiny):
    """Runs `evaluate` on the tiny model in an empty folder."""
    data = tmp_path / "strokes.npz"
    arrays = {
        f"{axis}_{name}": values
        for name, images in sets.items()
        for axis, values in (("x", images.images), ("y", images.labels))
    }
    np.savez(data, **arrays)
    folder = tmp_path / "out"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*more):
        line = ["evaluate", str(tiny), "--data-dir", str(data), "--samples", "100"]
        with pytest.raises(SystemExit) as left:
            main([*line, *more])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


def test_the_command_prints_a_table_and_writes_both_files(command):
    code, out, err = command("--json", "f.json", "--html", "r.html", "--seed", "3")
    assert (code, err.strip()) == (0, "")
    written = Evaluation.from_json(Path("f.json").read_text())
    assert written.conditions.seed == 3
    assert written.conditions.samples == 100
    assert "100.00%" in out
    assert "H(c)" in out  # beside it, in 80 columns too
    assert "left out asked: no judge was given" in out
    assert Path("r.html").read_text().startswith("<!doctype html>")


def test_images_are_fitted_and_broken_ones_left_out_when_asked(command, sets, tmp_path):
    for part in ("train", "test"):
        for index, image in enumerate(sets[part].images[:110, ..., 0]):
            large = Image.fromarray(image).resize((8 + 8 * (index % 2),) * 2)
            folder = tmp_path / "data" / part / str(sets[part].labels[index])
            folder.mkdir(parents=True, exist_ok=True)
            large.save(folder / f"{index}.png")
        (folder / "broken.png").write_text("no image")
    given = ["--data-dir", str(tmp_path / "data")]
    code, _, err = command(*given)
    assert code == 1 and "--size" in err
    code, _, err = command(*given, "--size", "8x8")
    assert code == 1 and "broken.png" in err
    code, out, err = command(*given, "--skip-broken", "--size", "8x8")
    assert code == 0 and "beside" in out
    assert err.count("left out 1 broken files") == 2


def test_an_interrupted_evaluation_leaves_nothing(command, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate_module, "nearest_training", interrupt)
    code, out, err = command("--json", "f.json", "--html", "r.html")
    assert (code, out) == (130, "")
    assert err.strip().endswith("interrupted")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--html", "absent/r.html"], "cannot write absent/r.html: there is no folder"),
        (["--json", "."], "cannot write .: it is a folder"),
        (["--judge", "absent.onnx"], "no judge at absent.onnx"),
        (["--baseline", "absent.onnx"], "absent.onnx does not exist"),
        (["--data", "mnist"], "give either --data NAME or --data-dir DIR"),
        (["--channels", "2"], "--channels is 1 or 3, got 2"),
        (["--samples", "10"], "at least 100 samples are needed, got 10"),
    ],
)
def test_each_mistake_is_one_line(command, more, line):
    code, out, err = command(*more)
    assert code in (1, 2)
    assert out == ""
    assert err.strip().count("\n") == 0
    assert line in err


def test_colour_images_are_made_grey_only_when_asked(command, sets, tmp_path):
    colour = {f"x_{k}": v.images.repeat(3, axis=3) for k, v in sets.items()}
    np.savez(tmp_path / "strokes.npz", **colour)
    code, _, err = command()
    assert (code, err.strip().count("\n")) == (1, 0)
    assert "8x8x3" in err
    assert "--channels 1 converts them" in err
    assert command("--channels", "1")[0] == 0


def test_a_missing_extra_is_named(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    code, _, err = command()
    assert code == 1
    assert "pip install 'infogan-export[evaluate]'" in err


def test_an_evaluation_needs_no_torch(tmp_path, tiny, sets):
    np.savez(
        tmp_path / "s.npz", x_train=sets["train"].images, x_test=sets["test"].images
    )
    # Not by torch = None: scipy looks at sys.modules to see whose arrays it has.
    program = (
        "import sys\n"
        "from infogan_export.cli import main\n"
        f"line = ['evaluate', {str(tiny)!r}, '--data-dir', 's.npz']\n"
        "try: main([*line, '--samples', '100'])\n"
        "finally: assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
