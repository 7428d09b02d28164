"""Blocks of a cluster: remote memory, stores and copies that mbarriers count."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .form import Form
from .pieces import AWAIT, MAP, SETUP, assembled
from .tensors import Tile
from .values import Source

CLUSTER = """.reqnctapercluster 2, 1, 1
"""
BOTH = (
    "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], {bytes}; "
    "barrier.cluster.arrive; barrier.cluster.wait; .reg .b16 %mask; "
    "mov.b16 %mask, 3; mov.u32 %x3, %cluster_ctarank; ld.param.u64 %at, [in0]; "
    "setp.ne.u32 %q, %x3, {leader}; setp.ne.or.u32 %q, %index, 0, %q; "
)
"""One block copies for both."""
REMOTE = {
    "ld.shared::cluster": "ld.shared::cluster.b32 %x1, [%x0];",
    "ld generic": "cvt.u64.u32 %t, %x0; cvta.shared.u64 %t, %t; ld.b32 %x1, [%t];",
    "atom.shared::cluster.add.u32": (
        "atom.shared::cluster.add.u32 %x1, [%x0], %x2; barrier.cluster.arrive; "
        "barrier.cluster.wait; ld.shared.b32 %x3, [%w]; mad.lo.u32 %x1, %x3, 7, %x1;"
    ),
    "red.shared::cluster.xor.b32": (
        "red.shared::cluster.xor.b32 [%x0], %x2; barrier.cluster.arrive; "
        "barrier.cluster.wait; ld.shared.b32 %x1, [%w];"
    ),
    "st.shared::cluster": (
        "barrier.cluster.arrive; barrier.cluster.wait; "
        "st.shared::cluster.b32 [%x0], %x2; barrier.cluster.arrive; "
        "barrier.cluster.wait; ld.shared.b32 %x1, [%w];"
    ),
    "getctarank": "getctarank.shared::cluster.u32 %x1, %x0;",
    "mapa generic": (
        "cvt.u64.u32 %t, %w; cvta.shared.u64 %t, %t; mapa.u64 %t, %t, %x4; "
        "getctarank.u64 %x3, %t; ld.b32 %x1, [%t]; mad.lo.u32 %x1, %x3, 17, %x1;"
    ),
}
WITH_BARRIER = {
    "mbarrier.arrive.shared::cluster": (
        128,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; "
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%x5]; ",
    ),
    "st.async.b32": (
        1,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; "
        "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%x0], %x2, [%x5]; ",
    ),
    "st.async.v2.b32": (
        1,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; "
        "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
        "and.b32 %x3, %index, 1; setp.eq.u32 %q, %x3, 0; xor.b32 %x3, %x2, -1; "
        "@%q st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%x0], "
        "{%x2, %x3}, [%x5]; ",
    ),
    **{
        f"red.async.{op}.{type_}": (
            1,
            "mapa.shared::cluster.u32 %x5, %x6, %x4; "
            "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
            "red.async.relaxed.cluster.shared::cluster.mbarrier::complete_tx::bytes."
            f"{op}.{type_} [%x0], %x2, [%x5]; ",
        )
        for op, type_ in (
            *(("add", "u32"), ("add", "s32"), ("min", "u32"), ("min", "s32")),
            *(("max", "s32"), ("and", "b32"), ("or", "b32"), ("xor", "b32")),
            *(("inc", "u32"), ("dec", "u32")),
        )
    },
    **{
        f"cp.async.bulk multicast from block {leader}": (
            1,
            BOTH.format(bytes=512, leader=leader)
            + "@!%q cp.async.bulk.shared::cluster.global"
            ".mbarrier::complete_tx::bytes.multicast::cluster "
            "[%base], [%at], 512, [bar], %mask; ",
        )
        for leader in (0, 1)
    },
    "cp.async.bulk to another block": (
        1,
        "mapa.shared::cluster.u32 %x5, %x6, %x4; add.u32 %x7, %base, 512; "
        "mapa.shared::cluster.u32 %x0, %x7, %x4; "
        "@%first mbarrier.arrive.expect_tx.shared.b64 _, [bar], 512; "
        "fence.proxy.async.shared::cta; bar.sync 0; "
        "@%first cp.async.bulk.shared::cluster.shared::cta"
        ".mbarrier::complete_tx::bytes [%x0], [%base], 512, [%x5]; "
        "add.u32 %w, %w, 512; ",
    ),
}
PEER = """
  mad.lo.u32 %w, %index, 4, %base;
  mov.u32 %x4, %cluster_ctarank;
  mad.lo.u32 %x2, %x4, 128, %index;
  ld.param.u64 %at, [in0];
  mad.wide.u32 %at, %x2, 4, %at;
  ld.global.b32 %x2, [%at];
  xor.b32 %x3, %x2, 0x5a5a5a5a;
  st.shared.b32 [%w], %x3;
  xor.b32 %x4, %x4, 1;
  mapa.shared::cluster.u32 %x0, %w, %x4;
  mov.u32 %x6, bar;
  @%first mbarrier.init.shared.b64 [bar], {arrivals};
  fence.mbarrier_init.release.cluster;
  barrier.cluster.arrive;
  barrier.cluster.wait;
"""
PEER_END = """
  mov.u32 %x4, %ctaid.x;
  mad.lo.u32 %x2, %x4, 128, %index;
  ld.param.u64 %at, [out];
  mad.wide.u32 %at, %x2, 4, %at;
  st.global.b32 [%at], %x1;
  barrier.cluster.arrive;
  barrier.cluster.wait;
  ret;
"""


def forms() -> Iterator[Form]:
    """All of them."""
    cases = {name: (1, body) for name, body in REMOTE.items()}
    for name, (arrivals, body) in WITH_BARRIER.items():
        wait = AWAIT.replace(".parity.shared", ".parity.acquire.cluster.shared::cta")
        cases[name] = (arrivals, f"{body}{wait} ld.shared.b32 %x1, [%w];")
    yield from _multicast()
    for name, (arrivals, body) in cases.items():
        text = body.replace("{", "{{").replace("}", "}}")
        parts = (SETUP, PEER, text, PEER_END)
        ptx = assembled((".u64 in0", ".u64 out"), parts, 2048, arrivals)
        ptx = ptx.replace(")\n{", f")\n{CLUSTER}{{", 1)
        data = Source(name).bits(256, "u4")
        output = np.zeros(512, "u4")
        yield Form(
            "clusters", name, ptx, (data,), output, threads=128, blocks=4, cluster=2
        )


def _multicast() -> Iterator[Form]:
    """A box to both blocks, with the swizzle that it has in each."""
    for tile in (
        Tile("uint32", (24, 20), (16, 16), (12, 7)),
        Tile("float16", (64, 20), (64, 8), (0, 5), "128B"),
    ):
        coordinates = ", ".join(str(c) for c in tile.at)
        body = BOTH.format(bytes=tile.box_bytes, leader=1) + (
            f"{MAP} @!%q cp.async.bulk.tensor.2d.shared::cluster.global.tile"
            ".mbarrier::complete_tx::bytes.multicast::cluster "
            f"[%base], [%at, {{{coordinates}}}], [bar], %mask; {AWAIT} "
            "add.u32 %w, %w, 512; ld.shared.b32 %x1, [%w]; "
        )
        text = body.replace("{", "{{").replace("}", "}}")
        parameters = (".align 64 .b8 map[128]", ".u64 in0", ".u64 out")
        ptx = assembled(parameters, (SETUP, PEER, text, PEER_END), 2048)
        ptx = ptx.replace(")\n{", f")\n{CLUSTER}{{", 1)
        data = Source(tile.name).bits(max(256, -(-tile.bytes // 4)), "u4")
        yield Form(
            *("clusters", f"multicast of a box, {tile.name}", ptx, (data,)),
            np.zeros(512, "u4"),
            maps=(tile.map(0),),
            threads=128,
            blocks=4,
            cluster=2,
        )
