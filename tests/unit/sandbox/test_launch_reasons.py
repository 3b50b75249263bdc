"""The words for a process that could not be started."""

import errno
from pathlib import Path

import pytest

from lambdabox.sandbox.launch_reasons import chdir_failed, exec_failed, go_wording


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission denied"),
        (errno.ENOENT, "no such file or directory"),
        (errno.ENOEXEC, "exec format error"),
        (errno.ENOMEM, "cannot allocate memory"),
        (errno.EXDEV, "invalid cross-device link"),
    ],
)
def test_errno_has_gos_words(number: int, words: str) -> None:
    assert go_wording(number) == words


def test_a_file_without_the_executable_bit_gets_the_command_that_sets_it(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").write_text("#!/bin/sh\n")
    assert exec_failed("bootstrap", tmp_path, errno.EACCES).hint == "make it executable: chmod +x bootstrap"


def test_windows_line_ends_are_named_as_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").write_bytes(b"#!/bin/sh\r\n")
    assert "carriage return" in (exec_failed("bootstrap", tmp_path, errno.ENOENT).hint or "")


def test_a_missing_file_needs_no_hint_about_interpreters(tmp_path: Path) -> None:
    assert exec_failed("bootstrap", tmp_path, errno.ENOENT).hint is None


def test_a_working_directory_is_named_itself(tmp_path: Path) -> None:
    error = chdir_failed(tmp_path, errno.ENOTDIR)
    assert str(error) == error.text == f"chdir {tmp_path}: not a directory"
