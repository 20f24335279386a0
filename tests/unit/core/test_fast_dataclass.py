"""``fast_dataclass`` means what the standard library's does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remote_runtime.core import fast_dataclass as module
from remote_runtime.core.fast_dataclass import fast_dataclass

PACKAGE = Path(module.__file__).parents[1]
# They import nothing of ours, or nothing of the program's.
ALONE = ("bridge", "demo", "jupyter/remote")


@fast_dataclass(frozen=True)
class Ours:
    """One."""

    name: str
    size: int = 3
    words: list[str] = dataclasses.field(default_factory=list, compare=False)
    hidden: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True)
class Standard:
    """One."""

    name: str
    size: int = 3
    words: list[str] = dataclasses.field(default_factory=list, compare=False)
    hidden: str = dataclasses.field(default="", repr=False)


@fast_dataclass(frozen=True)
class Wider(Ours):
    """One more."""

    width: float = 0.5


SEEN: dict[str, Callable[[Any], object]] = {
    "by position": lambda made: vars(made("a", 1, ["b"], "c")),
    "by name, in whatever order": lambda made: list(vars(made(hidden="c", size=1, name="a")).items()),
    "repr": lambda made: repr(made("a", hidden="b")).removeprefix(made.__name__),
    "equal": lambda made: (made("a", 1) == made("a", 1, ["not compared"]), made("a") != made("b"), made("a") == "a"),
    "hash": lambda made: hash(made("a", 1, ["not hashed"])),
    "defaults are not shared": lambda made: made("a").words is made("a").words,
    "replace": lambda made: vars(dataclasses.replace(made("a"), size=4)),
    "as a dictionary": lambda made: dataclasses.asdict(made("a", words=["b"])),
    "a copy": lambda made: copy.deepcopy(made("a")) == copy.copy(made("a")) == made("a"),
    "a pickle": lambda made: pickle.loads(pickle.dumps(made("a"))) == made("a"),  # noqa: S301  # made here
    "matched": lambda made: made.__match_args__,
}
FROZEN = dataclasses.FrozenInstanceError
REFUSED: dict[str, tuple[type[Exception], Callable[[Any], object]]] = {
    "nothing": (TypeError, lambda made: made()),
    "an unknown name": (TypeError, lambda made: made("a", length=1)),
    "one too many": (TypeError, lambda made: made("a", 1, [], "", None)),
    "one twice": (TypeError, lambda made: made("a", name="b")),
    "a wrong replacement": (TypeError, lambda made: dataclasses.replace(made("a"), length=1)),
    "a change": (FROZEN, lambda made: setattr(made("a"), "size", 1)),
    "a deletion": (FROZEN, lambda made: delattr(made("a"), "size")),
}


@pytest.mark.parametrize("what", SEEN)
def test_it_behaves_as_the_standard_one(what: str) -> None:
    assert SEEN[what](Ours) == SEEN[what](Standard)


@pytest.mark.parametrize("made", [Ours, Standard])
@pytest.mark.parametrize("what", REFUSED)
def test_it_refuses_what_the_standard_one_refuses(what: str, made: type[Any]) -> None:
    expected, attempt = REFUSED[what]
    with pytest.raises(expected):
        attempt(made)


def test_a_class_inherits_fields_and_equals_only_its_own_kind() -> None:
    assert repr(Wider("a", width=1)) == "Wider(name='a', size=3, words=[], width=1)"
    assert Wider("a") == Wider("a")
    assert Wider("a") != Ours("a")


def test_methods_of_the_classs_own_are_not_replaced_in_silence() -> None:
    class Loud:
        name: str

        def __repr__(self) -> str:
            return "loud"

    with pytest.raises(TypeError, match="Loud has its own __repr__"):
        fast_dataclass(frozen=True)(Loud)


def test_every_value_that_a_command_loads_is_made_so() -> None:
    made_by_the_standard_one = [
        path.relative_to(PACKAGE).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"^ *@(dataclasses\.)?dataclass\(frozen=True\)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert [path for path in made_by_the_standard_one if not path.startswith(ALONE)] == []
    assert made_by_the_standard_one
