"""The context object that a handler gets as its second argument."""

from __future__ import annotations

from time import time

from .errors import RuntimeFaultError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Optional, Tuple

    from .invocation import Invocation
    from .parts import Environment

W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class _Record:
    """An object whose fields are its slots, each None until it is known."""

    __slots__: Tuple[str, ...] = ()

    def __init__(self, values: Dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, values.get(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{_fields(self, self.__slots__)}])"


class CognitoIdentity(_Record):
    """Who called, when a mobile SDK did with an Amazon Cognito identity; both fields are None otherwise."""

    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")

    cognito_identity_id: Optional[str]
    cognito_identity_pool_id: Optional[str]


class Client(_Record):
    """The application that called, as a mobile SDK describes it."""

    __slots__ = ("app_package_name", "app_title", "app_version_code", "app_version_name", "installation_id")

    installation_id: Optional[str]
    app_title: Optional[str]
    app_version_name: Optional[str]
    app_version_code: Optional[str]
    app_package_name: Optional[str]


class ClientContext(_Record):
    """What the caller put into the client context: `custom` and `env` as given, `client` as an object."""

    __slots__ = ("client", "custom", "env")

    custom: Any
    env: Any
    client: Optional[Client]


class LambdaContext:
    """What a handler can know about its invocation, its function and its environment, in AWS's names."""

    aws_request_id: str
    function_name: Optional[str]
    function_version: Optional[str]
    invoked_function_arn: Optional[str]
    memory_limit_in_mb: Optional[str]
    log_group_name: Optional[str]
    log_stream_name: Optional[str]
    tenant_id: Optional[str]
    identity: CognitoIdentity
    client_context: Optional[ClientContext]
    _deadline_ms: Optional[int]
    _w3c_fields: Dict[str, str]
    _write_log: Callable[[str], object]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends this invocation, never below 0."""
        remaining = (self._deadline_ms or 0) - int(time() * 1000)
        return max(remaining, 0)

    def w3c(self) -> Dict[str, str]:
        """The W3C trace context of the caller: any of traceparent, tracestate and baggage."""
        return dict(self._w3c_fields)

    def log(self, msg: object) -> None:
        """Write text to the log as it is, without a line end."""
        self._write_log(str(msg))

    def __repr__(self) -> str:
        return f"LambdaContext([{_fields(self, _SHOWN)}])"


_SHOWN = (
    "aws_request_id",
    "log_group_name",
    "log_stream_name",
    "function_name",
    "memory_limit_in_mb",
    "function_version",
    "invoked_function_arn",
    "client_context",
    "identity",
    "tenant_id",
)


class DefaultContextFactory:
    """Makes the context of each invocation from its headers and the environment's variables."""

    def __init__(self, environment: Environment, write_log: Optional[Callable[[str], object]] = None) -> None:
        memory = environment.function_memory_size
        self._constant: Dict[str, Any] = {
            "function_name": environment.function_name,
            "function_version": environment.function_version,
            "memory_limit_in_mb": None if memory is None else str(memory),
            "log_group_name": environment.log_group_name,
            "log_stream_name": environment.log_stream_name,
            "_write_log": write_log or _write_stdout,
        }

    def create(self, invocation: Invocation) -> LambdaContext:
        """The context of one invocation; a client context or identity that is not JSON is a function error."""
        client_context = None
        w3c_fields = _NO_FIELDS
        if invocation.client_context:
            values = _object(invocation.client_context, "Client Context")
            if values is not None:
                w3c_fields = _take_w3c(values)
                client_context = ClientContext(values)
                client = values.get("client")
                client_context.client = Client(client) if isinstance(client, dict) else None
        identity = _NO_FIELDS
        if invocation.cognito_identity:
            ids = _object(invocation.cognito_identity, "Cognito Identity") or _NO_FIELDS
            identity = {
                "cognito_identity_id": ids.get("cognitoIdentityId"),
                "cognito_identity_pool_id": ids.get("cognitoIdentityPoolId"),
            }
        context = LambdaContext()
        context.__dict__.update(
            self._constant,
            aws_request_id=invocation.request_id,
            invoked_function_arn=invocation.invoked_function_arn,
            tenant_id=invocation.tenant_id,
            identity=CognitoIdentity(identity),
            client_context=client_context,
            _deadline_ms=invocation.deadline_ms,
            _w3c_fields=w3c_fields,
        )
        return context


_NO_FIELDS: Dict[str, Any] = {}


def _object(text: str, name: str) -> Optional[Dict[str, Any]]:
    import json

    try:
        value = json.loads(text)
        problem = f"an object was expected, not {type(value).__name__}"
    except (ValueError, RecursionError) as error:
        value = 0
        problem = str(error)
    if value is None or isinstance(value, dict):
        return value
    raise RuntimeFaultError("Runtime.LambdaContextUnmarshalError", f"Unable to parse {name} JSON: {problem}")


def _take_w3c(client_context: Dict[str, Any]) -> Dict[str, str]:
    fields = client_context.pop("w3c", None)
    if not isinstance(fields, dict):
        return _NO_FIELDS
    return {name: fields[name] for name in W3C_FIELDS if isinstance(fields.get(name), str)}


def _fields(owner: object, names: Any) -> str:
    return ",".join(f"{name}={getattr(owner, name)}" for name in names)


def _write_stdout(text: str) -> None:
    import sys

    sys.stdout.write(text)
