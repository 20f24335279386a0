"""Filters of list requests: ``name = "vm"``, ``labels.team=vision``, ``(name eq "a.*") (status != RUNNING)``.

Grammar, as the API's reference describes it: terms ``FIELD OPERATOR VALUE``; ``=`` and ``!=`` compare, ``:`` finds a
part and ``FIELD:*`` a field that is there, ``<`` ``<=`` ``>`` ``>=`` order; ``eq`` and ``ne`` match an RE2 expression
against the whole value. Terms are joined by ``AND`` (or by nothing) and ``OR``, negated by ``NOT`` or ``-``, grouped by
parentheses. OR binds tighter than AND.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

from .api_errors import ApiError, invalid
from .values import Json

Test = Callable[[Json], bool]

_TOKEN = re.compile(
    r"""\s*(?: (?P<mark>[()]) | (?P<operator><=|>=|!=|=|:|<|>)
    | "(?P<double>(?:[^"\\]|\\.)*)" | '(?P<single>(?:[^'\\]|\\.)*)'
    | (?P<word>[^\s()=:!<>"']+) )""",
    re.VERBOSE,
)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def parse(expression: str) -> Test:
    """Raises ``ApiError`` 400 for what is not a filter."""
    if not expression.strip():
        return lambda resource: True
    parser = _Parser(expression)
    test = parser.conjunction()
    if parser.peek() is not None:
        raise parser.complaint()
    return test


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens: list[tuple[str, str]] = []
        position, end = 0, len(expression.rstrip())
        while position < end:
            match = _TOKEN.match(expression, position)
            if match is None:
                raise self.complaint()
            kind = str(match.lastgroup)
            self._tokens.append((kind, match[kind]))
            position = match.end()

    def complaint(self) -> ApiError:
        return invalid(f"Invalid value for field 'filter': '{self._expression}'. Invalid list filter expression.")

    def peek(self) -> tuple[str, str] | None:
        return self._tokens[0] if self._tokens else None

    def conjunction(self) -> Test:
        tests = [self._disjunction()]
        while self.peek() not in (None, ("mark", ")")):
            self._accept("word", "AND")
            tests.append(self._disjunction())
        return lambda resource: all(test(resource) for test in tests)

    def _disjunction(self) -> Test:
        tests = [self._negation()]
        while self._accept("word", "OR"):
            tests.append(self._negation())
        return lambda resource: any(test(resource) for test in tests)

    def _negation(self) -> Test:
        following = self.peek()
        if self._accept("word", "NOT") or self._accept("word", "-"):
            test = self._negation()
            return lambda resource: not test(resource)
        if following and following[0] == "word" and following[1].startswith("-"):
            self._tokens[0] = ("word", following[1][1:])
            test = self._negation()
            return lambda resource: not test(resource)
        if self._accept("mark", "("):
            test = self.conjunction()
            if not self._accept("mark", ")"):
                raise self.complaint()
            return test
        return self._term()

    def _term(self) -> Test:
        field = self._take("word")
        kind, sign = self._take_any()
        if kind not in ("operator", "word") or (kind == "word" and sign not in ("eq", "ne")):
            raise self.complaint()
        kind, value = self._take_any()
        if kind in ("double", "single"):
            value = re.sub(r"\\(.)", r"\1", value) if sign not in ("eq", "ne") else value.replace('\\"', '"')
        elif kind != "word":
            raise self.complaint()
        path = field.split(".")
        matches = _comparison(sign, value)
        if sign in ("!=", "ne"):
            return lambda resource: not any(matches(found) for found in _values(resource, path))
        return lambda resource: any(matches(found) for found in _values(resource, path))

    def _accept(self, kind: str, text: str) -> bool:
        if self.peek() == (kind, text):
            del self._tokens[0]
            return True
        return False

    def _take(self, kind: str) -> str:
        found, text = self._take_any()
        if found != kind:
            raise self.complaint()
        return text

    def _take_any(self) -> tuple[str, str]:
        if not self._tokens:
            raise self.complaint()
        return self._tokens.pop(0)


def _comparison(sign: str, value: str) -> Callable[[str], bool]:
    if sign in ("eq", "ne"):
        try:
            pattern = re.compile(value, re.DOTALL)
        except re.error as error:
            raise invalid(f"Invalid value for field 'filter': '{value}'. {error}") from error
        return lambda found: pattern.fullmatch(found) is not None
    if sign == ":":
        if value == "*":
            return lambda found: True
        return lambda found: value.strip("*").lower() in found.lower()
    if sign in _ORDER:
        return lambda found: _ORDER[sign](_order(found, value), 0)
    if "*" in value:
        glob = re.compile(".*".join(re.escape(part) for part in value.split("*")), re.DOTALL)
        return lambda found: glob.fullmatch(found) is not None
    return lambda found: found == value


def _order(left: str, right: str) -> float:
    """Negative, 0 or positive; as numbers if both are."""
    try:
        return float(left) - float(right)
    except ValueError:
        return (left > right) - (left < right)


def _values(resource: object, path: list[str]) -> list[str]:
    """All values at ``path``, through lists; nothing if the field is not there."""
    if isinstance(resource, list):
        return [value for element in resource for value in _values(element, path)]
    if not path:
        return [] if isinstance(resource, dict) else [_as_text(resource)]
    if isinstance(resource, dict) and path[0] in resource:
        return _values(resource[path[0]], path[1:])
    return []


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
