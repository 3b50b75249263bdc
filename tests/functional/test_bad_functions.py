"""Functions that do what no function should: each gets its answer, and after each one the next invocation works."""

from __future__ import annotations

from typing import Any

import pytest

PYTHON = """
import os, signal, subprocess, sys, time, tempfile
def handler(event, context):
    do = event.get("do")
    if do:
        names = {"context": context, "event": event}
        exec(do, globals(), names)
        return names.get("answer")
    return "fine"
"""

EXIT = ("Runtime.ExitError", "Runtime exited with error: ")

PYTHON_CASES: dict[str, tuple[str, str | None, str]] = {
    # what it does: (code, error type, part of the message or of the payload)
    "sys.exit": ("sys.exit(1)", *EXIT),
    "os._exit": ("os._exit(2)", "Runtime.ExitError", "exit status 2"),
    "SIGSEGV": ("import ctypes; ctypes.string_at(0)", "Runtime.ExitError", "signal: segmentation fault"),
    "endless loop": ("while True: pass", "Sandbox.Timedout", "Task timed out after 0.50 seconds"),
    "sleep past the timeout": ("time.sleep(50)", "Sandbox.Timedout", "Task timed out after 0.50 seconds"),
    "ignores SIGTERM": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
        "Sandbox.Timedout",
        "Task timed out after 0.50 seconds",
    ),
    "7 MB result": (
        "answer = 'x' * 7_000_000",
        "Function.ResponseSizeTooLarge",
        "Response payload size (7000002 bytes) exceeded maximum allowed payload size (6291556 bytes).",
    ),
    "result that does not serialise": (
        "answer = {1, 2}",
        "Runtime.MarshalError",
        "Unable to marshal response: Object of type set is not JSON serializable",
    ),
    "result that holds itself": ("answer = []; answer.append(answer)", "Runtime.MarshalError", "Unable to marshal response: "),
    "20 MB of output": ("sys.stdout.write(('x' * 99 + '\\n') * 200_000)", None, "null"),
    "20 MB of output in one line": (
        "os.write(1, b'y' * 4096) if 0 else [os.write(1, b'y' * 65536) for _ in range(320)]",
        None,
        "null",
    ),
    "binary on stdout": ("sys.stdout.buffer.write(bytes(range(256)) * 64); sys.stdout.buffer.flush()", None, "null"),
    "prints without newline": ("print('no end', end='', flush=True); answer = 1", None, "1"),
    "reads stdin": ("answer = sys.stdin.read()", None, '""'),
    "waits for input": ("input()", "EOFError", "EOF when reading a line"),
    "forks a child that stays": ("os.fork() or time.sleep(600); answer = 'parent'", None, '"parent"'),
    "a child that holds stdout": ("subprocess.Popen(['sleep', '600']); answer = 2", None, "2"),
    "a child of its own session": ("subprocess.Popen(['sleep', '600'], start_new_session=True); answer = 3", None, "3"),
    "closes fd 1": ("os.close(1); answer = 4", None, "4"),
    "closes every descriptor": ("os.closerange(0, 64)", "Runtime.ExitError", ""),
    "closes the runtime's connection": (
        "import gc, socket\nfor s in gc.get_objects():\n    if isinstance(s, socket.socket): s.close()\nanswer = 5",
        None,
        "5",
    ),
    "raises SystemExit subclass": ("class Bye(SystemExit): pass\nraise Bye(4)", *EXIT),
    "raises KeyboardInterrupt": ("raise KeyboardInterrupt", None, ""),
    "raises at the recursion limit": ("f = lambda f: f(f)\nf(f)", "RecursionError", "maximum recursion depth exceeded"),
    "stops itself": ("os.kill(os.getpid(), signal.SIGSTOP)", "Sandbox.Timedout", "Task timed out after 0.50 seconds"),
    "changes the working folder and deletes it": ("os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd()); answer = 6", None, "6"),
    "empties its environment": ("os.environ.clear(); answer = 7", None, "7"),
    "replaces stdout": ("sys.stdout = sys.stderr = None; answer = 8", None, "8"),
}

UNDECIDED = {"closes every descriptor", "closes the runtime's connection", "raises KeyboardInterrupt"}
"""What becomes of these depends on where exactly the runtime is hit: only that the next invocation works is certain."""


@pytest.mark.parametrize("case", PYTHON_CASES)
async def test_after_a_python_function_that_misbehaves_the_next_invocation_works(workshop, run, case, request):
    code, error_type, text = PYTHON_CASES[case]
    if case == "a child of its own session":
        request.getfixturevalue("needs_proc")
    timeout = 0.5 if error_type == "Sandbox.Timedout" else 5
    call = await run(workshop.python(PYTHON, timeout=timeout, memory_size=512))
    assert (await call({})).json() == "fine"
    result = await call({"do": code})
    if case not in UNDECIDED:
        check(result, error_type, text)
    after = await call({})
    assert (after.function_error, after.payload) == (None, b'"fine"')


def check(result: Any, error_type: str | None, text: str) -> None:
    if error_type is None:
        assert (result.function_error, result.text) == (None, text)
        return
    assert result.function_error == "Unhandled"
    assert result.json()["errorType"] == error_type
    assert text in result.json()["errorMessage"]


async def test_what_a_loud_function_writes_arrives_whole(workshop, run):
    call = await run(workshop.python(PYTHON))
    result = await call({"do": "sys.stdout.write(('x' * 99 + '\\n') * 200_000); sys.stdout.flush(); answer = 1"})
    assert result.json() == 1
    assert sum(line == "x" * 99 for line in result.logs) == 200_000


async def test_output_without_a_newline_is_a_line_of_its_own(workshop, run):
    call = await run(workshop.python(PYTHON))
    result = await call({"do": "print('no end', end='')"})
    assert "no end" in result.logs
    assert result.logs[-1].startswith("REPORT ")


async def test_binary_output_is_kept_byte_for_byte_in_the_tail(workshop, run):
    call = await run(workshop.python(PYTHON))
    await call({})
    result = await call({"do": "os.write(1, bytes(range(128, 256)))"})
    assert bytes(range(128, 256)) in result.log_tail


@pytest.mark.parametrize("way", ["cgroup", "sampling"])
async def test_after_a_function_that_allocates_past_its_memory_the_next_invocation_works(
    workshop, run, needs_proc, way, monkeypatch
):
    if way == "sampling":
        monkeypatch.setenv("LAMBDABOX_NO_CGROUP", "1")
    call = await run(workshop.python(PYTHON, timeout=10, memory_size=128), enforce_memory=True)
    hog = "hog = []\nwhile True:\n    hog.append(bytearray(b'x') * (4 << 20)); time.sleep(0.005)"
    check(await call({"do": hog}), "Runtime.OutOfMemory", "signal: killed")
    assert (await call({})).json() == "fine"


async def test_a_child_that_allocates_past_the_memory_counts_too(workshop, run, needs_proc, monkeypatch):
    monkeypatch.setenv("LAMBDABOX_NO_CGROUP", "1")
    call = await run(workshop.python(PYTHON, timeout=10, memory_size=128), enforce_memory=True)
    code = "subprocess.run([sys.executable, '-c', 'import time; x = bytearray(b\"x\") * (256 << 20); time.sleep(9)'])"
    check(await call({"do": code}), "Runtime.OutOfMemory", "signal: killed")
    assert (await call({})).json() == "fine"


async def test_a_child_that_stays_is_gone_with_its_environment(workshop, run, needs_proc, watch):
    call = await run(workshop.python(PYTHON))
    pid = (await call({"do": "p = subprocess.Popen(['sleep', '600'], start_new_session=True); answer = p.pid"})).json()
    assert watch.is_running(pid)
    await call.service.close()
    assert not watch.is_running(pid)


NODE = """
exports.handler = async (event) => {
  if (event.do) return await eval(event.do);
  return 'fine';
};
"""

NODE_CASES: dict[str, tuple[str, str | None, str]] = {
    "unhandled rejection": (
        "Promise.reject(new Error('dropped')); new Promise(() => setTimeout(() => {}, 400))",
        "Runtime.UnhandledPromiseRejection",
        "dropped",
    ),
    "promise that never settles": (
        "new Promise(() => setInterval(() => {}, 1000))",
        "Sandbox.Timedout",
        "Task timed out after 1.00 seconds",
    ),
    "promise that nothing can settle": (
        "new Promise(() => {})",
        "Runtime.NodeJsExit",
        "The Lambda runtime client detected an unexpected Node.js exit code.",
    ),
    "endless loop": ("(() => { for (;;); })()", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
    "process.exit": ("process.exit(5)", "Runtime.ExitError", "exit status 5"),
    "process.exit(0)": ("process.exit(0)", "Runtime.ExitError", "Runtime exited without providing a reason"),
    "process.abort": ("process.abort()", "Runtime.ExitError", "signal: aborted"),
    "uncaught exception": (
        "setTimeout(() => { throw new TypeError('later'); }, 1), new Promise(() => setTimeout(() => {}, 400))",
        "TypeError",
        "later",
    ),
    "result that does not serialise": ("({ n: 1n })", "Error", "Unable to stringify response body"),
    "result that holds itself": ("(() => { const a = {}; a.a = a; return a; })()", "Error", "Unable to stringify response body"),
    "7 MB result": ("'x'.repeat(7_000_000)", "Function.ResponseSizeTooLarge", "(7000002 bytes)"),
    "20 MB of output": ("(() => { for (let i = 0; i < 320; i++) console.log('x'.repeat(65535)); return 1; })()", None, "1"),
    "binary on stdout": ("(process.stdout.write(Buffer.from([0, 255, 254, 10, 128])), 2)", None, "2"),
    "prints without newline": ("(process.stdout.write('no end'), 3)", None, "3"),
    "closes fd 1": ("(require('fs').closeSync(1), 4)", None, "4"),
    "reads stdin": ("require('fs').readFileSync(0, 'utf8')", None, '""'),
    "a child that stays": (
        "(require('child_process').spawn('sleep', ['600'], { detached: true, stdio: 'inherit' }).unref(), 5)",
        None,
        "5",
    ),
    "ignores SIGTERM": (
        "(process.on('SIGTERM', () => {}), new Promise(() => setInterval(() => {}, 1000)))",
        "Sandbox.Timedout",
        "1.00 seconds",
    ),
}


@pytest.mark.parametrize("case", NODE_CASES)
async def test_after_a_node_function_that_misbehaves_the_next_invocation_works(workshop, run, has_node, case, request):
    code, error_type, text = NODE_CASES[case]
    if "detached" in code:
        request.getfixturevalue("needs_proc")
    timeout = 1 if error_type == "Sandbox.Timedout" else 5
    call = await run(workshop.node(NODE, timeout=timeout, memory_size=512))
    assert (await call({})).json() == "fine"
    check(await call({"do": code}), error_type, text)
    after = await call({})
    assert (after.function_error, after.payload) == (None, b'"fine"')
