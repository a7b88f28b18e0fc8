"""Owns what can be typed of remote runs; see `commands`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from nxtrack.cli.frame import AsJson, Form, app

RunId = Annotated[
    str, typer.Argument(metavar="RUN_ID", help="A run's id on the platform, or in the spool once it is delivered.")
]
RemoteApp = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--app-id", metavar="APP", help="The run's application; NEXTMV_APP_ID."),
]
OutputFile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--output",
        metavar="FILE",
        help="Write to this file; with a / at its end it is a new folder for an archive's files.",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the run has ended.")]
WaitSeconds = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--timeout", min=0, metavar="SECONDS", help="Wait, but no longer than this."),
]
MaxDownload = Annotated[str, typer.Option("--max-download", metavar="SIZE", help="The most that your plan downloads.")]


@app.command()
def submit(
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A file, - for stdin, or a folder, which is sent as an archive.")
    ],
    *,
    app_id: RemoteApp = None,
    instance_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANCE", help="The instance to run; NEXTMV_INSTANCE_ID, else the application's own."),
    ] = None,
    option: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME=VALUE", help="An option of the run. May be given again."),
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="What to call the run.")] = None,  # noqa: UP045
    description: Annotated[Optional[str], typer.Option(help="What to say of the run.")] = None,  # noqa: UP045
    form: Annotated[
        Optional[Form],  # noqa: UP045
        typer.Option("--format", help="The input's format, where its name and content do not tell."),
    ] = None,
    output_form: Annotated[Form, typer.Option("--output-format", help="The format of what the run returns.")] = (
        Form.JSON
    ),
    wait: Wait = False,
    timeout: WaitSeconds = None,
    output: OutputFile = None,
    max_upload: Annotated[
        str, typer.Option("--max-upload", metavar="SIZE", help="The most that your plan uploads.")
    ] = "500MB",
    max_download: MaxDownload = "100MB",
    as_json: AsJson = False,
) -> int:
    """Submit a remote run.

    A large input is uploaded first. With --wait, --timeout or --output it waits for the run and then does what
    `nxtrack result` does. Ctrl-C while waiting leaves the run alone.
    """
    from nxtrack.cli import remote, remote_submit

    return remote_submit.submit(
        remote_submit.Submission(
            source=source,
            app_id=app_id,
            instance_id=instance_id,
            options=option or (),
            name=name,
            description=description,
            form=None if form is None else form.value,
            output_form=output_form.value,
        ),
        remote.Wish(
            wait=wait or output is not None,
            timeout=timeout,
            output=output,
            limits=remote.limits(upload=max_upload, download=max_download),
            as_json=as_json,
        ),
    )


@app.command()
def result(
    run_id: RunId,
    *,
    app_id: RemoteApp = None,
    wait: Wait = False,
    timeout: WaitSeconds = None,
    output: OutputFile = None,
    max_download: MaxDownload = "100MB",
    as_json: AsJson = False,
) -> int:
    """Fetch the output of a run, on stdout or into a file.

    It comes byte for byte, or with --json among all that is known of the run. Exit status 1 says that the run failed
    or was canceled, 75 that it has not ended yet.
    """
    from nxtrack.cli import remote

    limits = remote.limits(download=max_download)
    wish = remote.Wish(wait=wait, timeout=timeout, output=output, limits=limits, as_json=as_json)
    return remote.result(run_id, app_id, wish)


@app.command("input")
def run_input(
    run_id: RunId, *, app_id: RemoteApp = None, output: OutputFile = None, max_download: MaxDownload = "100MB"
) -> int:
    """Fetch the input of a run, on stdout or into a file."""
    from nxtrack.cli import remote

    return remote.fetch_input(run_id, app_id, remote.Wish(output=output, limits=remote.limits(download=max_download)))


@app.command()
def logs(
    run_id: RunId,
    *,
    app_id: RemoteApp = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until the run has ended.")] = False,
) -> int:
    """Print a run's logs, so far."""
    from nxtrack.cli import remote

    return remote.logs(run_id, app_id, follow=follow)
