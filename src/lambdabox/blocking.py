"""The same names without `await`: a service that runs in an event loop of its own, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lambdabox.errors import UsageError
from lambdabox.model.function import Function
from lambdabox.model.invocation import InvocationResult

if TYPE_CHECKING:
    from lambdabox.servers.invoke import InvokeApiOptions
    from lambdabox.service import LambdaService

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread; `run` hands it a coroutine and waits for the result."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread; twice does nothing."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()

    def _start(self) -> None:
        from lambdabox.service import new_event_loop

        loop = self._loop = new_event_loop()
        ready = threading.Event()

        def main() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.set)
            try:
                loop.run_forever()
                # Here, not in `stop`: its thread may have a loop of its own that runs.
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()

        thread = threading.Thread(target=main, name="lambdabox", daemon=True)
        thread.start()
        ready.wait()
        self._thread = thread

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine that runs in the thread; Ctrl-C cancels it."""
        if self._loop is None:
            coroutine.close()
            raise UsageError("this is closed, or was never opened", hint="use it as `with ...:`")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread and close the loop."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    @property
    def is_running(self) -> bool:
        return self._thread is not None


class BlockingLambdaService:
    """A LambdaService for code without an event loop; use it as `with`, from any thread."""

    def __init__(self, service: LambdaService) -> None:
        self._service = service
        self._thread = LoopThread()

    @property
    def functions(self) -> tuple[Function, ...]:
        return self._service.functions

    def start(self) -> None:
        """Make the service ready."""
        self._thread.start()
        self._thread.run(self._service.start())

    def close(self, *, event_patience: float = 0.0) -> list[tuple[str, str]]:
        """Run every environment's Shutdown phase; returns the Event invocations that were not over."""
        if not self._thread.is_running:
            return []
        try:
            return self._thread.run(self._service.close(event_patience=event_patience))
        finally:
            self._thread.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def listen(self, host: str = "127.0.0.1", port: int = 0, options: InvokeApiOptions | None = None) -> str:
        """Serve the Lambda API and return its endpoint URL."""
        self._thread.start()
        return self._thread.run(self._service.listen(host, port, options))

    @property
    def endpoint_url(self) -> str:
        """Where the Lambda API listens."""
        return self._service.endpoint_url

    def invoke(
        self,
        function: str,
        event: Any = None,
        context: Mapping[str, Any] | None = None,
        *,
        payload: bytes | None = None,
        client_context: Mapping[str, Any] | None = None,
        log_type: str | None = None,
        timeout: float | None = None,
        qualifier: str | None = None,
    ) -> InvocationResult:
        """Run a function and wait until the invocation is over."""
        return self._thread.run(
            self._service.invoke(
                function,
                event,
                context,
                payload=payload,
                client_context=client_context,
                log_type=log_type,
                timeout=timeout,
                qualifier=qualifier,
            )
        )

    def invoke_event(self, function: str, event: Any = None) -> str:
        """Accept an Event invocation and return its request id."""
        return self._thread.run(self._service.invoke_event(function, event))
