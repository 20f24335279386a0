"""ARCHITECTURE.md agrees with the folders, the imports and the contract; identifiers are standard terms."""

from __future__ import annotations

import ast
import configparser
import functools
import io
import keyword
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "remote_runtime"
TOP_MODULES = {"__init__", "__main__", "_version", "api"}
MAX_MODULE_LINES = 300
NOT_OURS = {*keyword.kwlist, "SO_LINGER"}

# Words of a private vocabulary that the code once had, and that a reader who knows SSH and asyncio has to decode.
PRIVATE_WORDS = (
    *("admission", "ahead", "audience", "called_off", "census", "debts", "disturbance", "door", "endings", "errand"),
    *("figures", "flow", "held", "hurried", "journey", "lane", "leads_to", "let_go", "linger", "owed", "passage"),
    *("patient", "pulse", "reception", "relief", "revisit", "standing", "stillness", "story", "ways", "wish"),
)


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@functools.cache
def table() -> dict[str, set[str]]:
    """Each package or module of the table, and what it may import."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \|.*\|([^|]*)\|$", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", allowed)) for name, allowed in rows}


@functools.cache
def imports() -> dict[str, set[str]]:
    """What each package imports of the others, at any depth and wherever in a function."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sources():
        module = path.relative_to(ROOT).with_suffix("").parts
        unit = module[1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*module[: len(module) - node.level], *(node.module or "").split(".")]
                units = {alias.name for alias in node.names} if base[1:] in ([], [""]) else {base[1]}
                found[unit] |= {name for name in units - {unit} if (PACKAGE / name).is_dir() or name in TOP_MODULES}
    return found


def test_the_table_lists_the_packages_that_are_there() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(table()) - TOP_MODULES == folders
    assert {path.stem for path in PACKAGE.glob("*.py")} == TOP_MODULES


@pytest.mark.parametrize("unit", [*sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")), "api"])
def test_a_package_imports_what_the_table_allows(unit: str) -> None:
    assert imports()[unit] - {"_version"} <= table()[unit]


def test_the_contract_orders_the_same_packages() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = config["importlinter:contract:layers"]["layers"].strip().split("\n")
    layers = [set(line.replace("|", " ").split()) for line in lines]
    depth = {name: index for index, layer in enumerate(layers) for name in layer}
    assert len(layers) == 9
    assert set(depth) == set(table()) | {"__main__", "_version"} - {"__init__"}
    for name, allowed in table().items():
        assert all(depth[name] < depth[other] for other in allowed), name


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_files_that_a_page_names_are_there(page: str) -> None:
    named = set(re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", (ROOT / page).read_text(encoding="utf-8")))
    homes = (ROOT, PACKAGE, PACKAGE / "cli", PACKAGE / "jupyter", ROOT / "tests" / "support")
    assert len(named) > 20
    assert [name for name in sorted(named) if not any((home / name).exists() for home in homes)] == []


def identifiers() -> Iterator[tuple[str, str]]:
    for path in sources():
        where = path.relative_to(PACKAGE).as_posix()
        yield where, path.stem
        for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
            if token.type == tokenize.NAME and token.string not in NOT_OURS:
                yield where, token.string


def private_words_in(name: str) -> list[str]:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return [word for word in PRIVATE_WORDS if f"_{word}_" in f"_{snake}_"]


def test_identifiers_are_standard_terms() -> None:
    assert sorted({(where, name) for where, name in identifiers() if private_words_in(name)}) == []


@pytest.mark.parametrize("name", ["held", "_story", "Lane", "call_let_go", "WishList", "LEADS_TO"])
def test_a_private_word_is_noticed(name: str) -> None:
    assert private_words_in(name)


def test_a_class_name_exists_once() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_no_module_is_too_long_to_read() -> None:
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()
    }
    assert {path: lines for path, lines in lengths.items() if lines > MAX_MODULE_LINES} == {}
