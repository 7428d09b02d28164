"""The command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stepwell.tools.emulate import main

PTX = Path(__file__).resolve().parents[3] / "data" / "ptx" / "cooperation.ptx"


def test_runs_a_kernel_and_keeps_its_output(tmp_path, capsys):
    a = np.arange(128, dtype="i4")
    np.save(tmp_path / "a.npy", a)
    command = [str(PTX), "--entry", "reverse", "--block", "128"]
    command += ["--arg", str(tmp_path / "a.npy"), "--arg", "zeros:i4:128"]
    assert main([*command, "--output", f"1={tmp_path / 'o.npy'}"]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), a[::-1])
    assert "warp instructions" in capsys.readouterr().out


def test_errors_are_messages(tmp_path, capsys):
    assert main([str(PTX), "--entry", "nothing"]) == 1
    assert "expected a kernel of" in capsys.readouterr().err
    assert main([str(PTX), "--entry", "reverse", "--arg", "what"]) == 1
    assert "zeros:DTYPE:SHAPE" in capsys.readouterr().err
    assert main([str(tmp_path / "none.ptx"), "--entry", "reverse"]) == 1
    assert "expected a file" in capsys.readouterr().err
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"no array")
    assert main([str(PTX), "--entry", "reverse", "--arg", str(broken)]) == 1
    assert "expected an array in" in capsys.readouterr().err


def test_statistics(capsys):
    command = [str(PTX), "--entry", "reverse", "--block", "128", "--statistics"]
    assert main([*command, "--arg", "zeros:i4:128", "--arg", "zeros:i4:128"]) == 0
    text = capsys.readouterr().out
    assert "st.shared" in text
    assert "global sectors" in text


def test_findings_are_errors(tmp_path, capsys):
    racy = tmp_path / "racy.ptx"
    racy.write_text(PTX.read_text().replace("bar.sync", "// bar.sync"))
    command = [str(racy), "--entry", "reverse", "--block", "128"]
    command += ["--arg", "zeros:i4:128", "--arg", "zeros:i4:128"]
    assert main(command) == 1
    assert "race: read of shared" in capsys.readouterr().err
    assert main([*command, "--no-check"]) == 0
