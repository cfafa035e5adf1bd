"""What commands print: tables of plain values, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infogan_export.limits import readable

from .output import printable

if TYPE_CHECKING:
    from infogan_export.checks import Check
    from infogan_export.training.selection import Score


def print_models(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each model."""
    grid = Table.grid(padding=(0, 2))
    for row in rows:
        about = f"[red]{_text(row.get('problem', ''))}[/]"
        if "problem" not in row:
            codes = _text(", ".join(row["codes"]))
            about = f"[cyan]{_shape(row['image_shape'])}: {codes}[/]"
            about += f"\n{_text(row['description'])}"
        grid.add_row(f"[bold]{_text(row['name'])}[/]", about)
    _print(grid if rows else "no models are installed")


def print_model(card: Mapping[str, Any]) -> None:
    """A model's card: codes, figures, files."""
    _print(
        f"[bold]{_text(card['name'])}[/]  {_shape(card['image_shape'])}, "
        f"{card['origin']}"
    )
    if card["description"]:
        _print(_text(card["description"]))
    if card["notice"]:
        _print(f"[yellow]{_text(card['notice'])}[/]")
    table = _table("code", "values", "sweep", "")
    for code in card["codes"]:
        table.add_row(
            f"[bold]{_text(code['name'])}[/]",
            *_values(code),
            _text(_meaning(code)),
        )
    noise = card["noise"]
    table.add_row("noise", f"{noise['size']} x {noise['distribution']}", "", "")
    _print(table)
    _print_evidence(card["evidence"])
    told = {k: v for k, v in card["metrics"].items() if not k.startswith("shift/")}
    for section, values in (
        ("metrics", told),
        *((name, card[name]) for name in ("training", "data", "export")),
    ):
        if values:
            _print_section(section, _flat(values))
    _print("[bold]files[/]")
    for each in card["files"]:
        _print(f"[cyan]{_text(each['name'])}[/]  {readable(each['bytes'])}")
        _print(f"  [dim]{each['sha256']}[/]")


def _print_evidence(rows: Sequence[Mapping[str, Any]]) -> None:
    """What each uniform code moves most, and next."""
    if not rows:
        return
    table = _table("code", "moves", "rank correlation", "others")
    for row in rows:
        (most, shift), *others = row["shifts"].items()
        also = ", ".join(f"{name} {moved:+.1f}" for name, moved in others[:2])
        along, varying = row["sweep_correlation"], row["rank_correlation"]
        rho = f"{along:.2f}, all else varying {varying:.2f}" if along else ""
        table.add_row(
            f"[bold]{_text(row['code'])}[/]",
            f"{_text(most)} {shift:+.1f}",
            rho,
            _text(also),
        )
    _print("moved over the sweep, in standard deviations of real images")
    _print(table)


def print_scores(scores: Mapping[str, Score]) -> None:
    """How good runs are without labels, and which is the best."""
    table = _table("run", "L_I", "agreement", "sum")
    best = max(scores, key=lambda name: scores[name].total)
    for name, found in scores.items():
        figures = (found.information, found.agreement, found.total)
        table.add_row(
            f"[bold]{_text(name)}[/]",
            *(f"{value:.3f}" for value in figures),
            "best" if name == best else "",
        )
    _print(
        "in nats: L_I of all codes on generated images, and agreement of Q's "
        "categories on real and slightly moved ones; no label was looked at"
    )
    _print(table)


def print_file(card: Mapping[str, Any]) -> None:
    """How a file was made, and the command that makes it again."""
    latents = card["latents"]
    shown = {
        "model": _text(card["model"]),
        "SHA-256": _text(card.get("sha256", "")),
        **({"seed": _text(card["seed"])} if "seed" in card else {}),
        **{
            f"read in {each['path']}": _text(
                ", ".join(f"{k} {v}" for k, v in codes.items())
            )
            for each, codes in zip(
                card.get("inputs", ()), card.get("codes", ()), strict=False
            )
        },
        **_flat(card["options"]),
        "latents": "given by the seed and the options"
        if not latents
        else f"{len(latents)} x {len(latents[0])}, shown by --json",
    }
    _print_section(str(card["command"]), shown)
    _print("[bold]made again by[/]")
    print(printable(card["command_line"]))  # on one line, to be copied
    if card["note"]:
        _print(f"[yellow]{_text(card['note'])}[/]")


def print_readings(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each image: what Q reads, and D's logit."""
    codes = [name for name in rows[0] if name not in ("image", "logit")]
    table = _table("image", *codes, "D's logit")
    for row in rows:
        readings = [_reading(row[code]) for code in codes]
        table.add_row(_text(row["image"]), *readings, f"{row['logit']:+.2f}")
    _print(table)


def print_reconstructions(rows: Sequence[Mapping[str, Any]]) -> None:
    """A line for each image: its codes, and the errors of its reconstructions."""
    table = _table("image", *rows[0]["codes"], "first guess", "refined", "")
    for row in rows:
        far = row["distance"]
        table.add_row(
            _text(row["image"]),
            *(
                _text(v) if isinstance(v, str) else f"{v:+.2f}"
                for v in row["codes"].values()
            ),
            f"{row['first_mse']:.4f}",
            f"{row['mse']:.4f}",
            "" if far is None else f"{far:.1f} x a real image's",
        )
    _print(table)


def print_check(check: Check) -> None:
    """A line for a model."""
    name = f"[bold]{_text(check.name)}[/]"
    if check.problem:
        _print(f"[red]failed[/]  {name}  {_text(check.problem)}", wrap=False)
        return
    digests = ", ".join(
        f"{name.removesuffix('.onnx')} {digest[:8]}"
        for name, digest in check.sha256.items()
        if name.endswith(".onnx")
    )
    golden = {None: "no golden image", 0: "golden image equal"}.get(
        check.difference, f"golden image within {check.difference} grey level"
    )
    _print(f"[green]ok[/]  {name}  {_text(digests)}, {golden}", wrap=False)


def _reading(reading: Mapping[str, Any]) -> str:
    if "label" in reading:
        return f"[bold]{_text(reading['label'])}[/] {reading['probability']:.1%}"
    return f"{reading['mean']:+.2f} ± {reading['deviation']:.2f}"


def _values(code: Mapping[str, Any]) -> tuple[str, str]:
    """A code's values and its default sweep."""
    if code["kind"] == "categorical":
        numbers = [str(category) for category in range(code["size"])]
        if list(code["labels"] or numbers) == numbers:
            return f"0 to {code['size'] - 1}", "all"
        return ", ".join(map(_text, code["labels"])), "all"
    low, high = code["low"], code["high"]
    middle = (low + high) / 2
    first, last = code["sweep_low"], code["sweep_high"]
    first = 2 * low - middle if first is None else first
    last = 2 * high - middle if last is None else last
    return f"{low:.3g} to {high:.3g}", f"{first:g} to {last:g}"


def _meaning(code: Mapping[str, Any]) -> str:
    """What is known of a code, and how often its categories are drawn."""
    known = [code["description"]] if code["description"] else []
    if shares := code.get("shares"):
        least, most = 100 * min(shares), 100 * max(shares)
        known.append(f"drawn in shares of {least:.1f} to {most:.1f}%")
    return "; ".join(known)


def _print_section(title: str, rows: Mapping[str, str]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows.items():
        grid.add_row(_text(name), value)
    _print(f"[bold]{_text(title)}[/]")
    _print(grid)
    _print("")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values as lines of a section."""
    lines: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, float):
            lines[prefix + name] = f"{value:.6g}"
        elif isinstance(value, list):
            lines[prefix + name] = _text(", ".join(map(str, value)))
        else:
            lines[prefix + name] = _text(value)
    return lines


def _shape(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{width} x {height} {'grey' if channels == 1 else 'colour'}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="cyan")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(value: object) -> str:
    """Text from a file, without what could steer rich or the terminal."""
    return escape(printable(value))


def _print(what: object, *, wrap: bool = True) -> None:
    Console(highlight=False).print(what, soft_wrap=not wrap)
