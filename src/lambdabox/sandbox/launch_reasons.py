"""Why a process could not be started: errno in Go's wording, which is what AWS shows, and what a person can do about it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from lambdabox.errors import LaunchError

# Go's table where it differs from the C library's text in more than the case of the first letter, or where libraries differ.
_GO_WORDING = {
    errno.E2BIG: "argument list too long",
    errno.EACCES: "permission denied",
    errno.EAGAIN: "resource temporarily unavailable",
    errno.EINVAL: "invalid argument",
    errno.EIO: "input/output error",
    errno.EISDIR: "is a directory",
    errno.ELOOP: "too many levels of symbolic links",
    errno.EMFILE: "too many open files",
    errno.ENAMETOOLONG: "file name too long",
    errno.ENFILE: "too many open files in system",
    errno.ENOENT: "no such file or directory",
    errno.ENOEXEC: "exec format error",
    errno.ENOMEM: "cannot allocate memory",
    errno.ENOTDIR: "not a directory",
    errno.EPERM: "operation not permitted",
    errno.ETXTBSY: "text file busy",
}


def go_wording(number: int) -> str:
    """The text that Go's syscall package has for an errno."""
    return _GO_WORDING.get(number) or os.strerror(number).lower()


def exec_failed(path: str, cwd: Path, number: int) -> LaunchError:
    """The error for an executable that could not be started, with a hint where the reason is not plain."""
    error = LaunchError(path, go_wording(number))
    file = cwd / path
    if number == errno.EACCES and file.is_file():
        error.hint = f"make it executable: chmod +x {path}"
    elif number == errno.ENOEXEC:
        error.hint = f"{path} has no #! line and is not a program for this machine"
    elif number == errno.ENOENT and file.is_file():
        error.hint = f"{path} exists, but the interpreter that its #! line or its header names does not" + _carriage_return(file)
    return error


def _carriage_return(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            first = stream.readline(256)
    except OSError:
        return ""
    return " (the line ends in a carriage return: save the file with Unix line ends)" if first.endswith(b"\r\n") else ""


def chdir_failed(cwd: Path, number: int) -> LaunchError:
    """The error for a working directory that cannot be entered; its `path` is the directory."""
    error = LaunchError(str(cwd), go_wording(number))
    error.message = f"chdir {cwd}: {error.reason}"
    error.args = (error.message,)
    error.hint = "the working directory must exist before the process starts"
    return error
