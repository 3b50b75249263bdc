"""The variables that Lambda defines for a runtime, typed."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, MutableMapping, Optional


class _Text:
    """A variable's value, or None."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def __get__(self, environment: DefaultEnvironment, owner: object = None) -> Optional[str]:
        return environment.get(self._variable)


class _Number:
    """A variable's value as a number; None when it is absent or no number."""

    def __init__(self, variable: str) -> None:
        self._variable = variable

    def __get__(self, environment: DefaultEnvironment, owner: object = None) -> Optional[int]:
        try:
            return int(environment.get(self._variable) or "")
        except ValueError:
            return None


class DefaultEnvironment:
    """Typed getters over a copy of the variables, taken once when the runtime is built.

    Give it a mapping to get a test double: nothing is then read from, or written to, the process.
    """

    handler = _Text("_HANDLER")
    region = _Text("AWS_REGION")
    default_region = _Text("AWS_DEFAULT_REGION")
    execution_env = _Text("AWS_EXECUTION_ENV")
    function_name = _Text("AWS_LAMBDA_FUNCTION_NAME")
    function_version = _Text("AWS_LAMBDA_FUNCTION_VERSION")
    function_memory_size = _Number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    initialization_type = _Text("AWS_LAMBDA_INITIALIZATION_TYPE")
    log_group_name = _Text("AWS_LAMBDA_LOG_GROUP_NAME")
    log_stream_name = _Text("AWS_LAMBDA_LOG_STREAM_NAME")
    log_format = _Text("AWS_LAMBDA_LOG_FORMAT")
    log_level = _Text("AWS_LAMBDA_LOG_LEVEL")
    max_concurrency = _Number("AWS_LAMBDA_MAX_CONCURRENCY")
    runtime_api = _Text("AWS_LAMBDA_RUNTIME_API")
    metadata_api = _Text("AWS_LAMBDA_METADATA_API")
    metadata_token = _Text("AWS_LAMBDA_METADATA_TOKEN")
    access_key = _Text("AWS_ACCESS_KEY")
    access_key_id = _Text("AWS_ACCESS_KEY_ID")
    secret_access_key = _Text("AWS_SECRET_ACCESS_KEY")
    session_token = _Text("AWS_SESSION_TOKEN")
    container_credentials_full_uri = _Text("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    container_authorization_token = _Text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    xray_context_missing = _Text("AWS_XRAY_CONTEXT_MISSING")
    xray_daemon_address = _Text("AWS_XRAY_DAEMON_ADDRESS")
    task_root = _Text("LAMBDA_TASK_ROOT")
    runtime_dir = _Text("LAMBDA_RUNTIME_DIR")
    lang = _Text("LANG")
    path = _Text("PATH")
    ld_library_path = _Text("LD_LIBRARY_PATH")
    tz = _Text("TZ")
    trace_id = _Text("_X_AMZN_TRACE_ID")

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
