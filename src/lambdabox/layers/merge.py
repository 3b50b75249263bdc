"""Merging layers into the one folder that a function sees as /opt.

Layers are applied in list order and a later one wins, file by file (contract 6.4). Permission bits come from the zip. A single
folder is used where it lies; anything else is merged once and kept in the user's cache under a key made of the content of zips
and of names, sizes, modes and times of files in folders. The folder is written under a temporary name and renamed, so that a half
merged one is never seen, by any number of lambdabox processes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING

from lambdabox.errors import LayerError
from lambdabox.model.limits import UNZIPPED_MAX_BYTES

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

_LAYOUT = "1"  # part of every key: a change of how folders are merged must not meet old ones
_CHUNK = 1 << 20


def merge_layers(layers: tuple[Path, ...], *, cache: Path | None = None) -> Path | None:
    """The merged folder of `layers` (folders or zip files), or None when there are none.

    Raises LayerError for a layer that is missing, is no folder or zip, or would write outside of /opt, and for a cache that cannot be written.
    """
    for layer in layers:
        if not layer.exists():
            raise LayerError(f"layer {layer} does not exist", hint="a layer is a folder or a zip file with the content of /opt")
    if not layers:
        return None
    if len(layers) == 1 and layers[0].is_dir():
        return layers[0].absolute()
    root = cache if cache is not None else _user_cache()
    try:
        return _merged(layers, root)
    except OSError as error:  # a home that is read-only or not there, a full disk, a layer that may not be read
        raise LayerError(
            f"layers cannot be merged in {root}: {error.strerror or error}" + (f" ({error.filename})" if error.filename else ""),
            hint="the cache needs a folder with room that you may write to: XDG_CACHE_HOME names another one",
        ) from error


def _merged(layers: tuple[Path, ...], root: Path) -> Path:
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    key = _key(layers)
    merged = root / key
    if merged.is_dir():
        return merged
    with FileLock(str(root / f"{key}.lock")):
        if merged.is_dir():
            return merged
        unfinished = root / f"{key}.unfinished"
        _remove(unfinished)  # a process that was killed left it: the lock says nobody writes it now
        unfinished.mkdir()
        try:
            for layer in layers:
                if layer.is_dir():
                    _copy_folder(layer, unfinished)
                else:
                    _unzip(layer, unfinished)
            unfinished.rename(merged)
        except BaseException:
            _remove(unfinished)
            raise
    return merged


def external_extensions(opt: Path | None) -> tuple[Path, ...]:
    """What AWS starts as external extensions: every non-folder directly in /opt/extensions, by name."""
    if opt is None:
        return ()
    try:
        entries = sorted((opt / "extensions").iterdir())
    except OSError:
        return ()
    return tuple(entry for entry in entries if not entry.is_dir())


def _user_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("lambdabox", appauthor=False) / "layers"


def _key(layers: tuple[Path, ...]) -> str:
    import hashlib

    digest = hashlib.sha256(_LAYOUT.encode())
    for layer in layers:
        if layer.is_dir():
            digest.update(f"\0folder\0{os.path.realpath(layer)}".encode("utf-8", "surrogateescape"))
            for folder, folders, files in os.walk(layer):
                folders.sort()
                for name in sorted(files + [each for each in folders if (Path(folder) / each).is_symlink()]):
                    path = os.path.join(folder, name)
                    facts = os.lstat(path)
                    line = f"\0{path}\0{facts.st_mode}\0{facts.st_size}\0{facts.st_mtime_ns}"
                    digest.update(line.encode("utf-8", "surrogateescape"))
                digest.update(f"\0{folder}\0{stat.S_IMODE(os.lstat(folder).st_mode)}".encode("utf-8", "surrogateescape"))
        else:
            digest.update(b"\0zip\0")
            with layer.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]


# -- folders ----------------------------------------------------------------------------------------------------------


def _copy_folder(layer: Path, target: Path) -> None:
    """Copy a folder over `target`. Links inside stay links; a link that leaves the layer points to where it pointed."""
    import shutil

    real = Path(os.path.realpath(layer))
    for folder, folders, files in os.walk(real):
        inside = Path(folder).relative_to(real)
        here = _parent(target, inside, layer)
        for name in folders:
            if not (Path(folder) / name).is_symlink():
                _make_folder(here / name, stat.S_IMODE((Path(folder) / name).stat().st_mode))
        for name in files + [each for each in folders if (Path(folder) / each).is_symlink()]:
            source, destination = Path(folder) / name, here / name
            _remove(destination)
            if source.is_symlink():
                link = str(source.readlink())
                goal = Path(os.path.realpath(source))
                destination.symlink_to(link if goal.is_relative_to(real) and not Path(link).is_absolute() else goal)
            elif source.is_file():
                shutil.copy2(source, destination)


# -- zip files --------------------------------------------------------------------------------------------------------


def _unzip(layer: Path, target: Path) -> None:
    from zipfile import BadZipFile, ZipFile

    left = UNZIPPED_MAX_BYTES
    try:
        with ZipFile(layer) as archive:
            for entry in archive.infolist():
                left -= _unzip_entry(archive, entry, layer, target, left)
    except BadZipFile as error:
        raise LayerError(f"layer {layer} is not a zip file: {error}", hint="a layer is a folder or a zip file") from error
    except (NotImplementedError, RuntimeError) as error:  # a method zlib does not know; a password
        raise LayerError(f"layer {layer} cannot be unpacked: {error}") from error


def _unzip_entry(archive: ZipFile, entry: ZipInfo, layer: Path, target: Path, left: int) -> int:
    """Unpack one entry and return its size."""
    name = entry.filename.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or (parts and ":" in parts[0] and os.name == "nt"):
        raise LayerError(
            f"layer {layer} would write outside of /opt: {entry.filename}", hint="the zip file is damaged or hostile"
        )
    if not parts:
        return 0
    mode = entry.external_attr >> 16
    parent = _parent(target, Path(*parts[:-1]), layer)
    path = parent / parts[-1]
    if entry.is_dir():
        _make_folder(path, stat.S_IMODE(mode) or 0o755)
        return 0
    _remove(path)
    if stat.S_ISLNK(mode):
        _make_link(path, archive.read(entry).decode("utf-8", "surrogateescape"), target, layer)
        return 0
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with archive.open(entry) as source, os.fdopen(os.open(path, flags, 0o600), "wb") as out:
        size = _copy_bytes(source, out, left, layer)
    path.chmod(stat.S_IMODE(mode) & 0o777 or 0o644)
    return size


def _copy_bytes(source: IO[bytes], out: IO[bytes], left: int, layer: Path) -> int:
    size = 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if size > left:  # what the entry claims of its size is not believed
            raise LayerError(
                f"layer {layer} unpacks to more than {UNZIPPED_MAX_BYTES} bytes", hint="AWS's limit for code and layers"
            )
        out.write(chunk)
    return size


def _make_link(path: Path, link: str, target: Path, layer: Path) -> None:
    """A link of a zip. Absolute ones may name /opt; all must stay in it."""
    if link.startswith("/opt/"):
        link = os.path.relpath(target / link.removeprefix("/opt/"), path.parent)
    root = os.path.realpath(target)
    goal = os.path.realpath(path.parent / link)
    if Path(link).is_absolute() or not Path(goal).is_relative_to(root):
        raise LayerError(
            f"layer {layer} has a link that leaves /opt: {path.name} -> {link}", hint="the zip file is damaged or hostile"
        )
    path.symlink_to(link)


# -- the target -------------------------------------------------------------------------------------------------------


def _parent(target: Path, inside: Path, layer: Path) -> Path:
    """The folder `inside` the target, made when it is missing, with links followed as long as they stay in the target."""
    root = Path(os.path.realpath(target))
    here = root
    for part in inside.parts:
        step = Path(os.path.realpath(here / part))
        if not step.is_relative_to(root):
            raise LayerError(f"layer {layer} would write outside of /opt: {inside}", hint="the zip file is damaged or hostile")
        if not step.is_dir():
            _remove(step)
            step.mkdir(parents=True)
        here = step
    return here


def _make_folder(path: Path, mode: int) -> None:
    if not path.is_dir():
        _remove(path)
        path.mkdir(parents=True)
    if not path.is_symlink():
        path.chmod(mode | 0o700)  # ours to write, whatever the layer says


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        import shutil

        shutil.rmtree(path)
