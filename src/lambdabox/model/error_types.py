"""The `errorType` strings that the platform itself writes (contract 4.6 and 1.10)."""

from __future__ import annotations

from enum import StrEnum


class ErrorType(StrEnum):
    """Platform error types, spelled as on the wire."""

    RUNTIME_EXIT_ERROR = "Runtime.ExitError"
    RUNTIME_OUT_OF_MEMORY = "Runtime.OutOfMemory"
    RUNTIME_INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"
    RUNTIME_INVALID_WORKING_DIR = "Runtime.InvalidWorkingDir"
    RUNTIME_TRUNCATED_RESPONSE = "Runtime.TruncatedResponse"
    RUNTIME_INVALID_RESPONSE_MODE_HEADER = "Runtime.InvalidResponseModeHeader"
    RUNTIME_UNKNOWN = "Runtime.Unknown"
    RUNTIME_AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"
    RUNTIME_RESTORE_TIMEOUT = "Runtime.RestoreHookUserTimeout"
    RUNTIME_TOO_MANY_IDLE_RUNTIMES = "Runtime.TooManyIdleRuntimes"
    FUNCTION_RESPONSE_SIZE_TOO_LARGE = "Function.ResponseSizeTooLarge"
    FUNCTION_UNKNOWN = "Function.Unknown"
    EXTENSION_INIT_ERROR = "Extension.InitError"
    EXTENSION_EXIT_ERROR = "Extension.ExitError"
    EXTENSION_CRASH = "Extension.Crash"
    EXTENSION_LAUNCH_ERROR = "Extension.LaunchError"
    SANDBOX_TIMEDOUT = "Sandbox.Timedout"
    SANDBOX_FAILURE = "Sandbox.Failure"
