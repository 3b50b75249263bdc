"""Which call a runtime or an extension may make when: the tables of contract 1.9 and 2.6.

A cell that is not in a table is refused with 403 InvalidStateTransition before anything moves. The state names are the
ones that AWS's error messages show.
"""

from __future__ import annotations

from enum import StrEnum


class RuntimeState(StrEnum):
    """Where the runtime stands."""

    STARTED = "Started"
    INIT_ERROR = "InitError"
    READY = "Ready"
    RUNNING = "Running"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    INVOCATION_RESPONSE = "InvocationResponse"
    INVOCATION_ERROR_RESPONSE = "InvocationErrorResponse"
    RESPONSE_SENT = "RuntimeResponseSentState"
    RESTORE_ERROR = "RuntimeRestoreErrorState"


class RuntimeCall(StrEnum):
    """A call of the runtime; the value is the state it asks for, as error messages name it."""

    NEXT = "Ready"
    RESPONSE = "InvocationResponse"
    ERROR = "InvocationErrorResponse"
    INIT_ERROR = "InitError"
    RESTORE_NEXT = "RestoreReady"
    RESTORE_ERROR = "RuntimeRestoreErrorState"


RUNTIME_TABLE: dict[RuntimeState, dict[RuntimeCall, RuntimeState]] = {
    RuntimeState.STARTED: {
        RuntimeCall.NEXT: RuntimeState.READY,
        RuntimeCall.INIT_ERROR: RuntimeState.INIT_ERROR,
        RuntimeCall.RESTORE_NEXT: RuntimeState.RESTORE_READY,
    },
    RuntimeState.INIT_ERROR: {},
    # A second poll joins the wait.
    RuntimeState.READY: {RuntimeCall.NEXT: RuntimeState.READY},
    RuntimeState.RUNNING: {
        # The same event again: what a runtime gets that lost its connection (contract 1.9).
        RuntimeCall.NEXT: RuntimeState.RUNNING,
        RuntimeCall.RESPONSE: RuntimeState.INVOCATION_RESPONSE,
        RuntimeCall.ERROR: RuntimeState.INVOCATION_ERROR_RESPONSE,
    },
    RuntimeState.INVOCATION_RESPONSE: {},
    RuntimeState.INVOCATION_ERROR_RESPONSE: {},
    RuntimeState.RESPONSE_SENT: {RuntimeCall.NEXT: RuntimeState.READY},
    RuntimeState.RESTORE_READY: {RuntimeCall.NEXT: RuntimeState.READY},
    RuntimeState.RESTORING: {
        RuntimeCall.NEXT: RuntimeState.READY,
        RuntimeCall.INIT_ERROR: RuntimeState.RESTORE_ERROR,
        RuntimeCall.RESTORE_ERROR: RuntimeState.RESTORE_ERROR,
    },
    RuntimeState.RESTORE_ERROR: {},
}


class ExtensionPhase(StrEnum):
    """Where an extension stands."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    SHUTDOWN_FAILED = "ShutdownFailed"
    EXITED = "Exited"
    LAUNCH_ERROR = "LaunchError"


class ExtensionCall(StrEnum):
    """A call of an extension; the value is the state it asks for."""

    REGISTER = "Registered"
    NEXT = "Ready"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"


EXTENSION_TABLE: dict[ExtensionPhase, dict[ExtensionCall, ExtensionPhase]] = {
    ExtensionPhase.STARTED: {ExtensionCall.REGISTER: ExtensionPhase.REGISTERED},
    ExtensionPhase.REGISTERED: {
        ExtensionCall.NEXT: ExtensionPhase.READY,
        ExtensionCall.INIT_ERROR: ExtensionPhase.INIT_ERROR,
        ExtensionCall.EXIT_ERROR: ExtensionPhase.EXIT_ERROR,
    },
    ExtensionPhase.READY: {
        # Joins the wait: what an extension gets that lost its connection.
        ExtensionCall.NEXT: ExtensionPhase.READY,
        ExtensionCall.EXIT_ERROR: ExtensionPhase.EXIT_ERROR,
    },
    ExtensionPhase.RUNNING: {
        ExtensionCall.NEXT: ExtensionPhase.READY,
        ExtensionCall.EXIT_ERROR: ExtensionPhase.EXIT_ERROR,
    },
    # Repeating the same report is a no-op.
    ExtensionPhase.INIT_ERROR: {ExtensionCall.INIT_ERROR: ExtensionPhase.INIT_ERROR},
    ExtensionPhase.EXIT_ERROR: {ExtensionCall.EXIT_ERROR: ExtensionPhase.EXIT_ERROR},
    ExtensionPhase.SHUTDOWN_FAILED: {},
    ExtensionPhase.EXITED: {},
    ExtensionPhase.LAUNCH_ERROR: {},
}


class Phase(StrEnum):
    """Where an environment stands."""

    CREATED = "created"
    INIT = "init"
    SNAPSHOT = "snapshot"  # Init is over, and what runs next is restored first
    RESTORE = "restore"
    IDLE = "idle"
    INVOKE = "invoke"
    RESETTING = "resetting"
    DORMANT = "dormant"  # reset: its processes are gone, the next invocation runs Init again
    SHUTTING_DOWN = "shutting down"
    CLOSED = "closed"


def transition_refused(current: str, wanted: str, who: str) -> str:
    """AWS's text for a call in the wrong state; `who` is `runtime` or `extension NAME`."""
    return f"State transition from {current} to {wanted} failed for {who}. Error: State transition is not allowed"
