"""The operations of the API: which path leads to what, and what the OpenAPI document says of it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from nxtrack.cloud.messages import (
    AssetDownload,
    AssetPage,
    Done,
    DownloadURL,
    LiveLogs,
    NewRun,
    RunChange,
    RunCreated,
    RunInformation,
    RunList,
    RunLogs,
    RunResult,
    UploadURL,
)
from nxtrack.cloud.resources import (
    Application,
    ApplicationChange,
    ApplicationPage,
    BatchExperiment,
    ExperimentPage,
    Instance,
    InstancePage,
    NewApplication,
)
from nxtrack.server.endpoints import applications, objects, payloads, runs
from nxtrack.server.endpoints.openapi import BYTES, ID, JSON, TEXT, Handler, Operation, Parameter

_BAD = HTTPStatus.BAD_REQUEST
_FORBIDDEN = HTTPStatus.FORBIDDEN
_NOT_FOUND = HTTPStatus.NOT_FOUND
_STALLED = HTTPStatus.REQUEST_TIMEOUT
_CONFLICT = HTTPStatus.CONFLICT
_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
_FULL = HTTPStatus.SERVICE_UNAVAILABLE

_APPS = "/v1/applications"
_APP = f"{_APPS}/{{app}}"
_BATCH = f"{_APP}/experiments/batch"
_RUNS = f"{_APP}/runs"
_RUN = f"{_RUNS}/{{run}}"

_TEXT = {"type": "string"}
_PAGES = (
    Parameter(
        name="pagereturn",
        schema={"type": "string", "enum": ["true", "false"]},
        description="Whether the answer is a page that may have a next one.",
    ),
    Parameter(name="pagetoken", schema=_TEXT, description="The `next_page_token` of the page before this one."),
)
_KIND = Parameter(
    name="type",
    schema={"type": "string", "enum": ["batch", "scenario"]},
    description="Which kind of experiments; there are only plain ones here.",
)
_INSTANCE = Parameter(
    name="instance_id",
    schema={"anyOf": [ID, {"const": ""}]},
    description="Which instance runs it, or did so; else the application's default.",
)
_AS_URL = Parameter(
    name="format", schema={"type": "string", "enum": ["url"]}, description="Asks for a URL in place of the bytes."
)
_SINCE = Parameter(name="since", schema=_TEXT, description="The `next_page_token` of the answer before.")
_SIGNED = (
    Parameter(name="expires", schema=_TEXT, description="Until when the URL is good."),
    Parameter(name="signature", schema=_TEXT, description="What proves that it was made here."),
)
_RANGE = Parameter(name="Range", schema=_TEXT, description="One range of bytes.", place="header")

# What serves what: where in an answer, or in its request, the next request finds its parameters.
_SAME_APP = {"application_id": "$request.path.application_id"}
_NEW_RUN = {**_SAME_APP, "run_id": "$response.body#/run_id"}
_NEW_APP = {"application_id": "$response.body#/id"}
_FROM_APPLICATION = {
    handler.__name__: {"parameters": _NEW_APP}
    for handler in (
        applications.get_application,
        applications.change_application,
        applications.list_instances,
        applications.list_experiments,
        objects.create_upload,
        runs.create_run,
        runs.list_runs,
    )
}
_FROM_UPLOAD = {
    "create_run": {
        "parameters": _SAME_APP,
        "requestBody": {
            "upload_id": "$response.body#/upload_id",
            "result": {"status": "succeeded", "output_upload_id": "$response.body#/upload_id"},
        },
    }
}
_FROM_RUN = {
    handler.__name__: {"parameters": _NEW_RUN}
    for handler in (
        runs.get_run,
        runs.change_run,
        runs.cancel_run,
        runs.get_metadata,
        payloads.get_input,
        payloads.get_output,
        payloads.get_logs,
        payloads.follow_logs,
        payloads.list_assets,
        runs.delete_run,
    )
} | {
    handler.__name__: {
        "parameters": {**_SAME_APP, "batch_experiment_id": "$request.body#/batch_experiment_id"},
    }
    for handler in (
        applications.get_experiment,
        applications.get_experiment_metadata,
        applications.list_experiment_runs,
    )
}
_FROM_ASSETS = {
    "get_asset": {
        "parameters": {**_SAME_APP, "run_id": "$request.path.run_id", "asset_id": "$response.body#/items/0/id"}
    }
}


def _get(path: str, handler: Handler, summary: str, answer: Any, *refusals: HTTPStatus, **more: Any) -> Operation:
    return _ask("GET", path, handler, summary, answer, *refusals, **more)


def _ask(
    method: str, path: str, handler: Handler, summary: str, answer: Any, *refusals: HTTPStatus, **more: Any
) -> Operation:
    return Operation(
        method=method, path=path, handler=handler, summary=summary, answer=answer, refusals=refusals, **more
    )


_APPLICATIONS = (
    _ask(
        "POST",
        _APPS,
        applications.create_application,
        "Make an application.",
        Application,
        *(_CONFLICT, _TOO_LARGE, _STALLED),
        body=NewApplication,
        links=_FROM_APPLICATION,
    ),
    _get(
        _APPS,
        applications.list_applications,
        "List the applications.",
        (ApplicationPage, list[Application]),
        parameters=_PAGES,
    ),
    _get(_APP, applications.get_application, "Show an application.", Application, _NOT_FOUND),
    _ask(
        "PUT",
        _APP,
        applications.change_application,
        "Change an application's name, description or default instance.",
        Application,
        *(_NOT_FOUND, _TOO_LARGE, _STALLED),
        body=ApplicationChange,
    ),
    _ask("DELETE", _APP, applications.delete_application, "Delete an application with all its runs.", Done, _NOT_FOUND),
    _get(
        f"{_APP}/instances",
        applications.list_instances,
        "List the instances that run this application.",
        (InstancePage, list[Instance]),
        _NOT_FOUND,
        parameters=_PAGES,
    ),
    _get(f"{_APP}/instances/{{instance}}", applications.get_instance, "Show an instance.", Instance, _NOT_FOUND),
    _get(
        _BATCH,
        applications.list_experiments,
        "List the batch experiments that runs name.",
        (ExperimentPage, list[BatchExperiment]),
        _NOT_FOUND,
        parameters=(*_PAGES, _KIND),
    ),
    _get(
        f"{_BATCH}/{{experiment}}",
        applications.get_experiment,
        "Show a batch experiment.",
        BatchExperiment,
        _NOT_FOUND,
    ),
    _get(
        f"{_BATCH}/{{experiment}}/metadata",
        applications.get_experiment_metadata,
        "Show how far a batch experiment is.",
        BatchExperiment,
        _NOT_FOUND,
    ),
    _get(
        f"{_BATCH}/{{experiment}}/runs",
        applications.list_experiment_runs,
        "List the runs of a batch experiment, newest first.",
        RunList,
        _NOT_FOUND,
    ),
)

_OF_RUNS = (
    _ask(
        "POST",
        f"{_RUNS}/uploadurl",
        objects.create_upload,
        "Get an upload id, and the URL to PUT its bytes to.",
        UploadURL,
        links=_FROM_UPLOAD,
    ),
    _ask(
        "POST",
        _RUNS,
        runs.create_run,
        "Start a remote run, or with `result` track one that was made elsewhere.",
        RunCreated,
        *(_NOT_FOUND, _CONFLICT, _TOO_LARGE, _STALLED),
        body=NewRun,
        parameters=(_INSTANCE,),
        links=_FROM_RUN,
    ),
    _get(_RUNS, runs.list_runs, "List the runs, newest first.", RunList, _NOT_FOUND, parameters=_PAGES),
    _get(
        _RUN,
        runs.get_run,
        "Show a run with its output, or a URL for it.",
        RunResult,
        *(_NOT_FOUND, _TOO_LARGE),
        parameters=(_AS_URL,),
    ),
    _ask(
        "PUT",
        _RUN,
        runs.change_run,
        "Change a run's name or description.",
        RunInformation,
        *(_NOT_FOUND, _TOO_LARGE, _STALLED),
        body=RunChange,
    ),
    _ask(
        "DELETE",
        _RUN,
        runs.delete_run,
        "Delete a run; one that is under way is canceled first.",
        Done,
        _NOT_FOUND,
    ),
    _ask(
        "PATCH",
        f"{_RUN}/cancel",
        runs.cancel_run,
        "Cancel a run that is queued or running.",
        RunInformation,
        *(_NOT_FOUND, _CONFLICT),
    ),
    _get(
        f"{_RUN}/metadata",
        runs.get_metadata,
        "Show a run without its output: what to ask while it is under way.",
        RunInformation,
        _NOT_FOUND,
    ),
    _get(
        f"{_RUN}/input",
        payloads.get_input,
        "Get a run's input, or a URL for it.",
        {JSON: {}},
        *(_NOT_FOUND, _TOO_LARGE),
        parameters=(_AS_URL,),
    ),
    _get(
        f"{_RUN}/output",
        payloads.get_output,
        "Get a run's output, or a URL for it.",
        {JSON: {}},
        *(_NOT_FOUND, _TOO_LARGE),
        parameters=(_AS_URL,),
    ),
    _get(
        f"{_RUN}/logs",
        payloads.get_logs,
        "Get a run's logs so far, or once it has ended a URL for them.",
        (RunLogs, DownloadURL),
        *(_NOT_FOUND, _TOO_LARGE),
        parameters=(_AS_URL,),
    ),
    _get(
        f"{_RUN}/logs/live",
        payloads.follow_logs,
        "Get what a run has logged since the last answer.",
        LiveLogs,
        _NOT_FOUND,
        parameters=(_SINCE,),
    ),
    _get(f"{_RUN}/assets", payloads.list_assets, "List a run's assets.", AssetPage, _NOT_FOUND, links=_FROM_ASSETS),
    _get(
        f"{_RUN}/assets/{{asset}}",
        payloads.get_asset,
        "Get a URL for an asset's content.",
        AssetDownload,
        *(_NOT_FOUND, _TOO_LARGE),
    ),
)

_OBJECTS = (
    _ask(
        "PUT",
        "/uploads/{upload_id}",
        objects.put_upload,
        "Upload the bytes of one payload, by the signed URL alone; a second PUT replaces the first.",
        {},
        *(_BAD, _FORBIDDEN, _NOT_FOUND, HTTPStatus.LENGTH_REQUIRED, _TOO_LARGE, _FULL),
        body={BYTES: {}, JSON: {}, TEXT: {}},
        parameters=_SIGNED,
    ),
    _get(
        "/downloads/{app}/{run}/{kind}",
        objects.get_download,
        "Download one payload, by the signed URL alone.",
        {JSON: {}, TEXT: {}, "application/gzip": {}},
        *(_BAD, _FORBIDDEN, _NOT_FOUND, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, _FULL),
        parameters=(*_SIGNED, _RANGE),
    ),
)

OPERATIONS = (*_APPLICATIONS, *_OF_RUNS, *_OBJECTS)
"""All that the API and the object store can be asked."""
