"""The emulator beside a GPU: every form of an instruction, bit for bit.

    PYTHONPATH=python python test/gpu/emulator_agreement.py \\
        --golden test/data/hopper.npz --keep results.npz --log agreement.log \\
        --write docs/benchmarks/emulator-agreement.md --device "NVIDIA H200, CUDA 13.0"
    PYTHONPATH=python python test/gpu/emulator_agreement.py --new --keep more.npz
    PYTHONPATH=python python test/gpu/emulator_agreement.py --against *.npz
    PYTHONPATH=python python test/gpu/emulator_agreement.py --dry

The first two need a Hopper GPU and cuda-bindings, and keep what the GPU answered; the
second only of forms that test/data/hopper.npz does not hold yet. The third compares the
emulator with what was kept, anywhere, and can write the page and `--golden`, too. The
fourth tries the forms that are not recorded without a GPU: ptxas must assemble them,
and the emulator's checker find nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from agreement import all_forms, golden, report
from agreement.emulator import emulate
from agreement.form import Form
from agreement.gpu import GpuError, run_forms

Outcomes = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, compare, print; 1 if anything differs."""
    options = _parser().parse_args(arguments)
    every = all_forms()
    forms = {k: f for k, f in every.items() if re.search(options.only, k)}
    log = _Log(options.log)
    kept = options.golden or KEPT
    known = golden.load(kept, every) if kept.is_file() else {}
    if options.new or options.dry:
        forms = {k: f for k, f in forms.items() if k not in known}
    if options.dry:
        return dry(options, forms, log)
    started = time.monotonic()
    if options.against:
        recorded: Outcomes = {}
        for path in options.against:
            recorded |= load(path, forms)
        forms = {k: f for k, f in forms.items() if k in recorded}
    else:
        recorded = dict(zip(forms, run_forms(list(forms.values()), log), strict=True))
        log(f"GPU: {len(forms)} forms, {time.monotonic() - started:.0f} seconds")
    if options.keep:
        keep(options.keep, forms, recorded)
    if options.golden:
        golden.save(kept, every, recorded, known)
    emulated = run_emulator(forms, options.jobs)
    verdicts = [report.compare(f, recorded[k], emulated[k]) for k, f in forms.items()]
    for one in verdicts:
        if one.verdict != "exact" or one.nan_bits:
            name = f"{one.form.family}/{one.form.name}"
            nan = f", NaN bits in {one.nan_bits}" if one.nan_bits else ""
            log(f"{one.verdict}: {name}: {one.differing} of {one.lanes}{nan}")
            log(f"      {one.note}" if one.note else "")
    rows = report.table(verdicts)
    if options.write:
        options.write.write_text(
            PAGE.format(table=report.markdown(rows), device=options.device)
        )
    log(f"{len(forms)} forms, {time.monotonic() - started:.0f} seconds")
    print(report.plain(rows))
    return any(v.verdict in ("differs", "no emulator") for v in verdicts)


def dry(options: argparse.Namespace, forms: dict[str, Form], log: _Log) -> int:
    """Assemble forms, and run them with the checker; 1 if any fails."""
    failed = 0
    emulated = run_emulator(forms, options.jobs, check=True)
    for key, form in forms.items():
        reasons = [assembled(form)]
        if isinstance(emulated[key], str):
            reasons.append(emulated[key])
        elif np.array_equal(emulated[key], form.output):
            reasons.append("the output is as before")
        failed += any(reasons)
        for reason in filter(None, reasons):
            log(f"{key}: {reason}")
    print(f"{len(forms)} forms that are not recorded, {failed} of them wrong")
    return failed > 0


def assembled(form: Form) -> str:
    """What ptxas has against a form's PTX; empty if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "k.ptx"
        path.write_text(form.ptx)
        command = ["ptxas", "-arch=sm_90a", "-o", f"{folder}/k.cubin", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


PAGE = """# The emulator beside a GPU

Command: `python test/gpu/emulator_agreement.py --write ...`; {device}.

Each form of an instruction is a small kernel that runs on the GPU and in the emulator,
over edge values (zeros, subnormals, infinities, NaNs, extremes of integers) and random
bits; the results are compared bit for bit.

- Within bound: approximate functions, within the bound that the ISA states; products of
  matrices of reals, within 2^-24 of the largest sum that their operands permit (fp8:
  2^-15; half accumulators: and one unit in their last place). On integers, products
  agree in every bit.
- NaN bits differ: forms that agree but for the bits of a NaN, which the ISA leaves
  open.
- Only emulated: the GPU, or its compiler, refused the kernel. Not emulated: the
  emulator did. Refused by both: kernels that break a rule of the hardware.

{table}

The differing forms are of video instructions, which the GPU has no more: ptxas 13.0
writes other instructions in their place, and those do not do what the ISA says. Its
machine code shows how, in four ways that no one rule covers. A sum of bytes is not
saturated at 2^32, only at zero (`vadd.u32.u32.u32.sat`). Before the second operation
the first's result is extended by its sign and the other operand by zeros (`.min` and
`.max` of unsigned sums; `vmad` with a shift). A signed result is clamped by an unsigned
comparison, so that negative ones become the largest (`.sat` into a byte). And a result
for the upper half of a register is taken from the upper half of the sum, which holds
signs only. The emulator follows the ISA.
`test/unit/runtime/emulated/test_hopper.py` compares the emulator with these results in
CI.
"""
KEPT = Path(__file__).resolve().parents[1] / "data" / "hopper.npz"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="forms whose name matches")
    parser.add_argument(
        "--against", type=Path, nargs="+", help="files that --keep made"
    )
    parser.add_argument("--keep", type=Path, help="where to keep the GPU's results")
    parser.add_argument(
        "--golden", type=Path, help="where to keep sums of them; what it holds stays"
    )
    parser.add_argument(
        "--new", action="store_true", help="only those that are not recorded"
    )
    parser.add_argument(
        "--dry", action="store_true", help="try the unrecorded ones without a GPU"
    )
    parser.add_argument("--log", type=Path, help="where to write every difference")
    parser.add_argument("--write", type=Path, help="where to write the table")
    parser.add_argument("--device", default="a Hopper GPU", help="its name, for it")
    parser.add_argument("--jobs", type=int, default=2, help="processes that emulate")
    return parser


class _Log:
    """Lines to a file, or to standard output."""

    def __init__(self, path: Path | None) -> None:
        self._file = path.open("w") if path else sys.stdout

    def __call__(self, line: str) -> None:
        if line:
            print(line, file=self._file, flush=True)


def run_emulator(forms: dict[str, Form], jobs: int, check: bool = False) -> Outcomes:
    """The emulator's outcomes."""
    one = partial(emulate, check=check)
    if jobs <= 1:
        return {key: one(form) for key, form in forms.items()}
    with ProcessPoolExecutor(jobs) as pool:
        found = pool.map(one, forms.values(), chunksize=16)
        return dict(zip(forms, found, strict=True))


def keep(path: Path, forms: dict[str, Form], outcomes: Outcomes) -> None:
    """Write outcomes, with the digests of what they are outcomes of."""
    arrays = {f"r{index}": np.asarray(outcomes[key]) for index, key in enumerate(forms)}
    digests = np.array([form.digest for form in forms.values()], "u4")
    np.savez_compressed(path, names=np.array(list(forms)), digests=digests, **arrays)


def load(path: Path, forms: dict[str, Form]) -> Outcomes:
    """Outcomes that were kept, of forms that are still the same."""
    found: Outcomes = {}
    with np.load(path) as kept:
        for index, (name, digest) in enumerate(
            zip(kept["names"].tolist(), kept["digests"].tolist(), strict=True)
        ):
            if name in forms and forms[name].digest == digest:
                result = kept[f"r{index}"]
                found[name] = str(result) if result.dtype.kind == "U" else result
    return found


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except GpuError as error:
        sys.exit(str(error))
