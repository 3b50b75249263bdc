"""Get the toolchains that the tests need: `python tests/toolchains.py FOLDER`.

Required are the languages that lambdabox runs functions of: what is missing is installed with apt-get where this is root on
Debian or Ubuntu; elsewhere the tests that need it are skipped, and say so by name. With CI=true a required toolchain that is
still missing is a failure. Other versions of Node.js are optional: they come as packages into FOLDER. So are the clients in Rust
and Go, built into FOLDER/clients once for each state of their sources.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REQUIRED = {
    "python3": ("Python", "python3"),
    "node": ("Node.js", "nodejs npm"),
    "go": ("Go", "golang-go"),
    "cargo": ("Rust", "cargo"),
}
NODE_MAJORS = (14, 16, 18, 22, 24)
CLIENTS = Path(__file__).parent / "conformance" / "clients"
_BUILD_SECONDS = 600


def main(folder: Path) -> int:
    missing = [tool for tool in REQUIRED if shutil.which(tool) is None]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        packages = " ".join(REQUIRED[tool][1] for tool in missing).split()
        print(f"installing {', '.join(packages)} with apt-get")
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", *packages], check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        )
        missing = [tool for tool in REQUIRED if shutil.which(tool) is None]
    for tool in missing:
        print(f"missing: {REQUIRED[tool][0]} ({tool}); its tests are skipped")
    if missing and os.environ.get("CI") == "true":
        print("a required toolchain is missing, and this is CI", file=sys.stderr)
        return 1
    optional_rust(folder / "clients" / "rust")
    optional_go(folder / "clients" / "go")
    if shutil.which("npm") is None:
        print("optional: npm is missing, so Node.js is tested in the version on PATH alone")
        return 0
    optional_nodes(folder / "node")
    optional_sdk(folder / "sdk")
    optional_client(folder / "ric")
    return 0


def optional_nodes(folder: Path) -> None:
    """Node.js binaries from their npm packages; one that cannot be had is named."""
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system())
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    if system is None or machine is None:
        print(f"optional: no Node.js packages are known for {platform.system()} on {platform.machine()}")
        return
    package = f"node-{system}-{machine}"
    for major in NODE_MAJORS:
        target = folder / str(major)
        if (target / "node_modules" / package / "bin" / "node").exists():
            continue
        if not npm_install(target, f"{package}@{major}"):
            print(f"optional: Node.js {major} cannot be had ({package}@{major}); its tests are skipped")


def optional_sdk(folder: Path) -> None:
    """AWS's SDK for JavaScript, a judge of the Lambda API."""
    if not (folder / "node_modules" / "@aws-sdk" / "client-lambda").exists() and not npm_install(
        folder, "@aws-sdk/client-lambda@3"
    ):
        print("optional: @aws-sdk/client-lambda cannot be had; its tests are skipped")


def optional_client(folder: Path) -> None:
    """AWS's own Node.js client, built from source where the tools for it are, or can be installed."""
    if (folder / "node_modules" / "aws-lambda-ric" / "dist" / "rapid-client.node").exists():
        return
    tools = ("autoconf", "automake", "libtoolize", "cmake", "g++", "make")
    if any(shutil.which(tool) is None for tool in tools) and shutil.which("apt-get") and os.geteuid() == 0:
        packages = ("autoconf", "automake", "libtool", "cmake", "g++", "make")
        subprocess.run(["apt-get", "update", "-qq"], stdout=subprocess.DEVNULL, check=False)
        command = ["apt-get", "install", "-y", "-qq", *packages]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing or not npm_install(folder, "aws-lambda-ric@3.3.0", headers=True):
        why = f"{', '.join(missing)} missing" if missing else "it does not build here"
        print(f"optional: AWS's Node.js client cannot be had ({why}); its tests are skipped")


def optional_rust(folder: Path) -> None:
    """A function and extensions on AWS's crates `lambda_runtime` and `lambda-extension`."""
    programs = ("function", "extension")
    if shutil.which("cargo") is None or is_built(folder, CLIENTS / "rust", programs, ("cargo", "--version")):
        return
    # Built from a copy: Cargo writes its lock file, which names where packages came from, beside the sources.
    copy = fresh_copy(CLIENTS / "rust", folder / "source")
    why = build(("cargo", "build", "--quiet"), copy, {"CARGO_TARGET_DIR": str((folder / "target").resolve())})
    if why is not None:
        print(f"optional: the clients in Rust cannot be built ({why}); their tests are skipped")
        return
    for program in programs:
        shutil.copy2(folder / "target" / "debug" / program, folder / program)
    shutil.rmtree(folder / "target", ignore_errors=True)
    stamp(folder, CLIENTS / "rust", ("cargo", "--version"))


def optional_go(folder: Path) -> None:
    """A function on AWS's module `github.com/aws/aws-lambda-go`."""
    if shutil.which("go") is None or is_built(folder, CLIENTS / "go", ("function",), ("go", "version")):
        return
    copy = fresh_copy(CLIENTS / "go", folder / "source")
    command = ("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str((folder / "function").resolve()), ".")
    why = build(command, copy, {"CGO_ENABLED": "0"})
    if why is not None:
        print(f"optional: the clients in Go cannot be built ({why}); their tests are skipped")
        return
    stamp(folder, CLIENTS / "go", ("go", "version"))


def fresh_copy(sources: Path, copy: Path) -> Path:
    """The sources in a folder where a build may write."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sources, copy)
    return copy


def build(command: Sequence[str], folder: Path, more: Mapping[str, str]) -> str | None:
    """Run a build; why it failed, in a line, or None."""
    print(f"building the clients in {folder.parent.name} (once for each state of their sources)", flush=True)
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return type(error).__name__
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else f"exit code {done.returncode}")


def state_of(sources: Path, version: Sequence[str]) -> str:
    """What a build depends on, in a word: every source file and the compiler."""
    state = hashlib.sha256()
    for path in sorted(path for path in sources.rglob("*") if path.is_file() and path.name != "Cargo.lock"):
        state.update(f"{path.relative_to(sources)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    done = subprocess.run(version, cwd=sources, capture_output=True, check=False)
    return hashlib.sha256(state.digest() + done.stdout).hexdigest()


def is_built(folder: Path, sources: Path, programs: Sequence[str], version: Sequence[str]) -> bool:
    """Whether these programs are there, of these very sources; what is out of date is removed."""
    mark = folder / "stamp"
    found = all(path.exists() for path in (mark, *(folder / program for program in programs)))
    if found and mark.read_text() == state_of(sources, version):
        return True
    mark.unlink(missing_ok=True)
    for program in programs:
        (folder / program).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    return False


def stamp(folder: Path, sources: Path, version: Sequence[str]) -> None:
    """Note what was built."""
    (folder / "stamp").write_text(state_of(sources, version))


def npm_install(target: Path, package: str, *, headers: bool = False) -> bool:
    target.mkdir(parents=True, exist_ok=True)
    environ = dict(os.environ)
    if headers and Path("/usr/include/node/node.h").exists():
        environ["npm_config_nodedir"] = "/usr"  # else node-gyp would fetch them
    command = [
        "npm",
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel=error",
        "--prefix",
        str(target),
        package,
    ]
    try:
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300, env=environ, check=False
        )
        return done.returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
