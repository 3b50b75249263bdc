"""The reference is complete: what there is, is on its page."""

from __future__ import annotations

import inspect
import re
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import lambdabox
from lambdabox.cli.program import COMMANDS
from lambdabox.config import serverless
from lambdabox.config.project import LOADERS
from lambdabox.config.zero import CANDIDATES
from lambdabox.model.runtimes import RUNTIMES
from lambdabox.protocol.environment_variables import RESERVED
from lambdabox.protocol.invoke_api import Operation

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def code_words(text: str) -> set[str]:
    """What stands between single backticks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)))


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, f"no section {title!r}"
    return found[1]


# -- the command line -------------------------------------------------------------------------------------------------


def options_of(command: str) -> set[str]:
    parser = import_module(f"lambdabox.cli.{COMMANDS[command][0]}").parser()
    return {name for action in parser._actions for name in action.option_strings}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_on_the_page(command: str) -> None:
    documented = {
        word.split()[0] for word in code_words(section(page("cli.md"), f"`lambdabox {command}`")) if word.startswith("-")
    }
    assert set() == options_of(command) - documented


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_on_the_page_exists(command: str) -> None:
    rows = "\n".join(re.findall(r"^\| (`-.*?) \|", section(page("cli.md"), f"`lambdabox {command}`"), re.MULTILINE))
    assert set() == {word.split()[0] for word in code_words(rows)} - options_of(command)


# -- project files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["TOP_KEYS", "PROVIDER_KEYS", "FUNCTION_KEYS"])
def test_every_key_of_a_serverless_file_is_on_the_page(keys: str) -> None:
    words = code_words(page("projects.md"))
    assert set() == getattr(serverless, keys) - words


def test_every_project_file_and_every_usual_handler_is_on_the_page() -> None:
    words = code_words(page("projects.md"))
    assert set() == {name for names, _ in LOADERS for name in names} - words
    assert set() == set(CANDIDATES) - words


# -- facts ------------------------------------------------------------------------------------------------------------


def test_every_runtime_identifier_is_on_the_page() -> None:
    assert set() == RUNTIMES.keys() - code_words(page("runtimes.md"))


def test_every_reserved_variable_is_on_the_page() -> None:
    assert set() == RESERVED - code_words(page("environment.md"))


def test_every_operation_of_the_lambda_api_is_on_the_page() -> None:
    text = page("lambda-api.md")
    assert [operation.value for operation in Operation if f"| {operation.value}" not in text] == []


# -- the Python API ---------------------------------------------------------------------------------------------------


def test_every_public_name_is_on_the_page() -> None:
    text = page("python-api.md")
    assert [name for name in lambdabox.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_every_parameter_of_local_lambda_is_on_the_page() -> None:
    parameters = set(inspect.signature(lambdabox.LocalLambda).parameters)
    assert set() == parameters - code_words(section(page("python-api.md"), "LocalLambda"))


def test_every_member_of_a_result_is_on_the_page() -> None:
    members = {field.name for field in fields(lambdabox.InvocationResult)} | {"json()", "text", "is_error", "envelope()"}
    assert set() == members - code_words(section(page("python-api.md"), "InvocationResult"))


def test_every_service_option_is_on_the_page() -> None:
    from lambdabox.service import ServiceOptions

    assert set() == {field.name for field in fields(ServiceOptions)} - code_words(section(page("python-api.md"), "LambdaService"))


def test_every_method_of_the_service_is_on_the_page() -> None:
    text = section(page("python-api.md"), "LambdaService")
    methods = [name for name in vars(lambdabox.LambdaService) if not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"`(?:LambdaService\.)?{name}\b", text)] == []


# -- parity -----------------------------------------------------------------------------------------------------------


def parity_notes() -> list[tuple[str, str]]:
    """File and text of every paragraph that begins with `Parity:`."""
    notes = []
    sources = [path for folder in ("src", "runtime/src") for path in sorted((ROOT / folder).rglob("*"))]
    for path in sources:
        if path.suffix not in (".py", ".cjs", ".mjs", ".js"):
            continue
        for found in re.finditer(r"Parity:(.*?)(?:\n[ *]*\n|\"\"\"|\*/|\Z)", path.read_text(), re.DOTALL):
            text = flat(re.sub(r"\n\s*(?:\*|//|#) ?", "\n", found[1]))
            if not text.startswith("none"):
                notes.append((str(path.relative_to(ROOT)), text))
    return notes


def flat(text: str) -> str:
    return " ".join(text.split())


def test_there_are_parity_notes() -> None:
    assert parity_notes()


@pytest.mark.parametrize(("file", "note"), parity_notes(), ids=[file for file, _ in parity_notes()])
def test_every_parity_note_is_on_the_page(file: str, note: str) -> None:
    text = flat(page("parity.md"))
    assert f"`{file}`" in text
    # A bullet may begin the sentence in its own way: with a capital, or by naming the subject first.
    _, _, rest = note.partition(" ")
    assert rest in text, f"docs/parity.md should say: {note} (`{file}`)"


def test_every_file_that_the_parity_page_names_has_a_note() -> None:
    named = {word for word in code_words(page("parity.md")) if word.startswith(("src/", "runtime/"))}
    assert named == {file for file, _ in parity_notes()}


# -- dependencies, folders --------------------------------------------------------------------------------------------


def required() -> tuple[set[str], set[str]]:
    """Names of the run-time dependencies, and of those of the groups."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def names(requirements: list[object]) -> set[str]:
        return {re.split(r"[<>=!~;\[ ]", entry)[0] for entry in requirements if isinstance(entry, str)}

    groups = project.get("dependency-groups", {})
    return names(project["project"]["dependencies"]), {name for group in groups.values() for name in names(group)}


def test_every_runtime_dependency_is_argued_and_nothing_else() -> None:
    rows = re.findall(r"^\| ([\w.-]+) \|", section(page("dependencies.md"), "At run time"), re.MULTILINE)
    assert required()[0] == set(rows) - {"package"}


def test_every_dependency_of_tests_and_checks_is_named() -> None:
    text = page("dependencies.md")
    assert sorted(name for name in required()[1] if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)) == []


def test_the_tour_names_every_folder() -> None:
    text = page("design.md")
    folders = [path.name for path in (ROOT / "src/lambdabox").iterdir() if path.is_dir() and any(path.glob("*.py"))]
    assert [name for name in folders if f"`src/lambdabox/{name}/`" not in text] == []
