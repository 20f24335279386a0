"""Which paths `sync` leaves out: patterns as in a .gitignore file, in a subset of its syntax.

Sent to the machine: standard library, Python 3.8 or newer. A line is a pattern. Empty lines, and lines that begin with
``#``, are none. Spaces at the end do not count. The last pattern that matches a path decides; nothing inside an ignored
folder is looked at.

    NAME      a file, link or folder of this name, at any depth
    NAME/     a folder of this name
    A/B, /A   with a slash at the beginning or in the middle: only this path, seen from the top
    *  ?      any characters, one character; never a slash
    [a-c] [!a-c]   one of these characters, or none of them; never a slash
    **/A  A/**  A/**/B   any number of folders; everything inside A
    !PATTERN  not ignored after all
    \\X        the character X itself
"""

from __future__ import annotations

import re

IGNORE_FILE = b".remote-runtime-ignore"
DEFAULT_PATTERNS = b".git\n__pycache__\n.ipynb_checkpoints\n.venv\nnode_modules\n"
MAX_IGNORE_BYTES = 1 << 20
_SPECIAL = frozenset(b"*?[\\")


class InvalidPattern(ValueError):
    """``line``: its number, from 1. The text says what is not supported."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


class IgnoreRules:
    """Patterns in their order. Raises ``InvalidPattern`` for what the subset does not have."""

    def __init__(self, text: bytes) -> None:
        rules = [_parse(number, line) for number, line in enumerate(text.split(b"\n"), 1)]
        self._rules = [rule for rule in rules if rule is not None][::-1]
        # Most paths match no pattern; where all are plain names, a set decides.
        plain = [rule.plain_name for rule in self._rules]
        self._names = frozenset(name for name in plain if name)
        self._only_names = all(plain)
        every = b"|".join(b"(?:" + rule.regex + b")" for rule in self._rules)
        self._any = re.compile(every or b"(?!)", re.DOTALL)

    def ignores(self, path: bytes, name: bytes, *, is_folder: bool) -> bool:
        """``path``: from the top, with slashes; ``name``: its last part. The folders above are not looked at."""
        if self._only_names:
            return name in self._names
        if self._any.fullmatch(path) is None:
            return False
        for rule in self._rules:
            if (is_folder or not rule.folders_only) and rule.compiled.fullmatch(path) is not None:
                return rule.ignores
        return False


class _IgnoreRule:
    """``regex`` matches all of a path. ``plain_name``: the name, if the pattern is no more than one."""

    def __init__(self, pattern: bytes, *, ignores: bool, folders_only: bool, number: int) -> None:
        anchored = b"/" in pattern
        self.regex = _path_regex(pattern[pattern.startswith(b"/") :], number)
        if not anchored:
            self.regex = b"(?:.*/)?" + _part_regex(pattern, number)
        self.compiled = re.compile(self.regex, re.DOTALL)
        self.ignores = ignores
        self.folders_only = folders_only
        is_plain = ignores and not folders_only and not anchored and not _SPECIAL.intersection(pattern)
        self.plain_name = pattern if is_plain else b""


def _parse(number: int, line: bytes) -> _IgnoreRule | None:
    if number == 1 and line.startswith(b"\xef\xbb\xbf"):
        line = line[3:]
    pattern = _strip_end(line[:-1] if line.endswith(b"\r") else line)
    if not pattern or pattern.startswith(b"#"):
        return None
    ignores = not pattern.startswith(b"!")
    pattern = pattern if ignores else pattern[1:]
    folders_only = pattern.endswith(b"/")
    pattern = pattern[:-1] if folders_only else pattern
    if not pattern or pattern == b"/" or b"//" in pattern or pattern.endswith(b"/"):
        raise InvalidPattern(number, "it names nothing")
    return _IgnoreRule(pattern, ignores=ignores, folders_only=folders_only, number=number)


def _strip_end(line: bytes) -> bytes:
    """Without the spaces at its end; the first of them stays if a backslash precedes it."""
    kept = line.rstrip(b" ")
    slashes = len(kept) - len(kept.rstrip(b"\\"))
    return kept + b" " if slashes % 2 and len(kept) < len(line) else kept


def _path_regex(pattern: bytes, number: int) -> bytes:
    parts = pattern.split(b"/")
    texts: list[bytes] = []
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        if part == b"**":
            texts.append(b".+" if is_last else b"(?:.*/)?")
        else:
            texts.append(_part_regex(part, number) + (b"" if is_last else b"/"))
    return b"".join(texts)


def _part_regex(part: bytes, number: int) -> bytes:
    texts: list[bytes] = []
    at = 0
    while at < len(part):
        char = part[at : at + 1]
        at += 1
        if char == b"*":
            if not texts or texts[-1] != b"[^/]*":
                texts.append(b"[^/]*")
        elif char == b"?":
            texts.append(b"[^/]")
        elif char == b"[":
            text, at = _class_regex(part, at, number)
            texts.append(text)
        elif char == b"\\":
            if at == len(part):
                raise InvalidPattern(number, "a backslash at the end")
            texts.append(re.escape(part[at : at + 1]))
            at += 1
        else:
            texts.append(re.escape(char))
    return b"".join(texts)


def _class_regex(part: bytes, at: int, number: int) -> tuple[bytes, int]:
    """The characters in brackets, and the position behind the closing one. A bracket that comes first is one of
    them."""
    negated = part[at : at + 1] in (b"!", b"^")
    at += negated
    begin = at
    members: set[int] = set()
    while at == begin or part[at : at + 1] != b"]":
        low, at = _class_member(part, at, number)
        high = low
        if part[at : at + 1] == b"-" and part[at + 1 : at + 2] not in (b"]", b""):
            high, at = _class_member(part, at + 1, number)
        members.update(range(low, high + 1))
    chosen = (set(range(256)) - members if negated else members) - {ord("/")}
    if not chosen:
        return b"(?!)", at + 1
    return b"[" + b"".join(b"\\x%02x" % code for code in sorted(chosen)) + b"]", at + 1


def _class_member(part: bytes, at: int, number: int) -> tuple[int, int]:
    if part[at : at + 1] == b"[" and part[at + 1 : at + 2] in (b":", b".", b"="):
        raise InvalidPattern(number, "a named class such as [:alpha:]")
    at += part[at : at + 1] == b"\\"
    if at >= len(part):
        raise InvalidPattern(number, "a bracket that is not closed")
    return part[at], at + 1
