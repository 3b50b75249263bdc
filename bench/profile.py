"""Where does `serve` spend its time while 16 callers ask?

    .venv/bin/python bench/profile.py [--tool py-spy|cprofile] [--who serve|runtime] [--callers 16] [--calls 40000]

py-spy samples from outside and costs the server next to nothing (install it with `bench/setup.py --py-spy`); cProfile counts
every call from inside, slows what it measures, and is there where sampling is not allowed. Both print the functions with the most time
of their own; the whole profile stays in bench/.work/profile (raw stacks for a flame graph, or a pstats file). `--system
floor` profiles the floor program for comparison.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

# Without this the standard library's cProfile would find this file instead of its own `profile`.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import setup, systems  # noqa: E402

OUT = systems.WORK / "profile"
INSIDE = """
import cProfile, sys
from lambdabox.cli import main
out, sys.argv = sys.argv[1], ["lambdabox", *sys.argv[2:]]
profile = cProfile.Profile()
profile.enable()
try:
    main()
finally:
    profile.disable()
    profile.dump_stats(out)
"""


def command_line(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def py_spy(options: argparse.Namespace) -> None:
    tool = setup.TOOLS / "bin" / "py-spy"
    if not tool.exists():
        setup.ensure(("py-spy",))
        systems.need("py-spy")
    server = systems.floor(options.callers) if options.system == "floor" else systems.lambdabox()
    with server:
        function = "floor" if options.system == "floor" else options.function
        systems.run_load(server, function, callers=options.callers, calls=options.callers * 50)
        pid = server.process.pid
        if options.who == "runtime":
            family = systems.tree(pid)
            above = systems.parents()
            leaves = [each for each in family if each != pid and each not in above.values()]
            if not leaves:
                raise systems.Failed("serve has no process below it")
            pid = leaves[-1]
        print(f"sampling {pid}: {command_line(pid)[:120]}", file=sys.stderr)
        out = OUT / f"{options.system}-{options.who}.txt"
        command = [
            str(tool),
            "record",
            "--pid",
            str(pid),
            "--rate",
            str(options.rate),
            "--format",
            "raw",
            "--output",
            str(out),
            "--duration",
            "600",
        ]
        with (OUT / "py-spy.log").open("wb") as log:
            sampler = subprocess.Popen(
                [*command, *(["--native"] if options.native else [])], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
            try:
                result = systems.run_load(server, function, callers=options.callers, calls=options.calls)
            finally:
                sampler.send_signal(signal.SIGINT)  # it writes its file
                try:
                    sampler.wait(30)
                except subprocess.TimeoutExpired:
                    sampler.kill()
                    sampler.wait()
        if not out.exists():
            raise systems.Failed(f"py-spy wrote nothing: {(OUT / 'py-spy.log').read_text(errors='replace').strip()[-300:]}")
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in out.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.rsplit(":", 1)[0] + ")" if frame.endswith(")") and ":" in frame else frame for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    total = sum(own.values()) or 1
    print(f"{result['calls_per_second']} calls/s while sampled; {total} samples\n\n  own   with callees   function")
    for frame, count in own.most_common(options.top):
        print(f"{count / total:6.1%}  {whole[frame] / total:10.1%}      {frame}")
    print(f"\nraw stacks: {out.relative_to(systems.BENCH.parent)}")


def c_profile(options: argparse.Namespace) -> None:
    import pstats

    if options.who != "serve" or options.system != "lambdabox":
        raise systems.NotAvailable("cprofile profiles `serve` only; use --tool py-spy")
    out = OUT / "serve.pstats"
    out.unlink(missing_ok=True)
    (port,) = systems.free_ports(1)
    arguments = ["serve", "--config", str(systems.FUNCTIONS / "serverless.yml"), "--port", str(port)]
    command = [sys.executable, "-P", "-c", INSIDE, str(out), *arguments]
    with systems.Server("lambdabox-cprofile", command, cwd=systems.FUNCTIONS, env=systems.environment(), port=port) as server:
        result = systems.run_load(
            server, options.function, callers=options.callers, calls=options.calls, warmup=options.callers * 10
        )
    if not out.exists():
        raise systems.Failed(f"serve ended without its profile: {server.last_words()}")
    print(f"{result['calls_per_second']} calls/s while profiled (cProfile slows it down)")
    pstats.Stats(str(out)).strip_dirs().sort_stats("tottime").print_stats(options.top)


def main() -> int:
    parser = argparse.ArgumentParser(description="Profile `lambdabox serve` under load.")
    parser.add_argument("--tool", choices=("py-spy", "cprofile"), default="py-spy")
    parser.add_argument("--system", choices=("lambdabox", "floor"), default="lambdabox")
    parser.add_argument(
        "--who", choices=("serve", "runtime"), default="serve", help="the server, or one of the functions' processes"
    )
    parser.add_argument("--function", default="echo", help="a key of bench/functions/serverless.yml")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--calls", type=int, default=40_000)
    parser.add_argument("--rate", type=int, default=500, help="samples a second")
    parser.add_argument("--native", action="store_true", help="frames of C extensions too")
    parser.add_argument("--top", type=int, default=40)
    options = parser.parse_args()
    systems.guard()
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        (py_spy if options.tool == "py-spy" else c_profile)(options)
    except (systems.NotAvailable, systems.Failed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
