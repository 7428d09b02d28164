"""Locations of ops that stand for one node of the model, or several."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import (
    CallSiteLoc,
    FileLineColLoc,
    IntAttr,
    StringAttr,
    UnknownLoc,
)

from stepwell.dialects.nn import make_constant
from stepwell.dialects.provenance import (
    fuse_locations,
    fused_location,
    has_location,
    location_names,
    name_location,
)
from stepwell.dialects.weights import WeightStore

A, B, C = map(name_location, "abc")
LINE = FileLineColLoc(StringAttr("net.py"), IntAttr(7), IntAttr(3))


def test_fusing_flattens_and_keeps_the_order() -> None:
    assert location_names(fuse_locations(fuse_locations(B, A), C, A)) == ("b", "a", "c")


def test_one_source_is_not_fused() -> None:
    assert fuse_locations(A, UnknownLoc(), A) == A
    assert fuse_locations(UnknownLoc()) == UnknownLoc()
    assert fuse_locations() == UnknownLoc()


def test_names_of_other_locations() -> None:
    assert location_names(LINE) == ("net.py:7:3",)
    assert location_names(CallSiteLoc(A, LINE)) == ("a",)
    assert location_names(UnknownLoc()) == ()


def test_ops_say_where_they_come_from() -> None:
    first = make_constant(np.zeros(1), WeightStore(), A)
    second = make_constant(np.zeros(1), WeightStore(), B)
    lost = make_constant(np.zeros(1), WeightStore())
    assert location_names(fused_location(first, lost, second)) == ("a", "b")
    assert has_location(first) and not has_location(lost)
