"""What a function is started with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from lambdabox.errors import ConfigError, RuntimeNotFoundError
from lambdabox.model.function import Function
from lambdabox.runtimes.catalog import (
    BOOTSTRAPS,
    EntrypointError,
    nearest_identifier,
    prepare_launch,
    runtime_for_handler,
    runtime_library,
)


def executable(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environ(tmp_path: Path) -> Any:
    executable(tmp_path / "bin/python3.12")
    executable(tmp_path / "bin/node", "v22.12.0")
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def function(tmp_path: Path) -> Any:
    code = tmp_path / "code"
    code.mkdir()
    return Function(name="f", handler="app.handler", runtime="python3.12", code=code)


def test_python_starts_our_bootstrap_and_leaves_the_handler_to_its_variable(
    function: Function, environ: dict[str, str], tmp_path: Path
) -> None:
    launch = prepare_launch(function, opt=None, environ=environ)
    assert launch.argv == (str(tmp_path / "bin/python3.12"), str(BOOTSTRAPS / "python/bootstrap.py"))
    assert launch.cwd == function.code
    assert launch.framed_logs
    assert launch.warnings == ()
    assert (
        launch.environment.items()
        >= {"_LAMBDABOX_POLLS_AHEAD": "1", "_LAMBDABOX_RUNTIME_LIBRARY": str(runtime_library())}.items()
    )
    assert [name for name in launch.environment if not name.startswith(("_LAMBDABOX_", "MALLOC_"))] == []


def test_the_runtime_library_is_a_folder_of_that_name() -> None:
    assert runtime_library().name == "lambdabox_runtime"


def test_python_layers_follow_the_identifier(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    opt = tmp_path / "opt"
    (opt / "python/lib/python3.12/site-packages").mkdir(parents=True)
    (opt / "python/lib/python3.11/site-packages").mkdir(parents=True)
    launch = prepare_launch(function, opt=opt, environ=environ)
    assert launch.environment["_LAMBDABOX_LAYER_PATHS"] == f"{opt}/python:{opt}/python/lib/python3.12/site-packages"


def test_node_gets_existing_layer_folders_and_lambdas_flags(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    opt = tmp_path / "opt"
    (opt / "nodejs/node_modules").mkdir(parents=True)
    launch = prepare_launch(dataclasses.replace(function, runtime="nodejs22.x"), opt=opt, environ=environ)
    assert launch.argv == (
        str(tmp_path / "bin/node"),
        "--no-experimental-require-module",
        "--no-experimental-detect-module",
        str(BOOTSTRAPS / "nodejs/bootstrap.cjs"),
    )
    assert launch.environment == {"_LAMBDABOX_POLLS_AHEAD": "1", "NODE_PATH": f"{opt}/nodejs/node_modules"}


def test_the_customers_node_options_and_node_path_win(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    opt = tmp_path / "opt"
    (opt / "nodejs/node_modules").mkdir(parents=True)
    own = {"NODE_OPTIONS": "--experimental-require-module", "NODE_PATH": "/mine"}
    launch = prepare_launch(dataclasses.replace(function, runtime="nodejs22.x", environment=own), opt=opt, environ=environ)
    assert launch.argv[1:2] == ("--no-experimental-detect-module",)
    assert launch.environment == {"_LAMBDABOX_POLLS_AHEAD": "1"}


def test_an_old_node_gets_no_flags_it_does_not_know(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/node", "v18.1.0")
    launch = prepare_launch(dataclasses.replace(function, runtime="nodejs22.x"), opt=None, environ=environ)
    assert launch.argv[1].endswith("bootstrap.cjs")
    assert len(launch.warnings) == 1


def test_a_custom_runtime_starts_the_bootstrap_of_its_code(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    opt = tmp_path / "opt"
    executable(opt / "bootstrap")
    own = executable(function.code / "bootstrap")
    launch = prepare_launch(dataclasses.replace(function, runtime="provided.al2023"), opt=opt, environ=environ)
    assert launch.argv == (str(own),)
    assert launch.interpreter is None
    assert not launch.framed_logs


def test_a_folder_named_bootstrap_is_skipped(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    opt = tmp_path / "opt"
    in_layer = executable(opt / "bootstrap")
    (function.code / "bootstrap").mkdir()
    launch = prepare_launch(dataclasses.replace(function, runtime="provided.al2023"), opt=opt, environ=environ)
    assert launch.argv == (str(in_layer),)


def test_no_bootstrap_is_awss_entrypoint_error(function: Function, environ: dict[str, str]) -> None:
    with pytest.raises(EntrypointError) as caught:
        prepare_launch(dataclasses.replace(function, runtime="provided.al2023"), opt=None, environ=environ)
    assert caught.value.text == "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    assert caught.value.error_type == "Runtime.InvalidEntrypoint"


def test_an_absolute_handler_is_the_executable(function: Function, environ: dict[str, str], tmp_path: Path) -> None:
    program = executable(tmp_path / "build/program")
    launch = prepare_launch(
        dataclasses.replace(function, runtime="provided.al2023", handler=str(program)), opt=None, environ=environ
    )
    assert launch.argv == (str(program),)


def test_go1_starts_the_executable_its_handler_names(function: Function, environ: dict[str, str]) -> None:
    program = executable(function.code / "bin/main")
    launch = prepare_launch(dataclasses.replace(function, runtime="go1.x", handler="bin/main"), opt=None, environ=environ)
    assert launch.argv == (str(program),)


@pytest.mark.parametrize(("literal", "folder"), [("/opt/bin/wrap", "opt"), ("/var/task/bin/wrap", "code")])
def test_a_wrapper_gets_the_interpreter_and_every_argument(
    function: Function, environ: dict[str, str], tmp_path: Path, literal: str, folder: Path
) -> None:
    wrapped = dataclasses.replace(function, environment={"AWS_LAMBDA_EXEC_WRAPPER": literal})
    plain = prepare_launch(function, opt=tmp_path / "opt", environ=environ).argv
    assert prepare_launch(wrapped, opt=tmp_path / "opt", environ=environ).argv == (str(tmp_path / folder / "bin/wrap"), *plain)


def test_a_wrapper_does_not_count_on_os_only_runtimes(function: Function, environ: dict[str, str]) -> None:
    own = executable(function.code / "bootstrap")
    wrapped = dataclasses.replace(function, runtime="provided.al2", environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"})
    assert prepare_launch(wrapped, opt=None, environ=environ).argv == (str(own),)


def test_an_unknown_identifier_is_a_config_error_with_a_guess(function: Function, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"unknown runtime 'python3\.21'") as caught:
        prepare_launch(dataclasses.replace(function, runtime="python3.21"), opt=None, environ=environ)
    assert "did you mean python3." in (caught.value.hint or "")


def test_a_retired_identifier_runs_with_its_date(function: Function, environ: dict[str, str]) -> None:
    launch = prepare_launch(dataclasses.replace(function, runtime="nodejs14.x"), opt=None, environ=environ)
    assert "nodejs14.x was retired by AWS on 2023-12-04" in launch.warnings[0]


@pytest.mark.parametrize("runtime", ["java21", "ruby3.4", "dotnet8"])
def test_languages_without_a_bootstrap_say_what_there_is(function: Function, environ: dict[str, str], runtime: str) -> None:
    with pytest.raises(RuntimeNotFoundError) as caught:
        prepare_launch(dataclasses.replace(function, runtime=runtime), opt=None, environ=environ)
    assert "Python, Node.js" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("file", "handler", "runtime"),
    [
        ("app.py", "app.handler", "python3.12"),
        ("src/app.py", "src/app.handler", "python3.12"),
        ("pkg/sub/app.py", "pkg.sub.app.handler", "python3.12"),
        ("index.mjs", "index.handler", "nodejs22.x"),
        ("index.cjs", "index.api.handler", "nodejs22.x"),
        ("index.rb", "index.handler", "ruby4.0"),
    ],
)
def test_a_handlers_file_tells_its_runtime(
    tmp_path: Path, environ: dict[str, str], file: str, handler: str, runtime: str
) -> None:
    executable(tmp_path / "bin/python3", "3.12.1")
    (tmp_path / "code" / file).parent.mkdir(parents=True)
    (tmp_path / "code" / file).write_text("")
    assert runtime_for_handler(tmp_path / "code", handler, environ=environ) == runtime


def test_bootstrap_is_an_os_only_runtime(tmp_path: Path) -> None:
    assert runtime_for_handler(tmp_path, "bootstrap") == "provided.al2023"


def test_no_file_for_a_handler_names_no_runtime(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="no file matches"):
        runtime_for_handler(tmp_path, "app.handler", environ=environ)


@pytest.mark.parametrize(
    ("language", "version", "name"),
    [
        ("python", (3, 11, 7), "python3.11"),
        ("python", (3, 20), "python3.14"),
        ("python", None, "python3.14"),
        ("nodejs", (23, 1, 0), "nodejs24.x"),
        ("nodejs", (20, 1, 0), "nodejs20.x"),
        ("nodejs", (99,), "nodejs24.x"),
    ],
)
def test_the_identifier_for_a_version(language: str, version: Any, name: str) -> None:
    assert nearest_identifier(language, version) == name


def test_the_customers_allocator_settings_win(function: Function, environ: dict[str, str]) -> None:
    own = {"MALLOC_TRIM_THRESHOLD_": "1"}
    launch = prepare_launch(dataclasses.replace(function, environment=own), opt=None, environ=environ)
    assert "MALLOC_TRIM_THRESHOLD_" not in launch.environment
    assert "MALLOC_TRIM_THRESHOLD_" not in launch.environment.get("_LAMBDABOX_ALLOCATOR", "")
