"""One service for the judges: functions in Python and Node.js behind the Lambda API."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambdabox.blocking import BlockingLambdaService
from lambdabox.model.function import Function
from lambdabox.service import LambdaService, ServiceOptions

ROOT = Path(__file__).parents[2]
RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"

PYTHON = """
import os, sys, time
def handler(event, context):
    do = event.get("do") if isinstance(event, dict) else None
    if do == "raise":
        raise ValueError("as asked")
    if do == "crash":
        os._exit(3)
    if do == "sleep":
        time.sleep(60)
    if do == "log":
        print("x" * 99 + "\\n" * 1, end="")
        for number in range(200):
            print(f"line {number} " + "y" * 80)
    if do == "large":
        return "x" * 7_000_000
    if do == "context":
        client = context.client_context
        return {
            "arn": context.invoked_function_arn, "id": context.aws_request_id, "name": context.function_name,
            "version": context.function_version,
            "client": None if client is None else [client.custom, client.env, client.client.installation_id],
        }
    if do == "wait":
        open(event["here"], "w").close()
        while not os.path.exists(event["until"]):
            time.sleep(0.002)
    return event
"""

STREAM = """
const fs = require('fs');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  if (event.do === 'throw early') throw new RangeError('before the first byte');
  stream.setContentType('text/plain');
  stream.write('first;');
  if (event.until) while (!fs.existsSync(event.until)) await new Promise((done) => setTimeout(done, 2));
  if (event.do === 'throw') throw new RangeError('in the middle');
  if (event.do === 'crash') { await new Promise((done) => setTimeout(done, 20)); process.exit(3); }
  if (event.do === 'sleep') await new Promise((done) => setTimeout(done, 60000));
  for (let n = 0; n < (event.chunks || 0); n++) {
    if (!stream.write('z'.repeat(65536))) await new Promise((done) => stream.once('drain', done));
  }
  stream.write('last');
  stream.end();
});
"""


@dataclass
class Served:
    """A service that listens."""

    service: BlockingLambdaService
    url: str
    functions: dict[str, Function]

    def boto3(self, **more: Any) -> Any:
        """A client of boto3's."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "lambda", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret",
            config=Config(retries={"max_attempts": 0}, read_timeout=30, **more),
        )  # fmt: skip


def _write(folder: Path, file: str, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / file).write_text(text)
    return folder


def children() -> set[int]:
    """The processes that this one has started."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in task.read_text().split())
    return found


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The functions `echo` (Python, deployed as `shop-dev-echo`), `stopped` (reserved concurrency 0) and `stream` (Node.js)."""
    base = tmp_path_factory.mktemp("functions")
    code = _write(base / "python", "app.py", PYTHON)
    common: dict[str, Any] = {"handler": "app.handler", "runtime": RUNTIME, "code": code}
    functions = [
        Function(
            name="shop-dev-echo",
            key="echo",
            timeout=2,
            memory_size=256,
            description="says it again",
            environment={"A": "1"},
            **common,
        ),
        Function(name="stopped", reserved_concurrency=0, **common),
    ]
    if shutil.which("node") is not None:
        node = _write(base / "node", "index.js", STREAM)
        functions.append(Function(name="stream", handler="index.handler", runtime="nodejs20.x", code=node, timeout=2))
    service = LambdaService.blocking(functions, ServiceOptions(python=sys.executable))
    with service:
        url = service.listen()
        for function in functions:
            if function.reserved_concurrency is None:
                service.invoke(function.name, {})  # the processes that serve every test are no test's left-overs
        yield Served(service, url, {function.key: function for function in functions})
        serving = children()
    left = children() & serving
    assert not left, f"processes left behind: {left}"


@pytest.fixture(autouse=True)
def no_leftovers(request: pytest.FixtureRequest) -> None:
    """The service of the whole session may start another environment at any time: `served` looks at its end what is left."""
    if "served" not in request.fixturenames:
        request.getfixturevalue("no_leftovers")


@pytest.fixture
def client(served: Served) -> Iterator[Any]:
    client = served.boto3()
    yield client
    client.close()


@pytest.fixture
def stream_function(served: Served) -> str:
    if "stream" not in served.functions:
        pytest.skip("node is not installed")
    return "stream"


@pytest.fixture
def settle(served: Served) -> Iterator[Any]:
    """`settle()` waits until every environment rests, so that the next call is warm."""
    from lambdabox.protocol.states import Phase

    def settle() -> None:
        dispatcher: Any = served.service._service._dispatcher
        moment = threading.Event()
        for _ in range(2000):
            if all(
                e.machine.phase in (Phase.IDLE, Phase.DORMANT)
                for pool in dispatcher._pools.values()
                for e in set(pool.environments)
            ):
                return
            moment.wait(0.005)
        raise AssertionError("the environments never came to rest")

    yield settle
    settle()


@pytest.fixture(scope="session")
def javascript_sdk() -> Path:
    """A folder with @aws-sdk/client-lambda, installed once."""
    folder = ROOT / ".toolchains" / "sdk"
    package = folder / "node_modules" / "@aws-sdk" / "client-lambda" / "package.json"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    if not package.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", ".", "@aws-sdk/client-lambda"]
        try:
            done = subprocess.run(command, cwd=folder, timeout=120, capture_output=True, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("@aws-sdk/client-lambda could not be installed in time")
        if done.returncode != 0 or not package.is_file():
            pytest.skip("@aws-sdk/client-lambda cannot be installed here (offline?)")
    return folder
