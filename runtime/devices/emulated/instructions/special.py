"""Special registers (ISA chapter "Special Registers")."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import WARP, Block
from stepwell.runtime.devices.emulated.translate import SPECIAL

Triple = tuple[int, int, int]


def _thread_index(axis: int, block: Block) -> NDArray:
    x, y, _ = block.shape
    thread = np.arange(block.registers.threads)
    return (thread % x, thread // x % y, thread // (x * y))[axis]


def _component(of: Callable[[Block], Triple], axis: int, block: Block) -> NDArray:
    return np.array(of(block)[axis])


def _each(function: Callable[[int, int], int], a: Triple, b: Triple) -> Triple:
    x, y, z = map(function, a, b)
    return x, y, z


TRIPLES: dict[str, Callable[[Block], Triple]] = {
    "ntid": lambda block: block.shape,
    "ctaid": lambda block: block.index,
    "nctaid": lambda block: block.grid,
    "clusterid": lambda block: block.cluster.index,
    "cluster_nctaid": lambda block: block.cluster.shape,
    "cluster_ctaid": lambda block: _each(int.__mod__, block.index, block.cluster.shape),
    "nclusterid": lambda block: _each(
        int.__floordiv__, block.grid, block.cluster.shape
    ),
}
for _axis, _letter in enumerate("xyz"):
    SPECIAL[f"%tid.{_letter}"] = partial(_thread_index, _axis)
    for _name, _of in TRIPLES.items():
        SPECIAL[f"%{_name}.{_letter}"] = partial(_component, _of, _axis)


def _lanes(block: Block) -> NDArray:
    return np.arange(block.registers.threads) % WARP


def _mask(compare: Callable[[NDArray, NDArray], NDArray], block: Block) -> NDArray:
    lanes = np.arange(WARP)
    rows = compare(lanes[None, :], lanes[:, None])
    words = (rows * (1 << lanes.astype(np.uint64))).sum(axis=1)
    return words[_lanes(block)]


OTHERS: dict[str, Callable[[Block], NDArray]] = {
    "%laneid": _lanes,
    "%warpid": lambda block: np.arange(block.registers.threads) // WARP,
    "%nwarpid": lambda block: np.array(block.registers.threads // WARP),
    "%smid": lambda block: np.array(0),
    "%nsmid": lambda block: np.array(1),
    "%cluster_ctarank": lambda block: np.array(block.rank),
    "%cluster_nctarank": lambda block: np.array(len(block.cluster.blocks)),
    "%is_explicit_cluster": lambda block: np.array(len(block.cluster.blocks) > 1),
    "%clock": lambda block: np.array(block.device.instructions & 0xFFFFFFFF),
    "%clock64": lambda block: np.array(block.device.instructions),
    "%globaltimer": lambda block: np.array(block.device.instructions),
    "%lanemask_eq": partial(_mask, np.equal),
    "%lanemask_lt": partial(_mask, np.less),
    "%lanemask_le": partial(_mask, np.less_equal),
    "%lanemask_gt": partial(_mask, np.greater),
    "%lanemask_ge": partial(_mask, np.greater_equal),
}
SPECIAL.update(OTHERS)
