"""A runtime for AWS Lambda in Python, and the parts to build your own.

    from lambdabox_runtime import Runtime

    def initialize():
        greeting = "ECHO"                       # once, before the first event
        return lambda event, context: {"msg": f"{greeting}: {event}", "req_id": context.aws_request_id}

    Runtime(initialize).run()

Every name below is imported when it is first used: a runtime process starts with what it needs and nothing else.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Client, ClientContext, CognitoIdentity, DefaultContextFactory, LambdaContext
    from .environment import DefaultEnvironment
    from .error_reporter import DefaultErrorReporter, ErrorDocument
    from .errors import ConfigurationError, FunctionError, LambdaboxRuntimeError, RuntimeApiError, TransportError
    from .invocation import Invocation
    from .parts import ContextFactory, Environment, ErrorReporter, Handler, RuntimeApi, Serializer, Transport
    from .runtime import LambdaHandler, Runtime, lambda_handler
    from .runtime_api import DefaultRuntimeApi
    from .serializer import JsonSerializer, TextSerializer
    from .transport import HttpTransport, Response

__version__ = "0.1.0"

_HOMES = {
    "Client": "context",
    "ClientContext": "context",
    "CognitoIdentity": "context",
    "ConfigurationError": "errors",
    "ContextFactory": "parts",
    "DefaultContextFactory": "context",
    "DefaultEnvironment": "environment",
    "DefaultErrorReporter": "error_reporter",
    "DefaultRuntimeApi": "runtime_api",
    "Environment": "parts",
    "ErrorDocument": "error_reporter",
    "ErrorReporter": "parts",
    "FunctionError": "errors",
    "Handler": "parts",
    "HttpTransport": "transport",
    "Invocation": "invocation",
    "JsonSerializer": "serializer",
    "LambdaContext": "context",
    "LambdaHandler": "runtime",
    "LambdaboxRuntimeError": "errors",
    "Response": "transport",
    "Runtime": "runtime",
    "RuntimeApi": "parts",
    "RuntimeApiError": "errors",
    "Serializer": "parts",
    "TextSerializer": "serializer",
    "Transport": "parts",
    "TransportError": "errors",
    "lambda_handler": "runtime",
}

__all__ = [
    "Client",
    "ClientContext",
    "CognitoIdentity",
    "ConfigurationError",
    "ContextFactory",
    "DefaultContextFactory",
    "DefaultEnvironment",
    "DefaultErrorReporter",
    "DefaultRuntimeApi",
    "Environment",
    "ErrorDocument",
    "ErrorReporter",
    "FunctionError",
    "Handler",
    "HttpTransport",
    "Invocation",
    "JsonSerializer",
    "LambdaContext",
    "LambdaHandler",
    "LambdaboxRuntimeError",
    "Response",
    "Runtime",
    "RuntimeApi",
    "RuntimeApiError",
    "Serializer",
    "TextSerializer",
    "Transport",
    "TransportError",
    "lambda_handler",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
