"""One accepted invocation on its way through the engine."""

from __future__ import annotations

from collections.abc import Callable

from lambdabox.engine.ports import ResponseStream
from lambdabox.errors import LambdaboxError
from lambdabox.model.function import Function
from lambdabox.model.invocation import Invocation, InvocationResult
from lambdabox.model.limits import LOG_TAIL_BYTES


class Ticket:
    """An invocation, who waits for it, and what has come of it so far.

    `on_answer(result)` is called the moment the function has answered; `on_finish(result)` when the invocation is over and
    its logs and figures are in. `on_failure(error)` is called instead of both when no environment could be had.
    """

    __slots__ = (
        "_log",
        "function",
        "invocation",
        "is_fresh",
        "on_answer",
        "on_failure",
        "on_finish",
        "result",
        "stream",
        "wants_logs",
    )

    def __init__(
        self,
        function: Function,
        invocation: Invocation,
        *,
        on_answer: Callable[[InvocationResult], None] | None = None,
        on_finish: Callable[[InvocationResult], None] | None = None,
        on_failure: Callable[[LambdaboxError], None] | None = None,
        stream: ResponseStream | None = None,
        wants_logs: bool = False,
        is_fresh: bool = False,
    ) -> None:
        self.function = function
        self.invocation = invocation
        self.on_answer = on_answer
        self.on_finish = on_finish
        self.on_failure = on_failure
        self.stream = stream
        self.wants_logs = wants_logs
        self.is_fresh = is_fresh
        self.result: InvocationResult | None = None
        self._log: list[bytes] = []

    def log(self, data: bytes) -> None:
        """Keep a log event for the caller."""
        self._log.append(data)

    def answer(self, result: InvocationResult) -> None:
        self.result = result
        if self.on_answer is not None:
            self.on_answer(result)

    def finish(self) -> None:
        """The invocation is over: hand out the log."""
        result = self.result
        if self.on_finish is None or result is None:
            return
        if self.wants_logs:
            whole = b"".join(self._log)
            result.log_tail = whole[-LOG_TAIL_BYTES:]
            result.logs = whole.decode("utf-8", "replace").split("\n")
            if result.logs and not result.logs[-1]:
                result.logs.pop()
        self.on_finish(result)

    def fail(self, error: LambdaboxError) -> None:
        if self.on_failure is not None:
            self.on_failure(error)
