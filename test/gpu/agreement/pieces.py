"""Pieces of kernels that copy: fill shared memory, wait for an mbarrier, dump."""

from __future__ import annotations

from collections.abc import Sequence

from .form import HEADER
from .matrices import words
from .values import Array, Source

SETUP = """
  .shared .align 1024 .b8 s[{size}];
  .shared .align 8 .b64 bar[4];
  .reg .b32 %index, %i, %w, %x<8>, %base, %count;
  .reg .b64 %at, %t, %state;
  .reg .pred %p, %q, %first;
  mov.u32 %index, %tid.x;
  mov.u32 %base, s;
  setp.eq.u32 %first, %index, 0;
"""
FILL = """
  shl.b32 %i, %index, 2;
fill:
  add.u32 %w, %base, %i;
  st.shared.b32 [%w], 0xa5a5a5a5;
  add.u32 %i, %i, 512;
  setp.lt.u32 %p, %i, {size};
  @%p bra fill;
  @%first mbarrier.init.shared.b64 [bar], {arrivals};
  fence.mbarrier_init.release.cluster;
  fence.proxy.async.shared::cta;
  bar.sync 0;
"""
AWAIT = """
  mov.u32 %count, 0;
again:
  mbarrier.try_wait.parity.shared.b64 %p, [bar], 0;
  @%p bra arrived;
  add.u32 %count, %count, 1;
  setp.lt.u32 %p, %count, 3000;
  @%p bra again;
arrived:
"""
DUMP = """
  shl.b32 %i, %index, 2;
dump:
  add.u32 %w, %base, %i;
  ld.shared.b32 %x0, [%w];
  ld.param.u64 %at, [out];
  cvt.u64.u32 %t, %i;
  add.u64 %at, %at, %t;
  st.global.b32 [%at], %x0;
  add.u32 %i, %i, 512;
  setp.lt.u32 %p, %i, {size};
  @%p bra dump;
  ret;
"""
MAP = "mov.b64 %at, map; cvta.param.u64 %at, %at;"
READ = """
  shl.b32 %i, %index, 2;
fill:
  ld.param.u64 %at, [in0];
  cvt.u64.u32 %t, %i;
  add.u64 %at, %at, %t;
  ld.global.b32 %x0, [%at];
  add.u32 %w, %base, %i;
  st.shared.b32 [%w], %x0;
  add.u32 %i, %i, 512;
  setp.lt.u32 %p, %i, {size};
  @%p bra fill;
  fence.proxy.async.shared::cta;
  bar.sync 0;
"""
"""Memory of `size` bytes: a pattern or a copy of the input at first, dumped at last."""


def assembled(
    parameters: Sequence[str], parts: Sequence[str], size: int, arrivals: int = 1
) -> str:
    """A kernel of pieces."""
    head = f".visible .entry k({', '.join(f'.param {p}' for p in parameters)})\n{{"
    body = "".join(part.format(size=size, arrivals=arrivals) for part in parts)
    return HEADER + head + body + "}\n"


LOAD = """  @%first mbarrier.arrive.expect_tx.shared.b64 %state, [bar], {bytes};
  {copy}
"""


def numbers(source: Source, type_: str, count: int) -> Array:
    """Words of operands that give exact sums."""
    if type_[0] not in "fb" or type_ in ("b32", "b64"):
        return source.bits(count, "u4")
    return words(source, type_, count, "integers")
