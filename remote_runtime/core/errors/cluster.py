"""Codes of clusters: the engine on the machines, and the network between them."""

from __future__ import annotations

from .catalogue import CatalogueEntry

CLUSTER = {
    "cluster-engine-missing": CatalogueEntry(
        "Dask is not installed in the Python that would run it.",
        "The scheduler runs in the Python of the kernels, a worker in the `jupyter.python` of its profile. One of them "
        "has no package `distributed`.",
        "Run the command of the message on that machine. For a private environment, set "
        "`jupyter.packages: [distributed]`.",
    ),
    "cluster-version-mismatch": CatalogueEntry(
        "A worker has other versions than the scheduler.",
        "Dask sends pickled functions: Python, distributed and cloudpickle must be the same on all machines.",
        "Install the versions of the message on the worker, or set `jupyter.python` in its profile.",
    ),
    "cluster-network": CatalogueEntry(
        "A worker can't connect to the scheduler.",
        "The machines are in different networks, a firewall blocks the port, or another program listens there. Workers "
        "connect to the scheduler's machine directly.",
        "Allow TCP connections between the machines, or choose machines of one network.",
    ),
    "cluster-did-not-start": CatalogueEntry(
        "Dask's scheduler or worker ended, or was not ready in time.",
        "A package it imports is broken, its configuration on the machine is invalid, or the machine is out of memory. "
        "The message has the end of its log.",
        "Fix the problem in the log, then run `remote-runtime up PROFILE` again.",
    ),
    "cluster-port-in-use": CatalogueEntry(
        "Another program on the machine uses the scheduler's port.",
        "The port was chosen when the runtime started, and its kernels know it.",
        "Run `remote-runtime down PROFILE`, then `remote-runtime up PROFILE`, to use another port.",
    ),
    "cluster-not-stopped": CatalogueEntry(
        "Processes of Dask did not end.",
        "A task is blocked in the operating system, waiting for a disk or a GPU.",
        "Run `remote-runtime down PROFILE` again.",
    ),
}
