"""One execution environment: carries out what its machine decides, and tells the machine what happens.

Effects are carried out in order; what happens meanwhile waits in a queue, so that nothing is ever re-entered.

Parity: of several invocations at once, a line of the log belongs to the one whose request id it names; a line without one is in
nobody's result.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from lambdabox.engine.ports import Clock, EnvironmentApi, EnvironmentApiFactory, LogSink, Timer
from lambdabox.engine.profile import json_logs_of, machine_of, profile_of
from lambdabox.engine.provision import Provision
from lambdabox.engine.self_started import SelfStarted
from lambdabox.engine.telemetry import DRAIN_INTERNAL_SECONDS, DRAIN_SECONDS, TelemetryHub
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import LaunchError, SandboxClosedError, SandboxError
from lambdabox.model.error_types import ErrorType
from lambdabox.model.invocation import InvocationResult, InvocationStatus, Report
from lambdabox.model.telemetry import InitStart, InvocationReport, PlatformRecord
from lambdabox.protocol import effects as fx
from lambdabox.protocol import events as ev
from lambdabox.protocol.log_frames import LogEvent, LogSplitter
from lambdabox.protocol.log_lines import text_lines
from lambdabox.protocol.machine import RUNTIME
from lambdabox.protocol.states import Phase
from lambdabox.sandbox.base import ExitStatus, ProcessSpec, Sandbox, SandboxBackend

if TYPE_CHECKING:
    from lambdabox.protocol.telemetry_api import Subscription

_STATUS = {"success": InvocationStatus.SUCCESS, "error": InvocationStatus.ERROR, "timeout": InvocationStatus.TIMEOUT}
_MEGABYTE = 1024 * 1024
MEASURED_SECONDS = 0.01  # how old a memory figure may be: reading one costs a tenth of a warm invocation


class Environment:
    """An execution environment. `open` it, `submit` tickets one at a time, `shut_down` it.

    `on_available` is called whenever it can take the next ticket, `on_answered` when a ticket's caller has its answer,
    `on_closed` once, at the end. `on_delivered` is told when a runtime has got an invocation, `on_over` how one ended for the
    environment, `on_change` is called after everything that may have changed something.

    With `self_started` the environment starts no process: its user does, by hand or through `spawn`.
    """

    def __init__(
        self,
        provision: Provision,
        *,
        clock: Clock,
        sinks: tuple[LogSink, ...] = (),
        freezes: bool = False,
        init_timeout: float | None = None,
        self_started: SelfStarted | None = None,
        captures: bool = False,
        sends_invocation_id: bool = False,
    ) -> None:
        function = provision.function
        self.provision = provision
        self.function = function
        self.instance = os.urandom(16).hex()
        self.log_stream = provision.log_stream(self.instance)
        self.on_available: Callable[[Environment], None] | None = None
        self.on_answered: Callable[[Environment], None] | None = None
        self.on_closed: Callable[[Environment], None] | None = None
        self.on_finished: Callable[[Environment, Ticket], None] | None = None
        self.on_delivered: Callable[[str], None] | None = None
        self.on_over: Callable[[fx.FinishInvocation], None] | None = None
        self.on_change: Callable[[], None] | None = None
        self.idle_since = 0.0
        self._is_concurrent = function.is_concurrent
        self.machine = machine_of(
            profile_of(
                provision,
                self.log_stream,
                freezes=freezes,
                init_timeout=init_timeout,
                self_started=self_started,
                sends_invocation_id=sends_invocation_id,
            )
        )
        self.hub = TelemetryHub(clock, log_format=function.log_format, captures=captures)
        self._json_logs = json_logs_of(function)
        self._clock = clock
        self._sinks = sinks
        self._sandbox: Sandbox | None = None
        self._api: EnvironmentApi | None = None
        self._tickets: dict[str, Ticket] = {}
        self._current: Ticket | None = None
        self._splitters: dict[str, LogSplitter] = {}
        self._queue: deque[ev.Event] = deque()
        self._is_handling = False
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = asyncio.Event()
        self._has_warned = False
        self._freeze_wanted: fx.Freeze | None = None  # until what waits in the queue has been heard
        self._stands_still = False
        self._measured_at = 0.0
        self._peak_mb = 0
        self._carry: dict[type, Callable[[Any], None]] = {
            fx.StartProcess: self._start_process,
            fx.AnswerNext: self._answer_next,
            fx.AnswerRestore: self._answer_restore,
            fx.AnswerExtensionInvoke: self._answer_extension_invoke,
            fx.AnswerExtensionShutdown: self._answer_extension_shutdown,
            fx.Accept: self._accept,
            fx.AcceptRegistration: self._accept_registration,
            fx.AcceptSubscription: self._accept_subscription,
            fx.Refuse: self._refuse,
            fx.BeginStream: self._begin_stream,
            fx.CollectResponse: self._collect_response,
            fx.CompleteInvocation: self._complete_invocation,
            fx.FinishInvocation: self._finish_invocation,
            fx.EmitTelemetry: self._emit_telemetry,
            fx.Available: self._available,
            fx.Freeze: self._freeze,
            fx.Thaw: self._thaw,
            fx.Terminate: self._terminate,
            fx.Kill: self._kill,
            fx.ClearSandbox: self._clear_sandbox,
            fx.CloseSandbox: self._close_sandbox,
        }

    # -- life ---------------------------------------------------------------------------------------------------------

    async def open(self, backend: SandboxBackend, api: EnvironmentApiFactory, *, memory_limit_bytes: int | None = None) -> None:
        """Make the sandbox and the listener. Raises SandboxUnavailableError, AddressInUseError; leaves nothing behind then."""
        self._sandbox = await backend.open(self, memory_limit_bytes=memory_limit_bytes)
        try:
            self._api = await api(self)
        except BaseException:
            await self._sandbox.close()
            raise

    def submit(self, ticket: Ticket) -> None:
        """Run an invocation here."""
        self._tickets[ticket.invocation.request_id] = ticket
        if self._current is None:
            self._current = ticket
        self.handle(ev.InvokeRequested(ticket.invocation, ticket.stream is not None))

    async def spawn(self, spec: ProcessSpec, *, is_runtime: bool) -> int:
        """Start a process for the user of a self-started environment and return its id. Raises LaunchError, SandboxError."""
        assert self._sandbox is not None
        self._splitters[spec.name] = LogSplitter()
        pid = await self._sandbox.start(spec)
        self.handle(ev.ProcessSpawned(spec.name, is_runtime))
        return pid

    def initialize(self) -> None:
        """Run Init ahead of an invocation."""
        self.handle(ev.InitRequested())

    async def shut_down(self, reason: str = "spindown") -> None:
        """Run the Shutdown phase and return when no process is left. May be called in any state."""
        if self._sandbox is None:
            return
        self.handle(ev.ShutdownRequested(reason))
        await self._closed.wait()

    async def kill(self) -> None:
        """End at once, without a Shutdown phase."""
        self._is_handling = True  # for good: what the end of processes and connections tells changes nothing any more
        if self._timer is not None:
            self._timer.cancel()
        for task in tuple(self._tasks):
            task.cancel()
        await self.hub.close()
        if self._sandbox is not None:
            await self._sandbox.close()
        if self._api is not None:
            await self._api.close()
        self._closed.set()

    @property
    def is_busy(self) -> bool:
        """Invocations run here or wait here."""
        return bool(self._tickets)

    @property
    def has_room(self) -> bool:
        """An environment for several invocations can take one more."""
        phase = self.machine.phase
        if phase is Phase.RESETTING or phase is Phase.SHUTTING_DOWN or phase is Phase.CLOSED:
            return False
        return len(self._tickets) < self.function.max_concurrency

    @property
    def runtime_api(self) -> str:
        """`host:port` of the Runtime API."""
        return "" if self._api is None else self._api.address

    # -- events in, effects out ---------------------------------------------------------------------------------------

    def handle(self, event: ev.Event) -> None:
        """Tell the machine, and do what it says."""
        queue = self._queue
        queue.append(event)
        if self._is_handling:
            return
        self._is_handling = True
        machine, clock, carry = self.machine, self._clock, self._carry
        try:
            while queue:
                for effect in machine.handle(queue.popleft(), clock.now()):
                    carry[type(effect)](effect)
                if self._freeze_wanted is not None and not queue:
                    self._freeze_now(self._freeze_wanted)
                if self.on_change is not None:
                    self.on_change()
        finally:
            self._is_handling = False
        deadline = machine.deadline
        if deadline is not None and (self._timer is None or self._timer_at > deadline):
            self._arm(deadline)

    def _arm(self, deadline: float) -> None:
        """One timer an environment: it is set anew only when it would ring too late, and goes on by itself when it rang too early."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._clock.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        deadline = self.machine.deadline
        if deadline is None:
            return
        if self._clock.now().monotonic >= deadline:
            self.drain_logs()
            self.handle(ev.DeadlineReached())
        else:
            self._arm(deadline)

    def runtime_called(self, event: ev.Event) -> None:
        """A call of the runtime: what it wrote before is taken in first, so that no log line is lost or late."""
        sandbox = self._sandbox
        if sandbox is not None:
            sandbox.drain(RUNTIME)
        self.handle(event)

    def drain_logs(self) -> None:
        """Take in what every process has written so far."""
        if self._sandbox is not None:
            for name in tuple(self._splitters):
                self._sandbox.drain(name)

    def _spawn(self, coroutine: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- the sandbox tells --------------------------------------------------------------------------------------------

    def process_output(self, name: str, data: bytes) -> None:
        """Bytes a process wrote."""
        ticket = self._current
        if not self._sinks and (ticket is None or not ticket.wants_logs) and not (self.hub.is_active or self._is_concurrent):
            return
        splitter = self._splitters.get(name)
        if splitter is None:
            splitter = self._splitters[name] = LogSplitter()
        for event in splitter.feed(data):
            self._log(name, event)

    def _log(self, name: str, event: LogEvent) -> None:
        data = event.data
        if self.hub.is_active:
            self.hub.log("function" if name == RUNTIME else "extension", data)
        if self._json_logs is not None and name == RUNTIME and self._json_logs.hides(data):
            return
        ticket = self._writer(data) if self._is_concurrent else self._current
        if ticket is not None and ticket.wants_logs and name == RUNTIME:
            ticket.log(data if data.endswith(b"\n") else data + b"\n")
        for sink in self._sinks:
            sink.function_output(self, name, data)

    def _writer(self, data: bytes) -> Ticket | None:
        """Of several invocations the one that a line is of: the one it names, or the only one."""
        if len(self._tickets) == 1:
            return self._current
        return next((ticket for request_id, ticket in self._tickets.items() if request_id.encode() in data), None)

    def _flush_logs(self) -> None:
        for name, splitter in self._splitters.items():
            for event in splitter.flush():
                self._log(name, event)

    def process_exited(self, name: str, status: ExitStatus) -> None:
        """A process ended."""
        if self.hub.is_active:  # its output is at its end, and so is the batch that was gathered of it
            splitter = self._splitters.get(name)
            for event in () if splitter is None else splitter.flush():
                self._log(name, event)
            self.hub.flush()
        self.handle(ev.ProcessExited(name, status.code, status.signal, status.out_of_memory))

    def memory_exceeded(self) -> None:
        """The processes are over the limit."""
        self.handle(ev.MemoryExceeded())

    # -- effects ------------------------------------------------------------------------------------------------------

    def _start_process(self, effect: fx.StartProcess) -> None:
        self._splitters[effect.name] = LogSplitter()
        self._spawn(self._start(effect))

    async def _start(self, effect: fx.StartProcess) -> None:
        provision = self.provision
        assert self._sandbox is not None
        assert self._api is not None
        surroundings = provision.surroundings(
            runtime_api=self._api.address, tmp=str(self._sandbox.tmp), log_stream=self.log_stream
        )
        if effect.is_runtime:
            launch = provision.launch
            if launch is None:
                error = provision.entrypoint_error
                assert error is not None
                self.handle(ev.LaunchFailed(effect.name, error.error_type, error.text))
                return
            spec = ProcessSpec(
                name=effect.name,
                argv=launch.argv,
                environment=provision.runtime_variables(surroundings),
                cwd=launch.cwd,
                framed_logs=launch.framed_logs,
            )
            failure = ErrorType.RUNTIME_INVALID_ENTRYPOINT
        else:
            path = next(path for path in provision.extensions if path.name == effect.name)
            spec = ProcessSpec(
                name=effect.name,
                argv=(str(path),),
                environment=provision.extension_variables(surroundings),
                cwd=provision.working_directory,
            )
            failure = ErrorType.EXTENSION_LAUNCH_ERROR
        try:
            await self._sandbox.start(spec)
        except LaunchError as error:
            self.handle(ev.LaunchFailed(effect.name, failure, error.text))
        except SandboxClosedError:
            return
        except SandboxError as error:  # the warden was killed, for instance
            self.handle(ev.LaunchFailed(effect.name, failure, error.message))

    def _answer_next(self, effect: fx.AnswerNext) -> None:
        assert self._api is not None
        self._api.answer_next(effect.call, effect.invocation, effect.deadline_ms, effect.invocation_id)
        if self.on_delivered is not None:
            self.on_delivered(effect.invocation.request_id)

    def _answer_restore(self, effect: fx.AnswerRestore) -> None:
        assert self._api is not None
        self._api.answer_restore(effect.call)

    def _answer_extension_invoke(self, effect: fx.AnswerExtensionInvoke) -> None:
        assert self._api is not None
        self._api.answer_extension_invoke(effect.call, effect.invocation, effect.deadline_ms)

    def _answer_extension_shutdown(self, effect: fx.AnswerExtensionShutdown) -> None:
        extension = next((known for known in self.machine.extensions.values() if known.shutdown_call == effect.call), None)
        if extension is None:
            self._tell_shutdown(effect)
        else:
            self._after_delivery([extension.name], lambda: self._tell_shutdown(effect))

    def _tell_shutdown(self, effect: fx.AnswerExtensionShutdown) -> None:
        assert self._api is not None
        self._api.answer_extension_shutdown(effect.call, effect.reason, effect.deadline_ms)

    def _after_delivery(self, names: list[str], do: Callable[[], None], seconds: float = DRAIN_SECONDS) -> None:
        """End these extensions when they have got their telemetry, or have let the time for it pass."""
        if not self.hub.has_pending(names):
            do()
            return

        async def deliver() -> None:
            await self.hub.drain(names, seconds)
            do()

        self._spawn(deliver())

    def _accept(self, effect: fx.Accept) -> None:
        assert self._api is not None
        self._api.accept(effect.call)

    def _accept_registration(self, effect: fx.AcceptRegistration) -> None:
        assert self._api is not None
        self._api.accept_registration(effect.call, effect.identifier, with_account_id=effect.with_account_id)

    def _accept_subscription(self, effect: fx.AcceptSubscription) -> None:
        assert self._api is not None
        self._api.accept_subscription(effect.call)
        if not effect.is_repetition:
            self.hub.subscribe(effect.name, cast("Subscription", effect.subscription))

    def _refuse(self, effect: fx.Refuse) -> None:
        assert self._api is not None
        self._api.refuse(effect.call, effect.status, effect.error_type, effect.message)

    def _begin_stream(self, effect: fx.BeginStream) -> None:
        assert self._api is not None
        stream = self._tickets[effect.request_id].stream
        assert stream is not None
        stream.begin(effect.content_type)
        self._api.stream_response(effect.call, stream)

    def _collect_response(self, effect: fx.CollectResponse) -> None:
        assert self._api is not None
        self._api.collect_response(effect.call)

    def _complete_invocation(self, effect: fx.CompleteInvocation) -> None:
        ticket = self._tickets[effect.request_id]
        is_error = effect.status != "success"
        error_type = effect.error_type
        if effect.status == "timeout":
            error_type = ErrorType.SANDBOX_TIMEDOUT
        result = InvocationResult(
            request_id=effect.request_id,
            payload=effect.payload,
            status=_STATUS[effect.status],
            function_error="Unhandled" if is_error else None,
            error_type=error_type,
            executed_version=self.function.version,
            content_type=effect.content_type,
        )
        ticket.answer(result)
        if self.on_answered is not None:
            self.on_answered(self)

    def _finish_invocation(self, effect: fx.FinishInvocation) -> None:
        ticket = self._tickets.pop(effect.request_id)
        if self._sinks or ticket.on_finish is not None or self.hub.is_active:
            self._report(effect, ticket)
        self._current = next(iter(self._tickets.values()), None)
        if self.on_over is not None:
            self.on_over(effect)
        if self.on_finished is not None:
            self.on_finished(self, ticket)

    def _report(self, effect: fx.FinishInvocation, ticket: Ticket) -> None:
        """Measure, and tell the figures to who listens."""
        memory_mb = self._memory_mb()
        memory_size = self.function.memory_size
        self._flush_logs()
        if memory_mb > memory_size and not self._has_warned:
            self._has_warned = True
            for sink in self._sinks:
                sink.warning(self, f"used {memory_mb} MB of its {memory_size} MB: AWS would have ended it")
        if self._sinks or ticket.wants_logs or self.hub.is_active:
            record = InvocationReport(
                request_id=effect.request_id,
                status=effect.status,
                duration_ms=effect.duration_ms,
                billed_duration_ms=effect.billed_duration_ms,
                memory_size_mb=memory_size,
                max_memory_used_mb=memory_mb,
                init_duration_ms=effect.init_duration_ms,
                restore_duration_ms=effect.restore_duration_ms,
                billed_restore_duration_ms=effect.billed_restore_duration_ms,
                error_type=effect.error_type,
                spans=effect.spans,
                trace_id=effect.trace_id,
                tenant_id=effect.tenant_id,
                is_concurrent=self._is_concurrent,
            )
            self._say(record, ticket)
        if ticket.result is not None and ticket.on_finish is not None:
            ticket.result.report = Report(
                duration_ms=effect.duration_ms,
                billed_duration_ms=effect.billed_duration_ms,
                memory_size_mb=memory_size,
                max_memory_used_mb=memory_mb,
                init_duration_ms=effect.init_duration_ms,
                restore_duration_ms=effect.restore_duration_ms,
                billed_restore_duration_ms=effect.billed_restore_duration_ms,
                status=effect.status,
                error_type=effect.error_type,
            )
            ticket.finish()

    def _memory_mb(self) -> int:
        """Peak memory in MB; a figure of the last moment serves several invocations, none of which can have filled much in it."""
        now = self._clock.now().monotonic
        if now - self._measured_at >= MEASURED_SECONDS:
            self._measured_at = now
            peak = 0 if self._sandbox is None else self._sandbox.peak_memory_bytes()
            self._peak_mb = -(-peak // _MEGABYTE)
        return self._peak_mb

    def _emit_telemetry(self, effect: fx.EmitTelemetry) -> None:
        ticket = self._current
        if self._is_concurrent:
            ticket = None if effect.request_id is None else self._tickets.get(effect.request_id)
        if self._sinks or (ticket is not None and ticket.wants_logs) or self.hub.is_active:
            self._say(effect.record, ticket)

    def _say(self, record: PlatformRecord, ticket: Ticket | None) -> None:
        if self.hub.is_active:
            self.hub.platform(record)
            if not self._sinks and (ticket is None or not ticket.wants_logs):
                return
        text = text_lines(record) if self._json_logs is None else self._json_logs.line(record, self._clock.now().wall)
        if not text:
            return
        if ticket is not None and ticket.wants_logs and type(record) is not InitStart:
            ticket.log(text.encode())
        for sink in self._sinks:
            sink.platform_line(self, text)

    def _available(self, _effect: fx.Available) -> None:
        self.idle_since = self._clock.now().monotonic
        if self.on_available is not None:
            self.on_available(self)

    def _freeze(self, effect: fx.Freeze) -> None:
        self._freeze_wanted = effect

    def _freeze_now(self, wanted: fx.Freeze) -> None:
        """Stop the processes, unless what happened since the machine wanted it has made work of them."""
        self._freeze_wanted = None
        machine = self.machine
        if self._sandbox is not None and machine.is_frozen and wanted.epoch == machine.freeze_epoch:
            self._stands_still = True
            self.hub.hold()
            self._sandbox.freeze()

    def _thaw(self, _effect: fx.Thaw) -> None:
        self._freeze_wanted = None
        if self._sandbox is not None and self._stands_still:  # else they were let run on: work came in time
            self._stands_still = False
            self._sandbox.thaw()
            self.hub.resume()

    def _terminate(self, effect: fx.Terminate) -> None:
        sandbox = self._sandbox
        if sandbox is None:
            return
        inside = [known.name for known in self.machine.extensions.values() if not known.is_external]
        self._after_delivery(inside, lambda: sandbox.signal(effect.name, signal.SIGTERM), DRAIN_INTERNAL_SECONDS)

    def _kill(self, effect: fx.Kill) -> None:
        sandbox = self._sandbox
        if sandbox is not None:
            extension = next((known for known in self.machine.extensions.values() if known.process == effect.name), None)
            self._after_delivery([] if extension is None else [extension.name], lambda: sandbox.kill(effect.name))

    def _clear_sandbox(self, _effect: fx.ClearSandbox) -> None:
        self._spawn(self._clear())

    async def _clear(self) -> None:
        assert self._sandbox is not None
        assert self._api is not None
        await self._sandbox.clear()
        self._flush_logs()
        await self.hub.reset()
        self._splitters.clear()
        self._api.cut_connections()
        self.handle(ev.SandboxCleared())

    def _close_sandbox(self, _effect: fx.CloseSandbox) -> None:
        self._spawn(self._close())

    async def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            await self.hub.close()
            if self._sandbox is not None:
                await self._sandbox.close()
            if self._api is not None:
                await self._api.close()
        finally:
            self._closed.set()
            if self.on_closed is not None:
                self.on_closed(self)
