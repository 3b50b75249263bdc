"""Layers become one /opt."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lambdabox.errors import LayerError
from lambdabox.layers.merge import external_extensions, merge_layers


def folder(root: Path, files: Any) -> Any:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def zipped(path: Any, entries: Any) -> Any:
    """entries: name -> content, or (content, mode)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, entry in entries.items():
            content, mode = entry if isinstance(entry, tuple) else (entry, 0o100644)
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return path


LINK = stat.S_IFLNK | 0o777


def test_no_layers_make_no_folder(tmp_path: Path) -> None:
    assert merge_layers((), cache=tmp_path) is None


def test_a_single_folder_is_used_where_it_lies(tmp_path: Path) -> None:
    layer = folder(tmp_path / "layer", {"a": "1"})
    assert merge_layers((layer,), cache=tmp_path / "cache") == layer
    assert not (tmp_path / "cache").exists()


def test_later_layers_win_file_by_file(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"python/a.py": "one", "python/b.py": "one"})
    two = zipped(tmp_path / "two.zip", {"python/b.py": "two", "lib/c": "two"})
    opt = merge_layers((one, two), cache=tmp_path / "cache")
    assert opt is not None
    files = {str(path.relative_to(opt)): path.read_text() for path in opt.rglob("*") if path.is_file()}
    assert files == {"python/a.py": "one", "python/b.py": "two", "lib/c": "two"}


def test_a_file_may_take_the_place_of_a_folder_and_back(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"x/inside": "1", "y": "1"})
    two = folder(tmp_path / "two", {"x": "2", "y/inside": "2"})
    opt = merge_layers((one, two), cache=tmp_path / "cache")
    assert opt is not None
    assert ((opt / "x").read_text(), (opt / "y/inside").read_text()) == ("2", "2")


def test_permissions_are_kept(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"bin/tool": "#!/bin/sh\n"})
    (one / "bin/tool").chmod(0o750)
    two = zipped(tmp_path / "two.zip", {"extensions/mine": ("x", 0o100755), "plain": ("x", stat.S_IFREG)})
    opt = merge_layers((one, two), cache=tmp_path / "cache")
    assert opt is not None
    modes = [stat.S_IMODE((opt / name).stat().st_mode) for name in ("bin/tool", "extensions/mine", "plain")]
    assert modes == [0o750, 0o755, 0o644]


def test_the_same_layers_are_merged_once(tmp_path: Path) -> None:
    layer = zipped(tmp_path / "a.zip", {"a": "1"})
    first = merge_layers((layer,), cache=tmp_path / "cache")
    assert first is not None
    (first / "mark").write_text("")
    assert merge_layers((layer,), cache=tmp_path / "cache") == first
    assert (first / "mark").exists()


def test_a_copy_of_a_zip_shares_its_folder_and_a_changed_one_does_not(tmp_path: Path) -> None:
    first = merge_layers((zipped(tmp_path / "a.zip", {"a": "1"}),), cache=tmp_path / "cache")
    (tmp_path / "copy.zip").write_bytes((tmp_path / "a.zip").read_bytes())
    assert merge_layers((tmp_path / "copy.zip",), cache=tmp_path / "cache") == first
    assert merge_layers((zipped(tmp_path / "a.zip", {"a": "2"}),), cache=tmp_path / "cache") != first


def test_a_changed_folder_is_merged_again(tmp_path: Path) -> None:
    one, two = folder(tmp_path / "one", {"a": "1"}), folder(tmp_path / "two", {"b": "1"})
    first = merge_layers((one, two), cache=tmp_path / "cache")
    (one / "a").write_text("changed")
    second = merge_layers((one, two), cache=tmp_path / "cache")
    assert second is not None
    assert second != first
    assert (second / "a").read_text() == "changed"


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    layer = zipped(tmp_path / "a.zip", {"a": "1"})
    opt = merge_layers((layer,), cache=tmp_path / "cache")
    assert opt is not None
    opt.rename(tmp_path / "cache" / f"{opt.name}.unfinished")
    (tmp_path / "cache" / f"{opt.name}.unfinished/junk").write_text("")
    assert merge_layers((layer,), cache=tmp_path / "cache") == opt
    assert [path.name for path in opt.iterdir()] == ["a"]


def test_many_at_once_merge_once(tmp_path: Path) -> None:
    layers = tuple(zipped(tmp_path / f"{n}.zip", {f"f{n}": "x"}) for n in range(3))
    found, failed = [], []

    def merge() -> None:
        try:
            found.append(merge_layers(layers, cache=tmp_path / "cache"))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=merge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(set(found)) == 1
    assert found[0] is not None
    assert sorted(path.name for path in found[0].iterdir()) == ["f0", "f1", "f2"]


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "..\\out"])
def test_a_zip_entry_never_leaves(tmp_path: Path, name: str) -> None:
    with pytest.raises(LayerError, match="outside of /opt"):
        merge_layers((zipped(tmp_path / "bad.zip", {name: "x"}),), cache=tmp_path / "cache")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache/out").exists()
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()], "nothing half done stays"


@pytest.mark.parametrize("link", ["..", "/etc", "a/../../..", "../../../../etc/passwd"])
def test_a_zip_link_never_leaves(tmp_path: Path, link: str) -> None:
    with pytest.raises(LayerError, match="leaves /opt"):
        merge_layers((zipped(tmp_path / "bad.zip", {"link": (link, LINK)}),), cache=tmp_path / "cache")


def test_writing_through_a_chain_of_links_never_leaves(tmp_path: Path) -> None:
    entries = {
        "x/": ("", 0o040755),
        "a/b/c/l": ("../../../x", LINK),
        "a/b/c/l/m": ("../../../..", LINK),
        "x/m/out": "x",
    }
    with pytest.raises(LayerError):
        merge_layers((zipped(tmp_path / "bad.zip", entries),), cache=tmp_path / "cache")
    assert not list(tmp_path.rglob("out"))


def test_links_inside_work(tmp_path: Path) -> None:
    layer = zipped(
        tmp_path / "a.zip",
        {"lib/libx.so.1": "x", "lib/libx.so": ("libx.so.1", LINK), "lib64": ("lib", LINK), "bin/t": ("/opt/lib/libx.so", LINK)},
    )
    over = zipped(tmp_path / "b.zip", {"lib64/y": "y"})
    opt = merge_layers((layer, over), cache=tmp_path / "cache")
    assert opt is not None
    assert [(opt / name).read_text() for name in ("lib/libx.so", "lib64/libx.so", "bin/t", "lib/y")] == ["x", "x", "x", "y"]


def test_links_of_a_folder_keep_their_goal(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {"real": "in"})
    folder(tmp_path, {"outside": "out"})
    (one / "inner").symlink_to("real")
    (one / "outer").symlink_to("../outside")
    opt = merge_layers((one, folder(tmp_path / "two", {"z": "z"})), cache=tmp_path / "cache")
    assert opt is not None
    assert os.readlink(opt / "inner") == "real"
    assert (opt / "outer").read_text() == "out"


def test_a_zip_bomb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambdabox.layers.merge.UNZIPPED_MAX_BYTES", 1000)
    with pytest.raises(LayerError, match="more than 1000 bytes"):
        merge_layers((zipped(tmp_path / "big.zip", {"a": "x" * 600, "b": "x" * 600}),), cache=tmp_path / "cache")


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="nowhere does not exist"):
        merge_layers((tmp_path / "nowhere",), cache=tmp_path / "cache")


def test_a_file_that_is_no_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "layer.tgz").write_bytes(b"\x1f\x8b junk")
    with pytest.raises(LayerError, match=r"layer\.tgz is not a zip file"):
        merge_layers((tmp_path / "layer.tgz",), cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    layer = zipped(tmp_path / "layer.zip", {"a": "1"})
    with pytest.raises(LayerError, match=r"cannot be merged in .*file/cache: Not a directory") as caught:
        merge_layers((layer,), cache=tmp_path / "file" / "cache")
    assert "XDG_CACHE_HOME" in (caught.value.hint or "")


def test_external_extensions_are_the_files_in_extensions(tmp_path: Path) -> None:
    folder(tmp_path, {"extensions/b": "", "extensions/a": "", "extensions/lib/c": ""})
    assert [path.name for path in external_extensions(tmp_path)] == ["a", "b"]
    assert external_extensions(None) == ()
    assert external_extensions(tmp_path / "nowhere") == ()
