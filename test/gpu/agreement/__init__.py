"""Instruction forms that run on a GPU and in the emulator, to compare the outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from . import (
    clusters,
    conversions,
    copies,
    floats,
    integers,
    matrices,
    mbarriers,
    memory,
    tensors,
    warps,
    wgmma,
)
from .form import Form, Table

SOURCES: tuple[Callable[[], Iterator[Form]], ...] = (
    integers.forms,
    floats.forms,
    conversions.forms,
    warps.forms,
    memory.forms,
    matrices.forms,
    wgmma.forms,
    copies.forms,
    clusters.forms,
    tensors.forms,
    mbarriers.forms,
    integers.video,
)


def all_forms() -> dict[str, Form]:
    """Every form, by family and name."""
    table = Table()
    for source in SOURCES:
        for form in source():
            table.add(form)
    return table.forms
