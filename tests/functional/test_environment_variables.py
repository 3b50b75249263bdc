"""What a function and an extension see of the world (contract 6.1-6.4)."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

SEE = "import os\ndef handler(event, context):\n    return dict(os.environ)\n"
CANARIES = {
    "LAMBDABOX_CANARY": "leaked",
    "GITHUB_TOKEN": "leaked",
    "PYTHONPATH": "/leaked",
    "PYTHONSTARTUP": "/leaked",
    "LD_PRELOAD": "",
    "NODE_OPTIONS": "--leaked",
    "LANG": "xx_XX",
    "HOME": "/leaked",
    "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
    "http_proxy": "http://leaked",
    "AWS_PROFILE": "leaked",
    "AWS_REGION": "leaked-1",
}


def surroundings(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **CANARIES, **more}


async def test_a_python_function_sees_what_aws_shows_and_nothing_of_the_host(workshop, run):
    function = workshop.python(SEE, "orders", environment={"MINE": "1"}, memory_size=256, region="eu-west-3")
    call = await run(function, environ=surroundings())
    seen = (await call({})).json()
    environment = next(iter(call.pool.environments))
    expected = {
        "_HANDLER": "app.handler",
        "AWS_REGION": "eu-west-3",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "AWS_LAMBDA_FUNCTION_NAME": "orders",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/orders",
        "AWS_LAMBDA_LOG_STREAM_NAME": environment.log_stream,
        "AWS_LAMBDA_LOG_FORMAT": "Text",
        "AWS_LAMBDA_RUNTIME_API": environment.runtime_api,
        "LAMBDA_TASK_ROOT": str(function.code),
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "TZ": ":UTC",
        "MINE": "1",
    }
    assert {key: seen.get(key) for key in expected} == expected
    assert seen["LANG"] in ("en_US.UTF-8", "C.UTF-8")
    assert not [key for key, value in seen.items() if "leaked" in value and key != "PATH"]
    assert "LAMBDABOX_CANARY" not in seen
    assert "AWS_ACCESS_KEY_ID" not in seen
    assert seen["HOME"] == seen["TMPDIR"] != CANARIES["TMPDIR"]
    assert set(seen) - set(expected) <= {
        "LANG", "PATH", "LD_LIBRARY_PATH", "TMPDIR", "HOME", "IS_LOCAL", "AWS_SAM_LOCAL", "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR", "_X_AMZN_TRACE_ID", "PYTHONPATH", "LC_CTYPE",
    }  # fmt: skip
    assert seen["_X_AMZN_TRACE_ID"].startswith("Root=1-")


async def test_a_node_function_sees_the_same(workshop, run, has_node):
    source = "exports.handler = async () => ({ ...process.env });"
    call = await run(workshop.node(source, "orders", environment={"MINE": "1"}), environ=surroundings())
    seen = (await call({})).json()
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "orders"
    assert seen["MINE"] == "1"
    assert seen["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_nodejs")
    assert not [key for key, value in seen.items() if "leaked" in value and key != "PATH"]
    assert "LAMBDABOX_CANARY" not in seen


async def test_a_custom_runtime_has_no_execution_environment_name(workshop, run):
    bootstrap = "#!/bin/sh\nenv\nexit 1\n"
    call = await run(workshop.provided(bootstrap, handler="any text"), environ=surroundings())
    logs = (await call({})).logs
    assert "_HANDLER=any text" in logs
    assert not any(line.startswith(("AWS_EXECUTION_ENV=", "_X_AMZN_TRACE_ID=")) for line in logs)
    assert not any("LAMBDABOX_CANARY" in line for line in logs)


async def test_this_process_does_not_leak_by_default(workshop, run, monkeypatch):
    monkeypatch.setenv("LAMBDABOX_CANARY", "leaked")
    call = await run(workshop.python(SEE))
    assert "LAMBDABOX_CANARY" not in (await call({})).json()


async def test_credentials_are_passed_unless_they_are_held_back(workshop, run):
    credentials = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "token"}
    call = await run(workshop.python(SEE), environ=surroundings(**credentials))
    seen = (await call({})).json()
    assert {key: seen.get(key) for key in (*credentials, "AWS_ACCESS_KEY")} == {**credentials, "AWS_ACCESS_KEY": "id"}
    call = await run(workshop.python(SEE), environ=surroundings(**credentials), credentials=False)
    assert not {*credentials, "AWS_ACCESS_KEY"} & set((await call({})).json())


async def test_a_customer_extends_path_and_overrides_the_unreserved(workshop, run):
    environment = {"PATH": "/my/bin", "TZ": "Europe/Paris", "LANG": "C", "AWS_XRAY_CONTEXT_MISSING": "RUNTIME_ERROR"}
    call = await run(workshop.python(SEE, environment=environment), environ=surroundings())
    seen = (await call({})).json()
    assert seen["PATH"].startswith("/my/bin:")
    assert {key: seen[key] for key in environment if key != "PATH"} == {
        key: value for key, value in environment.items() if key != "PATH"
    }


async def test_an_extension_sees_no_handler_and_no_log_group(workshop, run, notes: Path):
    source = "note(dict(os.environ))\nregister('SHUTDOWN')\nnext_event()\n"
    extension = workshop.extension(source)
    environment = {"NOTES": str(notes), "MINE": "1", "_HIDDEN": "x"}
    call = await run(
        workshop.python(SEE, environment=environment, extensions=(extension,)), environ=surroundings(AWS_ACCESS_KEY_ID="id")
    )
    await call({})
    seen: dict[str, Any] = json.loads(notes.read_text())
    expected = {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_RUNTIME_API": next(iter(call.pool.environments)).runtime_api,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "TZ": ":UTC",
        "MINE": "1",
    }
    assert {key: seen.get(key) for key in expected} == expected
    unseen = {
        "_HANDLER", "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "_HIDDEN", "LAMBDABOX_CANARY",
    }  # fmt: skip
    assert not unseen & set(seen)


async def test_the_endpoint_of_the_service_is_a_default_only(workshop, run):
    mine = {"AWS_ENDPOINT_URL_LAMBDA": "http://mine"}
    call = await run(workshop.python(SEE, "one"), workshop.python(SEE, "two", environment=mine), environ=surroundings())
    url = await call.service.listen()
    assert (await call({}, function="one")).json()["AWS_ENDPOINT_URL_LAMBDA"] == url
    assert (await call({}, function="two")).json()["AWS_ENDPOINT_URL_LAMBDA"] == "http://mine"


async def test_every_environment_has_a_tmp_of_its_own_that_goes_with_it(workshop, run):
    source = "import tempfile\ndef handler(event, context):\n    return tempfile.gettempdir()\n"
    function = workshop.python(source)
    one, two = await run(function), await run(function)
    first, second = (await one({})).json(), (await two({})).json()
    assert first != second
    assert Path(first).is_dir()
    await one.service.close()
    assert not Path(first).exists()
    assert Path(second).is_dir()


async def test_the_wrapper_script_gets_the_interpreter_and_every_argument(workshop, run):
    source = "import os\ndef handler(event, context):\n    return [os.environ['WRAPPED'], context.function_name]\n"
    wrapper = workshop.code({"wrap": '#!/bin/sh\nexport WRAPPED="$#"\nexec "$@"\n'}) / "wrap"
    call = await run(workshop.python(source, environment={"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper)}))
    assert (await call({})).json() == ["2", "function"]


async def test_a_wrapper_script_may_put_its_own_handler_in_front(workshop, run):
    """So do the layers of observability vendors, which keep the name of the function's own handler."""
    theirs = "import os, app\ndef handler(event, context):\n    return [os.environ['INNER'], app.handler(event, context)]\n"
    wrapper = '#!/bin/sh\nexport INNER="$_HANDLER"\nexport _HANDLER=theirs.handler\nexec "$@"\n'
    files = workshop.code({"wrap": wrapper, "theirs.py": theirs, "app.py": "def handler(event, context):\n    return event\n"})
    function = workshop.python("", environment={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"})
    call = await run(replace(function, code=files))
    assert (await call(7)).json() == ["app.handler", 7]


@pytest.mark.parametrize("value", ["with\nnewline", "ünï", "a=b", " spaced ", "x" * 3000, "$HOME `id`"])
async def test_values_are_literal(workshop, run, value):
    call = await run(
        workshop.python("import os\ndef handler(event, context):\n    return os.environ['V']\n", environment={"V": value})
    )
    assert (await call({})).json() == value
