"""What code has printed and displayed, as values: for Python programs that run it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from ..core.fast_dataclass import fast_dataclass
from ..jupyter.program_client import STREAMS, ProgramError

MAX_KEPT_BYTES = 256 << 20
OnOutput = Callable[[str, str], None]


@fast_dataclass(frozen=True)
class CodeOutput:
    """What code has displayed. ``data``: values by MIME type; binary ones are base64."""

    data: Mapping[str, Any]
    metadata: Mapping[str, Any]


@fast_dataclass(frozen=True)
class CodeResult:
    """``status``: the exit status, as of Python; ``error``: the exception that ended the code, None if none did.
    ``outputs``: images, HTML and others, in order. ``is_cut``: it printed more than is kept, 256 MiB of each stream."""

    stdout: str
    stderr: str
    status: int
    error: ProgramError | None
    outputs: tuple[CodeOutput, ...]
    is_cut: bool = False


class CollectedOutput:
    """Collects it. ``on_output(stream, text)``: called for each part that is printed. ``text``: what the code reads."""

    def __init__(self, on_output: OnOutput | None, text: str) -> None:
        self._on_output = on_output
        self._input = text.encode("utf-8", "surrogateescape")
        self._kept = {name: bytearray() for name in STREAMS}
        self._decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in STREAMS}
        self._outputs: list[CodeOutput] = []
        self._is_cut = False

    def write(self, name: str, content: bytes) -> None:
        kept = self._kept[name]
        self._is_cut = self._is_cut or len(kept) + len(content) > MAX_KEPT_BYTES
        kept += content[: MAX_KEPT_BYTES - len(kept)]
        text = self._decoders[name].decode(content) if self._on_output is not None else ""
        if text and self._on_output is not None:
            self._on_output(name, text)

    def display(self, kind: str, content: Mapping[str, Any]) -> None:
        data, metadata = content.get("data"), content.get("metadata")
        if isinstance(data, dict):
            self._outputs.append(CodeOutput(data, metadata if isinstance(metadata, dict) else {}))

    def read(self, max_bytes: int) -> bytes:
        content, self._input = self._input[:max_bytes], self._input[max_bytes:]
        return content

    def read_password(self, prompt: str) -> bytes:
        line, end, self._input = self._input.partition(b"\n")
        return line + end

    def note(self, text: str) -> None:
        """Nothing of it is the code's."""

    def result(self, status: int, error: ProgramError | None) -> CodeResult:
        texts = {name: bytes(content).decode("utf-8", "replace") for name, content in self._kept.items()}
        return CodeResult(texts["stdout"], texts["stderr"], status, error, tuple(self._outputs), self._is_cut)
