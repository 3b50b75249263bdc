"""What the machine must know of an environment, and the machine that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdabox.engine.provision import Provision
from lambdabox.engine.self_started import SelfStarted
from lambdabox.model.function import Function
from lambdabox.model.limits import INIT_LONG_SECONDS, INIT_SECONDS, SHUTDOWN_EXTERNAL_SECONDS
from lambdabox.protocol.machine import EnvironmentMachine, EnvironmentProfile

if TYPE_CHECKING:
    from lambdabox.protocol.json_logs import JsonLogs


def profile_of(
    provision: Provision,
    log_stream: str,
    *,
    freezes: bool,
    init_timeout: float | None,
    self_started: SelfStarted | None,
    sends_invocation_id: bool,
) -> EnvironmentProfile:
    """The profile of one environment of a function."""
    function = provision.function
    return EnvironmentProfile(
        function_name=function.name,
        function_version=function.version,
        memory_size=function.memory_size,
        timeout=function.timeout,
        initialization_type=function.initialization_type,
        instance_id=log_stream,
        external_extensions=(provision.extension_names if self_started is None else self_started.external_extensions or ()),
        freezes=freezes and not function.is_concurrent,  # with several invocations there is always somebody at work
        runtime_version=provision.runtime_version,
        runtime_version_arn=provision.runtime_version_arn,
        init_timeout=_init_limit(function) if init_timeout is None else init_timeout,
        self_started=self_started is not None,
        external_by_default=self_started is not None and self_started.external_extensions is None,
        extension_ready_timeout=None if self_started is None else self_started.extension_ready_timeout,
        shutdown_timeout=SHUTDOWN_EXTERNAL_SECONDS if self_started is None else self_started.shutdown_timeout,
        max_concurrency=function.max_concurrency if function.is_concurrent else 1,
        sends_invocation_id=sends_invocation_id,
    )


def machine_of(profile: EnvironmentProfile) -> EnvironmentMachine:
    """The machine for a profile."""
    if profile.max_concurrency == 1:
        return EnvironmentMachine(profile)
    from lambdabox.protocol.concurrent_machine import machine_for  # only such a function needs it

    return machine_for(profile)


def json_logs_of(function: Function) -> JsonLogs | None:
    """What the JSON log format needs; None for Text."""
    if function.log_format != "JSON":
        return None
    from lambdabox.protocol.json_logs import JsonLogs  # only a function with that format needs it

    return JsonLogs(function)


def _init_limit(function: Function) -> float:
    """How long Init may take: what is made ahead of time has more of it."""
    return INIT_SECONDS if function.initialization_type == "on-demand" else max(INIT_LONG_SECONDS, function.timeout)
