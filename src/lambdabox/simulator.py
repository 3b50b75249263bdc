"""Simulator: an execution environment without a function, for a runtime or an extension that you start yourself."""

from __future__ import annotations

import contextlib
import operator
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from lambdabox.engine.clock import SystemClock
from lambdabox.engine.environment import Environment
from lambdabox.engine.extension_info import ExtensionInfo, registered
from lambdabox.engine.freeze_mode import FreezeMode
from lambdabox.engine.ids import new_trace_id
from lambdabox.engine.init_outcome import InitOutcome
from lambdabox.engine.invocation_state import InvocationState
from lambdabox.engine.new_invocation import new_invocation
from lambdabox.engine.ports import LogSink
from lambdabox.engine.present_state import present_state
from lambdabox.engine.self_started import (
    ROLES,
    RUNTIME_ROLE,
    SelfStarted,
    check_limits,
    inherited,
    located,
    names_of,
    self_started_provision,
)
from lambdabox.engine.spawned_process import SpawnedProcess
from lambdabox.engine.ticket import Ticket
from lambdabox.engine.waiters import WAIT_SECONDS, Predicate, Waiters, described
from lambdabox.errors import RequestTooLargeException, UsageError, WaitTimeoutError, listed
from lambdabox.model.function import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, Function
from lambdabox.model.invocation import Invocation, InvocationStatus
from lambdabox.model.limits import (
    INIT_SECONDS,
    MEMORY_DEFAULT_MB,
    REQUEST_MAX_BYTES,
    SHUTDOWN_EXTERNAL_SECONDS,
    TIMEOUT_DEFAULT_SECONDS,
)
from lambdabox.model.telemetry import TelemetryEvent
from lambdabox.protocol.effects import FinishInvocation
from lambdabox.protocol.machine import RUNTIME
from lambdabox.protocol.states import ExtensionPhase, Phase
from lambdabox.sandbox.attached import AttachedBackend, can_freeze
from lambdabox.sandbox.base import ProcessSpec, SandboxBackend
from lambdabox.servers.runtime import open_runtime_api

if TYPE_CHECKING:
    from lambdabox.blocking_simulator import BlockingSimulator
    from lambdabox.servers.invoke import InvokeApi

__all__ = ["ExtensionInfo", "FreezeMode", "InvocationState", "Phase", "Simulator", "SpawnedProcess"]

_GONE = "the simulator was shut down"


class Simulator:
    """An execution environment with its Runtime, Extensions, Telemetry and Logs APIs, for processes that you start yourself.

    Use it as `async with`; `Simulator.blocking(...)` gives the same names without `await`. Times are in seconds, sizes in MB.

    Args:
        function_name, function_version, handler, memory_size, region, account_id, log_group, log_stream: what the environment says of its
            function, in variables, ARNs and telemetry. Without a `handler` there is no `_HANDLER`.
        timeout: how long an invocation may take, counted from its delivery on; `float("inf")` rests all deadlines.
        init_timeout: how long Init may take, counted from the first process that was spawned or the first call of an API.
        host, port: where the APIs listen; port 0 takes a free one.
        extension_ready_timeout: how long after the runtime an invocation waits for its extensions; None: until its deadline, as AWS does.
        external_extensions: the names of external extensions, which may have SHUTDOWN; None: every extension is external.
        shutdown_timeout: how long `graceful_shutdown` gives to extensions.
        freeze_mode: whether processes stand still between invocations.
        sinks: listeners for log lines (`lambdabox.engine.ports.LogSink`).

    Raises UsageError for an option that cannot be right and for FreezeMode.ENABLED on a system that cannot stop processes; the start
    raises AddressInUseError when the port is taken.

    Parity: extensions are external under any name unless `external_extensions` names those that are, and the Init limit counts from the
    first process or call, not from `platform.initStart`: a runtime may be started by hand a minute later.
    """

    def __init__(
        self,
        *,
        function_name: str = "test-function",
        function_version: str = "$LATEST",
        handler: str | None = None,
        memory_size: int = MEMORY_DEFAULT_MB,
        timeout: float = TIMEOUT_DEFAULT_SECONDS,
        init_timeout: float = INIT_SECONDS,
        region: str = DEFAULT_REGION,
        account_id: str = DEFAULT_ACCOUNT_ID,
        host: str = "127.0.0.1",
        port: int = 0,
        extension_ready_timeout: float | None = None,
        external_extensions: Iterable[str] | None = None,
        shutdown_timeout: float = SHUTDOWN_EXTERNAL_SECONDS,
        freeze_mode: FreezeMode = FreezeMode.DISABLED,
        log_group: str | None = None,
        log_stream: str | None = None,
        sinks: Iterable[LogSink] = (),
    ) -> None:
        check_limits(
            memory_size=memory_size,
            timeout=timeout,
            init_timeout=init_timeout,
            shutdown_timeout=shutdown_timeout,
            extension_ready_timeout=extension_ready_timeout,
        )
        if freeze_mode is FreezeMode.ENABLED and not can_freeze():
            raise UsageError(
                "FreezeMode.ENABLED needs SIGSTOP and SIGCONT, which this system lacks", hint="use FreezeMode.DISABLED"
            )
        self.freeze_mode = freeze_mode
        self._function = Function(
            name=function_name,
            handler="handler" if handler is None else handler,
            runtime="provided.al2023",
            code=Path.cwd(),
            timeout=timeout,
            memory_size=memory_size,
            region=region,
            account_id=account_id,
            version=function_version,
            log_group=log_group,
        )
        self._provision = self_started_provision(
            self._function, environ=os.environ, stream=log_stream, has_handler=handler is not None
        )
        self._self_started = SelfStarted(
            external_extensions=names_of(external_extensions),
            extension_ready_timeout=extension_ready_timeout,
            shutdown_timeout=shutdown_timeout,
        )
        self._init_timeout = init_timeout
        self._shutdown_timeout = shutdown_timeout
        self._host = host
        self._port = port
        self._sinks = tuple(sinks)
        self._environment: Environment | None = None
        self._backend = AttachedBackend(_process_backend)
        self._states: dict[str, InvocationState] = {}
        self._waiters = Waiters()
        self._init = InitOutcome()
        self._endpoints: list[InvokeApi] = []
        self._is_closed = False

    @classmethod
    def blocking(cls, **options: Any) -> BlockingSimulator:
        """The same simulator for code without an event loop: the same options and names; use it as `with`."""
        from lambdabox.blocking_simulator import BlockingSimulator

        return BlockingSimulator(cls(**options))

    def __repr__(self) -> str:
        if self._environment is None:
            return f"<Simulator of {self._function.name}, not started>"
        return f"<Simulator of {self._function.name} on {self.runtime_api}: {self._present()}>"

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and begin Init: `platform.initStart` is said now. Twice does nothing. Raises AddressInUseError."""
        if self._environment is not None:
            return
        if self._is_closed:
            raise UsageError("this Simulator was shut down", hint="make a new one")
        environment = Environment(
            self._provision,
            clock=SystemClock(),
            sinks=self._sinks,
            freezes=self.freeze_mode is FreezeMode.ENABLED,
            init_timeout=self._init_timeout,
            self_started=self._self_started,
            captures=True,
        )
        environment.hub.on_captured = self._waiters.changed
        environment.on_over = self._over
        environment.on_delivered = self._delivered
        environment.on_change = self._changed
        await environment.open(self._backend, lambda served: open_runtime_api(served, host=self._host, port=self._port))
        self._environment = environment
        environment.initialize()

    async def graceful_shutdown(self, reason: Literal["spindown", "timeout", "failure"] = "spindown") -> None:
        """Run the Shutdown phase: extensions get SHUTDOWN with this reason and `shutdown_timeout` to end; then nothing is left.

        An invocation that runs may be answered within that time first. What was spawned is killed in the end.
        """
        if reason not in ("spindown", "timeout", "failure"):
            raise UsageError(f"no shutdown reason {reason!r}", hint="spindown, timeout or failure")
        if self._environment is None or self._is_closed:
            return
        running = [state for state in self._states.values() if state.status is InvocationStatus.IN_PROGRESS]
        if running:
            with contextlib.suppress(WaitTimeoutError):
                await self.wait_for(lambda: all(state.is_complete for state in running), self._shutdown_timeout)
        await self._environment.shut_down(reason)
        await self._close()

    async def shutdown(self) -> None:
        """End at once: no SHUTDOWN event; what was spawned is killed, what was frozen continues. Leaving `async with` does it."""
        if self._environment is None or self._is_closed:
            self._is_closed = True
            return
        environment = self._environment
        await self._close()
        await environment.kill()

    async def _close(self) -> None:
        """Who still waits is told: nothing comes any more."""
        self._is_closed = True
        for state in self._states.values():
            if not state.is_complete:
                state.lose(_GONE)
        self._waiters.changed()
        for endpoint in self._endpoints:
            await endpoint.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.shutdown()

    def _started(self) -> Environment:
        if self._environment is None:
            raise UsageError("the Simulator was not started", hint="use it as `async with Simulator(...) as simulator:`")
        return self._environment

    def _running(self) -> Environment:
        if self._is_closed:
            raise UsageError("this Simulator was shut down", hint="make a new one")
        return self._started()

    # -- where it is, how it stands -----------------------------------------------------------------------------------

    @property
    def runtime_api(self) -> str:
        """`host:port`, for AWS_LAMBDA_RUNTIME_API."""
        host, _, port = self._started().runtime_api.rpartition(":")
        if host in ("0.0.0.0", "", "::"):
            host = "127.0.0.1"
        return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"

    @property
    def runtime_api_url(self) -> str:
        """The same as a URL."""
        return f"http://{self.runtime_api}"

    @property
    def function(self) -> Function:
        """What the environment says of its function."""
        return self._function

    @property
    def log_stream(self) -> str:
        """The name of the log stream."""
        return self._running().log_stream

    @property
    def phase(self) -> Phase:
        """Where the environment stands.

        INIT until a runtime has asked for its first event, then IDLE or INVOKE; RESETTING and DORMANT after a crash or a timeout, until the
        next Init; SHUTTING_DOWN; CLOSED.
        """
        if self._is_closed:
            return Phase.CLOSED
        return Phase.CREATED if self._environment is None else self._environment.machine.phase

    @property
    def is_initialized(self) -> bool:
        """Whether Init is over: the runtime and every extension have asked for their first event. False again after a reset."""
        return self._init.is_over

    @property
    def init_error(self) -> str | None:
        """Why the last Init failed, as `Type: message`; None when it did not, or has not ended."""
        return self._init.error

    @property
    def registered_extensions(self) -> list[ExtensionInfo]:
        """The extensions that have registered, in that order."""
        return [] if self._environment is None else registered(self._environment.machine)

    @property
    def extension_count(self) -> int:
        """How many extensions have registered."""
        return len(self.registered_extensions)

    @property
    def is_frozen(self) -> bool:
        """Whether the environment's processes stand still, and there are any: spawned ones, or registered with `register_pid_for_freeze`."""
        if self._environment is None or self._is_closed or not self._environment.machine.is_frozen:
            return False
        sandbox = self._backend.sandbox
        return sandbox is not None and sandbox.is_frozen and sandbox.holds_processes

    @property
    def freeze_epoch(self) -> int:
        """How often the environment was thawed."""
        return 0 if self._environment is None else self._environment.machine.freeze_epoch

    def register_pid_for_freeze(self, pid: int | SpawnedProcess) -> None:
        """Stop and continue this process of your user, with its descendants, whenever the environment is frozen and thawed.

        Its memory counts as the environment's from then on. Processes that the Simulator spawned need no registering.
        Raises UsageError for a process that does not exist, is another user's, or is this process or one of its ancestors.
        """
        self._running()
        sandbox = self._backend.sandbox
        if sandbox is not None and can_freeze():
            sandbox.register(operator.index(pid))

    # -- invocations --------------------------------------------------------------------------------------------------

    async def enqueue(self, invocation: Invocation) -> str:
        """Put an invocation into the queue and return its request id; a runtime gets them in order.

        Raises UsageError for a request id that was used before and during the Shutdown phase, RequestTooLargeException over 6 MB.
        """
        environment = self._running()
        if invocation.request_id in self._states:
            raise UsageError(f"the request id {invocation.request_id} was used before")
        if len(invocation.payload) > REQUEST_MAX_BYTES:
            raise RequestTooLargeException(REQUEST_MAX_BYTES)
        if invocation.trace_id is None:
            invocation = replace(invocation, trace_id=new_trace_id())
        sandbox = self._backend.sandbox
        has_output = sandbox is not None and bool(sandbox.processes)  # of others there is none to have
        self._submit(environment, Ticket(self._function, invocation, wants_logs=has_output))
        return invocation.request_id

    def _submit(self, environment: Environment, ticket: Ticket) -> None:
        """Run a ticket and keep its state beside whoever waits for it. Raises UsageError in the Shutdown phase."""
        if environment.machine.phase in (Phase.SHUTTING_DOWN, Phase.CLOSED):
            raise UsageError("this Simulator is being shut down", hint="enqueue before graceful_shutdown()")
        state = self._states[ticket.invocation.request_id] = InvocationState(invocation=ticket.invocation)
        state.follow(ticket)
        environment.submit(ticket)

    async def enqueue_payload(self, payload: Any, **details: Any) -> str:
        """Put an event, anything JSON can say, into the queue and return its request id; `details` are those of `make_invocation`."""
        return await self.enqueue(self.make_invocation(payload, **details))

    def make_invocation(
        self,
        payload: Any,
        *,
        timeout: float | None = None,
        client_context: Mapping[str, Any] | None = None,
        cognito_identity: Mapping[str, Any] | None = None,
        trace_id: str | None = None,
        invoked_function_arn: str | None = None,
        tenant_id: str | None = None,
        request_id: str | None = None,
        content_type: str = "application/json",
    ) -> Invocation:
        """An invocation of the function with this event, for `enqueue`; bytes are taken as they are.

        `timeout` is in seconds and overrides the Simulator's. `trace_id` is an X-Ray header, fresh by default, as is `request_id`. Raises
        UsageError for what is not JSON.
        """
        return new_invocation(
            self._function.arn,
            payload,
            timeout=timeout,
            client_context=client_context,
            cognito_identity=cognito_identity,
            trace_id=trace_id,
            invoked_function_arn=invoked_function_arn,
            tenant_id=tenant_id,
            request_id=request_id,
            content_type=content_type,
        )

    def invocation_state(self, request_id: str) -> InvocationState:
        """How an invocation stands; the object is kept up to date. Raises UsageError for an id that was never enqueued."""
        state = self._states.get(request_id)
        if state is None:
            raise UsageError(f"no invocation has the request id {request_id}", hint="enqueue() returns the id")
        return state

    def invocation_states(self) -> dict[str, InvocationState]:
        """Every invocation by its request id, in the order of enqueueing."""
        return dict(self._states)

    def forget(self, request_id: str) -> None:
        """Let go of an invocation that is finished: for sessions that go on for long. Raises UsageError for one that is not."""
        if not self.invocation_state(request_id).is_finished:
            raise UsageError(f"the invocation {request_id} is not finished")
        del self._states[request_id]

    def extension_overhead_ms(self, request_id: str) -> float | None:
        """How many milliseconds extensions went on after the runtime was done; None without INVOKE extensions or before the end."""
        return self.invocation_state(request_id).extension_overhead_ms

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve the Lambda API's Invoke for this environment and return its endpoint URL, for SDKs and curl. Raises AddressInUseError.

        Its callers wait until a runtime has answered; what they ask for is among `invocation_states`. The function's name is the Simulator's,
        or `function`.
        """
        from lambdabox.simulator_endpoint import open_endpoint

        environment = self._running()
        endpoint, url = await open_endpoint(
            self._function,
            lambda ticket: self._submit(environment, ticket),
            host,
            port,
            no_timeout=self._function.timeout == float("inf"),
        )
        self._endpoints.append(endpoint)
        return url

    # -- waiting ------------------------------------------------------------------------------------------------------

    async def wait_for(self, predicate: Predicate, timeout: float | None = WAIT_SECONDS, *, what: str | None = None) -> None:
        """Return as soon as `predicate`, a plain or an async function, is true.

        It is asked now and after everything that happens in the environment, never by a clock: it should look at the Simulator, not at
        things that change elsewhere (`recheck` asks again after such a change). Raises WaitTimeoutError after `timeout` seconds, with
        what was waited for and how things stand.
        """
        await self._waiters.wait(predicate, timeout, lambda: (what or described(predicate), self._present()))

    def recheck(self) -> None:
        """Ask the predicates of `wait_for` again: something changed that the environment knows nothing of."""
        self._waiters.changed()

    async def wait_for_invocation_complete(self, request_id: str, timeout: float | None = WAIT_SECONDS) -> InvocationState:
        """Return the state of an invocation when it is answered: success, error or timeout. Raises WaitTimeoutError, UsageError.

        Its caller on AWS has the answer then; `platform.report` follows when the runtime and the extensions have asked for their next event
        (`state.is_finished`).
        """
        state = self.invocation_state(request_id)
        if not state.is_complete:
            await self._waiters.wait(lambda: state.is_complete, timeout, lambda: (f"the answer of {state!r}", self._present()))
        return state

    async def wait_for_phase(self, phase: Phase | str, timeout: float | None = WAIT_SECONDS) -> None:
        """Return when the environment stands there. Raises WaitTimeoutError."""
        wanted = _phase(phase)
        await self.wait_for(lambda: self.phase is wanted, timeout, what=f"phase {wanted}")

    async def wait_for_frozen(self, timeout: float | None = WAIT_SECONDS) -> None:
        """Return when the environment's processes stand still. Raises WaitTimeoutError, and UsageError with FreezeMode.DISABLED."""
        if self.freeze_mode is not FreezeMode.ENABLED:
            raise UsageError("nothing is ever frozen here", hint="make the Simulator with freeze_mode=FreezeMode.ENABLED")
        await self.wait_for(lambda: self.is_frozen, timeout, what="a frozen environment")

    async def wait_for_extensions_ready(self, request_id: str | None = None, timeout: float | None = WAIT_SECONDS) -> None:
        """Return when every registered extension waits for its next event; with a request id, after that invocation was answered.

        Without extensions there is nothing to wait for. Raises WaitTimeoutError.
        """
        state = None if request_id is None else self.invocation_state(request_id)

        def is_ready() -> bool:
            if state is not None and (state.is_finished or not state.is_complete):
                return state.is_finished
            assert self._environment is not None
            extensions = self._environment.machine.extensions.values()
            return all(extension.phase is ExtensionPhase.READY for extension in extensions)

        self._running()
        await self.wait_for(is_ready, timeout, what="every extension asking for its next event")

    # -- processes ----------------------------------------------------------------------------------------------------

    def lambda_environment(self, role: Literal["runtime", "extension"] = "runtime") -> dict[str, str]:
        """The variables that a process of this role finds on Lambda, with the address of this Simulator."""
        return self._variables(role, Path.cwd())

    def _variables(self, role: str, task_root: Path) -> dict[str, str]:
        if role not in ROLES:
            raise UsageError(f"no role {role!r}", hint=f"roles: {listed(ROLES)}")
        sandbox = self._backend.sandbox
        return self._provision.variables(
            role,
            runtime_api=self.runtime_api,
            log_stream=self._running().log_stream,
            tmp=None if sandbox is None else str(sandbox.tmp),
            task_root=task_root,
        )

    async def spawn_process(
        self,
        *argv: str | os.PathLike[str],
        role: Literal["runtime", "extension"] = "runtime",
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        name: str | None = None,
    ) -> SpawnedProcess:
        """Start a runtime or an external extension with the variables of its role.

        They stand above this process's own, and `env` above both; `cwd` is LAMBDA_TASK_ROOT too (default: the current folder). `name` is what
        an extension registers as (default: the script's or the executable's file name). What it writes is in `output` and in telemetry; it is
        frozen with the environment and never outlives it.

        Raises UsageError (no such program, or one of that name runs already), LaunchError (the system could not start it) and
        SandboxUnavailableError (this system cannot keep processes together).
        """
        environment = self._running()
        sandbox = self._backend.sandbox
        assert sandbox is not None
        words, folder, name = located(argv, cwd, RUNTIME if role == RUNTIME_ROLE else name)
        sandbox.check_name(name)
        await sandbox.prepare()
        variables = {**inherited(os.environ), **self._variables(role, folder), **(env or {})}
        spec = ProcessSpec(name=name, argv=words, environment=variables, cwd=folder)
        await environment.spawn(spec, is_runtime=role == RUNTIME_ROLE)
        return SpawnedProcess(sandbox, name, role, self._waiters)

    def process_output(self) -> list[tuple[str, str]]:
        """What spawned processes wrote, the last megabyte of each: name and line."""
        sandbox = self._backend.sandbox
        return [] if sandbox is None else sandbox.output_lines()

    # -- telemetry ----------------------------------------------------------------------------------------------------

    def enable_telemetry_capture(self) -> None:
        """Keep telemetry in memory for `telemetry_events`. It is kept from `platform.initStart` on in any case: this does nothing."""

    @property
    def telemetry_events(self) -> list[TelemetryEvent]:
        """What a subscriber to everything would have got, in order: the last 100,000 since `platform.initStart` or `clear_telemetry_events`."""
        return [] if self._environment is None else self._environment.hub.captured()

    def get_telemetry_events_by_type(self, type: str) -> list[TelemetryEvent]:  # noqa: A002 - AWS's word for it
        """Those of one type, such as `platform.report`."""
        return [] if self._environment is None else self._environment.hub.captured(type)

    def clear_telemetry_events(self) -> None:
        """Forget what was captured so far."""
        if self._environment is not None:
            self._environment.hub.clear()

    # -- what the engine tells ----------------------------------------------------------------------------------------

    def _delivered(self, request_id: str) -> None:
        self._states[request_id].deliver()

    def _over(self, effect: FinishInvocation) -> None:
        state = self._states[effect.request_id]
        state.is_finished = True
        state.report = None if state.result is None else state.result.report
        for span in effect.spans:
            if span.name == "extensionOverhead":
                state.extension_overhead_ms = span.duration_ms

    def _changed(self) -> None:
        environment = self._environment
        if environment is None:
            return
        self._init.note(environment.machine, environment.hub)
        self._waiters.changed()

    def _present(self) -> str:
        """How things stand, in a line."""
        sandbox = self._backend.sandbox
        can_stop = sandbox is not None and sandbox.holds_processes
        return present_state(
            None if self._environment is None else self._environment.machine,
            self._states.values(),
            init_error=self._init.error,
            freezing=("frozen" if self.is_frozen else "") if can_stop else "no process to freeze: register_pid_for_freeze",
            freezes=self.freeze_mode is FreezeMode.ENABLED,
        )


def _process_backend() -> SandboxBackend:
    from lambdabox.sandbox.process import ProcessBackend

    return ProcessBackend()


def _phase(phase: Phase | str) -> Phase:
    try:
        return Phase(str(phase).lower().replace("_", " "))
    except ValueError:
        raise UsageError(f"no phase {phase!r}", hint=f"phases: {listed([name.value for name in Phase])}") from None
