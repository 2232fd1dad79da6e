"""Readings of one model, or of several side by side, as tables and figures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lowland.observe.reading import Reading
from lowland.report.figure import Curve, Figure, Panel
from lowland.report.table import Cell, Table

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

    With two models the last columns are the second's value less the first's, and that in standard errors, where
    both have one.
    """
    found = {label: _named(readings) for label, readings in groups.items()}
    keys = list(dict.fromkeys(key for readings in found.values() for key in readings))
    whole = [quantity for quantity, site in keys if not site]
    sites = list(dict.fromkeys(site for _, site in keys if site))
    quantities = list(dict.fromkeys(quantity for quantity, site in keys if site))
    width = max(1, WIDEST // len(groups))
    parts = [quantities[start : start + width] for start in range(0, len(quantities), width)]
    titles = [
        f"By layer ({i} of {len(parts)})" if len(parts) > 1 else "By layer" for i in range(1, len(parts) + 1)
    ]
    layers = [_by_layer(found, sites, part, title) for part, title in zip(parts, titles, strict=True)]
    return [_whole(found, whole), *layers] if whole else layers


def summary_of(groups: Groups) -> Table | None:
    """What belongs to the model as a whole, without errors, units and long lists: for a terminal."""
    table = next((table for table in tables_of(groups) if table.title == WHOLE), None)
    if table is None:
        return None
    kept = [i for i, c in enumerate(table.columns) if c != "unit" and not c.endswith("standard error")]
    rows = [tuple(row[i] for i in kept) for row in table.rows if "number" not in str(row[0])]
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=tuple(rows))


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
        found[(f"{reading.name} ({words})" if words else reading.name, reading.site)] = reading
    return found


def _whole(found: Mapping[str, Mapping[Key, Reading]], quantities: Sequence[str]) -> Table:
    columns = ["quantity", "unit", *(c for label in found for c in (label, f"{label}, standard error"))]
    rows = []
    for quantity in quantities:
        seen = [readings.get((quantity, "")) for readings in found.values()]
        unit = next(reading.unit for reading in seen if reading)
        numbers: list[Cell] = [n for r in seen for n in ((r.value, r.stderr) if r else (None, None))]
        rows.append((quantity, unit, *numbers, *_difference(seen)))
    more = ("difference", "in standard errors") if len(found) == 2 else ()
    return Table(title=WHOLE, columns=(*columns, *more), rows=tuple(rows))


def _difference(seen: Sequence[Reading | None]) -> tuple[Cell, ...]:
    if len(seen) != 2:
        return ()
    a, b = seen
    if a is None or b is None:
        return None, None
    error = math.hypot(a.stderr, b.stderr) if a.stderr is not None and b.stderr is not None else 0.0
    return b.value - a.value, (b.value - a.value) / error if error else None


def _by_layer(
    found: Mapping[str, Mapping[Key, Reading]], sites: Sequence[str], quantities: Sequence[str], title: str
) -> Table:
    pairs = [(quantity, label) for quantity in quantities for label in found]
    rows = []
    for site in sites:
        seen = [found[label].get((quantity, site)) for quantity, label in pairs]
        if any(seen):
            rows.append((site, *(reading.value if reading else None for reading in seen)))
    columns = [f"{quantity}, {label}" if len(found) > 1 else quantity for quantity, label in pairs]
    return Table(title=title, columns=("layer", *columns), rows=tuple(rows))


def _ranks(groups: Groups) -> list[Panel]:
    panels = []
    for name in RANKS:
        values = {label: [r.value for r in readings if r.name == name] for label, readings in groups.items()}
        curves = [_curve(label, range(1, len(y) + 1), y) for label, y in values.items() if len(y) > 1]
        words = name.replace("_", " ")
        panels += [Panel(title=words, x_label="layer", y_label=words, curves=tuple(curves))] if curves else []
    return panels


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
