"""The variables that Lambda defines for a runtime, typed."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, MutableMapping, Optional


def _text(variable: str) -> property:
    def read(self: DefaultEnvironment) -> Optional[str]:
        return self._variables.get(variable)

    read.__doc__ = f"`{variable}`, or None."
    return property(read)


def _number(variable: str) -> property:
    def read(self: DefaultEnvironment) -> Optional[int]:
        try:
            return int(self._variables[variable])
        except (KeyError, ValueError):
            return None

    read.__doc__ = f"`{variable}` as a number; None when it is absent or no number."
    return property(read)


class DefaultEnvironment:
    """Typed getters over a copy of the variables, taken once when the runtime is built.

    Give it a mapping to get a test double: nothing is then read from, or written to, the process.
    """

    handler = _text("_HANDLER")
    region = _text("AWS_REGION")
    default_region = _text("AWS_DEFAULT_REGION")
    execution_env = _text("AWS_EXECUTION_ENV")
    function_name = _text("AWS_LAMBDA_FUNCTION_NAME")
    function_version = _text("AWS_LAMBDA_FUNCTION_VERSION")
    function_memory_size = _number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    initialization_type = _text("AWS_LAMBDA_INITIALIZATION_TYPE")
    log_group_name = _text("AWS_LAMBDA_LOG_GROUP_NAME")
    log_stream_name = _text("AWS_LAMBDA_LOG_STREAM_NAME")
    log_format = _text("AWS_LAMBDA_LOG_FORMAT")
    log_level = _text("AWS_LAMBDA_LOG_LEVEL")
    max_concurrency = _number("AWS_LAMBDA_MAX_CONCURRENCY")
    runtime_api = _text("AWS_LAMBDA_RUNTIME_API")
    metadata_api = _text("AWS_LAMBDA_METADATA_API")
    metadata_token = _text("AWS_LAMBDA_METADATA_TOKEN")
    access_key = _text("AWS_ACCESS_KEY")
    access_key_id = _text("AWS_ACCESS_KEY_ID")
    secret_access_key = _text("AWS_SECRET_ACCESS_KEY")
    session_token = _text("AWS_SESSION_TOKEN")
    container_credentials_full_uri = _text("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    container_authorization_token = _text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    xray_context_missing = _text("AWS_XRAY_CONTEXT_MISSING")
    xray_daemon_address = _text("AWS_XRAY_DAEMON_ADDRESS")
    task_root = _text("LAMBDA_TASK_ROOT")
    runtime_dir = _text("LAMBDA_RUNTIME_DIR")
    lang = _text("LANG")
    path = _text("PATH")
    ld_library_path = _text("LD_LIBRARY_PATH")
    tz = _text("TZ")
    trace_id = _text("_X_AMZN_TRACE_ID")

    def __init__(self, variables: Optional[Mapping[str, str]] = None) -> None:
        self._process: Optional[MutableMapping[str, str]] = os.environ if variables is None else None
        self._variables = dict(os.environ if variables is None else variables)

    def get(self, name: str, default: Optional[str] = None) -> Optional[str]:
        """Any variable by name."""
        return self._variables.get(name, default)

    def set_trace_id(self, trace_id: Optional[str]) -> None:
        """Make the invocation's trace id the process's `_X_AMZN_TRACE_ID`, or remove the variable when there is none."""
        for variables in (self._variables, self._process):
            if variables is None:
                continue
            if trace_id is not None:
                variables["_X_AMZN_TRACE_ID"] = trace_id
            else:
                variables.pop("_X_AMZN_TRACE_ID", None)
