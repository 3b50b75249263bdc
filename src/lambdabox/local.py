"""LocalLambda: one function, called from a test or a script."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lambdabox.blocking import LoopThread
from lambdabox.config.environment import check_environment
from lambdabox.config.fields import handler_problem
from lambdabox.errors import ConfigError, UsageError
from lambdabox.model.function import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, Function
from lambdabox.model.invocation import InvocationResult
from lambdabox.model.limits import (
    MEMORY_DEFAULT_MB,
    MEMORY_MAX_MB,
    MEMORY_MIN_MB,
    TIMEOUT_DEFAULT_SECONDS,
    TIMEOUT_MAX_SECONDS,
)
from lambdabox.service import LambdaService, ServiceOptions


class LocalLambda:
    """One function on this machine, in a real runtime process.

    `handler` is what the deployed function's handler is (`src/app.handler`), looked for in `code` (default: the current
    folder); an absolute path names its own folder; a folder with a `bootstrap` is a custom runtime. `runtime` is AWS's
    identifier; without one it follows the handler's file. `timeout` is in seconds, `memory_size` in MB. `layers` are folders
    or zip files merged to /opt, `extensions` executables that run as external extensions. With `reuse=False` every invocation
    gets a new environment. With `snap_start` environments go through Restore. Use it as `with` or as `async with`; the first `invoke` starts it.

    Raises ConfigError and UsageError for what cannot be right; what the function does wrong is in the result.
    """

    def __init__(
        self,
        handler: str,
        *,
        runtime: str | None = None,
        timeout: float = TIMEOUT_DEFAULT_SECONDS,
        memory_size: int = MEMORY_DEFAULT_MB,
        environment: Mapping[str, str] | None = None,
        code: str | Path | None = None,
        layers: Iterable[str | Path] = (),
        extensions: Iterable[str | Path] = (),
        reuse: bool = True,
        function_name: str | None = None,
        region: str = DEFAULT_REGION,
        account_id: str = DEFAULT_ACCOUNT_ID,
        log_format: str = "Text",
        snap_start: bool = False,
        enforce_memory: bool = False,
        python: str | None = None,
    ) -> None:
        if not 0 < timeout <= TIMEOUT_MAX_SECONDS:
            raise UsageError(f"timeout is {timeout:g} s: AWS takes 1 to {TIMEOUT_MAX_SECONDS}")
        if not MEMORY_MIN_MB <= memory_size <= MEMORY_MAX_MB:
            raise UsageError(f"memory_size is {memory_size} MB: AWS takes {MEMORY_MIN_MB} to {MEMORY_MAX_MB}")
        variables = {key: str(value) for key, value in (environment or {}).items()}
        check_environment(variables)
        self.function = _function(
            handler,
            runtime=runtime,
            code=None if code is None else Path(code),
            timeout=timeout,
            memory_size=memory_size,
            environment=variables,
            layers=tuple(Path(layer).absolute() for layer in layers),
            extensions=tuple(Path(extension).absolute() for extension in extensions),
            name=function_name,
            python=python,
            region=region,
            account_id=account_id,
            log_format=log_format,
            snap_start=snap_start,
        )
        self._options = ServiceOptions(reuse=reuse, enforce_memory=enforce_memory, python=python)
        self._thread = LoopThread()
        self._lock = threading.Lock()
        self._blocking: LambdaService | None = None
        self._awaited: LambdaService | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"LocalLambda({self.function.handler!r}, runtime={self.function.runtime!r})"

    def __del__(self) -> None:
        if getattr(self, "_blocking", None) is not None or getattr(self, "_awaited", None) is not None:
            import warnings

            warnings.warn(f"{self!r} was never closed: use it as `with`", ResourceWarning, source=self, stacklevel=2)

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError(f"{self!r} is closed", hint="make a new one, or invoke it inside the `with` block")

    # -- blocking -----------------------------------------------------------------------------------------------------

    def invoke(
        self,
        event: Any = None,
        context: Mapping[str, Any] | None = None,
        *,
        client_context: Mapping[str, Any] | None = None,
        log_type: str | None = None,
        timeout: float | None = None,
    ) -> InvocationResult:
        """Run the function and wait until the invocation is over.

        `event` is anything JSON can say (None: `{}`); `context` is merged over the handler's context; `timeout` (seconds) overrides
        the function's for this invocation.
        """
        self._check_open()
        self._thread.start()
        with self._lock:
            service = self._blocking = self._blocking or LambdaService([self.function], self._options)
        return self._thread.run(
            service.invoke(self.function.name, event, context, client_context=client_context, log_type=log_type, timeout=timeout)
        )

    def close(self) -> None:
        """Run the Shutdown phase; no process is left. Twice does nothing."""
        self._is_closed = True
        service, self._blocking = self._blocking, None
        if service is not None:
            try:
                self._thread.run(service.close())
            finally:
                self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    # -- asynchronous -------------------------------------------------------------------------------------------------

    async def ainvoke(
        self,
        event: Any = None,
        context: Mapping[str, Any] | None = None,
        *,
        client_context: Mapping[str, Any] | None = None,
        log_type: str | None = None,
        timeout: float | None = None,
    ) -> InvocationResult:
        """`invoke` for code with an event loop; concurrent calls get environments of their own."""
        self._check_open()
        if self._awaited is None:
            self._awaited = LambdaService([self.function], self._options)
        return await self._awaited.invoke(
            self.function.name, event, context, client_context=client_context, log_type=log_type, timeout=timeout
        )

    async def aclose(self) -> None:
        """`close` for code with an event loop."""
        self._is_closed = True
        service, self._awaited = self._awaited, None
        if service is not None:
            await service.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _function(
    handler: str, *, runtime: str | None, code: Path | None, name: str | None, python: str | None, **settings: Any
) -> Function:
    """A function from what a caller knows of it."""
    from lambdabox.config.zero import function_name
    from lambdabox.runtimes.catalog import known_runtime, runtime_for_handler

    base = Path.cwd() if code is None else code.absolute()
    target = base / handler
    if target.is_dir() or (target.is_file() and os.access(target, os.X_OK)):
        runtime = runtime or "provided.al2023"
        if target.is_dir():
            code, handler = target, "bootstrap"
        else:
            code, handler = target.parent, "bootstrap" if target.name == "bootstrap" else str(target)
    elif os.path.isabs(handler):
        path = Path(handler)
        code, handler = path.parent, path.name
    else:
        code = base
    if not os.path.isabs(handler) and (problem := handler_problem(handler)) is not None:
        raise UsageError(problem, hint=f"handlers are looked for below {code}; code= names another folder")
    is_assumed = runtime is None
    if runtime is None:
        try:
            runtime = runtime_for_handler(code, handler, python=python)
        except ConfigError as error:
            raise UsageError(
                f"{error.message} in {code}",
                hint="check the handler, or name the language: LocalLambda(..., runtime='python3.13')",
            ) from error
    known_runtime(runtime)
    if name is None:
        name = function_name(handler.rsplit("/", 1)[-1].partition(".")[0])
    return Function(
        name=name, handler=handler, runtime=runtime, runtime_is_assumed=is_assumed, code=code, project=base, **settings
    )
