"""PyTorch models beside torch itself: relative error, import and build time.

Usage: python tools/bench/torch_models.py [--only NAME] [--mode MODE] [--write]
           [--target cpu|cuda] [--jobs 1] [--resume FILE]

Each model is exported and built twice: for one size, and with the dims that it can
change left open; then it runs at other sizes too. Every build is a process of its own.
torch on the CPU judges. `--resume` keeps the rows in a file, one line of JSON each, and
measures only those that it lacks. `--write` puts the table into
docs/benchmarks/torch.md (for another target torch-TARGET.md). Needs transformers,
torchvision and timm.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import stepwell
from stepwell.tools.bench import torchvision_ops
from stepwell.tools.bench.model_table import (
    PAGES,
    Bench,
    Row,
    chosen,
    column,
    markdown,
    median_ms,
    parser_of,
    peak_gb,
    setting,
    tell,
    told,
)

MODES = ("static", "dynamic")
SETTLING_BATCH = 16
"""How many examples batch normalisations take their statistics from."""


@dataclass(frozen=True, kw_only=True)
class TorchRow(Row):
    """One model in one mode."""

    mode: str = column("shapes", default="", is_key=True)
    error: float = column("relative error", ".1e", float("inf"))
    export_s: float = column("export s", ".1f")
    import_s: float = column("import s", ".2f")
    build_s: float = column("build s", ".1f")
    kernels: int = column("kernels")
    host_calls: int = column("host calls")
    ours_ms: float = column("ms", ".2f")
    theirs_ms: float = column("torch ms", ".2f")
    memory_gb: float = column("GB", ".1f")


def measure(name: str, mode: str, target: str) -> TorchRow:
    """Export, build and run one model."""
    import torch

    from stepwell.tools.bench.cpu import relative_error

    torch.manual_seed(0)
    torch.set_num_threads(1)
    case = next(case for case in cases() if case.name == name)
    sizes = case.sizes if mode == "dynamic" else case.sizes[:1]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        runs = [case.inputs(*size) for size in sizes]
        module = settled(case.make(), case.inputs(SETTLING_BATCH, sizes[0][1]))
        expected = [flatten(copy.deepcopy(module)(*inputs)) for inputs in runs]
        start = time.perf_counter()
        exported = export(case, module, runs[0], mode)
        export_s = time.perf_counter() - start
        shapes = ranges(case, exported, runs) if mode == "dynamic" else None
        engine, import_s, build_s = build(exported, shapes, target)
        device = "cpu" if target == "cpu" else "cuda"
        runs = [[x.to(device) for x in inputs] for inputs in runs]
        module = module.to(device)
        results = [flatten(engine(*inputs)) for inputs in runs]
        error = max(map(relative_error, results, expected))
        finish = torch.cuda.synchronize if device == "cuda" else lambda: None
        ours = median_ms(lambda: engine(*runs[0]), finish)
        theirs = median_ms(lambda: module(*runs[0]), finish)
    return TorchRow(
        model=name,
        mode=mode,
        error=error,
        export_s=export_s,
        import_s=import_s,
        build_s=build_s,
        kernels=engine.kernel_count,
        host_calls=sum(engine.inspect().host_calls.values()),
        ours_ms=ours,
        theirs_ms=theirs,
        memory_gb=peak_gb(),
        is_right=error <= case.tolerance,
    )


def build(
    exported: Any, shapes: Any, target: str
) -> tuple[stepwell.Engine, float, float]:
    """An engine, and the seconds of its import and of all of its build."""
    stages: list[float] = []
    start = time.perf_counter()
    engine = stepwell.build(
        exported,
        shapes=shapes,
        target=target,
        threads=1,
        progress=lambda *_: stages.append(time.perf_counter()),
    )
    return engine, stages[1] - stages[0], time.perf_counter() - start


def settled(module: Any, inputs: Sequence[Any]) -> Any:
    """The module for inference, its batch normalisations having seen the inputs once.

    With the statistics that they are made with, signals die out in deep networks, and
    nothing but biases would be compared. The inputs are a batch of many: images of a
    deep network's end have 2x2 pixels, and the variance of few values can be so small
    that rounding is all that is left of other inputs.
    """
    import torch

    norms = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
    parts = [part for part in module.modules() if isinstance(part, norms)]
    module.eval()
    for part in parts:
        part.momentum = 1.0
        part.train()
    if parts:
        module(*inputs)
    return module.eval()


def cases() -> Sequence[Any]:
    """The models. Importing transformers imports torchvision, if there is one."""
    torchvision_ops.register()
    from stepwell.tools.bench.torch_cases import CASES

    return CASES


def export(case: Any, module: Any, inputs: Sequence[Any], mode: str) -> Any:
    """The exported program, with open dims if the mode says so."""
    import torch

    from stepwell.frontends.torch import export_module

    shapes = torch.export.ShapesCollection()
    if mode == "dynamic":
        for tensor, axes in zip(inputs, case.axes, strict=True):
            shapes[tensor] = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    dynamic = shapes if len(shapes) else None
    return export_module(module, inputs, None, dynamic)


def ranges(case: Any, exported: Any, runs: Sequence[Any]) -> dict[str, Any]:
    """The range of each open dim over the runs, by the name of its symbol."""
    names = exported.graph_signature.user_inputs
    found: dict[str, Any] = {}
    for index, (name, axes) in enumerate(zip(names, case.axes, strict=True)):
        for axis in axes:
            sizes = [inputs[index].shape[axis] for inputs in runs]
            found[f"{name}_{axis}"] = [(min(sizes), sizes[0], 2 * max(sizes))]
    return found


def flatten(outputs: Any) -> list[np.ndarray[Any, Any]]:
    """Tensors, arrays and tuples of them as a list of arrays."""
    if isinstance(outputs, list | tuple):
        return [array for output in outputs for array in flatten(output)]
    if isinstance(outputs, dict):
        return flatten(list(outputs.values()))
    return [np.asarray(getattr(outputs, "cpu", lambda: outputs)())]


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The first section of the page; others write those behind it."""
    import torch
    import transformers

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    right = sum(row.is_right for row in rows)
    return f"""# PyTorch models

{setting("torch_models.py", arguments, **versions)}; one thread.

Random weights, but for MiniLM; transformers are cut to two layers, images are small,
and batch normalisations have the statistics of {SETTLING_BATCH} inputs. Each model is
exported by `torch.export` twice: for one size, and with its batch (and sequence, where
it has one) open; that one also runs at two other sizes. The relative error is the
largest `max|a-b| / max|b|` over outputs and sizes, against torch eager. `import s` is
from the exported program to `nn`, its decomposition by torch included, `build s` all of
`stepwell.build`. Times are medians of warm calls at the first size. {right} of
{len(rows)} rows are within 1e-4.

{markdown(rows)}
"""


def main(arguments: list[str]) -> int:
    """Returns 1 if a model fails or is above its tolerance."""
    parser = parser_of(__doc__)
    parser.add_argument("--mode", choices=MODES, action="append")
    parser.add_argument("--target", default="cpu")
    options = parser.parse_args(arguments)
    if options.child:
        name, mode = options.child
        return tell(measure(name, mode, options.target))
    wanted = chosen([case.name for case in cases()], options.only)
    keys = [(name, mode) for name in wanted for mode in options.mode or MODES]
    bench = Bench(__file__, TorchRow, ("--target", options.target))
    name = "torch" if options.target == "cpu" else f"torch-{options.target}"
    path = PAGES / f"{name}.md"
    return bench.run(keys, options, path, lambda rows: page(rows, told(arguments)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
