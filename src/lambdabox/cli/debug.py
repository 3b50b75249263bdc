"""What `--debug` tells before a function starts: interpreter, cache, sandbox command, environment."""

from __future__ import annotations

import os
import shlex
from argparse import Namespace

from lambdabox.cli.console import Console
from lambdabox.engine.provision import Machine, provision
from lambdabox.model.function import Function
from lambdabox.protocol.environment_variables import masked
from lambdabox.runtimes.interpreters import Interpreter, InterpreterCache


def explain(console: Console, function: Function, options: Namespace) -> None:
    """Tell what was chosen for a function and why; raises nothing that its start would not raise."""
    cache = InterpreterCache.of_user(os.environ)
    known_before = cache.file.read_bytes() if cache.file.is_file() else b""
    machine = Machine(environ=os.environ, interpreter=options.python, passes_credentials=not options.no_credentials)
    ready = provision(function, machine)
    say = console.debug
    place = "" if function.source is None else f" (from {function.source.file})"
    say(f"function: {function.key}, deployed as {function.name}{place}")
    say(f"runtime: {function.runtime}, handler {function.handler}, code {function.code}")
    say(f"timeout {function.timeout:g} s, memory {function.memory_size} MB, region {function.region}")
    launch = ready.launch
    if launch is None:
        assert ready.entrypoint_error is not None
        say(f"sandbox: nothing can be started: {ready.entrypoint_error.text}")
        return
    if launch.interpreter is None:
        say("interpreter: none, the function brings its own executable")
    else:
        found = launch.interpreter
        say(f"interpreter: {found.path} ({found.version_text}): {found.why}")
        say(f"cache: {_cache_line(found, cache, known_before)}")
    if ready.opt is not None:
        say(f"layers: merged at {ready.opt}")
    say(f"sandbox: process; command {shlex.join(launch.argv)}; in {launch.cwd}")
    variables = ready.runtime_variables(
        ready.surroundings(runtime_api="127.0.0.1:<its port>", tmp="<its scratch folder>", log_stream="<its log stream>")
    )
    for name, value in masked(variables).items():
        say(f"environment: {name}={value}")


def _cache_line(found: Interpreter, cache: InterpreterCache, known_before: bytes) -> str:
    """Whether the interpreter's version was in the cache."""
    real = os.fsencode(os.path.realpath(found.path))
    if real in known_before:
        return f"hit, the version of {found.path} was known in {cache.file}"
    if cache.file.is_file() and real in cache.file.read_bytes():
        return f"miss, {found.path} was asked for its version, now kept in {cache.file}"
    return "not needed, the interpreter's name or its environment tells its version"
