"""Engines for GPUs, on the emulated device."""

import ctypes
import gc
import struct
import sys

import numpy as np
import pytest

from stepwell.errors import (
    DeviceError,
    EngineFileError,
    InputError,
    MissingExtraError,
    OptionError,
)
from stepwell.runtime import Engine, load_bytes
from stepwell.runtime.devices import open_gpu
from stepwell.runtime.devices.cuda.device import (
    own_target,
    parse_target,
    runs_cubin,
    runs_ptx,
)
from stepwell.runtime.devices.emulated_gpu import MEMORY_LIMIT, EmulatedGpu
from stepwell.runtime.devices.gpu.interface import GpuLaunch, element_of_map
from stepwell.runtime.devices.gpu.tensors import DeviceTensor, stream_handle
from stepwell.runtime.manifest import (
    Block,
    Kernel,
    Launch,
    Segment,
    TensorMap,
)
from stepwell.runtime.profiler import chrome_trace, observe_run, profile
from stepwell.runtime.verify_manifest import verify_manifest

F32 = "float32"


def twice(x):
    return 2 * (2 * x + 3) + 3


def arange(n):
    return np.arange(n, dtype=np.float32)


@pytest.fixture
def gpu():
    return EmulatedGpu(check=True)


@pytest.fixture
def engine(build_gpu, gpu):
    return Engine(build_gpu(), device=gpu)


def test_many_shapes_one_engine(engine):
    for n in (1, 63, 64, 65, 300, 1, 63):
        np.testing.assert_array_equal(engine(arange(n)), twice(arange(n)))


def test_results_are_the_callers(engine):
    first = engine(arange(100))
    kept = first.copy()
    engine(arange(100) + 1)
    np.testing.assert_array_equal(first, kept)


def test_saved_and_loaded(engine):
    again = load_bytes(engine.to_bytes(), device="emulated")
    np.testing.assert_array_equal(again(arange(9)), twice(arange(9)))


def test_memory_goes_back(build_gpu, gpu):
    engine = Engine(build_gpu(), device=gpu)
    engine(arange(100))
    assert gpu.used > 0
    del engine
    gc.collect()
    assert gpu.used == 0


def test_out_of_memory_is_an_error_and_the_engine_lives_on(build_gpu, gpu):
    engine = Engine(
        build_gpu(slots=(f"{MEMORY_LIMIT} * (n floordiv 100)",)), device=gpu
    )
    with pytest.raises(DeviceError, match="out of memory on the emulated GPU") as error:
        engine(arange(200))
    assert "arena" in error.value.summary
    assert "are free" in error.value.notes[0]
    with pytest.raises(EngineFileError, match="within the 0 B of its slot"):
        engine(arange(50))


# ---- tensors of the device ----


class Interface:
    """A tensor of another library, by `__cuda_array_interface__`."""

    def __init__(self, gpu, array, **changes):
        self.gpu, self.like = gpu, array
        self.address = gpu.device.upload(array)
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self.address, False),
            "version": 3,
            **changes,
        }


def downloaded(gpu, tensor):
    assert isinstance(tensor, DeviceTensor)
    return gpu.device.download(tensor.address, tensor.shape, tensor.dtype)


def test_device_tensors_are_read_in_place(engine, gpu):
    for n in (100, 7, 100):
        x = Interface(gpu, arange(n) + n)
        np.testing.assert_array_equal(downloaded(gpu, engine(x)), twice(arange(n) + n))


def test_outputs_go_in_again(engine, gpu):
    y = engine(engine(Interface(gpu, arange(50))))
    np.testing.assert_array_equal(downloaded(gpu, y), twice(twice(arange(50))))
    interface = y.__cuda_array_interface__
    assert interface["shape"] == (50,)
    assert interface["typestr"] == "<f4"


def test_a_tensor_is_not_copied(build_gpu, gpu):
    engine = Engine(build_gpu(), device=gpu)
    x = Interface(gpu, arange(1000))
    engine(x)
    before = gpu.used
    y = engine(x)
    assert gpu.used - before == y.nbytes + 16


def test_misaligned_tensors_are_copied(engine, gpu):
    x = Interface(gpu, arange(101))
    x.__cuda_array_interface__ |= {"data": (x.address + 4, False), "shape": (100,)}
    np.testing.assert_array_equal(downloaded(gpu, engine(x)), twice(arange(101)[1:]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (8,)}, "expected a contiguous tensor as input 'x'"),
        ({"mask": True}, "without a mask"),
        ({"typestr": "<f8"}, "expected dtype float32 of input 'x', got float64"),
        ({"shape": (5, 2)}, "expected rank 1 of input 'x', got 2"),
    ],
)
def test_device_tensors_that_do_not_fit(engine, gpu, changes, message):
    with pytest.raises(InputError, match=message):
        engine(Interface(gpu, arange(10), **changes))


def test_a_tensor_of_another_device(engine):
    other = DeviceTensor(4096, (10,), np.dtype(F32), None, None, "", 3)
    with pytest.raises(InputError, match="expected inputs on device 0, got one on 3"):
        engine(other)


class Capsule:
    """A tensor that speaks DLPack alone; layout of `DLManagedTensor` in dlpack.h."""

    def __init__(self, gpu, array, strides=None, kind=(2, 32)):
        self.shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self.strides = strides and (ctypes.c_int64 * array.ndim)(*strides)
        at = ctypes.addressof(self.strides) if strides else 0
        self.tensor = ctypes.create_string_buffer(
            struct.pack(
                "<QiiiBBHQQQQQ",
                gpu.device.upload(array),
                *(2, 0, array.ndim, *kind, 1),
                *(ctypes.addressof(self.shape), at, 0, 0, 0),
            )
        )

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, stream=None):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


def test_dlpack_on_the_device(engine, gpu):
    for strides in (None, (1,)):
        y = engine(Capsule(gpu, arange(20), strides))
        np.testing.assert_array_equal(downloaded(gpu, y), twice(arange(20)))
    with pytest.raises(InputError, match="expected a contiguous tensor as input 'x'"):
        engine(Capsule(gpu, arange(20), (2,)))
    with pytest.raises(InputError, match="got bfloat16"):
        engine(Capsule(gpu, arange(20), None, (4, 16)))
    with pytest.raises(InputError, match="an element type of input 'x'"):
        engine(Capsule(gpu, arange(20), None, (9, 16)))


def test_streams_are_taken_from_any_library():
    class Torch:
        cuda_stream = 5

    class Core:
        def __cuda_stream__(self):
            return (0, 7)

    assert [stream_handle(one) for one in (3, Torch(), Core())] == [3, 5, 7]
    with pytest.raises(InputError, match="expected a CUDA stream, got str"):
        stream_handle("default")


# ---- tensor maps ----


def test_views_as_tensor_maps(build_copy, gpu):
    made = build_copy()
    verify_manifest(made.manifest, 0)
    engine = Engine(made, device=gpu)
    rng = np.random.default_rng(0)
    for rows in (24, 5, 24):
        x = rng.standard_normal((rows, 16)).astype(np.float32)
        padded = np.zeros((-(-rows // 8) * 8, 16), np.float32)
        padded[:rows] = x
        np.testing.assert_array_equal(engine(x), padded)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 0}, "1 to 32 warps"),
        ({"threads": 48}, "1 to 32 warps"),
        ({"threads": 2048}, "1 to 32 warps"),
        ({"shared": 1 << 20}, "at most 232448 B of shared memory"),
        ({"cluster": 17}, "clusters of 1 to 16 blocks"),
        ({"maps": (TensorMap(7, F32, (4,), (), (4,)),)}, "a view below 3"),
        ({"maps": (TensorMap(0, F32, (4,), (), (4,)),) * 2}, "one tensor map a view"),
        ({"maps": (TensorMap(0, F32, (4, 4), (), (4, 4)),)}, "a whole tensor map"),
        ({"maps": (TensorMap(0, F32, (4,), (), (4, 4)),)}, "a box of the rank"),
        ({"maps": (TensorMap(0, F32, (4,), (), (4,), 48),)}, "a swizzle"),
        ({"maps": (TensorMap(0, F32, (4,) * 6, (4,) * 5, (4,) * 6),)}, "rank 1 to 5"),
    ],
)
def test_damaged_kernels_are_found(build_gpu, changes, message):
    kernel = Kernel("scale", 3, 1, ("n",), ("n",), **{"threads": 64, **changes})
    made = build_gpu(kernels=(kernel,))
    with pytest.raises(EngineFileError, match=message):
        verify_manifest(made.manifest, made.weights.nbytes)


def test_elements_of_tensor_maps_are_of_the_same_size():
    names = ("float16", "int8", "bool", "float8_e4m3fn", "int16")
    found = [element_of_map(name) for name in names]
    assert found == ["float16", "uint8", "uint8", "uint8", "uint16"]


# ---- launches ----


def test_parameters_are_aligned_as_in_c():
    launch = GpuLaunch(None, 1, 32, 0, 1, (7, b"m" * 128, 9), (-1, 5))
    data, offsets = launch.parameters()
    assert offsets == (0, 64, 192, 200, 204)
    assert data[:8] == struct.pack("<Q", 7) and data[64:192] == b"m" * 128
    assert data[192:] == struct.pack("<Qii", 9, -1, 5)


def test_sizes_beyond_32_bits(build_gpu, gpu):
    launch = Launch(0, (0, 1, 2), ("n * 2147483648",))
    engine = Engine(build_gpu(program=Block((Segment((launch,)),))), device=gpu)
    with pytest.raises(DeviceError, match=r"below 2\^31 of kernel 'scale', got 21474"):
        engine(arange(1))


def test_profile_and_trace(engine):
    times = profile(engine, {"x": arange(100)}, runs=3)
    assert [one.launch.name for one in times] == ["first", "last"]
    trace = chrome_trace(observe_run(engine, {"x": arange(100)}, 2), "gpu")
    kernels = [one for one in trace["traceEvents"] if one["ph"] == "X"]
    assert [one["name"] for one in kernels] == ["first", "last"] * 2
    assert kernels[0]["ts"] == 0
    assert all(one["dur"] > 0 for one in kernels)


def test_contexts_at_once(build_gpu):
    engine = Engine(build_gpu(), device="emulated")
    contexts = [engine.context() for _ in range(2)]
    first, second = (
        context.run([arange(9) + i])[0] for i, context in enumerate(contexts)
    )
    np.testing.assert_array_equal(first, twice(arange(9)))
    np.testing.assert_array_equal(second, twice(arange(9) + 1))


# ---- devices ----


@pytest.mark.parametrize(
    ("target", "capability", "cubin", "ptx"),
    [
        ("sm_80", (8, 0), True, True),
        ("sm_80", (8, 6), True, True),
        ("sm_86", (8, 0), False, False),
        ("sm_80", (9, 0), False, True),
        ("sm_90a", (9, 0), True, True),
        ("sm_90a", (10, 0), False, False),
        ("sm_90", (10, 0), False, True),
        ("sm_100f", (10, 3), True, True),
        ("sm_100f", (12, 0), False, False),
        ("sm_120a", (9, 0), False, False),
    ],
)
def test_which_code_runs_where(target, capability, cubin, ptx):
    assert runs_cubin(target, capability) == cubin
    assert runs_ptx(target, capability) == ptx


def test_names_of_targets_and_devices(build_gpu):
    assert parse_target("sm_120a") == ((12, 0), "a")
    assert own_target((9, 0)) == "sm_90a"
    assert own_target((8, 6)) == "sm_86"
    with pytest.raises(DeviceError, match="a target such as sm_90a, got 'gfx942'"):
        parse_target("gfx942")
    with pytest.raises(OptionError, match="expected a device: cpu, cuda"):
        open_gpu("cuda:x")
    with pytest.raises(OptionError, match="expected a device: cpu, cuda"):
        Engine(build_gpu(), device="emulated:3")


def test_an_engine_that_has_not_started_can_be_saved(build_gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "pycuda", None)
    engine = Engine(build_gpu(), start=False)
    data = engine.to_bytes()
    with pytest.raises(MissingExtraError, match="pycuda, which is not") as error:
        engine(arange(3))
    assert "stepwell[cuda-run]" in error.value.fix
    np.testing.assert_array_equal(
        load_bytes(data, device="emulated")(arange(3)), twice(arange(3))
    )
