"""``%h``, ``${VAR}`` and their like in values of ssh_config(5), which ``ssh -G`` prints as they were written."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import SshError
from ...core.frozen import dataclass
from .paths import own_name

_PARTS = re.compile(r"%(?P<sign>.?)|\$\{(?P<variable>[^}]*)\}?", re.DOTALL)
_HOST_ONLY = "h"
_IN_COMMANDS = "hnpr"  # ProxyCommand and ProxyJump; a shell takes care of the variables


@dataclass(frozen=True)
class Tokens:
    """``name``: as it was typed; ``host``: its HostName; ``alias``: its HostKeyAlias, if any; ``jump``: the last host
    of its ProxyJump, if any."""

    name: str
    host: str
    port: int
    user: str
    alias: str
    jump: str
    home: Path
    environ: Mapping[str, str]

    def in_path(self, option: str, text: str) -> str:
        """``text`` of an option that takes every token and variables. Raises ``SshError`` ``ssh-config-unsupported``,
        as ``ssh`` ends in an error, for what has no value."""
        return self._fill(option, text, "CdhijkLlnpru", variables=True)

    def in_jump(self, text: str) -> str:
        """Raises as ``in_path`` does."""
        return self._fill("ProxyJump", text, _IN_COMMANDS, variables=False)

    def _fill(self, option: str, text: str, known: str, *, variables: bool) -> str:
        def value(found: re.Match[str]) -> str:
            if found["variable"] is not None:
                if not variables:
                    return found[0]
                if not found[0].endswith("}") or found["variable"] not in self.environ:
                    raise _no_value(option, text, found[0], "no environment variable of this name is set")
                return self.environ[found["variable"]]
            if found["sign"] == "%":
                return "%"
            if not found["sign"] or found["sign"] not in known:
                raise _no_value(option, text, found[0], "it is no token that this option takes")
            return self._value(found["sign"], option, text)

        return _PARTS.sub(value, text)  # what a variable holds is not looked at again

    def _value(self, sign: str, option: str, text: str) -> str:
        here = socket.gethostname()
        values = {
            "d": str(self.home),
            "h": self.host,
            "i": str(os.getuid()) if hasattr(os, "getuid") else "",
            "j": self.jump,
            "k": self.alias or self.name,
            "L": here.split(".")[0],
            "l": here,
            "n": self.name,
            "p": str(self.port),
            "r": self.user,
            "u": own_name(),
        }
        if sign == "C":
            return hashlib.sha1("".join(values[each] for each in "lhprj").encode()).hexdigest()  # noqa: S324  # OpenSSH's
        if not values[sign] and sign != "j":
            raise _no_value(option, text, f"%{sign}", "this computer has no name for you")
        return values[sign]


def host_name(text: str, name: str) -> str:
    """``text`` of HostName, which takes ``%h`` only, there the name as it was typed. Raises as ``Tokens.in_path``."""
    tokens = Tokens(name, name, 0, "", "", "", Path(), {})
    return tokens._fill("HostName", text, _HOST_ONLY, variables=False)


def _no_value(option: str, text: str, part: str, why: str) -> SshError:
    what = f"{part} in {option} {text} of ~/.ssh/config has no value"
    return SshError("ssh-config-unsupported", what, why, f"Write {option} there without {part}")
