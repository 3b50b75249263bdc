"""awslambda.streamifyResponse and HttpResponseStream."""

from __future__ import annotations

import threading

import pytest
from tests.contract.nodejs.conftest import Starter


def streaming(body: str) -> str:
    return "exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {" + body + "})"


@pytest.fixture(params=["nodejs20.x", "nodejs24.x"])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_chunks_go_out_on_a_connection_of_their_own(start: Starter, runtime: str) -> None:
    function = start(
        streaming(
            "stream.write('one'); await new Promise(r => setTimeout(r, 20)); stream.write(Buffer.from('two')); stream.end('three')"
        ),
        runtime=runtime,
    )
    first = function.invoke({})
    assert first.path.endswith("/response")
    assert first.headers["lambda-runtime-function-response-mode"] == "streaming"
    assert first.headers["transfer-encoding"] == "chunked"
    assert first.headers["connection"].lower() == "close"
    assert first.headers["content-type"] == "application/octet-stream"
    assert first.headers["trailer"] == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
    assert first.body == b"onetwothree"
    assert len(first.chunks) >= 2
    assert first.trailers == {}
    second = function.invoke({})
    assert second.connection != first.connection


def test_a_classic_streaming_response_agrees_with_awss_client(start_any: Starter) -> None:
    function = start_any(
        streaming("stream.setContentType('text/plain'); stream.write('a'); stream.write({ b: 1 }); stream.end()")
    )
    answer = function.invoke({})
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["lambda-runtime-function-response-mode"] == "streaming"
    assert answer.body == b'a{"b":1}'
    assert function.invoke({}).body == b'a{"b":1}'


def test_the_http_prelude_stands_before_the_first_chunk(start_any: Starter) -> None:
    function = start_any(
        streaming(
            "stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: 'b' }, cookies: ['c'] });"
            " stream.write('body'); stream.end()"
        )
    )
    answer = function.invoke({})
    assert answer.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
    assert answer.body == b'{"statusCode":201,"headers":{"a":"b"},"cookies":["c"]}' + bytes(8) + b"body"


@pytest.mark.parametrize(("end", "body"), [("stream.end()", b""), ("stream.end('all')", b"all")])
def test_the_prelude_needs_no_write(start: Starter, end: str, body: bytes) -> None:
    function = start(streaming("stream = awslambda.HttpResponseStream.from(stream, { statusCode: 204 }); " + end))
    assert function.invoke({}).body == b'{"statusCode":204}' + bytes(8) + body


def test_an_empty_stream_is_an_empty_response(start: Starter, runtime: str) -> None:
    answer = start(streaming("stream.end()"), runtime=runtime).invoke({})
    assert (answer.path.rsplit("/", 1)[-1], answer.body, answer.complete) == ("response", b"", True)


def test_a_pipeline_streams_megabytes(start: Starter, runtime: str) -> None:
    function = start(
        "const { Readable, pipeline } = require('stream'); const { promisify } = require('util');"
        + streaming(
            "await promisify(pipeline)(Readable.from((function* () { for (let i = 0; i < 160; i++) yield Buffer.alloc(65536, 'x') })()), stream)"
        ),
        runtime=runtime,
    )
    assert len(function.invoke({}).body) == 160 * 65536


def test_backpressure_is_honoured(start: Starter) -> None:
    function = start(
        streaming(
            "let written = 0; const chunk = Buffer.alloc(1 << 20);"
            " while (stream.write(chunk) && written < 64) written++;"
            " process.stdout.write('paused ' + written + '\\n'); await new Promise(r => stream.once('drain', r)); stream.end()"
        )
    )
    gate = threading.Event()
    function.api.read_gate = gate
    request_id = function.enqueue({})
    function.api.wait_for(lambda: True)
    while b"paused" not in function._output and function.process.poll() is None:
        function._reader.join(0.01)
    gate.set()
    assert function.answer(request_id).complete
    assert b"paused 0" in function._output


def test_a_failure_before_the_first_byte_is_a_plain_error(start: Starter, runtime: str) -> None:
    function = start(streaming("throw new TypeError('early')"), runtime=runtime)
    assert function.error({})["errorType"] == "TypeError"
    assert function.error({})["errorMessage"] == "early"


def test_a_failure_mid_stream_travels_in_the_trailers(start_any: Starter) -> None:
    function = start_any(
        streaming("stream.write('some'); await new Promise(r => setTimeout(r, 20)); throw new RangeError('mid')")
    )
    for _ in range(2):
        answer = function.invoke({})
        assert answer.body == b"some"
        assert answer.trailers["lambda-runtime-function-error-type"] == "RangeError"
        assert answer.trailer_error()["errorMessage"] == "mid"
        assert answer.trailer_error()["trace"][0] == "RangeError: mid"


def test_what_was_written_before_the_failure_is_kept(start: Starter) -> None:
    function = start(streaming("for (let i = 0; i < 100; i++) stream.write(Buffer.alloc(65536)); throw new Error('after')"))
    answer = function.invoke({})
    assert len(answer.body) == 100 * 65536
    assert answer.trailer_error()["errorMessage"] == "after"


def test_a_failing_pipeline_ends_in_trailers(start: Starter, runtime: str) -> None:
    function = start(
        "const { Readable, pipeline } = require('stream'); const { promisify } = require('util');"
        + streaming(
            "await promisify(pipeline)(Readable.from((function* () { yield 'data'; throw new Error('source') })()), stream)"
        ),
        runtime=runtime,
    )
    answer = function.invoke({})
    document = answer.json() if answer.is_error else answer.trailer_error()
    assert document["errorMessage"] == "source"
    assert function.invoke({})


def test_a_stream_that_is_not_ended_is_an_error(start: Starter) -> None:
    function = start(streaming("stream.write('x')"))
    assert function.invoke({}).trailer_error()["errorMessage"] == "Response stream is not finished."
    assert start(streaming("")).error({})["errorMessage"] == "Response stream is not finished."


def test_a_pipe_may_outlive_the_handlers_promise(start: Starter) -> None:
    function = start(
        "const { Readable } = require('stream');" + streaming("setTimeout(() => Readable.from(['a', 'b']).pipe(stream), 20)")
    )
    assert function.invoke({}).body == b"ab"


def test_a_handler_that_is_not_async_is_an_error(start: Starter, runtime: str) -> None:
    function = start("exports.handler = awslambda.streamifyResponse((event, stream) => { stream })", runtime=runtime)
    assert function.error({})["errorMessage"] == "Streaming does not support non-async handlers."


def test_the_content_type_is_fixed_by_the_first_write(start: Starter) -> None:
    function = start(streaming("stream.write('x'); stream.setContentType('text/html')"))
    document = function.invoke({}).trailer_error()
    assert document["errorType"] == "Runtime.InvalidStreamingOperation"
    assert document["errorMessage"] == "Cannot set content-type, too late."


def test_return_values_are_ignored_with_a_warning(start_any: Starter) -> None:
    function = start_any(streaming("stream.end('x'); return 5"))
    assert function.invoke({}).body == b"x"
    function.invoke({})
    assert any("\tWARN\tStreaming handlers ignore return values." in line for line in function.lines())


def test_an_uncaught_exception_mid_stream_ends_in_trailers(start: Starter) -> None:
    function = start(
        streaming(
            "stream.write('x'); setTimeout(() => { throw new Error('late') }, 5); await new Promise(r => setTimeout(r, 9000))"
        )
    )
    assert function.invoke({}).trailer_error()["errorMessage"] == "late"
    assert function.exit_code() == 129


def test_the_high_water_mark_is_the_streams(start: Starter) -> None:
    function = start(
        "exports.handler = awslambda.streamifyResponse(async (e, s) => { s.end(String(s.writableHighWaterMark)) }, { highWaterMark: 99 })"
    )
    assert function.invoke({}).body == b"99"


def test_the_global_can_be_suppressed(start: Starter) -> None:
    function = start("exports.handler = async () => typeof awslambda", env={"AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA": "1"})
    assert function.result({}) == "undefined"


def test_a_classic_streaming_handler_waits_for_the_empty_loop_before_it_asks_for_more(start: Starter) -> None:
    function = start("let n = 0;" + streaming("setTimeout(() => n++, 60); stream.end(String(n))"))
    assert [function.invoke({}).body for _ in range(2)] == [b"0", b"1"]


def test_a_refused_stream_does_not_stop_the_function(start: Starter) -> None:
    function = start(streaming("stream.write('x'); stream.end()"))
    function.api.statuses["response"] = [413]
    function.invoke({})
    assert function.invoke({}).body == b"x"
