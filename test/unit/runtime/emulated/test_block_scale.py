"""Products of numbers of 4 to 8 bits, plain and scaled by blocks, against NumPy.

The places of elements and scales are spelled out here as the ISA's tables have them.
"""

from __future__ import annotations

import shutil
import subprocess

import ml_dtypes
import numpy as np
import pytest

from stepwell.errors import DeviceError
from stepwell.runtime.devices.emulated import EmulatedDevice

RANDOM = np.random.default_rng(5)
TYPES = {
    "e4m3": (ml_dtypes.float8_e4m3fn, 0),
    "e5m2": (ml_dtypes.float8_e5m2, 0),
    "e3m2": (ml_dtypes.float6_e3m2fn, 0),
    "e2m3": (ml_dtypes.float6_e2m3fn, 0),
    "e2m1": (ml_dtypes.float4_e2m1fn, 2),
}
"""The type, and how far its bits are shifted within their byte."""
SCALES = {"ue8m0": ml_dtypes.float8_e8m0fnu, "ue4m3": ml_dtypes.float8_e4m3fn}
KERNEL = """
.version 8.7
.target sm_120a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
  .reg .b32 %i, %a<4>, %b<2>, %c<4>, %s<2>;
  .reg .b64 %p;
  mov.u32 %i, %tid.x;
  ld.param.u64 %p, [in];
  mad.wide.u32 %p, %i, 48, %p;
  ld.global.v4.b32 {%a0, %a1, %a2, %a3}, [%p];
  ld.global.v4.b32 {%b0, %b1, %s0, %s1}, [%p+16];
  ld.global.v4.b32 {%c0, %c1, %c2, %c3}, [%p+32];
  INSTRUCTION;
  ld.param.u64 %p, [out];
  mad.wide.u32 %p, %i, 16, %p;
  st.global.v4.b32 [%p], {%c0, %c1, %c2, %c3};
  ret;
}
"""
SUMS = "{%c0, %c1, %c2, %c3}"
OPERANDS = f"{SUMS}, {{%a0, %a1, %a2, %a3}}, {{%b0, %b1}}, {SUMS}"
LANE = np.arange(32)
GROUP, MEMBER = LANE // 4, LANE % 4


def assemble(ptx: str) -> None:
    """Let ptxas judge the PTX, where there is one that knows the chip."""
    ptxas = shutil.which("ptxas")
    if ptxas is not None and "sm_120a" in subprocess.getoutput(f"{ptxas} --help"):
        command = [ptxas, "-arch=sm_120a", "-o", "/dev/null", "/dev/stdin"]
        subprocess.run(command, input=ptx, text=True, check=True)


def codes(type_: str, shape) -> np.ndarray:
    """Random finite numbers of a type, as bytes."""
    dtype = TYPES[type_][0]
    values = (RANDOM.standard_normal(shape) * 2).astype(dtype)
    return values.view("u1")


def registers(matrix: np.ndarray, depth: int, rows: int, bits: int) -> np.ndarray:
    """`[rows, depth]` codes as `[32 lanes, registers]`: row, then depth, by lane."""
    parts = 32 // bits
    words = np.zeros((32, rows // 8 * depth // (4 * parts)), "u8")
    for register in range(words.shape[1]):
        row = GROUP + 8 * (register % (rows // 8))
        first = register // (rows // 8) * 4 * parts + MEMBER * parts
        for part in range(parts):
            words[:, register] |= matrix[row, first + part].astype("u8") << bits * part
    return words.astype("u4")


def run(name: str, operands: str, a, b, scales, sums) -> np.ndarray:
    kept = np.concatenate([a, b, scales, sums.view("u4")], axis=1)
    ptx = KERNEL.replace("INSTRUCTION", f"{name} {operands}")
    assemble(ptx)
    device = EmulatedDevice(check=True)
    pointers = device.upload(np.ascontiguousarray(kept)), device.upload(sums)
    device.load(ptx).launch("k", grid=1, block=32, args=pointers)
    return device.download(pointers[1], (32, 4), "f4")


def placed(matrix: np.ndarray) -> np.ndarray:
    """`[16, 8]` sums as each lane's four."""
    columns = 2 * MEMBER[:, None] + [0, 1, 0, 1]
    return matrix[GROUP[:, None] + [0, 0, 8, 8], columns].astype("f4")


def product(a_type: str, b_type: str, bits: int, depth: int):
    """Random operands: their registers, and their numbers."""
    found = []
    for type_, rows in ((a_type, 16), (b_type, 8)):
        dtype, shift = TYPES[type_]
        raw = codes(type_, (rows, depth))
        kept = raw if bits == 4 else raw << shift
        found += [registers(kept, depth, rows, bits), raw.view(dtype).astype("f8")]
    return found


NONE = np.zeros((32, 2), "u4")


@pytest.mark.parametrize(
    ("a_type", "b_type"),
    [("e4m3", "e2m1"), ("e3m2", "e2m3"), ("e2m1", "e5m2"), ("e2m3", "e3m2")],
)
def test_plain(a_type, b_type):
    a, left, b, right = product(a_type, b_type, 8, 32)
    sums = RANDOM.integers(-9, 9, (16, 8))
    name = f"mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.{a_type}.{b_type}.f32"
    got = run(name, OPERANDS, a, b, NONE, placed(sums))
    np.testing.assert_allclose(got, placed(left @ right.T + sums), rtol=1e-6)


def lane_words(scales: np.ndarray, byte: int, lanes: np.ndarray) -> np.ndarray:
    """A register whose bytes hold scales at some lanes, and other numbers elsewhere."""
    octets = RANDOM.integers(100, 140, (32, 4)).astype("u1")
    octets[lanes, byte : byte + scales.shape[1]] = scales.view("u1")
    return octets.view("u4")


FORMS = {
    "mxf8f6f4": ("e4m3", "e5m2", "ue8m0", 1, 32, 8),
    "mxf8f6f4, of 4 bits": ("e2m1", "e3m2", "ue8m0", 1, 32, 8),
    "mxf4": ("e2m1", "e2m1", "ue8m0", 2, 64, 4),
    "mxf4nvf4": ("e2m1", "e2m1", "ue4m3", 4, 64, 4),
    "mxf4nvf4, two": ("e2m1", "e2m1", "ue8m0", 2, 64, 4),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("part", "a_thread", "b_thread"), [(0, 0, 0), (1, 1, 2)])
def test_scaled(form, part, a_thread, b_thread):
    a_type, b_type, scale, size, depth, bits = FORMS[form]
    kind = form.split(",")[0]
    a, left, b, right = product(a_type, b_type, bits, depth)
    byte = part * size % 4
    factors = [
        (2.0 ** RANDOM.integers(-3, 4, (rows, size))).astype(SCALES[scale])
        for rows in (16, 8)
    ]
    row = np.arange(16)
    words = [
        lane_words(factors[0], byte, row % 8 * 4 + 2 * a_thread + row // 8),
        lane_words(factors[1], byte, np.arange(8) * 4 + b_thread),
    ]
    sums = RANDOM.integers(-9, 9, (16, 8))
    name = (
        f"mma.sync.aligned.m16n8k{depth}.row.col.kind::{kind}.block_scale"
        f".scale_vec::{size}X.f32.{a_type}.{b_type}.f32.{scale}"
    )
    operands = f"{OPERANDS}, %s0, {{{byte}, {a_thread}}}, %s1, {{{byte}, {b_thread}}}"
    got = run(name, operands, a, b, np.concatenate(words, axis=1), placed(sums))
    each = depth // size
    left = left * np.repeat(factors[0].astype("f8"), each, axis=1)
    right = right * np.repeat(factors[1].astype("f8"), each, axis=1)
    np.testing.assert_allclose(got, placed(left @ right.T + sums), rtol=1e-6)


def test_a_selector_that_names_no_scales():
    name = (
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4.block_scale"
        ".scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0"
    )
    text = KERNEL.replace(
        "INSTRUCTION",
        ".reg .b16 %h; mov.b16 %h, 1; "
        f"{name} {OPERANDS}, %s0, {{%h, 0}}, %s1, {{0, 0}}",
    )
    device = EmulatedDevice()
    pointer = device.upload(np.zeros(32 * 12, "u4"))
    with pytest.raises(DeviceError, match="a multiple of 2, and a thread from 0 to 1"):
        device.load(text).launch("k", grid=1, block=32, args=[pointer, pointer])
