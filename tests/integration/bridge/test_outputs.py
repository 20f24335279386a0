"""What kernels publish while no client is there, at a real Jupyter server whose clients leave in several ways."""

from __future__ import annotations

import re
import stat
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clients.bridge_client import odd_server
from tests.support.clients.output_reader import (
    Tab,
    ask,
    open_tab,
    read_outputs,
    start_kernel,
    stream_text,
    wait_for_text,
)
from tests.support.clients.stream_client import StreamClient
from tests.support.environment.waiting import eventually, free_port
from tests.support.servers.jupyter import JupyterServer

KERNEL_BYTES = 400_000


def counting(lines: int, *, gate: Path | None = None) -> str:
    """Prints lines, with a pause after each; after the tenth until ``gate`` exists."""
    return textwrap.dedent(f"""
        import os, time
        for n in range({lines}):
            print('line', n, flush=True)
            time.sleep(0.02)
            while n == 10 and not os.path.exists({str(gate or "/")!r}):
                time.sleep(0.01)
        print('all')
    """)


def lines_of(*texts: str) -> list[int]:
    return [int(number) for text in texts for number in re.findall(r"^line (\d+)$", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server") / "outputs"


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[JupyterServer]:
    section = {"outputs_dir": str(directory), "kernel_bytes": KERNEL_BYTES, "memory_bytes": 80_000}
    section |= {"min_free_bytes": 0, "min_free_share": 0.0, "spool_memory_bytes": 60_000, "spool_bytes": 60_000}
    port = {"port": free_port()}  # older servers write down the 0 that they are given, and kernels read that
    with odd_server(extra_config={"RemoteRuntimeBridge": section, "ServerApp": port}) as running:
        yield running


@pytest.fixture(scope="module")
def shared_kernel(server: JupyterServer) -> str:
    return start_kernel(server)


@pytest.fixture
def kernel(server: JupyterServer) -> Iterator[str]:
    found = start_kernel(server)
    yield found
    ask(server, "DELETE", f"/api/kernels/{found}")


def test_lines_printed_after_the_tab_was_closed_are_recorded_once_and_in_order(
    server: JupyterServer, kernel: str
) -> None:
    with open_tab(server, kernel) as tab:
        request = tab.begin(counting(40))
        tab.receive_text("line 10\n")
    messages = wait_for_text(server, kernel, "all\n")
    tab.receive_rest()
    assert lines_of(stream_text(tab.received), stream_text(messages)) == list(range(40))
    assert {message["request"] for message in messages} == {request}
    assert messages[0]["type"] == "execute_input"
    assert messages[0]["earlier"]
    assert messages[0]["content"]["code"] == counting(40)


def test_results_images_and_errors_are_recorded_as_the_kernel_sent_them(
    server: JupyterServer, shared_kernel: str
) -> None:
    code = """
        import time; time.sleep(0.5)
        import base64
        from IPython.display import Image, clear_output, display
        handle = display('first', display_id=True)
        handle.update('second')
        clear_output(wait=True)
        display(Image(base64.b64decode('iVBORw0KGgo='), format='png'))
    """
    with open_tab(server, shared_kernel) as tab:
        requests = [tab.begin(textwrap.dedent(code)), tab.begin("6 * 7"), tab.begin("print('all')\n1 / 0")]
        tab.receive_until(lambda message: message["msg_type"] == "execute_input")
    wait_for_text(server, shared_kernel, "all\n")
    eventually(lambda: read_outputs(server, shared_kernel)[1][-1]["type"] == "error", what="the error")
    messages = read_outputs(server, shared_kernel)[1]
    assert [each["type"] for each in messages if each["request"] == requests[0]][1:] == [
        "display_data",
        "update_display_data",
        "clear_output",
        "display_data",
    ]
    by_type = {each["type"]: each["content"] for each in messages}
    assert by_type["display_data"]["data"]["image/png"].strip() == "iVBORw0KGgo="
    assert by_type["execute_result"]["data"]["text/plain"] == "42"
    assert by_type["error"]["ename"] == "ZeroDivisionError"
    inputs = [each for each in messages if each["type"] == "execute_input"]
    assert [each["request"] for each in inputs] == requests
    assert [each["earlier"] for each in inputs] == [True, False, False]


def test_what_a_tab_receives_is_not_recorded_also_when_another_one_is_closed(
    server: JupyterServer, kernel: str
) -> None:
    with open_tab(server, kernel) as stays:
        with open_tab(server, kernel) as goes:
            goes.begin(counting(30))
            goes.receive_text("line 5\n")
        stays.receive_text("all\n")
    assert lines_of(stream_text(stays.received)) == list(range(30))
    assert read_outputs(server, kernel)[1] == []


def test_what_jupyter_replays_to_a_tab_that_comes_back_is_no_longer_recorded(
    server: JupyterServer, kernel: str
) -> None:
    session = uuid.uuid4().hex
    with open_tab(server, kernel, session=session) as tab:
        tab.begin(counting(40))
        tab.receive_text("line 5\n")
    tab.receive_rest()
    wait_for_text(server, kernel, "line 20\n")
    with open_tab(server, kernel, session=session) as again:
        again.receive_text("all\n")
    assert lines_of(stream_text(tab.received), stream_text(again.received)) == list(range(40))
    assert lines_of(stream_text(read_outputs(server, kernel)[1])) == []


def test_a_new_tab_gets_what_is_printed_from_then_on_and_the_record_has_the_rest(
    server: JupyterServer, kernel: str
) -> None:
    with open_tab(server, kernel) as tab:
        tab.begin(counting(80))
        tab.receive_text("line 5\n")
    tab.receive_rest()
    wait_for_text(server, kernel, "line 20\n")
    with open_tab(server, kernel) as new:
        new.receive_text("all\n")
    recorded = stream_text(read_outputs(server, kernel)[1])
    assert lines_of(stream_text(tab.received), recorded, stream_text(new.received)) == list(range(80))
    assert len(lines_of(recorded)) >= 15
    assert len(lines_of(stream_text(new.received))) >= 5


def test_more_than_the_limit_is_cut_from_the_oldest_on_and_said(
    server: JupyterServer, kernel: str, directory: Path
) -> None:
    code = "for n in range(900):\n    print('line', n, '\\n' + 'x' * 1000, flush=True)\nprint('all')"
    with open_tab(server, kernel) as tab:
        tab.begin("import time; time.sleep(0.3)\n" + code)
        tab.receive_until(lambda message: message["msg_type"] == "execute_input")
    messages = wait_for_text(server, kernel, "all\n", within_s=60)
    lines = lines_of(stream_text(messages).replace(" \n", "\n"))
    assert lines == list(range(lines[0], 900))
    cut = read_outputs(server, kernel)[0]["kernels"][0]["cut"]
    assert cut["why"] == "the limit was reached"
    assert cut["bytes"] + len(stream_text(messages)) >= 900_000
    assert KERNEL_BYTES * 0.6 < len(stream_text(messages)) < KERNEL_BYTES * 1.1
    assert sum(path.stat().st_size for path in directory.iterdir()) < 2 * KERNEL_BYTES
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert messages[0]["type"] == "execute_input"


def test_answers_to_input_are_never_written(server: JupyterServer, kernel: str, directory: Path) -> None:
    code = "import sys\nanswer = input('name? ')\nprint('x' * 90_000, len(answer), 'all')"
    with open_tab(server, kernel) as tab:
        tab.begin(code, allow_stdin=True)
        tab.receive_until(lambda message: message["msg_type"] == "input_request")
        tab.answer("hunter2")
    wait_for_text(server, kernel, "7 all\n")
    eventually(lambda: any(directory.iterdir()), what="a file")
    assert not any(b"hunter2" in path.read_bytes() for path in directory.iterdir())
    assert "hunter2" not in str(read_outputs(server, kernel))


def test_a_cell_shows_the_record_of_its_kernel(server: JupyterServer, kernel: str) -> None:
    with open_tab(server, kernel) as tab:
        code = "from IPython.display import clear_output, display\nprint('one')\nclear_output()\nprint('two')\n"
        tab.begin("import time; time.sleep(0.3)\n" + code + "display({'a': 1})\n1 / 0")
        tab.receive_until(lambda message: message["msg_type"] == "execute_input")
    eventually(lambda: [each for each in read_outputs(server, kernel)[1] if each["type"] == "error"], what="the error")
    with open_tab(server, kernel) as again:
        again.run("remote_runtime_outputs()")
        shown = stream_text(again.received)
        assert "Recorded outputs of 1 cells" in shown
        assert "\n# import time; time.sleep(0.3)\n# from IPython" in shown
        assert re.findall("^(?:one|two|.*ZeroDivisionError.*division by zero)$", shown, re.MULTILINE)[0] == "two"
        assert "division by zero" in shown
        displayed = [each["content"]["data"] for each in again.received if each["msg_type"] == "display_data"]
        assert displayed == [{"text/plain": "{'a': 1}"}]
        again.received.clear()
        again.run("remote_runtime_outputs = 5\nprint(remote_runtime_outputs)\n%who")
        assert stream_text(again.received).split()[0] == "5"
        assert "_run_own_startup" not in stream_text(again.received)
    assert len({each["request"] for each in read_outputs(server, kernel)[1]}) == 1


def test_the_record_outlives_a_restart_and_the_end_of_its_kernel(server: JupyterServer) -> None:
    kernel = start_kernel(server)
    other = start_kernel(server)
    with open_tab(server, other) as tab:
        tab.begin(counting(10))
    for text in ("before", "after"):
        with open_tab(server, kernel) as tab:
            tab.begin(f"import time; time.sleep(0.3); print({text!r})")
            tab.receive_until(lambda message: message["msg_type"] == "execute_input")
        wait_for_text(server, kernel, text)
        if text == "before":
            ask(server, "POST", f"/api/kernels/{kernel}/restart", "{}")
    wait_for_text(server, other, "all\n")
    for each in (kernel, other):
        ask(server, "DELETE", f"/api/kernels/{each}")
    head, messages = read_outputs(server, kernel)
    assert [(each["id"], each["running"]) for each in head["kernels"]] == [(kernel, False)]
    assert re.findall("^before$|^after$", stream_text(messages), re.MULTILINE) == ["before", "after"]
    assert lines_of(stream_text(read_outputs(server, other)[1])) == list(range(10))


class TestInStreams:
    """Clients behind a resumable stream, whose carrier is lost."""

    @pytest.fixture
    def streams(self, server: JupyterServer) -> Iterator[StreamClient]:
        with StreamClient(server.port, server.token) as client:
            yield client

    @pytest.fixture
    def gate(self, tmp_path: Path) -> Path:
        return tmp_path / "gate"

    @pytest.fixture
    def running(self, server: JupyterServer, streams: StreamClient, kernel: str, gate: Path) -> Iterator[Tab]:
        """Its cell waits after the tenth line, which the server knows to have arrived."""
        with open_tab(server, kernel, port=streams.port) as tab:
            tab.begin(counting(40, gate=gate))
            tab.receive_text("line 10\n")
            time.sleep(0.3)
            yield tab

    def test_a_client_that_comes_back_gets_all_and_nothing_is_recorded(
        self, server: JupyterServer, streams: StreamClient, running: Tab, gate: Path, kernel: str
    ) -> None:
        streams.cut()
        gate.touch()
        wait_for_text(server, kernel, "line 25\n")
        streams.attach()
        running.receive_text("all\n")
        assert lines_of(stream_text(running.received)) == list(range(40))
        assert read_outputs(server, kernel)[1] == []

    @pytest.mark.parametrize("silently", [False, True])
    def test_what_a_killed_client_has_not_received_is_recorded(
        self, server: JupyterServer, streams: StreamClient, running: Tab, gate: Path, kernel: str, silently: bool
    ) -> None:
        streams.cut(silently=silently)
        gate.touch()
        time.sleep(0.3)
        streams.vanish()
        running.receive_rest()
        if silently:
            streams.end_session()
        messages = wait_for_text(server, kernel, "all\n")
        assert lines_of(stream_text(running.received), stream_text(messages)) == list(range(40))

    def test_the_tab_is_closed_during_an_outage(
        self, server: JupyterServer, streams: StreamClient, running: Tab, gate: Path, kernel: str
    ) -> None:
        streams.cut()
        gate.touch()
        running.close()
        wait_for_text(server, kernel, "line 25\n")
        streams.attach()
        messages = wait_for_text(server, kernel, "all\n")
        assert lines_of(stream_text(running.received), stream_text(messages)) == list(range(40))

    def test_a_stream_whose_spool_is_full_is_reset_and_the_record_has_what_it_kept(
        self, server: JupyterServer, streams: StreamClient, running: Tab, gate: Path, kernel: str
    ) -> None:
        gate.touch()
        running.receive_text("all\n")
        code = "for n in range(40, 280):\n    print('line', n)\n    print('x' * 1000, flush=True)\nprint('end')"
        running.begin("time.sleep(0.3)\n" + code)
        running.receive_until(lambda message: message["msg_type"] == "execute_input")
        streams.cut()
        messages = wait_for_text(server, kernel, "end\n")
        streams.attach()
        running.receive_rest()  # ends with the reset of its stream
        assert lines_of(stream_text(running.received), stream_text(messages)) == list(range(280))
        assert read_outputs(server, kernel)[1] == messages
