"""Which interpreter on this machine serves a runtime identifier.

The order for Python is `--python`, `VIRTUAL_ENV`, `.venv` or `venv` in the project, the interpreter that the identifier
names on PATH, then the nearest one with a warning. Other languages have no virtual environments and start at PATH.

Two things make a plain `which` wrong. Version managers put *shims* on PATH, also for versions that are not installed, and
a working shim costs 41 ms a start: shims are skipped and the manager's own folders are looked through instead. And a name
like `node` says nothing of its version: such an executable is asked once, and the answer is kept on disk.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambdabox.errors import RuntimeNotFoundError, UsageError
from lambdabox.model.runtimes import RuntimeIdentifier

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """An executable that runs a language, its version as far as it is known, and why it was chosen."""

    path: Path
    version: Version
    why: str
    warning: str | None = None

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What finding an interpreter needs to know of a language.

    `digits` is how many parts of a version an identifier names. `oldest` is the oldest version our bootstrap parses.
    `named` are file names that carry a version (`python{v}`), `plain` those that do not. `installs` are the folders of
    version managers, as (variable of the root, root when it is unset, pattern of the version folders, executable in it).
    """

    name: str
    title: str
    digits: int
    oldest: Version
    named: tuple[str, ...]
    plain: tuple[str, ...]
    ask: tuple[str, ...]
    installs: tuple[tuple[str, str, str, str], ...]
    get: str
    virtual_environments: bool = False
    newer_runs_older: bool = False


LANGUAGES: dict[str, Language] = {
    "python": Language(
        name="python",
        title="Python",
        digits=2,
        oldest=(3, 8),
        named=("python{v}",),
        plain=("python3", "python"),
        ask=("-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"),
        installs=(
            ("PYENV_ROOT", "~/.pyenv", "versions/*", "bin/python{v}"),
            ("ASDF_DATA_DIR", "~/.asdf", "installs/python/*", "bin/python{v}"),
            ("MISE_DATA_DIR", "~/.local/share/mise", "installs/python/*", "bin/python{v}"),
            ("UV_PYTHON_INSTALL_DIR", "~/.local/share/uv/python", "cpython-*", "bin/python{v}"),
        ),
        get="`uv python install {v}` or `pyenv install {v}` installs it, or your system's package python{v}",
        virtual_environments=True,
    ),
    "nodejs": Language(
        name="nodejs",
        title="Node.js",
        digits=1,
        oldest=(14,),
        named=("node{v}", "node-{v}"),
        plain=("node", "nodejs"),
        ask=("--version",),
        installs=(
            ("NVM_DIR", "~/.nvm", "versions/node/*", "bin/node"),
            ("VOLTA_HOME", "~/.volta", "tools/image/node/*", "bin/node"),
            ("ASDF_DATA_DIR", "~/.asdf", "installs/nodejs/*", "bin/node"),
            ("MISE_DATA_DIR", "~/.local/share/mise", "installs/node/*", "bin/node"),
            ("NODENV_ROOT", "~/.nodenv", "versions/*", "bin/node"),
            ("FNM_DIR", "~/.local/share/fnm", "node-versions/*", "installation/bin/node"),
        ),
        get="`nvm install {v}` or `volta install node@{v}` installs it, or the archive from nodejs.org",
    ),
    "ruby": Language(
        name="ruby",
        title="Ruby",
        digits=2,
        oldest=(2, 7),
        named=("ruby{v}",),
        plain=("ruby",),
        ask=("--version",),
        installs=(
            ("RBENV_ROOT", "~/.rbenv", "versions/*", "bin/ruby"),
            ("ASDF_DATA_DIR", "~/.asdf", "installs/ruby/*", "bin/ruby"),
            ("MISE_DATA_DIR", "~/.local/share/mise", "installs/ruby/*", "bin/ruby"),
        ),
        get="`rbenv install {v}` installs it, or your system's package ruby",
    ),
    "java": Language(
        name="java",
        title="Java",
        digits=1,
        oldest=(8,),
        named=(),
        plain=("java",),
        ask=("-version",),
        installs=(
            ("JAVA_HOME", "", "", "bin/java"),
            ("", "/usr/lib/jvm", "*", "bin/java"),
            ("SDKMAN_DIR", "~/.sdkman", "candidates/java/*", "bin/java"),
        ),
        get="your system's package openjdk-{v}-jdk, or `sdk install java` from sdkman.io",
        newer_runs_older=True,
    ),
}

_VERSION = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")
_NEWEST_PYTHON = 20  # the last 3.x that is looked for as the nearest


def parse_version(text: str) -> Version | None:
    """The first version in a text: `v22.1.0`, `ruby 3.1.2p20`, `openjdk version "1.8.0_392"` (which is Java 8)."""
    found = _VERSION.search(text)
    if found is None:
        return None
    version = tuple(int(part) for part in found.groups() if part is not None)
    return version[1:] if version[:1] == (1,) and len(version) > 1 and 'version "1.' in text else version


def cache_folder(environ: Mapping[str, str]) -> Path:
    """The user's cache folder for lambdabox, as platformdirs has it."""
    if sys.platform == "linux":  # importing platformdirs takes 14 ms
        root = environ.get("XDG_CACHE_HOME", "").strip()
        return Path(root or os.path.expanduser("~/.cache")) / "lambdabox"
    from platformdirs import user_cache_path

    return user_cache_path("lambdabox", appauthor=False)


class InterpreterCache:
    """The versions that executables told, kept on disk by real path, time of change and size.

    A cache that cannot be read or written is an empty one: asking again is right, only slower.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: dict[str, list[int]] | None = None

    @classmethod
    def of_user(cls, environ: Mapping[str, str]) -> InterpreterCache:
        """The cache that all lambdabox processes of the user share."""
        return cls(cache_folder(environ) / "interpreters.json")

    def get(self, key: str) -> Version | None:
        if self._known is None:
            self._known = self._read()
        version = self._known.get(key)
        return tuple(version) if version else None

    def put(self, key: str, version: Version) -> None:
        import json
        import tempfile

        self._known = self._read() | {key: list(version)}  # read again: another process may have added to it
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.file.parent, prefix=self.file.name)
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as out:
                    json.dump(self._known, out)
                Path(name).replace(self.file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError:
            return

    def _read(self) -> dict[str, list[int]]:
        import json

        try:
            data = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {k: v for k, v in data.items() if isinstance(v, list) and v and all(type(part) is int for part in v)}


def resolve_interpreter(
    identifier: RuntimeIdentifier,
    *,
    project: Path | None,
    override: str | None,
    environ: Mapping[str, str],
    cache: InterpreterCache | None,
) -> Interpreter:
    """The interpreter that serves `identifier`. Raises RuntimeNotFoundError, and UsageError for a bad override."""
    language = LANGUAGES[identifier.language]
    return _Search(language, identifier, environ, cache).resolve(project, override)


def default_interpreter(
    language: str,
    *,
    project: Path | None,
    environ: Mapping[str, str],
    cache: InterpreterCache | None,
    override: str | None = None,
) -> tuple[Path, Version] | None:
    """What runs `language` here when no identifier says which version: `override`, the project's environment, then PATH."""
    search = _Search(LANGUAGES[language], None, environ, cache)
    if override is not None:
        return search.overridden(override)
    for path, version, _ in search.virtual_environments(project):
        return path, version
    return next(search.plain_on_path(), None)


class _Search:
    """One look through the machine; remembers what was looked for."""

    def __init__(
        self, language: Language, identifier: RuntimeIdentifier | None, environ: Mapping[str, str], cache: InterpreterCache | None
    ) -> None:
        self.language = language
        self.wanted = identifier.version_tuple[: language.digits] if identifier is not None else ()
        self.runtime = identifier.name if identifier is not None else language.name
        self.environ = environ
        self.cache = cache
        self.looked_for: list[str] = []
        self.path_folders = [Path(part) for part in environ.get("PATH", "").split(os.pathsep) if part]

    @property
    def wanted_text(self) -> str:
        return ".".join(map(str, self.wanted))

    def resolve(self, project: Path | None, override: str | None) -> Interpreter:
        if override:
            path, version = self.overridden(override)
            if version < self.language.oldest:
                oldest = ".".join(map(str, self.language.oldest))
                raise UsageError(
                    f"{path} is {self.language.title} {'.'.join(map(str, version))}, too old to run functions here",
                    hint=f"{self.language.title} {oldest} and newer do; without --python the nearest one is chosen",
                )
            return self._chosen(path, version, f"`{override}` was asked for")
        for path, version, why in self.virtual_environments(project):
            if version >= self.language.oldest:
                return self._chosen(path, version, why)
        exact = self._exact() if self.wanted >= self.language.oldest else None
        if exact is not None:
            return Interpreter(path=exact[0], version=exact[1], why=exact[2])
        candidates = {path: (version, why) for path, version, why in self._all() if version >= self.language.oldest}
        if not candidates:
            hint = self.language.get.format(v=self.wanted_text)
            raise RuntimeNotFoundError(
                self.runtime, list(dict.fromkeys(self.looked_for)), hint=f"{hint}; `lambdabox doctor` shows the rest"
            )
        path, (version, why) = min(candidates.items(), key=lambda item: self._distance(item[1][0]))
        if version[: self.language.digits] == self.wanted:
            return Interpreter(path=path, version=version, why=why)
        return self._chosen(path, version, f"the nearest here, {why}")

    # -- what is where ----------------------------------------------------------------------------------------------

    def overridden(self, override: str) -> tuple[Path, Version]:
        if os.sep in override or (os.altsep and os.altsep in override) or override.startswith("~"):
            found: Path | None = Path(override).expanduser().absolute()
        else:
            alone = re.fullmatch(r"\d+(\.\d+)*", override) is not None  # a version: 3.12
            names = [name.format(v=override) for name in self.language.named] if alone else [override]
            found = next((path for name in names for path in self._on_path(name)), None)
            version = parse_version(override)
            if found is None and version is not None:  # only a version manager knows it
                found = next(self._installed(version[: self.language.digits]), None)
        if found is not None and os.path.isdir(found):  # a virtual environment
            found = found / "bin" / self.language.plain[0]
        if found is None or not _executable(found):
            raise UsageError(
                f"no interpreter {override}: {'not on PATH' if found is None else f'{found} is not an executable file'}",
                hint=f"give the path of a {self.language.title} executable, or leave it out",
            )
        version = self._version_of(found)
        if version is None:
            raise UsageError(f"{found} does not tell a {self.language.title} version", hint="is it an interpreter that starts?")
        return found, version

    def virtual_environments(self, project: Path | None) -> Iterator[tuple[Path, Version, str]]:
        """Virtual environments that work, in order, with their versions."""
        if not self.language.virtual_environments:
            return
        folders: list[tuple[Path, str]] = []
        if self.environ.get("VIRTUAL_ENV"):
            folders.append((Path(self.environ["VIRTUAL_ENV"]), "VIRTUAL_ENV names it"))
        if project is not None:
            folders += [(project / name, f"the project's {name}") for name in (".venv", "venv")]
        for folder, why in folders:
            self.looked_for.append(str(folder) if why.startswith("the") else f"VIRTUAL_ENV ({folder})")
            path = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            if not _executable(path):  # no environment, or one whose base interpreter is gone
                continue
            version = _pyvenv_version(folder) or self._version_of(path)
            if version is not None:
                yield path, version, why

    def _exact(self) -> tuple[Path, Version, str] | None:
        for name in (pattern.format(v=self.wanted_text) for pattern in self.language.named):
            self.looked_for.append(f"{name} on PATH")
            for path in self._on_path(name):
                version = self.wanted if self.language.digits > 1 else self._version_of(path)
                if version is not None and version[: self.language.digits] == self.wanted:
                    return path, version, f"{name} on PATH"
        if self.language.digits == 1 or not self.language.named:
            for path, version in self.plain_on_path():
                if version[: self.language.digits] == self.wanted:
                    return path, version, f"{path.name} on PATH"
        self.looked_for.append("the folders of version managers")
        for path in self._installed(self.wanted):
            version = self._version_of(path)
            if version is not None and version[: self.language.digits] == self.wanted:
                return path, version, "installed by a version manager"
        return None

    def _all(self) -> Iterator[tuple[Path, Version, str]]:
        """Everything of the language that is here, the cheapest to find first."""
        for path, version in self.plain_on_path():
            yield path, version, f"{path.name} on PATH"
        if self.language.name == "python":
            for minor in range(_NEWEST_PYTHON, self.language.oldest[1] - 1, -1):
                for path in self._on_path(f"python3.{minor}"):
                    yield path, (3, minor), f"{path.name} on PATH"
        for path in self._installed(None):
            found = self._version_of(path)
            if found is not None:
                yield path, found, "installed by a version manager"
        if self.language.name == "python":
            yield Path(getattr(sys, "_base_executable", sys.executable)), sys.version_info[:3], "the one that runs lambdabox"

    def plain_on_path(self) -> Iterator[tuple[Path, Version]]:
        """Executables whose names carry no version."""
        for name in self.language.plain:
            self.looked_for.append(f"{name} on PATH")
            for path in self._on_path(name):
                version = self._version_of(path)
                if version is not None:
                    yield path, version

    def _on_path(self, name: str) -> Iterator[Path]:
        for folder in self.path_folders:
            path = folder / name
            if _executable(path) and not _is_shim(path):
                yield path.absolute()

    def _installed(self, wanted: Version | None) -> Iterator[Path]:
        """Executables in version managers' folders, the newest first; only of version `wanted` unless it is None."""
        for variable, default, pattern, executable in self.language.installs:
            root = self.environ.get(variable) or default
            if not root:
                continue
            base = Path(root).expanduser()
            found: list[tuple[Version, Path]] = []
            try:
                folders = [base] if not pattern else list(base.glob(pattern))
            except OSError:
                continue
            for folder in folders:
                # names that do not end in a version are virtual environments, links or builds without the GIL
                match = re.fullmatch(r"(?:v|[a-z]+-)?(\d+(?:\.\d+)*)(?:[+_-].*)?", folder.name)
                version = parse_version(match.group(1)) if match else None
                if self.language.name == "java":
                    version = _java_release(folder)
                if version is None or (wanted is not None and version[: len(wanted)] != wanted):
                    continue
                path = folder / executable.format(v=".".join(map(str, version[: self.language.digits])))
                if _executable(path):
                    found.append((version, path))
            yield from (path for _, path in sorted(found, reverse=True))

    # -- versions ---------------------------------------------------------------------------------------------------

    def _version_of(self, path: Path) -> Version | None:
        """The version of an executable: from its name or its folder when they tell, else by asking it once."""
        if self.language.name == "python":
            named = re.fullmatch(r"python(\d+)\.(\d+)", os.path.basename(os.path.realpath(path)))
            if named is not None:
                return int(named[1]), int(named[2])
        if self.language.name == "java":
            version = _java_release(Path(os.path.realpath(path)).parent.parent)
            if version is not None:
                return version
        return version_by_asking(path, self.language.ask, self.environ, self.cache)

    def _distance(self, version: Version) -> tuple[int, int, int]:
        """How far a version is from the wanted one; of two as far, the newer is nearer."""
        have, want = (_flat(value[: self.language.digits]) for value in (version, self.wanted))
        older = have < want
        return (int(older and self.language.newer_runs_older), abs(have - want), int(older))

    def _chosen(self, path: Path, version: Version, why: str) -> Interpreter:
        warning = None
        if self.wanted and version[: self.language.digits] != self.wanted:
            have = ".".join(map(str, version))
            warning = f"{self.runtime} is served by {self.language.title} {have} ({path}; {why})"
        return Interpreter(path=path, version=version, why=why, warning=warning)


def version_by_asking(
    path: Path, question: tuple[str, ...], environ: Mapping[str, str], cache: InterpreterCache | None
) -> Version | None:
    """The version an executable tells, from the cache when it is the same file; None when it does not start."""
    try:
        real = os.path.realpath(path)
        facts = os.stat(real)
    except OSError:
        return None
    key = f"{real}:{facts.st_mtime_ns}:{facts.st_size}"
    version = cache.get(key) if cache is not None else None
    if version is not None:
        return version
    import subprocess

    quiet = {k: v for k, v in environ.items() if k not in ("NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "RUBYOPT")}
    try:
        told = subprocess.run(
            [str(path), *question], capture_output=True, env=quiet, stdin=subprocess.DEVNULL, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    text = re.sub(r"\x1b\[[0-9;]*m", "", (told.stdout + told.stderr).decode("utf-8", "replace"))  # Maven prints in bold
    version = parse_version(text) if told.returncode == 0 else None
    if version is not None and cache is not None:
        cache.put(key, version)
    return version


def _flat(version: Version) -> int:
    return version[0] * 100 + (version[1] if len(version) > 1 else 0) if version else 0


def _executable(path: Path) -> bool:
    return os.access(path, os.X_OK) and not path.is_dir()


def _is_shim(path: Path) -> bool:
    """Whether a version manager put the file there to choose a version when it is started."""
    if path.parent.name == "shims":
        return True
    if not path.is_symlink():
        return False
    return os.path.basename(os.path.realpath(path)) in ("volta-shim", "mise", "asdf", "shim")


def _pyvenv_version(folder: Path) -> Version | None:
    """What a virtual environment's own note says of its version."""
    return _noted_version(folder / "pyvenv.cfg", r"^version(?:_info)?\s*=\s*(\d+(?:\.\d+)+)")


def _java_release(home: Path) -> Version | None:
    return _noted_version(home / "release", r'^(JAVA_VERSION="[\d.]+)')


def _noted_version(file: Path, pattern: str) -> Version | None:
    try:
        found = re.search(pattern, file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    except OSError:
        return None
    if found is None:
        return None
    version = parse_version(found.group(1))
    return version[1:] if version is not None and version[:1] == (1,) and file.name == "release" else version
