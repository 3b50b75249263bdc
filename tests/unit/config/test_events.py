"""Events and contexts as people give them."""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from lambdabox.config.events import load_context, load_event
from lambdabox.errors import EventError, RuntimeNotFoundError, UsageError

NODE = shutil.which("node")


def no_node() -> Any:
    raise RuntimeNotFoundError("Node.js", ["node on PATH"])


def event(
    data: Any = None, path: Any = None, *, stdin: Any = None, raw: Any = False, folder: Any = Path(), node: Any = no_node
) -> Any:
    return load_event(data, path, stdin, raw, folder, node)


def refused(*arguments: Any, **options: Any) -> Any:
    with pytest.raises(EventError) as caught:
        event(*arguments, **options)
    return caught.value


# -- text


@pytest.mark.parametrize("text", ['{"a": 1}', "5", "null", '"q"', "[1]", ' {"b" : 2.50, "b": 1e3} ', '{"é":"\\u00e9"}'])
def test_json_passes_through_unchanged(text: str) -> None:
    assert event(text) == text.encode()


def test_nothing_given_is_an_empty_object() -> None:
    assert event() == b"{}"


@pytest.mark.parametrize(
    ("text", "sent"), [("plain", b'"plain"'), ('{"a": 1}', b'"{\\"a\\": 1}"'), ("", b'""'), ("é", '"é"'.encode())]
)
def test_raw_sends_text_as_a_json_string(text: str, sent: bytes) -> None:
    assert event(text, raw=True) == sent


def test_text_that_is_not_json_names_line_and_column_and_the_way_out() -> None:
    error = refused('{"a": 1,\n "b": }')
    assert "the event from --data is not JSON" in error.message
    assert "(line 2, column 7)" in error.message
    assert "--raw sends text as a JSON string" in (error.hint or "")
    assert error.exit_code == 2


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', "hello", "{'a': 1}", "", "  "])
def test_what_is_not_json_is_refused(text: str) -> None:
    assert refused(text).hint


def test_both_data_and_path_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="both --data and --path"):
        event("{}", "event.json")


def test_very_deep_json_is_left_to_the_runtime() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    assert event(deep) == deep.encode()


# -- files


@pytest.mark.parametrize("form", ["path", "file://", "@"])
def test_a_json_file_passes_through_unchanged(tmp_path: Path, form: str) -> None:
    (tmp_path / "event.json").write_bytes(b'{ "a":\t1 }\n')
    given = {"path": (None, "event.json")}.get(form, (f"{form}event.json", None))
    assert event(*given, folder=tmp_path) == b'{ "a":\t1 }\n'


def test_an_absolute_path_works(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text("1")
    assert event(f"file://{tmp_path}/e.json", folder=Path("/nowhere")) == b"1"


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_bytes(b"\xef\xbb\xbf{}")
    assert event(None, "e.json", folder=tmp_path) == b"{}"


def test_a_string_of_json_in_a_file_is_not_parsed_twice(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text('"{}"')
    assert event(None, "e.json", folder=tmp_path) == b'"{}"'


def test_raw_leaves_a_json_file_alone_and_wraps_other_text(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text('{"a": 1}')
    (tmp_path / "e.txt").write_text("hello\n")
    assert event(None, "e.json", folder=tmp_path, raw=True) == b'{"a": 1}'
    assert event(None, "e.txt", folder=tmp_path, raw=True) == b'"hello\\n"'


def test_a_text_file_that_is_json_is_the_event(tmp_path: Path) -> None:
    (tmp_path / "event").write_text("[1]")
    assert event(None, "event", folder=tmp_path) == b"[1]"


@pytest.mark.parametrize("name", ["e.yml", "e.yaml"])
def test_yaml_becomes_json_with_cloudformation_tags(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("a: NO\nb: !Ref X\nc: [1, 2.5]\nd: é\n")
    assert json.loads(event(None, name, folder=tmp_path)) == {"a": "NO", "b": {"Ref": "X"}, "c": [1, 2.5], "d": "é"}


def test_broken_yaml_names_its_place(tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text("a: [1\nb: 2\n")
    assert refused(None, "e.yml", folder=tmp_path).message.startswith("e.yml:2:")


def test_a_yaml_number_without_a_json_word_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.yml").write_text("a: .nan\n")
    assert "JSON has no word for" in refused(None, "e.yml", folder=tmp_path).message


def test_a_symlink_is_read(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("1")
    (tmp_path / "link.json").symlink_to("real.json")
    assert event(None, "link.json", folder=tmp_path) == b"1"


def test_a_fifo_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text('{"a": 1}'))
    writer.start()
    assert event(None, "pipe", folder=tmp_path) == b'{"a": 1}'
    writer.join()


@pytest.mark.parametrize(
    ("asked", "meant"), [("event.jsn", "event.json"), ("event.yaml", "event.json"), ("evnt.json", "event.json")]
)
def test_a_missing_file_suggests_similar_ones(tmp_path: Path, asked: str, meant: str) -> None:
    (tmp_path / "event.json").write_text("{}")
    error = refused(None, asked, folder=tmp_path)
    assert error.message == f"no event file {asked}"
    assert meant in (error.hint or "")


def test_a_missing_file_without_neighbours_tells_the_folder(tmp_path: Path) -> None:
    assert str(tmp_path) in (refused("@none.json", folder=tmp_path).hint or "")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refused(None, ".", folder=tmp_path).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text("{}")
    (tmp_path / "e.json").chmod(0)
    assert "Permission denied" in refused(None, "e.json", folder=tmp_path).message


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e.json").write_text("{}")

    def fail(self: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", fail)
    assert refused(None, "e.json", folder=tmp_path).message == "the event file e.json cannot be read: Permission denied"


def test_binary_is_refused_with_its_byte(tmp_path: Path) -> None:
    (tmp_path / "e.bin").write_bytes(b"ab\xff")
    assert "byte 2 is 0xff" in refused(None, "e.bin", folder=tmp_path).message


# -- standard input


def test_a_dash_reads_standard_input() -> None:
    assert event("-", stdin=io.BytesIO(b'{"a": 1}')) == b'{"a": 1}'
    assert event(None, "-", stdin=io.BytesIO(b"hi"), raw=True) == b'"hi"'


def test_an_empty_standard_input_that_was_asked_for_is_refused() -> None:
    assert "empty" in refused("-", stdin=io.BytesIO(b"")).message


def pipe() -> Any:
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0)


def test_a_pipe_with_data_is_the_event() -> None:
    reader, writer = pipe()
    with reader:
        writer.write(b'{"a": 1}')
        writer.close()
        assert event(stdin=reader) == b'{"a": 1}'


def test_an_idle_pipe_is_not_waited_for() -> None:
    reader, writer = pipe()
    with reader, writer:
        assert event(stdin=reader) == b"{}"


def test_a_closed_pipe_without_data_is_no_event() -> None:
    reader, writer = pipe()
    with reader:
        writer.close()
        assert event(stdin=reader) == b"{}"


def test_a_pipe_is_not_read_when_another_event_is_given() -> None:
    reader, writer = pipe()
    with reader:
        writer.write(b"not JSON")
        writer.close()
        assert event("{}", stdin=reader) == b"{}"
        assert reader.read() == b"not JSON"


def test_a_terminal_is_never_read() -> None:
    primary, secondary = os.openpty()
    with os.fdopen(secondary, "rb") as terminal:
        assert event(stdin=terminal) == b"{}"
    os.close(primary)


def test_the_null_device_is_no_event() -> None:
    with Path(os.devnull).open("rb") as null:
        assert event(stdin=null) == b"{}"


def test_a_redirected_file_is_the_event(tmp_path: Path) -> None:
    (tmp_path / "e").write_text("[2]")
    with (tmp_path / "e").open("rb") as file:
        assert event(stdin=file) == b"[2]"


# -- contexts


def context(data: Any = None, path: Any = None, *, folder: Any = Path(), stdin: Any = None) -> Any:
    return load_context(data, path, stdin, folder, no_node)


def test_a_context_is_an_object() -> None:
    assert context('{"functionVersion": "7"}') == {"functionVersion": "7"}


def test_no_context_is_none_and_standard_input_is_left_alone() -> None:
    assert context(stdin=io.BytesIO(b"{}")) is None


def test_a_context_file_follows_the_rules_of_events(tmp_path: Path) -> None:
    (tmp_path / "c.yml").write_text("a: 1\n")
    assert context(None, "c.yml", folder=tmp_path) == {"a": 1}


@pytest.mark.parametrize(("text", "kind"), [("[]", "an array"), ("1", "a number"), ("null", "null"), ('"x"', "a string")])
def test_a_context_of_another_kind_is_refused(text: str, kind: str) -> None:
    with pytest.raises(EventError, match=f"must be a JSON object, it is {kind}"):
        context(text)


def test_both_contexts_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="both --context and --context-path"):
        context("{}", "c.json")


# -- modules


needs_node = pytest.mark.skipif(NODE is None, reason="no node on PATH")


def module(folder: Any, name: Any, text: Any) -> Any:
    (folder / name).write_text(text)
    return event(None, name, folder=folder, node=lambda: Path(NODE or ""))


@needs_node
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e.js", "module.exports = { a: 1 };"),
        ("e.mjs", "export default Promise.resolve({ a: 1 });"),
        ("e.cjs", "console.log('noise'); setInterval(() => {}, 1000); module.exports = async () => ({ a: 1 });"),
    ],
)
def test_a_modules_default_export_is_the_event(tmp_path: Path, name: str, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert module(tmp_path, name, text) == b'{"a":1}'
    assert capfd.readouterr().out == ""


@needs_node
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("e.js", "throw new TypeError('boom');", "fails: TypeError: boom"),
        ("e.mjs", "export default = 1;", "SyntaxError"),
        ("e.js", "module.exports = () => undefined;", "exports nothing that is JSON"),
        ("e.js", "process.exit(0)", "its promise never settles, or it ends Node.js"),
        ("e.mjs", "export default new Promise(() => {});", "gives no value"),
    ],
)
def test_a_module_that_gives_no_event_says_why(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(EventError, match=message):
        module(tmp_path, name, text)


def test_a_module_without_node_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "e.js").write_text("")
    assert "needs Node.js" in refused(None, "e.js", folder=tmp_path).message
