"""The calls of the Runtime API, version 2018-06-01, over any transport."""

from __future__ import annotations

from time import sleep

from .errors import ConfigurationError, RuntimeApiError
from .invocation import Invocation
from .transport import clean_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from .parts import Transport
    from .transport import Response

API_VERSIONS = ("2018-06-01",)

_ATTEMPTS = 8
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_PASSING = (429, 502, 503, 504)  # what stands between runtime and platform is busy; neither said no
_CAUSE_LIMIT = 1024 * 1024  # Lambda takes at most 1 MB of headers: a cause that size is left out
_ID_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")


class DefaultRuntimeApi:
    """next, response, error and init error, with each answer's status turned into success or a RuntimeApiError.

    With `polls_ahead` an answer takes the next poll along, so the server must take pipelined requests and the transport `ahead`.
    """

    def __init__(
        self,
        transport: Transport,
        api_version: str = "2018-06-01",
        *,
        polls_ahead: bool = False,
        pause: Callable[[float], object] = sleep,
    ) -> None:
        version = check_version(api_version)
        self._transport = transport
        self._pause = pause
        self._next_path = f"/{version}/runtime/invocation/next"
        # A transport of your own need not know of polling ahead.
        self._ahead = {"ahead": self._next_path} if polls_ahead else {}
        self._invocation_path = f"/{version}/runtime/invocation/"
        self._init_error_path = f"/{version}/runtime/init/error"

    def next(self) -> Invocation:
        """Wait for the next invocation, as long as it takes."""
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            response = self._transport.get(self._next_path)
            if response.status == 200:
                request_id = response.headers.get("lambda-runtime-aws-request-id")
                if request_id:
                    return Invocation(request_id, response.body, response.headers)
                problem = RuntimeApiError("next", 200, "there is no Lambda-Runtime-Aws-Request-Id header", is_fatal=True)
            else:
                problem = _problem("next", response, is_fatal=True)
                if response.status not in _PASSING:
                    raise problem
            if attempt == _ATTEMPTS:
                raise problem
            self._pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        raise AssertionError("unreachable")

    def response(self, invocation: Invocation, body: bytes, content_type: str) -> None:
        """Deliver the result of an invocation."""
        headers = [("Content-Type", content_type)]
        self._post("response", self._path(invocation, "/response"), _with_nonce(headers, invocation), body, self._ahead)

    def error(
        self,
        invocation: Invocation,
        document: bytes,
        *,
        error_type: Optional[str] = None,
        cause: Optional[str] = None,
    ) -> None:
        """Deliver a function error; `cause` is X-Ray's JSON document."""
        headers = [("Content-Type", "application/json")]
        if error_type is not None:
            headers.append(("Lambda-Runtime-Function-Error-Type", _ascii(error_type)))
        if cause is not None and len(cause) < _CAUSE_LIMIT:
            headers.append(("Lambda-Runtime-Function-XRay-Error-Cause", _ascii(cause)))
        self._post("error", self._path(invocation, "/error"), _with_nonce(headers, invocation), document, self._ahead)

    def init_error(self, document: bytes, error_type: str) -> None:
        """Report that initialisation failed; the runtime exits afterwards."""
        headers = [("Content-Type", "application/json"), ("Lambda-Runtime-Function-Error-Type", _ascii(error_type))]
        self._post("init error", self._init_error_path, headers, document, {})

    def _path(self, invocation: Invocation, call: str) -> str:
        request_id = invocation.request_id
        if not _ID_CHARS.issuperset(request_id):
            raw = request_id.encode("utf-8", "surrogateescape")
            request_id = "".join(chr(byte) if chr(byte) in _ID_CHARS else f"%{byte:02X}" for byte in raw)
        return self._invocation_path + request_id + call

    def _post(self, call: str, path: str, headers: List[Tuple[str, str]], body: bytes, ahead: Dict[str, str]) -> None:
        pause = _FIRST_PAUSE_SECONDS
        was_garbled = False
        for attempt in range(1, _ATTEMPTS + 1):
            response = self._transport.post(path, headers, body, **ahead)
            status = response.status
            if 200 <= status < 300:
                return
            if status == 400 and not was_garbled and response.headers.get("connection", "").lower() == "close":
                # Not this answer was refused but its bytes: the handler wrote to a descriptor that is our connection. The
                # next try has a connection of its own; without it the event would be handled again, and again.
                was_garbled = True
                continue
            if status not in _PASSING or attempt == _ATTEMPTS:
                # 400, 403, 410 and 413 are about this one answer; a 500 is about the environment.
                raise _problem(call, response, is_fatal=status >= 500)
            self._pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def check_version(api_version: str) -> str:
    """The API version without a leading slash; an unknown one is a ConfigurationError."""
    version = api_version.lstrip("/")
    if version not in API_VERSIONS:
        raise ConfigurationError(f"unknown Runtime API version {api_version!r}: known is {', '.join(API_VERSIONS)}")
    return version


def _with_nonce(headers: List[Tuple[str, str]], invocation: Invocation) -> List[Tuple[str, str]]:
    if invocation.invocation_id is not None:
        headers.append(("Lambda-Runtime-Invocation-Id", invocation.invocation_id))
    return headers


def _ascii(text: str) -> str:
    """A header value in ASCII; other characters become JSON's escapes, so that JSON stays JSON."""
    if not text.isascii():
        units = text.encode("utf-16-be", "surrogatepass")
        codes = [units[at] * 256 + units[at + 1] for at in range(0, len(units), 2)]
        text = "".join(chr(code) if code < 128 else f"\\u{code:04x}" for code in codes)
    return clean_header(text)


def _problem(call: str, response: Response, *, is_fatal: bool) -> RuntimeApiError:
    detail = bytes(response.body[:300]).decode("utf-8", "replace").strip()
    return RuntimeApiError(call, response.status, detail, is_fatal=is_fatal)
