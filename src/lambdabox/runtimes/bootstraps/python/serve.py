"""Puts the parts together: the library's loop, with the handler's loader, AWS's rules for JSON, and the log of a managed runtime."""

from __future__ import annotations

import os
import sys

from _lambdabox_runtime.context import DefaultContextFactory
from _lambdabox_runtime.environment import DefaultEnvironment
from _lambdabox_runtime.errors import LambdaboxRuntimeError
from _lambdabox_runtime.runtime import Runtime
from _lambdabox_runtime.runtime_api import DefaultRuntimeApi
from _lambdabox_runtime.serializer import JsonSerializer
from _lambdabox_runtime.transport import HttpTransport

from . import streams
from .loader import load_handler, set_search_path
from .logs import Log
from .standard_library import StandardLibraryFirst

_UNHANDLED = (
    "LAMBDA_WARNING: Unhandled exception. The function's code most likely caused it while it was loaded. "
    "A new version of the runtime can change how code behaves too: the log line INIT_START names the version that was used."
)
_PREVIEW = (
    "LAMBDA_WARNING: {0} is a preview: it can change at any time, and functions in production should not depend on it. "
    "Set LAMBDA_DISABLE_PREVIEW_WARN to any value to silence this line."
)
_PREVIEWS = ("AWS_Lambda_python3.15",)


class ContextFactory(DefaultContextFactory):
    """Also tells the log which invocation its lines belong to."""

    def __init__(self, environment, log):
        super().__init__(environment, log.write)
        self._log = log

    def create(self, invocation):
        log = self._log
        log.request_id = invocation.request_id
        log.tenant_id = invocation.tenant_id
        context = super().create(invocation)
        wanted = invocation.headers.get("lambdabox-context")
        if wanted is not None:
            # What the user of `lambdabox invoke --context` wants the context to say; no such header exists on AWS.
            import json

            context.__dict__.update(json.loads(wanted))
        return context


class LazyErrorReporter:
    """The library's reporter with our log behind it, imported when the first error is."""

    sends_error_type = False

    def __init__(self, log, folders, ensure_ascii):
        self._log = log
        self._folders = folders
        self._ensure_ascii = ensure_ascii
        self._reporter = None

    def describe(self, error, request_id=""):
        return self._loaded().describe(error, request_id)

    def serialize(self, document):
        return self._loaded().serialize(document)

    def log(self, document):
        self._log.write_error(document)

    def note(self, problem):
        self._loaded().note(problem)

    def _loaded(self):
        if self._reporter is None:
            from _lambdabox_runtime.error_reporter import DefaultErrorReporter

            self._reporter = DefaultErrorReporter(ensure_ascii=self._ensure_ascii, own_folders=self._folders)
        return self._reporter


def main(bootstrap_folder, library_folder):
    handler = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("_HANDLER", "")
    for name in os.environ.pop("_LAMBDABOX_ALLOCATOR", "").split(","):
        os.environ.pop(name, None)
    layers = [folder for folder in os.environ.pop("_LAMBDABOX_LAYER_PATHS", "").split(os.pathsep) if folder]
    ensure_ascii = escapes(os.environ.get("AWS_EXECUTION_ENV", ""))
    streams.write_through()
    log = Log.from_environment(ensure_ascii)
    StandardLibraryFirst.install(log.set_up_logging)
    set_search_path(os.environ.get("LAMBDA_TASK_ROOT") or os.getcwd(), layers)

    def initialize():
        try:
            identifier = os.environ.get("AWS_EXECUTION_ENV", "")
            if identifier in _PREVIEWS and not os.environ.get("LAMBDA_DISABLE_PREVIEW_WARN"):
                log.warn(_PREVIEW.format(identifier))
            return load_handler(handler)
        except Exception:
            log.warn(_UNHANDLED)
            raise

    try:
        environment = DefaultEnvironment()
        runtime_api = None
        if os.environ.pop("_LAMBDABOX_POLLS_AHEAD", None):
            # Our own Runtime API said that it takes the next poll along with an answer.
            runtime_api = DefaultRuntimeApi(HttpTransport(environment.runtime_api), polls_ahead=True)
        Runtime(
            initialize,
            environment=environment,
            runtime_api=runtime_api,
            context_factory=ContextFactory(environment, log),
            serializer=JsonSerializer(ensure_ascii=ensure_ascii),
            error_reporter=LazyErrorReporter(log, (bootstrap_folder + os.sep, library_folder + os.sep), ensure_ascii),
        ).run()
    except LambdaboxRuntimeError as problem:
        try:
            sys.stderr.write("Runtime.LambdaRuntimeClientError: {0}\n".format(problem))
        except Exception:
            pass  # a handler closed or replaced stderr; the exit code still tells
        sys.exit(1)


def escapes(identifier):
    """Whether results escape what is not ASCII: the identifier decides, up to python3.11 and without one they do."""
    family, _, version = identifier.partition("AWS_Lambda_python")[2].partition(".")
    if not (family.isdigit() and version.isdigit()):
        return True
    return (int(family), int(version)) < (3, 12)
