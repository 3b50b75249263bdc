"""`lambdabox invoke`: what people type, and what they get."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

# -- the usage lines of `serverless invoke local` ---------------------------------------------------------------------


def test_function_and_data(run, serverless: Path) -> None:
    done = run("invoke", "--function", "hello", "--data", '{"name": "Ada"}')
    assert (done.returncode, done.stdout) == (0, b'{"hello": "Ada"}\n')


def test_environment_variables(run, serverless: Path) -> None:
    done = run("invoke", "--function", "env", "--env", "KEY1=value1", "--env", "KEY2=a=b", "-d", '["KEY1", "KEY2", "STAGE_WORD"]')
    assert json.loads(done.stdout) == {"KEY1": "value1", "KEY2": "a=b", "STAGE_WORD": "from-project"}


def test_docker_names_what_runs_without_it(run, serverless: Path) -> None:
    (serverless / "event.json").write_text("{}")
    done = run("invoke", "--function", "hello", "--docker", "--data", "file://event.json")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"without Docker" in done.stderr


def test_docker_arg_takes_a_value_with_a_dash(run, serverless: Path) -> None:
    assert run("invoke", "-f", "hello", "--docker-arg", "--network=host").returncode == 3


def test_data_from_a_file_url(run, serverless: Path) -> None:
    (serverless / "event.json").write_text('{"name": "file"}')
    done = run("invoke", "--function", "hello", "--data", "file://event.json")
    assert done.stdout == b'{"hello": "file"}\n'


def test_context_is_merged(run, project: Path) -> None:
    done = run("invoke", "app.about", "--context", '{"custom": "value"}')
    assert json.loads(done.stdout)["custom"] == "value"


def test_context_path_in_both_spellings(run, project: Path) -> None:
    (project / "context.json").write_text('{"custom": 7}')
    for option in ("-x", "--context-path", "--contextPath"):
        assert json.loads(run("invoke", "app.about", option, "context.json").stdout)["custom"] == 7


# -- targets ----------------------------------------------------------------------------------------------------------


def test_a_handler_without_a_project_file(run, project: Path) -> None:
    assert run("invoke", "app.echo", "-d", "[1, 2]").stdout == b"[1, 2]\n"


def test_the_usual_handler_without_a_target(run, tmp_path: Path) -> None:
    (tmp_path / "lambda_function.py").write_text("def lambda_handler(event, context):\n    return 'found'\n")
    assert run("invoke").stdout == b'"found"\n'


def test_a_node_handler(run, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no node here")
    (tmp_path / "index.mjs").write_text("export const handler = async (event) => ({ got: event });\n")
    done = run("invoke", "index.handler", "-d", "5")
    assert (done.returncode, done.stdout) == (0, b'{"got":5}\n')


def test_a_folder_with_bootstrap(run, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    bootstrap = folder / "bootstrap"
    bootstrap.write_text("#!/bin/sh\nexit 1\n")
    bootstrap.chmod(0o755)
    done = run("invoke", "build")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "Runtime.ExitError"


def test_handler_and_runtime_options(run, project: Path, runtime: str) -> None:
    done = run("invoke", "--handler", "app.echo", "--runtime", runtime, "-d", "1")
    assert (done.returncode, done.stdout) == (0, b"1\n")


def test_handler_replaces_the_configured_one(run, serverless: Path) -> None:
    assert run("invoke", "hello", "--handler", "app.echo", "-d", "1").stdout == b"1\n"


def test_config_in_another_folder(run, serverless: Path, tmp_path_factory) -> None:
    (serverless / "event.json").write_text('{"name": "x"}')
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = run("invoke", "hello", "-c", str(serverless / "serverless.yml"), "-p", "event.json", cwd=elsewhere)
    assert done.stdout == b'{"hello": "x"}\n'


def test_stage_and_region(run, serverless: Path) -> None:
    done = run("invoke", "env", "-s", "prod", "-r", "eu-west-1", "-d", '["AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME"]')
    assert json.loads(done.stdout) == {"AWS_REGION": "eu-west-1", "AWS_LAMBDA_FUNCTION_NAME": "shop-prod-env"}


def test_memory_and_client_context(run, serverless: Path) -> None:
    done = run("invoke", "hello", "--handler", "app.about", "--memory", "512", "--client-context", '{"custom": {"a": "b"}}')
    assert {"memory": "512", "client": {"a": "b"}}.items() <= json.loads(done.stdout).items()


# -- events -----------------------------------------------------------------------------------------------------------


def test_event_from_a_pipe(run, project: Path) -> None:
    assert run("invoke", "app.echo", stdin=b'{"piped": true}').stdout == b'{"piped": true}\n'


def test_event_from_standard_input_by_name(run, project: Path) -> None:
    assert run("invoke", "app.echo", "-d", "-", stdin=b"3").stdout == b"3\n"


def test_an_idle_pipe_does_not_hang(run, project: Path) -> None:
    reader, writer = os.pipe()
    try:
        assert run("invoke", "app.echo", stdin=reader, timeout=20).stdout == b"{}\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_raw_sends_text(run, project: Path) -> None:
    assert run("invoke", "app.echo", "--raw", "-d", "plain text").stdout == b'"plain text"\n'


def test_data_may_begin_with_a_dash(run, project: Path) -> None:
    assert run("invoke", "app.echo", "-d", "-5").stdout == b"-5\n"


@pytest.mark.parametrize("value", ["null", "0", "false", '""'])
def test_falsy_results_are_printed(run, project: Path, value: str) -> None:
    done = run("invoke", "app.echo", "-d", value)
    assert (done.returncode, done.stdout) == (0, value.encode() + b"\n")


def test_env_file_below_env(run, project: Path) -> None:
    (project / "local.env").write_text("FROM_FILE=1\nBOTH=file\n")
    done = run("invoke", "app.env", "--env-file", "local.env", "-e", "BOTH=option", "-d", '["FROM_FILE", "BOTH"]')
    assert json.loads(done.stdout) == {"FROM_FILE": "1", "BOTH": "option"}


def test_credentials_pass_unless_refused(run, project: Path) -> None:
    here = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-real-one"}
    names = '["AWS_ACCESS_KEY_ID"]'
    assert json.loads(run("invoke", "app.env", "-d", names, env=here).stdout) == {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"}
    done = run("invoke", "app.env", "-d", names, "--no-credentials", env=here)
    assert json.loads(done.stdout) == {"AWS_ACCESS_KEY_ID": None}


# -- output -----------------------------------------------------------------------------------------------------------


def test_logs_go_to_standard_error(run, serverless: Path) -> None:
    done = run("invoke", "hello", "-d", "{}")
    assert done.stdout == b'{"hello": "world"}\n'
    lines = done.stderr.decode().splitlines()
    kinds = [line.split(" ")[0] for line in lines]
    assert kinds[:2] == ["INIT_START", "START"]
    assert {"a log line", "to standard error"} <= set(lines)
    assert kinds[-2:] == ["END", "REPORT"]


def test_no_log_line_is_lost(run, project: Path) -> None:
    done = run("invoke", "app.noisy", "-d", '{"lines": 20000}', "--timeout", "60")
    assert done.stderr.decode().count("\nline ") == 20000
    assert done.stdout == b'"done"\n'


def test_an_open_line_is_ended(run, project: Path) -> None:
    done = run("invoke", "app.open_line")
    assert b"no newline\nEND RequestId" in done.stderr
    assert done.stdout == b"null\n"


def test_output_json_is_one_envelope(run, serverless: Path) -> None:
    done = run("invoke", "hello", "-d", '{"name": "Ada"}', "--output", "json")
    envelope = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert list(envelope) == ["StatusCode", "ExecutedVersion", "RequestId", "Payload", "Report", "Logs"]
    assert envelope["Payload"] == {"hello": "Ada"}
    assert envelope["Report"]["MemorySizeMB"] == 1024
    assert "a log line" in envelope["Logs"]


def test_output_json_of_a_failure(run, project: Path) -> None:
    done = run("invoke", "app.outer", "--output", "json")
    envelope = json.loads(done.stdout)
    assert done.returncode == 1
    assert (envelope["FunctionError"], envelope["Payload"]["errorType"]) == ("Unhandled", "KeyError")


def test_debug_tells_choices_and_no_secret(run, serverless: Path) -> None:
    done = run(
        "invoke",
        "hello",
        "--debug",
        "-e",
        "MY_VALUE=hush-hush",
        env={"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_SESSION_TOKEN": "tok-en"},
    )
    told = done.stderr.decode()
    assert done.stdout == b'{"hello": "world"}\n'
    for word in ("debug: interpreter: ", "debug: cache: ", "debug: sandbox: process; command ", "debug: time: ", "MY_VALUE=***"):
        assert word in told
    for secret in ("hush-hush", "very-secret", "tok-en", "AKIDEXAMPLE"):
        assert secret not in told


def test_a_reader_who_has_gone_is_no_error(start, project: Path) -> None:
    reader, writer = os.pipe()
    process = start("invoke", "app.echo", "-d", '"x"', stdout=writer)
    os.close(writer)
    os.close(reader)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 141
    assert b"Traceback" not in stderr


def test_a_lost_standard_error_loses_only_logs(start, serverless: Path) -> None:
    reader, writer = os.pipe()
    process = start("invoke", "hello", stderr=writer)
    os.close(writer)
    os.close(reader)
    stdout, _ = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (0, b'{"hello": "world"}\n')


def test_color_is_never_in_a_piped_payload(run, project: Path) -> None:
    done = run("invoke", "app.unicode", env={"FORCE_COLOR": "1"})
    assert done.stdout.decode() in ('"\u00e9\u4e16"\n', '"\\u00e9\\u4e16"\n')
    assert b"\x1b[" in done.stderr


# -- failures ---------------------------------------------------------------------------------------------------------


def test_a_raised_error_is_exit_1_with_the_document(run, project: Path) -> None:
    done = run("invoke", "app.outer")
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "KeyError"


def test_a_crash_is_exit_1(run, project: Path) -> None:
    done = run("invoke", "app.crash")
    assert (done.returncode, json.loads(done.stdout)["errorType"]) == (1, "Runtime.ExitError")


def test_a_timeout_names_the_option(run, project: Path) -> None:
    done = run("invoke", "app.slow", "-d", json.dumps({"started": str(project / "pid")}), "--timeout", "0.3")
    assert (done.returncode, json.loads(done.stdout)["errorType"]) == (1, "Sandbox.Timedout")
    assert b"hint: the timeout is 0.3 s: --timeout" in done.stderr


def test_no_timeout(run, project: Path) -> None:
    assert run("invoke", "app.echo", "-d", "1", "--no-timeout").stdout == b"1\n"


def test_console_script_and_module_are_one(environ: dict[str, str], project: Path) -> None:
    import sys

    script = Path(sys.executable).with_name("lambdabox")
    if not script.exists():
        pytest.skip("the console script is not installed")
    done = subprocess.run([script, "--version"], capture_output=True, env=environ, check=True)
    assert done.stdout.startswith(b"lambdabox 0.")
