"""What this machine can run, as facts; how they are shown is the command line's business."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lambdabox.errors import RuntimeNotFoundError
from lambdabox.model.runtimes import RUNTIMES, RuntimeIdentifier
from lambdabox.runtimes.catalog import SUPPORTED_LANGUAGES
from lambdabox.runtimes.interpreters import LANGUAGES, InterpreterCache, resolve_interpreter, version_by_asking


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeReport:
    """What would serve one runtime identifier.

    `is_available`: a function of this runtime starts here. `is_exact`: on the very version it names. `detail` says why this
    executable, or what is missing; `get` how to get what is missing.
    """

    identifier: RuntimeIdentifier
    is_available: bool
    is_exact: bool = False
    path: Path | None = None
    version: str = ""
    detail: str = ""
    get: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolReport:
    """A program or a feature of the system that something in lambdabox uses."""

    name: str
    is_available: bool
    used_for: str
    path: Path | None = None
    version: str = ""
    detail: str = ""
    get: str = ""


def survey(environ: Mapping[str, str], project: Path | None) -> list[RuntimeReport]:
    """One report for every identifier AWS lists, current ones first."""
    cache = InterpreterCache.of_user(environ)
    ordered = sorted(RUNTIMES.values(), key=lambda facts: facts.retired is not None)
    return [_report(identifier, environ, project, cache) for identifier in ordered]


def _report(
    identifier: RuntimeIdentifier, environ: Mapping[str, str], project: Path | None, cache: InterpreterCache
) -> RuntimeReport:
    if identifier.is_os_only:
        return RuntimeReport(
            identifier=identifier, is_available=True, is_exact=True, detail="the function brings its own bootstrap"
        )
    later = f"this version of lambdabox runs {', '.join(SUPPORTED_LANGUAGES)}"
    if identifier.language not in ("python", "nodejs"):
        return RuntimeReport(identifier=identifier, is_available=False, detail=later)
    try:
        found = resolve_interpreter(identifier, project=project, override=None, environ=environ, cache=cache)
    except RuntimeNotFoundError as error:
        return RuntimeReport(identifier=identifier, is_available=False, detail=error.message, get=error.hint or "")
    return RuntimeReport(
        identifier=identifier,
        is_available=True,
        is_exact=found.warning is None,
        path=found.path,
        version=found.version_text,
        detail=found.why,
        get="" if found.warning is None else LANGUAGES[identifier.language].get.format(v=identifier.version),
    )


# name: (what uses it, the question for its version, how to get it)
_TOOLS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "node": ("Node.js functions, event files in JavaScript", ("--version",), "nodejs.org, nvm or volta"),
    "java": ("Java functions", ("-version",), "your system's package openjdk-21-jdk"),
    "mvn": ("building the Java bridge", ("--version",), "your system's package maven"),
    "ruby": ("Ruby functions", ("--version",), "your system's package ruby"),
    "go": ("building Go functions", ("version",), "go.dev"),
    "cargo": ("building Rust functions", ("--version",), "rustup.rs"),
    "docker": ("the Docker sandbox", ("--version",), "docs.docker.com/engine/install"),
}


def survey_tools(environ: Mapping[str, str]) -> list[ToolReport]:
    """Programs and features of the system beside the interpreters."""
    cache = InterpreterCache.of_user(environ)
    reports: list[ToolReport] = []
    for name, (used_for, question, get) in _TOOLS.items():
        found = shutil.which(name, path=environ.get("PATH", ""))
        version = version_by_asking(Path(found), question, environ, cache) if found else None
        if found is None or version is None:
            detail = f"not on PATH as {name}" if found is None else f"{found} does not start"
            reports.append(ToolReport(name=name, is_available=False, used_for=used_for, detail=detail, get=get))
        else:
            text = ".".join(map(str, version))
            reports.append(ToolReport(name=name, is_available=True, used_for=used_for, path=Path(found), version=text))
    return [*reports, _user_namespaces(environ), _cgroup_v2()]


def _user_namespaces(environ: Mapping[str, str]) -> ToolReport:
    used_for = "sandboxes with /var/task and /opt at their real names"
    unshare = shutil.which("unshare", path=environ.get("PATH", ""))
    if sys.platform != "linux" or unshare is None:
        detail = "only Linux has them" if sys.platform != "linux" else "no unshare on PATH to try with"
        return ToolReport(name="user namespaces", is_available=False, used_for=used_for, detail=detail)
    tried = subprocess.run([unshare, "-Ur", "true"], capture_output=True, timeout=10, check=False)
    return ToolReport(
        name="user namespaces",
        is_available=tried.returncode == 0,
        used_for=used_for,
        detail=tried.stderr.decode("utf-8", "replace").strip(),
        get="" if tried.returncode == 0 else "the administrator sets kernel.unprivileged_userns_clone=1",
    )


def _cgroup_v2() -> ToolReport:
    root = Path("/sys/fs/cgroup")
    used_for = "exact memory limits with --enforce-memory"
    if not (root / "cgroup.controllers").exists():
        return ToolReport(name="cgroup v2", is_available=False, used_for=used_for, detail="not mounted at /sys/fs/cgroup")
    own = root
    try:
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            if line.startswith("0::"):
                own = root / line[3:].lstrip("/")
    except OSError:
        pass
    writable = os.access(own, os.W_OK)
    detail = f"{own} is {'' if writable else 'not '}writable"
    return ToolReport(name="cgroup v2", is_available=writable, used_for=used_for, path=own, detail=detail)
