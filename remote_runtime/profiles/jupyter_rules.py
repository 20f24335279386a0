"""What a profile may say to the Jupyter server: arguments and environment variables that cannot open it to others.

An option that this module does not know to be harmless is refused. Facts from traitlets and jupyter_server:

- Options are ``--Class.trait=value``, aliases (``--ip``) and flags (``--debug``); argparse also takes unambiguous
  beginnings (``--cert`` for ``--certfile``) and a value as the next argument. So: whole known names, always with ``=``.
- A trait may be set through the section of any class that its owner inherits from (``--Configurable.ip``), and
  sections nest (``--ServerApp.IdentityProvider.token``). So: the trait counts, whatever the class; nothing nested.
- Positional arguments are files to open, subcommands or values of the option before.
"""

from __future__ import annotations

import re

from .complaints import near_miss, quoted

Refusal = tuple[str, str]

_FLAGS = ("allow-root", "debug", "no-browser")
_ALIASES = ("log-level",)

# Traits of the server itself, and of applications on top of it, that change nothing about who may enter.
_APPLICATION_TRAITS = frozenset(
    (
        "allow_root", "autoreload", "contents_manager_class", "custom_display_url", "default_url",
        "extra_static_paths", "extra_template_paths", "iopub_data_rate_limit", "iopub_msg_rate_limit",
        "kernel_manager_class", "kernel_spec_manager_class", "limit_rate", "log_datefmt", "log_format", "log_level",
        "max_body_size", "max_buffer_size", "min_open_files_limit", "rate_limit_window",
        "shutdown_no_activity_timeout", "static_immutable_cache", "terminals_enabled", "user_settings_dir",
        "websocket_ping_interval", "websocket_ping_timeout", "workspaces_dir",
    )
)  # fmt: skip

# Sections that reach the server's own traits: applications, and the classes that they inherit from.
_APPLICATION = re.compile(r".*(?:App|Application|ExtensionAppJinjaMixin|Configurable|HasTraits|HasDescriptors)")
# Who may enter, who signs the kernels' messages, and who else runs the kernels.
_GUARD = re.compile(r"(?i).*(?:identity|auth|login|logout|session|gateway|singleuser|security|connectionfile).*")

# A trait with one of these words could open a port, a lock or a way around one, in whatever class.
_DANGEROUS_WORDS = frozenset(
    (
        "access", "addr", "address", "allowlist", "args", "auth", "authenticate", "authenticated", "authorizer", "bind",
        "ca", "cert", "certfile", "cli", "cmd", "command", "config", "connection", "cookie", "cookies", "cors",
        "credential", "credentials", "csrf", "csp", "env", "extension", "extensions", "handler", "handlers", "header",
        "headers", "host", "hostname", "hostnames", "hosts", "identity", "interface", "ip", "jpserver", "key",
        "keyfile", "keys", "listen", "login", "logout", "origin", "origins", "passwd", "password", "pat", "port",
        "ports", "proxy", "pwd", "remote", "root", "secret", "server", "servers", "services", "signature", "sock",
        "socket", "ssl", "tls", "token", "tokens", "tornado", "transport", "trust", "unauthenticated", "url", "user",
        "whitelist", "xheaders", "xsrf",
    )
)  # fmt: skip

_INSTEAD = {
    "root_dir": "use jupyter.working_dir",
    "notebook_dir": "use jupyter.working_dir",
    "preferred_dir": "use jupyter.working_dir",
    "port": "use jupyter.port",
    "allow_origin": "use colab.origins",
    "allow_origin_pat": "use colab.origins",
}
_ALLOWED = "allowed are --debug, --log-level=LEVEL and --Class.trait=value of traits that guard nothing"

# Variables that make programs load other code or read other settings than the server was started with. PATH,
# LD_LIBRARY_PATH and IPYTHONDIR stay allowed: CUDA and kernels need them, and they set nothing of the server.
_REFUSED_ENV = re.compile(
    "(?:JUPYTER|JPY|JUPYTERHUB|JUPYTERLAB|REMOTE_RUNTIME|DYLD)(?:_.*)?"
    "|LD_PRELOAD|LD_AUDIT|GCONV_PATH|OPENSSL_CONF|BASH_ENV|ENV|HOME|USERPROFILE|APPDATA|PROGRAMDATA|XDG_.*"
    "|PYTHON.*|__PYVENV_LAUNCHER__",
    re.IGNORECASE,
)
_HARMLESS_PYTHON_ENV = frozenset(
    (
        "PYTHONASYNCIODEBUG", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONHASHSEED", "PYTHONIOENCODING",
        "PYTHONMALLOC", "PYTHONTRACEMALLOC", "PYTHONUNBUFFERED", "PYTHONUTF8",
    )
)  # fmt: skip
_SECRET_WORDS = re.compile("key|token|secret|pass|pwd|credential|auth|cookie|dsn|url", re.IGNORECASE)


def refuse_arg(arg: str) -> Refusal | None:
    """Why ``arg`` may not be given to the server (what is wrong, what is allowed), or None. Never shows its value."""
    option, equals, _ = arg.partition("=")
    if not option.startswith("-") or option in ("-", "--"):
        return "is not an option (a file to open, or the value of the option before)", "write --Class.trait=value"
    if not option.startswith("--"):
        return f"{quoted(option)} is a short option", "write its long name"
    name = option[2:]
    if "." in name:
        return _refuse_trait(name, has_value=bool(equals))
    return _refuse_short_name(name, has_value=bool(equals))


def refuse_env_name(name: str) -> Refusal | None:
    """Why a variable of this name may not be set for the server, or None."""
    if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        return f"{quoted(name)} is not a name of an environment variable", "letters, digits and _"
    if _REFUSED_ENV.fullmatch(name) and name not in _HARMLESS_PYTHON_ENV:
        return f"{name} may not be set: it can change what the server loads or whom it lets in", "any other name"
    return None


def hides_env_value(name: str) -> bool:
    """Whether the variable's value looks like a secret by its name."""
    return bool(_SECRET_WORDS.search(name))


def _refuse_short_name(name: str, *, has_value: bool) -> Refusal | None:
    if name in _FLAGS:
        return (f"--{name} takes no value", f"write --{name}") if has_value else None
    if name in _ALIASES:
        return None if has_value else (f"--{name} has no value", f"write --{name}=VALUE in one entry")
    hint = near_miss(name, (*_FLAGS, *_ALIASES))
    what = f"{quoted('--' + name)} may not be set" + (f", {hint}" if hint else "")
    return what, _INSTEAD.get(name.lower().replace("-", "_"), _ALLOWED)


def _refuse_trait(name: str, *, has_value: bool) -> Refusal | None:
    section, _, trait = name.partition(".")
    shown = quoted("--" + name)
    if not re.fullmatch("[A-Z][A-Za-z0-9_]*", section) or not re.fullmatch("[a-z][a-z0-9_]*", trait):
        instead = _INSTEAD.get(trait.lower().replace("-", "_"), "write --Class.trait=value, with one point")
        return f"{shown} may not be set", instead
    if _GUARD.fullmatch(section):
        return f"{shown} may not be set: {section} guards the server", _ALLOWED
    if _APPLICATION.fullmatch(section):
        if trait not in _APPLICATION_TRAITS:
            hint = near_miss(trait, _APPLICATION_TRAITS)
            return f"{shown} may not be set" + (f", {hint}" if hint else ""), _INSTEAD.get(trait, _ALLOWED)
    elif trait in _INSTEAD or not _DANGEROUS_WORDS.isdisjoint(trait.split("_")):
        return f"{shown} may not be set", _INSTEAD.get(trait, _ALLOWED)
    return None if has_value else (f"{shown} has no value", f"write --{name}=VALUE in one entry")
