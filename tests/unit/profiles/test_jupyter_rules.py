"""Nothing that a profile says to Jupyter can open the server to others."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_server import serverapp
from jupyter_server.auth.identity import PasswordIdentityProvider
from traitlets import Bool, Enum, Float, Int, List, Set, Unicode
from traitlets.config import Configurable

from remote_runtime.profiles.jupyter_rules import ALLOWED_TRAITS, arg_problem, env_name_problem, is_secret_env_name

DANGEROUS = (
    "ip", "port", "port_retries", "sock", "sock_mode", "token", "password", "password_required", "allow_origin",
    "allow_origin_pat", "allow_credentials", "allow_remote_access", "allow_unauthenticated_access",
    "allow_password_change", "authenticate_prometheus", "authorizer_class", "base_url", "certfile", "client_ca",
    "config_file", "config_file_name", "config_manager_class", "cookie_options", "cookie_secret", "cookie_secret_file",
    "disable_check_xsrf", "extra_log_scrub_param_keys", "extra_services", "file_to_run", "generate_config",
    "identity_provider_class", "jpserver_extensions", "keyfile", "local_hostnames", "logging_config",
    "login_handler_class", "logout_handler_class", "notebook_dir", "open_browser", "root_dir", "show_config",
    "show_config_json", "ssl_options", "terminado_settings", "tornado_settings", "trust_xheaders", "websocket_url",
    "kernel_websocket_connection_class", "session_manager_class", "answer_yes", "external_connection_dir",
    "allow_external_kernels",
)  # fmt: skip
SECTIONS = [kind.__name__ for kind in serverapp.ServerApp.mro() if kind is not object] + [
    "NotebookApp", "LabApp", "SingleUserNotebookApp", "JupyterNotebookApp", "ExtensionApp",
]  # fmt: skip


@pytest.mark.parametrize("section", SECTIONS)
def test_no_guarding_trait_can_be_set_through_any_section_of_the_server(section: str) -> None:
    for trait in DANGEROUS:
        for spelling in (trait, trait.replace("_", "-"), trait.upper(), trait + ".x", "x." + trait):
            assert arg_problem(f"--{section}.{spelling}=1"), (section, spelling)


def test_every_trait_of_the_installed_server_is_either_known_to_be_harmless_or_refused() -> None:
    accepted = {
        name for name in serverapp.ServerApp.class_trait_names(config=True) if not arg_problem(f"--ServerApp.{name}=1")
    }
    assert accepted == {
        "allow_root", "iopub_data_rate_limit", "iopub_msg_rate_limit", "limit_rate", "log_level", "max_body_size",
        "max_buffer_size", "min_open_files_limit", "rate_limit_window", "shutdown_no_activity_timeout",
        "terminals_enabled", "websocket_ping_interval", "websocket_ping_timeout",
    }  # fmt: skip


# The types of value that traitlets reads as data: a number, a switch, a name, or a list of these.
DATA = (Int, Float, Bool, Unicode, List, Set, Enum)
NAMES = {"default_kernel_name", "hide_globs", "allowed_kernelspecs", "whitelist", "log_level"}


def test_only_numbers_switches_and_names_can_be_set_in_any_class_that_a_server_has() -> None:
    """No class to import, no hook to call, no folder to serve and no address, whatever extension brings the class."""
    importlib.import_module("jupyter_server_terminals.terminalmanager")
    importlib.import_module("jupyter_server.services.contents.largefilemanager")
    importlib.import_module("jupyter_server.services.kernels.connection.channels")
    seen = 0
    for kind in classes_below(Configurable):
        for name, trait in kind.class_traits(config=True).items():
            if arg_problem(f"--{kind.__name__}.{name}=1") == "":
                seen += 1
                assert isinstance(trait, DATA), (kind, name)
                assert name in NAMES or not isinstance(trait, (Unicode, List, Set)), (kind, name)
    assert seen > 50


def classes_below(kind: type[Configurable]) -> Iterator[type[Configurable]]:
    for below in kind.__subclasses__():
        yield below
        yield from classes_below(below)


@pytest.mark.parametrize(
    "option",
    [
        "ServerApp.extra_static_paths", "NotebookApp.extra_static_paths", "ServerApp.extra_template_paths",
        "LabApp.static_paths", "LabApp.template_paths", "LabApp.templates_dir", "LabApp.workspaces_dir",
        "LabApp.override_static_url", "JupyterNotebookApp.static_dir", "ServerApp.static_immutable_cache",
        "NotebookApp.extra_nbextensions_path", "NotebookApp.mathjax_url", "NotebookApp.mathjax_config",
        "ServerApp.contents_manager_class", "ServerApp.kernel_manager_class", "ServerApp.kernel_spec_manager_class",
        "ServerApp.custom_display_url", "ServerApp.browser", "ServerApp.nbconvert_csp_sandbox",
        "ServerApp.jinja_environment_options", "ServerApp.jinja_template_vars", "ServerApp.log_format",
        "FileContentsManager.allow_hidden", "ContentsManager.allow_hidden", "ContentsManager.pre_save_hook",
        "FileContentsManager.post_save_hook", "ContentsManager.files_handler_class",
        "ContentsManager.checkpoints_class", "FileCheckpoints.checkpoint_dir",
        "KernelSpecManager.kernel_dirs", "KernelSpecManager.kernel_spec_class",
        "KernelManager.client_class", "KernelManager.client_factory", "KernelManager.restarter_class",
        "KernelProvisionerFactory.default_provisioner_name", "EventLogger.handlers", "SessionManager.database_filepath",
        "TerminalsExtensionApp.terminal_manager_class", "NotebookNotary.db_file", "GatewayClient.url", "Whatever.x",
        "ServerProxy.servers", "YDocExtension.ystore_class", "LoggingConfigurable.log", "Configurable.default_url",
    ],
)  # fmt: skip
def test_what_serves_files_runs_code_or_sends_the_token_elsewhere_is_refused_with_a_way_out(option: str) -> None:
    assert re.search("can't be set(:|, did you mean) |is managed by", arg_problem(f"--{option}=/home/me"))


@pytest.mark.parametrize(
    "page",
    [
        "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "http://evil.example",
        "https:/evil.example", "javascript:x", "evil.example", "", "/", "/lab//evil.example", "/lab/..//evil",
        "/%2f/evil",
        "/lab?next=//evil", "/lab#x", "/lab\n/x", " /lab", "/files/evil.html", "/view/evil.html", "/proxy/8000/",
        "/lab/../proxy/8000", "/lab/./../files/x.html", "/static/x", "/nbconvert/html/evil.ipynb", "/login", "/@evil",
    ],
)  # fmt: skip
def test_the_servers_first_page_is_one_of_its_own(page: str) -> None:
    for section in ("ServerApp", "LabApp", "NotebookApp", "JupyterNotebookApp"):
        assert arg_problem(f"--{section}.default_url={page}"), section


def test_applications_and_notebooks_can_be_the_first_page() -> None:
    for page in ("/lab", "/tree", "/lab/", "/lab/tree/notes/nb-1.ipynb", "/notebooks/nb.ipynb", "/doc"):
        assert arg_problem(f"--ServerApp.default_url={page}") == "", page


@pytest.mark.parametrize("section", ["IdentityProvider", "PasswordIdentityProvider", "LegacyIdentityProvider", "Other"])
def test_no_trait_that_says_who_may_enter_can_be_set(section: str) -> None:
    for trait in PasswordIdentityProvider.class_trait_names(config=True):
        assert section == "Other" or arg_problem(f"--{section}.{trait}=1"), trait
    for trait in ("token", "hashed_password", "password_required", "cookie_name", "login_handler_class"):
        assert arg_problem(f"--{section}.{trait}=1"), trait


def test_no_alias_of_the_server_and_no_beginning_of_one_gets_through() -> None:
    names = {*serverapp.aliases, *serverapp.flags, "allow-origin", "NotebookApp", "ServerApp", "yes", "help", "version"}
    accepted = set()
    for name in names:
        for end in range(1, len(name) + 1):
            for arg in (f"--{name[:end]}", f"--{name[:end]}=1", f"-{name[:end]}", f"-{name[:end]}=1"):
                if not arg_problem(arg):
                    accepted.add(arg)
    assert accepted == {"--debug", "--allow-root", "--no-browser", "--log-level=1"}


@pytest.mark.parametrize(
    "arg",
    [
        "", "-", "--", "=", "--=", "--=x", "notebook.ipynb", "list", "127.0.0.2", "-y", "-ip=::",
        "--ip", "--ip=::", "--IP=::",
        "--ServerApp.ip", "--ServerApp .ip=x", "--ServerApp..ip=x", "--.ip=x", "--ServerApp.=x", "--serverapp.ip=x",
        "---ip=x", "--ServerApp.ip =x", "--ServerApp.\u0131p=x", "--ServerApp.IdentityProvider.token=",
        "--LabApp.ServerApp.ip=x", "--c.ServerApp.ip=x", "--KernelManager.ip=0.0.0.0", "--KernelManager.transport=tcp",
        "--ConnectionFileMixin.ip=x", "--Session.key=", "--Session.keyfile=x", "--Session.signature_scheme=x",
        "--GatewayClient.url=http://evil", "--gateway-url=http://evil", "--ServerProxy.host_allowlist=*",
        "--ServerProxy.servers=x", "--MappingKernelManager.root_dir=/", "--ContentsManager.root_dir=/",
        "--config=/tmp/evil.py", "--ServerApp.tornado_settings={'headers':{}}", "--TerminalManager", "--debug=1",
        "--log-level", "--log-level\n--ip=x", "--KernelManager.connection_file=/tmp/x",
    ],
)  # fmt: skip
def test_what_could_open_the_server_is_refused(arg: str) -> None:
    assert arg_problem(arg)


@pytest.mark.parametrize(
    "arg",
    [
        "--debug", "--allow-root", "--no-browser", "--log-level=DEBUG", "--ServerApp.default_url=/lab",
        "--LabApp.default_url=/tree",
        "--NotebookApp.iopub_data_rate_limit=1e10", "--MappingKernelManager.cull_idle_timeout=3600",
        "--ServerApp.iopub_data_rate_limit=1e10", "--AsyncMappingKernelManager.cull_connected=True",
        "--ZMQChannelsWebsocketConnection.iopub_data_rate_limit=1e10", "--FileContentsManager.delete_to_trash=False",
        "--ServerApp.terminals_enabled=False", "--KernelSpecManager.allowed_kernelspecs={'python3'}",
        "--KernelManager.shutdown_wait_time=10", "--TerminalManager.cull_inactive_timeout=60",
    ],
)  # fmt: skip
def test_what_guards_nothing_is_accepted(arg: str) -> None:
    assert arg_problem(arg) == ""


def test_the_reference_lists_every_option_that_is_allowed() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference.md").read_text()
    listed = reference[reference.index("### Options for the server") : reference.index("## JSON")]
    for section, traits in ALLOWED_TRAITS.items():
        assert f"`{section}`" in listed
        assert [trait for trait in traits if f"`{trait}`" not in listed] == []


def test_a_setting_with_a_key_of_its_own_names_the_key() -> None:
    for arg, key in {
        "--ServerApp.root_dir=/": "jupyter.working_dir",
        "--notebook-dir=/": "jupyter.working_dir",
        "--port=1": "jupyter.port",
        "--NotebookApp.allow_origin=*": "colab.origins",
    }.items():
        assert f"use `{key}`" in arg_problem(arg)


@pytest.mark.parametrize(
    "name",
    [
        "JUPYTER_TOKEN", "JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "JUPYTER_PREFER_ENV_PATH",
        "jupyter_token", "JPY_PARENT_PID", "JUPYTERHUB_API_TOKEN", "PYTHONHOME", "PYTHONSTARTUP",
        "PYTHONUSERBASE", "PYTHONWARNINGS", "PYTHONBREAKPOINT", "PYTHON_ANYTHING_NEW", "LD_PRELOAD", "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES", "GCONV_PATH", "HOME", "XDG_DATA_HOME", "REMOTE_RUNTIME_STATE_DIR", "BASH_ENV", "",
        "A B",
        "A=B", "1A", "É",
    ],
)  # fmt: skip
def test_a_variable_that_changes_the_server_is_refused(name: str) -> None:
    assert env_name_problem(name)


@pytest.mark.parametrize(
    "name", ["PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "WANDB_API_KEY", "PYTHONHASHSEED", "a_1"]
)
def test_other_variables_are_accepted(name: str) -> None:
    assert env_name_problem(name) == ""


def test_values_of_variables_named_like_secrets_are_hidden() -> None:
    assert all(is_secret_env_name(name) for name in ("WANDB_API_KEY", "HF_TOKEN", "DATABASE_URL"))
    assert not is_secret_env_name("CUDA_VISIBLE_DEVICES")
