"""Get the toolchains that the tests need: `python tests/toolchains.py FOLDER`.

Required are the languages that lambdabox runs functions of: what is missing is installed with apt-get where this is root on
Debian or Ubuntu; elsewhere the tests that need it are skipped, and say so by name. With CI=true a required toolchain that is
still missing is a failure. Other versions of Node.js are optional: they come as packages into FOLDER.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

REQUIRED = {"python3": ("Python", "python3"), "node": ("Node.js", "nodejs npm")}
NODE_MAJORS = (14, 16, 18, 22, 24)


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
