"""Special registers (ISA chapter "Special Registers")."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stepwell.runtime.devices.emulated.machine import WARP, Threads, Wave
from stepwell.runtime.devices.emulated.memory import RESERVED
from stepwell.runtime.devices.emulated.translate import SPECIAL

Triple = tuple[int, int, int]


def _thread_index(axis: int, threads: Threads) -> NDArray:
    x, y, _ = threads.wave.launch.block
    thread = threads.thread_of
    return (thread % x, thread // x % y, thread // (x * y))[axis]


def _component(of: Callable[[Wave], Triple], axis: int, threads: Threads) -> NDArray:
    return np.array(of(threads.wave)[axis])


def _block_index(axis: int, threads: Threads) -> NDArray:
    return threads.wave.block_index[threads.block_of, axis]


def _cluster_index(axis: int, threads: Threads) -> NDArray:
    return threads.wave.cluster_index[threads.block_of, axis]


def _within_cluster(axis: int, threads: Threads) -> NDArray:
    return _block_index(axis, threads) % threads.wave.launch.cluster[axis]


def _clusters_of_grid(wave: Wave) -> Triple:
    x, y, z = map(int.__floordiv__, wave.launch.grid, wave.launch.cluster)
    return x, y, z


EXTENTS: dict[str, Callable[[Wave], Triple]] = {
    "ntid": lambda wave: wave.launch.block,
    "nctaid": lambda wave: wave.launch.grid,
    "cluster_nctaid": lambda wave: wave.launch.cluster,
    "nclusterid": _clusters_of_grid,
}
INDICES: dict[str, Callable[[int, Threads], NDArray]] = {
    "tid": _thread_index,
    "ctaid": _block_index,
    "clusterid": _cluster_index,
    "cluster_ctaid": _within_cluster,
}
for _axis, _letter in enumerate("xyz"):
    for _name, _of in EXTENTS.items():
        SPECIAL[f"%{_name}.{_letter}"] = partial(_component, _of, _axis)
    for _name, _index in INDICES.items():
        SPECIAL[f"%{_name}.{_letter}"] = partial(_index, _axis)


def _lanes(threads: Threads) -> NDArray:
    return threads.thread_of % WARP


def _mask(compare: Callable[[NDArray, NDArray], NDArray], threads: Threads) -> NDArray:
    lanes = np.arange(WARP)
    rows = compare(lanes[None, :], lanes[:, None])
    words = (rows * (1 << lanes.astype(np.uint64))).sum(axis=1)
    return words[_lanes(threads)]


def _rank(threads: Threads) -> NDArray:
    return threads.block_of % threads.wave.launch.blocks


def _time(threads: Threads) -> NDArray:
    threads.wave.effects += 1  # who waits for time to pass does not wait in vain
    return np.array(threads.device.time())


def _workspace(shift: int, threads: Threads) -> NDArray:
    return np.array(threads.wave.launch.workspace >> shift & 0xFFFFFFFF)


def _reserved(offset: int, threads: Threads) -> NDArray:
    return np.array(threads.wave.launch.shared - RESERVED + offset)


ENVIRONMENT = 32


OTHERS: dict[str, Callable[[Threads], NDArray]] = {
    "%laneid": _lanes,
    "%warpid": lambda threads: threads.thread_of // WARP,
    "%nwarpid": lambda threads: np.array(threads.wave.warps),
    "%gridid": lambda threads: np.array(0),
    "%dynamic_smem_size": lambda threads: np.array(threads.wave.launch.dynamic),
    "%total_smem_size": lambda threads: np.array(threads.wave.launch.shared),
    "%aggr_smem_size": lambda threads: np.array(threads.wave.launch.shared + 1024),
    "%smid": lambda threads: np.array(0),
    "%nsmid": lambda threads: np.array(1),
    "%cluster_ctarank": _rank,
    "%cluster_nctarank": lambda threads: np.array(threads.wave.launch.blocks),
    "%is_explicit_cluster": lambda threads: np.array(threads.wave.launch.in_clusters),
    "%clock": lambda threads: _time(threads) & 0xFFFFFFFF,
    "%clock64": _time,
    "%clock_hi": lambda threads: _time(threads) >> 32,
    "%globaltimer": _time,
    "%lanemask_eq": partial(_mask, np.equal),
    "%lanemask_lt": partial(_mask, np.less),
    "%lanemask_le": partial(_mask, np.less_equal),
    "%lanemask_gt": partial(_mask, np.greater),
    "%lanemask_ge": partial(_mask, np.greater_equal),
    **{f"%envreg{n}": lambda threads: np.array(0) for n in range(ENVIRONMENT)},
    "%envreg1": partial(_workspace, 32),
    "%envreg2": partial(_workspace, 0),
    "%reserved_smem_offset_begin": partial(_reserved, 0),
    "%reserved_smem_offset_end": partial(_reserved, RESERVED),
    "%reserved_smem_offset_cap": partial(_reserved, RESERVED),
    "%reserved_smem_offset_0": partial(_reserved, 0),
    "%reserved_smem_offset_1": partial(_reserved, RESERVED // 2),
}
SPECIAL.update(OTHERS)
