"""What becomes of an exception: the error document, X-Ray's cause, the log line."""

from __future__ import annotations

import os
import sys

from .errors import FunctionError, RuntimeFaultError
from .serializer import JsonEncoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

    Frame = Tuple[str, Optional[int], str, Optional[str]]

_NO_BREAK_SPACE = "\u00a0"
_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


class ErrorDocument:
    """A function error in the shape of AWS's Python runtimes."""

    __slots__ = ("cause_type", "error_message", "error_type", "frames", "request_id", "stack_trace")

    def __init__(
        self,
        error_message: str,
        error_type: str,
        request_id: str,
        stack_trace: List[str],
        *,
        frames: Sequence[Frame] = (),
        cause_type: Optional[str] = None,
    ) -> None:
        self.error_message = error_message
        self.error_type = error_type
        self.request_id = request_id
        self.stack_trace = stack_trace
        self.frames = frames
        self.cause_type = cause_type or error_type

    def members(self) -> Dict[str, Any]:
        """The members of the JSON document, in AWS's order."""
        return {
            "errorMessage": self.error_message,
            "errorType": self.error_type,
            "requestId": self.request_id,
            "stackTrace": self.stack_trace,
        }

    def xray_cause(self) -> str:
        """X-Ray's cause document; ASCII only, because it travels in a header."""
        try:
            folder = os.getcwd()
        except OSError:  # a handler may have removed it
            folder = ""
        stack = [{"label": name, "path": path, "line": line} for path, line, name, _ in self.frames]
        paths: List[str] = []
        for path, _, _, _ in self.frames:
            if path not in paths:
                paths.append(path)
        cause = {
            "working_directory": folder,
            "exceptions": [{"message": self.error_message, "type": self.cause_type, "stack": stack}],
            "paths": paths,
        }
        return JsonEncoder(ensure_ascii=True).encode(cause).decode("ascii").replace("\x7f", "\\u007f")

    def lines(self) -> List[str]:
        """The lines of the log message; no-break spaces indent, because log viewers eat others."""
        first = "[ERROR]"
        if self.error_type:
            first += f" {self.error_type}"
        if self.error_message:
            first += f": {self.error_message}" if self.error_type else f" {self.error_message}"
        lines = [first, "Traceback (most recent call last):"]
        for entry in self.stack_trace:
            for line in entry.splitlines():
                bare = line.lstrip(" ")
                lines.append(_NO_BREAK_SPACE * (len(line) - len(bare)) + bare)
        return lines


class DefaultErrorReporter:
    """Describes exceptions as AWS's Python runtimes do and logs them as one text line on stdout.

    `own_folders` are folders whose frames are left out of the top of a stack trace: those of the runtime itself.
    `sends_error_type` adds the error-type header to invocation errors; AWS's Python sends it with init errors only.
    """

    def __init__(self, *, ensure_ascii: bool = False, own_folders: Sequence[str] = (), sends_error_type: bool = False) -> None:
        self._encoder = JsonEncoder(ensure_ascii=ensure_ascii)
        self._own_folders = (_OWN_FOLDER, *own_folders)
        self.sends_error_type = sends_error_type

    def describe(self, error: BaseException, request_id: str = "") -> ErrorDocument:
        """The document of an exception that is being handled."""
        message = safe_text(error)
        if isinstance(error, FunctionError):
            frames: Sequence[Frame] = ()
            stack_trace = error.stack_trace
            if stack_trace is None:
                frames = self._frames(error.__traceback__)
                stack_trace = format_frames(frames)
            cause_type = "LambdaValidationError" if isinstance(error, RuntimeFaultError) else None
            return ErrorDocument(message, error.error_type, request_id, stack_trace, frames=frames, cause_type=cause_type)
        frames = self._frames(error.__traceback__)
        return ErrorDocument(message, type(error).__name__, request_id, format_frames(frames), frames=frames)

    def serialize(self, document: ErrorDocument) -> bytes:
        """The document as the body of an error or init error."""
        return self._encoder.encode(document.members())

    def log(self, document: ErrorDocument) -> None:
        """Write the error to the log, before it is reported."""
        write_quietly(sys.stdout, "\r".join(document.lines()) + "\n")

    def note(self, problem: Exception) -> None:
        """Tell in the log about an answer that the Runtime API refused."""
        write_quietly(sys.stderr, f"LAMBDA_RUNTIME: {problem}\n")

    def _frames(self, traceback: Optional[TracebackType]) -> List[Frame]:
        from traceback import extract_tb

        try:
            frames = [(frame.filename, frame.lineno, frame.name, frame.line) for frame in extract_tb(traceback)]
        except Exception:  # noqa: BLE001 - a source file that cannot be read must not lose the error itself
            return []
        for index, frame in enumerate(frames):
            if not frame[0].startswith(self._own_folders):
                return frames[index:]
        return frames


def format_frames(frames: Sequence[Frame]) -> List[str]:
    """Frames as `traceback` prints them, without the markers that newer versions put under a line."""
    if not frames:
        return []
    from traceback import format_list

    return format_list(list(frames))  # type: ignore[arg-type]  # typeshed wants FrameSummary, tuples are documented


def safe_text(error: BaseException) -> str:
    """`str(error)`, or a word on why there is none."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - user classes may do anything here
        return f"<the text of {type(error).__name__} failed with {type(failure).__name__}>"


def write_quietly(stream: Any, text: str, *, encode: Optional[Callable[[str], str]] = None) -> None:
    """Write and flush; a stream that the handler closed or replaced must not end the runtime."""
    try:
        stream.write(text)
        stream.flush()
    except UnicodeEncodeError:
        if encode is None:
            write_quietly(stream, _printable(text), encode=_printable)
    except Exception:  # noqa: BLE001, S110 - see above
        pass


def _printable(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")
