"""The compilation context: xDSL's, and the store of large constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xdsl.context import Context
from xdsl.ir import Operation

from stepwell.dialects.weights import WeightStore

Explain = Callable[[Operation, str, str], None]


@dataclass
class StepwellContext(Context):
    """An xDSL context whose `weights` holds what `#nn.weight` refers to.

    `explain`, when set, is told each op that a pattern recognised and declined to
    rewrite: the op, the pattern's name, the reason.
    """

    weights: WeightStore = field(default_factory=WeightStore)
    explain: Explain | None = None

    def clone(self) -> StepwellContext:
        """A copy that shares the weights."""
        return StepwellContext(
            self.allow_unregistered,
            self._loaded_dialects.copy(),
            self._loaded_ops.copy(),
            self._loaded_attrs.copy(),
            self._loaded_types.copy(),
            self._registered_dialects.copy(),
            weights=self.weights,
            explain=self.explain,
        )


def weights_of(context: Context) -> WeightStore:
    """The context's weights; an empty store if it is a plain xDSL context."""
    if isinstance(context, StepwellContext):
        return context.weights
    return WeightStore()
