"""Each is a file; all get the argument ``x y`` and the lines of ``INPUT`` on stdin."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.environment.world import Done

INPUT = b"Ada\nsecond line\nno end"
ARGUMENT = "x y"
SCRIPTS: Mapping[str, str] = {
    "prints in turn with other processes": """
import os, subprocess, sys
print("one")
subprocess.run(["echo", "two"])
os.write(1, b"three\\n")
print("four", end="")
os.system("echo five; echo six >&2")
print("seven", file=sys.stderr)
""",
    "prints bytes that are not UTF-8": """
import sys
sys.stdout.buffer.write(bytes(range(256)))
sys.stdout.write("\\u20ac \\U0001f600\\r\\x1b[31mred\\x1b[0m")
sys.stderr.buffer.write(b"\\xff")
""",
    "shows what it was started with": """
import sys
print(__name__, __file__, sys.argv, sys.path[0] == __file__.rpartition("/")[0], __doc__)
""",
    "reads its input": """
import sys
print("Hello", input("name? "))
print(sys.stdin.readline().upper(), [line for line in sys.stdin])
try:
    input()
except EOFError as error:
    print(error)
""",
    "fails in a function": """
def invert(number):
    return 1 / number
print("before")
invert(0)
""",
    "raises from another exception": """
try:
    {}["key"]
except KeyError as error:
    raise ValueError("two\\nlines") from error
""",
    "exits with a number": "import sys; sys.exit(300)",
    "exits with a text": "raise SystemExit('sorry')",
    "exits with nothing": "print('bye'); raise SystemExit",
    "is no Python": "print('never')\ndef broken(:\n",
    "warns and logs": """
import logging, warnings
warnings.warn("careful")
warnings.warn("old", DeprecationWarning)
logging.warning("logged")
""",
    "uses an event loop, a thread and a pool": """
import asyncio, multiprocessing, threading, time
async def main():
    process = await asyncio.create_subprocess_exec("echo", "from a process")
    await process.wait()
    await asyncio.sleep(0.01)
    return "awaited"
def square(number):
    print("square of", number, flush=True)
    return number * number
print(asyncio.run(main()), asyncio.run(main()))
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(square, [2, 3]))
    threading.Thread(target=lambda: (time.sleep(0.2), print("from a thread"))).start()
    print("last line of the file")
""",
    "has a hook for exceptions": """
import sys
sys.excepthook = lambda kind, value, trace: print("hook:", kind.__name__, value)
raise OSError("gone")
""",
    "keeps the streams of another module": """
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()) as text:
    print("inside")
print(text.getvalue().upper(), sys.stdout.isatty(), sys.stdout.fileno(), sys.stdout.encoding)
sys.stdout = None
print("nowhere")
""",
}


def by_python(path: Path, cwd: Path) -> Done:
    """Unbuffered, so that its output and that of its processes have one order."""
    done = subprocess.run(
        [sys.executable, "-u", path.name, ARGUMENT],
        cwd=cwd,
        input=INPUT,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    return Done(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))
