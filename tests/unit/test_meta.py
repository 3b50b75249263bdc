"""What the source tree promises about itself."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lambdabox
from lambdabox.model import limits

SOURCE = Path(lambdabox.__file__).parent
PURE = sorted((SOURCE / "protocol").glob("*.py")) + sorted((SOURCE / "model").glob("*.py")) + [SOURCE / "errors.py"]
OUTSIDE = {"asyncio", "socket", "subprocess", "os", "time", "random", "threading"}
MODULES = [
    name for room in ("protocol", "model") for _, name, _ in pkgutil.iter_modules([str(SOURCE / room)], f"lambdabox.{room}.")
]


def test_every_public_name_exists() -> None:
    for name in lambdabox.__all__:
        assert getattr(lambdabox, name) is not None
    assert set(lambdabox.__all__) <= set(dir(lambdabox)) | set(lambdabox.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        lambdabox.Nothing  # noqa: B018  # the access is the test


@pytest.mark.parametrize("name", MODULES)
def test_dunder_all_names_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public)


@pytest.mark.parametrize("path", PURE, ids=lambda path: path.name)
def test_the_pure_rooms_import_nothing_that_acts(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert not imported & OUTSIDE


def test_every_limit_cites_its_source() -> None:
    lines = Path(limits.__file__).read_text().splitlines()
    constants = [line for line in lines if re.match(r"[A-Z_]+ = ", line)]
    assert len(constants) > 20
    for line in constants:
        assert re.search(r"  # \S", line), f"no source: {line}"


def test_limits_are_what_the_contract_says() -> None:
    assert (limits.REQUEST_MAX_BYTES, limits.RESPONSE_MAX_BYTES, limits.ASYNC_REQUEST_MAX_BYTES) == (
        6_291_456,
        6_291_556,
        1_048_576,
    )
    assert (limits.SHUTDOWN_INTERNAL_SECONDS, limits.SHUTDOWN_EXTERNAL_SECONDS, limits.INIT_SECONDS) == (0.5, 2.0, 10.0)
    assert (limits.EXTENSIONS_MAX, limits.LAYERS_MAX, limits.LOG_TAIL_BYTES) == (10, 5, 4096)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_module_is_longer_than_six_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600


def test_importing_lambdabox_imports_nothing_heavy() -> None:
    code = "import sys, lambdabox; print([m for m in ('asyncio', 'msgspec', 'httptools', 'yaml', 'click', 'rich') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
