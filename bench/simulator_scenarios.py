"""The rows about the Simulator, extensions, telemetry and freezing; they have the form of those in scenarios.py."""

from __future__ import annotations

import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack

from bench import setup, systems
from bench.scenarios import EFFORT, Measure, Row, Side, loaded
from bench.systems import BENCH, Failed

PATIENCE_SECONDS = 60


class Simulated:
    """A Simulator as a program (simulator_cycles.py, simulator_peer), and the runtime that answers its events."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.log = systems.WORK / "logs" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.runtime: subprocess.Popen | None = None
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=BENCH,
                env=systems.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            word, _, address = self.said().partition(" ")
            if word != "ready":
                raise Failed(f"{name} did not say where it listens")
            self.runtime = subprocess.Popen(
                [sys.executable, str(BENCH / "simulator_runtime.py"), address],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            self.end()
            raise

    def said(self) -> str:
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE_SECONDS)
        line = self.process.stdout.readline().decode().strip() if readable else ""
        if not line:
            words = " / ".join(self.log.read_text(errors="replace").strip().splitlines()[-3:])
            raise Failed(f"{self.name} said nothing: {words[-300:]}")
        return line

    def cycles_per_second(self, cycles: int) -> float:
        self.process.stdin.write(b"%d\n" % cycles)
        self.process.stdin.flush()
        return cycles / float(self.said())

    def end(self) -> None:
        """The end of its input is its end; the runtime's is that of its connection."""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for process in (self.process, self.runtime):
            if process is not None:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.process.stdout.close()


def cycles(name: str, command: Callable[[], list[str]]) -> Side:
    """Invocations a second, each enqueued when the one before is answered; every round has a Simulator of its own, since each keeps them all."""

    def side(stack: ExitStack) -> Measure:
        words = command()

        def measure() -> float:
            simulated = Simulated(name, words)
            try:
                simulated.cycles_per_second(EFFORT.calls(1000))
                return simulated.cycles_per_second(EFFORT.calls(5000))
            finally:
                simulated.end()

        return measure

    return side


def our_simulator(loop: str) -> list[str]:
    return [sys.executable, str(BENCH / "simulator_cycles.py"), loop]


def crate(*options: str) -> list[str]:
    systems.need("lambda-simulator")
    return [str(setup.SIMULATOR), *options]


def warm(function: str) -> Side:
    return loaded(systems.lambdabox, function, "p50_ms", calls=2000, warmup=400)


def pytest_file(name: str) -> Side:
    """Seconds of a whole pytest command, with nothing configured."""
    path = BENCH / "simulator_tests" / name
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(path.parent), "--import-mode=importlib"]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", str(path)]

    def side(stack: ExitStack) -> Measure:
        def once() -> float:
            return systems.run_command(command, cwd=path.parent, check=lambda output: "50 passed" in output) / 1000

        once()
        return lambda: statistics.median(once() for _ in range(EFFORT.calls(30) // 10 or 1))

    return side


def freezing(figure: str) -> Side:
    """Two servers, called in turn by freeze_cost.py; `figure` is one of those that it prints."""

    def side(stack: ExitStack) -> Measure:
        one = systems.FUNCTIONS / "one"
        plain = stack.enter_context(systems.lambdabox(one))
        frozen = stack.enter_context(systems.lambdabox(one, "--freeze"))
        command = [sys.executable, str(BENCH / "freeze_cost.py"), "--plain", str(plain.port), "--frozen", str(frozen.port)]
        command += ["--path", systems.path_of("whoami"), "--calls", str(EFFORT.calls(1000))]

        def measure() -> float:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                raise Failed(f"freeze_cost.py: {done.stderr.strip()[-300:]}")
            found = json.loads(done.stdout)
            # A function that was not stopped before nearly every call was not measured.
            if found["stopped"] < 0.95 or found["stopped_plain"] > 0:
                raise Failed(f"stopped before {found['stopped']:.0%} of the calls, without freezing {found['stopped_plain']:.0%}")
            return found[figure]

        return measure

    return side


ROWS = (
    Row(
        name="simulator-cycles",
        what="enqueue, next, response in the Simulator, one runtime over HTTP",
        peer_name="the Rust crate lambda-simulator 0.1.6",
        unit="cycles/s",
        less_is_better=False,
        required=0.7,
        aim=1.0,
        ours=cycles("simulator-uvloop", lambda: our_simulator("uvloop")),
        peer=cycles("simulator-crate", crate),
        beside={
            "lambdabox on asyncio's own loop": cycles("simulator-asyncio", lambda: our_simulator("asyncio")),
            "the crate on one thread": cycles("simulator-crate-one-thread", lambda: crate("one-thread")),
        },
    ),
    Row(
        name="telemetry",
        what="warm invoke p50 with an INVOKE extension that subscribes to all telemetry",
        peer_name="the same extension without the subscription",
        unit="ms",
        less_is_better=True,
        required=1.6,
        aim=1.3,
        ours=warm("subscribed"),
        peer=warm("extended"),
    ),
    Row(
        name="extension-and-telemetry",
        what="warm invoke p50 with an INVOKE extension that subscribes to all telemetry",
        peer_name="the same function without an extension",
        unit="ms",
        less_is_better=True,
        required=1.6,
        aim=1.3,
        ours=warm("subscribed"),
        peer=warm("echo"),
    ),
    Row(
        name="simulator-tests",
        what="a pytest file with 50 Simulator tests, whole command",
        peer_name="50 empty tests, whole command",
        unit="s",
        less_is_better=True,
        required=2.5,
        aim=1.0,
        absolute=True,
        ours=pytest_file("test_fifty.py"),
        peer=pytest_file("test_fifty_empty.py"),
    ),
    Row(
        name="freeze",
        what="freeze and thaw, added to the p50 of a warm invoke (interleaved call by call)",
        peer_name="a warm invoke without freezing, with the same pauses",
        unit="ms",
        less_is_better=True,
        required=0.15,
        aim=0.08,
        absolute=True,
        ours=freezing("added_ms"),
        peer=freezing("plain_ms"),
    ),
)
