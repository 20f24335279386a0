"""Which paths are on a machine, and which copies are refused before anything is opened."""

from __future__ import annotations

import pytest

from remote_runtime.core.errors import UsageError
from remote_runtime.files.endpoint import FileEndpoint, parse_copy, parse_endpoint


@pytest.mark.parametrize(
    ("text", "name", "path"),
    [
        ("my-vm:data", "my-vm", "data"),
        ("my-vm:", "my-vm", ""),
        ("my-vm:/data/a:b", "my-vm", "/data/a:b"),
        ("my-vm:~/data", "my-vm", "~/data"),
        ("data", None, "data"),
        ("./a:b", None, "./a:b"),
        ("../a:b", None, "../a:b"),
        ("dir/a:b", None, "dir/a:b"),
        ("/a:b", None, "/a:b"),
        ("~/a:b", None, "~/a:b"),
        (":a", None, ":a"),
        ("C:\\x", None, "C:\\x"),
        ("C:/x", None, "C:/x"),
        ("c:x", "c", "x"),
    ],
)
def test_a_colon_before_the_first_slash_separates_a_name(text: str, name: str | None, path: str) -> None:
    assert parse_endpoint(text) == FileEndpoint(name, path)
    assert str(FileEndpoint(name, path)) == text


def test_a_path_that_is_not_utf8_keeps_its_bytes() -> None:
    assert parse_endpoint("vm:caf\udce9").path_bytes == b"caf\xe9"


def test_one_side_of_a_copy_is_on_a_machine() -> None:
    assert parse_copy(["a", "b"], "vm:c")[1] == FileEndpoint("vm", "c")
    assert parse_copy(["vm:a", "vm:b"], "c")[0] == [FileEndpoint("vm", "a"), FileEndpoint("vm", "b")]


@pytest.mark.parametrize(
    ("sources", "target", "what"),
    [
        (["vm:a"], "vm:b", "Both sides are on a machine"),
        (["a", "vm:b"], "other:c", "Both sides are on a machine"),
        (["a"], "b", "No side is on a machine"),
        (["vm:a", "other:b"], "c", "The sources are on several machines"),
        (["vm:a", "b"], "c", "The sources are on several machines"),
        ([""], "vm:c", "A path is empty"),
    ],
)
def test_other_copies_are_refused(sources: list[str], target: str, what: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_copy(sources, target)
    assert refused.value.what == what
