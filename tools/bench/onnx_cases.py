"""Runs ONNX's own test cases on one executor and says what became of each.

The tests and the table of results share it. To see the failures of some cases:

    python tools/bench/onnx_cases.py reference Conv
"""

from __future__ import annotations

import glob
import os
import re
import sys
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

from stepwell.errors import StepwellError
from stepwell.onnx_backend import StepwellRep

ROOT = Path(__file__).resolve().parents[2]
EXCLUDES = ROOT / "test" / "conformance" / "excludes.toml"

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")

LIGHT = Path(onnx.__file__).parents[1]
"""What the addresses of the light networks, `onnx/backend/...`, are relative to."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case: `passed`, `failed`, `unsupported` or `excluded`."""

    name: str
    kind: str
    op: str
    status: str
    reason: str = ""
    seconds: float = 0.0


def load_excludes(executor: str) -> dict[str, str]:
    """Patterns of case names and the reason why an executor leaves them out."""
    entries = tomllib.loads(EXCLUDES.read_text())["exclude"]
    return {
        pattern: entry["reason"]
        for entry in entries
        if executor in entry.get("executors", [executor])
        for pattern in entry["cases"]
    }


def excluded(name: str, excludes: dict[str, str]) -> str | None:
    """The reason why a case is left out, or None."""
    return next(
        (why for pattern, why in excludes.items() if re.fullmatch(pattern, name)), None
    )


def cases(kinds: Sequence[str] = KINDS) -> Iterator[tuple[str, Any]]:
    """All cases with their kind. Generating the node cases takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in kinds:
            for case in load_model_tests(kind=kind):
                yield kind, case


def model_path(case: Any) -> Path:
    """The file of a case that is not generated."""
    if case.model_dir is None:
        return LIGHT / case.url
    return Path(case.model_dir) / "model.onnx"


def first_op(model: onnx.ModelProto) -> str:
    """The op a case is about: that of its first node."""
    node = model.graph.node[0]
    return f"{node.domain}::{node.op_type}" if node.domain else node.op_type


def run_case(kind: str, case: Any, executor: str, excludes: dict[str, str]) -> Outcome:
    """Compile and run one case on all of its data sets."""
    model = case.model or onnx.load(model_path(case))
    op = first_op(model)
    if "_expanded" in case.name:
        op = "(function bodies)"
    if kind == "real":
        op = "(light networks)"
    if (why := excluded(case.name, excludes)) is not None:
        return Outcome(case.name, kind, op, "excluded", why)
    start = time.perf_counter()
    try:
        check(model, case, executor)
        status, reason = "passed", ""
    except StepwellError as error:
        is_known = type(error).__name__ == "UnsupportedError"
        status = "unsupported" if is_known else "failed"
        reason = f"{type(error).__name__}: {error}"
    except Exception as error:
        status, reason = "failed", f"{type(error).__name__}: {error}"
    return Outcome(case.name, kind, op, status, reason, time.perf_counter() - start)


def check(model: onnx.ModelProto, case: Any, executor: str) -> None:
    """Raise unless the outputs of every data set are as the case says."""
    prepared = StepwellRep(model, executor)
    for inputs, expected in data_sets(model, case):
        outputs = prepared.run([as_array(each) for each in inputs])
        Runner.assert_similar_outputs(
            [as_array(each) for each in expected], outputs, case.rtol, case.atol
        )


def data_sets(model: onnx.ModelProto, case: Any) -> Iterator[tuple[list, list]]:
    """Inputs and expected outputs, from memory or from the case's files."""
    if case.data_sets is not None:
        yield from case.data_sets
        return
    if case.model_dir is None:
        yield light_data(model, model_path(case))
        return
    for folder in sorted(glob.glob(os.path.join(case.model_dir, "test_data_set*"))):
        yield (
            read_files(folder, "input", model.graph.input),
            read_files(folder, "output", model.graph.output),
        )


def light_data(model: onnx.ModelProto, path: Path) -> tuple[list, list]:
    """What ONNX's runner feeds to a light network, and the output stored beside it."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [
        Runner.generate_dummy_data(entry)
        for entry in model.graph.input
        if entry.name not in constants
    ]
    stored = path.with_name(f"{path.stem}_output_0.pb").read_bytes()
    return inputs, [onnx.TensorProto.FromString(stored)]


def read_files(folder: str, stem: str, entries: Sequence[Any]) -> list[Any]:
    """The tensors of `stem_0.pb`, `stem_1.pb`, ..."""
    found: list[Any] = []
    for index, _ in enumerate(entries):
        path = Path(folder) / f"{stem}_{index}.pb"
        if path.exists():
            tensor = onnx.TensorProto.FromString(path.read_bytes())
            found.append(onnx.numpy_helper.to_array(tensor))
    return found


def as_array(value: Any) -> Any:
    """A tensor as an array; arrays and lists stay as they are."""
    is_proto = isinstance(value, onnx.TensorProto)
    return onnx.numpy_helper.to_array(value) if is_proto else value


def run_all(
    executor: str, pattern: str = "", kinds: Sequence[str] = KINDS
) -> Iterator[Outcome]:
    """The outcomes of all cases whose name matches `pattern`, as they come."""
    excludes = load_excludes(executor)
    for kind, case in cases(kinds):
        if re.search(pattern, case.name):
            yield run_quietly(kind, case, executor, excludes)


def run_quietly(
    kind: str, case: Any, executor: str, excludes: dict[str, str]
) -> Outcome:
    """`run_case` without the warnings of overflow that some cases ask for."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run_case(kind, case, executor, excludes)


def main(arguments: Sequence[str]) -> None:
    """Print the failures and the counts."""
    executor = arguments[0] if arguments else "reference"
    pattern = arguments[1] if len(arguments) > 1 else ""
    counts: Counter[str] = Counter()
    for outcome in run_all(executor, pattern):
        counts[outcome.status] += 1
        if outcome.status not in ("passed", "excluded"):
            line = f"{outcome.status:11} {outcome.name}: {outcome.reason}"
            print(line, f"({outcome.seconds:.1f} s)", flush=True)
    print(*(f"{count} {status}" for status, count in counts.items()), sep=", ")


if __name__ == "__main__":
    main(sys.argv[1:])
