"""The kinds of things lowland has, and how each is used."""

from dataclasses import dataclass

from lowland import catalog
from lowland.checks import unknown

__all__ = ["KINDS", "Kind", "find", "kind", "studies"]

VERBS = ("compare",)
"""Studies that are verbs of the command line: they take part in no list."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of thing, which is a folder."""

    title: str
    """Heading in lists."""
    one: str
    """What one of them is called."""
    word: str
    """What to type for it."""
    folder: str
    """Its folder, as the catalog names it."""
    flag: str
    """How a thing of this kind is asked for on the command line; ``{}`` is its name."""
    python: str
    """How it is used from Python; ``{}`` is the class's name."""
    specs: bool = True
    """Whether it takes arguments as ``name:key=value``; else its settings are flags, and its file describes it."""
    facts: tuple[str, ...] = ()
    """Constants of its classes that a user wants to see."""

    def names(self) -> list[str]:
        """Public names of the things of this kind."""
        files = [name for name in catalog.names(self.folder) if name not in VERBS]
        return [name.replace("_", "-") for name in files] if self.folder == "data.sets" else files

    def module(self, name: str) -> str:
        """Dotted name of a thing's module."""
        return f"lowland.{self.folder}.{name.replace('-', '_').lower()}"


KINDS = (
    Kind(
        title="Studies",
        one="study",
        word="studies",
        folder="studies",
        flag="lowland study {}",
        python="",
        specs=False,
    ),
    Kind(
        title="Methods",
        one="method",
        word="methods",
        folder="methods",
        flag="lowland compare --methods sgd {}",
        python="method = {}().bind(model)\nloss = method.backward(lowland.objective(model, criterion, x, y))",
        facts=("PASSES", "FORWARDS", "COPIES", "KEEPS", "REDUCES_TO"),
    ),
    Kind(
        title="Penalties",
        one="penalty",
        word="penalties",
        folder="penalties",
        flag="",
        python="penalty = {}().bind(model, optimizer)",
        facts=("COPIES", "FORWARDS", "OFF"),
    ),
    Kind(
        title="Measurements",
        one="measurement",
        word="measurements",
        folder="measurements",
        flag="",
        python="readings = lowland.measure(model, loss, batches, [{}()])",
    ),
    Kind(
        title="Models",
        one="model",
        word="models",
        folder="models",
        flag="lowland compare --model {} --methods sgd sam",
        python="model = {}((1, 28, 28), 10)",
    ),
    Kind(
        title="Data sets",
        one="data set",
        word="data",
        folder="data.sets",
        flag="lowland compare --data {} --methods sgd sam",
        python="data = {}().load()\nx, y = data.train.x, data.train.y",
        facts=("SHAPE", "SIZES"),
    ),
    Kind(
        title="Pictures with names",
        one="set of pictures with names",
        word="pairs",
        folder="data.pair_sets",
        flag="lowland study sam_lowers_rank_in_image_text --data {}",
        python="pairs = {}().load()\nx, tokens = pairs.test_images, pairs.test_tokens",
        facts=("STYLES",),
    ),
)


def kind(word: str) -> Kind:
    """The kind with this word.

    Raises:
        LookupError: If there is none; says the nearest.
    """
    for found in KINDS:
        if word.lower() in (found.word, found.folder, found.title.lower()):
            return found
    raise LookupError(unknown("kind", word, [found.word for found in KINDS]))


def find(name: str) -> list[tuple[Kind, str]]:
    """Every thing with this name, with its kind.

    Raises:
        LookupError: If there is none; says the nearest.
    """
    wanted = catalog.plain(name)
    things = [(found, thing) for found in KINDS for thing in found.names()]
    matching = [pair for pair in things if catalog.plain(pair[1]) == wanted]
    if not matching:
        raise LookupError(unknown("thing", name, {thing for _, thing in things}))
    return matching


def studies() -> list[str]:
    """Names of all studies."""
    return KINDS[0].names()
