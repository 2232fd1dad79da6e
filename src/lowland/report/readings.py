"""Readings of one model, or of several side by side, as tables and figures."""

import math
from collections.abc import Mapping, Sequence

from lowland.observe.reading import Reading
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.table import Cell, Table, cell_text

__all__ = ["Groups", "figures_of", "summary_of", "tables_of"]

Groups = Mapping[str, Sequence[Reading]]
"""Readings by the model's label."""

Key = tuple[str, str]
"""What was measured, in words, and where."""

WHOLE = "The model as a whole"
BESIDE = ("bound", "gap", "examples", "gradients", "products")
"""Settings that come out of measuring, and tell no two quantities apart."""
RANKS = ("feature_rank", "effective_rank", "weight_rank")
WIDEST = 6
GRID = 200
FLOOR = 1e-7


def tables_of(groups: Groups) -> list[Table]:
    """A table of what belongs to the model as a whole, and tables of what belongs to its layers.

    With two models the last column is the second's value less the first's.
    """
    found = {label: _named(readings) for label, readings in groups.items()}
    keys = list(dict.fromkeys(key for readings in found.values() for key in readings))
    whole = [quantity for quantity, site in keys if not site]
    sites: dict[str, tuple[str, ...]] = {}
    for quantity, site in keys:
        sites[quantity] = (*sites.get(quantity, ()), *([site] if site else []))
    width = max(1, WIDEST // len(groups))
    parts = [
        alike[start : start + width]
        for place in dict.fromkeys(where for where in sites.values() if where)
        for alike in [[quantity for quantity in sites if sites[quantity] == place]]
        for start in range(0, len(alike), width)
    ]
    titles = [
        f"By layer ({i} of {len(parts)})" if len(parts) > 1 else "By layer" for i in range(1, len(parts) + 1)
    ]
    layers = [_by_layer(found, sites[part[0]], part, title) for part, title in zip(parts, titles, strict=True)]
    return [_whole(found, whole), *layers] if whole else layers


def summary_of(groups: Groups) -> list[Table]:
    """For a terminal: what belongs to the model as a whole, without long lists; else to its layers."""
    tables = tables_of(groups)
    if not tables or tables[0].title != WHOLE:
        return tables
    rows = [_short(row, len(groups)) for row in tables[0].rows if "number" not in str(row[0])]
    columns = ("quantity", *groups, *tables[0].columns[2 + 2 * len(groups) :])
    return [Table(title=WHOLE, columns=columns, rows=tuple(rows), caption="±: standard error.")]


def _short(row: tuple[Cell, ...], models: int) -> tuple[Cell, ...]:
    """Every value with its error in one cell, and the unit with the name."""
    pairs = [row[2 + 2 * i : 4 + 2 * i] for i in range(models)]
    cells = [f"{cell_text(value)} ± {cell_text(error)}" if error else cell_text(value) for value, error in pairs]
    return (f"{row[0]}, {row[1]}" if row[1] else row[0], *cells, *map(cell_text, row[2 + 2 * models :]))


def figures_of(groups: Groups) -> list[Figure]:
    """Ranks by layer, sharpness against the radius, and the Hessian's spectrum: those that were measured."""
    drawn = [
        (
            "Rank by layer",
            "Layers in the model's order; ranks compare at equal numbers of examples.",
            _ranks(groups),
        ),
        ("Sharpness", "Rise of the loss at the worst place of a ball, or on average over noise.", _radii(groups)),
        (
            "Spectrum of the Hessian",
            "Density of its eigenvalues, smoothed by 1 % of their range.",
            _spectra(groups),
        ),
    ]
    return [Figure(title=title, panels=tuple(panels), caption=words) for title, words, panels in drawn if panels]


def _named(readings: Sequence[Reading]) -> dict[Key, Reading]:
    """Readings by what they are of and where; settings that tell two apart join the name."""
    found: dict[Key, Reading] = {}
    for reading in readings:
        alike = [r.settings for r in readings if (r.name, r.site) == (reading.name, reading.site)]
        plain = {k: v for k, v in reading.settings.items() if isinstance(v, str | int | float) and k not in BESIDE}
        words = ", ".join(f"{k} {v}" for k, v in plain.items() if any(other.get(k) != v for other in alike))
        of_weights = "shape" in reading.settings and "weight" not in reading.name
        name = f"{reading.name} of the weights" if of_weights else reading.name
        found[(f"{name} ({words})" if words else name, reading.site)] = reading
    return found


def _whole(found: Mapping[str, Mapping[Key, Reading]], quantities: Sequence[str]) -> Table:
    rows = []
    for quantity in quantities:
        seen = [readings.get((quantity, "")) for readings in found.values()]
        unit = next(reading.unit for reading in seen if reading)
        rows.append((quantity, unit, *_numbers(seen), *_difference(seen)))
    columns = ("quantity", "unit", *(c for label in found for c in (label, f"{label}, standard error")))
    more = ("difference",) if len(found) == 2 else ()
    return Table(title=WHOLE, columns=(*columns, *more), rows=tuple(rows))


def _numbers(seen: Sequence[Reading | None]) -> list[Cell]:
    return [number for r in seen for number in ((r.value, r.stderr) if r else (None, None))]


def _difference(seen: Sequence[Reading | None]) -> tuple[Cell, ...]:
    if len(seen) != 2:
        return ()
    a, b = seen
    return (b.value - a.value if a and b else None,)


def _by_layer(
    found: Mapping[str, Mapping[Key, Reading]], sites: Sequence[str], quantities: Sequence[str], title: str
) -> Table:
    """A line for every layer, a column for every quantity and model, and one of its errors where it has some."""
    columns: dict[str, list[Cell]] = {}
    for quantity in quantities:
        for label, readings in found.items():
            seen = [readings.get((quantity, site)) for site in sites]
            unit = next((f" ({r.unit})" for r in seen if r and r.unit), "")
            name = f"{quantity}{unit}" + (f", {label}" if len(found) > 1 else "")
            columns[name] = [r.value if r else None for r in seen]
            if any(r and r.stderr is not None for r in seen):
                columns[f"{name}, standard error"] = [r.stderr if r else None for r in seen]
    rows = zip(sites, *columns.values(), strict=True)
    return Table(title=title, columns=("layer", *columns), rows=tuple(rows))


def _ranks(groups: Groups) -> list[Panel]:
    panels = []
    for name in RANKS:
        found = {label: _at_sites(readings, name) for label, readings in groups.items()}
        names = next(iter(found.values()))
        curves = [_curve(label, range(len(y)), list(y.values())) for label, y in found.items() if len(y) > 1]
        if curves:
            panels.append(
                Panel(title=name, x_label="layer", y_label=name, curves=tuple(curves), x_names=tuple(names))
            )
    return panels


def _at_sites(readings: Sequence[Reading], quantity: str) -> dict[str, float]:
    return {site: r.value for (name, site), r in _named(readings).items() if name == quantity and site}


def _radii(groups: Groups) -> list[Panel]:
    panels = []
    for name in dict.fromkeys(r.name for readings in groups.values() for r in readings if "rho" in r.settings):
        points = {
            label: sorted((r.settings["rho"], r.value) for r in readings if r.name == name)
            for label, readings in groups.items()
        }
        curves = [_curve(label, *zip(*pairs, strict=True)) for label, pairs in points.items() if len(pairs) > 1]
        words = name.replace("_", " ")
        if curves:
            panels.append(Panel(title=words, x_label="rho", y_label=f"{words} (loss)", curves=tuple(curves)))
    return panels


def _spectra(groups: Groups) -> list[Panel]:
    held = {label: r for label, readings in groups.items() for r in readings if "nodes" in r.settings}
    nodes = [node for reading in held.values() for probe in reading.settings["nodes"] for node in probe]
    if not nodes:
        return []
    low, high = min(nodes), max(nodes)
    width = (high - low) / 100 or 1.0
    grid = [low - 3 * width + i * (high - low + 6 * width) / GRID for i in range(GRID + 1)]
    curves = [_curve(label, grid, [_density(reading, x, width) for x in grid]) for label, reading in held.items()]
    return [Panel(x_label="eigenvalue", y_label="density", curves=tuple(curves), y_scale="log", spread="band")]


def _density(reading: Reading, x: float, width: float) -> float:
    """At ``x``, averaged over the probes; no lower than can be seen."""
    nodes, weights = reading.settings["nodes"], reading.settings["weights"]
    points = [pair for probe in zip(nodes, weights, strict=True) for pair in zip(*probe, strict=True)]
    bumps = sum(weight * math.exp(-(((x - node) / width) ** 2) / 2) for node, weight in points)
    return max(FLOOR / width, bumps / (width * math.sqrt(2 * math.pi) * len(nodes)))


def _curve(label: str, x: Sequence[float], y: Sequence[float]) -> Curve:
    return Curve(label=label, x=tuple(x), values=tuple((value,) for value in y))
