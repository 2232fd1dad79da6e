"""DistributedDataParallel: every process has all parameters, and a share of the batch."""

from collections.abc import Mapping

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils import _pytree as pytree

from lowland.engine.alone import Alone, Gradients
from lowland.engine.average import average
from lowland.types import State

__all__ = ["Replicated"]


class Replicated(Alone):
    """Passes run under ``no_sync``, and the method reduces in place of the wrapper.

    With local ascent nothing is reduced within a step, and all that is accumulated at its end: the mean of the
    processes' directions, each made of the process's own gradients. Under the user's own ``no_sync`` that waits
    for the next step outside, as the wrapper would have it. With global ascent every pass's gradient is reduced,
    ``no_sync`` or not, so all processes take the same step.

    Args:
        wrapper: The model.
        together: Whether the processes ascend together, which is global ascent.

    Raises:
        NotImplementedError: If the wrapper does more than to average gradients.
    """

    def __init__(self, wrapper: DistributedDataParallel, together: bool) -> None:
        self._wrapper, self._together = wrapper, together
        self._group = wrapper.process_group
        if not together:
            self.rank, self.ranks = dist.get_rank(self._group), dist.get_world_size(self._group)
        self._syncs = (True, True)
        self.ready()

    def ready(self) -> None:
        """Refuse a wrapper that does more than to average gradients.

        Raises:
            NotImplementedError: If it does.
        """
        wrapper = self._wrapper
        extras = {
            "a communication hook": wrapper._comm_hooks,
            "static_graph=True": wrapper.static_graph,
            "mixed precision of its own": wrapper.mixed_precision,
            "parameters that it ignores": wrapper.parameters_to_ignore,
            "join()": wrapper._join_config.enable,
        }
        found = [name for name, value in extras.items() if value]
        if found:
            raise NotImplementedError(
                f"DistributedDataParallel must only average gradients, got one with {found[0]}: leave it out, as "
                "the method reduces in its place."
            )

    def enter(self) -> None:
        """Switch the wrapper's own reductions off."""
        self._syncs = (self._wrapper.require_backward_grad_sync, self._wrapper.require_forward_param_sync)
        self._wrapper.require_backward_grad_sync = False

    def leave(self, failed: bool) -> None:
        """Let the wrapper be as after one backward of its own: it then broadcasts buffers before the next step."""
        backward, forward = self._syncs
        self._wrapper.require_backward_grad_sync = backward
        self._wrapper.require_forward_param_sync = forward if failed else backward

    def shared(self, gradients: dict[str, Tensor], trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        """The gradients of a pass, the mean over processes with global ascent."""
        return self._average(gradients, trained) if self._together else gradients

    def combined(self, gradients: Gradients, trained: Mapping[str, nn.Parameter]) -> Gradients:
        """All that is accumulated, the mean over processes with local ascent, outside of ``no_sync``."""
        if self._together or not self._syncs[0]:
            return gradients
        held = {name: gradient for name, gradient in gradients.items() if gradient is not None}
        means = self._average(held, trained)
        return {name: means.get(name) for name in trained}

    def gathered(self, state: State) -> dict[str, State]:
        """The states of all processes with local ascent, by rank, on the CPU."""
        states: list[State] = [{}] * self.ranks
        held = pytree.tree_map_only(Tensor, Tensor.cpu, state)
        dist.all_gather_object(states, held, group=self._group)
        return {str(rank): one for rank, one in enumerate(states)}

    def _average(self, parts: Mapping[str, Tensor], trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
        means, reduced = average(parts, trained, self._group)
        self.reduced_bytes += reduced
        return means
