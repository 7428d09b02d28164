"""Forms in the emulator."""

from __future__ import annotations

import numpy as np

from stepwell.errors import StepwellError
from stepwell.runtime.devices.emulated import (
    EmulatedDevice,
    encode_im2col_map,
    encode_tensor_map,
)

from .form import Form, Map
from .values import Array

LIMIT = 200_000
"""Warp instructions after which a kernel is given up."""


def encoded(one: Map, pointer: int) -> bytes:
    """The emulator's bytes of a tensor map."""
    common = {
        "element_strides": one.steps,
        "swizzle": one.swizzle,
        "oob_fill": one.oob_fill,
    }
    if one.pixels == 0:
        return encode_tensor_map(
            one.element, pointer, one.dims, one.strides, one.box, **common
        )
    return encode_im2col_map(
        *(one.element, pointer, one.dims, one.strides, one.lower, one.upper),
        *(one.channels, one.pixels),
        **common,
    )


def emulate(form: Form, check: bool = False) -> Array | str:
    """The output's contents after the kernel, or why there are none."""
    device = EmulatedDevice(limit=LIMIT, check=check)
    try:
        module = device.load(form.ptx)
        buffers = [device.upload(array) for array in (*form.inputs, form.output)]
        maps = [encoded(one, buffers[one.buffer]) for one in form.maps]
        module.launch(
            "k",
            grid=form.blocks,
            block=form.threads,
            args=[*maps, *buffers],
            shared=form.shared,
        )
    except StepwellError as error:
        return str(error)
    except Exception as error:  # a defect of the emulator is an outcome, too
        return f"internal error: {type(error).__name__}: {error}"
    output = np.asarray(form.output)
    return device.download(buffers[-1], output.shape, output.dtype)
