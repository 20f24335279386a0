"""Which Jupyter is taken on each generation of Deep Learning VMs, over a real SSH server with real interpreters."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_runtime.core.deadline import Deadline
from remote_runtime.core.errors import MachineError
from remote_runtime.core.model import Server
from remote_runtime.core.profile import COLAB_ORIGIN, JupyterSettings
from remote_runtime.jupyter import server as jupyter
from tests.support.clients.ssh_client import Visitor
from tests.support.machines.dl_vm import Environment, Image, asked_of_systemd, deep_learning_vm

CONDA = Environment("/opt/conda", frameworks=("torch",))
BARE_CONDA = Environment("/opt/conda", server=False, kernel=False)
TRAINING = Environment("/opt/conda", server=False, frameworks=("torch", "tensorflow"))
LAB = Environment("/opt/conda/envs/jupyterlab")
LAB_4 = Environment("/opt/conda/envs/jupyterlab4", frameworks=("jax",))
MICROMAMBA = Environment("/opt/micromamba/envs/jupyterlab")
VENV = Environment("/opt/venvs/dl", frameworks=("torch",))
SYSTEM = Environment("/opt/usr")
DOCKER = "/usr/bin/docker run --rm -p 8080:8080 gcr.io/deeplearning /opt/conda/bin/jupyter lab"


def ensure(image: Image, directory: Path, settings: JupyterSettings | None = None) -> tuple[Server, list[str]]:
    """What was started (and is stopped again), and what was asked of systemd."""
    wanted = jupyter.ServerSpec("work", "laptop1", settings or JupyterSettings(), (COLAB_ORIGIN,))
    with deep_learning_vm(directory, image) as sshd, Visitor(sshd, directory / "visitor").enter() as session:
        try:
            server = jupyter.ensure(session.run, wanted, progress=lambda text: None, deadline=Deadline(90))
        finally:
            jupyter.stop(session.run, wanted, deadline=Deadline(40))
        return server, asked_of_systemd(sshd)


@pytest.mark.parametrize(
    ("image", "prefix"),
    [
        pytest.param(Image((CONDA,), unit="/opt/conda/bin/jupyter lab --config=/x"), "/opt/conda", id="debian-conda"),
        pytest.param(Image((LAB, LAB_4, BARE_CONDA)), "/opt/conda/envs/jupyterlab4", id="conda-families"),
        pytest.param(Image((SYSTEM, VENV), unit="/opt/venvs/dl/bin/jupyter lab"), "/opt/venvs/dl", id="ubuntu-venv"),
        pytest.param(Image((SYSTEM,), login_path="/opt/usr/bin"), "/opt/usr", id="ubuntu-system"),
        pytest.param(Image((MICROMAMBA,), unit=DOCKER), "/opt/micromamba/envs/jupyterlab", id="container"),
    ],
)
def test_the_images_own_jupyter_is_taken(image: Image, prefix: str, tmp_path: Path) -> None:
    server, asked = ensure(image, tmp_path)
    assert str(Path(server.interpreter).parent) == f"{prefix}/bin"
    assert set(asked) == {"show -p ExecStart --value jupyter"}, "their own service is only looked at"


def test_kernels_run_where_the_frameworks_are_though_jupyter_is_elsewhere(tmp_path: Path) -> None:
    """As in the -conda families: one environment for JupyterLab, another for the work."""
    server, _ = ensure(Image((TRAINING, LAB), login_path="/opt/conda/bin"), tmp_path)
    assert server.interpreter == "/opt/conda/envs/jupyterlab/bin/python"
    assert any("python3 runs /opt/conda/bin/python3, which has torch, tensorflow" in note for note in server.notes)


def test_the_profiles_interpreter_wins_over_all(tmp_path: Path) -> None:
    settings = JupyterSettings(python="/opt/micromamba/envs/jupyterlab/bin/python", packages=("pandas",))
    server, _ = ensure(Image((CONDA, MICROMAMBA), login_path="/opt/conda/bin"), tmp_path, settings)
    assert server.interpreter == settings.python
    assert any("jupyter.packages only applies to a private environment" in note for note in server.notes)


def test_an_image_whose_jupyter_is_in_a_container_has_none_to_use(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as caught:
        ensure(Image((BARE_CONDA,), unit=DOCKER), tmp_path, JupyterSettings(install="never"))
    assert caught.value.code == "jupyter-missing"
    assert "/opt/conda/bin/python: no jupyter_server, no ipykernel" in caught.value.why
