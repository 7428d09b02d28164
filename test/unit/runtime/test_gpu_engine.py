"""Engines for GPUs, on the emulated device."""

import numpy as np
import pytest

from stepwell.errors import DeviceError, OptionError
from stepwell.runtime import Engine, load_bytes


def twice(x):
    return 2 * (2 * x + 3) + 3


def arange(n):
    return np.arange(n, dtype=np.float32)


@pytest.fixture(scope="module")
def engine(build_gpu):
    return Engine(build_gpu(), device="emulated")


def test_many_shapes_one_engine(engine):
    for n in (1, 63, 64, 65, 1000, 1, 256, 63):
        np.testing.assert_array_equal(engine(arange(n)), twice(arange(n)))


def test_saved_and_loaded(engine):
    again = load_bytes(engine.to_bytes(), device="emulated")
    np.testing.assert_array_equal(again(arange(9)), twice(arange(9)))
