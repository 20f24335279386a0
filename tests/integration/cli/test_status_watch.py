"""`status` of a runtime that is used: load, kernels and traffic as they are, once and again and again."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.clients.page import Page
from tests.support.clients.terminal_user import at_a_terminal
from tests.support.environment.waiting import eventually
from tests.support.environment.world import COMMAND, World

NVIDIA_SMI = "#!/bin/sh\necho 'NVIDIA L4, 2048, 23034, 37, 5, 61'\n"


def a_gpu(folder: Path) -> str:
    """A folder for PATH with what a driver installs."""
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    return str(folder)


def test_status_tells_gpu_memory_busy_kernels_and_traffic_and_goes_on_until_q(world: World) -> None:
    world.environ["PATH"] = os.pathsep.join([a_gpu(world.home / "driver"), world.environ["PATH"]])
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    url = world.up("here")
    page = Page(url)
    kernel = page.start_kernel()
    quiet = world.look("here")
    assert quiet["load"]["gpus"] == [
        {
            "name": "NVIDIA L4",
            "memory_used": 2048 << 20,
            "memory_total": 23034 << 20,
            "busy": 0.37,
            "temperature_c": 61.0,
        }
    ]
    assert 0 < quiet["load"]["memory_used"] < quiet["load"]["memory_total"]
    assert 0 < quiet["load"]["disk"]["used"] <= quiet["load"]["disk"]["total"]
    assert 0 <= eventually(lambda: world.look("here")["load"]["cpu"], what="the processor is measured") <= 1
    (listed,) = world.look("here")["server"]["kernel_list"]
    assert (listed["id"], listed["name"]) == (kernel, "python3")
    assert listed["memory_used"] > 0
    assert quiet["server"]["kernels"] == 1
    assert quiet["traffic"] == world.look("here")["traffic"], "our own looks do not count"

    page.run(kernel, "print('x' * 300_000)")
    assert world.look("here")["traffic"]["received"] > quiet["traffic"]["received"] + 300_000
    table = world.run("status").out
    assert "37 % 2/22 GB" in table
    assert url.partition("=")[2] not in table

    with at_a_terminal([*COMMAND, "status", "--watch"], world.environ, columns=80, lines=24) as person:
        for shown in ("● here", "disk", "memory", "37 % 61 °C", "2/22 GB", "KERNEL", "python3", "ready on local port"):
            person.sees(shown)
        person.sees("q quits")
        person.resizes(140, 40)
        person.types("p", enter=False)
        person.sees("paused")
        person.types("\x1b[A", enter=False)
        person.types("p?", enter=False)
        person.sees("stop the runtime, after a question")
        person.types("xl", enter=False)
        person.sees("log of here")
        person.sees(" ready on local port")
        person.types("qo", enter=False)
        person.sees("Can't open a browser")
        person.types("d", enter=False)
        person.sees("Stop here?")
        person.types("n", enter=False)
        person.sees("q quits")
        person.types("q", enter=False)
        assert person.waits() == 0
    assert world.look("here")["state"] == "ready"
    assert url.partition("=")[2] not in person.raw

    refused = world.run("status", "--watch", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")


def test_a_busy_kernel_is_told(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    page = Page(world.up("here"))
    kernel = page.start_kernel()
    assert world.look("here")["server"]["busy_kernels"] == 0
    page.begin(kernel, "import time; time.sleep(60)")
    eventually(lambda: world.look("here")["server"]["busy_kernels"] == 1, what="the kernel is busy")
    assert "1 busy" in world.run("status").out


def test_d_and_yes_stop_the_last_runtime_despite_busy_kernels_and_end_the_watch(world: World) -> None:
    world.profile("here", "version: 1\ntarget: {kind: local}\n")
    page = Page(world.up("here"))
    page.begin(page.start_kernel(), "import time; time.sleep(60)")
    eventually(lambda: world.look("here")["server"]["busy_kernels"] == 1, what="the kernel is busy")
    with at_a_terminal([*COMMAND, "status", "--watch"], world.environ) as person:
        person.sees("q quits")
        person.types("d", enter=False)
        person.sees("Stop here? Busy kernels will end: python3. [y/N]")
        person.types("y", enter=False)
        assert person.waits() == 0
    assert "Stopped here" in person.shown
    assert world.look("here")["state"] == "down"
