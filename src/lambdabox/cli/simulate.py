"""`lambdabox simulate`: an execution environment for a runtime or an extension that you start yourself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import threading
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from lambdabox.cli.arguments import CommandParser, number
from lambdabox.cli.console import BOLD, DIM, Console
from lambdabox.errors import EventError, LambdaboxError, UsageError, WaitTimeoutError
from lambdabox.model.error_types import ErrorType

if TYPE_CHECKING:
    from lambdabox.cli.sink import ConsoleSink
    from lambdabox.engine.invocation_state import InvocationState
    from lambdabox.simulator import Simulator

FINISHING_SECONDS = 5.0
"""How long the last invocation's runtime and extensions may take to ask for their next event before the end."""
EVENTS_AHEAD = 1000
"""How many lines of standard input may wait for the runtime."""

_ABOUT = """\
Serve the Runtime, Extensions, Telemetry and Logs APIs for a runtime or an extension that you start yourself, in any language, from your
shell, your IDE or your debugger.

Events come from --data, --path, standard input (one JSON text a line) or the Lambda API (--invoke-port), and wait until a runtime asks for
them. Standard output has the results, one line each; everything else goes to standard error. It ends when all events were answered, or,
when there were none, with Ctrl-C."""

_EXAMPLES = """\
examples:
  lambdabox simulate -d '{"name": "Ada"}'            one event; start your runtime in another terminal:
    AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001 python3 -m awslambdaric app.handler
  lambdabox simulate < events.jsonl                  one event a line
  lambdabox simulate --invoke-port 3001              curl -d '{}' http://127.0.0.1:3001/2015-03-31/functions/function/invocations
  lambdabox simulate --no-timeout -d '{}'            for a debugger: a runtime that connects again gets the same event
  lambdabox simulate --telemetry telemetry.jsonl     what a Telemetry API subscriber would see

Ctrl-C or SIGTERM ends it with a Shutdown phase. A second one ends at once.
exit codes: 0 all answered, 1 a function error, 130 after Ctrl-C, 2 usage, 3 a port is taken."""


def parser() -> CommandParser:
    """The options of the command."""
    out = CommandParser("simulate", usage="[OPTIONS]", about=_ABOUT, examples=_EXAMPLES)
    out.group("events")
    out.option(
        "-d",
        "--data",
        metavar="DATA",
        action="append",
        default=[],
        help="an event: JSON text, @FILE, or - for all of stdin; repeatable",
    )
    out.option("-p", "--path", metavar="FILE", action="append", default=[], help="an event from a file; repeatable")
    out.option("--raw", action="store_true", help="send texts as JSON strings")
    out.option("--client-context", metavar="DATA", help="the client context of every event: a JSON object, or @FILE")
    out.option("--invoke-port", metavar="PORT", help="serve the Lambda API's Invoke there too (0 picks a free port)")
    out.group("function")
    out.option("--function-name", metavar="NAME", default="test-function", help="the function's name (default test-function)")
    out.option("--handler", metavar="HANDLER", help="what _HANDLER would be: extensions are told")
    out.option("-r", "--region", metavar="NAME", default="us-east-1", help="the region (default us-east-1)")
    out.option("--memory", metavar="MB", default="128", help="memory size that is told (default 128)")
    out.option("--timeout", metavar="SECONDS", default="3", help="timeout of an invocation, up to 900 (default 3)")
    out.option("--no-timeout", action="store_true", help="no timeout, and no limit for Init: for debuggers")
    out.group("environment")
    out.option("--port", metavar="PORT", default="9001", help="port of the APIs (default 9001; 0 picks a free one)")
    out.option("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    out.option("--freeze", action="store_true", help="stop the processes that are connected between invocations, as AWS does")
    out.option(
        "--external-extension",
        metavar="NAME",
        action="append",
        default=None,
        help="only extensions of these names are external and may have SHUTDOWN, as on AWS; repeatable",
    )
    out.group("output")
    out.option("--telemetry", metavar="FILE", help="append telemetry to this file as JSON lines; - for standard error")
    out.option(
        "--output", metavar="FORMAT", choices=("text", "json"), default="text", help="text (default): payloads; json: envelopes"
    )
    out.option("-q", "--quiet", action="store_true", help="no START/END/REPORT: warnings and errors only")
    out.option("-v", "--verbose", "--debug", action="store_true", dest="debug", help="tell of extensions and phases")
    out.option("-h", "--help", action="store_true", help="show this text")
    return out


def run(argv: Sequence[str], console: Console) -> int:
    """Run the command and return its exit code."""
    options = parser().parse(argv, lambda text: console.write(text.encode()))
    if options is None:
        return 0
    port = number(options.port, "--port", least=0, most=65535, unit="", whole=True)
    invoke_port = number(options.invoke_port, "--invoke-port", least=0, most=65535, unit="", whole=True)
    memory = number(options.memory, "--memory", least=128, most=10240, unit="MB", whole=True)
    timeout = number(options.timeout, "--timeout", least=0.001, most=900, unit="seconds")
    assert port is not None
    assert memory is not None
    assert timeout is not None
    from lambdabox.cli.invoke import _client_context
    from lambdabox.service import new_event_loop
    from lambdabox.simulator import FreezeMode, Simulator

    events = _events(options)
    client_context = _client_context(options.client_context, Path.cwd())
    if options.freeze and not sys.platform.startswith("linux"):
        raise UsageError("--freeze finds the connected processes in /proc, which this system does not have")

    def make(sink: ConsoleSink) -> Simulator:
        return Simulator(
            function_name=options.function_name,
            handler=options.handler,
            memory_size=int(memory),
            timeout=float("inf") if options.no_timeout else timeout,
            init_timeout=float("inf") if options.no_timeout else 10.0,
            region=options.region,
            host=options.host,
            port=int(port),
            external_extensions=options.external_extension,
            freeze_mode=FreezeMode.ENABLED if options.freeze else FreezeMode.DISABLED,
            sinks=() if options.quiet else (sink,),
        )

    simulation = _Simulation(options, console, make, events, client_context, None if invoke_port is None else int(invoke_port))
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(simulation.run())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _events(options: Namespace) -> list[bytes]:
    """The events that options give, in their order: --data first."""
    from lambdabox.cli.invoke import _node, _stdin
    from lambdabox.config.events import load_event

    folder = Path.cwd()
    given = [(text, None) for text in options.data] + [(None, path) for path in options.path]
    return [load_event(data, path, _stdin(), options.raw, folder, _node) for data, path in given]


class _Simulation:
    """One run of the command."""

    def __init__(
        self,
        options: Namespace,
        console: Console,
        make: Any,
        events: list[bytes],
        client_context: dict[str, Any] | None,
        invoke_port: int | None,
    ) -> None:
        self._options = options
        self._console = console
        self._make = make
        self._events = events
        self._client_context = client_context
        self._invoke_port = invoke_port
        self._code = 0
        self._given = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._shown: set[str] = set()
        self._is_telemetry_lost = False
        self._lines = threading.Semaphore(EVENTS_AHEAD)

    async def run(self) -> int:
        from lambdabox.cli.interruption import Interruption
        from lambdabox.cli.sink import ConsoleSink

        console, options = self._console, self._options
        sink = ConsoleSink(console)
        simulator: Simulator = self._make(sink)
        with Interruption(console, self._stopped.set, simulator.shutdown) as interruption, self._telemetry_file() as telemetry:
            await simulator.start()
            try:
                endpoint = None
                if self._invoke_port is not None:
                    endpoint = await simulator.listen(options.host, self._invoke_port)
                self._announce(simulator, endpoint)
                self._spawn(self._watch(simulator, telemetry))
                if options.freeze:
                    self._spawn(self._freeze_peers(simulator))
                work = asyncio.create_task(self._work(simulator))
                stopping = asyncio.create_task(self._stopped.wait())
                await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    stopping.cancel()
                    work.result()
                else:
                    work.cancel()
                    console.note("shutting down; once more ends at once")
            finally:
                await self._close(simulator, telemetry)
                sink.end()
        if interruption.number is not None:
            return interruption.code if interruption.number == signal.SIGINT else 0
        return self._code

    async def _close(self, simulator: Simulator, telemetry: IO[str] | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        waiting = [state for state in simulator.invocation_states().values() if not state.is_complete]
        await simulator.graceful_shutdown()
        self._write_telemetry(simulator, telemetry)
        for state in waiting:
            if state.error_type == ErrorType.SANDBOX_FAILURE:
                self._shown.add(state.request_id)
                self._console.warning(f"invocation {state.request_id} was not answered")
        self._show_results(simulator)

    def _spawn(self, coroutine: Any) -> None:
        self._tasks.add(asyncio.create_task(coroutine))

    # -- events and results -------------------------------------------------------------------------------------------

    async def _work(self, simulator: Simulator) -> None:
        """Put in what there is; return when all of it is answered, or never when nothing was given that has an end."""
        if self._events:
            for payload in self._events:
                await self._enqueue(simulator, payload)
        elif self._invoke_port is None:
            await self._read_lines(simulator)
        if not self._given or self._invoke_port is not None:
            await asyncio.Event().wait()

        def every(fact: str) -> bool:
            return all(getattr(state, fact) for state in simulator.invocation_states().values())

        await simulator.wait_for(lambda: every("is_complete"), None)
        with contextlib.suppress(WaitTimeoutError):
            await simulator.wait_for(lambda: every("is_finished"), FINISHING_SECONDS)
        self._show_results(simulator)

    async def _enqueue(self, simulator: Simulator, payload: bytes) -> None:
        self._given += 1
        await simulator.enqueue_payload(payload, client_context=self._client_context)

    async def _read_lines(self, simulator: Simulator) -> None:
        """Events from standard input, a line each, until it ends. A thread reads: nothing else waits for every kind of input."""
        if sys.stdin is None:
            return
        if sys.stdin.isatty():
            self._console.note("Type an event, JSON on one line, and press Enter; Ctrl-D ends the events.")
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()

        def read() -> None:
            with contextlib.suppress(OSError, ValueError, RuntimeError):  # closed, or our loop is
                for line in sys.stdin.buffer:
                    self._lines.acquire()
                    loop.call_soon_threadsafe(lines.put_nowait, line)
                loop.call_soon_threadsafe(lines.put_nowait, None)

        threading.Thread(target=read, name="stdin", daemon=True).start()
        count = 0
        while (line := await lines.get()) is not None:
            count += 1
            if not line.strip():
                self._lines.release()
                continue
            try:
                payload = _judged(line.strip(), f"line {count} of standard input", is_raw=self._options.raw)
                await self._enqueue(simulator, payload)
            except LambdaboxError as error:
                self._code = 2
                self._lines.release()
                self._console.error(error.message, error.hint)

    async def _watch(self, simulator: Simulator, telemetry: IO[str] | None) -> None:
        """Print results as they come, and telemetry."""
        seen: set[str] = set()
        while True:
            await simulator.wait_for(lambda: simulator.telemetry_events, None)
            self._write_telemetry(simulator, telemetry)
            self._show_results(simulator)
            if self._options.debug:
                for extension in simulator.registered_extensions:
                    if extension.identifier not in seen:
                        seen.add(extension.identifier)
                        self._console.debug(
                            f"extension {extension.name} registered for {', '.join(extension.events) or 'nothing'}"
                        )

    def _show_results(self, simulator: Simulator) -> None:
        """Those that are new; they are answered in the order in which they came."""
        for request_id, state in simulator.invocation_states().items():
            if not state.is_complete:
                break
            if request_id not in self._shown:
                self._shown.add(request_id)
                self._lines.release()
                self._show(state)
            if state.is_finished:
                self._shown.discard(request_id)
                simulator.forget(request_id)

    def _show(self, state: InvocationState) -> None:
        assert state.result is not None
        if state.result.is_error:
            self._code = max(self._code, 1)
        if self._options.output == "json":
            data = json.dumps(state.result.envelope(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        else:
            data = _one_line(state.response or b"")
        self._console.write(data + b"\n")

    # -- telemetry, freezing ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _telemetry_file(self) -> Any:
        name = self._options.telemetry
        if name is None or name == "-":
            yield None
            return
        try:
            file = open(name, "a", encoding="utf-8")  # noqa: SIM115 - closed below
        except OSError as error:
            raise UsageError(f"--telemetry {name}: {error.strerror}") from error
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):  # what could not be written was told
                file.close()

    def _write_telemetry(self, simulator: Simulator, file: IO[str] | None) -> None:
        events = simulator.telemetry_events
        simulator.clear_telemetry_events()
        if self._options.telemetry is None or not events:
            return
        text = "".join(json.dumps(event.as_dict(), ensure_ascii=False, separators=(",", ":")) + "\n" for event in events)
        if file is None:
            self._console.log(text.encode("utf-8", "backslashreplace"))
        elif not self._is_telemetry_lost:
            try:
                file.write(text)
                file.flush()
            except OSError as error:  # results go on
                self._is_telemetry_lost = True
                self._code = max(self._code, 3)
                self._console.error(f"--telemetry {self._options.telemetry}: {error.strerror}; what follows is not written")

    async def _freeze_peers(self, simulator: Simulator) -> None:
        """Have whoever is connected frozen with the environment."""
        from lambdabox.sandbox.peers import connected_processes
        from lambdabox.simulator import Phase

        port = int(simulator.runtime_api.rpartition(":")[2])
        sockets: dict[int, int] = {}
        registered: set[int] = set()
        while True:
            await simulator.wait_for_phase(Phase.IDLE, None)
            for pid in connected_processes(port, known=sockets) - registered:
                registered.add(pid)
                try:
                    simulator.register_pid_for_freeze(pid)
                except UsageError as error:
                    self._console.warning(error.message)
                else:
                    self._console.note(f"process {pid} is frozen between invocations")
            await simulator.wait_for(lambda: simulator.phase is not Phase.IDLE, None)

    # -- words --------------------------------------------------------------------------------------------------------

    def _announce(self, simulator: Simulator, endpoint: str | None) -> None:
        console = self._console
        address = simulator.runtime_api
        if self._options.host not in ("127.0.0.1", "::1", "localhost"):
            console.warning(f"{self._options.host} is not loopback: whoever reaches it can act as the runtime")
        lines = [
            f"The Runtime, Extensions, Telemetry and Logs APIs are served at {console.paint(address, BOLD)}. Start your runtime with",
            "",
            f"  export AWS_LAMBDA_RUNTIME_API={address}",
            "",
        ]
        if endpoint is not None:
            name = self._options.function_name
            lines += [
                f"  {console.paint('curl', DIM)}   curl -d '{{}}' {endpoint}/2015-03-31/functions/{name}/invocations",
                f"  {console.paint('SDKs', DIM)}   export AWS_ENDPOINT_URL_LAMBDA={endpoint}",
                "",
            ]
        lines.append("Ctrl-C ends it.")
        console.note("\n".join(lines))


def _judged(text: bytes, where: str, *, is_raw: bool) -> bytes:
    if is_raw:
        return json.dumps(text.decode("utf-8", "replace"), ensure_ascii=False).encode()
    try:
        json.loads(text)
    except ValueError as error:
        raise EventError(f"{where} is not JSON: {error}", hint="--raw sends text as a JSON string") from error
    return text


def _one_line(payload: bytes) -> bytes:
    """A payload on one line: as it is, or its JSON rendered anew; what is not JSON as a JSON string."""
    if payload and b"\n" not in payload and b"\r" not in payload:
        return payload
    try:
        value = json.loads(payload)
    except ValueError:
        value = payload.decode("utf-8", "replace")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
