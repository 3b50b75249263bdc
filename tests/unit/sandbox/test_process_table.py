"""What the keeper and the engine read from /proc and remove from disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambdabox.sandbox import keeper, process_table


@pytest.mark.skipif(not process_table.has_proc(), reason="there is no /proc")
def test_children_are_found_with_and_without_the_kernels_lists() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert child.pid in process_table.children_of(os.getpid())
        assert child.pid in process_table._children_by_scan(os.getpid())
        assert process_table.children_of(child.pid) == []
    finally:
        child.kill()
        child.wait()
    assert process_table.children_of(child.pid) == []


def test_a_tree_is_removed_without_following_links_out_of_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    inside = tmp_path / "inside"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "a" / "file").write_text("x")
    (inside / "a" / "link").symlink_to(outside)
    (inside / "a").chmod(0o500)
    process_table.remove_tree(str(inside))
    assert not inside.exists()
    assert (outside / "kept").exists()


def test_the_keeper_imports_next_to_nothing() -> None:
    """Each module that is not built in costs the keeper a part of its ten milliseconds."""
    program = keeper.COMMAND.replace("keeper.main(sys.argv[2:])", "print(*sorted(sys.modules))")
    output = subprocess.check_output([sys.executable, "-I", "-S", "-c", program, str(Path(keeper.__file__).parent)], text=True)
    assert {"typing", "enum", "re", "socket", "signal", "subprocess", "pathlib", "contextlib", "lambdabox"}.isdisjoint(
        output.split()
    )
