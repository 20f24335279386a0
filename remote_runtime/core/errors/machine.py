"""Codes of Python, Jupyter and the bridge on the machine, and of the connection from the browser to them."""

from __future__ import annotations

from .catalogue import CatalogueEntry

MACHINE = {
    "python-missing": CatalogueEntry(
        "The machine has no usable Python.",
        "The only Python is older than 3.8, none is on the PATH, or `jupyter.python` names a file that does not exist "
        "or does not run.",
        "Install Python 3.8 or newer on the machine, or set `jupyter.python`.",
    ),
    "jupyter-missing": CatalogueEntry(
        "The machine has no Jupyter, and the profile does not allow installing it.",
        "`jupyter.install` is `never`, or `jupyter.python` names an environment without jupyter_server and ipykernel.",
        "Set `jupyter.install: auto`, or install jupyter_server and ipykernel in that environment.",
    ),
    "jupyter-install-failed": CatalogueEntry(
        "The private environment for Jupyter could not be created.",
        "The machine can't reach a package index (a VM without an external address needs Cloud NAT), its Python can't "
        "create environments, or its home folder is mounted noexec. The message has the installer's last lines.",
        "Set `jupyter.python` to a Python that has Jupyter, or give the machine access to a package index.",
    ),
    "jupyter-did-not-start": CatalogueEntry(
        "The Jupyter server ended or did not respond in time.",
        "An option in `jupyter.args` is invalid, the port is in use, an extension fails, or a package can't be "
        "imported. The message has the end of the server's log.",
        "Fix the problem in the log. `remote-runtime logs PROFILE --server` shows all of it.",
    ),
    "lab-missing": CatalogueEntry(
        "The server has no JupyterLab.",
        "JupyterLab is not installed in the environment that the server runs in.",
        "Install jupyterlab there, or use Colab: `remote-runtime open PROFILE`.",
    ),
    "outputs-not-recorded": CatalogueEntry(
        "The runtime does not record outputs.",
        "`jupyter.record_outputs` is `false`, Jupyter was started by an older version of remote-runtime, or it is your "
        "own server (`jupyter.attach`).",
        "Set `jupyter.record_outputs: true`, then run `remote-runtime down PROFILE` and `remote-runtime up PROFILE`.",
    ),
    "kernel-not-found": CatalogueEntry(
        "No kernel or kernelspec has this name.",
        "The kernel has ended, or the name is misspelled.",
        "Leave out `--kernel` to use the kernel `exec`, or use one of the names in the message.",
    ),
    "kernel-died": CatalogueEntry(
        "The kernel ended while it ran code.",
        "The code ended its process or crashed it, or the machine ran out of memory.",
        "Run `remote-runtime logs PROFILE --server` to see the kernel's last output.",
    ),
    "jupyter-stuck": CatalogueEntry(
        "The Jupyter server runs but does not respond.",
        "It is suspended, the machine is out of memory, or an extension blocks it. It was not restarted, to keep its "
        "kernels.",
        "Run `remote-runtime down PROFILE --force`, then `remote-runtime up PROFILE`, for a new server.",
    ),
    "attach-not-found": CatalogueEntry(
        "None of your Jupyter servers listens on `jupyter.attach.port`.",
        "The server is not running, listens on another port, or belongs to another user, as on port 8080 of a Deep "
        "Learning VM.",
        "Run `remote-runtime ssh PROFILE -- jupyter server list` to see yours, or remove `jupyter.attach`.",
    ),
    "attach-without-token": CatalogueEntry(
        "The server to attach to has no private token.",
        "It was started without a token, accepts requests without one, or other users can read the token's file.",
        "Start the server with a token, and run `chmod 600` on the file in `jupyter.attach.token_file`.",
    ),
    "attach-unfit": CatalogueEntry(
        "The server to attach to is not set up for Colab.",
        "It runs without the bridge, and its settings do not allow Colab's page. The message lists them.",
        "Run `remote-runtime bridge enable` on the machine, or change the settings, then restart that server.",
    ),
    "bridge-not-loaded": CatalogueEntry(
        "Jupyter runs without the bridge.",
        "The server's configuration disables the extension, or it failed to load.",
        "Run `remote-runtime logs PROFILE --server` to see why.",
    ),
    "stopped-when-idle": CatalogueEntry(
        "Jupyter was stopped because it was idle.",
        "The runtime was unused for the time that `idle` in the profile sets.",
        "Run `remote-runtime up PROFILE` to start it again.",
    ),
    "jupyter-did-not-stop": CatalogueEntry(
        "Processes of the Jupyter server did not end.",
        "A kernel is blocked in the operating system, waiting for a disk or a GPU.",
        "Run `remote-runtime down PROFILE` again. `remote-runtime ssh PROFILE -- ps aux` lists the processes.",
    ),
    "disk-full": CatalogueEntry(
        "The machine's disk is full.",
        "There is no space for the server's files or its log.",
        "Run `remote-runtime ssh PROFILE -- df -h` to see which disk is full, then free space there.",
    ),
    "environment-read-only": CatalogueEntry(
        "The environment's folders can't be written.",
        "The environment of `bridge enable` is read-only or belongs to another user.",
        "Choose another environment: `remote-runtime bridge enable --python PATH`.",
    ),
    "folder-unusable": CatalogueEntry(
        "The remote-runtime directory on the machine can't be created or written.",
        "`~/.local/share/remote-runtime` belongs to another user, or the home folder is read-only.",
        "Run `remote-runtime ssh PROFILE -- ls -ld ~/.local/share/remote-runtime` to see its owner.",
    ),
    "program-missing": CatalogueEntry(
        "The machine lacks a required program.",
        "On a system without /proc (not Linux), `lsof` lists the listening ports and `ps` the processes.",
        "Install the program in the message on the machine.",
    ),
    "another-machine": CatalogueEntry(
        "The connection reached another machine than the one that runs Jupyter.",
        "Several machines share a name and a home folder, as the login nodes of a cluster do.",
        "Set `target.host` to the machine in the message. `remote-runtime down PROFILE --force` forgets that Jupyter, "
        "which keeps running there.",
    ),
    "machine-busy": CatalogueEntry(
        "Another remote-runtime is changing this server.",
        "Two commands start or stop the same server at the same time.",
        "Wait until the other command finishes, then try again.",
    ),
    "agent-did-not-start": CatalogueEntry(
        "The agent that copies files did not start on the machine.",
        "The machine allows no new process or no socket in /tmp, or its disk is full.",
        "Run `remote-runtime ssh PROFILE -- df -h /tmp` to see whether the disk is full.",
    ),
    "file-request-failed": CatalogueEntry(
        "The machine can't read or write a file or folder.",
        "It does not exist, belongs to another user, or its disk is full or read-only.",
        "Run `remote-runtime ssh PROFILE -- ls -la` to see the folder and its owner.",
    ),
    "unsafe-name": CatalogueEntry(
        "A file on the machine has a name that would be written outside the target folder.",
        "The machine listed a name with `..`, an absolute name, or a name below a symbolic link. Nothing was copied.",
        "Do not trust this machine's files. Copy single files by their names.",
    ),
    "machine-answer-invalid": CatalogueEntry(
        "The machine sent an invalid response.",
        "Login files print without end, the Python there is broken, or the connection was cut.",
        "Run `remote-runtime ssh PROFILE -- python3 --version` to see what the machine prints.",
    ),
}
HEALTH = {
    "not-answering": CatalogueEntry(
        "Jupyter does not respond through the forwarded port.",
        "Jupyter hangs or has ended, or the connection to the machine is slow or lost.",
        "Run `remote-runtime up PROFILE` to reconnect now, or `remote-runtime status PROFILE` to see its state.",
    ),
    "token-refused": CatalogueEntry(
        "Jupyter rejects the token.",
        "The server was restarted with another token.",
        "Run `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`.",
    ),
    "token-not-required": CatalogueEntry(
        "Jupyter accepts requests without a token.",
        "An identity provider or extension on the machine replaces the server's login.",
        "Remove it there. `remote-runtime logs PROFILE --server` shows what the server loaded.",
    ),
    "stranger-answered": CatalogueEntry(
        "An unknown process is listening on Jupyter's port.",
        "Jupyter ended, and another program on the machine took its port. The token was not sent.",
        "Run `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`, to use another port.",
    ),
    "origin-refused": CatalogueEntry(
        "Jupyter rejects Colab's origin, or accepts a foreign one.",
        "`colab.origins` does not list the page, or a setting on the machine overrides it.",
        "Check `colab.origins`. `remote-runtime logs PROFILE --server` shows what the server loaded.",
    ),
    "kernel-did-not-answer": CatalogueEntry(
        "A kernel does not start, or does not run a cell.",
        "The environment's ipykernel is broken, or the machine is out of memory.",
        "Run `remote-runtime logs PROFILE --server` to see the kernel's output.",
    ),
}
