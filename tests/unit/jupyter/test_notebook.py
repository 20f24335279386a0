"""Notebooks of recorded outputs: what Jupyter's pages would show, valid whatever a kernel sends."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_runtime.jupyter.notebook import build_notebook
from remote_runtime.jupyter.outputs import OutputEvent

TYPES = ("execute_input", "stream", "display_data", "update_display_data", "execute_result", "error", "clear_output")


def event(kind: str, content: dict[str, Any], request: str = "r", *, earlier: bool = False) -> OutputEvent:
    return OutputEvent("k", request, kind, 0.0, earlier, content)


def stream(text: str, name: str = "stdout") -> OutputEvent:
    return event("stream", {"name": name, "text": text})


def display(text: str, display_id: str = "", kind: str = "display_data", request: str = "r") -> OutputEvent:
    transient = {"display_id": display_id} if display_id else {}
    return event(kind, {"data": {"text/plain": text}, "metadata": {}, "transient": transient}, request)


def outputs(*events: OutputEvent) -> list[Any]:
    notebook = build_notebook(events)
    nbformat.validate(notebook)
    return [output for cell in notebook["cells"] for output in cell["outputs"]]


def texts(*events: OutputEvent) -> list[str]:
    return [each.get("text") or each["data"]["text/plain"] for each in outputs(*events)]


def test_each_request_is_a_cell_with_its_code() -> None:
    notebook = build_notebook(
        [
            event("execute_input", {"code": "a = 1\na", "execution_count": 3}, "r1", earlier=True),
            event("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3}, "r1"),
            event("execute_input", {"code": "1 / 0", "execution_count": 4}, "r2"),
            event("error", {"ename": "ZeroDivisionError", "evalue": "no", "traceback": ["\x1b[31mline"]}, "r2"),
        ]
    )
    nbformat.validate(notebook)
    assert [(cell["source"], cell["execution_count"]) for cell in notebook["cells"]] == [("a = 1\na", 3), ("1 / 0", 4)]
    assert notebook["cells"][0]["outputs"][0]["data"] == {"text/plain": "1"}
    assert notebook["cells"][1]["outputs"][0]["traceback"] == ["\x1b[31mline"]
    assert [cell["metadata"] for cell in notebook["cells"]] == [
        {"remote_runtime": {"earlier_output_is_missing": True}},
        {},
    ]


def test_streams_that_follow_each_other_are_one_output() -> None:
    found = outputs(stream("a"), stream("b\n"), stream("c", "stderr"), stream("d"))
    assert [(each["name"], each["text"]) for each in found] == [("stdout", "ab\n"), ("stderr", "c"), ("stdout", "d")]


def test_outputs_are_cleared_at_once_or_by_the_next_output() -> None:
    assert texts(stream("a"), event("clear_output", {"wait": False}), stream("b")) == ["b"]
    assert texts(stream("a"), event("clear_output", {"wait": True})) == ["a"]
    assert texts(stream("a"), event("clear_output", {"wait": True}), stream("b")) == ["b"]


def test_a_display_is_updated_wherever_it_is() -> None:
    update = display("new", "d", "update_display_data", "r2")
    assert texts(display("old", "d"), display("other"), display("old", "d", request="r2"), update) == [
        "new",
        "other",
        "new",
    ]


@pytest.mark.parametrize("data", [{"image/png": "iVBORw0KGgo="}, {"application/vnd.x+json": {"a": [1]}}])
def test_images_and_json_stay_as_they_are(data: dict[str, Any]) -> None:
    [output] = outputs(event("display_data", {"data": data, "metadata": {"image/png": {"width": 3}}}))
    assert output["data"] == data
    assert output["metadata"] == {"image/png": {"width": 3}}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text/plain", "display_id", "x"]), inner)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(
    ["code", "execution_count", "name", "text", "data", "metadata", "transient", "ename", "evalue", "traceback", "wait"]
)


@given(st.lists(st.tuples(st.sampled_from(TYPES), st.dictionaries(KEYS, VALUES, max_size=6)), max_size=6))
def test_whatever_a_kernel_sends_the_notebook_is_valid(messages: list[tuple[str, dict[str, Any]]]) -> None:
    outputs(*(event(kind, content, str(number % 2)) for number, (kind, content) in enumerate(messages)))
