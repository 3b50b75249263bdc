"""The library on its own: loop, parts, environment, serializers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import lambdabox_runtime
from lambdabox_runtime import (
    ConfigurationError,
    DefaultContextFactory,
    DefaultEnvironment,
    DefaultErrorReporter,
    DefaultRuntimeApi,
    FunctionError,
    Invocation,
    JsonSerializer,
    LambdaboxRuntimeError,
    Response,
    Runtime,
    RuntimeApiError,
    TextSerializer,
    lambda_handler,
)

SOURCE = Path(lambdabox_runtime.__file__).parent


class EnoughError(Exception):
    """Ends a loop that a test runs in its own process."""


class FakeApi:
    """A RuntimeApi that hands out invocations and keeps what comes back."""

    def __init__(self, *invocations: Invocation, refusal: RuntimeApiError | None = None) -> None:
        self.invocations = list(invocations)
        self.answers: list[tuple] = []
        self.refusal = refusal

    def next(self) -> Invocation:
        if not self.invocations:
            raise EnoughError
        return self.invocations.pop(0)

    def response(self, invocation, body, content_type):
        self.answers.append(("response", invocation.request_id, body, content_type))
        if self.refusal is not None:
            raise self.refusal

    def error(self, invocation, document, *, error_type=None, cause=None):
        self.answers.append(("error", invocation.request_id, json.loads(document), error_type))

    def init_error(self, document, error_type):
        self.answers.append(("init error", "", json.loads(document), error_type))
        if self.refusal is not None:
            raise self.refusal


def invocation(body: bytes = b"{}", request_id: str = "id-1", **headers: str) -> Invocation:
    named = {"content-type": "application/json"}
    for name, value in headers.items():
        dashed = name.replace("_", "-")
        named[dashed if name == "content_type" else f"lambda-runtime-{dashed}"] = value
    return Invocation(request_id, body, named)


def run(initialize, *invocations, refusal=None, **parts):
    api = FakeApi(*invocations, refusal=refusal)
    environment = parts.pop("environment", DefaultEnvironment({}))
    with pytest.raises(EnoughError):
        Runtime(initialize, environment=environment, runtime_api=api, **parts).run()
    return api.answers


# -- the loop ---------------------------------------------------------------------------------------------------------


def test_without_a_serializer_the_handler_gets_text():
    answers = run(
        lambda: lambda event, context: {"msg": f"ECHO: {event}", "req_id": context.aws_request_id}, invocation(b'{"a": 1}')
    )
    assert answers == [("response", "id-1", b'{"msg": "ECHO: {\\"a\\": 1}", "req_id": "id-1"}', "application/json")]


@pytest.mark.parametrize(
    ("body", "content_type", "event"),
    [
        (b"", "application/json", None),
        (b'"h\xc3\xa9"', "application/json", '"h\u00e9"'),
        (b"{}", "application/cloudevents+json; charset=utf-8", "{}"),
        (b"hi", "text/plain", "hi"),
        (b"\xff", "image/png", b"\xff"),
    ],
)
def test_the_content_type_decides_what_the_text_serializer_gives(body, content_type, event):
    assert TextSerializer().load(bytearray(body), content_type) == event


def test_initialize_runs_once_for_all_invocations():
    calls = []
    run(lambda: calls.append(1) or (lambda event, context: None), invocation(), invocation(request_id="id-2"))
    assert calls == [1]


def test_a_failing_initialize_is_an_init_error_and_exit_1(capsys):
    api = FakeApi()

    def initialize():
        raise OSError("no database\nhere")

    with pytest.raises(SystemExit) as exited:
        Runtime(initialize, environment=DefaultEnvironment({}), runtime_api=api).run()
    assert exited.value.code == 1
    [(call, _, document, error_type)] = api.answers
    assert (call, error_type, document["errorMessage"]) == ("init error", "OSError", "no database\nhere")
    assert document["stackTrace"][0].startswith(f'  File "{__file__}"')
    assert capsys.readouterr().out.startswith("[ERROR] OSError: no database\nhere\rTraceback")


def test_an_init_error_that_another_process_reported_first_still_exits_1(capsys):
    api = FakeApi(refusal=RuntimeApiError("init error", 403, "", is_fatal=False))
    with pytest.raises(SystemExit) as exited:
        Runtime(lambda: 1 / 0, environment=DefaultEnvironment({}), runtime_api=api).run()
    assert exited.value.code == 1


def test_a_handler_picks_its_error_type_with_function_error(capsys):
    def handler(event, context):
        raise FunctionError("Shop.SoldOut", "none left")

    [(_, _, document, error_type)] = run(lambda: handler, invocation())
    assert (document["errorType"], document["errorMessage"], error_type) == ("Shop.SoldOut", "none left", None)
    assert document["stackTrace"][0].startswith(f'  File "{__file__}"')


def test_a_reporter_can_send_the_error_type_header(capsys):
    [(_, _, _, error_type)] = run(
        lambda: lambda e, c: 1 / 0, invocation(), error_reporter=DefaultErrorReporter(sends_error_type=True)
    )
    assert error_type == "ZeroDivisionError"


@pytest.mark.parametrize(("status", "is_noted"), [(410, False), (413, True), (400, True)])
def test_a_refused_answer_is_noted_unless_it_was_late(capsys, status, is_noted):
    refusal = RuntimeApiError("response", status, "no", is_fatal=False)
    answers = run(lambda: lambda e, c: e, invocation(), invocation(request_id="id-2"), refusal=refusal)
    assert len(answers) == 2
    assert (str(status) in capsys.readouterr().err) is is_noted


def test_a_fatal_refusal_ends_the_loop():
    api = FakeApi(invocation(), refusal=RuntimeApiError("response", 500, "broken", is_fatal=True))
    with pytest.raises(RuntimeApiError, match="500: broken"):
        Runtime(lambda: lambda e, c: e, environment=DefaultEnvironment({}), runtime_api=api).run()


def test_every_part_can_be_replaced():
    class Upper:
        def load(self, body, content_type):
            return body.decode().upper()

        def dump(self, result):
            return result.encode(), "text/plain"

    class Names:
        def create(self, invocation):
            return invocation.request_id

    answers = run(lambda: lambda event, context: event + context, invocation(b"a"), serializer=Upper(), context_factory=Names())
    assert answers == [("response", "id-1", b"Aid-1", "text/plain")]


def test_an_unknown_api_version_fails_at_construction():
    with pytest.raises(ConfigurationError, match="2017-01-01"):
        Runtime(lambda: None, api_version="2017-01-01", environment=DefaultEnvironment({"AWS_LAMBDA_RUNTIME_API": "x:1"}))


def test_a_leading_slash_of_the_version_does_not_matter():
    Runtime(lambda: None, api_version="/2018-06-01", environment=DefaultEnvironment({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}))


def test_a_missing_runtime_api_is_told_by_name():
    with pytest.raises(ConfigurationError, match="AWS_LAMBDA_RUNTIME_API is not set"):
        Runtime(lambda: None, environment=DefaultEnvironment({}))


def test_lambda_handler_serves_json_and_stays_callable(api, start):
    source = """
import sys
sys.path.insert(0, {path!r})
from lambdabox_runtime import lambda_handler

@lambda_handler
def handler(event, context):
    "Doubles."
    return event["n"] * 2

assert handler({{"n": 4}}, None) == 8 and handler.__doc__ == "Doubles."
handler.run()
""".format(path=str(SOURCE.parent))
    path = start.write("own.py", source)
    process = subprocess.Popen([sys.executable, str(path)], env={"AWS_LAMBDA_RUNTIME_API": api.address})
    try:
        api.enqueue({"n": 21})
        assert api.wait("response").body == b"42"
    finally:
        process.kill()
        process.wait()


def test_lambda_handler_wraps_without_a_runtime():
    assert lambda_handler(lambda event, context: event)(5, None) == 5


# -- parts ------------------------------------------------------------------------------------------------------------


def test_the_environment_is_typed_and_cached():
    variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_REGION": "eu-central-1", "AWS_LAMBDA_MAX_CONCURRENCY": "x"}
    environment = DefaultEnvironment(variables)
    variables["AWS_REGION"] = "changed"
    assert (environment.function_memory_size, environment.region) == (256, "eu-central-1")
    assert (environment.max_concurrency, environment.handler, environment.get("AWS_REGION")) == (None, None, "eu-central-1")


def test_a_test_double_of_the_environment_leaves_the_process_alone(monkeypatch):
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "real")
    environment = DefaultEnvironment({})
    environment.set_trace_id("fake")
    assert environment.trace_id == "fake"
    environment.set_trace_id(None)
    assert environment.trace_id is None
    assert DefaultEnvironment().trace_id == "real"


def test_the_real_environment_sets_the_process_s_trace_id(monkeypatch):
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "old")
    environment = DefaultEnvironment()
    environment.set_trace_id("new")
    assert DefaultEnvironment().trace_id == "new"
    environment.set_trace_id(None)
    environment.set_trace_id(None)
    assert DefaultEnvironment().trace_id is None


def test_a_context_can_be_printed():
    context = DefaultContextFactory(DefaultEnvironment({"AWS_LAMBDA_FUNCTION_NAME": "f"})).create(
        invocation(
            client_context='{"custom": {"a": 1}, "client": {"app_title": "t"}}', cognito_identity='{"cognitoIdentityId": "i"}'
        )
    )
    text = repr(context)
    assert text.startswith("LambdaContext([aws_request_id=id-1,log_group_name=None,")
    assert "app_title=t" in text
    assert "cognito_identity_id=i" in text


@pytest.mark.parametrize("value", ["5", "[]", '"x"'])
def test_a_client_context_that_is_no_object_is_refused(value):
    with pytest.raises(FunctionError, match="Unable to parse Client Context JSON: an object was expected"):
        DefaultContextFactory(DefaultEnvironment({})).create(invocation(client_context=value))


def test_a_null_client_context_is_none():
    assert DefaultContextFactory(DefaultEnvironment({})).create(invocation(client_context="null")).client_context is None


@pytest.mark.parametrize("text", ["", "{", "[1,]", "nul", '"\x01"', "\ufeff1", " [1] ", "1 2", "[" * 100_000])
def test_the_fast_reader_says_what_json_says(text):
    expected: object
    try:
        expected = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        expected = str(error)
    got: object
    try:
        got = JsonSerializer().load(text.encode(), "application/json")
    except (ValueError, RecursionError) as error:
        got = str(error)
    assert got == expected


@pytest.mark.parametrize("ensure_ascii", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        1.5,
        -0.0,
        True,
        'x\u00e9"\\\n',
        [],
        {},
        [[]],
        {"a": {"b": [1, "2", None]}},
        {1: 2, None: 3, 2.5: 4, False: 5},
        10**40,
        (1, "a"),
        "",
        1e-320,
    ],
)
def test_the_fast_writer_writes_what_json_writes(value, ensure_ascii):
    assert JsonSerializer(ensure_ascii=ensure_ascii).dump(value)[0] == json.dumps(value, ensure_ascii=ensure_ascii).encode()


def test_without_the_accelerator_the_results_are_the_same():
    code = f"""
import sys
sys.path.insert(0, {str(SOURCE.parent)!r})
sys.modules["_json"] = None
from decimal import Decimal
from lambdabox_runtime import JsonSerializer
serializer = JsonSerializer(ensure_ascii=True)
assert serializer.load(b'{{"a": 1}}', "application/json") == {{"a": 1}}
assert serializer.dump(["\\u00e9", Decimal("1.0")])[0] == b'["\\\\u00e9", 1.0]'
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# -- the Runtime API over a transport ---------------------------------------------------------------------------------


class FakeTransport:
    def __init__(self, *responses: Response) -> None:
        self.responses = list(responses)
        self.requests: list[tuple] = []

    def get(self, path, headers=()):
        self.requests.append(("GET", path, dict(headers), b""))
        return self.responses.pop(0)

    def post(self, path, headers, body):
        self.requests.append(("POST", path, dict(headers), body))
        return self.responses.pop(0)


def test_a_busy_answer_is_repeated_with_growing_pauses():
    pauses: list[float] = []
    transport = FakeTransport(*[Response(503, {}, b"")] * 3, Response(202, {}, b""))
    DefaultRuntimeApi(transport, pause=pauses.append).response(invocation(), b"1", "application/json")
    assert (len(transport.requests), pauses) == (4, [0.05, 0.1, 0.2])


def test_a_next_that_stays_busy_fails_at_last():
    pauses: list[float] = []
    transport = FakeTransport(*[Response(503, {}, b"busy")] * 8)
    with pytest.raises(RuntimeApiError, match="503: busy"):
        DefaultRuntimeApi(transport, pause=pauses.append).next()
    assert len(pauses) == 7


def test_an_event_without_a_request_id_is_asked_for_again():
    transport = FakeTransport(Response(200, {}, b"{}"), Response(200, {"lambda-runtime-aws-request-id": "x"}, b"{}"))
    assert DefaultRuntimeApi(transport, pause=lambda _: None).next().request_id == "x"


def test_a_request_id_cannot_change_the_path():
    transport = FakeTransport(Response(202, {}, b""))
    DefaultRuntimeApi(transport).response(invocation(request_id="a/../b c\u00e9"), b"", "text/plain")
    assert transport.requests[0][1] == "/2018-06-01/runtime/invocation/a%2F..%2Fb%20c%C3%A9/response"


def test_an_error_type_cannot_end_its_header_line():
    transport = FakeTransport(Response(202, {}, b""))
    DefaultRuntimeApi(transport).init_error(b"{}", "Odd\r\nX: 1\u00e9")
    assert transport.requests[0][2]["Lambda-Runtime-Function-Error-Type"] == "Odd  X: 1\\u00e9"


# -- the package ------------------------------------------------------------------------------------------------------


def test_every_public_name_exists_and_is_listed():
    for name in lambdabox_runtime.__all__:
        assert getattr(lambdabox_runtime, name) is not None
    assert dir(lambdabox_runtime) == sorted(lambdabox_runtime.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lambdabox_runtime.nothing


def test_errors_form_one_tree():
    for name in ("ConfigurationError", "TransportError", "RuntimeApiError"):
        assert issubclass(getattr(lambdabox_runtime, name), LambdaboxRuntimeError)


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.name)
def test_the_source_parses_as_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_the_library_imports_on_every_python(interpreter):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import lambdabox_runtime as l; [getattr(l, name) for name in l.__all__]"
    subprocess.run([interpreter, "-W", "error", "-c", code, str(SOURCE.parent)], check=True)
