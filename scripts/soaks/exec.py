"""`exec` in full: scripts against Python itself, 100 MB in both ways, cuts of the SSH connection, Ctrl-C, images and a
notebook, each as a user runs it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.support.environment.world import COMMAND, Done, World
from tests.support.faults.faults import ssh_host, write_box
from tests.support.programs.scripts import ARGUMENT, INPUT, SCRIPTS, by_python
from tests.support.servers.sshd import Sshd

LIMIT_S = 600.0
MB = 1 << 20
MAX_MEMORY_MB = 400


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak exec", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="how much is printed (default: 100)")
    parser.add_argument("--cuts", type=int, default=10, help="how often the connection is cut (default: 10)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="rr-") as home:
        world = World(Path(home))
        with ssh_host(world) as sshd:
            write_box(world, sshd, f"jupyter: {{python: {sys.executable}}}\n")
            world.up("box")
            results = [_scripts(world, sshd)]
            results += [_output(world, asked.megabytes, way) for way in ("print", "process")]
            results += [_cuts(world, sshd, asked.cuts), _interrupt(world), _image(world), _notebook(world)]
            world.run("down", "box")
    return 0 if all(results) else 1


def _exec(world: World, *arguments: str, content: bytes = b"") -> Done:
    done = subprocess.run(
        [*COMMAND, "exec", "box", *arguments],
        env=world.environ, cwd=world.home, input=content, capture_output=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


def _scripts(world: World, sshd: Sshd) -> bool:
    different = []
    for name, text in SCRIPTS.items():
        for folder in (world.home, sshd.home):
            (folder / "script.py").write_text(text)
        expected = by_python(sshd.home / "script.py", sshd.home)
        (sshd.home / "script.py").unlink()
        if _exec(world, "script.py", "--", ARGUMENT, content=INPUT) != expected:
            different.append(name)
    return _say(not different, f"{len(SCRIPTS)} scripts as with python: {', '.join(different) or 'all equal'}")


def _output(world: World, megabytes: int, way: str) -> bool:
    code = f"for n in range({megabytes}): print(str(n % 10) * {MB - 1})"
    if way == "process":
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    expected = hashlib.sha256()
    for number in range(megabytes):
        expected.update(str(number % 10).encode() * (MB - 1) + b"\n")
    began, got = time.monotonic(), hashlib.sha256()
    child = subprocess.Popen([*COMMAND, "exec", "box", "-c", code], env=world.environ, stdout=subprocess.PIPE)
    output = child.stdout or sys.stdin.buffer
    while content := output.read(MB):
        got.update(content)
    output.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    memory = usage.ru_maxrss / 1024
    is_good = child.returncode == 0 and got.digest() == expected.digest() and memory < MAX_MEMORY_MB
    rate = megabytes / (time.monotonic() - began)
    return _say(is_good, f"{megabytes} MB by {way}: {rate:.0f} MB/s, {memory:.0f} MB of memory here")


def _cuts(world: World, sshd: Sshd, cuts: int) -> bool:
    seconds = cuts * 3
    code = f"import time\nfor n in range({seconds * 50}):\n    print(n)\n    time.sleep(0.02)"
    done: list[Done] = []
    thread = threading.Thread(target=lambda: done.append(_exec(world, "-c", code)))
    thread.start()
    cut = 0
    while thread.is_alive() and cut < cuts:
        time.sleep(3)
        cut += bool(sshd.cut())
    thread.join()
    is_good = done[0].code == 0 and done[0].out.split() == [str(n) for n in range(seconds * 50)]
    return _say(is_good, f"{cut} cuts in a cell of {seconds} s: {len(done[0].out.split())} lines {done[0].err[-200:]}")


def _interrupt(world: World) -> bool:
    code = "print('begun', flush=True); __import__('time').sleep(60)"
    child = subprocess.Popen(
        [*COMMAND, "exec", "box", "-c", code], env=world.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    (child.stdout or sys.stdin.buffer).readline()
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    took_s = time.monotonic() - began
    is_good = child.returncode == 130 and errors.endswith(b"KeyboardInterrupt\n")
    return _say(is_good, f"Ctrl-C: exit status {child.returncode} after {took_s:.1f} s")


def _image(world: World) -> bool:
    code = "from IPython.display import Image, display; display(Image(data=b'\\x89PNG\\r\\n\\x1a\\n', format='png'))"
    done = _exec(world, "--output", "kept", "-c", code)
    files = {path.name: path.read_bytes() for path in (world.home / "kept").iterdir()}
    return _say(files == {"output-1.png": b"\x89PNG\r\n\x1a\n"} and done.out == "", f"images: {list(files)}")


def _notebook(world: World) -> bool:
    cell: dict[str, object] = {"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": None}
    cells = [
        {**cell, "id": f"c{n}", "source": code} for n, code in enumerate(("x = 6\nx", "print(x * 7)", "1 / 0", "2"))
    ]
    path = world.home / "book.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    done = _exec(world, "book.ipynb", "--in-place", "--new-kernel")
    kinds = [[each["output_type"] for each in cell["outputs"]] for cell in json.loads(path.read_text())["cells"]]
    return _say(done.code == 1 and kinds == [["execute_result"], ["stream"], ["error"], []], f"notebook: {kinds}")


def _say(is_good: bool, text: str) -> bool:
    sys.stdout.write(f"{'ok  ' if is_good else 'FAIL'} {text}\n")
    sys.stdout.flush()
    return is_good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
