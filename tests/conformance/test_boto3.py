"""boto3 as the judge of the Lambda API (contract 5.1-5.4)."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop-dev-echo"
EXPECTED = {"FunctionName": "shop-dev-echo", "FunctionArn": ARN}


def payload(answer: Any) -> Any:
    return json.loads(answer["Payload"].read())


def refused(call: Any, *arguments: Any, **parameters: Any) -> tuple[int, str, dict[str, Any]]:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **parameters)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-errortype"] == answer["Error"]["Code"]
    uuid.UUID(answer["ResponseMetadata"]["RequestId"])
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer


# -- Invoke -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [{"a": [1, 2.5, None, "ü€𝄞"]}, [], "text", 0, None, True])
def test_an_event_and_its_result(client, event):
    answer = client.invoke(FunctionName="echo", Payload=json.dumps(event))
    assert (answer["StatusCode"], answer["ExecutedVersion"], answer.get("FunctionError")) == (200, "$LATEST", None)
    assert payload(answer) == event
    assert "LogResult" not in answer


def test_without_a_payload_the_event_is_an_empty_object(client):
    assert payload(client.invoke(FunctionName="echo")) == {}
    assert payload(client.invoke(FunctionName="echo", Payload=b"")) == {}


@pytest.mark.parametrize(
    ("name", "qualifier", "arn"),
    [
        ("echo", None, ARN),
        ("shop-dev-echo", None, ARN),
        ("shop-dev-echo:$LATEST", None, ARN + ":$LATEST"),
        ("shop-dev-echo", "$LATEST", ARN + ":$LATEST"),
        ("shop-dev-echo:$LATEST", "$LATEST", ARN + ":$LATEST"),
        ("123456789012:function:shop-dev-echo", None, ARN),
        (ARN, None, ARN),
        (ARN + ":$LATEST", None, ARN + ":$LATEST"),
    ],
)
def test_the_ways_to_name_a_function(client, name, qualifier, arn):
    more = {} if qualifier is None else {"Qualifier": qualifier}
    answer = client.invoke(FunctionName=name, Payload=b'{"do":"context"}', **more)
    seen = payload(answer)
    assert seen == {
        "arn": arn,
        "id": answer["ResponseMetadata"]["RequestId"],
        "name": "shop-dev-echo",
        "version": "$LATEST",
        "client": None,
    }


def test_the_client_context_reaches_the_handler(client):
    context = {"client": {"installation_id": "ü-1"}, "custom": {"a": 1}, "env": {"b": "c"}}
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    answer = client.invoke(FunctionName="echo", Payload=b'{"do":"context"}', ClientContext=encoded)
    assert payload(answer)["client"] == [{"a": 1}, {"b": "c"}, "ü-1"]


def test_a_function_error_is_a_200_with_its_marker(client):
    answer = client.invoke(FunctionName="echo", Payload=b'{"do":"raise"}')
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    document = payload(answer)
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "as asked")
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]


@pytest.mark.parametrize(
    ("event", "error_type", "message"),
    [
        (b'{"do":"crash"}', "Runtime.ExitError", "Error: Runtime exited with error: exit status 3"),
        (b'{"do":"sleep"}', "Sandbox.Timedout", "Error: Task timed out after 2.00 seconds"),
        (b'{"do":"large"}', "Function.ResponseSizeTooLarge", "Response payload size (7000002 bytes) exceeded"),
    ],
)
@pytest.mark.slow
def test_what_the_platform_answers_is_a_200_too(client, settle, event, error_type, message):
    answer = client.invoke(FunctionName="echo", Payload=event)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    document = payload(answer)
    assert document["errorType"] == error_type
    assert message in document["errorMessage"]
    settle()
    assert payload(client.invoke(FunctionName="echo", Payload=b"1")) == 1


def test_the_tail_is_the_last_4_kb_and_ends_with_the_report(client):
    answer = client.invoke(FunctionName="echo", Payload=b'{"do":"log"}', LogType="Tail")
    tail = base64.b64decode(answer["LogResult"])
    assert len(tail) == 4096
    last = tail.decode().rstrip("\n").splitlines()[-1]
    assert last.startswith(f"REPORT RequestId: {answer['ResponseMetadata']['RequestId']}\tDuration: ")
    short = base64.b64decode(client.invoke(FunctionName="echo", LogType="Tail")["LogResult"]).decode().splitlines()
    assert [line.split()[0] for line in short] == ["START", "END", "REPORT"]


def test_an_event_invocation_is_accepted_and_runs(client, tmp_path):
    until = tmp_path / "until"
    until.touch()
    here = tmp_path / "here"
    event = json.dumps({"do": "wait", "here": str(here), "until": str(until)})
    answer = client.invoke(FunctionName="echo", InvocationType="Event", Payload=event)
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert "ExecutedVersion" not in answer
    uuid.UUID(answer["ResponseMetadata"]["RequestId"])
    horizon = time.monotonic() + 5
    while not here.exists() and time.monotonic() < horizon:
        time.sleep(0.005)  # an Event invocation tells nobody that it has run: its file is all there is to look for
    assert here.exists()


def test_a_dry_run_runs_nothing(client):
    answer = client.invoke(FunctionName="echo", InvocationType="DryRun", Payload=b'{"do":"crash"}')
    assert (answer["StatusCode"], answer["Payload"].read()) == (204, b"")


def test_six_megabytes_go_there_and_back(client):
    event = b'"' + b"x" * 6_291_454 + b'"'
    assert client.invoke(FunctionName="echo", Payload=event)["Payload"].read() == event


# -- exceptions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "qualifier", "arn"),
    [
        ("nobody", None, "arn:aws:lambda:us-east-1:123456789012:function:nobody"),
        ("nobody", "live", "arn:aws:lambda:us-east-1:123456789012:function:nobody:live"),
        ("echo", "7", ARN + ":7"),
        ("echo:prod", None, ARN + ":prod"),
        ("210987654321:function:shop-dev-echo", None, "arn:aws:lambda:us-east-1:210987654321:function:shop-dev-echo"),
        ("arn:aws:lambda:eu-west-1:123456789012:function:nobody", None, "arn:aws:lambda:eu-west-1:123456789012:function:nobody"),
    ],
)
def test_a_function_that_is_not_there(client, name, qualifier, arn):
    more = {} if qualifier is None else {"Qualifier": qualifier}
    for call in (client.invoke, client.invoke_with_response_stream, client.get_function, client.get_function_configuration):
        status, code, answer = refused(call, FunctionName=name, **more)
        assert (status, code) == (404, "ResourceNotFoundException")
        assert (answer["Type"], answer["Message"]) == ("User", f"Function not found: {arn}")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.invoke(FunctionName=name, **more)


@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b"1 2", b'"\xff"', b"NaN", b"\x00"])
def test_a_body_that_is_not_json(client, body):
    status, code, answer = refused(client.invoke, FunctionName="echo", Payload=body)
    assert (status, code) == (400, "InvalidRequestContentException")
    assert answer["Type"] == "User"
    assert answer["message"].startswith("Could not parse request body into json: ")
    assert refused(client.invoke, FunctionName="echo", Payload=body, InvocationType="Event")[:2] == (
        400,
        "InvalidRequestContentException",
    )


def test_a_payload_over_the_limit(client):
    status, code, answer = refused(client.invoke, FunctionName="echo", Payload=b'"' + b"x" * 6_291_455 + b'"')
    assert (status, code) == (413, "RequestTooLargeException")
    assert answer["Error"]["Message"] == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    assert answer["Type"] == "User"


def test_an_event_payload_over_its_own_limit(client):
    body = b'"' + b"x" * 1_048_575 + b'"'
    status, code, answer = refused(client.invoke, FunctionName="echo", Payload=body, InvocationType="Event")
    assert (status, code) == (413, "RequestTooLargeException")
    assert answer["Error"]["Message"] == "Request must be smaller than 1048576 bytes for the InvokeFunction operation"
    assert len(client.invoke(FunctionName="echo", Payload=body)["Payload"].read()) == len(body)


def test_a_throttled_function(client):
    status, code, answer = refused(client.invoke, FunctionName="stopped")
    assert (status, code) == (429, "TooManyRequestsException")
    assert (answer["Reason"], answer["Type"], answer["message"]) == (
        "ReservedFunctionConcurrentInvocationLimitExceeded",
        "User",
        "Rate Exceeded.",
    )
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    assert refused(client.invoke_with_response_stream, FunctionName="stopped")[:2] == (429, "TooManyRequestsException")
    assert client.invoke(FunctionName="stopped", InvocationType="DryRun")["StatusCode"] == 204


@pytest.mark.parametrize(
    ("context", "part"),
    [
        ("not base64!", "valid Base64-encoded JSON"),
        (base64.b64encode(b"{").decode(), "valid Base64-encoded JSON"),
        ("x" * 3584, "3583 bytes"),
    ],
)
def test_a_bad_client_context(client, context, part):
    status, code, answer = refused(client.invoke, FunctionName="echo", ClientContext=context)
    assert (status, code) == (400, "InvalidParameterValueException")
    assert part in answer["message"]


def test_qualifiers_that_differ(client):
    status, code, _ = refused(client.invoke, FunctionName="echo:prod", Qualifier="$LATEST")
    assert (status, code) == (400, "InvalidParameterValueException")


@pytest.mark.parametrize("parameters", [{"InvocationType": "Sometimes"}, {"LogType": "Head"}])
def test_values_outside_their_set(client, parameters):
    status, code, answer = refused(client.invoke, FunctionName="echo", **parameters)
    assert (status, code) == (400, "ValidationException")
    assert answer["Error"]["Message"].startswith("1 validation error detected: Value '")


def test_a_tenant_of_a_function_without_tenants(client):
    assert refused(client.invoke, FunctionName="echo", TenantId="t")[:2] == (400, "InvalidParameterValueException")


def test_an_operation_that_is_not_served(client):
    status, code, _ = refused(client.delete_function, FunctionName="echo")
    assert (status, code) == (404, "UnknownOperationException")


# -- the control plane ------------------------------------------------------------------------------------------------


def test_the_functions_are_listed(client, served):
    functions = client.list_functions()["Functions"]
    assert [function["FunctionName"] for function in functions] == sorted(function.name for function in served.functions.values())
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
    assert [function["FunctionName"] for page in pages for function in page["Functions"]] == [
        f["FunctionName"] for f in functions
    ]


def test_a_function_is_described(client, served):
    for name in ("echo", "shop-dev-echo", ARN):
        configuration = client.get_function_configuration(FunctionName=name)
        wanted = {
            **EXPECTED, "Runtime": served.functions["echo"].runtime, "Handler": "app.handler", "Timeout": 2, "MemorySize": 256,
            "Description": "says it again", "Version": "$LATEST", "State": "Active", "LastUpdateStatus": "Successful",
            "PackageType": "Zip", "Environment": {"Variables": {"A": "1"}},
        }  # fmt: skip
        assert {key: configuration[key] for key in wanted} == wanted
        assert configuration["CodeSize"] > 0
        assert len(base64.b64decode(configuration["CodeSha256"])) == 32
    whole = client.get_function(FunctionName="echo")
    assert whole["Configuration"]["FunctionArn"] == ARN
    assert whole["Code"]["Location"].startswith("file://")
    assert client.get_function(FunctionName="stopped")["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    assert client.get_waiter("function_active_v2").wait(FunctionName="echo") is None
    assert client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 32


# -- streams ----------------------------------------------------------------------------------------------------------


def stream(client: Any, event: Any, name: str = "stream", **more: Any) -> tuple[bytes, dict[str, Any]]:
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event), **more)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    data, complete = b"", None
    for message in answer["EventStream"]:
        assert complete is None
        if "PayloadChunk" in message:
            data += message["PayloadChunk"]["Payload"]
        else:
            complete = message["InvokeComplete"]
    assert complete is not None
    return data, complete


def test_a_stream_arrives_whole(client, stream_function):
    assert stream(client, {}) == (b"first;last", {})


def test_the_first_chunk_arrives_while_the_function_still_runs(client, stream_function, tmp_path):
    until = tmp_path / "until"
    answer = client.invoke_with_response_stream(FunctionName="stream", Payload=json.dumps({"until": str(until)}))
    messages: Iterator[Any] = iter(answer["EventStream"])
    assert next(messages) == {"PayloadChunk": {"Payload": b"first;"}}
    until.touch()
    assert b"".join(m["PayloadChunk"]["Payload"] for m in messages if "PayloadChunk" in m) == b"last"


def test_a_stream_larger_than_a_buffered_response(client, stream_function):
    data, complete = stream(client, {"chunks": 160})
    assert (len(data), complete) == (160 * 65536 + 10, {})


def test_an_error_in_the_middle_of_a_stream_is_in_its_end(client, stream_function):
    data, complete = stream(client, {"do": "throw"})
    assert data == b"first;"
    assert complete["ErrorCode"] == "RangeError"
    assert json.loads(complete["ErrorDetails"])["errorMessage"] == "in the middle"


def test_an_error_before_a_stream_is_in_its_end(client, stream_function):
    data, complete = stream(client, {"do": "throw early"})
    assert data == b""
    assert complete["ErrorCode"] == "RangeError"
    assert json.loads(complete["ErrorDetails"])["errorType"] == "RangeError"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("do", "codes"),
    # A runtime that dies cuts its stream and ends: whichever is seen first is the answer.
    [("crash", {"Runtime.ExitError", "Runtime.TruncatedResponse"}), ("sleep", {"Sandbox.Timedout"})],
)
def test_a_crash_and_a_timeout_in_a_stream_are_in_its_end(client, stream_function, settle, do, codes):
    data, complete = stream(client, {"do": do})
    assert data == b"first;"
    assert complete["ErrorCode"] in codes
    assert json.loads(complete["ErrorDetails"])["errorType"] == complete["ErrorCode"]
    settle()
    assert stream(client, {}) == (b"first;last", {})


def test_the_tail_of_a_stream(client, stream_function):
    data, complete = stream(client, {}, LogType="Tail")
    assert data == b"first;last"
    lines = base64.b64decode(complete["LogResult"]).decode().splitlines()
    assert [line.split()[0] for line in lines] == ["START", "END", "REPORT"]


def test_a_function_that_does_not_stream_comes_in_chunks(client):
    assert stream(client, {"a": 1}, "echo") == (b'{"a": 1}', {})
    event = "x" * 200_000
    assert stream(client, event, "echo") == (json.dumps(event).encode(), {})
    data, complete = stream(client, {"do": "raise"}, "echo", LogType="Tail")
    assert data == b""
    assert (complete["ErrorCode"], json.loads(complete["ErrorDetails"])["errorMessage"]) == ("ValueError", "as asked")
    assert base64.b64decode(complete["LogResult"]).decode().splitlines()[-1].startswith("REPORT ")


def test_a_function_that_streams_can_be_invoked_buffered(client, stream_function):
    answer = client.invoke(FunctionName="stream", Payload=b"{}")
    assert (answer.get("FunctionError"), answer["Payload"].read()) == (None, b"first;last")
    answer = client.invoke(FunctionName="stream", Payload=b'{"do":"throw"}')
    assert (answer["FunctionError"], payload(answer)["errorMessage"]) == ("Unhandled", "in the middle")
    answer = client.invoke_with_response_stream(FunctionName="stream", InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    answer["EventStream"].close()


def test_a_caller_that_leaves_a_stream_does_not_disturb(client, stream_function, settle):
    answer = client.invoke_with_response_stream(FunctionName="stream", Payload=json.dumps({"chunks": 400}))
    next(iter(answer["EventStream"]))
    answer["EventStream"].close()
    settle()
    assert stream(client, {}) == (b"first;last", {})


def test_a_reader_that_is_slow_slows_the_function(client, stream_function, served, settle):
    """The bytes wait in the function's process, not in ours: back-pressure reaches the runtime."""
    answer = client.invoke_with_response_stream(FunctionName="stream", Payload=json.dumps({"chunks": 800}))
    messages = iter(answer["EventStream"])
    next(messages)
    time.sleep(0.3)  # a reader that does not read for a while is what the test is about
    page = Path("/proc/self/statm").read_text().split()[1]
    assert int(page) * 4096 < 400 << 20
    total = sum(len(m["PayloadChunk"]["Payload"]) for m in messages if "PayloadChunk" in m)
    assert total == 800 * 65536 + 4


def test_the_deprecated_invoke_async(client):
    assert client.invoke_async(FunctionName="echo", InvokeArgs=b"{}")["Status"] == 202
