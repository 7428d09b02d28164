"""Builds functions of the `llvm` dialect, with constants folded as they are made.

A kernel has hundreds of instructions, and creating an op through its constructor costs
more than emitting it: the builder creates ops directly, shares types, constants and
property attributes, and stamps each op with the current location.

Scalars are `Value = int | SSAValue`: arithmetic on two Python ints makes no op.
"""

from .arithmetic import CONTRACT, PLAIN
from .builder import Builder
from .inserter import Value

__all__ = ["CONTRACT", "PLAIN", "Builder", "Value"]
