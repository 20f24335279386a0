"""Words that the project does not use, with those it uses instead, and where they stand.

``python tests/support/wording.py [PREFIX…]`` lists the places below these paths, or a count for each package.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

# A pattern, and what to write instead. Case counts: an order such as "Tell" is matched by its own row.
INSTEAD = {
    # the glossary
    r"\benter(s|ed|ing)?\b|\bEnters\b": "connect to, log in to; type",
    r"\b[Gg](et|ets|ot|etting) in\b": "authenticate, connect, log in",
    r"\b[Ll](ead|eads|eading|ed) (to|there|nowhere|into)\b": "forward to, point to",
    r"\b[Mm]end(s|ed|ing)?\b": "fix, reconnect, recover",
    r"\b[Tt](ake|akes|aken|ook|aking) (\S+ ){0,4}away\b": "remove, clean up",
    r"\b[Tt](ake|akes|aken|ook|aking) (\S+ ){0,4}down\b": "stop, shut down",
    r"\banew\b": "again; recreated",
    r"\b([Ii]s|[Aa]re|was|were|be|been|being) (not )?asked\b": "ask, prompt, request, with who does it as the subject",
    r"\b[Tt](ell|ells|old|elling)\b": "report, print, show, send, say",
    r"\b[Tt]he story\b": "progress",
    r"\b[Kk]nows? (none|no key|nothing)\b": "reject, have no",
    r"\b([Ii]s|[Aa]re|was|were|stays?|stayed|be) up\b(?! to)": "is running",
    r"\b[Gg](o|oes|one|oing) on\b|\bwent on\b": "continue, stay running",
    r"\bstands?\b|\bstood\b": "hold; be printed, be, be written",
    r"\b[Nn]othing answers\b": "connection refused, timed out",
    r"\b[Ss]econd factor": "2FA code, two-factor authentication",
    r"\b[Ss]ilent (link|connection)": "dead connection, keepalive timeout",
    r"\bmore rarely\b": "with exponential backoff",
    r"\b[Pp]ins?\b": "pinned host key",
    r"\b[Ff]orgotten (server|Jupyter)": "orphaned server",
    # words to drop
    r"\b[Cc]ur(e|es|ed|ing)\b": "fix",
    r"\b[Ss]tranger('s|s)?\b(?!-)": "unknown process",
    r"\b[Ww]hole (path|way)\b": "connection, route",
    r"\b[Aa] line a check\b": "one line for each check",
    r"\b[Hh]eld\b(?!-)": "be, keep, lock, store, have, in use by",
    r"\b[Hh]eard\b": "receive, connect, respond",
    r"\bproves? (itself|that it knows)\b": "authenticate",
    # counted dialect, and the rules
    r"\b([Nn]o|[Ss]ome|[Ee]very)body('s)?\b": "the user, another user, anyone; or name the agent",
    r"\b[Ww]ho(m)?ever\b": "anyone who; any process that",
    r"\b[Oo]f (ours|yours|theirs|mine)\b": "remote-runtime's, your",
    r"\b[Ww]e\b|\bus\b(?!-)|\b[Oo]urs?\b|\b[Oo]urselves\b": "remote-runtime, this",
    r"\b[Mm]ay not\b": "can't, isn't allowed to, doesn't have permission",
    r"\bdo(es)? not fit\b|\bdoesn't fit\b": "expected X, got Y; X requires Y",
    r"\b[Cc]alled off\b": "cancelled",
}
# The same for what the program prints. Docstrings, comments and documents may be formal.
INSTEAD_IN_MESSAGES = {r"\b[Cc]annot\b": "can't"}
# These speak as Google does, answer programs, or have what other programs print.
FORMAL = tuple(
    f"remote_runtime/{place}"
    for place in ("demo/", "bridge/", "compute/worker.py", "core/fast_dataclass.py", "jupyter/remote/run_server.py")
)
PATTERN = re.compile("|".join(f"(?P<w{at}>{words})" for at, words in enumerate(INSTEAD)).replace(" ", r"[\s#]+"))
COMMENTS = re.compile(r"(?:^ *# .*\n)+|  # .*$", re.MULTILINE)
CODE = re.compile(r"``[^`\n]*``|`[^`\n]*`|https?://\S+")


class Hit(NamedTuple):
    path: str
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.words!r}; write: {self.instead}"


def files() -> list[Path]:
    """Everything that people read: the package, the scripts and the documents."""
    found = [path for suffix in ("py", "yaml") for path in (ROOT / "remote_runtime").rglob(f"*.{suffix}")]
    found += [*(ROOT / "profiles").glob("*.yaml"), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found += (ROOT / "skills").rglob("*.md")
    found += [path for path in (ROOT / "scripts").rglob("*") if path.is_file() and _is_text(path)]
    return sorted(found)


def hits(paths: Iterable[Path], root: Path = ROOT) -> Iterator[Hit]:
    for path in paths:
        name = path.relative_to(root).as_posix()
        for line, text in sentences(path):
            prose = CODE.sub("``", text)
            for found in PATTERN.finditer(prose):
                instead = list(INSTEAD.values())[int((found.lastgroup or "w0")[1:])]
                yield Hit(name, line + prose.count("\n", 0, found.start()), " ".join(found[0].split()), instead)


def message_hits(paths: Iterable[Path], root: Path = ROOT) -> Iterator[Hit]:
    """The words of ``INSTEAD_IN_MESSAGES`` in strings that are no docstrings."""
    for path in paths:
        name = path.relative_to(root).as_posix()
        if path.suffix != ".py" or not name.startswith("remote_runtime/") or name.startswith(FORMAL):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.If):
                node.body = [each for each in node.body if not _is_docstring(each)] or [ast.Pass()]
        for line, text in _strings(tree):
            for words, instead in INSTEAD_IN_MESSAGES.items():
                yield from (Hit(name, line, found[0], instead) for found in re.finditer(words, CODE.sub("``", text)))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Texts with the line where each begins: of Python its strings of several words and its comments."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py" or text.startswith("#!/usr/bin/env python"):
        yield from _strings(ast.parse(text))
        for found in COMMENTS.finditer(text):
            yield text.count("\n", 0, found.start()) + 1, found[0]
    else:
        yield 1, text


def _strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """``{}`` stands for each value in an f-string. A string of one word is a code, a key or a name."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="re"))):
            return  # what other programs write
        case ast.JoinedStr(values=parts):
            words = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
            yield node.lineno, words
            for part in parts:
                if not isinstance(part, ast.Constant):
                    yield from _strings(part)
        case ast.Constant(value=str(words)) if re.search(r"\s", words.strip()):
            yield node.lineno, words
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _strings(child)


def _is_text(path: Path) -> bool:
    return path.suffix in ("", ".py", ".sh", ".md")


def main(prefixes: list[str]) -> None:
    found = [*hits(files()), *message_hits(files())]
    lines = [str(hit) for hit in found if prefixes and hit.path.startswith(tuple(prefixes))]
    if not prefixes:
        places = Counter("/".join(hit.path.split("/")[:2]) for hit in found)
        lines += [f"{count:5} {place}" for place, count in sorted(places.items())]
        lines += [f"{count:5} {instead}" for instead, count in Counter(hit.instead for hit in found).most_common()]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1:])
