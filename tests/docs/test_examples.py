"""The example project works as its files say, and so does what `make demo` runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lambdabox import LambdaService

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDERS = {"basket": "http-api", "thumbnails": "thumbnails", "greeter": "greeter"}


def _require_node(function: str) -> None:
    if function != "basket" and shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Node.js is missing")
        pytest.skip("needs node")


def test_every_function_has_its_folder_and_every_folder_its_function() -> None:
    functions = LambdaService.from_project(EXAMPLES).functions
    assert set(FOLDERS) == {function.key for function in functions}
    assert set(FOLDERS.values()) == {path.parent.name for path in EXAMPLES.glob("*/event.json")}


@pytest.mark.parametrize("key", FOLDERS)
def test_an_example_gives_what_its_file_expects(key: str) -> None:
    _require_node(key)
    folder = EXAMPLES / FOLDERS[key]
    with LambdaService.blocking(LambdaService.from_project(EXAMPLES).functions) as service:
        result = service.invoke(key, json.loads((folder / "event.json").read_text()))
    assert json.loads((folder / "expected.json").read_text()) == result.json(), result.logs


def test_the_demo_shows_event_result_and_report_of_every_function() -> None:
    _require_node("greeter")
    done = subprocess.run([sys.executable, EXAMPLES / "demo.py"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("  event  ", "  result ", "  REPORT RequestId:"):
        assert done.stdout.count(word) == len(FOLDERS)
