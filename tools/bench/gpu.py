"""Networks of torchvision and transformers on a GPU, beside torch.

Usage: python tools/bench/gpu.py [--only NAME,NAME] [--batch 1,16]
           [--precision fp32,fp16] [--no-compile] [--jobs 6] [--write]

Needs a GPU, torch with CUDA, torchvision, transformers and onnxscript. Each network has
random weights (and statistics of random data in its normalisations), is exported to
ONNX, built for this GPU, and compared with torch in FP32 without TF32. Then, in one
process and in alternating turns, the engine and torch are timed: eager FP32 and FP16,
FP16 as a CUDA graph, and FP16 under torch.compile with graphs. A time is of one call on
tensors that are on the GPU, from the host's call to the GPU's end (latency), and of one
of many calls in a row (pace). `--write` keeps docs/benchmarks/gpu.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "gpu.md"
TOLERANCES = {"fp32": 1e-4, "tf32": 2e-2, "fp16": 2e-2, "bf16": 2e-2}
ROUNDS, CALLS = 9, 20
WARM_UP = 10
VOCABULARY, TOKENS = 30000, 128


@dataclass(frozen=True)
class Network:
    """A network: how it is made, how its statistics are, and one batch of its input."""

    name: str
    make: Callable[[], torch.nn.Module]
    inputs: Callable[[int], torch.Tensor]
    is_trained: bool = False
    """Whether its normalisations need the statistics of some data."""

    def model(self) -> torch.nn.Module:
        """The network with weights that hide no errors."""
        model = without_zeros(self.make())
        if self.is_trained:
            model.train()
            with torch.no_grad():
                for _ in range(4):
                    model(self.inputs(8))
        return model.eval()


class First(torch.nn.Module):
    """A transformer that returns its first output alone."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last hidden state, or the logits."""
        return self.inner(input_ids=tokens, return_dict=False)[0]


def without_zeros(model: torch.nn.Module) -> torch.nn.Module:
    """Biases and heads that begin as zeros would hide errors: give them values."""
    for parameter in model.parameters():
        if not bool(parameter.any()):
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def vision(name: str) -> Network:
    """A network of torchvision on pictures of 224 x 224."""

    def make() -> torch.nn.Module:
        torchvision = import_module("torchvision")  # not a dependency
        return getattr(torchvision.models, name)()

    def inputs(batch: int) -> torch.Tensor:
        return torch.randn(batch, 3, 224, 224)

    return Network(name, make, inputs, is_trained=True)


def language(name: str) -> Network:
    """A network of transformers on sequences of 128 tokens."""

    def make() -> torch.nn.Module:
        import transformers

        if name == "bert_base":
            inner: Any = transformers.BertModel(transformers.BertConfig())
        else:
            config = transformers.GPT2Config(use_cache=False)
            inner = transformers.GPT2LMHeadModel(config)
        return First(inner)

    return Network(
        name, make, lambda batch: torch.randint(0, VOCABULARY, (batch, TOKENS))
    )


NETWORKS = (
    vision("resnet50"),
    vision("mobilenet_v2"),
    vision("efficientnet_b0"),
    vision("vit_b_16"),
    language("bert_base"),
    language("gpt2"),
)


@dataclass(frozen=True)
class Row:
    """One network at one batch; milliseconds by the name of what was timed."""

    network: str
    batch: int
    errors: dict[str, float] = field(default_factory=dict[str, float])
    latency: dict[str, float] = field(default_factory=dict[str, float])
    pace: dict[str, float] = field(default_factory=dict[str, float])
    kernels: int = 0
    build_s: float = 0.0
    failure: str = ""


# ---- one process each: weights, engines, what torch.compile keeps on disk ----


def prepare(network: Network, batch: int, folder: Path, precision: str) -> float:
    """Write the engine of a network; returns the seconds of its build."""
    import stepwell

    torch.manual_seed(1)
    model, x = loaded(network, folder), network.inputs(batch)
    onnx = folder / f"{network.name}-{batch}.{precision}.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), str(onnx), dynamo=True, verbose=False)
    start = time.perf_counter()
    engine = stepwell.build(onnx, target="cuda", precision=precision)
    seconds = time.perf_counter() - start
    engine.save(onnx.with_suffix(".stepwell"))
    onnx.unlink()
    return seconds


def keep_weights(network: Network, folder: Path) -> float:
    """Write the weights that all other steps read."""
    torch.manual_seed(0)
    torch.set_num_threads(4)
    torch.save(network.model().state_dict(), folder / f"{network.name}.pt")
    return 0.0


def loaded(network: Network, folder: Path) -> torch.nn.Module:
    """The network with the weights that were kept."""
    model = network.make()
    model.load_state_dict(torch.load(folder / f"{network.name}.pt"))
    return model.eval()


def fuse(network: Network, batch: int, folder: Path) -> float:
    """Let torch.compile fill its cache on disk, so that timing finds it filled."""
    model, y = in_half(loaded(network, folder).cuda(), network.inputs(batch).cuda())
    with torch.no_grad():
        fused = torch.compile(model, mode="reduce-overhead")
        fused(y)
        torch.cuda.synchronize()
    return 0.0


def in_half(
    model: torch.nn.Module, x: torch.Tensor
) -> tuple[torch.nn.Module, torch.Tensor]:
    """A copy of a network in FP16, and its input: tokens as they are, pictures with
    channels last, as torch's convolutions want them."""
    half = copy.deepcopy(model).half()
    if x.is_floating_point():
        x = x.half()
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
        for weight in half.parameters():
            if weight.dim() == 4:
                weight.data = weight.contiguous(memory_format=torch.channels_last)
    return half, x


# ---- one process: compare and time ----


def measure(
    network: Network, batch: int, folder: Path, precisions: Sequence[str], fused: bool
) -> Row:
    """The row of a network whose engines are in `folder`."""
    import stepwell

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(2)
    model, x = loaded(network, folder).cuda(), network.inputs(batch).cuda()
    engines = {
        precision: stepwell.load(
            folder / f"{network.name}-{batch}.{precision}.stepwell"
        )
        for precision in precisions
    }
    with torch.no_grad():
        wanted = model(x)
        errors = {p: error_of(engine(x), wanted) for p, engine in engines.items()}
        calls: dict[str, Callable[[], object]] = {
            f"stepwell {p}": (lambda engine=engine: engine(x))
            for p, engine in engines.items()
        }
        calls |= torch_calls(model, x, fused)
        latency, pace = timed(calls)
    kernels = max(engine.kernel_count for engine in engines.values())
    return Row(network.name, batch, errors, latency, pace, kernels)


def error_of(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """max|a-b| / max|b|; infinite if anything is NaN."""
    a, b = ours.double(), theirs.double()
    found = float((a - b).abs().max() / b.abs().max())
    return found if found == found else float("inf")


def torch_calls(
    model: torch.nn.Module, x: torch.Tensor, fused: bool
) -> dict[str, Callable[[], object]]:
    """What torch has to offer, by name."""
    half, y = in_half(model, x)
    calls: dict[str, Callable[[], object]] = {
        "eager fp32": lambda: model(x),
        "eager fp16": lambda: half(y),
        "graph fp16": graphed(lambda: half(y)),
    }
    if fused:
        one = torch.compile(copy.deepcopy(half), mode="reduce-overhead")
        calls["compile fp16"] = lambda: one(y)
    return calls


def graphed(call: Callable[[], object]) -> Callable[[], object]:
    """A CUDA graph of a call."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def timed(
    calls: dict[str, Callable[[], object]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of a call alone, and of one among many; medians of the turns."""
    alone: dict[str, list[float]] = {name: [] for name in calls}
    among: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
        torch.cuda.synchronize()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            torch.cuda.synchronize()
            for _ in range(CALLS // 4):
                start = time.perf_counter()
                call()
                torch.cuda.synchronize()
                alone[name].append(1e3 * (time.perf_counter() - start))
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            torch.cuda.synchronize()
            among[name].append(1e3 * (time.perf_counter() - start) / CALLS)
    return (
        {name: statistics.median(found) for name, found in alone.items()},
        {name: statistics.median(found) for name, found in among.items()},
    )


# ---- all of them ----


def child(options: argparse.Namespace) -> int:
    """Do one step in this process, and print what came of it."""
    (network,) = [one for one in NETWORKS if one.name == options.only]
    batch, folder = int(options.batch), Path(options.folder)
    precisions = options.precision.split(",")
    match options.step:
        case "keep":
            found: Any = keep_weights(network, folder)
        case "prepare":
            found = prepare(network, batch, folder, precisions[0])
        case "fuse":
            found = fuse(network, batch, folder)
        case _:
            fused = not options.no_compile
            found = asdict(measure(network, batch, folder, precisions, fused))
    print("\nFOUND " + json.dumps(found))
    return 0


def step(
    options: argparse.Namespace, name: str, what: tuple[str, int, str, str]
) -> Any:
    """What a step printed; a string says what it died of."""
    network, batch, precision, folder = what
    command = [sys.executable, __file__, "--step", name, "--only", network]
    command += ["--batch", str(batch), f"--precision={precision}", "--folder", folder]
    command += ["--no-compile"] if options.no_compile else []
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=options.timeout
        )
    except subprocess.TimeoutExpired:
        return f"{name} not done in {options.timeout:.0f} s"
    for line in found.stdout.splitlines():
        if line.startswith("FOUND "):
            return json.loads(line[6:])
    lines = [line for line in found.stderr.splitlines() if line.strip()]
    cause = next((line for line in lines[::-1] if "Error" in line), lines[-1:])
    return f"{name} failed, exit {found.returncode}: {str(cause)[:300]}"


def all_rows(options: argparse.Namespace, folder: str) -> Iterator[Row]:
    """Prepare in parallel, then time one after the other."""
    parts = options.only.split(",")
    networks = [n.name for n in NETWORKS if any(part in n.name for part in parts)]
    batches = [int(batch) for batch in options.batch.split(",")]
    pairs = [(name, batch) for name in networks for batch in batches]
    precisions = options.precision.split(",")
    jobs = [(name, batch, p, folder) for name, batch in pairs for p in precisions]
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda n: step(options, "keep", (n, 1, "", folder)), networks))
        fusing = [] if options.no_compile else pairs
        fused = [pool.submit(step, options, "fuse", (*p, "", folder)) for p in fusing]
        results = list(pool.map(lambda job: step(options, "prepare", job), jobs))
        for one in fused:
            one.result()
    prepared = dict(zip(jobs, results, strict=True))
    for name, batch in pairs:
        built = {p: prepared[(name, batch, p, folder)] for p in precisions}
        ready = [p for p, result in built.items() if not isinstance(result, str)]
        failures = [f"{p}: {built[p]}" for p in precisions if p not in ready]
        row = Row(name, batch)
        if ready:
            what = (name, batch, ",".join(ready), folder)
            found = step(options, "measure", what)
            if isinstance(found, str):
                failures.append(found)
            else:
                row = Row(**found)
        build_s = max((built[p] for p in ready), default=0.0)
        yield replace(row, build_s=build_s, failure="; ".join(failures))


def table(rows: Sequence[Row], times: str) -> str:
    """The rows as Markdown; `times` is "latency" or "pace"."""
    names = list(dict.fromkeys(name for row in rows for name in getattr(row, times)))
    precisions = list(dict.fromkeys(p for row in rows for p in row.errors))
    head = ["network", "batch", *(f"{p} error" for p in precisions), "kernels"]
    head += ["build s", *names, "note"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        found = getattr(row, times)
        cells = [row.network, str(row.batch)]
        cells += [f"{row.errors[p]:.1e}" if p in row.errors else "" for p in precisions]
        cells += [str(row.kernels), f"{row.build_s:.1f}"]
        cells += [f"{found[name]:.3f}" if name in found else "" for name in names]
        lines.append("| " + " | ".join([*cells, row.failure]) + " |")
    return "\n".join(lines)


def page(rows: Sequence[Row], arguments: Sequence[str]) -> str:
    """The page of docs/benchmarks/."""
    where = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    command = " ".join(["python tools/bench/gpu.py", *arguments])
    return f"""# Networks on a GPU, beside torch

Command: `{command}`, {date.today()}, {where}, torch {torch.__version__}. Random
weights; the error is max|a-b| / max|b| against torch in FP32 without TF32. Times are
milliseconds, medians of alternating turns in one process, tensors on the GPU; torch has
its FP16 pictures with channels last.

One call, from the host's call to the GPU's end:

{table(rows, "latency")}

One of {CALLS} calls in a row:

{table(rows, "pace")}
"""


def main(arguments: list[str]) -> int:
    """Returns 1 if a network failed or is beyond its tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="parts of networks' names")
    parser.add_argument("--batch", default="1,16")
    parser.add_argument("--precision", default="fp32,fp16")
    parser.add_argument("--no-compile", action="store_true", help="no torch.compile")
    parser.add_argument("--jobs", type=int, default=6, help="builds at once")
    parser.add_argument("--timeout", type=float, default=300, help="of a step, in s")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        return child(options)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in all_rows(options, folder):
            rows.append(row)
            print(row, flush=True)
            if options.write:
                PAGE.write_text(page(rows, [a for a in arguments if a != "--write"]))
    print(table(rows, "latency"), table(rows, "pace"), sep="\n\n")
    right = all(e <= TOLERANCES[p] for row in rows for p, e in row.errors.items())
    return int(not right or any(row.failure for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
