"""What the interviews of `profiles new` share: the questions, look-ups at Google, and the choice of a project."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, TypeVar

from .. import compute, profiles
from ..core.callbacks import Progress
from ..core.deadline import Deadline
from ..core.errors import Interrupted, RemoteRuntimeError
from .new_profile import ProfileOptions

T = TypeVar("T")
LOOKUP_TIMEOUT_S = 60.0
NOT_SIGNED_IN = (
    "Can't list projects: not signed in to Google Cloud. Run `gcloud auth application-default login`, "
    "or type a project ID."
)

Rows = Sequence[Sequence[str]]
Validator = Callable[[str], str]  # why a text is invalid; empty if it is valid


class Prompts(Protocol):
    """Asks the user until the answer is valid. Raises ``EOFError`` and ``KeyboardInterrupt`` when they leave."""

    def note(self, text: str) -> None: ...
    def preview(self, text: str) -> None:
        """Shows the keys of a profile's text."""

    def show_error(self, error: RemoteRuntimeError) -> None:
        """A look-up failed, and the interview continues."""

    def progress(self, text: str) -> AbstractContextManager[Progress]:
        """Shows ``text`` while the block runs."""

    def prompt(self, question: str, *, default: str = "", validate: Validator) -> str: ...
    def choose(
        self, question: str, head: Sequence[str], rows: Rows, *, default: str = "", validate: Validator | None
    ) -> Sequence[str]:
        """One of ``rows``, or what was typed instead as the only cell if ``validate`` accepts it."""

    def confirm(self, question: str, *, default: bool) -> bool: ...


def choose_project(
    options: ProfileOptions, prompts: Prompts, environ: Mapping[str, str]
) -> tuple[ProfileOptions, bool]:
    """The options with a project, and whether there are credentials."""
    found = look_up("Listing your projects", prompts, functools.partial(compute.list_projects, environ=environ))
    signed_in, projects = found is not None, found or compute.ProjectList()
    if projects.why_none:
        prompts.note(f"Can't list projects: {projects.why_none}")
    if projects.ids:
        rows = [(each, f"from {projects.source}" if each == projects.default else "") for each in projects.ids]
        default = projects.default if projects.default in projects.ids or len(projects.ids) > 1 else projects.ids[0]
        head, validate = ("PROJECT", "DEFAULT"), validator("project")
        project = prompts.choose("Google Cloud project", head, rows, default=default, validate=validate)[0]
    else:
        fallback = "from gcloud or the credentials" if signed_in else "from gcloud"
        question = "Project ID" if projects.default else f"Project ID (Enter: {fallback})"
        project = prompts.prompt(question, default=projects.default, validate=optional_validator("project"))
    return replace(options, project=project or None), signed_in


def look_up(text: str, prompts: Prompts, call: Callable[..., T]) -> T | None:
    """None when it failed, which is shown."""
    try:
        with prompts.progress(text) as progress:
            return call(progress=progress, deadline=Deadline(LOOKUP_TIMEOUT_S))
    except Interrupted:
        raise
    except RemoteRuntimeError as error:
        if error.code == "no-credentials":
            prompts.note(NOT_SIGNED_IN)
        else:
            prompts.show_error(error)
        return None


def validator(key: str) -> Validator:
    return lambda text: profiles.value_error(key, text)


def optional_validator(key: str) -> Validator:
    return lambda text: profiles.value_error(key, text) if text else ""
