"""The errors speak in one voice: what happened as a sentence, why as its reason, and a hint that can be typed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import remote_runtime
from remote_runtime.core.errors import ERROR_CLASSES

ROOT = Path(remote_runtime.__file__).parent
KINDS = {kind.__name__ for kind in ERROR_CLASSES} | {"Failure", "from_code"}
WITHOUT_CODE = {"DeadlinePassed", "Interrupted"}
# Sentences may begin with a name, which keeps its letters; these words are none.
NO_NAMES = re.compile(r"(a|an|another|no|nobody|nothing|our|several|something|the|there|these|this|your)\b")
ORDERS = re.compile(r"(add|allow|ask|check|choose|compare|connect|give|install|make|mend|name|put|run|save|set|use)\b")


def calls() -> Iterator[tuple[str, list[ast.expr], dict[str, ast.expr]]]:
    for path in sorted(ROOT.rglob("*.py")):
        if path.parent.name == "demo":
            continue  # it speaks as Google does
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in KINDS:
                    arguments = node.args if name in WITHOUT_CODE else node.args[1:]
                    named = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", arguments, named


def text(node: ast.expr | None) -> str:
    """What can be read of it here; a ``{}`` stands for each value."""
    match node:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=parts):
            return "".join(text(part) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.BinOp(left=left, right=right):
            return text(left) + text(right)
    return ""


CALLS = [
    pytest.param(text((arguments + [None] * 3)[0]), text((arguments + [None] * 3)[1]),
                 text(named.get("hint") or (arguments + [None] * 3)[2]), id=where)
    for where, arguments, named in calls()
]  # fmt: skip


@pytest.mark.parametrize(("what", "why", "hint"), CALLS)
def test_an_error_is_a_sentence_a_reason_and_an_order(what: str, why: str, hint: str) -> None:
    assert not NO_NAMES.match(what)
    assert not ORDERS.match(hint)
    for words in (what, why, hint):
        assert not words.endswith("."), "a line is no paragraph"
        assert words.count("`") % 2 == 0
        assert not {"please", "oops", "sorry", "unfortunately"} & set(re.findall(r"\w+", words.lower()))


def test_there_are_errors_to_look_at() -> None:
    assert len(CALLS) > 100
