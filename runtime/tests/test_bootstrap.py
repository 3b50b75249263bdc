"""What is ours alone in the Python bootstrap: names, search path, start-up, and handlers that do odd things."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ECHO = "def handler(event, context):\n    return event\n"
OURS = Path(__file__).resolve().parents[2] / "src/lambdabox/runtimes/bootstraps/python"
LIBRARY = Path(__file__).resolve().parents[1] / "src/lambdabox_runtime"


@pytest.mark.parametrize(
    "name", ["bootstrap", "loader", "serve", "logs", "streams", "lambdabox_runtime", "transport", "errors", "runtime"]
)
def test_a_module_of_the_user_is_never_shadowed_by_ours(start, api, name):
    start.write(f"{name}.py", "whose = 'mine'\n")
    start(f"import {name}\ndef handler(event, context):\n    return {name}.whose\n")
    api.enqueue({})
    assert api.wait("response").json() == "mine"


@pytest.mark.parametrize("name", ["bootstrap", "lambdabox_runtime", "serve"])
def test_our_modules_cannot_be_imported_by_their_own_names(start, api, name):
    start(f"import {name}")
    assert api.wait("init/error").json()["errorMessage"] == f"Unable to import module 'app': No module named '{name}'"


@pytest.mark.parametrize("name", ["json", "logging", "traceback", "decimal", "types", "enum"])
def test_a_file_named_like_a_module_that_aws_has_loaded_is_not_found_as_on_aws(start, api, bootstrap, name):
    start.write(f"{name}.py", "raise ValueError('shadowed')\n")
    start(f"import {name}\ndef handler(event, context):\n    return 1 / event\n", bootstrap=bootstrap)
    api.enqueue(0)
    assert api.wait("error").json()["errorType"] == "ZeroDivisionError"


def test_the_search_path_is_task_root_then_layers_then_the_rest(start, api, tmp_path):
    layers = [tmp_path / "opt/python", tmp_path / "opt/python/lib/python3.11/site-packages"]
    extra = tmp_path / "extra"
    start(
        "import sys, os\ndef handler(event, context):\n    return [sys.path, sorted(v for v in os.environ if v.startswith('_L'))]\n",
        env={
            "_LAMBDABOX_LAYER_PATHS": os.pathsep.join(map(str, layers)),
            "_LAMBDABOX_RUNTIME_LIBRARY": str(LIBRARY),
            "PYTHONPATH": str(extra),
        },
        framed=True,
    )
    api.enqueue({})
    path, internal = api.wait("response").json()
    assert path[:4] == [str(tmp_path), *map(str, layers), str(extra)]
    assert str(OURS) not in path
    assert str(LIBRARY.parent) not in path
    assert internal == []


def test_the_bootstrap_runs_as_packaged_with_the_library_beside_it(start, api, tmp_path, monkeypatch):
    folder = tmp_path / "installed"
    shutil.copytree(OURS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(LIBRARY, folder / "lambdabox_runtime", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setitem(type(start).__call__.__globals__, "BOOTSTRAP", folder / "bootstrap.py")
    start("import sys\ndef handler(event, context):\n    return sys.modules['_lambdabox_runtime.runtime'].__file__\n")
    api.enqueue({})
    assert api.wait("response").json() == str(folder / "lambdabox_runtime/runtime.py")


def test_the_bootstrap_runs_on_every_python(start, api, interpreter):
    source = """
import decimal, logging, sys
def handler(event, context):
    logging.warning("logged")
    if event == "fail":
        raise ValueError("boom \\u2603")
    return {"version": list(sys.version_info[:2]), "number": decimal.Decimal("1.50"), "event": event, "id": context.aws_request_id}
"""
    running = start(source, python=interpreter, env={"PYTHONWARNINGS": "error"})
    api.enqueue([1])
    api.enqueue("fail", request_id="id-2")
    api.enqueue("x" * 200_000, request_id="id-3")
    body = api.wait("response").body
    assert b'"number": 1.50, "event": [1], "id": "id-1"}' in body
    document = api.wait("error").json()
    assert (document["errorType"], document["errorMessage"], document["requestId"]) == ("ValueError", "boom \u2603", "id-2")
    assert document["stackTrace"] == [
        f'  File "{start.folder / "app.py"}", line 6, in handler\n    raise ValueError("boom \\u2603")\n'
    ]
    assert api.wait("response", 2).json()["event"] == "x" * 200_000
    out, err = running.output()
    assert out.startswith("[WARNING]\t")
    assert err == ""


def test_a_cold_start_imports_little(start, api):
    source = "import sys\nearly = sorted(sys.modules)\ndef handler(event, context):\n    return early + sorted(sys.modules)\n"
    start(source, env={"PYTHONNOUSERSITE": "1", "PYTHONPATH": ""}, python=getattr(sys, "_base_executable", sys.executable))
    api.enqueue({"a": 1})
    loaded = set(api.wait("response").json())
    bare = subprocess.run(
        [getattr(sys, "_base_executable", sys.executable), "-c", "import sys; print(*sys.modules)"],
        capture_output=True,
        check=True,
        text=True,
    )
    assert not (loaded - set(bare.stdout.split())) & {
        "json",
        "logging",
        "typing",
        "traceback",
        "re",
        "enum",
        "socket",
        "dataclasses",
        "http",
    }


@pytest.mark.parametrize(
    "oddity",
    [
        "os.close(1)",
        "os.close(2)",
        "sys.stdout.close()",
        "sys.stdout = None",
        "os.closerange(3, 64)",
        "os.dup2(os.open(os.devnull, os.O_RDWR), 1)",
        "sys.stdout.buffer.write(bytes(range(256)))",
        "os.write(1, b'\\xa5\\x5a\\x00\\x03 no frame')",
        "subprocess.run(['sh', '-c', 'echo child; exit 3'])",
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
        "socket.setdefaulttimeout(0.01)",
        "setattr(socket, 'socket', None)",
        "setattr(os, 'write', None); logging.error('kept')",
        "os.fork() or os._exit(0)",
        "os.rmdir(os.getcwd()) if os.chdir(tempfile.mkdtemp()) is None else None",
        "gc.collect()",
        "os.environ.clear()",
        "sys.modules.pop('json', None)",
        "threading.Thread(target=print, args=('thread',)).start()",
    ],
)
def test_an_odd_handler_does_not_break_the_channel(start, api, oddity):
    imports = "import gc, logging, os, signal, socket, subprocess, sys, tempfile, threading"
    running = start(
        f"{imports}\ndef handler(event, context):\n    if event == 1:\n        {oddity}\n    if event == 2:\n        raise ValueError('x')\n    return event\n"
    )
    for number in (1, 2, 3):
        api.enqueue(number, request_id=f"id-{number}")
    assert api.wait("response").body == b"1"
    assert api.wait("error").json()["requestId"] == "id-2"
    assert api.wait("response", 2).body == b"3"
    assert running.process.poll() is None


def test_after_every_descriptor_was_closed_a_file_of_the_user_gets_no_http(start, api, tmp_path):
    source = f"""
import os
def handler(event, context):
    if event == 1:
        os.closerange(3, 64)
        handler.files = [open({str(tmp_path / "f")!r} + str(n), "wb") for n in range(8)]
    return event
"""
    start(source)
    api.enqueue(1)
    api.enqueue(2, request_id="id-2")
    assert api.wait("response").body == b"1"
    assert api.wait("response", 2).body == b"2"
    assert [path.read_bytes() for path in tmp_path.glob("f?")] == [b""] * 8


def test_a_subprocess_does_not_inherit_the_connection_or_the_log(start, api):
    source = """
import os, subprocess
def handler(event, context):
    return subprocess.run(["ls", "-l", "/proc/self/fd"], stdout=subprocess.PIPE, close_fds=False).stdout.decode()
"""
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    start(source, framed=True)
    api.enqueue({})
    listing = api.wait("response").json()
    assert "socket:" not in listing
    assert listing.count("pipe:") == 1  # what ls itself prints to


def test_sigterm_can_be_handled_while_waiting(start, api):
    source = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(0)))\n" + ECHO
    running = start(source)
    api.wait("next")
    running.process.terminate()
    assert running.exit_code() == 0
    assert running.stdout() == "bye\n"


def test_a_spawned_process_does_not_start_a_second_runtime(start, api):
    source = """
import multiprocessing
def double(value):
    return 2 * value
def handler(event, context):
    parent, child = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=child_main, args=(child,))
    process.start()
    answer = parent.recv()
    process.join()
    return [answer, process.exitcode]
def child_main(pipe):
    pipe.send(double(21))
"""
    start(source)
    api.enqueue({})
    assert api.wait("response").json() == [42, 0]
    assert len(api.all("next")) <= 2


def test_logging_that_was_imported_before_us_has_its_handler_too(start, api):
    start.write("early/sitecustomize.py", "import logging\n")
    start(
        "import logging\ndef handler(event, context):\n    return [type(h).__name__ for h in logging.getLogger().handlers]\n",
        env={"PYTHONPATH": str(start.folder / "early")},
    )
    api.enqueue({})
    assert api.wait("response").json() == ["LambdaLoggerHandler"]


def test_logging_looks_like_itself_after_the_import(start, api):
    start(
        "import logging\ndef handler(event, context):\n    return [type(logging.__loader__).__name__, type(logging.__spec__.loader).__name__]\n"
    )
    api.enqueue({})
    assert api.wait("response").json() == ["SourceFileLoader", "SourceFileLoader"]


def test_a_preview_runtime_warns_once(start, api):
    running = start(ECHO, identifier="python3.15")
    api.enqueue({})
    api.wait("response")
    assert "AWS_Lambda_python3.15 is a preview" in running.stdout()
    quiet = start(ECHO, identifier="python3.15", env={"LAMBDA_DISABLE_PREVIEW_WARN": "1"})
    api.enqueue({})
    api.enqueue({}, request_id="id-2")  # the poll of the process that has ended may still take one
    api.wait("response", 2)
    assert quiet.stdout() == ""


@pytest.mark.parametrize("status", [403, 500])
def test_a_next_that_is_refused_ends_the_process_with_a_word(start, api, status):
    api.scripted["next"] = [b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status]
    running = start(ECHO)
    assert running.exit_code() == 1
    assert f"Runtime.LambdaRuntimeClientError: the Runtime API answered next with {status}: no" in running.output()[1]


def test_a_refused_answer_does_not_end_the_loop(start, api):
    refused = b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno"
    api.scripted["response"] = [refused % 413, refused % 410, refused % 400]
    running = start(ECHO)
    for number in range(4):
        api.enqueue(number, request_id=f"id-{number}")
    assert api.wait("response", 4).body == b"3"
    err = running.output()[1]
    assert [line.split(" with ")[1] for line in err.splitlines()] == ["413: no", "400: no"]


def test_the_runtime_api_may_carry_its_scheme(start, api):
    start(ECHO, env={"AWS_LAMBDA_RUNTIME_API": f"http://{api.address}"})
    api.enqueue({"a": 1})
    assert json.loads(api.wait("response").body) == {"a": 1}


def test_one_connection_serves_every_invocation(start, api):
    start(ECHO)
    for number in range(5):
        api.enqueue(number, request_id=f"id-{number}")
    api.wait("response", 5)
    assert api.connections == 1


def test_the_loop_polls_ahead_where_the_platform_asks_for_it(start, api):
    source = "import os\ndef handler(event, context):\n    return [1 / event, '_LAMBDABOX_POLLS_AHEAD' in os.environ]\n"
    start(source, env={"_LAMBDABOX_POLLS_AHEAD": "1"})
    for number in (1, 0, 2):
        api.enqueue(number, request_id=f"id-{number}")
    assert api.wait("response").json() == [1.0, False]
    assert api.wait("error").json()["requestId"] == "id-0"
    assert api.wait("response", 2).json() == [0.5, False]
    assert api.connections == 1
