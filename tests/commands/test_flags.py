import inspect
import shlex
from dataclasses import dataclass, field, replace

from cyclopts import App

from lowland.commands.flags import command_line, parameters, rebuild


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Part of the settings."""

    rate: float = 0.1
    """How fast."""
    loud: bool = False
    """Whether it is heard."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings.

    Attributes:
        methods: Which
            methods.
    """

    methods: tuple[str, ...] = ("sgd", "sam")
    train: int | None = None
    inner: Inner = field(default_factory=Inner)


BASE = Config(train=7, inner=Inner(rate=0.5))


def parsed(*words):
    """The settings that a command line makes of BASE."""

    def command(**values):
        return rebuild(BASE, values)

    command.__signature__ = inspect.Signature(parameters(BASE))
    command.__annotations__ = {}
    return App(default_command=command, result_action="return_value")(list(words))


def test_nothing_typed_changes_nothing():
    assert parsed() == BASE


def test_several_values_follow_one_flag():
    assert parsed("--methods", "sgd", "asam.as_davda:rho=2", "--train", "9").methods == (
        "sgd",
        "asam.as_davda:rho=2",
    )


def test_a_nested_setting_keeps_its_neighbours():
    assert parsed("--inner.loud") == replace(BASE, inner=Inner(rate=0.5, loud=True))


def test_what_is_typed_can_be_got_back():
    for config in (BASE, Config(train=8), Config(methods=("a b",), train=3, inner=Inner(loud=True))):
        words = command_line(BASE, config)
        assert parsed(*shlex.split(words)) == config


def test_help_comes_from_the_docstrings():
    texts = {p.name: p.annotation.__metadata__[0].help for p in parameters(BASE)}
    assert texts == {
        "methods": "Which methods.",
        "train": None,
        "inner__rate": "How fast.",
        "inner__loud": "Whether it is heard.",
    }
