"""What freezing costs a warm invocation: two servers, one that freezes, called in turn, call by call; figures as JSON on stdout.

Between calls there is time to freeze, for both alike, and before each call it is looked whether the function's process stands
still: without that, the next call would come before the freeze, and nothing would be measured. Functions return their `pid`.

    .venv/bin/python bench/freeze_cost.py --plain 3001 --frozen 3002 --path /2015-03-31/functions/whoami/invocations --calls 500
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from pathlib import Path

import load

PAUSE = 0.003


def is_stopped(pid: int) -> bool:
    """Stopped by a signal, or by the freezer of a control group."""
    if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
        return True
    group = Path(f"/proc/{pid}/cgroup").read_text().strip().rpartition(":")[2]
    frozen = Path(f"/sys/fs/cgroup{group}/cgroup.freeze")
    return frozen.exists() and frozen.read_text().strip() == "1"


def main() -> None:
    parser = argparse.ArgumentParser(description="Call two servers in turn.")
    parser.add_argument("--plain", type=int, required=True)
    parser.add_argument("--frozen", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--warmup", type=int, default=50)
    options = parser.parse_args()
    ports = {"plain": options.plain, "frozen": options.frozen}
    callers = {name: load.Caller(port) for name, port in ports.items()}
    requests = {name: load.request_bytes(port, options.path, load.EVENT) for name, port in ports.items()}
    times: dict[str, list[float]] = {name: [] for name in ports}
    stopped = dict.fromkeys(ports, 0)
    pids: dict[str, int] = {}
    gc.disable()
    for number in range(options.warmup + options.calls):
        for name, caller in callers.items():
            time.sleep(PAUSE)
            is_measured = number >= options.warmup
            if is_measured:
                stopped[name] += is_stopped(pids[name])
            begun = time.perf_counter()
            if not caller.call(requests[name]):
                raise SystemExit(f"{name}: a call failed: {bytes(caller.reader.buffer[:300])!r}")
            took = time.perf_counter() - begun
            pids[name] = json.loads(caller.reader.body())["pid"]
            if is_measured:
                times[name].append(took * 1000)
    for caller in callers.values():
        caller.close()
    p50 = {name: statistics.median(found) for name, found in times.items()}
    figures = {
        "plain_ms": p50["plain"],
        "frozen_ms": p50["frozen"],
        "added_ms": p50["frozen"] - p50["plain"],
        "stopped": stopped["frozen"] / options.calls,
        "stopped_plain": stopped["plain"] / options.calls,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
