"""Our Simulator, driven as bench/simulator_peer drives the Rust crate's: one runtime, one invocation at a time.

Says where its Runtime API is ("ready HOST:PORT"), then reads numbers, one a line: that many times it enqueues an event and
waits until it is answered, and prints the seconds that took. The end of its input is its end.

    .venv/bin/python bench/simulator_cycles.py [uvloop | asyncio]
"""

from __future__ import annotations

import asyncio
import sys
import time

from lambdabox import Simulator


async def main() -> None:
    async with Simulator() as simulator:
        print(f"ready {simulator.runtime_api}", flush=True)
        while line := sys.stdin.readline():  # nothing else happens meanwhile: the runtime waits for its next event
            begun = time.perf_counter()
            for _ in range(int(line)):
                request_id = await simulator.enqueue_payload({"key": "value"})
                await simulator.wait_for_invocation_complete(request_id, 60)
            print(time.perf_counter() - begun, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["asyncio"]:
        asyncio.run(main())
    else:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
