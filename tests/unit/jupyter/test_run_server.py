"""What is put off until it is used, so that Jupyter starts sooner."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from remote_runtime.jupyter.remote import run_server

NAME = "rr_slow_grammar"


@pytest.fixture(autouse=True)
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "__init__.py").write_text("from .parts import PARTS\ndef check(term): return term in PARTS\n")
    (tmp_path / NAME / "parts.py").write_text("PARTS = ['iri']\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (NAME, f"{NAME}.parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_function_brings_its_module_when_it_is_called() -> None:
    run_server.import_lazily(NAME, "check")
    from rr_slow_grammar import check  # type: ignore[import-not-found]  # it is made above

    assert f"{NAME}.parts" not in sys.modules
    assert importlib.util.find_spec(NAME) is not None, "who asks whether it is installed is told so"
    assert check("iri")
    assert not check("url")
    assert f"{NAME}.parts" in sys.modules


def test_its_other_names_and_modules_are_there() -> None:
    run_server.import_lazily(NAME, "check")
    from rr_slow_grammar import PARTS, check, parts

    assert PARTS == ["iri"]
    assert parts.PARTS is PARTS
    assert check("iri")


def test_what_is_not_installed_stays_so() -> None:
    run_server.import_lazily("rr_no_such_module", "check")
    with pytest.raises(ImportError):
        importlib.import_module("rr_no_such_module")


def test_jupyter_starts_without_the_grammar() -> None:
    code = (
        "import sys\n"
        "from remote_runtime.jupyter.remote import run_server\n"
        "run_server.import_lazily(run_server.GRAMMAR_MODULE, 'is_valid_syntax')\n"
        "import jupyter_server.serverapp\n"
        "print('jsonschema' in sys.modules, 'lark' in sys.modules)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.split() == ["True", "False"]
