"""The rules of nodejs24.x, which follow the identifier on every interpreter."""

from __future__ import annotations

import json

import pytest
from tests.contract.nodejs.conftest import Starter

RUNTIME = "nodejs24.x"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("exports.handler = async (e) => e", {"n": 1}, id="async"),
        pytest.param("exports.handler = (e) => e.n", 1, id="sync-return-is-used"),
        pytest.param("exports.handler = () => {}", None, id="undefined"),
        pytest.param("exports.handler = async () => { setTimeout(() => {}, 60000); return 'now' }", "now", id="no-waiting"),
        pytest.param("module.exports = { default: { handler: async () => 'd' } }", "d", id="default-export"),
        pytest.param("exports.handler = async function () { return arguments.length }", 2, id="two-arguments"),
    ],
)
def test_a_result_is_answered(start: Starter, source: str, expected: object) -> None:
    assert start(source, runtime=RUNTIME).result({"n": 1}) == expected


def test_the_default_export_of_an_es_module_is_searched(start: Starter) -> None:
    function = start({"index.mjs": "export default { a: { b: async () => 'found' } }"}, handler="index.a.b", runtime=RUNTIME)
    assert function.result({}) == "found"


def test_a_callback_handler_is_an_init_error(start: Starter) -> None:
    function = start("exports.handler = (event, context, callback) => callback(null, 1)", runtime=RUNTIME)
    request = function.api.wait_for_request("/runtime/init/error")
    assert request.json()["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert request.json()["errorMessage"].startswith("ERROR: AWS Lambda has removed support for callback-based function handlers")
    assert request.headers["lambda-runtime-function-error-type"] == "Runtime.CallbackHandlerDeprecated"
    assert function.exit_code() == 1
    assert any("\tInit Error\t{" in line for line in function.lines())


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        pytest.param("exports.handler = async () => { throw new TypeError('boom') }", "TypeError", "boom", id="throw"),
        pytest.param("exports.handler = () => { throw 'text' }", "string", "text", id="text"),
        pytest.param("exports.handler = () => { throw undefined }", "undefined", "undefined", id="undefined"),
        pytest.param(
            "exports.handler = async () => 1n", "Runtime.JSONStringifyError", "Unable to stringify response body", id="bigint"
        ),
        pytest.param(
            "exports.handler = async (e, c) => c.succeed(1)", "TypeError", "c.succeed is not a function", id="no-succeed"
        ),
    ],
)
def test_a_failure_is_an_error_document(start: Starter, source: str, error_type: str, message: str) -> None:
    document = start(source, runtime=RUNTIME).error({})
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)


@pytest.mark.parametrize(
    ("source", "handler", "error_type"),
    [
        ("exports.other = 1", "index.handler", "Runtime.HandlerNotFound"),
        ("exports.handler = 1", "index.handler", "Runtime.HandlerNotFound"),
        ("boom(", "index.handler", "Runtime.UserCodeSyntaxError"),
        ("require('nope')", "index.handler", "Runtime.ImportModuleError"),
        ("", "index", "Runtime.MalformedHandlerName"),
    ],
)
def test_a_failed_init_exits_1(start: Starter, source: str, handler: str, error_type: str) -> None:
    function = start(source, handler=handler, runtime=RUNTIME)
    assert function.init_error()["errorType"] == error_type
    assert function.exit_code() == 1


def test_a_missing_variable_is_a_platform_error(start: Starter) -> None:
    function = start("exports.handler = async () => 1", runtime=RUNTIME, env={"AWS_LAMBDA_LOG_GROUP_NAME": ""})
    document = function.init_error()
    assert document["errorType"] == "Runtime.PlatformError"
    assert document["errorMessage"] == "Missing required environment variables: AWS_LAMBDA_LOG_GROUP_NAME"


def test_a_missing_header_is_a_platform_error(start: Starter) -> None:
    function = start("exports.handler = async () => 1", runtime=RUNTIME)
    document = function.error({}, headers={"Lambda-Runtime-Invoked-Function-Arn": ""})
    assert document["errorType"] == "Runtime.PlatformError"
    assert document["errorMessage"] == "Missing required headers: lambda-runtime-invoked-function-arn"


def test_the_context_has_trace_facts_and_no_callbacks(start: Starter) -> None:
    source = (
        "exports.handler = async (e, c) => ({ keys: Object.keys(c), trace: c.xRayTraceId, w3c: c.w3c(), cc: c.clientContext })"
    )
    headers = {
        "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
        "Lambda-Runtime-Client-Context": json.dumps(
            {"custom": {"a": "b"}, "w3c": {"traceparent": "00-1-2-01", "baggage": "k=v", "tracestate": 5, "other": "x"}}
        ),
    }
    result = start(source, runtime=RUNTIME).result({}, headers=headers)
    keys = {
        *("functionName", "functionVersion", "memoryLimitInMB", "logGroupName", "logStreamName", "clientContext", "identity"),
        *("invokedFunctionArn", "awsRequestId", "tenantId", "xRayTraceId", "getRemainingTimeInMillis", "w3c"),
    }
    assert set(result["keys"]) == keys
    assert result["trace"] == headers["Lambda-Runtime-Trace-Id"]
    assert result["w3c"] == {"traceparent": "00-1-2-01", "baggage": "k=v"}
    assert result["cc"] == {"custom": {"a": "b"}}


def test_the_invoke_store_names_the_invocation(start: Starter) -> None:
    function = start("exports.handler = async () => awslambda.InvokeStore.getRequestId()", runtime=RUNTIME)
    assert function.result({}).endswith("0001")
    assert function.result({}).endswith("0002")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        pytest.param(
            "exports.handler = async () => { setTimeout(() => { throw new Error('x') }, 5); await new Promise(r => setTimeout(r, 9000)) }",
            1,
            id="uncaught",
        ),
        pytest.param("exports.handler = () => new Promise(() => {})", 0, id="never-settles"),
    ],
)
def test_what_nobody_catches_is_left_to_node(start: Starter, source: str, code: int) -> None:
    function = start(source, runtime=RUNTIME)
    function.enqueue({})
    assert function.exit_code() == code
    assert function.api.requests == []


def test_the_identifier_decides_not_the_interpreter(start: Starter) -> None:
    function = start("exports.handler = (e, c, cb) => cb(null, typeof c.done)", runtime="nodejs14.x")
    assert function.result({}) == "function"
