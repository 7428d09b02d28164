"""What becomes of errors, and of files that were there before."""

import os

import pytest

from stepwell.errors import OptionError
from stepwell.tools.entry import output_file, run_command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OptionError("expected a, got b", fix="a"), 1, "error: expected a, got b\n"),
        (ValueError("  line 1: no\n"), 1, "error: line 1: no\n"),
        (MemoryError("2 PiB"), 1, "error: not enough memory: 2 PiB\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_are_messages(error, code, message, capsys):
    def command() -> int:
        raise error

    assert run_command(command, (ValueError,)) == code
    assert capsys.readouterr().err.startswith(message)


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0, (ValueError,))


def test_files_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    with output_file(path, "it") as file:
        file.write(b"old")
    with pytest.raises(ZeroDivisionError), output_file(path, "it") as file:
        file.write(b"half")
        _ = 1 // 0
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_links_and_devices_stay_what_they_are(tmp_path):
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    with output_file(link, "it") as file:
        file.write(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    device = tmp_path / "null"
    device.symlink_to(os.devnull)
    with output_file(device, "it") as file:
        file.write(b"gone")
    assert device.is_char_device()


@pytest.mark.parametrize("name", ["", "missing/file"])
def test_what_cannot_be_written_is_an_option_error(name, tmp_path):
    with (
        pytest.raises(OptionError, match="cannot write it"),
        output_file(tmp_path / name, "it"),
    ):
        pass
