"""Codes of Python, Jupyter and the bridge on the machine, and of the path from the browser to them."""

from __future__ import annotations

from .catalogue import CatalogueEntry

MACHINE = {
    "python-missing": CatalogueEntry(
        "the machine has no usable Python",
        "There is no Python 3.8 or newer on the PATH, or `jupyter.python` names a file that is not there.",
        "Install Python on the machine, or name it: `jupyter.python`.",
    ),
    "jupyter-missing": CatalogueEntry(
        "no Jupyter on the machine, and the profile forbids installing one",
        "`jupyter.install` is `never` or `jupyter.python` names an environment without jupyter_server and ipykernel.",
        "Set `jupyter.install: auto`, or install jupyter_server and ipykernel in that environment.",
    ),
    "jupyter-install-failed": CatalogueEntry(
        "the private environment for Jupyter could not be made",
        "The machine cannot reach a package index, its Python cannot make environments, or its home folder is mounted "
        "noexec.",
        "The message has pip's last words. `jupyter.python` names a Python that has Jupyter; a VM without external "
        "address needs Cloud NAT.",
    ),
    "jupyter-did-not-start": CatalogueEntry(
        "the Jupyter server died or did not answer in time",
        "An option in `jupyter.args` is wrong, the port is taken, an extension fails, or a package cannot be imported.",
        "The end of the server's log is in the message; mend what it names.",
    ),
    "lab-missing": CatalogueEntry(
        "the server has no JupyterLab",
        "JupyterLab is not installed in the environment that the server runs in.",
        "Install jupyterlab there, or use Colab's page: `remote-runtime open PROFILE`.",
    ),
    "jupyter-stuck": CatalogueEntry(
        "the Jupyter server lives and does not answer",
        "It is suspended, the machine has no memory left, or an extension keeps it busy.",
        "It is left alone for its kernels' sake. `remote-runtime down PROFILE --force` and `up` give a new one.",
    ),
    "attach-not-found": CatalogueEntry(
        "no Jupyter server of yours listens on jupyter.attach.port",
        "It does not run, listens elsewhere, or is another user's, as the one of a Deep Learning VM on port 8080.",
        "`remote-runtime ssh PROFILE -- jupyter server list` names yours; without `jupyter.attach` one is started.",
    ),
    "attach-without-token": CatalogueEntry(
        "the server to attach to has no token that only you can read",
        "It was started without a token, lets everybody in, or its token is in a file that others can read.",
        "Start it with a token; `chmod 600` the file that `jupyter.attach.token_file` names.",
    ),
    "attach-unfit": CatalogueEntry(
        "the server to attach to is not set up for Colab",
        "It runs without the bridge, and its settings do not let Colab's page in either; the message lists them.",
        "Add the bridge there (`remote-runtime bridge enable` on the machine) or the settings; restart that server.",
    ),
    "bridge-not-loaded": CatalogueEntry(
        "Jupyter answers, but without the bridge",
        "The server's configuration switches the extension off, or it failed while loading.",
        "`remote-runtime logs PROFILE --server` shows why it was not loaded.",
    ),
    "stopped-when-idle": CatalogueEntry(
        "Jupyter was ended on the machine because nobody used it",
        "The profile's `idle` says so, and nothing was used for that long.",
        "`remote-runtime up PROFILE` starts it again.",
    ),
    "jupyter-did-not-stop": CatalogueEntry(
        "processes of the Jupyter server could not be ended",
        "A kernel waits in the kernel of the operating system, for a disk or a GPU.",
        "`remote-runtime ssh PROFILE` and look with `ps`; `remote-runtime down PROFILE` tries again.",
    ),
    "disk-full": CatalogueEntry(
        "the machine's disk is full",
        "There is no space for the server's files or its log.",
        "`remote-runtime ssh PROFILE -- df -h` shows what is full; make room there.",
    ),
    "environment-read-only": CatalogueEntry(
        "the environment's folders cannot be written",
        "`bridge enable` was asked to write into an environment that belongs to somebody else.",
        "`remote-runtime bridge enable --python PATH` takes another environment.",
    ),
    "folder-unusable": CatalogueEntry(
        "our folder on the machine cannot be made or written",
        "`~/.local/share/remote-runtime` belongs to somebody else, or the home folder is read-only.",
        "`remote-runtime ssh PROFILE -- ls -ld ~/.local/share/remote-runtime` shows whose it is.",
    ),
    "program-missing": CatalogueEntry(
        "the machine lacks a program that is needed there",
        "A system other than Linux has no /proc: `lsof` tells there who listens on a port, `ps` which processes live.",
        "Install the program that the message names on the machine.",
    ),
    "another-machine": CatalogueEntry(
        "the login reached another machine than the one that Jupyter runs on",
        "Several machines answer under one name and share a home folder, as the login nodes of a cluster do.",
        "Set `target.host` to the machine that the message names. `remote-runtime down PROFILE --force` gives that "
        "Jupyter up, which keeps running there.",
    ),
    "machine-busy": CatalogueEntry(
        "another remote-runtime works on this server on the machine",
        "Two commands start or stop the same server at the same time.",
        "Wait until the other one is done, then try again.",
    ),
    "machine-answer-invalid": CatalogueEntry(
        "the machine's answer is not what our launcher sends",
        "Login files print without end, the Python there is broken, or the connection was cut in the middle.",
        "`remote-runtime ssh PROFILE -- python3 --version` shows what the machine prints.",
    ),
}
HEALTH = {
    "not-answering": CatalogueEntry(
        "no answer through the forwarded port",
        "Jupyter hangs or has ended, or the link to the machine is slow or gone.",
        "`remote-runtime status PROFILE` shows whether it is being mended; `remote-runtime up PROFILE` mends it now.",
    ),
    "token-refused": CatalogueEntry(
        "Jupyter refuses the token",
        "The server was started with another token than the one that is known here.",
        "`remote-runtime down PROFILE`, then `remote-runtime up PROFILE`.",
    ),
    "token-not-required": CatalogueEntry(
        "Jupyter lets everybody in, without a token",
        "Something that the server loads on the machine (an identity provider, an extension) replaces its login.",
        "Remove it there; `remote-runtime logs PROFILE --server` shows what the server loaded.",
    ),
    "stranger-answered": CatalogueEntry(
        "something answers that is not our server",
        "Jupyter ended and another program of the machine took its port. It was told no token.",
        "`remote-runtime down PROFILE`, then `remote-runtime up PROFILE`: the server gets another port.",
    ),
    "origin-refused": CatalogueEntry(
        "Jupyter refuses Colab's origin, or accepts a foreign one",
        "`colab.origins` does not list the page, or a setting on the machine overrides ours.",
        "Check `colab.origins`; `remote-runtime logs PROFILE --server` shows what the server loaded.",
    ),
    "kernel-did-not-answer": CatalogueEntry(
        "a kernel does not start, or runs no cell",
        "The environment's ipykernel is broken, or the machine has no memory left.",
        "`remote-runtime logs PROFILE --server` shows what the kernel said.",
    ),
}
