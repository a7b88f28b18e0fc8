"""The API for applications, the instances that run them, and the batch experiments their runs belong to."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from nxtrack.cloud.messages import Done, RunList
from nxtrack.cloud.resources import ApplicationChange, NewApplication
from nxtrack.server.data.store import StoredApplication
from nxtrack.server.endpoints.answers import application_answer, experiment_answer, instance_answer, list_item
from nxtrack.server.endpoints.exchange import (
    SMALL_BODY,
    Cut,
    answer,
    application_id,
    check_id,
    decode,
    find_application,
    parameter,
    read_body,
    refuse,
)
from nxtrack.server.ids import is_id, new_application_id
from nxtrack.server.state import platform_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from nxtrack.server.data.store import StoredExperiment

_MOST_EXPERIMENT_RUNS = 10_000


async def create_application(request: Request) -> Response:
    """`POST /v1/applications`."""
    new = decode(await read_body(request, SMALL_BODY), NewApplication)
    name = new_application_id() if new.id is None else new.id
    check_id("application", name)
    default = _default_instance(new)
    platform = platform_of(request)
    application = StoredApplication(
        id=name,
        name=new.name or name,
        description=new.description or "",
        default_instance=default,
        created_at=platform.microseconds(),
    )
    if not await run_in_threadpool(platform.store.add_application, application):
        refuse(HTTPStatus.CONFLICT, f"The application {name} exists already.")
    return answer(application_answer(application))


def list_applications(request: Request) -> Response:
    """`GET /v1/applications`, in the order of their ids."""
    cut = Cut(request, "application")
    return cut.answer(platform_of(request).store.applications(limit=cut.limit, after=cut.after), application_answer)


def get_application(request: Request) -> Response:
    """`GET /v1/applications/{app}`."""
    return answer(application_answer(find_application(request)))


async def change_application(request: Request) -> Response:
    """`PUT /v1/applications/{app}`: another name, description or default instance."""
    change = decode(await read_body(request, SMALL_BODY), ApplicationChange)
    old = await run_in_threadpool(find_application, request)
    default = _default_instance(change)
    changed = await run_in_threadpool(
        platform_of(request).store.update_application,
        old.id,
        new_name=change.name or old.name,
        description=old.description if change.description is None else change.description,
        default_instance=default or old.default_instance,
    )
    if changed is None:
        refuse(HTTPStatus.NOT_FOUND, f"No application {old.id} exists.")
    return answer(application_answer(changed))


def delete_application(request: Request) -> Response:
    """`DELETE /v1/applications/{app}`: with all its runs; those that still run are canceled first."""
    platform = platform_of(request)
    name = application_id(request)
    platform.cancel_all(name)
    unused = platform.store.remove_application(name)
    if unused is None:
        refuse(HTTPStatus.NOT_FOUND, f"No application {name} exists.")
    platform.payloads.remove(unused)
    return answer(Done())


def list_instances(request: Request) -> Response:
    """`GET .../instances`: those that this platform was started with; every application has the same."""
    application = find_application(request)
    cut = Cut(request, "instance")
    names = sorted(name for name in platform_of(request).instance_names() if name > cut.after)
    return cut.answer([instance_answer(application, name) for name in names], lambda instance: instance)


def get_instance(request: Request) -> Response:
    """`GET .../instances/{instance}`."""
    application = find_application(request)
    name: str = request.path_params["instance"]
    if name not in platform_of(request).instance_names():
        refuse(HTTPStatus.NOT_FOUND, f"No instance {name[:128]!r} is registered: start the platform with --instance.")
    return answer(instance_answer(application, name))


def list_experiments(request: Request) -> Response:
    """`GET .../experiments/batch`: the batch experiments that runs of this application name."""
    application = find_application(request).id
    cut = Cut(request, "experiment")
    wanted = parameter(request, "type", one_of=("batch", "scenario"))
    # A run only says which experiment it belongs to: here, each is a plain one.
    found = (
        []
        if wanted == "scenario"
        else platform_of(request).store.experiments(application, limit=cut.limit, after=cut.after)
    )
    return cut.answer(found, lambda experiment: experiment_answer(application, experiment))


def get_experiment(request: Request) -> Response:
    """`GET .../experiments/batch/{experiment}`."""
    application = find_application(request).id
    return answer(experiment_answer(application, _experiment(request, application)))


def get_experiment_metadata(request: Request) -> Response:
    """`GET .../experiments/batch/{experiment}/metadata`: here, the same."""
    return get_experiment(request)


def list_experiment_runs(request: Request) -> Response:
    """`GET .../experiments/batch/{experiment}/runs`: all at once, as the public SDK (1.13) asks for no pages."""
    application = find_application(request).id
    experiment = _experiment(request, application)
    runs = platform_of(request).store.runs(
        limit=_MOST_EXPERIMENT_RUNS, application=application, experiment=experiment.id
    )
    return answer(RunList(runs=[list_item(run) for run in runs]))


def _default_instance(said: ApplicationChange) -> str | None:
    """The default instance, by whichever of its two names it goes."""
    for name in (said.default_instance_id, said.default_instance):
        if name is not None:
            check_id("default instance", name)
    return said.default_instance_id or said.default_instance


def _experiment(request: Request, application: str) -> StoredExperiment:
    name: str = request.path_params["experiment"]
    found = platform_of(request).store.experiment(application, name) if is_id(name) else None
    if found is None:
        refuse(HTTPStatus.NOT_FOUND, f"No run of application {application} belongs to an experiment {name[:128]!r}.")
    return found
