"""Get the peers that `make bench` measures beside us, from the package registries, into bench/.peers.

Each step stands alone: a peer that cannot be had is written down with its reason and named in the table, and the rest goes
on. A second run only does what is missing.

    .venv/bin/python bench/setup.py [--again] [--py-spy]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

BENCH = Path(__file__).resolve().parent
PEERS = BENCH / ".peers"
RIE = PEERS / "aws-lambda-rie"
RIC = PEERS / "ric"
NODE = PEERS / "node"
TOOLS = PEERS / "tools"
SIMULATOR = PEERS / "simulator" / "release" / "simulator_peer"
STATE = PEERS / "peers.json"


class CannotBeHad(Exception):
    """A peer is not available on this machine, and why."""


def run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command to its end; its last line is the reason if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise CannotBeHad(f"{Path(command[0]).name} failed: {reason[:200]}")
    return done.stdout


def venv(folder: Path, *packages: str) -> Path:
    """A virtual environment of its own with these packages; gives its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        run(sys.executable, "-m", "venv", str(folder))
    run(str(python), "-m", "pip", "install", "--quiet", "--prefer-binary", *packages)
    return python


def version_in(python: Path, package: str) -> str:
    return run(str(python), "-c", f"import importlib.metadata as m; print(m.version({package!r}))").strip()


def get_rie() -> dict[str, str]:
    """The Runtime Interface Emulator, taken out of the SAM CLI's wheel (nothing else of the wheel is installed)."""
    if platform.system() != "Linux":
        raise CannotBeHad("the Runtime Interface Emulator runs on Linux only")
    machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    if machine is None:
        raise CannotBeHad(f"no Runtime Interface Emulator for {platform.machine()}")
    with tempfile.TemporaryDirectory(dir=PEERS) as folder:
        run(
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
            folder,
            "aws-sam-cli",
        )
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            partial = RIE.with_suffix(".partial")
            partial.write_bytes(archive.read(f"samcli/local/rapid/aws-lambda-rie-{machine}"))
        partial.chmod(0o755)
        partial.rename(RIE)
        return {"version": f"from aws-sam-cli {wheel.name.split('-')[1]}"}


def get_ric() -> dict[str, str]:
    """AWS's own Python runtime interface client."""
    return {"version": version_in(venv(RIC, "awslambdaric"), "awslambdaric")}


def get_node() -> dict[str, str]:
    """Serverless Framework 3 and serverless-offline 13."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise CannotBeHad("node and npm are not on PATH")
    NODE.mkdir(parents=True, exist_ok=True)
    (NODE / "package.json").write_text(json.dumps({"name": "bench-peers", "private": True}) + "\n")
    run(
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--no-package-lock",
        "--loglevel",
        "error",
        "--maxsockets",
        "4",
        "serverless@3",
        "serverless-offline@13",
        cwd=NODE,
    )
    versions = {}
    for package in ("serverless", "serverless-offline"):
        versions[package] = json.loads((NODE / "node_modules" / package / "package.json").read_text())["version"]
    return {"version": ", ".join(f"{name} {version}" for name, version in versions.items()), **versions}


def get_simulator() -> dict[str, str]:
    """The Rust crate lambda-simulator in a program of ours (bench/simulator_peer), built without a lock file."""
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo" / "bin"))
    if cargo is None:
        raise CannotBeHad("cargo is not on PATH")
    copy = PEERS / "simulator_peer"
    shutil.copytree(BENCH / "simulator_peer", copy, dirs_exist_ok=True)
    run(cargo, "build", "--quiet", "--release", cwd=copy, env={**os.environ, "CARGO_TARGET_DIR": str(SIMULATOR.parent.parent)})
    for package in tomllib.loads((copy / "Cargo.lock").read_text())["package"]:
        if package["name"] == "lambda-simulator":
            return {"version": package["version"]}
    raise CannotBeHad("lambda-simulator is not among the crates that were built")


def get_py_spy() -> dict[str, str]:
    """A sampling profiler for bench/profile.py; not a peer."""
    return {"version": version_in(venv(TOOLS, "py-spy"), "py-spy")}


STEPS = {
    "rie": (get_rie, RIE),
    "awslambdaric": (get_ric, RIC / "bin" / "python"),
    "serverless": (get_node, NODE / "node_modules" / "serverless-offline" / "package.json"),
    "lambda-simulator": (get_simulator, SIMULATOR),
    "py-spy": (get_py_spy, TOOLS / "bin" / "py-spy"),
}


def state() -> dict[str, dict[str, str]]:
    """What is installed, or why not: name -> {"version"} or {"missing"}."""
    try:
        return json.loads(STATE.read_text())
    except (OSError, ValueError):
        return {}


PEER_NAMES = ("rie", "awslambdaric", "serverless", "lambda-simulator")


def ensure(names: tuple[str, ...] = PEER_NAMES, *, again: bool = False) -> dict[str, dict[str, str]]:
    """Install what is missing among `names` and give the state of all."""
    PEERS.mkdir(parents=True, exist_ok=True)
    known = state()
    for name in names:
        step, proof = STEPS[name]
        if not again and proof.exists() and "version" in known.get(name, {}):
            continue
        print(f"bench: getting {name} ...", file=sys.stderr, flush=True)
        try:
            known[name] = step()
        except (CannotBeHad, OSError, StopIteration, KeyError, ValueError, zipfile.BadZipFile) as error:
            known[name] = {"missing": str(error) or type(error).__name__}
            print(f"bench: {name} cannot be had: {known[name]['missing']}", file=sys.stderr)
        partial = STATE.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(known, indent=2) + "\n")
        partial.rename(STATE)
    return known


def main() -> int:
    parser = argparse.ArgumentParser(description="Install the peers of the benchmark into bench/.peers.")
    parser.add_argument("--again", action="store_true", help="install anew even what is there")
    parser.add_argument("--py-spy", action="store_true", help="also the profiler for bench/profile.py")
    options = parser.parse_args()
    names = (*PEER_NAMES, *(("py-spy",) if options.py_spy else ()))
    known = ensure(names, again=options.again)
    for name in names:
        print(f"{name}: {known[name].get('version') or 'cannot be had: ' + known[name]['missing']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
