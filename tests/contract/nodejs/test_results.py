"""Results, callbacks and errors of Node.js 22 and older: what AWS's client 3.x does, we do."""

from __future__ import annotations

import json

import pytest
from tests.contract.nodejs.conftest import Starter


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("exports.handler = async (e) => ({ got: e })", {"got": {"n": 1}}, id="async"),
        pytest.param("exports.handler = (e) => Promise.resolve(e.n)", 1, id="promise"),
        pytest.param("exports.handler = (e) => ({ then: (ok) => ok('thenable') })", "thenable", id="thenable"),
        pytest.param("exports.handler = (e, c, cb) => cb(null, e)", {"n": 1}, id="callback"),
        pytest.param("exports.handler = (e, c, cb) => { setTimeout(() => cb(null, 'late'), 5) }", "late", id="late-callback"),
        pytest.param("exports.handler = (e, c) => c.succeed('s')", "s", id="succeed"),
        pytest.param("exports.handler = (e, c) => { c.done(null, 'd') }", "d", id="done"),
        pytest.param("exports.handler = (e) => 'discarded'", None, id="sync-return-is-discarded"),
        pytest.param("exports.handler = (e) => { setTimeout(() => {}, 5) }", None, id="nothing"),
        pytest.param("exports.handler = async () => {}", None, id="undefined-is-null"),
        pytest.param("exports.handler = async () => 'é€😀\\u2028'", "é€😀\u2028", id="unicode"),
        pytest.param("exports.handler = async () => { throw undefined }", "handled", id="throw-undefined"),
        pytest.param("exports.handler = (e, c, cb) => { cb(null, 1); cb(null, 2); c.succeed(3) }", 1, id="first-callback-counts"),
        pytest.param(
            "exports.handler = async (e, c, cb) => { cb(null, 'callback'); return 'promise' }", "callback", id="callback-first"
        ),
        pytest.param(
            "exports.handler = async (e, c, cb) => { c.succeed('early'); throw new Error('late') }", "early", id="succeed-first"
        ),
        pytest.param("exports.handler = (e, c, cb) => { throw undefined }", None, id="sync-throw-undefined"),
    ],
)
def test_a_result_is_answered(start_any: Starter, source: str, expected: object) -> None:
    function = start_any(source)
    answer = function.invoke({"n": 1})
    assert (answer.json()["errorMessage"] if answer.is_error else answer.json()) == expected


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        pytest.param("exports.handler = async () => { throw new TypeError('boom') }", "TypeError", "boom", id="async-throw"),
        pytest.param("exports.handler = () => { throw new RangeError('sync') }", "RangeError", "sync", id="sync-throw"),
        pytest.param("exports.handler = (e, c, cb) => cb(new Error('cb'))", "Error", "cb", id="callback-error"),
        pytest.param("exports.handler = (e, c, cb) => cb('text')", "string", "text", id="callback-text"),
        pytest.param("exports.handler = (e, c) => c.fail(new Error('f'))", "Error", "f", id="fail"),
        pytest.param("exports.handler = (e, c) => c.fail()", "string", "handled", id="fail-without-argument"),
        pytest.param("exports.handler = (e, c) => c.done('d')", "string", "d", id="done-error"),
        pytest.param("exports.handler = async () => { throw 'text' }", "string", "text", id="thrown-text"),
        pytest.param("exports.handler = async () => { throw 42 }", "number", "42", id="thrown-number"),
        pytest.param("exports.handler = async () => { throw { a: 1 } }", "object", "[object Object]", id="thrown-object"),
        pytest.param("exports.handler = async () => 1n", "Error", "Unable to stringify response body", id="bigint"),
        pytest.param(
            "exports.handler = (e, c, cb) => { const a = {}; a.a = a; c.callbackWaitsForEmptyEventLoop = false; cb(null, a) }",
            "Error",
            "Unable to stringify response body",
            id="cycle",
        ),
        pytest.param(
            "class E extends Error {}; E.prototype.name = 'MyError'; exports.handler = async () => { throw new E('x\\x7fy') }",
            "MyError",
            "x%7Fy",
            id="own-class-and-del",
        ),
        pytest.param(
            "exports.handler = async () => { const e = new Error('x'); Object.defineProperty(e, 'message',"
            " { get() { throw new Error('no') } }); throw e }",
            "handled",
            "callback called with Error argument, but there was a problem while retrieving one or more of its message,"
            " name, and stack",
            id="unreadable",
        ),
    ],
)
def test_a_failure_is_an_error_document(start_any: Starter, source: str, error_type: str, message: str) -> None:
    function = start_any(source)
    document = function.error({})
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)
    assert list(document)[:2] == ["errorType", "errorMessage"]
    if error_type not in ("handled", "string", "number", "object"):
        assert document["trace"][0] == f"{error_type}: {message}"
    elif error_type != "handled":
        assert document["trace"] == []


def test_the_trace_names_the_users_file(start_any: Starter) -> None:
    document = start_any("exports.handler = async () => {\n  throw new Error('here')\n}").error({})
    assert "index.js:2:" in document["trace"][1]


def test_an_event_that_is_not_json_is_an_error_answer(start_any: Starter) -> None:
    answer = start_any("exports.handler = async () => 1").invoke(raw=b"{oops")
    assert answer.is_error
    assert answer.json()["errorType"] == "SyntaxError"


def test_a_callback_waits_for_the_empty_event_loop(start_any: Starter) -> None:
    function = start_any(
        "let n = 0; exports.handler = (e, c, cb) => { setTimeout(() => { n = 7; console.log('timer') }, 30);"
        " cb(null, { get n() { return n } }) }"
    )
    assert function.result({}) == {"n": 7}


def test_a_callback_need_not_wait(start_any: Starter) -> None:
    function = start_any(
        "exports.handler = (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setTimeout(() => {}, 60000);"
        " cb(null, c.callbackWaitsForEmptyEventLoop) }"
    )
    assert function.result({}) is False
    assert function.result({}) is False


def test_a_promise_settles_at_once(start_any: Starter) -> None:
    function = start_any("exports.handler = async () => { setTimeout(() => {}, 60000); return 'now' }")
    assert function.result({}) == "now"


def test_an_error_settles_at_once(start_any: Starter) -> None:
    function = start_any("exports.handler = (e, c, cb) => { setTimeout(() => {}, 60000); cb(new Error('now')) }")
    assert function.error({})["errorMessage"] == "now"


def test_invocations_follow_each_other_in_one_process(start_any: Starter) -> None:
    function = start_any("let n = 0; exports.handler = async () => ++n")
    assert [function.result({}) for _ in range(20)] == list(range(1, 21))


def test_an_error_does_not_end_the_process(start_any: Starter) -> None:
    function = start_any("exports.handler = async (e) => { if (e.fail) throw new Error('x'); return process.pid }")
    first = function.result({})
    function.error({"fail": True})
    assert function.result({}) == first


def test_a_promise_that_never_settles_is_nodejsexit(start: Starter) -> None:
    function = start("exports.handler = async (e) => e.hang ? new Promise(() => {}) : process.pid")
    before = function.result({})
    document = function.error({"hang": True})
    assert document["errorType"] == "Runtime.NodeJsExit"
    assert document["errorMessage"].startswith("The Lambda runtime client detected an unexpected Node.js exit code.")
    assert function.result({}) == before


def test_a_late_callback_of_an_answered_invocation_changes_nothing(start: Starter) -> None:
    function = start(
        "let late; exports.handler = (e, c, cb) => { if (late) { late(null, 'late'); setTimeout(() => cb(null, 'own'), 5) }"
        " else late = cb }"
    )
    assert function.result({}) is None
    assert function.result({}) == "own"
    assert any("Invocation has already been reported as done" in line for line in function.lines())


@pytest.mark.parametrize(
    ("source", "code", "error_type", "message"),
    [
        pytest.param(
            "exports.handler = async () => { setTimeout(() => { throw new RangeError('late') }, 5); await new Promise(r => setTimeout(r, 5000)) }",
            129,
            "RangeError",
            "late",
            id="uncaught-exception",
        ),
        pytest.param(
            "exports.handler = async () => { Promise.reject(new Error('nobody')); await new Promise(r => setTimeout(r, 5000)) }",
            128,
            "Runtime.UnhandledPromiseRejection",
            "Error: nobody",
            id="unhandled-rejection",
        ),
        pytest.param(
            "exports.handler = async () => { Promise.reject('text'); await new Promise(r => setTimeout(r, 5000)) }",
            128,
            "Runtime.UnhandledPromiseRejection",
            "text",
            id="unhandled-rejection-of-text",
        ),
    ],
)
def test_an_uncaught_failure_is_reported_and_ends_the_process(
    start_any: Starter, source: str, code: int, error_type: str, message: str
) -> None:
    function = start_any(source)
    document = function.error({})
    assert (document["errorType"], document["errorMessage"]) == (error_type, message)
    assert function.exit_code() == code


def test_process_exit_ends_the_process(start_any: Starter) -> None:
    function = start_any("exports.handler = async () => process.exit(3)")
    function.enqueue({})
    assert function.exit_code() == 3


def test_an_uncaught_exception_between_invocations_ends_the_process(start: Starter) -> None:
    function = start("exports.handler = async () => { setTimeout(() => { throw new Error('later') }, 50); return 1 }")
    assert function.result({}) == 1
    assert function.exit_code() == 129


def test_an_uncaught_exception_after_the_answer_does_not_lose_the_answer(start: Starter) -> None:
    function = start("exports.handler = (e, c) => { c.succeed('kept'); process.nextTick(() => { throw new Error('x') }) }")
    assert function.result({}) == "kept"
    assert function.exit_code() == 129


def test_the_context_has_every_field(start_any: Starter) -> None:
    source = (
        "exports.handler = async (e, c) => ({ ...c, keys: Object.keys(c), left: c.getRemainingTimeInMillis(),"
        " types: ['succeed', 'fail', 'done'].map((n) => typeof c[n]) })"
    )
    headers = {
        "Lambda-Runtime-Client-Context": json.dumps({"custom": {"k": "v"}, "env": {}}),
        "Lambda-Runtime-Cognito-Identity": json.dumps({"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}),
        "Lambda-Runtime-Aws-Tenant-Id": "blue",
    }
    result = start_any(source).result({}, headers=headers)
    left = result.pop("left")
    assert 0 < left <= 3000
    assert result.pop("types") == ["function"] * 3
    keys = result.pop("keys")
    assert {"getRemainingTimeInMillis", "succeed", "fail", "done", "callbackWaitsForEmptyEventLoop"} <= set(keys)
    assert "xRayTraceId" not in keys
    assert result == {
        "callbackWaitsForEmptyEventLoop": True,
        "functionName": "my-function",
        "functionVersion": "$LATEST",
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/my-function",
        "logStreamName": "2026/07/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "clientContext": {"custom": {"k": "v"}, "env": {}},
        "identity": {"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"},
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:my-function",
        "awsRequestId": "8476a536-e9f4-11e8-9739-000000000001",
        "tenantId": "blue",
    }


def test_remaining_time_may_be_negative(start_any: Starter) -> None:
    function = start_any("exports.handler = async (e, c) => c.getRemainingTimeInMillis()")
    assert function.result({}, headers={"Lambda-Runtime-Deadline-Ms": "1000"}) < 0


def test_a_client_context_that_is_not_json_is_an_error(start_any: Starter) -> None:
    function = start_any("exports.handler = async () => 1")
    document = function.error({}, headers={"Lambda-Runtime-Client-Context": "{nope"})
    assert document["errorMessage"].startswith("Cannot parse ClientContext as json: SyntaxError")


def test_the_trace_id_is_set_and_removed_for_each_invocation(start_any: Starter) -> None:
    function = start_any("exports.handler = async () => process.env._X_AMZN_TRACE_ID ?? null")
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    assert function.result({}, headers={"Lambda-Runtime-Trace-Id": trace}) == trace
    assert function.result({}) is None


def test_an_error_carries_the_xray_cause(start_any: Starter) -> None:
    answer = start_any("exports.handler = async () => {\n  throw new TypeError('ünï\\nline')\n}").invoke({})
    cause = json.loads(answer.headers["lambda-runtime-function-xray-error-cause"].encode("latin-1"))
    assert set(cause) == {"working_directory", "exceptions", "paths"}
    exception = cause["exceptions"][0]
    assert exception["type"] == "TypeError"
    assert exception["message"] == "ünï\nline"
    frame = next(entry for entry in exception["stack"] if entry["path"].endswith("index.js"))
    assert frame["line"] == 2
    assert "lambda-runtime-function-error-type" not in answer.headers


def test_the_xray_cause_is_plain_ascii_of_bounded_size(start: Starter) -> None:
    answer = start("exports.handler = async () => { throw new Error('ü€'.repeat(200000)) }").invoke({})
    cause = answer.headers["lambda-runtime-function-xray-error-cause"]
    assert len(cause) <= 65536
    assert cause.isascii()
    assert len(answer.json()["errorMessage"]) == 400000
