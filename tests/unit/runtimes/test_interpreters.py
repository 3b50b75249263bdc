"""Which interpreter serves an identifier."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lambdabox.errors import RuntimeNotFoundError, UsageError
from lambdabox.model.runtimes import RUNTIMES
from lambdabox.runtimes.interpreters import (
    Interpreter,
    InterpreterCache,
    cache_folder,
    default_interpreter,
    parse_version,
    resolve_interpreter,
)


def executable(path: Path, says: str = "", *, code: int = 0) -> Path:
    """A program that tells a version, and notes that it was asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho asked >> {path}.asked\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def venv(folder: Path, version: str) -> Path:
    python = executable(folder / "bin" / "python", version)
    (folder / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}\n")
    return python


@pytest.fixture
def environ(tmp_path: Path) -> Any:
    (tmp_path / "bin").mkdir()
    return {
        "PATH": str(tmp_path / "bin"),
        "PYENV_ROOT": str(tmp_path / "pyenv"),
        "HOME": str(tmp_path),
        "NVM_DIR": str(tmp_path / "nvm"),
    }


@pytest.fixture(autouse=True)
def lonely(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No interpreter of the machine that runs the tests is seen."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys._base_executable", str(tmp_path / "none"), raising=False)


def resolve(
    name: Any, environ: dict[str, str], *, project: Any = None, override: str | None = None, cache: Any = None
) -> Interpreter:
    return resolve_interpreter(RUNTIMES[name], project=project, override=override, environ=environ, cache=cache)


def test_the_one_the_identifier_names_on_path(environ: dict[str, str], tmp_path: Path) -> None:
    python = executable(tmp_path / "bin/python3.12")
    found = resolve("python3.12", environ)
    assert (found.path, found.version, found.warning) == (python, (3, 12), None)
    assert not Path(f"{python}.asked").exists(), "the name tells the version"


def test_a_shim_is_skipped_and_its_version_folder_used(environ: dict[str, str], tmp_path: Path) -> None:
    shim = executable(tmp_path / "pyenv/shims/python3.12", code=127)
    executable(tmp_path / "pyenv/versions/3.12.1/bin/python3.12")
    newer = executable(tmp_path / "pyenv/versions/3.12.10/bin/python3.12")
    environ["PATH"] = f"{shim.parent}:{environ['PATH']}"
    assert resolve("python3.12", environ).path == newer


def test_a_shim_of_a_version_that_is_not_installed_is_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    shim = executable(tmp_path / "pyenv/shims/python3.12", code=127)
    real = executable(tmp_path / "bin/python3.12")
    environ["PATH"] = f"{shim.parent}:{environ['PATH']}"
    assert resolve("python3.12", environ).path == real


def test_virtual_env_comes_before_the_project_and_path(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/python3.12")
    venv(tmp_path / "project/.venv", "3.12.3")
    active = venv(tmp_path / "active", "3.12.4")
    environ["VIRTUAL_ENV"] = str(tmp_path / "active")
    found = resolve("python3.12", environ, project=tmp_path / "project")
    assert (found.path, found.version, found.why) == (active, (3, 12, 4), "VIRTUAL_ENV names it")


@pytest.mark.parametrize("name", [".venv", "venv"])
def test_the_projects_environment_comes_before_path(environ: dict[str, str], tmp_path: Path, name: str) -> None:
    executable(tmp_path / "bin/python3.12")
    python = venv(tmp_path / name, "3.12.3")
    assert resolve("python3.12", environ, project=tmp_path).path == python
    assert not Path(f"{python}.asked").exists(), "pyvenv.cfg tells the version"


def test_an_environment_of_another_version_is_used_with_one_warning(environ: dict[str, str], tmp_path: Path) -> None:
    python = venv(tmp_path / ".venv", "3.11.7")
    warning = resolve("python3.12", environ, project=tmp_path).warning
    assert warning is not None
    assert "python3.12" in warning
    assert "3.11.7" in warning
    assert str(python) in warning


def test_an_environment_whose_base_is_gone_is_skipped(environ: dict[str, str], tmp_path: Path) -> None:
    python = executable(tmp_path / "bin/python3.12")
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(tmp_path / "gone")
    assert resolve("python3.12", environ, project=tmp_path).path == python


def test_an_override_wins_over_everything(environ: dict[str, str], tmp_path: Path) -> None:
    venv(tmp_path / ".venv", "3.12.3")
    asked = executable(tmp_path / "else/mypython", "3.12.9")
    found = resolve("python3.12", environ, project=tmp_path, override=str(asked))
    assert (found.path, found.version, found.warning) == (asked, (3, 12, 9), None)


@pytest.mark.parametrize("override", ["python3.10", "3.10"])
def test_an_override_may_be_a_name_or_a_version(environ: dict[str, str], tmp_path: Path, override: str) -> None:
    asked = executable(tmp_path / "bin/python3.10", "3.10.2")
    found = resolve("python3.12", environ, override=override)
    assert found.path == asked
    assert "3.10" in (found.warning or "")


def test_an_override_may_name_what_only_a_version_manager_has(environ: dict[str, str], tmp_path: Path) -> None:
    asked = executable(tmp_path / "pyenv/versions/3.9.18/bin/python3.9")
    assert resolve("python3.12", environ, override="python3.9").path == asked


@pytest.mark.parametrize("override", ["/nowhere/python", "nopython"])
def test_an_override_that_is_not_there_is_a_usage_error(environ: dict[str, str], override: str) -> None:
    with pytest.raises(UsageError, match="no interpreter"):
        resolve("python3.12", environ, override=override)


def test_an_override_that_does_not_start_is_a_usage_error(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not tell"):
        resolve("python3.12", environ, override=str(executable(tmp_path / "broken", code=1)))


def test_the_nearest_is_used_with_a_warning(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/python3.9")
    near = executable(tmp_path / "bin/python3.13")
    found = resolve("python3.14", environ)
    assert found.path == near
    assert "python3.14" in (found.warning or "")
    assert "3.13" in (found.warning or "")


def test_of_two_as_near_the_newer_serves(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/python3.11")
    newer = executable(tmp_path / "bin/python3.13")
    assert resolve("python3.12", environ).path == newer


def test_a_version_older_than_our_bootstrap_is_never_chosen(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/python3.7")
    near = executable(tmp_path / "bin/python3.11")
    found = resolve("python3.7", environ)
    assert found.path == near
    assert found.warning is not None


def test_an_override_older_than_our_bootstrap_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    asked = executable(tmp_path / "bin/python2.7", "2.7.18")
    with pytest.raises(UsageError, match=r"is Python 2\.7, too old") as caught:
        resolve("python3.12", environ, override=str(asked))
    assert "3.8 and newer" in (caught.value.hint or "")


def test_plain_python3_of_the_version_serves_without_a_warning(environ: dict[str, str], tmp_path: Path) -> None:
    plain = executable(tmp_path / "bin/python3", "3.12.4")
    found = resolve("python3.12", environ)
    assert (found.path, found.warning) == (plain, None)


def test_nothing_found_lists_what_was_looked_for_and_how_to_get_it(environ: dict[str, str]) -> None:
    with pytest.raises(RuntimeNotFoundError) as caught:
        resolve("ruby3.4", environ)
    assert "ruby3.4 on PATH" in caught.value.looked_for
    assert "rbenv install 3.4" in (caught.value.hint or "")
    assert caught.value.exit_code == 3


def test_node_of_the_major_on_path(environ: dict[str, str], tmp_path: Path) -> None:
    node = executable(tmp_path / "bin/node", "v22.12.0")
    found = resolve("nodejs22.x", environ)
    assert (found.path, found.version, found.warning) == (node, (22, 12, 0), None)


def test_node_of_another_major_gives_way_to_the_version_managers(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/node", "v20.1.0")
    managed = executable(tmp_path / "nvm/versions/node/v22.3.0/bin/node", "v22.3.0")
    assert resolve("nodejs22.x", environ).path == managed


def test_a_second_node_on_path_is_seen(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/node", "v20.1.0")
    second = executable(tmp_path / "more/node", "v22.0.0")
    environ["PATH"] += f":{second.parent}"
    assert resolve("nodejs22.x", environ).path == second


def test_node_that_does_not_start_is_not_there(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/node", code=1)
    with pytest.raises(RuntimeNotFoundError):
        resolve("nodejs22.x", environ)


def test_the_nearest_node_is_used_with_a_warning(environ: dict[str, str], tmp_path: Path) -> None:
    executable(tmp_path / "bin/node", "v20.1.0")
    assert "Node.js 20.1.0" in (resolve("nodejs22.x", environ).warning or "")


def test_an_executable_is_asked_once_for_all_processes(environ: dict[str, str], tmp_path: Path) -> None:
    node = executable(tmp_path / "bin/node", "v22.12.0")
    for _ in range(3):
        resolve("nodejs22.x", environ, cache=InterpreterCache(tmp_path / "cache/interpreters.json"))
    assert Path(f"{node}.asked").read_text() == "asked\n"


def test_a_changed_executable_is_asked_again(environ: dict[str, str], tmp_path: Path) -> None:
    cache = InterpreterCache(tmp_path / "interpreters.json")
    node = executable(tmp_path / "bin/node", "v22.12.0")
    resolve("nodejs22.x", environ, cache=cache)
    executable(node, "v22.13.1 ")
    assert resolve("nodejs22.x", environ, cache=cache).version == (22, 13, 1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": "b"}', b'{"a": [1, null]}', b"\xff"])
def test_a_damaged_cache_is_an_empty_one(environ: dict[str, str], tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "interpreters.json"
    file.write_bytes(content)
    executable(tmp_path / "bin/node", "v22.12.0")
    assert resolve("nodejs22.x", environ, cache=InterpreterCache(file)).version == (22, 12, 0)
    assert [22, 12, 0] in json.loads(file.read_bytes()).values()


def test_a_cache_that_cannot_be_written_does_not_matter(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    executable(tmp_path / "bin/node", "v22.12.0")
    assert resolve("nodejs22.x", environ, cache=InterpreterCache(tmp_path / "file/interpreters.json")).version == (22, 12, 0)


def test_java_tells_its_version_by_its_release_file(environ: dict[str, str], tmp_path: Path) -> None:
    java = executable(tmp_path / "jdk/bin/java")
    (tmp_path / "jdk/release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="17.0.9"\n')
    environ["JAVA_HOME"] = str(tmp_path / "jdk")
    found = resolve("java17", environ)
    assert (found.path, found.version) == (java, (17, 0, 9))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v22.1.0\n", (22, 1, 0)),
        ("ruby 3.1.2p20 (2022-04-12)", (3, 1, 2)),
        ('openjdk version "17.0.9" 2023-10-17', (17, 0, 9)),
        ('java version "1.8.0_392"', (8, 0)),
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("nothing", None),
    ],
)
def test_versions_are_read_from_what_programs_say(text: str, version: Any) -> None:
    assert parse_version(text) == version


def test_the_default_interpreter_is_the_projects_environment(environ: dict[str, str], tmp_path: Path) -> None:
    python = venv(tmp_path / ".venv", "3.11.7")
    assert default_interpreter("python", project=tmp_path, environ=environ, cache=None) == (python, (3, 11, 7))


def test_the_cache_folder_is_the_one_of_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    platformdirs = pytest.importorskip("platformdirs")
    for value in (None, "/somewhere/cache"):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if value:
            monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache_folder(os.environ) == platformdirs.user_cache_path("lambdabox", appauthor=False)
