"""The context object of a handler, for calling the handler in the test's own process."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lambdabox.engine.ids import new_request_id
from lambdabox.model.function import DEFAULT_ACCOUNT_ID, DEFAULT_REGION
from lambdabox.runtimes.catalog import runtime_library
from lambdabox.testing.clock import ManualClock

_PRIVATE = "_lambdabox_runtime"  # the name the Python bootstrap gives it too: a user's own copy stays what it is


def _library(name: str) -> ModuleType:
    """A module of the runtime library that the Python bootstrap runs on."""
    folder = runtime_library()
    if _PRIVATE not in sys.modules:
        spec = importlib.util.spec_from_file_location(_PRIVATE, folder / "__init__.py", submodule_search_locations=[str(folder)])
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[_PRIVATE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return importlib.import_module(f"{_PRIVATE}.{name}")


_context = _library("context")

if TYPE_CHECKING:

    class LambdaContext:
        """What the Python bootstrap hands to a handler."""

        aws_request_id: str
        function_name: str
        function_version: str
        invoked_function_arn: str
        memory_limit_in_mb: str
        log_group_name: str
        log_stream_name: str
        tenant_id: str | None
        identity: Any
        client_context: Any

        def get_remaining_time_in_millis(self) -> int: ...

        def log(self, msg: object) -> None: ...

        def w3c(self) -> dict[str, str]: ...

else:
    LambdaContext = _context.LambdaContext


class FakeLambdaContext(LambdaContext):
    """A context with defaults, of the very class that handlers get on lambdabox, whose time passes when the test says so.

    Every option is an attribute of the context. `timeout` is in seconds; `clock` is a ManualClock, one of its own by default.
    `client_context` and `identity` are dicts as AWS sends them. `log_lines` has what the handler gave to `context.log`. Further
    keyword arguments become further attributes.
    """

    def __init__(
        self,
        *,
        function_name: str = "test-function",
        function_version: str = "$LATEST",
        memory_limit_in_mb: int | str = 128,
        timeout: float = 3.0,
        aws_request_id: str | None = None,
        invoked_function_arn: str | None = None,
        log_group_name: str | None = None,
        log_stream_name: str = "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        tenant_id: str | None = None,
        identity: Mapping[str, str] | None = None,
        client_context: Mapping[str, Any] | None = None,
        clock: ManualClock | None = None,
        **more: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.log_lines: list[str] = []
        given = dict(client_context or {})
        w3c = given.pop("w3c", None)
        client = None
        if client_context is not None:
            client = _context.ClientContext(given)
            client.client = _context.Client(given["client"]) if isinstance(given.get("client"), dict) else None
        who = identity or {}
        self.__dict__.update(
            {
                "function_name": function_name,
                "function_version": function_version,
                "memory_limit_in_mb": str(memory_limit_in_mb),
                "aws_request_id": aws_request_id or new_request_id(),
                "invoked_function_arn": invoked_function_arn
                or f"arn:aws:lambda:{DEFAULT_REGION}:{DEFAULT_ACCOUNT_ID}:function:{function_name}",
                "log_group_name": log_group_name or f"/aws/lambda/{function_name}",
                "log_stream_name": log_stream_name,
                "tenant_id": tenant_id,
                "client_context": client,
                "identity": _context.CognitoIdentity(
                    {
                        "cognito_identity_id": who.get("cognitoIdentityId"),
                        "cognito_identity_pool_id": who.get("cognitoIdentityPoolId"),
                    }
                ),
                "_deadline_ms": round((self.clock.now().wall + timeout) * 1000),
                "_w3c_fields": w3c if isinstance(w3c, dict) else {},
                "_write_log": self.log_lines.append,
                **more,
            }
        )

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the deadline by the manual clock, never below 0."""
        deadline: int = self.__dict__["_deadline_ms"]
        return max(deadline - round(self.clock.now().wall * 1000), 0)
