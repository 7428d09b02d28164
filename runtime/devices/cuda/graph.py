"""Segments as CUDA graphs: captured once, launched as one, updated in place."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any

from stepwell.errors import DeviceError
from stepwell.runtime.devices.gpu.interface import GpuLaunch
from stepwell.runtime.devices.interface import LaunchObserver

from .driver import checked, driver_errors

if TYPE_CHECKING:
    from .queue import CudaQueue


class GraphRecording:
    """The launches of a segment, captured from the queue's own stream."""

    def __init__(self, queue: CudaQueue, launches: Sequence[GpuLaunch]) -> None:
        self._queue, self._driver = queue, queue.bindings
        self._launches = list(launches)
        self._graph = _Graph(queue, self._launches, lambda: self._ask(launches))
        self._nodes: list[_Node] | None = None

    def _ask(self, launches: Sequence[GpuLaunch]) -> None:
        for one in launches:
            launch(self._queue, one)

    def run(self) -> None:
        """Launch the graph."""
        result = self._driver.cuGraphLaunch(self._graph.executable, self._queue.handle)
        checked(result, "launch a graph")

    def replace(self, index: int, launch: GpuLaunch) -> None:
        """Give one node other arguments; runs under way keep theirs."""
        self._launches[index] = launch
        if self._nodes is None:
            pairs = zip(self._graph.kernels(), self._launches, strict=True)
            self._nodes = [_Node(self._driver, *pair) for pair in pairs]
        self._nodes[index].update(self._graph.executable, launch)

    def run_observed(self, observe: LaunchObserver) -> None:
        """Launch a graph with an event between any two kernels."""
        driver, count = self._driver, len(self._launches)
        events = [
            checked(driver.cuEventCreate(0), "make an event") for _ in range(count + 1)
        ]

        def ask() -> None:
            for one, event in zip(self._launches, events, strict=False):
                self._mark(event)
                launch(self._queue, one)
            self._mark(events[-1])

        graph = _Graph(self._queue, self._launches, ask, 2 * count + 1)
        self._queue.download(())
        begin = perf_counter()
        result = driver.cuGraphLaunch(graph.executable, self._queue.handle)
        checked(result, "launch a graph")
        self._queue.download(())
        for index in range(count):
            start = begin + self._elapsed(events[0], events[index])
            observe(index, start, self._elapsed(events[index], events[index + 1]))
        graph.close()  # before the events that it records
        for event in events:
            driver.cuEventDestroy(event)

    def _mark(self, event: Any) -> None:
        """Record an event by a node of the graph under capture."""
        external = self._driver.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL
        stream = self._queue.own.handle
        result = self._driver.cuEventRecordWithFlags(event, stream, int(external))
        checked(result, "record an event")

    def _elapsed(self, first: Any, second: Any) -> float:
        """Seconds from one event to another."""
        if first is second:
            return 0.0
        result = self._driver.cuEventElapsedTime(first, second)
        return 1e-3 * float(checked(result, "read the time of an event"))


class _Node:
    """A kernel of a graph, with the arguments that it is to have."""

    def __init__(self, driver: Any, node: Any, launch: GpuLaunch) -> None:
        self._driver, self._node = driver, node
        known = checked(driver.cuGraphKernelNodeGetParams(node), "read a graph")
        data, offsets = launch.parameters()
        self._data = ctypes.create_string_buffer(data, max(len(data), 1))
        start = ctypes.addressof(self._data)
        self._pointers = (ctypes.c_void_p * max(len(offsets), 1))(
            *(start + offset for offset in offsets)
        )
        self._params = params = driver.CUDA_KERNEL_NODE_PARAMS()
        params.func = known.func
        params.gridDimX, params.gridDimY, params.gridDimZ = launch.blocks, 1, 1
        params.blockDimX, params.blockDimY, params.blockDimZ = launch.threads, 1, 1
        params.sharedMemBytes = launch.shared
        params.kernelParams = ctypes.addressof(self._pointers)

    def settle(self) -> None:
        """Give the graph's node the arguments, each where the kernel wants it."""
        result = self._driver.cuGraphKernelNodeSetParams(self._node, self._params)
        checked(result, "build a graph")

    def update(self, executable: Any, launch: GpuLaunch) -> None:
        """Let later launches of the graph have these arguments."""
        data, _ = launch.parameters()
        ctypes.memmove(self._data, data, len(data))
        result = self._driver.cuGraphExecKernelNodeSetParams(
            executable, self._node, self._params
        )
        checked(result, "update a graph")


class _Graph:
    """A graph captured from what `ask` does on the queue's own stream.

    Launches with tensor maps get their arguments anew before the graph is made
    executable: PyCUDA hands them over as one packed buffer, see `launch`.

    Args:
        launches: the kernels that `ask` launches, in order.
        count: how many nodes that makes; by default as many as kernels.
    """

    def __init__(
        self,
        queue: CudaQueue,
        launches: Sequence[GpuLaunch],
        ask: Callable[[], None],
        count: int | None = None,
    ) -> None:
        self._driver = driver = queue.bindings
        self._count = len(launches) if count is None else count
        stream = queue.own.handle
        # Relaxed: the garbage collector may give memory back at any time.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        checked(driver.cuStreamBeginCapture(stream, mode), "begin a graph")
        try:
            with driver_errors(queue.pycuda, "launch a kernel"):
                ask()
        except DeviceError:
            driver.cuStreamEndCapture(stream)
            raise
        self.graph = checked(driver.cuStreamEndCapture(stream), "end a graph")
        if any(one.has_maps for one in launches):
            for node, one in zip(self.kernels(), launches, strict=True):
                if one.has_maps:
                    _Node(driver, node, one).settle()
        result = driver.cuGraphInstantiate(self.graph, 0)
        self.executable = checked(result, "instantiate a graph")
        self.close = weakref.finalize(
            self, _destroy, queue, self.graph, self.executable
        )

    def kernels(self) -> list[Any]:
        """The nodes that are kernels, in the order of their launches."""
        kernel = self._driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_KERNEL
        return [
            node
            for node in self.chain(self._count)
            if checked(self._driver.cuGraphNodeGetType(node), "read a graph") == kernel
        ]

    def chain(self, count: int) -> list[Any]:
        """The nodes in the order in which they were asked for."""
        driver = self._driver
        if count == 1:
            return list(
                checked(driver.cuGraphGetNodes(self.graph, 1), "read a graph")[0]
            )
        edges = checked(driver.cuGraphGetEdges(self.graph, count - 1), "read a graph")
        follows = {int(a): b for a, b in zip(edges[0], edges[1], strict=True)}
        later = {int(node) for node in edges[1]}
        nodes = [next(node for node in edges[0] if int(node) not in later)]
        while (node := follows.get(int(nodes[-1]))) is not None:
            nodes.append(node)
        return nodes


def _destroy(queue: CudaQueue, graph: Any, executable: Any) -> None:
    with suppress(Exception), queue.active:  # after a fault nothing can be given back
        queue.bindings.cuGraphExecDestroy(executable)
        queue.bindings.cuGraphDestroy(graph)


def launch(queue: CudaQueue, one: GpuLaunch) -> None:
    """Launch a kernel on the queue's own stream.

    Where a tensor map lies in the packed buffer is known to the assembler alone: it
    aligns maps to 64 bytes in the bank of constants, where parameters begin at 0x210.
    The driver refuses a buffer that is longer than the kernel's. So a launch with maps
    gets one without padding, which is not: the graph's node is settled later.
    """
    data = bytes(one.nbytes) if one.has_maps else one.parameters()[0]
    function = one.function
    function.prepare([f"{len(data)}s"])
    function.prepared_async_call(
        (one.blocks, 1, 1),
        (one.threads, 1, 1),
        queue.own,
        data,
        shared_size=one.shared,
    )
