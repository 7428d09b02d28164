"""The FileCheck tests, each RUN line run inside this process.

`lit test/filecheck` runs the same files with one process per command; starting Python
for each costs half a second, so `make test` calls the tools' `main` instead.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import filecheck.main
import pytest

from stepwell.lowering.pipelines import PASS_FOLDERS
from stepwell.tools import opt

ROOT = Path(__file__).parent / "filecheck"
FILES = sorted(ROOT.rglob("*.mlir"))
RUN = re.compile(r"^\s*//\s*RUN:\s*(.*)$", re.MULTILINE)


def run_filecheck(arguments: list[str]) -> int:
    try:
        filecheck.main.main(["filecheck", *arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "stepwell-opt": opt.main,
    "filecheck": run_filecheck,
}


def run_stage(words: list[str], text: str) -> tuple[int, str, str]:
    """Run one command on `text` as its input: exit code, output, error output."""
    merge = "2>&1" in words
    words = [word for word in words if word != "2>&1"]
    negate = words[0] == "not"
    name, *arguments = words[1:] if negate else words
    out, err = io.StringIO(), io.StringIO()
    saved, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        with redirect_stdout(out), redirect_stderr(out if merge else err):
            code = COMMANDS[name](arguments)
    finally:
        sys.stdin = saved
    return int(not code) if negate else code, out.getvalue(), err.getvalue()


def run_line(line: str, file: Path) -> None:
    text = ""
    line = line.replace("%s", str(file)).replace("%S", str(file.parent))
    for stage in line.split(" | "):
        code, text, errors = run_stage(shlex.split(stage), text)
        assert code == 0, f"{stage}\n{errors}{text}"


def run_lines(file: Path) -> list[str]:
    joined = re.sub(r"\\\n\s*//\s*RUN:\s*", " ", file.read_text())
    return RUN.findall(joined)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_file(file: Path) -> None:
    lines = run_lines(file)
    assert lines, "no RUN line"
    for line in lines:
        run_line(line, file)


@pytest.mark.parametrize("folder", ["graph", "quantization"])
def test_every_pass_has_a_file_named_after_it(folder: str) -> None:
    passes = PASS_FOLDERS[f"stepwell.lowering.{folder}"]
    have = {file.stem for file in (ROOT / "lowering" / folder).glob("*.mlir")}
    assert sorted(set(passes) ^ have) == []


def test_a_wrong_check_fails(tmp_path: Path) -> None:
    file = tmp_path / "wrong.mlir"
    run = "// RUN: stepwell-opt %s | filecheck %s\n"
    file.write_text(f"{run}// CHECK: func.func @no\nfunc.func private @yes()\n")
    with pytest.raises(AssertionError, match="filecheck"):
        run_line(run_lines(file)[0], file)


def test_lit_runs_the_same_files() -> None:
    file = next(file for file in FILES if file.stem == "driver")
    command = [sys.executable, "-m", "lit.main", "-q", str(file)]
    subprocess.run(command, check=True, timeout=120)
