"""The patterns of ``.remote-runtime-ignore``: git is the judge."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_runtime.files.remote.ignore import DEFAULT_PATTERNS, IgnoreRules, InvalidPattern

TREE = tuple(b"a,ab,b,c d,a/a,a/b,a/ab,a/-,a/b/a,a/b/c d,a/b/a/ab,x],b/!a,#a".split(b","))
PIECE = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "*",
        "**",
        "?",
        "/",
        "/",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-b]",
        "[]a]",
        "[-a]",
        "\\a",
        "\\*",
        " ",
        "c d",
        "-",
    ]
)
PATTERN = st.tuples(st.sampled_from(["", "", "!", "#", "\\#", "\\!"]), st.lists(PIECE, min_size=1, max_size=5)).map(
    lambda both: both[0] + "".join(both[1])
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(top)], check=True)
    for path in sorted(TREE, reverse=True):  # the deepest first: what has something inside is a folder
        at = os.path.join(os.fsencode(top), path)
        os.makedirs(os.path.dirname(at), exist_ok=True)
        if not os.path.exists(at):
            with open(at, "w"):
                pass
    return top


def ignored_by_us(text: bytes, top: Path) -> set[bytes]:
    """As the scanner asks: a folder's contents only if the folder is not ignored."""
    rules, found = IgnoreRules(text), set()
    for path in sorted(TREE):
        parents = [path[:at] for at, char in enumerate(path) if char == ord("/")]
        is_folder = os.path.isdir(os.path.join(os.fsencode(top), path))
        name = os.path.basename(path)
        if any(parent in found for parent in parents) or rules.ignores(path, name, is_folder=is_folder):
            found.add(path)
    return found


def ignored_by_git(text: bytes, top: Path) -> set[bytes]:
    (top / ".gitignore").write_bytes(text)
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    found = subprocess.run(
        ["git", "-C", str(top), "check-ignore", "--no-index", "-z", "--stdin"],
        input=b"\0".join(TREE) + b"\0", stdout=subprocess.PIPE, env=environ, check=False,
    )  # fmt: skip
    assert found.returncode in (0, 1)
    return set(found.stdout.split(b"\0")) - {b""}


@settings(max_examples=80, deadline=None)
@given(st.lists(PATTERN, min_size=1, max_size=4))
def test_a_path_is_ignored_exactly_if_git_ignores_it(repository: Path, patterns: list[str]) -> None:
    kept = []
    for pattern in patterns:
        try:
            IgnoreRules(pattern.encode())
        except InvalidPattern:  # not in the subset
            continue
        kept.append(pattern)
    text = "\n".join(kept).encode()

    assert ignored_by_us(text, repository) == ignored_by_git(text, repository)


@pytest.mark.parametrize("pattern", ["a[", "[", "a\\", "[[:alpha:]]", "a\\/b", "[a/b]", "/", "!", "a//b", "[a"])
def test_what_the_subset_does_not_have_is_an_error_with_its_line(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match="line 2: "):
        IgnoreRules(f"*.o\n{pattern}\n".encode())


def test_the_default_patterns_are_names_at_any_depth_and_a_later_pattern_can_take_one_back() -> None:
    default, changed = IgnoreRules(DEFAULT_PATTERNS), IgnoreRules(DEFAULT_PATTERNS + b"!.venv\n/data/*.bin\n")

    for name in (b".git", b"__pycache__", b".ipynb_checkpoints", b".venv", b"node_modules"):
        assert default.ignores(b"a/b/" + name, name, is_folder=True)
        assert default.ignores(name, name, is_folder=False)
    assert not default.ignores(b".github", b".github", is_folder=True)
    assert not changed.ignores(b".venv", b".venv", is_folder=True)
    assert changed.ignores(b"data/x.bin", b"x.bin", is_folder=False)
    assert not changed.ignores(b"a/data/x.bin", b"x.bin", is_folder=False)


def test_names_that_are_not_text_are_matched_as_bytes() -> None:
    rules = IgnoreRules(b"\xff*\n*.\xe9\n")

    assert rules.ignores(b"\xff\xfe", b"\xff\xfe", is_folder=False)
    assert rules.ignores(b"a/\x80.\xe9", b"\x80.\xe9", is_folder=False)
    assert rules.ignores(b"\xffa\nb", b"\xffa\nb", is_folder=False)
    assert not rules.ignores(b"\xfe", b"\xfe", is_folder=False)
