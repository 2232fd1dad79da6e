"""``lowland measure`` and ``lowland compare-checkpoints``: what training did to a network, as a page."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from lowland import catalog
from lowland.checks import one_of, unknown, whole
from lowland.commands.carry_out import INTERRUPTED
from lowland.commands.door import door, refuse
from lowland.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor, nn

    from lowland.observe.reading import Reading

__all__ = ["compare_checkpoints", "measure_checkpoint"]

RADII = "rho=(0.02,0.05,0.1,0.2),steps=10,restarts=0"
NOISES = "rho=(0.002,0.005,0.01,0.02)"
WHAT = {
    "scores": ("accuracy", "calibration"),
    "rank": ("feature_rank", "weight_rank", "activation_sparsity"),
    "sharpness": (f"sharpness:{RADII}", f"average_sharpness:{NOISES}"),
    "curvature": ("hessian_split:probes=10", "hessian_density:probes=2,steps=24"),
    "noise": ("gradient_noise",),
    "forgetting": ("forgetting",),
    "collapse": ("neural_collapse", "balancedness"),
}
"""Words for what belongs together; any measurement's own name, with settings, will do as well."""

DEFAULT = ("scores", "rank", "sharpness", "curvature")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Measuring:
    """What to measure, and on what.

    Attributes:
        model: What it is a checkpoint of: conv, resnet:depth=10,width=16, or a Python file of yours with a module.
        data: What to measure on: digits, fashion-mnist, cifar10:train=5000.
        what: scores, rank, sharpness, curvature, noise, forgetting, collapse, with blanks or commas between; or
            measurements by name, with their settings, such as feature_rank:threshold=0.9.
        split: train, test or both; what compares the two, such as train_test_gap, needs both.
        examples: The most images to take.
        batch: Images at a time; graphs of a batch are kept in memory.
        loss: A function of torch.nn.functional that takes outputs and targets.
    """

    model: str
    data: str
    what: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = DEFAULT
    split: str = "test"
    examples: int = 1000
    batch: int = 250
    loss: str = "cross_entropy"


def measure_checkpoint(checkpoint: Path, /, *, measuring: Measuring, out: Path = Path("runs/measure")) -> int:
    """Measure a trained network, and write a page with tables and figures.

    Args:
        checkpoint: A folder that lowland saved, a .safetensors file, or a torch.save file with a state dict.
        measuring: What to measure, and on what.
        out: Folder of the page; files with the same names are replaced.
    """
    return _carry_out({checkpoint.stem: checkpoint}, measuring, out)


def compare_checkpoints(
    first: Path, second: Path, /, *, measuring: Measuring, out: Path = Path("runs/compare-checkpoints")
) -> int:
    """Measure two trained networks on the same images, side by side, and write a page.

    Args:
        first: A folder that lowland saved, a .safetensors file, or a torch.save file with a state dict.
        second: Another of the same network; differences are its values less the first's.
        measuring: What to measure, and on what.
        out: Folder of the page; files with the same names are replaced.
    """
    if first.resolve() == second.resolve():
        refuse(f"The checkpoints must be two, got {first} twice: `lowland measure` takes one.")
    labels = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    return _carry_out(dict(zip(labels, (first, second), strict=True)), measuring, out)


def _carry_out(checkpoints: Mapping[str, Path], chosen: Measuring, out: Path) -> int:
    """Measure every checkpoint, write the page, and say the numbers of the whole model."""
    from lowland.report.readings import summary_of

    console = Console()
    with door():
        whole("examples", chosen.examples)
        whole("batch", chosen.batch)
        specs, criterion = _specs(chosen.what), _criterion(chosen.loss)
        networks, splits = _loaded(checkpoints, chosen)
    paths = {label: str(path) for label, path in checkpoints.items()}
    try:
        with door(code=1):
            groups = _measured(networks, criterion, splits, specs, console)
            _publish(groups, {**asdict(chosen), "checkpoints": paths}, out)
    except KeyboardInterrupt:
        console.print("\nStopped: nothing was written.", highlight=False)
        return INTERRUPTED
    for table in summary_of(groups):
        console.print(table.rich())
    console.print(f"Page: {out / 'index.html'}", soft_wrap=True, highlight=False)
    return 0


def _specs(what: Sequence[str]) -> list[str]:
    """The measurements that words stand for.

    Raises:
        LookupError: If a word is neither a group nor a measurement.
    """
    known = list(dict.fromkeys([*WHAT, *catalog.names("measurements")]))
    words = [word for text in what for word in ([text] if ":" in text else text.split(","))]
    for word in words:
        if word not in WHAT and catalog.plain(catalog.parse(word)[0]) not in map(catalog.plain, known):
            raise LookupError(unknown("measurement", word, known))
    return list(dict.fromkeys(spec for word in words for spec in WHAT.get(word, (word,))))


def _loaded(
    checkpoints: Mapping[str, Path], chosen: Measuring
) -> "tuple[dict[str, nn.Module], dict[str, list[tuple[Tensor, Tensor]]]]":
    """The networks with their weights, and the batches of each split to measure on."""
    from lowland.experiments.training import load_images
    from lowland.train.weights import load_weights

    one_of("split", chosen.split, ["train", "test", "both"])
    data = load_images(chosen.data, chosen.examples)
    networks: dict[str, nn.Module] = {}
    for label, path in checkpoints.items():
        networks[label] = catalog.build("models", chosen.model, shape=data.shape, classes=len(data.classes))
        load_weights(path, networks[label])
    splits = {"train": data.train, "test": data.test}
    some = {
        name: images.take(min(chosen.examples, len(images)))
        for name, images in splits.items()
        if chosen.split in (name, "both")
    }
    size = chosen.batch
    return networks, {k: list(zip(v.x.split(size), v.y.split(size), strict=True)) for k, v in some.items()}


def _criterion(name: str) -> "Callable[[Any, Any], Tensor]":
    """A loss of outputs and class numbers, tried on some.

    Raises:
        ValueError: If it is none.
    """
    import torch
    from torch.nn import functional

    criterion: Any = getattr(functional, name, None)
    try:
        value = criterion(torch.zeros(2, 3), torch.tensor([0, 1]))
    except (TypeError, ValueError, RuntimeError):
        value = None
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        return criterion
    raise ValueError(
        "loss must be a function of torch.nn.functional that takes outputs and class numbers, such as "
        f"cross_entropy or multi_margin_loss, got {name!r}."
    )


def _measured(
    networks: "Mapping[str, nn.Module]",
    criterion: "Callable[[Any, Any], Tensor]",
    data: "Mapping[str, Any]",
    specs: Sequence[str],
    console: Console,
) -> "dict[str, list[Reading]]":
    """The readings of every network, with a bar that says what is being measured and how long it will take."""
    from lowland.measuring.measure import measure

    kinds = [catalog.build("measurements", spec) for spec in specs]
    with Progress(*Progress.get_default_columns(), console=console, transient=True) as bar:
        task = bar.add_task("", total=len(networks) * len(kinds))
        groups: dict[str, list[Reading]] = {}
        for label, network in networks.items():
            groups[label] = []
            for spec, kind in zip(specs, kinds, strict=True):
                bar.update(task, description=f"{label}: {spec.partition(':')[0]}")
                groups[label] += measure(network, criterion, data, kind)
                bar.advance(task)
    return groups


def _publish(groups: "Mapping[str, Sequence[Reading]]", settings: Mapping[str, Any], out: Path) -> None:
    """Write the readings, tables, figures and the page."""
    from lowland.report.page import Page, write_page
    from lowland.report.readings import figures_of, tables_of
    from lowland.runs.environment import environment

    rows = [{"checkpoint": label, **reading.row()} for label, readings in groups.items() for reading in readings]
    write_whole(out / "readings.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    names = list(groups)
    page = Page(
        title="compare-checkpoints" if len(names) > 1 else "measure",
        question=f"What tells {' and '.join(names)} apart?" if len(names) > 1 else f"What is {names[0]} like?",
        summary="Every number is measured in eval mode on the same images; standard errors are over examples or "
        "random vectors, and empty where a number is a fact about the images given.",
        facts={name: str(settings[name]) for name in ("data", "split", "model")},
        figures=tuple(figures_of(groups)),
        tables=tuple(tables_of(groups)),
        settings=settings,
        environment=environment(),
        files={"readings": "readings.jsonl"},
    )
    write_page(out, page)
