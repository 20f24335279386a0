"""The project speaks in one voice: its words are those that users search for, and an error is what happened as a
sentence, why as its reason, and a hint that can be typed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import remote_runtime
from remote_runtime.core.errors import ERROR_CLASSES
from tests.support import wording

ROOT = Path(remote_runtime.__file__).parent
KINDS = {kind.__name__ for kind in ERROR_CLASSES} | {"ReportedError"}
PARTS = ("what", "why", "hint")
WITHOUT_CODE = {"DeadlinePassed", "Interrupted"}
# Sentences may begin with a name, which keeps its letters; these words are none.
NO_NAMES = re.compile(r"(a|an|another|no|nobody|nothing|our|several|something|the|there|these|this|your)\b")
ORDERS = re.compile(r"(add|allow|ask|check|choose|compare|connect|give|install|make|mend|name|put|run|save|set|use)\b")


def errors() -> Iterator[tuple[str, str, ast.expr | None, ast.AST]]:
    """Each part of each error that is made somewhere: the place as ``file:function``, the part's name, its expression
    (None where it is left out), and the function around it."""
    for path in sorted(ROOT.rglob("*.py")):
        where = path.relative_to(ROOT)
        if where.parts[0] == "demo":
            continue  # it speaks as Google does
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _errors_in(tree, tree, where.as_posix())


def _errors_in(node: ast.AST, scope: ast.AST, where: str) -> Iterator[tuple[str, str, ast.expr | None, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _errors_in(child, child, f"{where}:{child.name}")
            continue
        if isinstance(child, ast.Call):
            name = child.func.id if isinstance(child.func, ast.Name) else getattr(child.func, "attr", "")
            if name in KINDS:
                positions = child.args if name in WITHOUT_CODE else child.args[1:]
                given = dict(zip(PARTS, positions, strict=False))
                given.update({keyword.arg: keyword.value for keyword in child.keywords if keyword.arg in PARTS})
                for part in PARTS:
                    yield where, part, given.get(part), scope
        yield from _errors_in(child, scope, where)


def texts(node: ast.expr | None, scope: ast.AST) -> set[str]:
    """What it can be, as far as this function's own text tells; ``{}`` stands for each value, and nothing is returned
    for a text that comes from elsewhere."""
    match node:
        case None:
            return {""}
        case ast.Constant(value=str(words)):
            return {words}
        case ast.JoinedStr(values=parts):
            return {"".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            ends = texts(right, scope) or {"{}"}
            return {begin + end for begin in texts(left, scope) for end in ends}
        case ast.IfExp(body=body, orelse=orelse):
            return texts(body, scope) | texts(orelse, scope)
        case ast.BoolOp(values=values):
            return set().union(*(texts(value, scope) for value in values))
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(words)), attr="format")):
            return {words}
        case ast.Name(id=name):
            values = [each.value for each in ast.walk(scope) if isinstance(each, ast.Assign) and _assigns(each, name)]
            return set().union(*(texts(value, scope) for value in values))
    return set()


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def fault_of(part: str, words: str) -> str:
    if part == "what" and NO_NAMES.match(words):
        return "begins in lower case"
    if part == "hint" and ORDERS.match(words):
        return "begins in lower case"
    if words.endswith("."):
        return "a line is no paragraph"
    if words.count("`") % 2:
        return "a backtick is left open"
    if unwanted := {"please", "oops", "sorry", "unfortunately"} & set(re.findall(r"\w+", words.lower())):
        return f"says {', '.join(sorted(unwanted))}"
    return ""


def test_an_error_is_a_sentence_a_reason_and_an_order() -> None:
    offenders = [
        f"{where} {part}: {fault}: {words}"
        for where, part, node, scope in errors()
        for words in sorted(texts(node, scope))
        if (fault := fault_of(part, words))
    ]
    assert not offenders


def test_nearly_every_error_says_here_what_happened() -> None:
    """The others pass on the words of another error, and are judged where those were written."""
    made = list(errors())
    unread = {where for where, part, node, scope in made if part == "what" and not texts(node, scope)}
    assert len(made) > 600
    assert len(unread) <= 20, sorted(unread)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("what", "the disk is full"),
        ("hint", "run it"),
        ("why", "It failed."),
        ("why", "an `odd one"),
        ("what", "Sorry"),
    ],
)
def test_each_fault_is_noticed(part: str, words: str) -> None:
    assert fault_of(part, words)


def test_people_read_only_words_that_they_search_for() -> None:
    assert [str(hit) for hit in wording.hits(wording.files())] == []
    assert [str(hit) for hit in wording.message_hits(wording.files())] == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('raise Failure("busy", f"{name} may not enter it")', ["may not", "enter"]),
        ('def f():\n    """The file that is\n    told."""', ["told"]),
        ("x = 1  # of ours", ["of ours"]),
        ('text = "a stranger answers"', ["stranger"]),
        ('state = "stranger"', []),
        ('text = "the code `stranger-answered`, and `enter`"', []),
        ('found = re.search(r"you may not enter", text)', []),
        ('text = "held-vm in us-central1-a"', []),
    ],
)
def test_each_word_is_noticed_in_prose_alone(source: str, words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [hit.words for hit in wording.hits([path], tmp_path)] == words
