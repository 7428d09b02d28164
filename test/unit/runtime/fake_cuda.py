"""A CUDA driver in memory: the calls that the runtime makes of PyCUDA and
cuda-bindings, over the PTX emulator's device.

Enums and structs are those of cuda-bindings; everything runs at once, in order. Work is
noted in `log`, so that tests can ask what was done.
"""

import ctypes
import itertools

import numpy as np
from cuda.bindings import driver as real

from stepwell.runtime.devices.emulated import EmulatedDevice, encode_tensor_map

OK = real.CUresult.CUDA_SUCCESS
HANDLES = itertools.count(1000)
BANK = 0x210
"""Where ptxas puts the first parameter in the bank of constants, for sm_90."""


class Error(Exception):
    pass


class OutOfMemory(Error):
    pass


class Node:
    """A kernel or an event of a graph."""

    def __init__(self, function=None, grid=0, block=0, shared=0, data=b"", event=None):
        self.function, self.grid, self.block = function, grid, block
        self.shared, self.data, self.event = shared, data, event
        self.number = next(HANDLES)

    def __int__(self):
        return self.number

    def run(self, driver):
        if self.event is not None:
            driver.record(self.event)
            return
        driver.log.append(("launch", self.function.name))
        self.function.launch(self.grid, self.block, self.shared, self.data)


class Function:
    def __init__(self, module, name):
        if name not in module.syntax.functions:
            raise Error(f"named symbol not found: {name}")
        self.module, self.name, self.attributes = module, name, {}

    @property
    def parameters(self):
        return self.module.syntax.functions[self.name].parameters

    def set_attribute(self, attribute, value):
        self.attributes[attribute] = value

    def get_attribute(self, attribute):
        return self.attributes.get(attribute, 32)

    def prepare(self, formats):
        (self.format,) = formats

    def offsets(self):
        """Where each parameter starts, and where they end: aligned in the bank."""
        found, at = [], BANK
        for parameter in self.parameters:
            at += -at % parameter.alignment
            found.append(at - BANK)
            at += parameter.size
        return found, at - BANK

    def prepared_async_call(self, grid, block, stream, data, shared_size):
        assert self.format == f"{len(data)}s"
        if len(data) > self.offsets()[1]:  # an H200 takes shorter ones
            raise Error("cuLaunchKernel failed: invalid argument")
        node = Node(self, grid[0], block[0], shared_size, data)
        stream.driver.ask(node, stream.handle)

    def launch(self, grid, block, shared, data):
        args, (offsets, end) = [], self.offsets()
        assert end == len(data)
        for parameter, at in zip(self.parameters, offsets, strict=True):
            piece = data[at : at + parameter.size]
            whole = parameter.size > 8
            args.append(piece if whole else int.from_bytes(piece, "little"))
        self.module.launch(self.name, grid=grid, block=block, args=args, shared=shared)


class Stream:
    driver = None

    def __init__(self):
        self.handle = next(HANDLES)


class Allocation:
    def __init__(self, pycuda, size):
        self.pycuda, self.address = pycuda, pycuda.device.allocate(size)
        pycuda.held[self.address] = size

    def __int__(self):
        return self.address

    def free(self):
        assert self.pycuda.depth > 0, "freed without a context"
        del self.pycuda.held[self.address]
        self.pycuda.device.machine.memory.free(self.address)


class TensorMap:
    """`CUtensorMap`, with the emulator's bytes."""

    def __init__(self, data):
        self.data = ctypes.create_string_buffer(data, len(data))

    def getPtr(self):
        return ctypes.addressof(self.data)


class FakePycuda:
    """`pycuda.driver`."""

    Error, MemoryError = Error, OutOfMemory
    total = 1 << 24

    class function_attribute:
        MAX_DYNAMIC_SHARED_SIZE_BYTES, NUM_REGS = "shared", "registers"

    def __init__(self, capability=(9, 0)):
        outer, self.device = self, EmulatedDevice(check=True)
        self.depth, self.held = 0, {}

        class Context:
            def push(self):
                outer.depth += 1

            @staticmethod
            def pop():
                outer.depth -= 1

        class Device:
            def __init__(self, ordinal):
                self.ordinal = ordinal

            @staticmethod
            def count():
                return 1

            def name(self):
                return "Fake GPU"

            def compute_capability(self):
                return capability

            def retain_primary_context(self):
                return Context()

        self.Context, self.Device = Context, Device
        self.Stream = type("Stream", (Stream,), {})

    def mem_alloc(self, size):
        assert self.depth > 0, "allocated without a context"
        if size > self.mem_get_info()[0]:
            raise OutOfMemory("cuMemAlloc failed: out of memory")
        return Allocation(self, size)

    def mem_get_info(self):
        return self.total - sum(self.held.values()), self.total

    def module_from_buffer(self, image):
        if not image.endswith(b"\0"):
            raise Error("cuModuleLoadDataEx failed: invalid device image")
        module = self.device.load(image[:-1].decode())
        module.get_function = lambda name: Function(module, name)
        return module

    def pagelocked_empty(self, size, dtype):
        assert self.depth > 0, "allocated without a context"
        return np.empty(size, dtype)


class FakeBindings:
    """`cuda.bindings.driver`."""

    def __init__(self, pycuda):
        self.pycuda, self.memory = pycuda, pycuda.device.machine.memory
        self.log, self.times, self.capturing = [], {}, {}
        self.clock = itertools.count()
        self.fault = OK
        pycuda.Stream.driver = self

    def __getattr__(self, name):
        assert not callable(vars(real).get(name)) or name[:2] in ("CU", "cu")
        assert not name.startswith("cu") or name.startswith("cuuint"), f"fake {name}"
        return getattr(real, name)

    def ask(self, node, stream):
        if stream in self.capturing:
            self.capturing[stream].append(node)
        else:
            node.run(self)

    def record(self, event):
        self.times[event] = next(self.clock)

    # ---- graphs ----

    def cuStreamBeginCapture(self, stream, mode):
        assert mode == real.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        self.capturing[stream] = []
        return (OK,)

    def cuStreamEndCapture(self, stream):
        return OK, self.capturing.pop(stream)

    def cuGraphInstantiate(self, graph, flags):
        self.log.append(("instantiate", len(graph)))
        return OK, {node: node for node in graph}

    def cuGraphLaunch(self, executable, stream):
        self.log.append(("graph", stream))
        for node in executable.values():
            node.run(self)
        return (OK,)

    def cuGraphGetNodes(self, graph, count):
        return OK, graph[:count], len(graph)

    def cuGraphGetEdges(self, graph, count):
        edges = list(itertools.pairwise(graph))[::-1]
        assert count == len(edges)
        return OK, [a for a, _ in edges], [b for _, b in edges], [], count

    def cuGraphKernelNodeGetParams(self, node):
        return OK, real.CUDA_KERNEL_NODE_PARAMS()

    def cuGraphNodeGetType(self, node):
        kinds = real.CUgraphNodeType
        is_kernel = node.event is None
        kernel = kinds.CU_GRAPH_NODE_TYPE_KERNEL
        return OK, kernel if is_kernel else kinds.CU_GRAPH_NODE_TYPE_EVENT_RECORD

    def cuGraphKernelNodeSetParams(self, node, params):
        self.log.append(("settle", node.function.name))
        node.data = self.arguments(node, params)
        return (OK,)

    def cuGraphExecKernelNodeSetParams(self, executable, node, params):
        self.log.append(("update", node.function.name))
        data = self.arguments(node, params)
        grid, block = params.gridDimX, params.blockDimX
        shared = params.sharedMemBytes
        executable[node] = Node(node.function, grid, block, shared, data)
        return (OK,)

    def arguments(self, node, params):
        """The bytes that an array of pointers to arguments stands for."""
        parameters, (offsets, end) = node.function.parameters, node.function.offsets()
        kinds, data = ctypes.c_void_p * len(parameters), bytearray(end)
        pointers = kinds.from_address(int(params.kernelParams))
        for parameter, at, pointer in zip(parameters, offsets, pointers, strict=True):
            piece = ctypes.string_at(pointer, parameter.size)
            data[at : at + parameter.size] = piece
        return bytes(data)

    def cuGraphExecDestroy(self, executable):
        self.log.append(("destroy",))
        return (OK,)

    def cuGraphDestroy(self, graph):
        return (OK,)

    # ---- tensor maps ----

    def cuTensorMapEncodeTiled(self, kind, rank, address, dims, strides, box, *rest):
        element = kind.name.removeprefix("CU_TENSOR_MAP_DATA_TYPE_").lower()
        _, _, swizzle, _, _ = rest
        extents = [[int(n) for n in numbers] for numbers in (dims, strides, box)]
        name = swizzle.name.removeprefix("CU_TENSOR_MAP_SWIZZLE_")
        name = "none" if name == "NONE" else name
        return OK, TensorMap(
            encode_tensor_map(element, address, *extents, swizzle=name)
        )

    # ---- events and streams ----

    def cuEventCreate(self, flags):
        return OK, next(HANDLES)

    def cuEventDestroy(self, event):
        self.log.append(("forget", event))
        return (OK,)

    def cuEventRecord(self, event, stream):
        self.record(event)
        return (OK,)

    def cuEventRecordWithFlags(self, event, stream, flags):
        self.ask(Node(event=event), stream)
        return (OK,)

    def cuEventElapsedTime(self, first, second):
        return OK, float(self.times[second] - self.times[first])

    def cuStreamWaitEvent(self, stream, event, flags):
        self.log.append(("wait", stream))
        return (OK,)

    def cuStreamSynchronize(self, stream):
        self.log.append(("synchronise", stream))
        return (self.fault,)

    # ---- copies ----

    def cuMemcpyHtoDAsync(self, target, source, size, stream):
        self.log.append(("up", size))
        self.memory.write(target, ctypes.string_at(source, size))
        return (OK,)

    def cuMemcpyDtoHAsync(self, target, source, size, stream):
        self.log.append(("down", size))
        ctypes.memmove(target, self.memory.read(source, size).tobytes(), size)
        return (OK,)

    def cuMemcpyDtoDAsync(self, target, source, size, stream):
        self.log.append(("copy", size))
        self.memory.write(target, self.memory.read(source, size))
        return (OK,)
