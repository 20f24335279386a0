"""Nothing that a profile says to Jupyter can open the server to others."""

from __future__ import annotations

import pytest
from jupyter_server import serverapp
from jupyter_server.auth.identity import PasswordIdentityProvider

from remote_runtime.profiles.jupyter_rules import hides_env_value, refuse_arg, refuse_env_name

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
            assert refuse_arg(f"--{section}.{spelling}=1"), (section, spelling)


def test_every_trait_of_the_installed_server_is_either_known_to_be_harmless_or_refused() -> None:
    accepted = {
        name for name in serverapp.ServerApp.class_trait_names(config=True) if not refuse_arg(f"--ServerApp.{name}=1")
    }
    assert accepted == {
        "allow_root", "autoreload", "contents_manager_class", "custom_display_url", "default_url",
        "extra_static_paths", "extra_template_paths", "iopub_data_rate_limit", "iopub_msg_rate_limit",
        "kernel_manager_class", "kernel_spec_manager_class", "limit_rate", "log_datefmt", "log_format", "log_level",
        "max_body_size", "max_buffer_size", "min_open_files_limit", "rate_limit_window",
        "shutdown_no_activity_timeout", "static_immutable_cache", "terminals_enabled", "websocket_ping_interval",
        "websocket_ping_timeout",
    }  # fmt: skip


@pytest.mark.parametrize("section", ["IdentityProvider", "PasswordIdentityProvider", "LegacyIdentityProvider", "Other"])
def test_no_trait_that_says_who_may_enter_can_be_set(section: str) -> None:
    for trait in PasswordIdentityProvider.class_trait_names(config=True):
        assert section == "Other" or refuse_arg(f"--{section}.{trait}=1"), trait
    for trait in ("token", "hashed_password", "password_required", "cookie_name", "login_handler_class"):
        assert refuse_arg(f"--{section}.{trait}=1"), trait


def test_no_alias_of_the_server_and_no_beginning_of_one_gets_through() -> None:
    names = {*serverapp.aliases, *serverapp.flags, "allow-origin", "NotebookApp", "ServerApp", "yes", "help", "version"}
    accepted = set()
    for name in names:
        for end in range(1, len(name) + 1):
            for arg in (f"--{name[:end]}", f"--{name[:end]}=1", f"-{name[:end]}", f"-{name[:end]}=1"):
                if not refuse_arg(arg):
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
    assert refuse_arg(arg)


@pytest.mark.parametrize(
    "arg",
    [
        "--debug", "--allow-root", "--no-browser", "--log-level=DEBUG", "--ServerApp.default_url=/lab",
        "--LabApp.default_url=/tree",
        "--ServerApp.custom_display_url=http://x", "--MappingKernelManager.cull_idle_timeout=3600",
        "--ServerApp.iopub_data_rate_limit=1e10", "--ContentsManager.allow_hidden=True",
        "--ServerApp.terminals_enabled=False", "--KernelSpecManager.allowed_kernelspecs={'python3'}",
        "--KernelManager.shutdown_wait_time=10", "--TerminalManager.cull_inactive_timeout=60",
    ],
)  # fmt: skip
def test_what_guards_nothing_is_accepted(arg: str) -> None:
    assert refuse_arg(arg) is None


def test_a_setting_with_a_key_of_its_own_names_the_key() -> None:
    for arg, key in {
        "--ServerApp.root_dir=/": "jupyter.working_dir",
        "--notebook-dir=/": "jupyter.working_dir",
        "--port=1": "jupyter.port",
        "--NotebookApp.allow_origin=*": "colab.origins",
    }.items():
        refusal = refuse_arg(arg)
        assert refusal
        assert key in refusal[1], arg


@pytest.mark.parametrize(
    "name",
    [
        "JUPYTER_TOKEN", "JUPYTER_CONFIG_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_PATH", "JUPYTER_PREFER_ENV_PATH",
        "jupyter_token", "JPY_PARENT_PID", "JUPYTERHUB_API_TOKEN", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP",
        "PYTHONUSERBASE", "PYTHONWARNINGS", "PYTHONBREAKPOINT", "PYTHON_ANYTHING_NEW", "LD_PRELOAD", "LD_AUDIT",
        "DYLD_INSERT_LIBRARIES", "GCONV_PATH", "HOME", "XDG_DATA_HOME", "REMOTE_RUNTIME_STATE_DIR", "BASH_ENV", "",
        "A B",
        "A=B", "1A", "É",
    ],
)  # fmt: skip
def test_a_variable_that_changes_the_server_is_refused(name: str) -> None:
    assert refuse_env_name(name)


@pytest.mark.parametrize(
    "name", ["PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "WANDB_API_KEY", "PYTHONHASHSEED", "a_1"]
)
def test_other_variables_are_accepted(name: str) -> None:
    assert refuse_env_name(name) is None


def test_values_of_variables_named_like_secrets_are_hidden() -> None:
    assert all(hides_env_value(name) for name in ("WANDB_API_KEY", "HF_TOKEN", "DATABASE_URL"))
    assert not hides_env_value("CUDA_VISIBLE_DEVICES")
