"""Memory of the device, and modules that are launched more than once."""

from __future__ import annotations

import numpy as np
import pytest
from planted import HEAD

from stepwell.errors import DeviceError, OptionError
from stepwell.runtime.devices.emulated import EmulatedDevice
from stepwell.runtime.devices.emulated.checker import Uninitialised
from stepwell.runtime.devices.emulated.memory import MemoryFault

ADD = """
  ld.global.u32 %r5, [%rd3];
  add.u32 %r5, %r5, %r1;
  st.global.u32 [%rd3], %r5;
  ret;
}
"""


def test_copy_fill_write():
    device = EmulatedDevice()
    a, b = device.upload(np.arange(8, dtype="u1")), device.allocate(8)
    device.fill(b, 8, 7)
    device.copy(b + 2, a, 4)
    np.testing.assert_array_equal(
        device.download(b, (8,), "u1")[:7], [7, 7, *range(4), 7]
    )
    device.write(b, np.zeros(2, "u1"))
    assert device.download(b, (2,), "u1").sum() == 0
    device.copy(a + 1, a, 7)  # they overlap
    assert device.download(a, (8,), "u1").tolist() == [0, 0, 1, 2, 3, 4, 5, 6]


def test_accesses_of_the_host_are_checked():
    device = EmulatedDevice()
    a = device.allocate(8)
    for wrong in (
        lambda: device.download(a, (9,), "u1"),
        lambda: device.write(a + 4, np.zeros(8, "u1")),
        lambda: device.copy(a, a + 4, 8),
        lambda: device.fill(a - 1, 1),
    ):
        with pytest.raises(MemoryFault, match="allocated bytes"):
            wrong()
    with pytest.raises(DeviceError, match="expected an allocated pointer"):
        device.free(a + 1)


def test_freed_memory_is_used_again_and_faults_until_then():
    device = EmulatedDevice(check=True)
    module = device.load(HEAD + ADD)
    a = device.upload(np.zeros(128, "i4"))
    module.launch("k", grid=1, block=128, args=[a])
    device.free(a)
    with pytest.raises(MemoryFault, match="out-of-bounds"):
        module.launch("k", grid=1, block=128, args=[a])
    assert device.allocate(512) == a
    with pytest.raises(Uninitialised):
        module.launch("k", grid=1, block=128, args=[a])


def test_memory_that_was_copied_from_nothing_holds_nothing():
    device = EmulatedDevice(check=True)
    module = device.load(HEAD + ADD)
    a, b = device.allocate(512), device.allocate(512)
    device.copy(b, a, 512)
    with pytest.raises(Uninitialised):
        module.launch("k", grid=1, block=128, args=[b])
    device.fill(a, 512)
    device.copy(b, a, 512)
    module.launch("k", grid=1, block=128, args=[b])


def test_many_launches_neither_translate_nor_allocate_anew():
    device = EmulatedDevice()
    module = device.load(HEAD + ADD)
    a = device.upload(np.zeros(128, "i4"))
    counts = [module.launch("k", grid=1, block=128, args=[a]) for _ in range(3)]
    code = [id(step) for step in module.program.code]
    for _ in range(20):
        module.launch("k", grid=1, block=128, args=[a])
    assert code == [id(step) for step in module.program.code]
    assert counts == [counts[0]] * 3
    got = device.download(a, (128,), "i4")
    np.testing.assert_array_equal(got, 23 * np.arange(128))
    assert len(device.machine.memory.memory.starts) == 2  # `a` and the ticket


def test_memory_grows():
    device = EmulatedDevice(check=True)
    module = device.load(HEAD + ADD)
    small = device.upload(np.arange(128, dtype="i4"))
    large = device.upload(np.full(3 << 20, 5, "u1"))
    module.launch("k", grid=1, block=128, args=[small])
    got = device.download(small, (128,), "i4")
    np.testing.assert_array_equal(got, 2 * np.arange(128))
    assert (device.download(large, (3 << 20,), "u1") == 5).all()


NUMBERS = """
.version 8.7
.target sm_90a
.address_size 64
.visible .entry k(.param .u32 count, .param .b32 bits) { ret; }
"""


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        ({"cluster": 3}, "a grid of whole clusters"),
        ({"block": 1025}, "1024 threads a block"),
        ({"shared": -5}, "bytes shared, got -5"),
        ({"args": [1.5, 0]}, r"count: expected an integer for \.u32, got 1\.5"),
        ({"args": [1 << 32, 0]}, "count: 4294967296 does not fit 32 bits"),
        ({"args": [0]}, "expected 2 arguments, got 1"),
    ],
)
def test_launches_that_no_gpu_takes(launch, message):
    module = EmulatedDevice().load(NUMBERS)
    good = {"grid": 1, "block": 32, "args": [-1, 1.5]}
    assert module.launch("k", **good) > 0
    with pytest.raises(OptionError, match=message):
        module.launch("k", **(good | launch))


def test_a_module_without_kernels():
    head = NUMBERS[: NUMBERS.index(".visible")]
    with pytest.raises(OptionError, match="a module that has some, got 'k'"):
        EmulatedDevice().load(head).launch("k", grid=1, block=32)
