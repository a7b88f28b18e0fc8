"""The messages of the Nextmv Cloud API about what runs belong to: applications, instances, batch experiments.

As in `messages`. All of them are known from the public Python SDK (1.13) only; the local platform answers with them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nxtrack.cloud.messages import Description, Id, Message, RunName


class Application(Message, omit_defaults=False):
    """An application, as `GET /v1/applications/{id}` shows it (SDK)."""

    id: str
    name: str = ""
    description: str = ""
    type: str = "custom"
    default_instance_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class ApplicationPage(Message):
    """Answer of `GET /v1/applications?pagereturn=true` (SDK). Without it the answer is the list alone."""

    items: list[Application]
    next_page_token: str | None = None


class ApplicationChange(Message):
    """Body of `PUT /v1/applications/{id}`: what is left out stays as it is (SDK). The default goes by either name."""

    name: RunName | None = None
    description: Description | None = None
    default_instance_id: Id | None = None
    default_instance: Id | None = None


class NewApplication(ApplicationChange):
    """Body of `POST /v1/applications` (SDK)."""

    id: Id | None = None


class Instance(Message, omit_defaults=False):
    """One instance of an application: a way to run it (SDK)."""

    id: str
    application_id: str
    version_id: str = ""
    name: str = ""
    description: str = ""
    configuration: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    locked: bool = False
    created_at: str = ""
    updated_at: str = ""


class InstancePage(Message):
    """Answer of `GET .../instances?pagereturn=true` (SDK). Without it the answer is the list alone."""

    items: list[Instance]
    next_page_token: str | None = None


class BatchExperiment(Message, omit_defaults=False):
    """A batch experiment (SDK), of which the local platform knows what its runs say."""

    id: str
    name: str
    created_at: str
    updated_at: str
    status: str = "started"
    description: str = ""
    type: str = "batch"
    app_id: str = ""
    number_of_requested_runs: int = 0
    number_of_runs: int = 0
    number_of_completed_runs: int = 0
    input_set_id: str = ""
    instance_ids: list[str] = msgspec.field(default_factory=list[str])


class ExperimentPage(Message):
    """Answer of `GET .../experiments/batch?pagereturn=true` (SDK). Without it the answer is the list alone."""

    items: list[BatchExperiment]
    next_page_token: str | None = None
