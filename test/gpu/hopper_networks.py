"""Whole networks by TMA and `wgmma` on Hopper, beside torch and beside `mma.sync`.

Usage: python test/gpu/hopper_networks.py [--only NAME] [--batch 1,16]
           [--precision fp16] [--device cuda|emulated] [--small] [--kernels] [--jobs 8]

Needs torch, torchvision and transformers, and a Hopper GPU; `--device emulated --small`
runs cut networks anywhere. Each network in its evaluating mode is exported and built
twice: for sm_90a, whose products go through `specialise-warps`, and for sm_90, where
there is no `wgmma`. Both run on NumPy arrays and, on a GPU, on torch tensors that lie
elsewhere each time, against torch in FP32. Where the first engine is wrong (or with
`--kernels`) each of its launches is compared with the other engine's on the same
inputs, and the first kernels that differ are named. Returns 1 if a network failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from kernel_by_kernel import compare_kernels, relative_error

import stepwell
from stepwell.runtime import Engine, load_bytes
from stepwell.runtime.devices import open_gpu
from stepwell.tools.bench.gpu import NETWORKS as WHOLE
from stepwell.tools.bench.gpu import First, Network
from stepwell.tools.bench.torchvision_ops import register

TOLERANCE = 2e-2
"""Of a network's outputs against torch in FP32."""
KERNEL_TOLERANCE = 1e-2
"""Of one kernel against another: their sums are rounded to 16 bits once."""
NAMES = ("resnet50", "vit_b_16", "bert_base", "gpt2", "efficientnet_b0")
TOKENS = 128


def small_resnet() -> torch.nn.Module:
    """ResNet-50 with two blocks in each of its four stages."""
    resnet: Any = import_module("torchvision.models.resnet")
    return resnet.ResNet(resnet.Bottleneck, [2, 2, 2, 2])


def small_vit() -> torch.nn.Module:
    """ViT-B with two layers, on pictures of 96 x 96."""
    models: Any = import_module("torchvision.models.vision_transformer")
    return models.VisionTransformer(96, 16, 2, 12, 768, 3072)


def small_bert() -> torch.nn.Module:
    """BERT-base with two layers."""
    transformers: Any = import_module("transformers")
    config = transformers.BertConfig(num_hidden_layers=2, vocab_size=1000)
    return First(transformers.BertModel(config))


def pictures(size: int) -> Callable[[int], torch.Tensor]:
    """Batches of square pictures."""
    return lambda batch: torch.randn(batch, 3, size, size)


SMALL = (
    Network("resnet50", small_resnet, pictures(96), is_trained=True),
    Network("vit_b_16", small_vit, pictures(96)),
    Network("bert_base", small_bert, lambda n: torch.randint(0, 1000, (n, TOKENS))),
)


def engines_of(
    network: Network, model: torch.nn.Module, x: torch.Tensor, precision: str, on: str
) -> tuple[Engine, Engine]:
    """The engines with and without `wgmma`, on one device."""
    gpu = open_gpu(on)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = str(Path(folder) / f"{network.name}.onnx")
        torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
        found = [
            load_bytes(
                stepwell.build(path, target=target, precision=precision).to_bytes(),
                device=gpu,
            )
            for target in ("sm_90a", "sm_90")
        ]
    return found[0], found[1]


def errors_of(
    engine: Engine, model: torch.nn.Module, inputs: list[torch.Tensor], on: str
) -> dict[str, float]:
    """The error of each way to run an engine; every input lies in memory of its own."""
    with torch.no_grad():
        wanted = [model(x).numpy() for x in inputs]
    found = {
        f"arrays {i}": relative_error(engine(x.numpy()), y)
        for i, (x, y) in enumerate(zip(inputs, wanted, strict=True))
    }
    if on == "emulated":
        return found
    moved = [x.cuda() for x in inputs]
    for i, (x, y) in enumerate(zip(moved * 2, wanted * 2, strict=True)):
        found[f"tensors {i}"] = relative_error(engine(x).cpu().numpy(), y)
    return found


def report_kernels(engine: Engine, judge: Engine, x: torch.Tensor) -> bool:
    """Print the launches whose results differ; whether there are none."""
    feeds: Mapping[str, Any] = {engine.inputs[0].name: x.numpy()}
    compared = compare_kernels(engine, judge, feeds)
    special = sum(one.maps > 0 for one in compared)
    print(f"  {len(compared)} launches, {special} with tensor maps", flush=True)
    wrong = [one for one in compared if one.error > KERNEL_TOLERANCE or not one.repeats]
    for one in wrong[:10]:
        note = "" if one.repeats else ", and differs from run to run"
        print(f"  WRONG {one.kernel}: {one.error:.1e}, {one.maps} tensor maps{note}")
    return not wrong


def check(network: Network, batch: int, options: argparse.Namespace) -> bool:
    """Whether a network is right in all ways; prints a line, and what is wrong."""
    torch.manual_seed(0)
    model = network.model()
    inputs = [network.inputs(batch) for _ in range(1 if options.small else 3)]
    on, precision = options.device, options.precision
    engine, judge = engines_of(network, model, inputs[0], precision, on)
    errors = errors_of(engine, model, inputs, on)
    plain = max(errors_of(judge, model, inputs[:1], on).values())
    worst = max(errors, key=lambda way: errors[way])
    special = sum(bool(kernel.maps) for kernel in engine.manifest.kernels)
    is_right = errors[worst] <= TOLERANCE
    print(
        f"{'pass' if is_right else 'FAIL'} {network.name} batch {batch} {precision}: "
        f"{errors[worst]:.1e} ({worst}), without wgmma {plain:.1e}, "
        f"{special} kernels with tensor maps",
        flush=True,
    )
    if options.kernels or not is_right:
        is_right &= report_kernels(engine, judge, inputs[0])
    return is_right


def in_a_process(name: str, batch: str, options: argparse.Namespace) -> bool:
    """`check` in a process of its own: a fault of the GPU costs one row."""
    command = [sys.executable, __file__, "--child", "--only", name, "--batch", batch]
    command += ["--precision", options.precision, "--device", options.device]
    command += [f"--{flag}" for flag in ("small", "kernels") if getattr(options, flag)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout, end="", flush=True)
    if done.returncode not in (0, 1) or not done.stdout:
        last = done.stderr.strip().splitlines()[-1:]
        print(f"FAIL {name} batch {batch}: exit {done.returncode}: {last}", flush=True)
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Returns 1 if a network failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a network's name")
    parser.add_argument("--batch", default="1,16")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="cut networks, one input")
    parser.add_argument("--kernels", action="store_true", help="compare every launch")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    networks = SMALL if options.small else [n for n in WHOLE if n.name in NAMES]
    wanted = [n for n in networks if options.only in n.name]
    batches = options.batch.split(",")
    if options.child:
        register()
        return int(not check(wanted[0], int(batches[0]), options))
    pairs = [(n.name, batch) for n in wanted for batch in batches]
    with ThreadPoolExecutor(options.jobs) as pool:
        right = list(pool.map(lambda p: in_a_process(p[0], p[1], options), pairs))
    return int(not all(right))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
