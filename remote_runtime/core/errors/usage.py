"""Codes of the command line and of profiles."""

from __future__ import annotations

from .catalogue import CatalogueEntry

USAGE = {
    "usage": CatalogueEntry(
        "The command line is invalid.",
        "An option or argument is missing or unknown, or two options exclude each other.",
        "Add `--help` to the command to see its options and examples.",
    ),
    "confirmation-needed": CatalogueEntry(
        "The command asks before it creates or deletes a VM.",
        "There is no terminal to ask on, or the question was not answered with yes. Nothing was changed.",
        "Run it in a terminal, or answer in advance: `remote-runtime up PROFILE --yes`, `remote-runtime down PROFILE "
        "--yes`.",
    ),
    "sync-source-missing": CatalogueEntry(
        "The source of the sync is not there.",
        "The path is misspelled, or its disk is not mounted. A sync needs a folder.",
        "Check the path. To copy one file, use `cp`.",
    ),
    "sync-source-empty": CatalogueEntry(
        "The source of the sync is empty, and `--delete` was given.",
        "It was not empty at the last sync. Its disk is not mounted, or the machine is a new one. Nothing was changed.",
        "Check the source. If everything is to be deleted on the target, add `--force`.",
    ),
    "sync-target-unusable": CatalogueEntry(
        "The target of the sync is no folder, or can't be made.",
        "A file has its name, the folder above it does not exist, or it is read-only.",
        "Make the folder first, or name another one.",
    ),
    "sync-not-confirmed": CatalogueEntry(
        "A first sync of more than 1 GB asks before it copies.",
        "There is no terminal to ask on, or the question was not answered with yes. Nothing was changed.",
        "Run it in a terminal, or answer in advance with `--yes`.",
    ),
    "ignore-file-invalid": CatalogueEntry(
        "The file `.remote-runtime-ignore` has an error.",
        "A pattern has a bracket that is not closed, a class such as `[:alpha:]`, or names nothing.",
        "Fix the line that the message names. Nothing was changed.",
    ),
    "profile-not-found": CatalogueEntry(
        "No profile has this name.",
        "The name is misspelled, or the file is in a folder that is not searched.",
        "Run `remote-runtime profiles list` to see the names, or pass the path of the file.",
    ),
    "target-folder-missing": CatalogueEntry(
        "The folder to copy to does not exist.",
        "Its name is misspelled, or it is a file. Several sources need a folder as their target.",
        "Make the folder first, for example with `remote-runtime ssh PROFILE -- mkdir -p FOLDER`.",
    ),
    "profile-invalid": CatalogueEntry(
        "The profile has errors.",
        "The file is not valid YAML, or a key is unknown, misplaced or has an invalid value. The message lists every "
        "error with its file, line and key.",
        "Fix the listed problems, then run `remote-runtime profiles check PROFILE`. `remote-runtime profiles show "
        "example` prints every key.",
    ),
    "cluster-worker-unfit": CatalogueEntry(
        "A profile in `cluster.workers` can't be a worker.",
        "It is the profile of the cluster itself, has a `cluster` of its own, creates its VM, or is a demo.",
        "Name the profile of a machine that exists. `remote-runtime profiles show PROFILE` prints its keys.",
    ),
}
BUG = {
    "bug": CatalogueEntry(
        "Internal error.",
        "This is a bug in remote-runtime.",
        "Run `remote-runtime doctor --report FILE` and attach the file to a bug report; it has no secrets.",
    ),
}
DEADLINE = {
    "deadline-passed": CatalogueEntry(
        "A step took longer than its time limit.",
        "The limit in `timeouts` of the profile, or in `--timeout`, is too short, or the other side does not respond.",
        "Set a longer limit: `--timeout SECONDS`, or `timeouts` in the profile.",
    ),
}
INTERRUPTED = {
    "interrupted": CatalogueEntry(
        "The command was cancelled.",
        "You pressed Ctrl-C, closed the terminal, or ran `down` during `up`. `up` undoes what it started.",
        "Run `remote-runtime up PROFILE` to start again.",
    ),
}
