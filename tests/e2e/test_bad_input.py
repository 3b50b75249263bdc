"""Input that cannot be right: each names the thing and the next step, on standard error, with its exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def refused(done, code: int, *words: str) -> None:
    told = done.stderr.decode()
    assert done.returncode == code, told
    assert done.stdout == b""
    assert told.startswith("error: "), told
    assert "Traceback" not in told
    for word in words:
        assert word in told


def test_unknown_function_lists_the_known(run, serverless: Path) -> None:
    refused(run("invoke", "helo"), 2, "'helo'", "did you mean hello?", "echo")


def test_several_functions_and_none_named(run, serverless: Path) -> None:
    refused(run("invoke"), 2, "which one?", "hello, echo, env and gone")


def test_no_function_here(run, tmp_path: Path) -> None:
    refused(run("invoke"), 2, "no function in", "serverless.yml")


def test_target_and_function_together(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "-f", "echo"), 2, "TARGET (hello)", "-f/--function (echo)")


def test_data_and_path_together(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "-d", "{}", "-p", "event.json"), 2, "-d/--data", "-p/--path")


def test_context_twice(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "--context", "{}", "-x", "c.json"), 2, "--context", "--context-path")


def test_event_that_is_not_json(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "-d", "plain"), 2, "--data is not JSON", "--raw")


def test_unreadable_event_file(run, serverless: Path) -> None:
    (serverless / "event.json").write_text("{}")
    refused(run("invoke", "hello", "-p", "evnt.json"), 2, "evnt.json", "did you mean event.json?")


def test_event_file_that_is_a_folder(run, serverless: Path) -> None:
    (serverless / "events").mkdir()
    refused(run("invoke", "hello", "-p", "events"), 2, "events is a folder")


def test_context_that_is_no_object(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "--context", "[1]"), 2, "context must be a JSON object")


def test_client_context_that_is_no_json(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "--client-context", "{"), 2, "--client-context is not JSON")


def test_invalid_yaml_names_file_and_line(run, tmp_path: Path) -> None:
    (tmp_path / "serverless.yml").write_text("service: x\nfunctions:\n  a: [1\n")
    refused(run("invoke", "a"), 2, "serverless.yml:")


def test_missing_project_file(run, tmp_path: Path) -> None:
    refused(run("invoke", "a", "-c", "other.yml"), 2, "no project file", "other.yml")


def test_unknown_option_is_suggested(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "--dta", "1"), 2, "no option --dta", "--data")


def test_unknown_command_is_suggested(run) -> None:
    refused(run("invok"), 2, "no command invok", "did you mean invoke?")


def test_option_without_value(run) -> None:
    refused(run("invoke", "-d"), 2, "-d needs a value")


def test_superfluous_argument(run, serverless: Path) -> None:
    refused(run("invoke", "hello", "more"), 2, "unexpected argument 'more'")


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--memory", "64", "128 to 10240 MB"),
        ("--memory", "20000", "128 to 10240 MB"),
        ("--memory", "much", "not a whole number"),
        ("--timeout", "0", "seconds"),
        ("--timeout", "901", "900 seconds"),
        ("--timeout", "soon", "not a number"),
        ("--timeout", "nan", "out of range"),
    ],
)
def test_numbers_out_of_range(run, serverless: Path, option: str, value: str, word: str) -> None:
    refused(run("invoke", "hello", option, value), 2, f"{option} {value}", word)


def test_unknown_runtime(run, project: Path) -> None:
    refused(run("invoke", "app.echo", "--runtime", "python3.99"), 2, "unknown runtime 'python3.99'", "did you mean")


def test_retired_runtime_runs_with_a_warning(run, project: Path) -> None:
    done = run("invoke", "app.echo", "--runtime", "python3.8", "-d", "1")
    assert (done.returncode, done.stdout) == (0, b"1\n")
    assert done.stderr.count(b"was retired by AWS on 2024-10-14") == 1


def test_runtime_without_an_interpreter(run, tmp_path: Path, environ) -> None:
    (tmp_path / "index.js").write_text("exports.handler = async () => 1\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    env = {"PATH": str(empty), "HOME": str(empty)}
    refused(run("invoke", "index.handler", "--runtime", "nodejs22.x", env=env), 3, "nothing on this machine runs nodejs22.x")


def test_interpreter_that_is_not_there(run, project: Path) -> None:
    refused(run("invoke", "app.echo", "--python", "./no-such-python"), 2, "no interpreter ./no-such-python")


def test_handler_path_that_leaves_the_project(run, project: Path) -> None:
    refused(run("invoke", "../other/app.handler"), 2, "../other/app.handler")


def test_target_with_a_suffix(run, project: Path) -> None:
    refused(run("invoke", "app.py"), 2, "app.py is a file, not a handler", "app.handler")


def test_reserved_variable(run, project: Path) -> None:
    refused(run("invoke", "app.echo", "-e", "AWS_REGION=x"), 2, "AWS_REGION is reserved")


def test_missing_env_file(run, project: Path) -> None:
    refused(run("invoke", "app.echo", "--env-file", "no.env"), 2, "no env file no.env")


def test_unknown_output_format(run, project: Path) -> None:
    refused(run("invoke", "app.echo", "--output", "xml"), 2, "--output", "'text', 'json'")


# -- the user's code: AWS's init error, our hint ----------------------------------------------------------------------


def failed(done, error_type: str, *words: str) -> None:
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == error_type
    hints = [line for line in done.stderr.decode().splitlines() if line.startswith("hint: ")]
    for word in words:
        assert any(word in hint for hint in hints), hints


def test_a_missing_handler_file_is_an_init_error(run, serverless: Path) -> None:
    failed(run("invoke", "gone"), "Runtime.ImportModuleError", "looked for nowhere.py")


def test_a_missing_export_is_an_init_error(run, project: Path) -> None:
    failed(run("invoke", "app.ecko"), "Runtime.HandlerNotFound", "did you mean 'echo'?")


def test_a_missing_node_export_names_what_is_there(run, tmp_path: Path) -> None:
    import shutil

    if shutil.which("node") is None:
        pytest.skip("no node here")
    (tmp_path / "index.mjs").write_text("export const handler = async () => 1;\n")
    failed(run("invoke", "index.handle"), "Runtime.HandlerNotFound", "did you mean 'handler'?")


def test_a_syntax_error_is_an_init_error(run, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(:\n")
    failed(run("invoke", "app.handler"), "Runtime.UserCodeSyntaxError", "app.py:1")


def test_a_missing_package_names_the_interpreter(run, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import surely_not_installed\ndef handler(e, c): return 1\n")
    failed(run("invoke", "app.handler"), "Runtime.ImportModuleError", "-m pip install surely_not_installed")


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_of_every_command(run) -> None:
    for command in ("invoke", "serve", "list", "doctor"):
        done = run(command, "--help")
        assert (done.returncode, done.stderr) == (0, b"")
        assert f"usage: lambdabox {command}".encode() in done.stdout
        assert b"examples:" in done.stdout


def test_help_and_nothing(run) -> None:
    assert b"commands:" in run("--help").stdout
    nothing = run()
    assert (nothing.returncode, nothing.stdout) == (2, b"")
    assert b"commands:" in nothing.stderr
