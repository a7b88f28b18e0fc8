"""Turns stored runs and applications into the platform's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nxtrack.cloud.messages import (
    AssetItem,
    ContentFormat,
    RunFormat,
    RunInformation,
    RunListItem,
    RunMetadata,
    RunOptions,
    RunType,
)
from nxtrack.cloud.resources import Application, BatchExperiment, Instance
from nxtrack.server.data.contents import indicators
from nxtrack.server.times import rfc3339

if TYPE_CHECKING:
    from nxtrack.server.data.store import Run, StoredApplication, StoredAsset, StoredExperiment


def application_answer(application: StoredApplication) -> Application:
    """An application."""
    created = rfc3339(application.created_at)
    return Application(
        id=application.id,
        name=application.name,
        description=application.description,
        default_instance_id=application.default_instance,
        created_at=created,
        updated_at=created,
    )


def instance_answer(application: StoredApplication, name: str) -> Instance:
    """An instance, which every application has."""
    created = rfc3339(application.created_at)
    return Instance(id=name, name=name, application_id=application.id, created_at=created, updated_at=created)


def experiment_answer(application: str, experiment: StoredExperiment) -> BatchExperiment:
    """A batch experiment, as far as its runs tell of it."""
    done = experiment.runs == experiment.completed
    return BatchExperiment(
        id=experiment.id,
        name=experiment.id,
        created_at=rfc3339(experiment.created_at),
        updated_at=rfc3339(experiment.updated_at),
        status="completed" if done else "started",
        app_id=application,
        number_of_requested_runs=experiment.runs,
        number_of_runs=experiment.runs,
        number_of_completed_runs=experiment.completed,
    )


def metadata_answer(run: Run) -> RunMetadata:
    """What is known of a run besides its payloads."""
    sizes = {kind: artefact.size for kind, artefact in run.artefacts.items()}
    return RunMetadata(
        status=run.status,
        status_v2=run.status,
        created_at=rfc3339(run.created_at),
        duration=run.duration,
        execution_duration=run.duration,
        input_size=sizes.get("input", 0),
        output_size=sizes.get("output", 0),
        error=run.error,
        application_id=run.application,
        application_instance_id=run.instance,
        execution_class=run.execution_class,
        runtime="",
        run_type=RunType(type=run.run_type),
        format=RunFormat(input=_format(run.input_format), output=_format(run.output_format)),
        options=RunOptions(active_options=dict(run.options), request_options=dict(run.options)),
        metrics=run.metrics,
        experiment_id=run.experiment,
    )


def information_answer(run: Run) -> RunInformation:
    """A run without its output."""
    return RunInformation(id=run.id, name=run.name, description=run.description, metadata=metadata_answer(run))


def list_item(run: Run) -> RunListItem:
    """A run as one of a list."""
    return RunListItem(
        id=run.id,
        name=run.name,
        description=run.description,
        created_at=rfc3339(run.created_at),
        application_id=run.application,
        application_instance_id=run.instance,
        run_type=RunType(type=run.run_type),
        execution_class=run.execution_class,
        status=run.status,
        status_v2=run.status,
        experiment_id=run.experiment,
        metrics=None if run.metrics is None else _summary(run.metrics),
        options=run.options,
    )


def asset_answer(run: Run, asset: StoredAsset) -> AssetItem:
    """An asset of a run."""
    return AssetItem(
        id=asset.kind,
        name=asset.name,
        created_at=rfc3339(run.created_at),
        size=asset.size,
        content_type=asset.content_type,
        description=asset.description or None,
        visual=asset.visual,
    )


def _summary(metrics: dict[str, Any]) -> dict[str, Any]:
    """Metrics in the shape that a list of runs has for them (SDK 1.13, `RunInfoMetrics`)."""
    return {
        "status": "succeeded",
        "indicators": [{"name": name, "value": value} for name, value in indicators(metrics)],
    }


def _format(name: str) -> ContentFormat:
    return ContentFormat(type=name)  # type: ignore[arg-type]  # it was one of them when it was stored
