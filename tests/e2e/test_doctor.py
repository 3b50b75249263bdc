"""`lambdabox doctor` and `lambdabox list`."""

from __future__ import annotations

import json
from pathlib import Path


def test_doctor_is_plain_on_a_pipe(run) -> None:
    done = run("doctor")
    assert done.returncode == 0
    assert b"\x1b[" not in done.stdout
    heads = [line.split()[0] for line in done.stdout.decode().splitlines() if line]
    assert {"RUNTIME", "python3.13", "nodejs22.x", "TOOL", "docker"} <= set(heads)


def test_doctor_has_retired_identifiers_on_request(run) -> None:
    assert b"python2.7" not in run("doctor").stdout
    assert b"python2.7" in run("doctor", "--all").stdout


def test_doctor_as_json(run) -> None:
    document = json.loads(run("doctor", "--output", "json").stdout)
    assert set(document) == {"machine", "runtimes", "tools"}
    python = next(report for report in document["runtimes"] if report["runtime"] == "python3.13")
    assert python["available"] is True
    assert python["path"]
    assert python["detail"]


def test_doctor_says_how_to_get_what_is_missing(run, tmp_path: Path) -> None:
    document = json.loads(run("doctor", "--output", "json", env={"PATH": str(tmp_path), "HOME": str(tmp_path)}).stdout)
    node = next(report for report in document["runtimes"] if report["runtime"] == "nodejs22.x")
    assert node["available"] is False
    assert "nvm install 22" in node["get"]


def test_list_names_the_functions(run, serverless: Path) -> None:
    lines = run("list").stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["hello", "shop-dev-hello"], ["echo", "shop-dev-echo"]]


def test_list_as_json(run, serverless: Path) -> None:
    facts = json.loads(run("list", "--output", "json", "-s", "prod").stdout)
    assert facts[1]["FunctionName"] == "shop-prod-echo"
    assert facts[1]["MemorySize"] == 256
