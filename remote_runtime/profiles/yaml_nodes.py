"""Parse a profile's text into YAML nodes, which know their lines. No object is constructed from a tag.

A hostile file costs little: it has at most 1 MiB and 10 000 nodes, which count as often as aliases repeat them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ProfileProblem
from ..core.sanitize import clean
from .validation_errors import ValidationError, error_at, expected, line_number, problem_at, quoted

if TYPE_CHECKING:
    from yaml.nodes import MappingNode, Node

MAX_FILE_BYTES = 1 << 20
MAX_NODES = 10_000
_TAG_PREFIX = "tag:yaml.org,2002:"


def read_text(path: Path) -> str:
    """Raises ``ValidationError`` when the file is too large or not UTF-8, and ``OSError``."""
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValidationError(ProfileProblem(1, 1, "", expected("a file of at most 1 MiB", "a larger one")))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        before = content[: exc.start]
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = expected("UTF-8", "other bytes; save the file as UTF-8")
        raise ValidationError(ProfileProblem(before.count(b"\n") + 1, column, "", message)) from exc


def parse(text: str) -> Node:
    """The root node of the one document in ``text``. Raises ``ValidationError``."""
    import yaml

    try:
        root: Node | None = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        message = "not valid YAML: " + _parser_message(exc.problem or exc.context)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise ValidationError(ProfileProblem(line, column, "", message)) from None
    except yaml.reader.ReaderError as exc:
        before = text[: exc.position]
        line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
        raise ValidationError(ProfileProblem(line, column, "", "not valid YAML: a control character")) from exc
    except RecursionError as exc:
        raise ValidationError(ProfileProblem(1, 1, "", expected("three levels of keys", "many more"))) from exc
    if root is None:
        raise ValidationError(ProfileProblem(1, 1, "", expected("`version` and `target`", "an empty file")))
    _check_node_count(root)
    return root


def key_value_nodes(mapping: MappingNode, key: str) -> tuple[dict[str, tuple[Node, Node]], list[ProfileProblem]]:
    """The key node and the value node of each key, and the problems with keys that are no scalars or given twice."""
    from yaml.nodes import ScalarNode

    nodes: dict[str, tuple[Node, Node]] = {}
    problems: list[ProfileProblem] = []
    for name, value in mapping.value:
        if not isinstance(name, ScalarNode):
            problems.append(problem_at(name, key, expected("a key", describe_type(name))))
        elif name.value in nodes:
            first = line_number(nodes[name.value][0])
            problems.append(problem_at(name, join_key(key, name.value), f"duplicate key, first set in line {first}"))
        else:
            nodes[name.value] = (name, value)
    return nodes, problems


def join_key(key: str, name: str) -> str:
    """The dotted key of ``name`` in the section ``key``, safe to show."""
    is_plain = name.replace("_", "").isalnum() and name.isascii() and len(name) < 60
    # Of NAME=VALUE in the place of a name, the value may be a secret.
    shown = name if is_plain else quoted(name.partition("=")[0] + "=…" if "=" in name else name)
    return f"{key}.{shown}" if key else shown


def yaml_tag(node: Node) -> str:
    """YAML's own type without its prefix: ``str``, ``int``, ``float``, ``bool``, ``null``, ``seq``, ``map``, …"""
    return str(node.tag).removeprefix(_TAG_PREFIX)


def is_null(node: Node) -> bool:
    return yaml_tag(node) == "null"


def describe_type(node: Node) -> str:
    """The node's type in words, without its value, which may be a secret."""
    words = {
        "str": "text",
        "int": "a number",
        "float": "a number",
        "bool": "a YAML boolean",
        "null": "nothing",
        "seq": "a list",
        "map": "a mapping",
        "timestamp": "a YAML date",
    }
    return words.get(yaml_tag(node)) or "a value with a tag (put text that begins with ! in quotes)"


def _check_node_count(root: Node) -> None:
    sizes: dict[int, int] = {}
    try:
        size = _expanded_size(root, sizes)
    except RecursionError as exc:
        raise error_at(root, "", expected("three levels of keys", "more, or an alias of itself")) from exc
    if size > MAX_NODES:
        raise error_at(root, "", expected(f"at most {MAX_NODES} values, counting each use of an alias", "more"))


def _expanded_size(node: Node, sizes: dict[int, int]) -> int:
    from yaml.nodes import CollectionNode, MappingNode

    if not isinstance(node, CollectionNode):
        return 1
    if id(node) not in sizes:
        children = [part for pair in node.value for part in pair] if isinstance(node, MappingNode) else node.value
        sizes[id(node)] = 1 + sum(_expanded_size(child, sizes) for child in children)
    return sizes[id(node)]


def _parser_message(text: str | None) -> str:
    """PyYAML's message without names of aliases, anchors and tags: a password may begin with ``*``, ``&`` or ``!``."""
    words = re.sub(r"'(?![<\\]).{2,}'", "a name", " ".join((text or "parsing failed").split()))
    hint = "; put text that begins with *, & or ! in quotes" if "a name" in words else ""
    return clean(words, 200) + hint
