"""Projects without a file, and the function that a TARGET names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lambdabox.config.project import find_target, load_project, required_functions
from lambdabox.config.zero import CANDIDATES, function_name
from lambdabox.errors import ConfigError, UsageError

ORDERS = Path(__file__).parents[2] / "data" / "projects" / "orders"
PYTHON = "def {name}(event, context):\n    return event\n"


def write(path: Any, text: Any = "", *, mode: Any = 0o644) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def load(folder: Any, **options: Any) -> Any:
    return load_project(folder, environ={}, **options)


# -- zero configuration


@pytest.mark.parametrize(
    ("file", "text", "handler", "runtime"),
    [
        ("lambda_function.py", PYTHON.format(name="lambda_handler"), "lambda_function.lambda_handler", "python3.14"),
        ("app.py", PYTHON.format(name="handler"), "app.handler", "python3.14"),
        ("app.py", PYTHON.format(name="lambda_handler"), "app.lambda_handler", "python3.14"),
        ("app.py", "from core import (\n    x,\n    handler,\n)\n", "app.handler", "python3.14"),
        ("app.py", "handler: object = make()\n", "app.handler", "python3.14"),
        ("app.py", "async def handler(event, context): ...\n", "app.handler", "python3.14"),
        ("main.py", "import core as handler\n", "main.handler", "python3.14"),
        ("index.js", "exports.handler = async () => 1", "index.handler", "nodejs24.x"),
        ("index.mjs", "export const handler = async () => 1", "index.handler", "nodejs24.x"),
        ("index.cjs", "module.exports = { handler }", "index.handler", "nodejs24.x"),
    ],
)
def test_a_file_with_the_export_is_the_function(tmp_path: Path, file: str, text: str, handler: str, runtime: str) -> None:
    write(tmp_path / file, text)
    (function,) = required_functions(load(tmp_path))
    assert (function.handler, function.runtime, function.code) == (handler, runtime, tmp_path)
    assert (function.timeout, function.memory_size) == (3, 128)


def test_an_executable_bootstrap_is_a_custom_runtime(tmp_path: Path) -> None:
    write(tmp_path / "bootstrap", "#!/bin/sh\n", mode=0o755)
    (function,) = required_functions(load(tmp_path))
    assert (function.handler, function.runtime) == ("bootstrap", "provided.al2023")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("app.py", "def other(): ...\n# handler\n"),
        ("app.py", "def handler_of(): ...\n"),
        ("index.js", "const handler = 1"),
        ("index.ts", "export const handler = 1"),
        ("bootstrap", "not executable"),
        ("handler.py", PYTHON.format(name="handler")),
    ],
)
def test_a_file_without_the_export_is_not(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path / file, text)
    assert load(tmp_path).functions == ()


def test_nothing_found_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_target(load(tmp_path))
    assert all(candidate in caught.value.message for candidate in (*CANDIDATES, "serverless.yml"))
    assert caught.value.exit_code == 2


def test_several_matches_are_named(tmp_path: Path) -> None:
    write(tmp_path / "app.py", PYTHON.format(name="handler"))
    write(tmp_path / "app.js", "exports.handler = 1")
    write(tmp_path / "main.py", PYTHON.format(name="handler"))
    for call in (required_functions, find_target):
        with pytest.raises(
            ConfigError, match=r"app\.handler \(app\.py\), app\.handler \(app\.js\) and main\.handler \(main\.py\)"
        ):
            call(load(tmp_path))


def test_the_runtime_of_what_is_here_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "app.py", PYTHON.format(name="handler"))
    project = load(tmp_path, runtime_for=lambda code, handler: f"{code.name}/{handler}")
    assert project.functions[0].runtime == f"{tmp_path.name}/app.handler"


@pytest.mark.parametrize(
    ("text", "name"), [("my shop!", "my-shop"), ("...", "function"), ("a" * 80, "a" * 64), ("ok_1-x", "ok_1-x")]
)
def test_any_folder_gives_a_function_name(text: str, name: str) -> None:
    assert function_name(text) == name


# -- project files


def test_a_file_that_is_named_is_read(tmp_path: Path) -> None:
    write(tmp_path / "other.yml", "service: s\nprovider: aws\nfunctions: {f: {handler: a.b, runtime: python3.12}}\n")
    assert load(tmp_path, config=Path("other.yml")).functions[0].name == "s-dev-f"


def test_a_missing_project_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "serverless.yml", "")
    with pytest.raises(ConfigError, match=r"no project file .*other\.yml") as caught:
        load(tmp_path, config=Path("other.yml"))
    assert caught.value.hint == "this folder has serverless.yml"


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "project.toml", "")
    with pytest.raises(ConfigError, match=r"project\.toml is not a project file"):
        load(tmp_path, config=Path("project.toml"))


def test_serverless_in_code_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path / "serverless.ts", "")
    with pytest.raises(ConfigError, match=r"serverless\.ts is not read by this version"):
        load(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder"):
        load(tmp_path / "nowhere")


def test_a_project_without_functions_cannot_be_served(tmp_path: Path) -> None:
    write(tmp_path / "serverless.yml", "service: s\nprovider: aws\n")
    with pytest.raises(ConfigError, match="has no functions"):
        required_functions(load(tmp_path))


# -- targets


def test_a_target_is_a_key_then_a_deployed_name(tmp_path: Path) -> None:
    project = load(ORDERS)
    assert find_target(project, "create").name == "orders-dev-create"
    assert find_target(project, "orders-dev-create").key == "create"
    assert find_target(project, "list-dev").key == "list"


def test_a_key_wins_over_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "serverless.yml", "service: s\nprovider: aws\nfunctions: {src: {handler: a.b, runtime: python3.12}}\n")
    (tmp_path / "src").mkdir()
    assert find_target(load(tmp_path), "src").name == "s-dev-src"


def test_an_unknown_function_lists_the_known_and_guesses() -> None:
    with pytest.raises(UsageError, match=r"no function 'creat' in serverless\.yml") as caught:
        find_target(load(ORDERS), "creat")
    assert caught.value.hint == "did you mean create? functions here: create and list"


def test_several_functions_need_a_target() -> None:
    with pytest.raises(UsageError, match="has 2 functions"):
        find_target(load(ORDERS))


def test_a_handler_beside_a_project_file_works() -> None:
    function = find_target(load(ORDERS), "src/create.handler")
    assert (function.handler, function.timeout, function.code) == ("src/create.handler", 3, ORDERS)
    assert function.region == "eu-west-1"


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("src/app.py", "src/app.handler"),
        ("app.py", "app.handler"),
        ("pkg/sub/app.py", "pkg.sub.app.handler"),
        ("index.mjs", "index.api.v1.handler"),
        ("a.b.py", "a.b.handler"),
    ],
)
def test_a_target_is_a_handler(tmp_path: Path, file: str, target: str) -> None:
    write(tmp_path / file)
    function = find_target(tmp_path, target)
    assert (function.handler, function.code, function.project) == (target, tmp_path, tmp_path)
    assert function.source is not None
    assert function.source.file == tmp_path / file


def test_a_target_may_begin_with_a_dot_and_a_slash(tmp_path: Path) -> None:
    write(tmp_path / "src/app.py")
    assert find_target(tmp_path, "./src/app.handler").handler == "src/app.handler"


def test_an_absolute_handler_inside_the_folder_is_a_relative_one(tmp_path: Path) -> None:
    write(tmp_path / "src/app.py")
    assert find_target(tmp_path, f"{tmp_path}/src/app.handler").handler == "src/app.handler"


def test_a_handler_without_its_file_lists_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file for handler 'src/app\.handler'.*src/app\.py, src/app\.js"):
        find_target(tmp_path, "src/app.handler")


def test_with_a_runtime_a_handler_needs_no_file(tmp_path: Path) -> None:
    function = find_target(tmp_path, "src/missing.handler", runtime="python3.12")
    assert (function.handler, function.runtime) == ("src/missing.handler", "python3.12")


@pytest.mark.parametrize("target", ["../app.handler", "/elsewhere/app.handler", "a/../../app.handler"])
def test_a_handler_that_leaves_the_project_is_refused(tmp_path: Path, target: str) -> None:
    write(tmp_path / "app.py")
    (tmp_path / "project").mkdir()
    with pytest.raises(ConfigError, match="leaves the project folder"):
        find_target(tmp_path / "project", target)


def test_a_folder_with_bootstrap_is_a_target(tmp_path: Path) -> None:
    write(tmp_path / "build/bootstrap", mode=0o755)
    function = find_target(tmp_path, "build")
    assert (function.handler, function.runtime, function.code, function.name) == (
        "bootstrap",
        "provided.al2023",
        tmp_path / "build",
        "build",
    )


def test_a_folder_with_a_candidate_is_a_target(tmp_path: Path) -> None:
    write(tmp_path / "fn/app.py", PYTHON.format(name="handler"))
    assert find_target(tmp_path, "fn").code == tmp_path / "fn"


def test_a_bootstrap_that_is_not_executable_says_so(tmp_path: Path) -> None:
    write(tmp_path / "build/bootstrap")
    with pytest.raises(UsageError, match="is not executable"):
        find_target(tmp_path, "build")


def test_a_folder_without_anything_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="the folder empty has no `bootstrap`"):
        find_target(tmp_path, "empty")


def test_an_executable_is_a_target(tmp_path: Path) -> None:
    program = write(tmp_path / "build/program", mode=0o755)
    function = find_target(tmp_path, "build/program")
    assert (function.handler, function.runtime, function.code) == (str(program), "provided.al2023", tmp_path / "build")


def test_a_source_file_is_not_a_handler(tmp_path: Path) -> None:
    write(tmp_path / "app.py", mode=0o755)
    with pytest.raises(UsageError, match=r"app\.py is a file, not a handler") as caught:
        find_target(tmp_path, "app.py")
    assert "app.handler" in (caught.value.hint or "")


def test_a_word_that_is_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a folder, an executable, nor a handler"):
        find_target(tmp_path, "hello")


def test_nothing_is_imported_before_it_is_needed() -> None:
    program = (
        "import sys; import lambdabox.config.project, lambdabox.config.zero, lambdabox.config.environment, lambdabox.runtimes.catalog,"
        " lambdabox.layers.merge; print(*({'yaml', 'json', 'zipfile', 'filelock', 'platformdirs', 'subprocess', 'tempfile',"
        " 'asyncio', 'hashlib', 'shutil'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
