"""The CUDA device's own logic, on a driver in memory (fake_cuda.py)."""

import gc
import runpy
import threading
from pathlib import Path

import numpy as np
import pytest
from cuda.bindings import driver as real

from stepwell.errors import DeviceError
from stepwell.runtime import Engine
from stepwell.runtime.devices.cuda import CudaGpu, device
from stepwell.runtime.devices.gpu.tensors import DeviceTensor
from stepwell.runtime.manifest import Block, Launch, Segment
from stepwell.runtime.profiler import observe_run

FAKE = runpy.run_path(str(Path(__file__).with_name("fake_cuda.py")))


def twice(x):
    return 2 * (2 * x + 3) + 3


def arange(n):
    return np.arange(n, dtype=np.float32)


def open_fake(monkeypatch, capability=(9, 0)):
    pycuda = FAKE["FakePycuda"](capability)
    bindings = FAKE["FakeBindings"](pycuda)
    monkeypatch.setattr(device, "import_driver", lambda: (pycuda, bindings))
    return CudaGpu(0)


@pytest.fixture
def gpu(monkeypatch):
    return open_fake(monkeypatch)


@pytest.fixture
def engine(build_gpu, gpu):
    return Engine(build_gpu(), device=gpu)


def work(gpu, *kinds):
    """What was asked of the driver, of these kinds, since the last time."""
    found = [entry for entry in gpu.bindings.log if entry[0] in kinds]
    gpu.bindings.log.clear()
    return found


def tensor(gpu, array, stream=None):
    address = gpu.pycuda.device.upload(array)
    return DeviceTensor(address, array.shape, array.dtype, stream, None, "", 0)


def test_one_graph_a_shape(engine, gpu):
    for n in (100, 5, 100, 5, 5):
        np.testing.assert_array_equal(engine(arange(n)), twice(arange(n)))
    kinds = ("instantiate", "update", "graph")
    graphs = [entry[0] for entry in work(gpu, *kinds)]
    assert graphs == ["instantiate", "graph"] * 2 + ["graph"] * 3
    assert gpu.pycuda.depth == 0


def test_graphs_are_updated_where_pointers_move(engine, gpu):
    xs = [tensor(gpu, arange(50) + i, stream=77) for i in range(3)]
    ys = [engine(x) for x in xs]
    for i, y in enumerate(ys):
        found = gpu.pycuda.device.download(y.address, y.shape, y.dtype)
        np.testing.assert_array_equal(found, twice(arange(50) + i))
    log = work(gpu, "instantiate", "update", "graph", "up", "copy", "synchronise")
    updates = [("update", "scale")] * 2  # the launch on the input, that on the output
    graph = ("graph", 77)
    uploads = [("up", 4), log[1]]
    assert log == [*uploads, ("instantiate", 2), graph, *[*updates, graph] * 2]


def test_the_callers_stream(engine, gpu):
    x = tensor(gpu, arange(50), stream=77)
    engine(x)
    engine(x, stream=88)
    log = work(gpu, "graph", "wait", "synchronise")
    # Another stream waits for the run before, and for the tensor's own stream.
    assert log[1:] == [("graph", 77), ("wait", 88), ("wait", 88), ("graph", 88)]
    engine(tensor(gpu, arange(50)))
    *_, last = work(gpu, "graph", "synchronise")
    assert last[0] == "synchronise"  # on no stream of the caller's: done on return


def test_pinned_memory_is_not_written_before_it_was_read(build_gpu, gpu):
    engine = Engine(build_gpu(), device=gpu)
    context = engine.context()
    for _ in range(2):
        context.run([arange(10)])
    work(gpu)
    queue = context._workspace.queue
    for n, times, expected in ((5000, 2, "up synchronise up"), (10, 3, "up up up")):
        with gpu.activate():
            queue.download(())
            target = gpu.allocate(4 * n, "a test")
            work(gpu)
            for _ in range(times):
                queue.upload("a", target, arange(n))
        log = work(gpu, "up", "synchronise")
        assert [entry[0] for entry in log] == expected.split()


def test_small_arrays_go_round_a_ring(build_gpu, gpu, monkeypatch):
    from stepwell.runtime.devices.cuda import queue

    monkeypatch.setattr(queue, "RING_BYTES", 4 * queue.ALIGNMENT)
    own = gpu.queue()
    with gpu.activate():
        targets = [gpu.allocate(40, "a test") for _ in range(10)]
        for i, target in enumerate(targets):
            own.upload("a", target, arange(10) + i)
        read = [gpu.pycuda.device.download(t, (10,), np.float32) for t in targets]
    np.testing.assert_array_equal(read, [arange(10) + i for i in range(10)])
    assert len(work(gpu, "synchronise")) == 2


def test_large_arrays_are_not_pinned(build_gpu, gpu, monkeypatch):
    from stepwell.runtime.devices.cuda import queue

    monkeypatch.setattr(queue, "PINNED_LIMIT", 100)
    engine = Engine(build_gpu(), device=gpu)
    for n in (10, 200):
        np.testing.assert_array_equal(engine(arange(n)), twice(arange(n)))


def test_empty_segments_and_launches(build_gpu, gpu):
    none = Launch(0, (0, 1, 3), ("n - n",))
    launches = (none, Launch(0, (0, 1, 2), ("n",)), Launch(0, (2, 1, 3), ("n",)), none)
    made = build_gpu(program=Block((Segment((none,)), Segment(launches))))
    engine = Engine(made, device=gpu)
    np.testing.assert_array_equal(engine(arange(70)), twice(arange(70)))
    assert len(work(gpu, "launch")) == 2


@pytest.mark.parametrize("map_at", [0, 1])
def test_tensor_maps_are_settled_before_the_graph_and_move(build_copy, gpu, map_at):
    engine = Engine(build_copy(map_at=map_at), device=gpu)
    xs = [tensor(gpu, np.full((8, 16), i, np.float32), stream=77) for i in range(3)]
    for i, x in enumerate(xs):
        y = engine(x)
        found = gpu.pycuda.device.download(y.address, y.shape, y.dtype)
        np.testing.assert_array_equal(found, np.full((8, 16), i))
    log = work(gpu, "settle", "instantiate", "update", "graph")
    first = [("settle", "copy"), ("instantiate", 1), ("graph", 77)]
    assert log == first + [("update", "copy"), ("graph", 77)] * 2
    (events,) = observe_run(engine, {"x": xs[0]})
    assert len(events) == 1


def test_times_between_events(engine, gpu):
    work(gpu)
    (events,) = observe_run(engine, {"x": arange(100)})
    assert [event.step.name for event in events] == ["first", "last"]
    assert all(event.seconds > 0 for event in events)
    found = [entry[0] for entry in work(gpu, "destroy", "forget")]
    assert found[:4] == ["destroy", *["forget"] * 3]  # the graph before its events
    assert events[1].start == pytest.approx(events[0].start + events[0].seconds)


def test_memory_goes_back(build_gpu, gpu):
    engine = Engine(build_gpu(), device=gpu)
    y = engine(tensor(gpu, arange(50)))
    engine(arange(50))
    assert gpu.pycuda.held
    del engine, y
    gc.collect()
    assert gpu.pycuda.held == {}
    assert work(gpu, "destroy") == [("destroy",)]


def test_out_of_memory(build_gpu, gpu):
    engine = Engine(build_gpu(slots=("4 * n * 1000000",)), device=gpu)
    with pytest.raises(DeviceError, match=r"out of memory on Fake GPU \(cuda:0\)") as e:
        engine(arange(100))
    assert "B of 16777216 B are free" in e.value.notes[0]
    assert gpu.pycuda.depth == 0


def test_faults_are_errors_of_the_device(engine, gpu):
    engine(arange(10))
    gpu.bindings.fault = real.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(DeviceError, match="finish the work of the engine") as error:
        engine(arange(10))
    assert error.value.notes == ("CUDA_ERROR_ILLEGAL_ADDRESS",)
    assert gpu.pycuda.depth == 0


def test_code_for_another_gpu(build_gpu, monkeypatch):
    gpu = open_fake(monkeypatch, (12, 0))
    with pytest.raises(DeviceError, match="expected a GPU for sm_90a, got Fake") as e:
        Engine(build_gpu(), device=gpu)
    assert "compute capability 12.0" in e.value.summary
    assert e.value.fix == "build the engine for 'sm_120a'"
    Engine(build_gpu("sm_80"), device=gpu)  # from its PTX
    with pytest.raises(DeviceError, match="load the engine's kernels"):
        Engine(build_gpu("sm_120a", cubin=b"damaged"), device=gpu)


def test_ordinals(monkeypatch):
    open_fake(monkeypatch)
    with pytest.raises(DeviceError, match="expected a GPU of number 3, found 1 GPUs"):
        CudaGpu(3)


def test_contexts_of_threads(engine, gpu):
    found = {}

    def work_on(number):
        x = arange(100 + number)
        found[number] = np.array_equal(engine(x), twice(x))

    threads = [threading.Thread(target=work_on, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
        thread.join()
    assert found == dict.fromkeys(range(3), True)
