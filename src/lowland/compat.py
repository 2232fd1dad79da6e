"""SAM in the shape of an optimiser, for loops written for davda54/sam or pytorch_optimizer: change the import."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from lowland.checks import at_least
from lowland.engine.perturb import Perturbation
from lowland.engine.request import Metric, ball
from lowland.shield import Shield
from lowland.types import State
from lowland.vector import Vector

__all__ = ["SAM"]

Loss = TypeVar("Loss")
Group = dict[str, Any]
OWN = ("rho", "adaptive", "eta")


class SAM(torch.optim.Optimizer):
    r"""Steps a base optimiser with the gradient at :math:`w + \rho\, T^2 g / \lVert T g \rVert_2`.

    :math:`T = 1`, or :math:`|w| + \eta` on every parameter if ``adaptive``. One norm over all groups; each group
    has its own ``rho``, ``adaptive`` and ``eta``, as keys beside ``lr``. Groups, state and checkpoints are those
    of the base optimiser: a learning-rate schedule may be given either of the two, and checkpoints of the bare
    base optimiser or of the libraries named above load as well.

    Two ways to step. With ``first_step`` and ``second_step`` both backward passes are yours. ``step(closure)``
    asks whether any parameter has a gradient:

    - There is one: it is the first pass, made before, and the closure is called once, at the perturbed weights.
      This is how davda54/sam and pytorch_optimizer want it.
    - There is none: the closure is called twice, first at the weights, as PyTorch wants it.

    Either way the closure calls backward, and ``step`` leaves no gradients behind, so that those of one step never
    stand for the first pass of the next. Gradients accumulated over micro-batches are a first pass: the closure
    must then go over all of them.

    New code does better with :meth:`lowland.Method.bind`, which sees the model: here both passes update batch norm
    and draw dropout masks of their own, as in those libraries. A gradient scaler cannot know of two passes: let it
    step the base optimiser, and give that one to the schedule::

        scaler.scale(criterion(model(x), y)).backward()
        optimizer.first_step(zero_grad=True)
        scaler.scale(criterion(model(x), y)).backward()
        optimizer.restore()
        scaler.step(optimizer.base_optimizer)
        scaler.update()

    Args:
        params: Parameters or groups, as for any optimiser.
        base_optimizer: The class of the base optimiser, or what makes one of ``(params, **kwargs)``.
        rho: Radius, >= 0, in the units of the weights; relative to them if adaptive. davda54 has 0.05 and 2.0.
        adaptive: Whether the ball scales with the weights (ASAM as davda54 has it, biases too).
        eta: Added to :math:`|w|` if adaptive, >= 0, in the units of the weights.
        **kwargs: Arguments of the base optimiser.

    Attributes:
        base_optimizer: Takes the steps.

    Raises:
        TypeError: If ``base_optimizer`` is an optimiser in place of a class.
        ValueError: If ``rho`` or ``eta`` is negative, or the base optimiser maximises.

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> optimizer = SAM([w], torch.optim.SGD, rho=0.5, lr=1.0)
        >>> w.square().sum().div(2).backward()
        >>> optimizer.first_step(zero_grad=True)
        >>> w.square().sum().div(2).backward()
        >>> optimizer.second_step(zero_grad=True)
        >>> w.data
        tensor([-0.3000, -0.4000])

    Cost:
        Two passes; one extra copy of the weights from the first to the second, none in checkpoints.

    References:
        Foret et al., ICLR 2021, https://arxiv.org/abs/2010.01412; Kwon et al., ICML 2021,
        https://arxiv.org/abs/2102.11600.
    """

    base_optimizer: torch.optim.Optimizer
    _moved: Perturbation | None
    _step_supports_amp_scaling = True  # a gradient scaler then says that it is the caller: see _refuse_scaler

    def __init__(
        self,
        params: ParamsT,
        base_optimizer: Callable[..., torch.optim.Optimizer],
        rho: float = 0.05,
        adaptive: bool = False,
        *,
        eta: float = 0.0,
        **kwargs: Any,  # noqa: ANN401 - whatever the base optimiser takes
    ) -> None:
        own = {"rho": rho, "adaptive": adaptive, "eta": eta}
        _check_settings(own)
        if isinstance(base_optimizer, torch.optim.Optimizer) or not callable(base_optimizer):
            raise TypeError(
                "base_optimizer must be a class such as torch.optim.SGD, got an object of "
                f"{type(base_optimizer).__name__}: pass the class, and its arguments by name."
            )
        base = base_optimizer(params, **kwargs)
        # All that Optimizer.__init__ does but make groups and a state, which are the base's.
        self.__setstate__({"base_optimizer": base, "defaults": {**base.defaults, **own}, "_moved": None})
        self._complete_groups()

    # Properties, so that they stay the base's when it loads a checkpoint by itself.
    @property
    def param_groups(self) -> list[Group]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The base optimiser's groups."""
        return self.base_optimizer.param_groups

    @property
    def state(self) -> defaultdict[Tensor, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The base optimiser's state."""
        return self.base_optimizer.state

    @torch.no_grad()
    def first_step(self, zero_grad: bool = False) -> None:
        """Move the weights to the worst point nearby, which the gradients show.

        Where their norm is zero or not finite the weights stay.

        Args:
            zero_grad: Whether to clear the gradients; the second backward adds to what is left.

        Raises:
            RuntimeError: If there are no gradients, or the weights are moved already.
            TypeError: If a gradient is sparse or complex.
            ValueError: If a group was given a negative radius.
            NotImplementedError: If a parameter is sharded over processes.
        """
        self._refuse_if_moved("first_step")
        self._complete_groups()
        gradients = {name: p.grad for name, p, _ in self._members() if p.grad is not None}
        _check_gradients(gradients.values())
        groups = {name: group for name, _, group in self._members() if name in gradients}
        rho = max(group["rho"] for group in groups.values())
        factors = {name: group["rho"] / rho for name, group in groups.items() if group["rho"] != rho}
        weights = {name: p.detach() for name, p, _ in self._members() if name in gradients}
        with Shield():
            self._moved = Perturbation(weights, factors)
            try:
                self._moved.apply(ball(Vector(gradients), rho, _metric(groups)), None)
            except BaseException:
                self.restore()
                raise
        torch.clear_autocast_cache()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad: bool = False) -> None:
        """Bring the weights back, bit for bit, and step the base optimiser.

        Args:
            zero_grad: Whether to clear the gradients afterwards.

        Raises:
            RuntimeError: If no first_step came before.
        """
        if self._moved is None:
            raise RuntimeError(
                "second_step must come after first_step, got none: call first_step() after the first backward."
            )
        self.restore()
        self._opt_called = True  # where this optimiser's schedules look for a step
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def restore(self) -> None:
        """Bring the weights back without a step; does nothing if they are in place."""
        if self._moved is None:
            return
        with Shield():
            self._moved.restore()
            for name, p, _ in self._members():
                w = self._moved.weights.get(name, p)
                if w.data_ptr() != p.data_ptr():  # the pass gave it another place, as cuDNN does
                    p.copy_(w)
            self._moved = None
        torch.clear_autocast_cache()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401 - what the closure returns
        """Take a whole step, and leave no gradients behind.

        If the closure raises, Ctrl-C included, then the weights are as before and there are no gradients.

        Args:
            closure: Computes the loss, calls backward and returns the loss; it may clear gradients first. Called
                once if any parameter has a gradient, which then is the first pass; else twice.

        Returns:
            What the closure returned first: the loss at the weights if called twice, else at the perturbed ones.

        Raises:
            TypeError: If there is no closure.
            RuntimeError: If the closure does not call backward, the weights are moved, or a gradient scaler calls.
        """
        self._refuse_scaler()
        self._refuse_if_moved("step")
        if closure is None:
            raise TypeError(
                "step must be given a closure that computes the loss and calls backward, got none: pass one, or "
                "call first_step() and second_step(), each after a backward."
            )
        with Shield() as shield:
            losses = [] if self._has_gradients() else [self._run(closure, shield)]
            self.first_step(zero_grad=True)
            losses.append(self._run(closure, shield))
            self.second_step(zero_grad=True)
        return losses[0]

    def state_dict(self) -> State:
        """The base optimiser's, with our settings in its groups; never holds weights."""
        return self.base_optimizer.state_dict()

    def load_state_dict(self, state_dict: State) -> None:
        """Go on from a checkpoint; settings that it lacks stay as they are.

        Raises:
            RuntimeError: If the weights are moved.
        """
        self._refuse_if_moved("load_state_dict")
        self._complete_groups()
        own = [{key: group[key] for key in OWN} for group in self.param_groups]
        state = {key: _without_weights(entry) for key, entry in state_dict["state"].items()}
        self.base_optimizer.load_state_dict({**state_dict, "state": state})
        for group, settings in zip(self.param_groups, own, strict=True):
            group.update({**settings, **group})

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, to the base optimiser too."""
        self.base_optimizer.add_param_group(param_group)
        self._complete_groups()

    def __repr__(self) -> str:
        return f"SAM of {self.base_optimizer!r}"

    def __getstate__(self) -> State:
        self._refuse_if_moved("A copy")
        return {"base_optimizer": self.base_optimizer, "defaults": self.defaults, "_moved": None}

    def _members(self) -> Iterator[tuple[str, Tensor, Group]]:
        """Every parameter with a name, its place in the order, and its group."""
        members = ((p, group) for group in self.param_groups for p in group["params"])
        return ((str(place), p, group) for place, (p, group) in enumerate(members))

    def _has_gradients(self) -> bool:
        return any(p.grad is not None for _, p, _ in self._members())

    def _complete_groups(self) -> None:
        """Give groups the settings that they lack, and check them."""
        for group in self.param_groups:
            group.update({**{key: self.defaults[key] for key in OWN}, **group})
            _check_settings(group)

    def _run(self, closure: Callable[[], Loss], shield: Shield) -> Loss:
        try:
            with shield.opened(), torch.enable_grad():
                loss = closure()
            if not self._has_gradients():
                raise RuntimeError(
                    "The closure must call backward, got no gradients: write loss.backward() before return loss."
                )
        except BaseException:
            self.restore()
            self.zero_grad()
            raise
        return loss

    def _refuse_if_moved(self, what: str) -> None:
        if self._moved is not None:
            raise RuntimeError(
                f"{what} must not come between first_step and second_step, got perturbed weights: call "
                "second_step(), or restore() to take the first_step back."
            )

    def _refuse_scaler(self) -> None:
        if "found_inf" not in vars(self):
            return
        for told in ("grad_scale", "found_inf"):
            vars(self).pop(told, None)
        raise RuntimeError(
            "A gradient scaler must step the base optimiser, got SAM, whose second gradient would stay scaled: "
            "after first_step(zero_grad=True) and the second backward call restore() and "
            "scaler.step(optimizer.base_optimizer); or lowland.SAM().bind(model).backward(loss, scaler=scaler)."
        )


def _metric(groups: Mapping[str, Group]) -> Metric | None:
    if not any(group["adaptive"] for group in groups.values()):
        return None

    def metric(name: str, w: Tensor) -> Tensor:
        group = groups[name]
        return w.abs() + group["eta"] if group["adaptive"] else torch.ones_like(w)

    return metric


def _without_weights(entry: object) -> object:
    """A parameter's state without what davda54's versions keep in it: the weights, or how far they were moved."""
    if not isinstance(entry, dict):
        return entry
    return {key: kept for key, kept in entry.items() if key not in ("old_p", "e_w")}


def _check_settings(settings: Mapping[str, Any]) -> None:
    at_least("rho", settings["rho"], 0)
    at_least("eta", settings["eta"], 0)
    if settings.get("maximize"):
        raise ValueError("maximize must be False, got True: minimise the negative instead.")


def _check_gradients(gradients: Collection[Tensor]) -> None:
    if not gradients:
        raise RuntimeError("first_step must come after a backward, got no gradients: call loss.backward() first.")
    if any(gradient.layout is not torch.strided for gradient in gradients):
        raise TypeError("Gradients must be dense, got a sparse one: make it with sparse=False.")
    if any(gradient.is_complex() for gradient in gradients):
        raise TypeError("Parameters must be real, got a complex one.")
    if any(type(gradient).__name__ == "DTensor" for gradient in gradients):
        raise NotImplementedError(
            "Parameters must be whole, got one that is sharded over processes: use lowland.SAM().bind(model)."
        )
