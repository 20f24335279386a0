"""The arguments and environment variables that a profile may give to the Jupyter server: none opens it to others.

An option is allowed only if its class and trait are listed here: it takes a number, a switch or a name, and serves no
file, redirects no browser, runs no code and decides nothing about who may log in. Facts from traitlets and
jupyter_server:

- Options are ``--Class.trait=value``, aliases (``--ip``) and flags (``--debug``); argparse also takes unambiguous
  beginnings (``--cert`` for ``--certfile``) and a value as the next argument. So: whole known names, always with ``=``.
- A trait may be set through the section of any class that its owner inherits from (``--Configurable.ip``), and
  sections nest (``--ServerApp.IdentityProvider.token``). So: the listed classes only, and nothing nested.
- Positional arguments are files to open, subcommands or values of the option before.
- The server sends a browser at ``/?token=TOKEN`` on to ``default_url`` with the token (RedirectWithParams). Browsers
  take ``//host`` and ``/\\host`` for another host; ``/proxy/PORT`` of jupyter-server-proxy is any program of the
  machine, and ``/files/x.html`` a page whose script reads its own address. So: the pages of applications only.
"""

from __future__ import annotations

import re

from .validation_errors import did_you_mean, expected, quoted

_FLAGS = ("allow-root", "debug", "no-browser")
_ALIASES = ("log-level",)

_LIMITS = ("iopub_data_rate_limit", "iopub_msg_rate_limit", "limit_rate", "rate_limit_window")
_SERVER = (
    *_LIMITS, "allow_root", "default_url", "log_level", "max_body_size", "max_buffer_size", "min_open_files_limit",
    "shutdown_no_activity_timeout", "terminals_enabled", "websocket_ping_interval", "websocket_ping_timeout",
)  # fmt: skip
_KERNELS = (
    "allow_tracebacks", "buffer_offline_messages", "cull_busy", "cull_connected", "cull_idle_timeout", "cull_interval",
    "default_kernel_name", "kernel_info_timeout", "use_pending_kernels",
)  # fmt: skip
_KERNEL = ("autorestart", "shutdown_wait_time")
_RESTARTER = ("restart_limit", "stable_start_time", "time_to_dead")
_CONTENTS = ("always_delete_dir", "delete_to_trash", "hide_globs", "max_copy_folder_size_mb", "use_atomic_writing")
# Classes of jupyter_server 1.24 to 2.21, Notebook 6 and 7, JupyterLab, jupyter_client and jupyter-resource-usage.
ALLOWED_TRAITS = {
    **dict.fromkeys(("ServerApp", "NotebookApp"), _SERVER),
    **dict.fromkeys(("LabApp", "JupyterNotebookApp"), ("default_url",)),
    "ZMQChannelsWebsocketConnection": (*_LIMITS, "websocket_ping_interval", "websocket_ping_timeout"),
    **dict.fromkeys(("MappingKernelManager", "AsyncMappingKernelManager"), _KERNELS),
    **dict.fromkeys(("MultiKernelManager", "AsyncMultiKernelManager"), ("default_kernel_name", "use_pending_kernels")),
    **dict.fromkeys(("KernelManager", "AsyncKernelManager", "ServerKernelManager"), _KERNEL),
    **dict.fromkeys(("IOLoopKernelManager", "AsyncIOLoopKernelManager"), _KERNEL),
    **dict.fromkeys(("KernelRestarter", "IOLoopKernelRestarter", "AsyncIOLoopKernelRestarter"), _RESTARTER),
    "KernelSpecManager": ("allowed_kernelspecs", "ensure_native_kernel", "whitelist"),
    **dict.fromkeys(("ContentsManager", "AsyncContentsManager"), ("hide_globs",)),
    **dict.fromkeys(("FileContentsManager", "AsyncFileContentsManager"), _CONTENTS),
    **dict.fromkeys(("LargeFileManager", "AsyncLargeFileManager"), _CONTENTS),
    "TerminalManager": ("cull_inactive_timeout", "cull_interval"),
    "ResourceUseDisplay": (
        "cpu_limit", "cpu_warning_threshold", "disk_warning_threshold", "mem_limit", "mem_warning_threshold",
        "track_cpu_percent", "track_disk_usage",
    ),
}  # fmt: skip
_PAGE = re.compile(
    r"/(?:lab|tree|nbclassic|doc|notebooks|edit|consoles|terminals)(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)*/?"
)

_ALTERNATIVES = {
    "root_dir": "use `jupyter.working_dir`",
    "notebook_dir": "use `jupyter.working_dir`",
    "preferred_dir": "use `jupyter.working_dir`",
    "port": "use `jupyter.port`",
    "allow_origin": "use `colab.origins`",
    "allow_origin_pat": "use `colab.origins`",
    "extra_static_paths": "it serves files without the token",
    "static_paths": "it serves files without the token",
    "extra_template_paths": "templates run code before login",
    "template_paths": "templates run code before login",
    "allow_hidden": "it serves hidden files, such as those of ~/.ssh",
    "custom_display_url": "the server would print its token with that address",
    "kernel_dirs": "install kernels with `python -m ipykernel install --user`",
}
_ALLOWED_TEXT = "docs/reference.md lists the allowed options; set others in ~/.jupyter/jupyter_config.py on the machine"
# Options that each profile gets a value of.
_MANAGED = frozenset(
    ("ip", "sock", "sock_mode", "token", "password", "certfile", "keyfile", "disable_check_xsrf", "base_url",
     "allow_remote_access", "allow_credentials", "local_hostnames")
)  # fmt: skip

# Variables that make programs load other code or read other settings. PATH,
# LD_LIBRARY_PATH and IPYTHONDIR are allowed: CUDA and kernels need them, and the server reads no settings from them.
# PYTHONPATH is given to the kernels alone, see jupyter/remote/run_server.py.
_REFUSED_ENV = re.compile(
    "(?:JUPYTER|JPY|JUPYTERHUB|JUPYTERLAB|REMOTE_RUNTIME|DYLD)(?:_.*)?"
    "|LD_PRELOAD|LD_AUDIT|GCONV_PATH|OPENSSL_CONF|BASH_ENV|ENV|HOME|USERPROFILE|APPDATA|PROGRAMDATA|XDG_.*"
    "|PYTHON.*|__PYVENV_LAUNCHER__",
    re.IGNORECASE,
)
_HARMLESS_PYTHON_ENV = frozenset(
    (
        "PYTHONPATH",
        "PYTHONASYNCIODEBUG", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONIOENCODING",
        "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONUTF8",
    )
)  # fmt: skip
_SECRET_WORDS = re.compile("key|token|secret|pass|pwd|credential|auth|cookie|dsn|url", re.IGNORECASE)


def arg_problem(arg: str) -> str:
    """Why the server cannot get ``arg``, or an empty text. Never quotes its value."""
    option, equals, value = arg.partition("=")
    if not option.startswith("-") or option in ("-", "--"):
        return expected("an option such as `--Class.trait=value`", "a value")
    if not option.startswith("--"):
        return expected("the option's long name", quoted(option))
    name = option[2:]
    if "." in name:
        return _trait_problem(name, value if equals else None)
    return _short_name_problem(name, has_value=bool(equals))


def env_name_problem(name: str) -> str:
    """Why a variable of this name cannot be set for the server, or an empty text."""
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        note = "; write `NAME: VALUE`" if "=" in name else ""
        return expected("the name of an environment variable (letters, digits and `_`)", "another text" + note)
    if _REFUSED_ENV.fullmatch(name) and name not in _HARMLESS_PYTHON_ENV:
        return f"`{name}` can't be set: it changes the code or the settings that the server loads"
    return ""


def is_secret_env_name(name: str) -> bool:
    """Whether the variable's name suggests a secret value."""
    return bool(_SECRET_WORDS.search(name))


def _short_name_problem(name: str, *, has_value: bool) -> str:
    if name in _FLAGS:
        return expected(f"`--{name}`", f"`--{name}=…`; it takes no value") if has_value else ""
    if name in _ALIASES:
        return "" if has_value else expected(f"`--{name}=VALUE` in one entry", f"`--{name}`")
    return _refused(name, name, did_you_mean(name, (*_FLAGS, *_ALIASES)))


def _refused(name: str, trait: str, suggestion: str) -> str:
    shown, trait = quoted("--" + name), trait.lower().replace("-", "_")
    if trait in _ALTERNATIVES:
        return f"{shown} can't be set: {_ALTERNATIVES[trait]}"
    if trait in _MANAGED:
        return f"{shown} is managed by remote-runtime"
    return f"{shown} can't be set" + (f", {suggestion}" if suggestion else f": {_ALLOWED_TEXT}")


def _trait_problem(name: str, value: str | None) -> str:
    section, _, trait = name.partition(".")
    shown = quoted("--" + name)
    traits = ALLOWED_TRAITS.get(section)
    if traits is None or trait not in traits:
        candidates = traits or () if traits else tuple(ALLOWED_TRAITS)
        return _refused(name, name.rpartition(".")[2], did_you_mean(trait if traits else section, candidates))
    if value is None:
        return expected(f"`--{name}=VALUE` in one entry", shown)
    if trait == "default_url" and not _PAGE.fullmatch(value):
        return f"{shown}: " + expected("the path of a page such as `/lab` or `/tree`", "another value")
    return ""
