"""The function's log: a framed descriptor where the platform gave one, else standard output.

Nothing here imports `logging`: a function that never logs never pays for it. A frame is written in one call, because its descriptor may
be the very pipe that standard output writes to.
"""

from __future__ import annotations

import os
import sys
from os import write as write_descriptor  # stays itself when user code patches `os`
from time import gmtime, strftime, time_ns

JSON, TEXT = 2, 3
_LEVELS = {"TRACE": 1, "DEBUG": 2, "INFO": 3, "WARNING": 4, "ERROR": 5, "CRITICAL": 6}


def frame_type(form, level=""):
    """The first four bytes of a frame: JSON or TEXT, and the level in logging's names."""
    return (0xA55A0000 + 4 * _LEVELS.get(level, 0) + form).to_bytes(4, "big")


_PLAIN = frame_type(TEXT)


class Log:
    """Where log messages go, and what they are marked with."""

    def __init__(self, fd, is_json, level, ensure_ascii):
        self._fd = fd
        self.is_json = is_json
        self.level = level
        self._ensure_ascii = ensure_ascii
        self.request_id = ""
        self.tenant_id = None

    @classmethod
    def from_environment(cls, ensure_ascii):
        text = os.environ.pop("_LAMBDA_TELEMETRY_LOG_FD", "")
        fd = None
        if text.isdigit():
            fd = int(text)
            try:
                if fd > 2:
                    os.set_inheritable(fd, False)  # a subprocess that lives on must not hold the log open
                else:
                    os.fstat(fd)
            except OSError:
                fd = None
        level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
        return cls(
            fd,
            os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON",
            "DEBUG" if level == "TRACE" else level,
            ensure_ascii,
        )

    @property
    def is_framed(self):
        return self._fd is not None

    def write(self, text, kind=_PLAIN):
        """Write one log message as it is."""
        if self._fd is not None:
            message = text.encode("utf-8", "backslashreplace")
            frame = b"".join((kind, len(message).to_bytes(4, "big"), (time_ns() // 1000).to_bytes(8, "big"), message))
            try:
                written = write_descriptor(self._fd, frame)
                while written < len(frame):
                    frame = frame[written:]
                    written = write_descriptor(self._fd, frame)
            except OSError:
                self._fd = None  # the function closed it
            else:
                return
        sys.stdout.write(text)

    def write_error(self, document):
        """Write a function error before it is reported."""
        if self.is_json:
            from _lambdabox_runtime.serializer import JsonEncoder

            members = {"timestamp": strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()), "log_level": "ERROR"}
            members.update(document.members())
            text = JsonEncoder(ensure_ascii=self._ensure_ascii).encode(members).decode()
            kind = frame_type(JSON, "ERROR")
        else:
            # One event either way: a frame may hold line ends, a line of standard output may not.
            text = ("\n" if self.is_framed else "\r").join(document.lines())
            kind = frame_type(TEXT, "ERROR")
        try:
            self.write(text if self.is_framed else text + "\n", kind)
        except Exception:
            pass  # standard output was closed or replaced; the report itself still goes out

    def warn(self, message):
        """A warning of the runtime's own, through the root logger as on Lambda."""
        try:
            import logging

            logging.warning(message)
        except Exception:
            pass  # a function may have set up logging in a way that fails; its error is reported all the same

    def set_up_logging(self):
        """Give the root logger its one handler; called within the import of `logging`."""
        from .log_handler import set_up

        set_up(self)
