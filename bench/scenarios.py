"""The rows of the table: what is measured, beside whom, and what is asked of it.

A row has sides. Each side is a function that opens what it needs on an ExitStack and gives a `measure`: called once a round,
in turn with the other sides', it returns one figure. A side may raise NotAvailable or Failed; the others go on.
"""

from __future__ import annotations

import base64
import json
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import load, systems
from bench.systems import PYTHON_RUNTIME, Failed

Measure = Callable[[], float]
Side = Callable[[ExitStack], Measure]

NODE_ECHO = {"echo-node": ("echo_node.handler", "nodejs20.x")}
RIE_FUNCTION = "function"
BIG_BYTES = 6_200_000  # the limit is 6 MiB (6,291,456), and the reply has to fit too


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. `required` and `aim` bound ours / peer, or our figure itself when `absolute`."""

    name: str
    what: str
    peer_name: str
    unit: str
    less_is_better: bool
    ours: Side
    peer: Side
    required: float | None = None
    aim: float | None = None
    absolute: bool = False
    beside: dict[str, Side] = field(default_factory=dict)  # measured in the same rounds, for the notes only


@dataclass(slots=True)
class Effort:
    """How much work one round is; `--quick` divides the number of calls."""

    divisor: int = 1

    def calls(self, count: int) -> int:
        return max(count // self.divisor, 5)


EFFORT = Effort()


# Sides ----------------------------------------------------------------------------------------------------------------


def loaded(
    server: Callable[[], systems.Server],
    function: str,
    figure: str,
    *,
    callers: int = 1,
    calls: int,
    warmup: int,
    body: Callable[[], Path] | None = None,
) -> Side:
    """A server that stays up through all rounds and is called the same way in each."""

    def side(stack: ExitStack) -> Measure:
        running = stack.enter_context(server())
        event = body() if body else None
        # Everything that happens only once happens here: cold starts, the compiler's warm-up, the pools.
        systems.run_load(running, function, callers=callers, calls=EFFORT.calls(warmup), body=event)
        return lambda: systems.run_load(
            running, function, callers=callers, calls=EFFORT.calls(calls), warmup=EFFORT.calls(warmup) // 4, body=event
        )[figure]

    return side


def constant(value: float) -> Side:
    return lambda stack: lambda: value


def fresh_environments(stack: ExitStack) -> Measure:
    """A running `serve`, and functions that were never asked before."""

    def measure() -> float:
        with systems.lambdabox() as server:
            caller = systems.first_reply(server, "echo")
            times = []
            for number in range(1, EFFORT.calls(12) + 1):
                begun = time.perf_counter()
                systems.first_reply(server, f"cold{number:02d}", caller=caller)
                times.append((time.perf_counter() - begun) * 1000)
            caller.close()
        return statistics.median(times)

    return measure


def fresh_rie(stack: ExitStack) -> Measure:
    """RIE from its spawn to its first reply."""

    def measure() -> float:
        times = []
        for _ in range(EFFORT.calls(12)):
            server = systems.rie("echo.handler", wait=False)
            try:
                caller = server.connect(pause=0.0005)
                systems.first_reply(server, RIE_FUNCTION, caller=caller)
                times.append((time.perf_counter() - server.started) * 1000)
                caller.close()
            finally:
                server.end()
        return statistics.median(times)

    measure()  # reads the files into the page cache
    return measure


def whole_command(command: Callable[[], tuple[list[str], Path]]) -> Side:
    """A command from its start to its end, three times a round."""

    def side(stack: ExitStack) -> Measure:
        words, folder = command()

        def once() -> float:
            return systems.run_command(words, cwd=folder, check=lambda output: '"key"' in output and '"value"' in output)

        once()
        return lambda: statistics.median(once() for _ in range(3))

    return side


def invoke_command() -> tuple[list[str], Path]:
    return systems.lambdabox_command("invoke", "-f", "echo", "-d", load.EVENT.decode()), systems.FUNCTIONS


def invoke_local_command() -> tuple[list[str], Path]:
    project = systems.serverless_project("invoke-local", {"echo": ("echo.handler", PYTHON_RUNTIME)})
    # Without the plugin: what is timed is Serverless itself.
    text = (project / "serverless.yml").read_text().replace("plugins:\n  - serverless-offline\n", "")
    (project / "serverless.yml").write_text(text)
    return systems.serverless_command("invoke", "local", "-f", "echo", "-d", load.EVENT.decode()), project


def weight(server: Callable[[], systems.Server], function: str, *, own_process: bool = True) -> Side:
    """MiB of a freshly started server's process tree after one call, without the function's own process."""

    def side(stack: ExitStack) -> Measure:
        def measure() -> float:
            with server() as running:
                caller = systems.first_reply(running, function)
                pid = json.loads(caller.reader.body())["pid"]
                caller.close()
                time.sleep(1.0)  # what was only needed to start is given back
                whole = systems.tree(running.process.pid)
                if own_process and pid not in whole[1:]:
                    raise Failed(f"{running.name}: the function's process {pid} is not among those of the server")
                function_tree = set(systems.tree(pid)) if own_process else set()
                return sum(systems.rss_kb(each) for each in whole if each not in function_tree) / 1024

        return measure

    return side


# Events ---------------------------------------------------------------------------------------------------------------


def event_file(name: str, make: Callable[[random.Random], object]) -> Path:
    """An event with the same bytes in every run, written as Python's json writes it, so that an echo has the same size."""
    systems.WORK.mkdir(parents=True, exist_ok=True)
    path = systems.WORK / f"{name}.json"
    path.write_text(json.dumps(make(random.Random(6))))
    return path


def one_long_string() -> Path:
    return event_file(
        "one-long-string", lambda chance: {"data": base64.b64encode(chance.randbytes((BIG_BYTES - 20) // 4 * 3)).decode()}
    )


def many_small_objects() -> Path:
    def make(chance: random.Random) -> object:
        items: list[object] = []
        size = 0
        while size < BIG_BYTES - 200:
            number = len(items)
            item = {
                "id": number,
                "name": f"item {number}",
                "price": chance.randrange(100, 99_999) / 100,
                "tags": ["a", "b"],
                "sold": number % 3 == 0,
                "note": None,
            }
            items.append(item)
            size += len(json.dumps(item)) + 2
        return {"items": items}

    return event_file("many-small-objects", make)


# The table ------------------------------------------------------------------------------------------------------------


def offline_node() -> systems.Server:
    return systems.serverless_offline(NODE_ECHO)


def offline_whoami() -> systems.Server:
    return systems.serverless_offline({"whoami": ("whoami.handler", PYTHON_RUNTIME)})


def offline_whoami_node() -> systems.Server:
    return systems.serverless_offline({"whoami": ("whoami_node.handler", "nodejs20.x")})


def rie_echo() -> systems.Server:
    return systems.rie("echo.handler")


ROWS = (
    Row(
        name="warm-python",
        what="warm invoke p50, Python echo, 1 caller, keep-alive HTTP",
        peer_name="RIE + awslambdaric",
        unit="ms",
        less_is_better=True,
        required=0.60,
        aim=0.45,
        ours=loaded(systems.lambdabox, "echo", "p50_ms", calls=2000, warmup=400),
        peer=loaded(rie_echo, RIE_FUNCTION, "p50_ms", calls=2000, warmup=400),
        beside={"floor": loaded(lambda: systems.floor(1), "floor", "p50_ms", calls=2000, warmup=400)},
    ),
    Row(
        name="warm-node",
        what="warm invoke p50, Node echo, 1 caller",
        peer_name="serverless-offline, Node",
        unit="ms",
        less_is_better=True,
        required=0.60,
        aim=0.45,
        ours=loaded(systems.lambdabox, "echo-node", "p50_ms", calls=2000, warmup=800),
        peer=loaded(offline_node, "bench-dev-echo-node", "p50_ms", calls=2000, warmup=800),
    ),
    Row(
        name="calls-16",
        what="calls/s, Python echo, 16 callers",
        peer_name="serverless-offline, Node, 16 callers",
        unit="calls/s",
        less_is_better=False,
        required=3.0,
        aim=4.0,
        ours=loaded(systems.lambdabox, "echo", "calls_per_second", callers=16, calls=16_000, warmup=4000),
        peer=loaded(offline_node, "bench-dev-echo-node", "calls_per_second", callers=16, calls=4000, warmup=4000),
    ),
    Row(
        name="floor-16",
        what="calls/s, Python echo, 16 callers",
        peer_name="our own bare floor program",
        unit="calls/s",
        less_is_better=False,
        required=0.45,
        aim=0.65,
        ours=loaded(systems.lambdabox, "echo", "calls_per_second", callers=16, calls=16_000, warmup=4000),
        peer=loaded(lambda: systems.floor(16), "floor", "calls_per_second", callers=16, calls=24_000, warmup=4000),
    ),
    Row(
        name="sleeper-8",
        what="calls/s, 8 callers on a 100 ms handler",
        peer_name="ideal",
        unit="calls/s",
        less_is_better=False,
        required=76,
        aim=79,
        absolute=True,
        ours=loaded(systems.lambdabox, "sleeper", "calls_per_second", callers=8, calls=240, warmup=32),
        peer=constant(80.0),
        beside={
            "serverless-offline": loaded(
                lambda: systems.serverless_offline({"sleeper": ("sleeper.handler", PYTHON_RUNTIME)}),
                "bench-dev-sleeper", "calls_per_second", callers=8, calls=240, warmup=32,
            ),
        },
    ),
    Row(
        name="invoke-command",
        what="`lambdabox invoke`, Python echo, whole command",
        peer_name="`serverless invoke local` (serverless@3)",
        unit="ms",
        less_is_better=True,
        required=0.20,
        aim=0.12,
        ours=whole_command(invoke_command),
        peer=whole_command(invoke_local_command),
    ),
    Row(
        name="cold-python",
        what="start of an environment to its first reply inside a running `serve`, Python",
        peer_name="RIE + awslambdaric, from spawn",
        unit="ms",
        less_is_better=True,
        required=0.9,
        aim=0.6,
        ours=fresh_environments,
        peer=fresh_rie,
    ),
    Row(
        name="big-string",
        what="6 MB round trip, one long string, Python echo",
        peer_name="RIE + awslambdaric",
        unit="ms",
        less_is_better=True,
        required=0.8,
        aim=0.5,
        ours=loaded(systems.lambdabox, "echo", "p50_ms", calls=11, warmup=8, body=one_long_string),
        peer=loaded(rie_echo, RIE_FUNCTION, "p50_ms", calls=11, warmup=8, body=one_long_string),
    ),
    Row(
        name="big-objects",
        what="6 MB round trip, many small objects, Python echo",
        peer_name="RIE + awslambdaric",
        unit="ms",
        less_is_better=True,
        required=0.9,
        aim=0.75,
        ours=loaded(systems.lambdabox, "echo", "p50_ms", calls=7, warmup=8, body=many_small_objects),
        peer=loaded(rie_echo, RIE_FUNCTION, "p50_ms", calls=7, warmup=8, body=many_small_objects),
    ),
    Row(
        name="idle-memory",
        what="RSS of `serve` with one idle function, without the function's own process",
        peer_name="serverless-offline",
        unit="MiB",
        less_is_better=True,
        required=0.25,
        aim=0.15,
        ours=weight(lambda: systems.lambdabox(systems.FUNCTIONS / "one"), "whoami"),
        peer=weight(offline_whoami, "bench-dev-whoami"),
        # A Node function is a thread of serverless-offline itself, so that it cannot be left out there.
        beside={"serverless-offline, one Node function, its thread included": weight(offline_whoami_node, "bench-dev-whoami", own_process=False)},
    ),
)  # fmt: skip
