"""The variables that a runtime and an extension see (contract 6.1-6.3, 2.8).

Parity: `LAMBDA_TASK_ROOT` is the real code folder. `LD_LIBRARY_PATH`, `PATH` and the languages' search paths name folders
that exist here; PATH keeps the host's own folders at its end, so that the tools of this machine are found. `IS_LOCAL` and
`AWS_SAM_LOCAL` are set. X-Ray variables are set although no daemon listens. With SnapStart,
credentials are in the variables, too: the container-credentials endpoint is not served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lambdabox.model.function import Function
from lambdabox.model.runtimes import RUNTIMES

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_LEVEL",
    }
)
"""Variables that a customer may not set (contract 6.1)."""

SECRET_NAME = re.compile(r"(?i)(secret|token|passw|pwd|credential|api_?key|private|auth)")

# What of the host's environment a function sees without asking: nothing that changes behaviour, only what programs
# need to run at all on this machine. Documented in docs/environment.md.
HOST_VARIABLES = ("SYSTEMROOT",)


def size_of(environment: Mapping[str, str]) -> int:
    """What counts towards the 4 KB limit: all keys and values together, in bytes."""
    # Undecodable bytes of a shell's variable are one character each, and one byte each.
    return sum(len(text.encode("utf-8", "surrogateescape")) for pair in environment.items() for text in pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the machine adds to the function's configuration. All paths are absolute.

    `credentials` are the caller's AWS variables that are present; `language` the additions of the runtime's recipe;
    `search_path` the folders of PATH and `library_path` those of LD_LIBRARY_PATH, existing ones only.
    """

    runtime_api: str
    task_root: str
    tmp: str
    log_stream_name: str
    search_path: str
    library_path: str = ""
    language_setting: str = "en_US.UTF-8"
    initialization_type: str = "on-demand"
    credentials: Mapping[str, str] = field(default_factory=dict)
    language: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)


def platform_variables(function: Function, here: Surroundings) -> dict[str, str]:
    """What runtime and extensions both see of the platform."""
    out = {
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
        "AWS_LAMBDA_RUNTIME_API": here.runtime_api,
        "AWS_LAMBDA_INITIALIZATION_TYPE": here.initialization_type,
        "TZ": function.environment.get("TZ") or here.defaults.get("TZ") or ":UTC",
    }
    out.update(here.credentials)
    if "AWS_ACCESS_KEY_ID" in here.credentials:
        out["AWS_ACCESS_KEY"] = here.credentials["AWS_ACCESS_KEY_ID"]
    return out


def _basics(here: Surroundings) -> dict[str, str]:
    """Host-dependent presets: what a process needs on this machine, all of it the customer's to override."""
    out = dict(here.host)
    out.update(
        {
            "LANG": here.language_setting,
            "PATH": here.search_path,
            "TMPDIR": here.tmp,
            "IS_LOCAL": "true",
            "AWS_SAM_LOCAL": "true",
        }
    )
    if here.library_path:
        out["LD_LIBRARY_PATH"] = here.library_path
    out.update(here.defaults)
    return out


def _extend_paths(out: dict[str, str], customer: Mapping[str, str], here: Surroundings) -> None:
    """A customer's value extends the preset one on this machine: without the host's folders nothing would be found."""
    for name, preset in (("PATH", here.search_path), ("LD_LIBRARY_PATH", here.library_path)):
        if preset and customer.get(name):
            out[name] = f"{customer[name]}:{preset}"


def runtime_environment(function: Function, here: Surroundings) -> dict[str, str]:
    """Every variable of the runtime process."""
    out = _basics(here)
    out.update({"AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR", "AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000"})
    out.update(here.language)
    out.update(function.environment)
    _extend_paths(out, function.environment, here)
    out.update(platform_variables(function, here))
    out["_HANDLER"] = function.handler
    out["LAMBDA_TASK_ROOT"] = here.task_root
    out["LAMBDA_RUNTIME_DIR"] = here.language.get("LAMBDA_RUNTIME_DIR", "/var/runtime")
    if not function.snap_start:  # a snapshot serves many log streams
        out["AWS_LAMBDA_LOG_GROUP_NAME"] = function.log_group_name
        out["AWS_LAMBDA_LOG_STREAM_NAME"] = here.log_stream_name
    out["AWS_LAMBDA_LOG_FORMAT"] = function.log_format
    if function.log_format == "JSON":
        out["AWS_LAMBDA_LOG_LEVEL"] = function.application_log_level or "INFO"
    if function.is_concurrent:
        out["AWS_LAMBDA_MAX_CONCURRENCY"] = str(function.max_concurrency)
    identifier = RUNTIMES.get(function.runtime)
    if identifier is None or identifier.language != "provided":
        out["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{function.runtime}"
    return out


def extension_environment(function: Function, here: Surroundings) -> dict[str, str]:
    """Every variable of an external extension: no handler, no task root, no log group (contract 2.8)."""
    out = _basics(here)
    out.update({key: value for key, value in function.environment.items() if not key.startswith("_")})
    _extend_paths(out, function.environment, here)
    out.update(platform_variables(function, here))
    return out


def masked(environment: Mapping[str, str], *, platform: frozenset[str] = RESERVED) -> dict[str, str]:
    """The variables with every value that may be a secret hidden: all of the customer's and the credentials."""
    return {
        key: value if key in platform and key not in (*CREDENTIALS, "AWS_ACCESS_KEY") and not SECRET_NAME.search(key) else "***"
        for key, value in sorted(environment.items())
    }
