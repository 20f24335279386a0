"""The environment of the runtime's kernels, with which ``distributed.Client()`` needs no argument."""

from __future__ import annotations

from ..core.cluster import Cluster

_TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def kernel_environment(cluster: Cluster) -> dict[str, str]:
    """Dask's configuration, see https://docs.dask.org/en/stable/configuration.html. Empty before the head was
    prepared."""
    if not cluster.port:
        return {}
    folder = cluster.directory
    return {
        "DASK_SCHEDULER_ADDRESS": f"tls://127.0.0.1:{cluster.port}",
        f"{_TLS}CA_FILE": f"{folder}/ca.pem",
        f"{_TLS}CLIENT__CERT": f"{folder}/cert.pem",
        f"{_TLS}CLIENT__KEY": f"{folder}/key.pem",
    }
