"""What has become of an invocation that somebody put into a simulated environment."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from lambdabox.engine.ticket import Ticket
from lambdabox.model.error_types import ErrorType
from lambdabox.model.invocation import Invocation, InvocationResult, InvocationStatus, Report
from lambdabox.model.moment import iso
from lambdabox.protocol.payloads import error_payload


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class InvocationState:
    """One invocation and how it stands; the object is kept up to date. Times are seconds since the epoch.

    `status` goes from PENDING (nobody has fetched it) to IN_PROGRESS and to SUCCESS, ERROR or TIMEOUT. `response` is the answer, byte for
    byte; for an error `error_type`, `error_message` and `stack_trace` are what its document says, else the platform's words.
    `is_finished` and `report` come when the runtime and the extensions have asked for their next event.
    """

    invocation: Invocation
    status: InvocationStatus = InvocationStatus.PENDING
    response: bytes | None = None
    error_type: str | None = None
    error_message: str | None = None
    stack_trace: list[str] = field(default_factory=list)
    created_at: float = field(default_factory=time.time)
    started_at: float | None = None
    completed_at: float | None = None
    is_finished: bool = False
    report: Report | None = None
    extension_overhead_ms: float | None = None
    result: InvocationResult | None = None

    @property
    def request_id(self) -> str:
        return self.invocation.request_id

    @property
    def payload(self) -> bytes:
        """The event."""
        return self.invocation.payload

    @property
    def is_complete(self) -> bool:
        """Whether the caller would have an answer."""
        return self.completed_at is not None

    @property
    def logs(self) -> list[str]:
        """The log lines of the invocation, of a runtime that the Simulator started; complete when `is_finished`."""
        return [] if self.result is None else self.result.logs

    def json(self) -> Any:
        """The response as JSON; None when there is none. Raises ValueError when it is not JSON."""
        return json.loads(self.response) if self.response else None

    def follow(self, ticket: Ticket) -> None:
        """Take in what the engine tells the ticket, before whoever waits for it is told."""
        answer, finish = ticket.on_answer, ticket.on_finish

        def answered(result: InvocationResult) -> None:
            self.complete(result)
            if answer is not None:
                answer(result)

        def finished(result: InvocationResult) -> None:
            self.result = result
            if finish is not None:
                finish(result)

        ticket.on_answer = answered
        ticket.on_finish = finished

    def deliver(self) -> None:
        """A runtime has got it; not always for the first time."""
        if self.status is InvocationStatus.PENDING:
            self.status = InvocationStatus.IN_PROGRESS
            self.started_at = time.time()

    def complete(self, result: InvocationResult) -> None:
        """The answer is in."""
        self.result = result
        self.status = result.status
        self.completed_at = time.time()
        self.response = bytes(result.payload)
        if result.status is InvocationStatus.SUCCESS:
            return
        self.error_type = result.error_type
        self.error_message = result.text
        try:
            document = json.loads(result.payload)
        except ValueError:
            return
        if isinstance(document, dict):
            if isinstance(document.get("errorType"), str):
                self.error_type = document["errorType"]
            if isinstance(document.get("errorMessage"), str):
                self.error_message = document["errorMessage"]
            trace = document.get("stackTrace")
            self.stack_trace = [line for line in trace if isinstance(line, str)] if isinstance(trace, list) else []

    def lose(self, text: str) -> None:
        """The environment is gone before there was an answer."""
        error_type = ErrorType.SANDBOX_FAILURE
        self.complete(
            InvocationResult(
                request_id=self.request_id,
                payload=error_payload(error_type, text, self.request_id),
                status=InvocationStatus.ERROR,
                function_error="Unhandled",
                error_type=error_type,
            )
        )

    def __repr__(self) -> str:
        facts = [f"{self.status.name}", f"request_id={self.request_id!r}", f"payload={_shown(self.payload)}"]
        if self.response is not None and self.error_type is None:
            facts.append(f"response={_shown(self.response)}")
        if self.error_type is not None:
            facts.append(f"error={self.error_type}: {self.error_message}")
        if self.started_at is not None:
            facts.append(f"started {iso(self.started_at)}")
        return f"<InvocationState {', '.join(facts)}>"


def _shown(data: bytes, most: int = 120) -> str:
    text = data[: most + 1].decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[:most]}… ({len(data)} bytes)"
