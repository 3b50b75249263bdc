"""The aws CLI, the JavaScript SDK, curl and browsers as judges of the Lambda API."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.function import Function
from lambdabox.servers.invoke import InvokeApiOptions
from lambdabox.service import LambdaService, ServiceOptions

INVOKE = "/2015-03-31/functions/{}/invocations"
RIE = INVOKE.format("function")
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


# -- the wire ---------------------------------------------------------------------------------------------------------


def test_the_headers_of_an_answer(served):
    status, headers, body = ask(served.url, "POST", INVOKE.format("echo"), b'{"a":1}')
    assert (status, body) == (200, b'{"a": 1}')
    assert headers["content-type"] == "application/json"
    assert headers["x-amz-executed-version"] == "$LATEST"
    assert len(headers["x-amzn-requestid"]) == 36
    assert not {"x-amz-function-error", "x-amz-log-result", "x-amzn-errortype"} & set(headers)
    assert ask(served.url, "POST", INVOKE.format("echo"), b'{"do":"raise"}')[1]["x-amz-function-error"] == "Unhandled"


def test_the_members_of_an_error_body(served):
    cases = {
        (INVOKE.format("nobody"), b"{}", None): (404, "ResourceNotFoundException", ["Type", "Message"]),
        (INVOKE.format("echo"), b"{", None): (400, "InvalidRequestContentException", ["Type", "message"]),
        (INVOKE.format("echo"), b"{}", "text/plain"): (415, "UnsupportedMediaTypeException", ["Type", "message"]),
        (INVOKE.format("stopped"), b"{}", None): (429, "TooManyRequestsException", ["Reason", "Type", "message"]),
        (INVOKE.format("a%20b"), b"{}", None): (400, "ValidationException", ["Type", "message"]),
        ("/2015-03-31/nothing", b"{}", None): (404, "UnknownOperationException", ["Type", "message"]),
    }
    for (path, body, content_type), (status, name, members) in cases.items():
        more = {} if content_type is None else {"Content_Type": content_type}
        answer = ask(served.url, "POST", path, body, **more)
        assert (answer[0], answer[1]["x-amzn-errortype"], list(json.loads(answer[2]))) == (status, name, members)
        assert answer[1]["content-type"] == "application/json"
        assert "x-amzn-requestid" in answer[1]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "application/vnd.api+json", "application/x-www-form-urlencoded"]
)
def test_content_types_that_are_taken(served, content_type):
    assert ask(served.url, "POST", INVOKE.format("echo"), b"1", Content_Type=content_type)[::2] == (200, b"1")


def test_an_encoded_arn_in_the_path(served):
    path = INVOKE.format("arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ashop-dev-echo")
    assert ask(served.url, "POST", path, b"1")[::2] == (200, b"1")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_with_a_large_body_is_not_kept_waiting(served, tmp_path):
    event = tmp_path / "event.json"
    event.write_text(json.dumps("x" * 2_000_000))
    command = ["curl", "-sS", "-w", "\n%{http_code} %{time_total}", served.url + INVOKE.format("echo"), "-d", f"@{event}"]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=20).stdout
    body, _, figures = answer.rpartition(b"\n")
    assert body == event.read_bytes()
    status, seconds = figures.split()
    assert status == b"200"
    assert float(seconds) < 0.9  # `Expect: 100-continue` unanswered costs a second


# -- the aws CLI ------------------------------------------------------------------------------------------------------


@pytest.fixture
def aws(served: Any, tmp_path: Path) -> Any:
    program = Path(sys.executable).parent / "aws"
    if not program.exists():
        pytest.skip("the aws CLI is not installed")

    def aws(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(program), "--endpoint-url", served.url, "lambda", *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
            env={**ENVIRONMENT, "HOME": str(tmp_path)},
        )

    return aws


@pytest.mark.slow
def test_the_aws_cli_invokes(aws, tmp_path):
    done = aws("invoke", "--function-name", "echo", "--payload", '{"a":1}', "--log-type", "Tail", "out.json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["StatusCode"], document["ExecutedVersion"]) == (200, "$LATEST")
    assert base64.b64decode(document["LogResult"]).startswith(b"START RequestId: ")
    assert json.loads((tmp_path / "out.json").read_text()) == {"a": 1}


@pytest.mark.slow
def test_the_aws_cli_shows_what_is_wrong(aws):
    done = aws("invoke", "--function-name", "nobody", "out.json")
    assert done.returncode != 0
    assert "ResourceNotFoundException" in done.stderr
    assert "Function not found: arn:aws:lambda:us-east-1:123456789012:function:nobody" in done.stderr


# -- the JavaScript SDK -----------------------------------------------------------------------------------------------

SCRIPT = """
import { InvokeCommand, InvokeWithResponseStreamCommand, LambdaClient, ListFunctionsCommand, GetFunctionCommand } from '@aws-sdk/client-lambda';
const client = new LambdaClient({ endpoint: process.env.URL, maxAttempts: 1 });
const text = (bytes) => new TextDecoder().decode(bytes);
const out = {};
const done = await client.send(new InvokeCommand({
  FunctionName: 'echo', Payload: JSON.stringify({ do: 'context' }), LogType: 'Tail',
  ClientContext: Buffer.from(JSON.stringify({ custom: { a: 1 }, client: { installation_id: 'i' } })).toString('base64'),
}));
out.invoke = [done.StatusCode, done.ExecutedVersion, JSON.parse(text(done.Payload)).client, done.$metadata.requestId.length];
out.tail = Buffer.from(done.LogResult, 'base64').toString().trim().split('\\n').at(-1).split(' ')[0];
const failed = await client.send(new InvokeCommand({ FunctionName: 'echo', Payload: '{"do":"raise"}' }));
out.failed = [failed.FunctionError, JSON.parse(text(failed.Payload)).errorMessage];
out.event = (await client.send(new InvokeCommand({ FunctionName: 'echo', InvocationType: 'Event', Payload: '{}' }))).StatusCode;
out.dry = (await client.send(new InvokeCommand({ FunctionName: 'echo', InvocationType: 'DryRun' }))).StatusCode;
out.refused = [];
for (const [FunctionName, Payload] of [['nobody', '{}'], ['echo', '{'], ['stopped', '{}']]) {
  try {
    await client.send(new InvokeCommand({ FunctionName, Payload }));
  } catch (error) {
    out.refused.push([error.name, error.$metadata.httpStatusCode, error.Reason ?? null, error.retryAfterSeconds ?? null]);
  }
}
out.listed = (await client.send(new ListFunctionsCommand({}))).Functions.length;
out.code = (await client.send(new GetFunctionCommand({ FunctionName: 'echo' }))).Configuration.Handler;
for (const [name, Payload] of [['stream', '{}'], ['thrown', '{"do":"throw"}']]) {
  const answer = await client.send(new InvokeWithResponseStreamCommand({ FunctionName: 'stream', Payload }));
  let data = '', end = null;
  for await (const event of answer.EventStream) {
    if (event.PayloadChunk) data += text(event.PayloadChunk.Payload);
    if (event.InvokeComplete) end = event.InvokeComplete.ErrorCode ?? 'fine';
  }
  out[name] = [data, end];
}
console.log(JSON.stringify(out));
client.destroy();
"""


@pytest.mark.slow
def test_the_javascript_sdk(served, stream_function, javascript_sdk, tmp_path):
    script = tmp_path / "judge.mjs"
    script.write_text(SCRIPT)
    (tmp_path / "node_modules").symlink_to(javascript_sdk / "node_modules")
    done = subprocess.run(
        ["node", str(script)], capture_output=True, text=True, timeout=60, check=False, env={**ENVIRONMENT, "URL": served.url}
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "invoke": [200, "$LATEST", [{"a": 1}, None, "i"], 36],
        "tail": "REPORT",
        "failed": ["Unhandled", "as asked"],
        "event": 202,
        "dry": 204,
        "refused": [
            ["ResourceNotFoundException", 404, None, None],
            ["InvalidRequestContentException", 400, None, None],
            ["TooManyRequestsException", 429, "ReservedFunctionConcurrentInvocationLimitExceeded", "1"],
        ],
        "listed": 3,
        "code": "app.handler",
        "stream": ["first;last", "fine"],
        "thrown": ["first;", "RangeError"],
    }


# -- RIE --------------------------------------------------------------------------------------------------------------


def _echo(folder: Path, name: str) -> Function:
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text("def handler(event, context):\n    return [event, context.function_name]\n")
    return Function(name=name, handler="app.handler", runtime="python3.11", code=folder)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:

        def serve(*names: str, host: str = "127.0.0.1", **options: Any) -> str:
            functions = [_echo(tmp_path / "code", name) for name in names]
            service = stack.enter_context(LambdaService.blocking(functions, ServiceOptions(python=sys.executable)))
            return service.listen(host, 0, InvokeApiOptions(**options))

        yield serve


def test_the_path_of_the_runtime_interface_emulator_names_the_only_function(serve, served):
    assert ask(serve("one"), "POST", RIE, b"{}")[::2] == (200, b'[{}, "one"]')
    assert ask(serve("one", "two"), "POST", RIE, b"{}")[0] == 404
    assert ask(serve("function", "two"), "POST", RIE, b"{}")[::2] == (200, b'[{}, "function"]')


# -- web pages --------------------------------------------------------------------------------------------------------

ALLOWED = "http://localhost:5173"


def test_a_foreign_page_cannot_drive_serve(served):
    path = INVOKE.format("echo")
    for headers in (
        {"Host": "evil.example"},
        {"Host": "evil.example:3001"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        status, answer, body = ask(served.url, "POST", path, b"{}", **headers)
        assert (status, answer["x-amzn-errortype"]) == (403, "AccessDeniedException"), headers
        assert "access-control-allow-origin" not in answer
        assert json.loads(body)["Message"]
    assert ask(served.url, "OPTIONS", path, Origin=ALLOWED, Access_Control_Request_Method="POST")[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "127.0.0.1:{port}", "[::1]:{port}"])
def test_the_names_of_loopback_are_served(served, host):
    port = served.url.rpartition(":")[2]
    assert ask(served.url, "POST", INVOKE.format("echo"), b"1", Host=host.format(port=port))[0] == 200


def test_an_allowed_page_reads_the_answer(serve):
    url = serve("one", origins=(ALLOWED,))
    status, headers, body = ask(
        url, "OPTIONS", INVOKE.format("one"), Origin=ALLOWED, Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="content-type,x-amz-invocation-type",
    )  # fmt: skip
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == ALLOWED
    assert "POST" in headers["access-control-allow-methods"]
    assert headers["access-control-allow-headers"] == "content-type,x-amz-invocation-type"
    status, headers, _ = ask(url, "POST", INVOKE.format("one"), b"{}", Origin=ALLOWED, Sec_Fetch_Site="same-site")
    assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, ALLOWED, "Origin")
    assert "x-amzn-RequestId" in headers["access-control-expose-headers"]
    assert ask(url, "POST", INVOKE.format("nobody"), b"{}", Origin=ALLOWED)[1]["access-control-allow-origin"] == ALLOWED
    assert ask(url, "POST", INVOKE.format("one"), b"{}", Origin="http://localhost:9999")[0] == 403


def test_every_page_may_call_where_the_user_says_so(serve):
    url = serve("one", origins=("*",))
    assert ask(url, "POST", INVOKE.format("one"), b"{}", Origin="https://anywhere.example")[0] == 200


def test_a_host_may_be_allowed(serve):
    url = serve("one", hosts=("lambda.local",))
    assert ask(url, "POST", INVOKE.format("one"), b"{}", Host="lambda.local:3001")[0] == 200
    assert ask(url, "POST", INVOKE.format("one"), b"{}", Host="other.local")[0] == 403
    assert ask(serve("one", allows_any_host=True), "POST", INVOKE.format("one"), b"{}", Host="other.local")[0] == 200


def test_no_timeout_rests_the_deadline(tmp_path):
    (tmp_path / "app.py").write_text(
        "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return context.get_remaining_time_in_millis()\n"
    )
    function = Function(name="one", handler="app.handler", runtime="python3.11", code=tmp_path, timeout=0.1)
    with LambdaService.blocking([function], ServiceOptions(python=sys.executable)) as service:
        url = service.listen(options=InvokeApiOptions(no_timeout=True))
        status, headers, body = ask(url, "POST", INVOKE.format("one"), b"{}")
    assert (status, "x-amz-function-error" in headers) == (200, False)
    assert int(body) > 3_600_000
