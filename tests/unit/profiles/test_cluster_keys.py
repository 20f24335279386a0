"""The keys of ``cluster``, and which profiles can be workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_runtime import profiles
from remote_runtime.core.cluster import ClusterSettings, WorkerGroup
from remote_runtime.core.errors import UsageError

HEAD = "version: 1\ntarget: {kind: ssh, host: h}\n"


def write(folder: Path, name: str, text: str) -> Path:
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def test_a_cluster_is_read_and_written() -> None:
    text = HEAD + "cluster: {workers: [{profile: a}, {profile: b}], threads: 2, memory: 8GB}\n"
    profile = profiles.parse_profile("head", "head.yaml", text)
    assert profile.cluster == ClusterSettings((WorkerGroup("a"), WorkerGroup("b")), "dask", 2, "8GB")
    assert profiles.parse_profile("head", "head.yaml", profiles.to_yaml(profile)).cluster == profile.cluster


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "cluster: {}\n", "cluster.workers: required key is missing"),
        (HEAD + "cluster: {workers: []}\n", "expected 1 to 64 entries"),
        (HEAD + "cluster: {workers: [{profile: a}, {profile: a}]}\n", "expected different profiles, got `a` twice"),
        (HEAD + "cluster: {workers: [{profile: ../a}]}\n", "expected only letters"),
        (HEAD + "cluster: {workers: [{profile: a, count: 2}]}\n", "unknown key"),
        (HEAD + "cluster: {engine: ray, workers: [{profile: a}]}\n", "expected `dask`"),
        (HEAD + "cluster: {workers: [{profile: a}], threads: 0}\n", "from 1 to 4096"),
        (HEAD + "cluster: {workers: [{profile: a}], memory: 8}\n", "expected text, got a number"),
        (HEAD + "cluster: {workers: [{profile: a}], memory: 8 GB}\n", "`auto` or a size"),
        (HEAD + "jupyter: {attach: {port: 8888}}\ncluster: {workers: [{profile: a}]}\n", "remove `jupyter.attach`"),
        ("version: 1\ntarget: {kind: demo}\ncluster: {workers: [{profile: a}]}\n", "`gce`, `ssh` or `local`"),
    ],
)
def test_a_mistake_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as failure:
        profiles.parse_profile("head", "head.yaml", text)
    assert message in failure.value.why


def test_workers_are_the_profiles_beside_it_and_then_those_of_the_search_path(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "search").mkdir()
    head = profiles.load(
        str(write(tmp_path / "here", "head", HEAD + "cluster: {workers: [{profile: a}, {profile: b}]}"))
    )
    write(tmp_path / "here", "a", "version: 1\ntarget: {kind: ssh, host: beside}\n")
    for name in ("a", "b"):
        write(tmp_path / "search", name, "version: 1\ntarget: {kind: ssh, host: searched}\n")
    found = profiles.load_cluster_workers(head, {"REMOTE_RUNTIME_PROFILES": str(tmp_path / "search")})
    assert [each.target_fields()["host"] for each in found] == ["beside", "searched"]


@pytest.mark.parametrize(
    ("worker", "why"),
    [
        (HEAD + "cluster: {workers: [{profile: c}]}\n", "it has a `cluster` of its own"),
        ("version: 1\ntarget: {kind: demo}\n", "a demo VM can't be a worker"),
        (
            "version: 1\ntarget: {kind: gce, instance: a, zone: us-central1-a, create: {machine_type: e2-small, "
            "image: {family: debian-12, project: debian-cloud}}}\n",
            "`target.create` is not possible for a worker",
        ),
    ],
)
def test_a_profile_that_cannot_be_a_worker_is_refused(tmp_path: Path, worker: str, why: str) -> None:
    head = profiles.load(str(write(tmp_path, "head", HEAD + "cluster: {workers: [{profile: a}]}")))
    write(tmp_path, "a", worker)
    with pytest.raises(UsageError) as failure:
        profiles.load_cluster_workers(head, {})
    assert (failure.value.code, failure.value.why) == ("cluster-worker-unfit", why)
    with pytest.raises(UsageError) as itself:
        profiles.load_cluster_workers(
            profiles.load(str(write(tmp_path, "a", HEAD + "cluster: {workers: [{profile: a}]}"))), {}
        )
    assert itself.value.why == "it is the profile of the cluster itself"
