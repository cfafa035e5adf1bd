"""The evaluation as one HTML file, pictures inside, that also reads well printed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from string import Template

from infogan_export.datasets import ImageSet
from infogan_export.evaluation import pictures
from infogan_export.evaluation.evaluate import as_drawn
from infogan_export.evaluation.figures import Evaluation, SetDistance
from infogan_export.evaluation.summary import MANIFOLD_MEASURES, frechet, summary
from infogan_export.runtime import Model

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light; }
body { max-width: 44rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
  background: #fff; font: 1rem/1.5 Charter, "Iowan Old Style", Georgia, serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin-bottom: .3rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; border-top: 1px solid #ccc;
  padding-top: 1rem; }
p, figure, table, dl { margin: .7rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; width: 100%;
  font-variant-numeric: tabular-nums lining-nums;
  border-top: 2px solid; border-bottom: 2px solid; }
th, td { padding: .22rem .5rem; text-align: right; vertical-align: baseline; }
th:first-child, td:first-child, .text { text-align: left; }
td:not(:first-child):not(.text) { white-space: nowrap; }
thead th { border-bottom: 1px solid; }
tbody tr + tr { border-top: 1px solid #e4e4e4; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption, .note { font-size: .88rem; color: #444; }
code { font-size: .85em; overflow-wrap: anywhere; }
@page { margin: 16mm 14mm; }
@media print {
  body { max-width: none; margin: 0; padding: 0; font-size: 10pt; }
  h2 { break-after: avoid; border: 0; margin-top: 1.2rem; padding-top: 0; }
  figure, tr, p, h2 ~ .scroll { break-inside: avoid; }
  h2 + p { break-after: avoid; }
  img { max-height: 10.5cm; width: auto; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
}
</style>
</head>
<body>
$body
</body>
</html>
""")


def render_report(evaluation: Evaluation, *, model: Model, train: ImageSet) -> str:
    """The HTML of an evaluation.

    Args:
        evaluation: of this model, on this training set.
        model: draws the pictures again, from the evaluation's seed.
        train: holds the closest training images.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    title = f"Evaluation of {evaluation.conditions.model}"
    sections = (
        _head(evaluation, title),
        _pictures(evaluation, model),
        _labels(evaluation, model),
        _information(evaluation),
        _asked(evaluation),
        _quality(evaluation),
        _properties(evaluation, model),
        _shifts(evaluation),
        _leakage(evaluation),
        _neighbours(evaluation, model, train),
        _conditions(evaluation),
    )
    body = "\n".join(part for section in sections for part in section)
    return _PAGE.substitute(title=escape(title), body=body)


def _head(evaluation: Evaluation, title: str) -> Iterator[str]:
    on = evaluation.conditions
    yield f"<h1>{escape(title)}</h1>"
    yield _paragraph(
        f"{on.samples:,} generated images (seed {on.seed}) against "
        f"{on.test_images:,} test and {on.train_images:,} training images of "
        f"{on.data}. Labels served to measure only.",
        note=True,
    )
    yield _table(("figure", "value", "beside it"), summary(evaluation), texts=(2,))
    if evaluation.skipped:
        yield _paragraph("Left out, and why:")
        reasons = (f"{name}: {why}" for name, why in evaluation.skipped.items())
        yield "<ul>" + "".join(f"<li>{escape(r)}</li>" for r in reasons) + "</ul>"


def _pictures(evaluation: Evaluation, model: Model) -> Iterator[str]:
    seed = evaluation.conditions.seed
    yield _heading("What it draws")
    columns = (
        f"one {model.spec.categorical[0].name} a column"
        if model.spec.categorical
        else "drawn at random"
    )
    yield _figure(
        pictures.samples_sheet(model, seed=seed),
        alt=f"A sheet of generated images, {columns}.",
        caption=f"Samples, {columns}; everything else is drawn from its prior.",
    )
    for code in model.spec.uniform:
        low, high = code.sweep_range
        yield _figure(
            pictures.traversal_sheet(model, code, seed=seed),
            alt=f"Rows of images in which {code.name} goes from {low:g} to {high:g}.",
            caption=f"{code.name} from {low:g} to {high:g}, all else held fixed along "
            f"a row. Its prior is {code.low:.3g} to {code.high:.3g}.",
        )


def _labels(evaluation: Evaluation, model: Model) -> Iterator[str]:
    found = evaluation.labels
    if found is None:
        return
    labels = _categories(model)
    yield _heading("The code against the labels of real images")
    yield _paragraph(
        f"Q reads {found.code} in {found.images:,} test images. With each value "
        f"standing for one label, the best way round, {found.accuracy:.2%} agree; "
        f"normalised mutual information {found.nmi:.4f}, adjusted Rand index "
        f"{found.ari:.4f}."
    )
    worst = sorted(
        (
            (count, label, k)
            for label, row in enumerate(found.confusion)
            for k, count in enumerate(row)
            if found.label_of[k] != label and count
        ),
        reverse=True,
    )[:3]
    told = ", ".join(f"{n:,} of {label} read as {labels[k]}" for n, label, k in worst)
    yield _figure(
        pictures.confusion_picture(found, labels),
        alt="Confusion matrix: labels down, values of the code across. "
        f"Most frequent confusions: {told or 'none'}.",
        caption="Number of test images by label and by value of the code. "
        "Colour is the square root of a label's share.",
    )


def _information(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.information is None:
        return
    yield _heading("Information that the images carry about the codes")
    yield _paragraph(
        "L_I = E[log Q(c|x)] + H(c), in nats: a lower bound on the mutual information "
        "I(c; G(z, c)), with the entropy of the prior that c was drawn from and a "
        "95% interval. A categorical code cannot carry more than H(c); a continuous "
        "one has no ceiling."
    )
    rows = [
        (
            found.code,
            f"{found.bound.nats:.3f}",
            f"{found.bound.low:.3f} to {found.bound.high:.3f}",
            f"{found.entropy:.3f}",
            "none" if found.bound.ceiling is None else f"{found.bound.ceiling:.3f}",
        )
        for found in evaluation.information
    ]
    yield _table(("code", "L_I", "95% interval", "H(c)", "ceiling"), rows)


def _asked(evaluation: Evaluation) -> Iterator[str]:
    found = evaluation.asked
    if found is None:
        return
    how = (
        "Each value must show the class of its own label."
        if found.by_name
        else "Values stand for classes by the best matching."
    )
    yield _heading("What is asked is what is drawn")
    yield _paragraph(
        f"Share of {evaluation.conditions.samples:,} generated images that the judge "
        f"takes for what was asked. {how}"
    )
    by_category = zip(*(a.by_category for a in found.agreements), strict=True)
    rows = [
        (label, *(f"{share:.2%}" for share in shares))
        for label, shares in zip(found.labels, by_category, strict=True)
    ]
    rows.append(("all", *(f"{a.share:.2%}" for a in found.agreements)))
    yield _table((found.code, *map(str, found.agreements)), rows)
    ends = [
        (name, f"{low:.2%}", f"{found.at_high[name]:.2%}")
        for name, low in found.at_low.items()
    ]
    if ends:
        yield _table(("one code at an end", "the low one", "the high one"), ends)


def _quality(evaluation: Evaluation) -> Iterator[str]:
    on = evaluation.conditions
    sets = [
        (on.model, evaluation.quality),
        (f"training images, drawn with seed {on.seed}", evaluation.floor),
        (on.baseline or "", evaluation.baseline),
    ]
    rows = [(name, *_distance_cells(found)) for name, found in sets if found]
    if not rows:
        return
    yield _heading("Quality and diversity")
    yield _paragraph(
        f"Distances from the {on.test_images:,} test images in the features of "
        f"{on.features}: Frechet distance (squared, lower is better; mean and "
        "standard deviation of draws of other images), and of the first draw improved "
        "precision and recall (k = 3), density and coverage (k = 5). Training images "
        "show what real images reach against other real images."
    )
    yield _table(("set", "images", "Frechet", *MANIFOLD_MEASURES), rows)


def _distance_cells(found: SetDistance) -> tuple[str, ...]:
    measures = (f"{getattr(found, name):.3f}" for name in MANIFOLD_MEASURES)
    return (f"{found.draws} x {found.images:,}", frechet(found), *measures)


def _properties(evaluation: Evaluation, model: Model) -> Iterator[str]:
    if evaluation.properties is None or evaluation.sweeps is None:
        return
    categories = _categories(model)
    yield _heading("What the uniform codes change")
    yield _paragraph(
        "Spearman's rank correlation of each uniform code, over its sweep range, with "
        "properties measured in the images. Noise and other codes differ from image to "
        "image in the first picture, so that 1 means a code which decides a property "
        "alone; along a sweep everything else is held fixed, and 1 means that the "
        "property always rises with the code."
    )
    for evidence, how in (
        (evaluation.properties, "noise and other codes drawn anew for each image"),
        (evaluation.sweeps, "everything else held fixed along a sweep"),
    ):
        strongest = "; ".join(
            f"{found.code} with {name} {found.correlations[name]:.2f}"
            for found in evidence
            for name in [
                max(found.correlations, key=lambda p: abs(found.correlations[p]))
            ]
        )
        yield _figure(
            pictures.correlation_picture(evidence, categories),
            alt=f"Heat maps of rank correlations. Strongest on average: {strongest}.",
            caption=f"Rank correlation by value of the categorical code, {how}. "
            f"Strongest on average: {strongest}.",
        )


def _shifts(evaluation: Evaluation) -> Iterator[str]:
    """The table of the codes: how far each property moves along each."""
    moved = [found for found in evaluation.sweeps or () if found.shifts]
    if not moved:
        return
    yield _paragraph(
        "How far each property moves from one end of a code's sweep to the other, all "
        "else held fixed, in standard deviations of the real test images."
    )
    names = list(moved[0].shifts)
    rows = [
        (found.code, *(f"{found.shifts[p]:+.2f}" for p in names), f"{found.others:.2f}")
        for found in moved
    ]
    yield _table(("code", *names, "others"), rows)


def _leakage(evaluation: Evaluation) -> Iterator[str]:
    if evaluation.leakage is None:
        return
    yield _heading("Leakage")
    yield _paragraph(
        "How much sweeping a uniform code changes the class that the judge sees, "
        "against the class at the code's middle."
    )
    rows = [
        (
            found.code,
            f"{found.low:.3g} to {found.high:.3g}",
            f"{found.sweeps:,} of {found.steps}",
            f"{found.images:.2%}",
            f"{found.any_image:.2%}",
        )
        for found in evaluation.leakage
    ]
    yield _table(
        ("code", "range", "sweeps", "images changed", "sweeps with a change"), rows
    )


def _neighbours(evaluation: Evaluation, model: Model, train: ImageSet) -> Iterator[str]:
    found = evaluation.neighbours
    if found is None:
        return
    yield _heading("Nothing learned by heart?")
    yield _paragraph(
        f"The closest of {evaluation.conditions.train_images:,} training images to "
        f"each of {found.images:,} generated ones, by the root mean square of their "
        f"grey levels (0 to 1). The median distance is {found.median:.3f}, that of "
        f"test images {found.test_median:.3f}; {found.closer:.1%} of the generated "
        "images are closer than 99% of the test images are. Copies would be far closer "
        "than any test image; 1% would be closer by chance."
    )
    in_turn = ", the categories in turn" if model.spec.categorical else ""
    for pairs, which in (
        (found.first, f"first {len(found.first)} generated images"),
        (found.closest, f"{len(found.closest)} closest{in_turn}"),
    ):
        told = f"The {which}, each above its closest training image."
        sheet = pictures.neighbours_sheet(
            model, as_drawn(train.images), pairs, seed=evaluation.conditions.seed
        )
        yield _figure(sheet, alt=told, caption=told)


def _conditions(evaluation: Evaluation) -> Iterator[str]:
    on = evaluation.conditions
    yield _heading("What was measured with what")
    rows = [
        ("generator", f"{on.model}, sha256 {on.model_sha256}"),
        ("training images", f"{on.train_images:,}, sha256 {on.train_sha256}"),
        ("test images", f"{on.test_images:,}, sha256 {on.test_sha256}"),
        ("samples", f"{on.samples:,}, seed {on.seed}"),
    ]
    if on.judge is not None:
        trust = (
            f"right on {on.judge.accuracy:.2%} of the test images of {on.judge.data}"
        )
        rows.append(("judge", f"{trust}, sha256 {on.judge_sha256}"))
        if on.judge.test_sha256 != on.test_sha256:
            rows.append(("", "the judge was measured on other test images than these"))
    yield _table(("what", "which"), rows, texts=(1,))


def _categories(model: Model) -> list[str]:
    """What the values of the first categorical code are called."""
    if not model.spec.categorical:
        return ["all"]
    code = model.spec.categorical[0]
    return [code.label(k) for k in range(code.size)]


def _heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def _paragraph(text: str, *, note: bool = False) -> str:
    return f"<p{' class=note' if note else ''}>{escape(text)}</p>"


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Sequence[int] = ()
) -> str:
    """A table; the columns in `texts` and the first are left-aligned."""

    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="text"' if column in texts else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    def line(tag: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(cell(tag, i, text) for i, text in enumerate(cells))}</tr>"

    return (
        f'<div class="scroll"><table>\n<thead>{line("th", header)}</thead>\n<tbody>'
        + "\n".join(line("td", row) for row in rows)
        + "</tbody>\n</table></div>"
    )


def _figure(png: bytes, *, alt: str, caption: str) -> str:
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return (
        f'<figure><img src="{source}" alt="{escape(alt)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
