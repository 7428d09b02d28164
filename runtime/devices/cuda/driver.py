"""The CUDA driver, through both of its Python packages, with errors for the user."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from stepwell.errors import DeviceError, MissingExtraError


def import_driver() -> tuple[Any, Any]:
    """`pycuda.driver`, initialised, and `cuda.bindings.driver`.

    Raises:
        MissingExtraError: one of them is not installed.
        DeviceError: there is no NVIDIA driver, or it does not start.
    """
    bindings = _import("cuda.bindings.driver", "cuda-bindings")
    pycuda = _import("pycuda.driver", "pycuda")
    try:
        pycuda.init()
    except pycuda.Error as error:
        raise DeviceError(
            "the NVIDIA driver does not start", notes=[str(error)], fix=_FIX
        ) from None
    return pycuda, bindings


_FIX = 'run on a machine with an NVIDIA GPU and driver, or load with device="emulated"'


def _import(name: str, package: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"running an engine on a GPU needs {package}, which is not installed",
            notes=[str(error)],
            fix="pip install 'stepwell[cuda-run]'",
        ) from None
    except ImportError as error:  # the package is there, libcuda.so is not
        raise DeviceError(
            "expected an NVIDIA driver on this machine, found none",
            notes=[str(error)],
            fix=_FIX,
        ) from None


def checked(result: tuple[Any, ...], what: str) -> Any:
    """The value of a call of `cuda.bindings.driver`; several as a tuple.

    Raises:
        DeviceError: the call failed.
    """
    status, *values = result
    if int(status) != 0:
        raise DeviceError(f"the GPU could not {what}", notes=[status.name])
    return tuple(values) if len(values) > 1 else values[0] if values else None


@contextmanager
def driver_errors(pycuda: Any, what: str) -> Generator[None]:
    """Turns PyCUDA's errors into `DeviceError`s."""
    try:
        yield
    except pycuda.Error as error:
        raise DeviceError(f"the GPU could not {what}", notes=[str(error)]) from None
