"""What the doctor finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lambdabox.model.runtimes import RUNTIMES
from lambdabox.runtimes.doctor import survey, survey_tools


def executable(path: Any, says: str) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)


def test_every_identifier_has_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    executable(tmp_path / "bin/python3.12", "3.12.1")
    executable(tmp_path / "bin/node", "v22.1.0")
    environ = {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    reports = {report.identifier.name: report for report in survey(environ, tmp_path)}
    assert set(reports) == set(RUNTIMES)
    assert (reports["python3.12"].is_available, reports["python3.12"].is_exact) == (True, True)
    assert (reports["nodejs24.x"].is_available, reports["nodejs24.x"].is_exact) == (True, False)
    assert "nvm install 24" in reports["nodejs24.x"].get
    assert (reports["ruby3.4"].is_available, reports["ruby3.4"].path) == (False, None)
    assert reports["provided.al2023"].is_available
    assert not reports["dotnet8"].is_available


def test_tools_are_there_or_say_how_to_get_them(tmp_path: Path) -> None:
    executable(tmp_path / "bin/ruby", "ruby 3.1.2p20")
    executable(tmp_path / "bin/docker", "Docker version 24.0.7, build")
    reports = {report.name: report for report in survey_tools({"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path)})}
    assert (reports["ruby"].is_available, reports["ruby"].version) == (True, "3.1.2")
    assert reports["docker"].version == "24.0.7"
    assert not reports["mvn"].is_available
    assert reports["mvn"].get
    assert {"user namespaces", "cgroup v2"} <= set(reports)
