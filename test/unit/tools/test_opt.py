"""`stepwell-opt`: state is in the IR only, and errors are messages."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.dialects.context import StepwellContext
from stepwell.dialects.printing import module_text
from stepwell.dialects.registry import DIALECTS, load_dialect, register_dialects
from stepwell.dialects.target import Target
from stepwell.errors import OptionError
from stepwell.lowering.pipelines import PASSES, PHASES, compile_module, parse_passes
from stepwell.tools import opt

FILECHECK = Path(__file__).parents[2] / "filecheck"
NETWORK = (FILECHECK / "lowering" / "pipelines.mlir").read_text()

LARGE_CONSTANT = """
func.func @f() -> tensor<400xf32> {
  %a = nn.constant {value = dense<0.0> : tensor<1xf32>} : tensor<1xf32>
  %b = nn.broadcast_to %a : (tensor<1xf32>) -> tensor<400xf32>
  func.return %b : tensor<400xf32>
}"""


def new_context() -> StepwellContext:
    context = StepwellContext()
    register_dialects(context)
    context.load_registered_dialect("builtin")
    return context


def parse(text: str, context: StepwellContext) -> ModuleOp:
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def test_each_pass_of_the_pipeline_reads_all_it_needs_from_the_text() -> None:
    """`-p 'a,b'` equals `-p a | -p b`, for each neighbouring pair of the pipeline."""
    context = new_context()
    module = parse(NETWORK, context)
    Target.parse("cpu-avx2").attach(module)
    text = module_text(module)
    for phase in PHASES:
        for one in parse_passes(",".join(phase.passes)):
            again = parse(text, context)
            one.apply(context, module)
            one.apply(context, again)
            text = module_text(module)
            assert module_text(again) == text, one.name


def test_the_text_of_every_level_reads_back() -> None:
    context = new_context()
    for phase in PHASES:
        module = parse(NETWORK, context)
        compile_module(
            module, context, Target.parse("cpu-avx2"), stop_after=phase.level
        )
        text = module_text(module)
        assert module_text(parse(text, context)) == text


def test_the_pipeline_goes_on_from_any_level() -> None:
    context = new_context()
    target = Target.parse("cpu-avx2")
    levels = [phase.level for phase in PHASES]
    module = parse(NETWORK, context)
    compile_module(module, context, target)
    whole = module_text(module)
    module = parse(NETWORK, context)
    for level in levels:
        compile_module(module, context, target, stop_after=level)
        module = parse(module_text(module), context)
    assert module_text(module) == whole
    with pytest.raises(OptionError, match="expected IR above the level generic"):
        compile_module(module, context, target, stop_after="generic")


def test_every_dialect_and_pass_loads_under_its_name() -> None:
    assert all(load_dialect(name).name == name for name in DIALECTS)
    assert all(load().name == name for name, load in PASSES.items())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dce,no-such", "unknown pass: no-such"),
        ("fold-constants{limit=many}", "Incompatible types"),
        ("fold-constants{size=1}", "not found in expected"),
        ("dce{", "expected passes like"),
    ],
)
def test_a_bad_pass_list_is_an_option_error(spec: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_passes(spec)


def run_main(monkeypatch: pytest.MonkeyPatch, text: str, *arguments: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return opt.main(list(arguments))


def test_errors_are_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = "func.func @f(%x: tensor<4xf32>) { nn.nonsense %x : tensor<4xf32> }"
    assert run_main(monkeypatch, bad) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and "Traceback" not in errors
    assert run_main(monkeypatch, "", "no-such-file.mlir") == 1
    assert "does not exist" in capsys.readouterr().err
    assert run_main(monkeypatch, "") == 1
    assert "expected IR, got '-', which is empty" in capsys.readouterr().err


def test_files_that_cannot_be_read_or_written_are_messages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    binary = tmp_path / "model.onnx"
    binary.write_bytes(bytes(range(256)))
    assert run_main(monkeypatch, "", str(binary)) == 1
    assert "expected IR as text" in capsys.readouterr().err
    assert run_main(monkeypatch, NETWORK, "-o", str(tmp_path)) == 1
    assert "cannot write the output" in capsys.readouterr().err
    flags = ["-p", "fold-constants", "--weights", str(binary)]
    assert run_main(monkeypatch, LARGE_CONSTANT, *flags) == 1
    assert "cannot write a weight" in capsys.readouterr().err


def test_output_file_timing_and_snapshots(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.mlir"
    flags = ["-p", "canonicalize,dce", "--timing", "--print-ir-after-all"]
    assert run_main(monkeypatch, NETWORK, *flags, "-o", str(out)) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and out.read_text().startswith("builtin.module")
    assert "// after canonicalize" in captured.err and " s  dce" in captured.err


def test_large_constants_stay_in_the_directory(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    flags = ["--weights", str(tmp_path / "weights")]
    assert run_main(monkeypatch, LARGE_CONSTANT, "-p", "fold-constants", *flags) == 0
    folded = capsys.readouterr().out
    assert "#nn.weight<" in folded and len(list((tmp_path / "weights").iterdir())) == 1
    assert run_main(monkeypatch, folded, *flags) == 0
    assert capsys.readouterr().out == folded


def test_kernels_print_as_llvm_ir(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--stop-after", "tile", "--target", "cpu-avx2"]
    flags += ["-p", "convert-tile-to-llvm", "-t", "llvm"]
    assert run_main(monkeypatch, NETWORK, *flags) == 0
    assert "define" in capsys.readouterr().out
    assert run_main(monkeypatch, NETWORK, "-t", "llvm") == 1
    assert "expected a module with llvm.func" in capsys.readouterr().err
