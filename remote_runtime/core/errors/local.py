"""Codes of this computer: ports, background processes, state files."""

from __future__ import annotations

from .catalogue import CatalogueEntry

LOCAL = {
    "port-in-use": CatalogueEntry(
        "Another program is using the local port.",
        "A Jupyter server, another runtime or another program listens on 127.0.0.1 or ::1.",
        "Use another port with `--port N`, or set `forward.local_port: auto`.",
    ),
    "keeper-died": CatalogueEntry(
        "The background process ended unexpectedly.",
        "It was killed, the computer restarted, or it has a bug.",
        "Run `remote-runtime up PROFILE` to start it again. `remote-runtime logs PROFILE` shows its log.",
    ),
    "python-gone": CatalogueEntry(
        "The Python that runs remote-runtime can't start.",
        "Its environment was replaced or removed while the command ran, or belongs to another user.",
        "Reinstall remote-runtime: `uv tool install --reinstall remote-runtime`, `pipx reinstall remote-runtime`, or "
        "pip in a new environment.",
    ),
    "keeper-unresponsive": CatalogueEntry(
        "The background process is not responding.",
        "It is suspended, or the computer is overloaded.",
        "Run `remote-runtime down PROFILE --force` to end it.",
    ),
    "busy": CatalogueEntry(
        "Another command is changing this runtime, or its kernels are busy.",
        "`up` or `down` of the same runtime is in progress, or a cell is running.",
        "Wait until it finishes. `remote-runtime down PROFILE --force` stops it now; running cells lose their work.",
    ),
    "copy-incomplete": CatalogueEntry(
        "Some files were not copied.",
        "They can't be read or written, changed meanwhile, or are devices or pipes. The message lists them.",
        "Fix what the list shows, then run the command again with `--resume`.",
    ),
    "sync-running": CatalogueEntry(
        "Another sync of the same two folders is running.",
        "It was started in another terminal, perhaps with `--watch`.",
        "Wait until it has finished, or end it with Ctrl-C.",
    ),
    "sync-incomplete": CatalogueEntry(
        "Some files were not synced.",
        "They can't be read or written, changed meanwhile, or are devices or pipes. The message lists them.",
        "Fix what the list shows, then run the command again.",
    ),
    "folder-unreadable": CatalogueEntry(
        "A folder of this computer can't be read.",
        "It is no folder, or belongs to another user.",
        "Check the path and its permissions.",
    ),
    "not-up": CatalogueEntry(
        "This runtime is not running.",
        "It was never started here, was stopped, or is not ready yet.",
        "Run `remote-runtime up PROFILE`.",
    ),
    "left-behind": CatalogueEntry(
        "`down` could not clean up everything.",
        "The machine or the cloud could not be reached.",
        "Run `remote-runtime down PROFILE` again. `remote-runtime down PROFILE --force` forgets what is left.",
    ),
    "state-unreadable": CatalogueEntry(
        "A state file is damaged or from a newer version.",
        "The disk was full while the file was written, or a newer remote-runtime wrote it.",
        "Run `remote-runtime down PROFILE --force` to end its processes here and delete the file.",
    ),
    "too-many-files": CatalogueEntry(
        "The limit of open files is too low.",
        "The shell's limit is low (`ulimit -n`), or many programs have many files open.",
        "Run `ulimit -n 1024`, then `remote-runtime up PROFILE` in the same shell.",
    ),
    "no-browser": CatalogueEntry(
        "Can't open a browser on this computer.",
        "The session has no desktop (for example over SSH), or no browser is installed.",
        "Open the page on your own computer, or set `BROWSER`.",
    ),
    "no-clipboard": CatalogueEntry(
        "Can't copy to the clipboard.",
        "The session has no desktop, or no clipboard program is installed.",
        "Install wl-clipboard, xclip or xsel, or copy the URL from the terminal.",
    ),
    "completion-not-written": CatalogueEntry(
        "Shell completion could not be written.",
        "The directory or the shell's startup file is read-only, or belongs to another user.",
        "Print the script with `remote-runtime completion SHELL`, and save it where your shell looks.",
    ),
    "profile-not-written": CatalogueEntry(
        "The profile's file can't be written.",
        "The configuration folder is read-only or belongs to another user, or its disk is full.",
        "Free space, fix the folder's permissions, or set `REMOTE_RUNTIME_CONFIG_DIR`.",
    ),
    "state-dir-unusable": CatalogueEntry(
        "The state directory can't be used.",
        "It is read-only or belongs to another user, its disk is full, or its file system has no locks or sockets.",
        "Free space there, or set `REMOTE_RUNTIME_STATE_DIR` to your own directory.",
    ),
    "report-not-written": CatalogueEntry(
        "The report of `doctor` could not be written.",
        "The folder belongs to another user, or the disk is full.",
        "Pass a file in your own folder: `remote-runtime doctor PROFILE --report FILE`.",
    ),
    "ssh-config-not-written": CatalogueEntry(
        "The SSH configuration could not be read or written.",
        "~/.ssh/config or ~/.ssh/remote-runtime is read-only or belongs to another user, or the disk is full.",
        "Fix the permissions, or print the entry with `remote-runtime ssh-config PROFILE` and save it yourself.",
    ),
    "ssh-config-unsafe": CatalogueEntry(
        "A value can't be written to an SSH configuration.",
        "A path or a login name has a character that OpenSSH or the shell reads as something else.",
        "Move the file to a folder without such characters, or set `ssh.user`.",
    ),
    "ssh-config-missing": CatalogueEntry(
        "The machine is not in your SSH configuration.",
        "VS Code connects with OpenSSH's client, which reads ~/.ssh/config.",
        "Run `remote-runtime ssh-config PROFILE --install`, then try again.",
    ),
    "code-unreadable": CatalogueEntry(
        "The file with the code can't be read.",
        "It does not exist, belongs to another user, or is neither Python nor a notebook.",
        "Pass a Python file, a notebook, or `-` for standard input.",
    ),
    "output-not-written": CatalogueEntry(
        "The output of the code could not be written.",
        "The folder belongs to another user, or the disk is full.",
        "Pass a folder of your own: `remote-runtime exec PROFILE --output DIR`.",
    ),
    "no-outputs": CatalogueEntry(
        "No outputs of the runtime are recorded.",
        "A page was connected to each kernel whenever a cell printed something.",
        "Close the page while a cell runs, or download the notebook from the page.",
    ),
    "notebook-not-written": CatalogueEntry(
        "The notebook could not be written.",
        "The folder belongs to another user, or the disk is full.",
        "Pass a file in your own folder: `remote-runtime outputs PROFILE --notebook FILE`.",
    ),
}
