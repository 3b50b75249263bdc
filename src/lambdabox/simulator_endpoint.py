"""The Lambda API's Invoke in front of a Simulator: one function, one environment, callers that wait their turn."""

from __future__ import annotations

import os
from collections.abc import Callable

from lambdabox.engine.background import EventQueue
from lambdabox.engine.clock import SystemClock
from lambdabox.engine.dispatcher import Dispatcher
from lambdabox.engine.pool import EngineContext, EngineOptions
from lambdabox.engine.provision import Machine
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import LambdaboxError, ServiceException
from lambdabox.model.function import Function
from lambdabox.sandbox.attached import AttachedBackend
from lambdabox.servers.invoke import InvokeApi, InvokeApiOptions
from lambdabox.servers.runtime import open_runtime_api


class OneEnvironment(Dispatcher):
    """A dispatcher that has one environment already and starts no other."""

    def __init__(self, function: Function, submit: Callable[[Ticket], None]) -> None:
        context = EngineContext(
            clock=SystemClock(),
            backend=AttachedBackend(_no_backend),
            api=open_runtime_api,
            machine=Machine(environ=os.environ),
            options=EngineOptions(concurrency_max=1),
        )
        super().__init__([function], context)
        self._submit = submit

    def submit(self, ticket: Ticket) -> None:
        """Hand the ticket to the environment; it waits there until a runtime takes it."""
        try:
            self._submit(ticket)
        except LambdaboxError as error:
            raise ServiceException(error.message) from error


async def open_endpoint(
    function: Function, submit: Callable[[Ticket], None], host: str, port: int, *, no_timeout: bool
) -> tuple[InvokeApi, str]:
    """Listen; the API and its URL. Raises AddressInUseError."""
    dispatcher = OneEnvironment(function, submit)
    api = InvokeApi(dispatcher, EventQueue(dispatcher), InvokeApiOptions(no_timeout=no_timeout))
    await api.listen(host, port)
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    return api, f"http://{shown}:{api.port}"


def _no_backend() -> AttachedBackend:
    raise AssertionError("nothing is started here")
