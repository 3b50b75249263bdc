"""The environments of one function: who gets which, when another is started, when one retires."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lambdabox.engine.environment import Environment
from lambdabox.engine.ports import Clock, EnvironmentApiFactory, LogSink, Timer
from lambdabox.engine.provision import Machine, Provision, provision
from lambdabox.engine.ticket import Ticket
from lambdabox.errors import InternalError, LambdaboxError, SandboxUnavailableError, ServiceException, TooManyRequestsException
from lambdabox.model.function import Function
from lambdabox.model.limits import RETRY_AFTER_SECONDS
from lambdabox.protocol.scaling import FINISHING_PATIENCE_SECONDS, Load, Placement, place
from lambdabox.sandbox.base import SandboxBackend

IDLE_SECONDS = 600.0
_CLOSED_TEXT = "the service was closed before the invocation could begin"


@dataclass(slots=True, kw_only=True)
class EngineOptions:
    """How environments are made and kept. Times in seconds."""

    concurrency_max: int = 32
    idle_timeout: float = IDLE_SECONDS
    freezes: bool = False
    enforces_memory: bool = False
    shares_ports: bool = True  # extensions with fixed ports: one environment for a function that has external ones
    init_timeout: float | None = None
    sends_invocation_id: bool = False


@dataclass(slots=True, eq=False)
class EngineContext:
    """What every pool of one engine shares."""

    clock: Clock
    backend: SandboxBackend
    api: EnvironmentApiFactory
    machine: Machine
    options: EngineOptions
    sinks: tuple[LogSink, ...] = ()
    on_warning: Callable[[str], None] | None = None
    in_flight: int = 0


class FunctionPool:
    """The environments of one function."""

    def __init__(self, function: Function, context: EngineContext) -> None:
        self.function = function
        self.context = context
        self.environments: set[Environment] = set()
        self.in_flight = 0
        self._idle: list[Environment] = []
        self._finishing: set[Environment] = set()
        self._waiting: deque[Ticket] = deque()
        self._fresh: set[Environment] = set()
        self._is_concurrent = function.is_concurrent
        self._opening: dict[Environment, list[Ticket]] = {}  # what waits for environments that run several at once
        self._patience: Timer | None = None
        self._retirement: Timer | None = None
        self._provision: Provision | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._is_killed = False

    # -- placing ------------------------------------------------------------------------------------------------------

    def submit(self, ticket: Ticket) -> None:
        """Place an invocation.

        Raises TooManyRequestsException, ServiceException when the pool is closed; and what makes the function ready, the first time.
        """
        if self._is_closing:
            raise ServiceException(_CLOSED_TEXT)
        provisioned = self.provision()
        context = self.context
        options = context.options
        placement, reason = place(
            Load(
                0 if ticket.is_fresh else self._count_idle(),
                0 if ticket.is_fresh else len(self._finishing),
                len(self._waiting),
                len(self.environments),
                self.in_flight,
                context.in_flight,
                options.concurrency_max,
                self.function.reserved_concurrency,
                1 if provisioned.extensions and options.shares_ports else None,
            )
        )
        if placement is Placement.THROTTLE:
            raise TooManyRequestsException(reason or "ConcurrentInvocationLimitExceeded", retry_after=RETRY_AFTER_SECONDS)
        self.in_flight += 1
        context.in_flight += 1
        if placement is Placement.REUSE:
            self._reuse(ticket)
        elif placement is Placement.START:
            self._start(ticket)
        else:
            self._waiting.append(ticket)
            self._be_patient()

    def _count_idle(self) -> int:
        if not self._is_concurrent:
            return len(self._idle)
        return sum(environment.has_room for environment in self._idle) + sum(self._has_place(t) for t in self._opening.values())

    def _has_place(self, tickets: list[Ticket]) -> bool:
        return len(tickets) < self.function.max_concurrency

    def _reuse(self, ticket: Ticket) -> None:
        if not self._is_concurrent:
            self._idle.pop().submit(ticket)
            return
        for environment in self._idle:
            if environment.has_room:
                environment.submit(ticket)
                return
        next(tickets for tickets in self._opening.values() if self._has_place(tickets)).append(ticket)

    def provision(self) -> Provision:
        """The function made ready, once."""
        if self._provision is None:
            try:
                self._provision = provision(self.function, self.context.machine)
            except OSError as error:  # a file or folder of the user's that cannot be read
                raise SandboxUnavailableError(f"{self.function.key} cannot be made ready: {error}") from error
            if self.context.on_warning is not None:
                for warning in self._provision.warnings:
                    self.context.on_warning(f"{self.function.key}: {warning}")
        return self._provision

    def _be_patient(self) -> None:
        if self._patience is None and self._waiting:
            now = self.context.clock.now().monotonic
            self._patience = self.context.clock.call_at(now + FINISHING_PATIENCE_SECONDS, self._lose_patience)

    def _lose_patience(self) -> None:
        """Who has waited long enough for a finishing environment gets a new one, where that is allowed."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        only_one = bool(self.provision().extensions) and self.context.options.shares_ports
        while self._waiting and not (only_one and self.environments):
            self._start(self._waiting.popleft())

    def _start(self, ticket: Ticket) -> None:
        context = self.context
        environment = Environment(
            self.provision(),
            clock=context.clock,
            sinks=context.sinks,
            freezes=context.options.freezes,
            init_timeout=context.options.init_timeout,
            sends_invocation_id=context.options.sends_invocation_id,
        )
        environment.on_available = self._available
        environment.on_answered = self._answered
        environment.on_finished = self._finished
        environment.on_closed = self._forget
        self.environments.add(environment)
        if ticket.is_fresh:
            self._fresh.add(environment)
        elif self._is_concurrent:
            self._opening[environment] = [ticket]
        self._spawn(self._open(environment, ticket))

    async def _open(self, environment: Environment, ticket: Ticket) -> None:
        options = self.context.options
        limit = self.function.memory_size * 1024 * 1024 if options.enforces_memory else None
        try:
            await environment.open(self.context.backend, self.context.api, memory_limit_bytes=limit)
        except Exception as error:  # noqa: BLE001  # whatever it was, the caller gets an answer
            tickets = self._opening.pop(environment, [ticket])
            for _ in tickets:
                self._release()
            self._forget(environment)
            failure = error if isinstance(error, LambdaboxError) else InternalError(f"no environment could be made: {error}")
            for failed in tickets:
                failed.fail(failure)
            return
        tickets = self._opening.pop(environment, [ticket])
        if self._is_killed:
            await environment.kill()
            return
        if self._is_concurrent and not ticket.is_fresh:
            self._idle.append(environment)
        for opened in tickets:
            environment.submit(opened)

    # -- what environments tell ---------------------------------------------------------------------------------------

    def _release(self) -> None:
        self.in_flight -= 1
        self.context.in_flight -= 1

    def _answered(self, environment: Environment) -> None:
        self._release()
        self._finishing.add(environment)

    def _finished(self, environment: Environment, _ticket: Ticket) -> None:
        if environment in self._fresh:
            self._finishing.discard(environment)
            self._spawn(environment.shut_down())

    def _available(self, environment: Environment) -> None:
        self._finishing.discard(environment)
        if environment in self._fresh or self._is_closing:
            return
        if self._waiting and not self._is_concurrent:
            environment.submit(self._waiting.popleft())
            return
        while self._waiting and environment.has_room:
            environment.submit(self._waiting.popleft())
        if environment not in self._idle:  # it is there already when its processes died while it was idle
            self._idle.append(environment)
        if self._retirement is None:
            self._plan_retirement()

    def _forget(self, environment: Environment) -> None:
        self.environments.discard(environment)
        self._finishing.discard(environment)
        self._fresh.discard(environment)
        if environment in self._idle:
            self._idle.remove(environment)
        if self._waiting and not self._is_closing:
            if self.environments:
                self._be_patient()
            else:
                self._lose_patience()

    # -- retiring -----------------------------------------------------------------------------------------------------

    def _plan_retirement(self) -> None:
        resting = [environment for environment in self._idle if not environment.is_busy]
        if resting:
            oldest = min(environment.idle_since for environment in resting)
            self._retirement = self.context.clock.call_at(oldest + self.context.options.idle_timeout, self._retire)

    def _retire(self) -> None:
        self._retirement = None
        horizon = self.context.clock.now().monotonic - self.context.options.idle_timeout
        for environment in [e for e in self._idle if e.idle_since <= horizon and not e.is_busy]:
            self._idle.remove(environment)
            self._spawn(environment.shut_down())
        self._plan_retirement()

    # -- the end ------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Shut every environment down, each within its budget."""
        self._is_closing = True
        for timer in (self._patience, self._retirement):
            if timer is not None:
                timer.cancel()
        while self._waiting:
            ticket = self._waiting.popleft()
            self._release()
            ticket.fail(ServiceException(_CLOSED_TEXT))
        if self._tasks:
            opening = [task for task in self._tasks if not task.done()]
            if opening:
                await asyncio.wait(opening, timeout=5)
        await asyncio.gather(*(environment.shut_down() for environment in tuple(self.environments)))

    async def kill(self) -> None:
        """End every environment at once; their invocations stay unanswered."""
        self._is_closing = self._is_killed = True
        for timer in (self._patience, self._retirement):
            if timer is not None:
                timer.cancel()
        await asyncio.gather(*(environment.kill() for environment in tuple(self.environments)))

    def _spawn(self, coroutine: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine)  # type: ignore[arg-type]  # coroutines of None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
