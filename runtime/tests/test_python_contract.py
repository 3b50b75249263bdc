"""The Python programming model (contract 7.1), row by row, for our bootstrap and for AWS's own client."""

from __future__ import annotations

import json
import re

import pytest

ECHO = "def handler(event, context):\n    return event\n"
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def returning(expression: str, imports: str = "") -> str:
    return f"{imports}\ndef handler(event, context):\n    return {expression}\n"


# -- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("None", b"null"),
        ("{'a': 1, 'b': [True, None]}", b'{"a": 1, "b": [true, null]}'),
        ("'text'", b'"text"'),
        ("(1, (2, 3))", b"[1, [2, 3]]"),
        ("{1: 'a', 1.5: 'b', True: 'c', None: 'd'}", b'{"1": "c", "1.5": "b", "null": "d"}'),
        ("[float('nan'), float('inf'), -float('inf')]", b"[NaN, Infinity, -Infinity]"),
        ("'a\\n\\x00\\x7f/<&>\\u2028'", '"a\\n\\u0000\x7f/<&>\u2028"'.encode()),
        ("'h\u00e9llo \u2603'", '"h\u00e9llo \u2603"'.encode()),
        ("1e400", b"Infinity"),
        ("10**30", b"1000000000000000000000000000000"),
        ("D('1.10')", b"1.10"),
        (
            "{'n': [D('1E+3'), D('-0.0'), {'x': D('12345678901234567890.123')}]}",
            b'{"n": [1E+3, -0.0, {"x": 12345678901234567890.123}]}',
        ),
        ("[D('NaN'), D('-sNaN'), D('Infinity')]", b"[NaN, NaN, Infinity]"),
        ("[D(1), 'a \"quoted\" text', '']", b'[1, "a \\"quoted\\" text", ""]'),
        ("Point(1, D(2))", b'{"x": 1, "y": 2}'),
        ("[OrderedDict(b=1, a=2)]", b'[{"b": 1, "a": 2}]'),
        ("Color.RED", b'"red"'),
    ],
)
def test_a_result_is_the_json_that_aws_writes(start, api, bootstrap, expression, expected):
    imports = (
        "from decimal import Decimal as D\nfrom collections import namedtuple, OrderedDict\nimport enum\n"
        "Point = namedtuple('Point', 'x y')\nclass Color(str, enum.Enum):\n    RED = 'red'\n"
    )
    start(returning(expression, imports), bootstrap=bootstrap)
    api.enqueue({})
    response = api.wait("response")
    assert (response.body, response.headers["content-type"]) == (expected, "application/json")


@pytest.mark.parametrize("identifier", ["python3.8", "python3.9", "python3.11"])
def test_up_to_python3_11_what_is_not_ascii_is_escaped(start, api, bootstrap, identifier):
    start(returning("'h\u00e9 \U0001f600'"), bootstrap=bootstrap, identifier=identifier)
    api.enqueue({})
    assert api.wait("response").body == b'"h\\u00e9 \\ud83d\\ude00"'


def test_escaped_results_keep_their_decimals(start, api, bootstrap):
    start(returning("['\u00e9', D('0.50')]", "from decimal import Decimal as D"), bootstrap=bootstrap, identifier="python3.11")
    api.enqueue({})
    assert api.wait("response").body == b'["\\u00e9", 0.50]'


def test_bytes_are_sent_as_they_are(start, api, bootstrap):
    start(returning("bytes(range(256))"), bootstrap=bootstrap)
    api.enqueue({})
    response = api.wait("response")
    assert (response.body, response.headers["content-type"]) == (bytes(range(256)), "application/unknown")


@pytest.mark.parametrize("size", [60_000, 70_000, 6_000_000])
def test_a_large_event_comes_back_whole(start, api, bootstrap, size):
    start(ECHO, bootstrap=bootstrap)
    api.enqueue({"x": "y" * size})
    assert api.wait("response").json() == {"x": "y" * size}


def test_half_a_surrogate_pair_survives_as_an_escape(start, api):
    start(returning("{'a': '\\ud800'}"))
    api.enqueue({})
    assert api.wait("response").body == b'{"a": "\\ud800"}'


# -- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b' {"a": 1}\n', b"[]", b'"x"', b"1.0", b"null", b"true", b'"h\xc3\xa9"', b'"\\ud83d\\ude00"'])
def test_the_handler_gets_the_decoded_event(start, api, bootstrap, body):
    start("def handler(event, context):\n    return [event, type(event).__name__]\n", bootstrap=bootstrap)
    api.enqueue(body=body)
    value = json.loads(body)
    got = api.wait("response").json()
    assert repr(got) == repr([value, type(value).__name__])


@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "application/json; charset=utf-8"])
def test_another_content_type_gives_the_handler_raw_bytes(start, api, bootstrap, content_type):
    start("def handler(event, context):\n    return [type(event).__name__, event.hex()]\n", bootstrap=bootstrap)
    api.enqueue(body=b'\x00\xff{"a"', content_type=content_type)
    assert api.wait("response").json() == ["bytes", b'\x00\xff{"a"'.hex()]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"{oops", "Expecting property name enclosed in double quotes"),
        (b"[1] 2", "Extra data"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_an_event_that_is_not_json_is_an_unmarshal_error(start, api, bootstrap, body, text):
    start(ECHO, bootstrap=bootstrap)
    api.enqueue(body=body)
    document = api.wait("error").json()
    assert document["errorType"] == "Runtime.UnmarshalError"
    assert document["errorMessage"].startswith(f"Unable to unmarshal input: {text}")
    assert document["stackTrace"] == []


# -- function errors --------------------------------------------------------------------------------------------------


def test_an_exception_becomes_the_document_of_aws(start, api, bootstrap):
    source = "def inner():\n    raise KeyError('name')\n\ndef handler(event, context):\n    return inner()\n"
    start(source, bootstrap=bootstrap)
    api.enqueue({}, request_id="11111111-2222-3333-4444-555555555555")
    error = api.wait("error")
    path = start.folder / "app.py"
    assert error.path == "/2018-06-01/runtime/invocation/11111111-2222-3333-4444-555555555555/error"
    assert error.body.decode() == json.dumps(
        {
            "errorMessage": "'name'",
            "errorType": "KeyError",
            "requestId": "11111111-2222-3333-4444-555555555555",
            "stackTrace": [
                f'  File "{path}", line 5, in handler\n    return inner()\n',
                f"  File \"{path}\", line 2, in inner\n    raise KeyError('name')\n",
            ],
        }
    )
    assert error.headers["content-type"] == "application/json"
    assert "lambda-runtime-function-error-type" not in error.headers
    cause = json.loads(error.headers["lambda-runtime-function-xray-error-cause"])
    assert cause == {
        "working_directory": str(start.folder),
        "exceptions": [
            {
                "message": "'name'",
                "type": "KeyError",
                "stack": [
                    {"label": "handler", "path": str(path), "line": 5},
                    {"label": "inner", "path": str(path), "line": 2},
                ],
            }
        ],
        "paths": [str(path)],
    }


def test_the_runtime_lives_on_after_an_error(start, api, bootstrap):
    start("def handler(event, context):\n    return 1 / event\n", bootstrap=bootstrap)
    api.enqueue(0)
    api.enqueue(2, request_id="id-2")
    assert api.wait("error").json()["errorType"] == "ZeroDivisionError"
    assert api.wait("response").body == b"0.5"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{1, 2}", "Object of type set is not JSON serializable"),
        ("object()", "Object of type object is not JSON serializable"),
        ("__import__('datetime').date(2026, 1, 1)", "Object of type date is not JSON serializable"),
        ("[range(3)]", "Object of type range is not JSON serializable"),
        ("{(1, 2): 3}", "keys must be str, int, float, bool or None, not tuple"),
        ("loop", "Circular reference detected"),
        ("{'deep': point_loop}", "Circular reference detected"),
        ("coroutine()", "Object of type coroutine is not JSON serializable"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_result_that_is_not_serializable_is_a_marshal_error(start, api, bootstrap, expression, text):
    setup = (
        "loop = []\nloop.append(loop)\nfrom decimal import Decimal\n"
        "point_loop = [Decimal(1)]\npoint_loop.append(point_loop)\nasync def coroutine():\n    return 1\n"
    )
    start(returning(expression, setup), bootstrap=bootstrap)
    api.enqueue({})
    error = api.wait("error")
    assert error.json() == {
        "errorMessage": f"Unable to marshal response: {text}",
        "errorType": "Runtime.MarshalError",
        "requestId": "id-1",
        "stackTrace": [],
    }
    cause = json.loads(error.headers["lambda-runtime-function-xray-error-cause"])
    assert (cause["exceptions"][0]["type"], cause["paths"]) == ("LambdaValidationError", [])


def test_bytes_inside_a_result_are_a_marshal_error(start, api):
    """Only ours: the client's JSON library reads them as UTF-8 text in its newest versions."""
    start(returning("{'a': b'x'}"))
    api.enqueue({})
    assert api.wait("error").json()["errorMessage"] == "Unable to marshal response: Object of type bytes is not JSON serializable"


def test_an_async_handler_is_not_awaited(start, api, bootstrap):
    start("async def handler(event, context):\n    return 1\n", bootstrap=bootstrap)
    api.enqueue({})
    assert api.wait("error").json()["errorType"] == "Runtime.MarshalError"


@pytest.mark.parametrize("bad", ["client_context", "cognito_identity"])
def test_a_bad_context_header_is_a_function_error(start, api, bootstrap, bad):
    start(ECHO, bootstrap=bootstrap)
    api.enqueue({}, **{bad: "{oops"})
    document = api.wait("error").json()
    name = {"client_context": "Client Context", "cognito_identity": "Cognito Identity"}[bad]
    assert document["errorType"] == "Runtime.LambdaContextUnmarshalError"
    assert document["errorMessage"].startswith(f"Unable to parse {name} JSON: ")


@pytest.mark.parametrize("text", ["a\r\nb", "snow \u2603 \U0001f600", "nul \x00 del \x7f esc \x1b", "x" * 2_000_000, "\u2028"])
def test_no_error_text_is_lost_or_breaks_a_header(start, api, bootstrap, text):
    if bootstrap == "awslambdaric" and "\u2603" not in text and "\r" not in text:
        pytest.skip("awslambdaric passes control characters on in its header, and C strings end at NUL")
    start("def handler(event, context):\n    raise ValueError(event)\n", bootstrap=bootstrap)
    api.enqueue(text)
    error = api.wait("error")
    assert error.json()["errorMessage"] == text
    cause = error.headers.get("lambda-runtime-function-xray-error-cause")
    assert cause is None or json.loads(cause)["exceptions"][0]["message"] == text


def test_half_a_surrogate_pair_in_an_error_survives(start, api):
    start("def handler(event, context):\n    raise ValueError('\\ud800')\n")
    api.enqueue({})
    assert api.wait("error").json()["errorMessage"] == "\ud800"


def test_an_exception_without_usable_text_is_still_reported(start, api):
    start("class Odd(Exception):\n    def __str__(self):\n        raise TypeError\ndef handler(event, context):\n    raise Odd\n")
    api.enqueue({})
    assert api.wait("error").json()["errorType"] == "Odd"


def test_a_handler_with_the_wrong_arguments_is_a_type_error(start, api, bootstrap):
    start("def handler(event):\n    return 1\n", bootstrap=bootstrap)
    api.enqueue({})
    document = api.wait("error").json()
    assert (document["errorType"], len(document["stackTrace"]) >= 1) == ("TypeError", True)
    assert document["errorMessage"] == "handler() takes 1 positional argument but 2 were given"


@pytest.mark.parametrize(
    ("code", "expected"), [("sys.exit(7)", 7), ("sys.exit()", 0), ("os._exit(3)", 3), ("os.kill(os.getpid(), 9)", -9)]
)
def test_an_exit_is_the_process_s_exit(start, api, bootstrap, code, expected):
    running = start(
        f"import os, sys\ndef handler(event, context):\n    print('before', end='')\n    {code}\n", bootstrap=bootstrap
    )
    api.enqueue({})
    assert running.exit_code() == expected
    assert running.stdout() == "before"
    assert api.all("response") == api.all("error") == []


# -- init errors ------------------------------------------------------------------------------------------------------

BROKEN = "def handler(:\n"


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        (ECHO, "nodot", "Runtime.MalformedHandlerName", "Bad handler 'nodot': not enough values to unpack (expected 2, got 1)"),
        (ECHO, "sys.handler", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        (ECHO, "time.sleep.x", "Runtime.BuiltInModuleConflict", "Cannot use built-in module time.sleep as a handler module"),
        (
            "import nothing_here",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nothing_here'",
        ),
        (
            "import nothing_here",
            "src/app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'src/app': No module named 'nothing_here'",
        ),
        (
            "from os import nothing",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': cannot import name 'nothing' from 'os'*",
        ),
        (ECHO, "app.other", "Runtime.HandlerNotFound", "Handler 'other' missing on module 'app'"),
        (ECHO, "json.other", "Runtime.HandlerNotFound", "Handler 'other' missing on module 'json'"),
        (BROKEN, "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax (app.py, line 1)"),
        ("raise RuntimeError('no\\nluck')", "app.handler", "RuntimeError", "no\nluck"),
        ("class My\u00c9rror(Exception): pass\nraise My\u00c9rror('x')", "app.handler", "My\u00c9rror", "x"),
    ],
)
def test_a_failing_init_is_reported_and_ends_the_process(start, api, bootstrap, source, handler, error_type, message):
    if bootstrap == "awslambdaric" and not error_type.isascii():
        pytest.skip("awslambdaric cannot put a name that is not ASCII into its header and reports nothing")
    if handler.startswith(("sys", "time", "json")):
        start.write(handler.split(".", 1)[0] + ".py", ECHO)
    running = start(source, handler, bootstrap=bootstrap)
    report = api.wait("init/error")
    document = report.json()
    assert list(document) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (document["errorType"], document["requestId"]) == (error_type, "")
    if message.endswith("*"):
        assert document["errorMessage"].startswith(message[:-1])
    else:
        assert document["errorMessage"] == message
    if error_type.isascii():
        assert report.headers["lambda-runtime-function-error-type"] == error_type
    assert running.exit_code() == 1
    assert api.all("next") == []
    assert "LAMBDA_WARNING: Unhandled exception" in running.stdout().splitlines()[0]


def test_a_syntax_error_names_file_line_and_source(start, api, bootstrap):
    start(BROKEN, bootstrap=bootstrap)
    assert api.wait("init/error").json()["stackTrace"] == [f'  File "{start.folder / "app.py"}" Line 1\n    {BROKEN}']


def test_an_init_error_s_stack_ends_in_the_user_s_code(start, api, bootstrap):
    start("def deep():\n    raise OSError('x')\ndeep()\n", bootstrap=bootstrap)
    stack = api.wait("init/error").json()["stackTrace"]
    path = start.folder / "app.py"
    assert stack[-2:] == [
        f'  File "{path}", line 3, in <module>\n    deep()\n',
        f"  File \"{path}\", line 2, in deep\n    raise OSError('x')\n",
    ]
    assert "import_module" in stack[0]


@pytest.mark.parametrize("code", [0, 5])
def test_an_exit_at_import_is_the_process_s_exit(start, api, bootstrap, code):
    running = start(f"import sys\nsys.exit({code})\n", bootstrap=bootstrap)
    assert running.exit_code() == code
    assert api.requests == []


def test_a_module_in_a_folder_is_found_by_its_path(start, api, bootstrap):
    start.write("src/__init__.py", "")
    start(returning("__name__"), "src/app.handler", bootstrap=bootstrap)
    api.enqueue({})
    assert api.wait("response").json() == "src.app"


# -- context ----------------------------------------------------------------------------------------------------------

CONTEXT = """
FIELDS = ["function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb", "aws_request_id",
          "log_group_name", "log_stream_name", "tenant_id"]
def handler(event, context):
    client = context.client_context
    return {
        "fields": {name: getattr(context, name) for name in FIELDS},
        "identity": [context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id],
        "client": client and [client.custom, client.env, client.client and [client.client.installation_id,
            client.client.app_title, client.client.app_version_name, client.client.app_version_code,
            client.client.app_package_name]],
        "remaining": [type(context.get_remaining_time_in_millis()).__name__, context.get_remaining_time_in_millis() > 0],
        "w3c": context.w3c(),
        "has_w3c": hasattr(client, "w3c"),
    }
"""


def test_the_context_has_every_field(start, api, bootstrap):
    start(CONTEXT, bootstrap=bootstrap)
    context = {
        "custom": {"k": "v\u00e9"},
        "env": {"locale": "de"},
        "client": {
            "installation_id": "i",
            "app_title": "t",
            "app_version_name": "n",
            "app_version_code": "c",
            "app_package_name": "p",
        },
        "w3c": {"traceparent": "00-a-b-01", "baggage": "x=1", "tracestate": 5, "other": "o"},
    }
    api.enqueue(
        {},
        tenant_id=None,
        client_context=json.dumps(context),
        cognito_identity='{"cognitoIdentityId": "a", "cognitoIdentityPoolId": "b"}',
        aws_tenant_id="blue",
    )
    assert api.wait("response").json() == {
        "fields": {
            "function_name": "my-function",
            "function_version": "$LATEST",
            "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:my-function",
            "memory_limit_in_mb": "128",
            "aws_request_id": "id-1",
            "log_group_name": "/aws/lambda/my-function",
            "log_stream_name": "2026/11/20/[$LATEST]0123456789abcdef0123456789abcdef",
            "tenant_id": "blue",
        },
        "identity": ["a", "b"],
        "client": [{"k": "v\u00e9"}, {"locale": "de"}, ["i", "t", "n", "c", "p"]],
        "remaining": ["int", True],
        "w3c": {"traceparent": "00-a-b-01", "baggage": "x=1"},
        "has_w3c": False,
    }


def test_a_bare_context_has_an_identity_and_no_client_context(start, api, bootstrap):
    start(CONTEXT, bootstrap=bootstrap)
    api.enqueue({})
    context = api.wait("response").json()
    assert (context["identity"], context["client"], context["w3c"], context["fields"]["tenant_id"]) == (
        [None, None],
        None,
        {},
        None,
    )


def test_remaining_time_never_goes_below_zero(start, api, bootstrap):
    start(returning("context.get_remaining_time_in_millis()"), bootstrap=bootstrap)
    api.enqueue({}, deadline_ms="1000")
    assert api.wait("response").json() == 0


def test_the_trace_id_is_set_and_deleted_per_invocation(start, api, bootstrap):
    start(returning("os.environ.get('_X_AMZN_TRACE_ID')", "import os"), bootstrap=bootstrap)
    api.enqueue({}, trace_id="Root=1-2-3;Sampled=0")
    api.enqueue({}, request_id="id-2", trace_id=None)
    assert api.wait("response").json() == "Root=1-2-3;Sampled=0"
    assert api.wait("response", 2).json() is None


def test_the_invocation_id_is_echoed(start, api, bootstrap):
    start("def handler(event, context):\n    return 1 / event\n", bootstrap=bootstrap)
    api.enqueue(1, invocation_id="nonce-1")
    api.enqueue(0, request_id="id-2", invocation_id="nonce-2")
    assert api.wait("response").headers["lambda-runtime-invocation-id"] == "nonce-1"
    assert api.wait("error").headers["lambda-runtime-invocation-id"] == "nonce-2"


# -- logs -------------------------------------------------------------------------------------------------------------

LOGGING = """
import logging
logger = logging.getLogger("shop")
def handler(event, context):
    logger.setLevel("DEBUG")
    logger.warning("careful %s", event)
    logger.info("told")
    context.log("raw")
    print("printed")
    return [len(logging.getLogger().handlers), logging.getLogger().level]
"""


def test_text_logs_carry_level_time_and_request_id(start, api, bootstrap):
    running = start(LOGGING, bootstrap=bootstrap)
    api.enqueue(1)
    assert api.wait("response").json() == [1, 30]
    lines = running.stdout().splitlines()
    assert re.fullmatch(rf"\[WARNING\]\t{STAMP}\tid-1\tcareful 1", lines[0])
    assert re.fullmatch(rf"\[INFO\]\t{STAMP}\tid-1\ttold", lines[1])
    assert lines[2] == "rawprinted"


def test_a_level_in_the_environment_sets_the_root_logger(start, api, bootstrap):
    start(LOGGING, bootstrap=bootstrap, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "TRACE"})
    api.enqueue(1)
    assert api.wait("response").json() == [1, 10]


def test_json_logs_have_the_members_of_aws(start, api, bootstrap):
    source = """
import logging
def handler(event, context):
    logging.warning("plain %s", 1, extra={"order": 7, "odd": None})
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("failed")
"""
    running = start(source, bootstrap=bootstrap, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"})
    api.enqueue({}, aws_tenant_id="blue")
    api.wait("response")
    plain, failed = (json.loads(line) for line in running.stdout().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", plain.pop("timestamp"))
    assert plain == {
        "level": "WARNING",
        "message": "plain 1",
        "logger": "root",
        "requestId": "id-1",
        "tenantId": "blue",
        "order": 7,
    }
    path = start.folder / "app.py"
    assert (failed["level"], failed["errorType"], failed["errorMessage"]) == ("ERROR", "ZeroDivisionError", "division by zero")
    assert failed["stackTrace"][0].startswith(f'  File "{path}", line 6, in handler\n    1 / 0\n')
    assert failed["location"] == f"{path}:handler:8"


def test_an_error_is_one_log_line_with_carriage_returns(start, api, bootstrap):
    running = start("def handler(event, context):\n    raise ValueError('boom')\n", bootstrap=bootstrap)
    api.enqueue({})
    api.wait("error")
    assert running.stdout() == (
        "[ERROR] ValueError: boom\rTraceback (most recent call last):\r"
        f"\u00a0\u00a0File \"{start.folder / 'app.py'}\", line 2, in handler\r\u00a0\u00a0\u00a0\u00a0raise ValueError('boom')\n"
    )


def test_an_error_in_json_is_one_object(start, api):
    """Only ours: newer clients call the member `level`, the contract has `log_level`."""
    running = start("def handler(event, context):\n    raise ValueError('boom')\n", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"})
    api.enqueue({})
    document = api.wait("error").json()
    logged = json.loads(running.stdout())
    assert logged.pop("timestamp").endswith("Z")
    assert logged == {"log_level": "ERROR", **document}


def test_frames_carry_level_and_message(start, api, bootstrap):
    source = """
import logging
def handler(event, context):
    logging.getLogger().setLevel(1)
    for level in (5, 10, 20, 30, 40, 50):
        logging.log(level, "two\\nlines")
    context.log("raw")
    print("printed")
    raise ValueError("boom")
"""
    running = start(
        source, bootstrap=bootstrap, framed=True, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}
    )
    api.enqueue({})
    api.wait("error")
    frames = running.log_frames()
    assert [kind for kind, _ in frames] == [
        "a55a0002",
        "a55a000a",
        "a55a000e",
        "a55a0012",
        "a55a0016",
        "a55a001a",
        "a55a0003",
        "a55a0016",
    ]
    assert json.loads(frames[1][1])["message"] == "two\nlines"
    assert frames[6][1] == "raw"
    assert json.loads(frames[7][1])["errorType"] == "ValueError"


def test_text_frames_are_unmarked_until_a_level_is_configured(start, api, bootstrap):
    source = "import logging\ndef handler(event, context):\n    logging.warning('w')\n    raise ValueError('boom')\n"
    running = start(source, bootstrap=bootstrap, framed=True)
    api.enqueue({})
    api.wait("error")
    (kind, message), (error_kind, error) = running.log_frames()
    assert (kind, error_kind) == ("a55a0003", "a55a0017")
    assert message.startswith("[WARNING]\t")
    assert error.startswith("[ERROR] ValueError: boom\nTraceback (most recent call last):\n\u00a0\u00a0File")


def test_what_was_printed_is_out_at_once(start, api, bootstrap):
    source = "import os, sys\ndef handler(event, context):\n    print('a', end='')\n    sys.stdout.buffer.write(b'\\xff')\n    os._exit(1)\n"
    if bootstrap == "awslambdaric":
        pytest.skip("awslambdaric leaves bytes written to sys.stdout.buffer in the buffer")
    running = start(source)
    api.enqueue({})
    running.exit_code()
    assert running.stdout() == "a\\xff"


def test_printing_works_in_a_locale_without_utf8(start, api):
    running = start(
        returning("print('h\u00e9')"), env={"LANG": "en_US.UTF-8", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    )
    api.enqueue({})
    assert api.wait("response").body == b"null"
    assert running.stdout() == "h\u00e9\n"
