"""Owns what can be typed: each command's options, its help, and which function does its work."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Optional

import typer

app = typer.Typer(
    name="nxtrack",
    help="Delivers tracked runs of decision models to Nextmv Cloud, and looks after those that wait on this machine.",
    epilog="Exit status: 0 done; 1 a run was rejected; 2 usage, configuration or authentication; 75 left for later.",
    add_completion=False,
    no_args_is_help=True,
    # Plain help needs none of rich, which would cost each command its start-up.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


class State(StrEnum):
    """The states of a run in the spool."""

    ACTIVE = "active"
    READY = "ready"
    UNCONFIRMED = "unconfirmed"
    SYNCED = "synced"
    REJECTED = "rejected"


class Form(StrEnum):
    """The formats of an input or output."""

    JSON = "json"
    TEXT = "text"
    CSV_ARCHIVE = "csv-archive"
    MULTI_FILE = "multi-file"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        from nxtrack.cli.output import say

        say(f"nxtrack {version('nxtrack')}")
        raise typer.Exit


@app.callback()
def _nxtrack(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def flush(
    *,
    app_id: Annotated[
        Optional[str],  # noqa: UP045  (the oldest typer that is supported reads no other spelling)
        typer.Option(metavar="APP", help="Deliver only runs of this application, and those that name none."),
    ] = None,
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Connections to work with; NXTRACK_JOBS, else 8."),
    ] = None,
    rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Runs to send a second, 0 for no limit; NXTRACK_RATE, else 5."),
    ] = None,
    limit: Annotated[Optional[int], typer.Option(min=1, help="Deliver at most so many runs.")] = None,  # noqa: UP045
    timeout: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, metavar="SECONDS", help="Begin no further run after so many seconds."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on delivering, until Ctrl-C or SIGTERM.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be delivered; send nothing.")] = False,
    other_hosts: Annotated[
        bool,
        typer.Option("--other-hosts", help="Take unfinished runs of other machines for dead. Only if you know it."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Deliver the runs that wait.

    Shows a progress bar on a terminal. Ctrl-C once finishes what is in flight; twice stops at once. Nothing is lost
    either way. With --watch, --json prints a line of JSON for each flush that changed something.
    """
    import dataclasses

    from nxtrack import settings
    from nxtrack.cli import flush as work
    from nxtrack.delivery.order import Order

    if watch and dry_run:
        raise typer.BadParameter("--watch and --dry-run exclude each other.")
    chosen = settings.current()
    chosen = dataclasses.replace(
        chosen, jobs=chosen.jobs if jobs is None else jobs, rate=chosen.rate if rate is None else rate
    )
    order = Order(app_id=app_id, timeout=timeout, limit=limit, other_hosts=other_hosts)
    if dry_run:
        return work.preview(chosen, order, as_json=as_json)
    if watch:
        from nxtrack.cli.watch import watch as work_on

        return work_on(chosen, order, as_json=as_json)
    return work.deliver(chosen, order, as_json=as_json)


@app.command()
def status(*, as_json: AsJson = False) -> int:
    """Count the runs in the spool by state.

    With their bytes, the age of the oldest that waits, and how many could not be recorded.
    """
    from nxtrack.cli import status as work

    return work.status(as_json=as_json)


@app.command("list")
def list_runs(
    *,
    state: Annotated[Optional[State], typer.Option(help="List only runs in this state.")] = None,  # noqa: UP045
    limit: Annotated[Optional[int], typer.Option(min=1, help="List at most so many runs.")] = None,  # noqa: UP045
    as_json: AsJson = False,
) -> int:
    """List runs in the spool, newest first."""
    from nxtrack.cli import runs

    return runs.list_runs(None if state is None else state.value, limit=limit, as_json=as_json)


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id in the spool, or its beginning.")],
    *,
    input: Annotated[bool, typer.Option("--input", help="Print the input's bytes, and nothing else.")] = False,  # noqa: A002
    output: Annotated[bool, typer.Option("--output", help="Print the output's bytes, and nothing else.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Print the logs' bytes, and nothing else.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show all that is known of a run in the spool."""
    from nxtrack.cli import show as work

    if input + output + logs + as_json > 1:
        raise typer.BadParameter("--input, --output, --logs and --json exclude each other.")
    if input or output or logs:
        return work.print_artefact(run_id, "input" if input else "output" if output else "logs")
    return work.show(run_id, as_json=as_json)


@app.command("exec", context_settings={"allow_interspersed_args": False})
def execute(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", help="The program to run, and its arguments.")],
    *,
    app_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--app-id", metavar="APP", help="The run's application; NEXTMV_APP_ID."),
    ] = None,
    instance_id: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="INSTANCE", help="The instance that the run is counted to; NEXTMV_INSTANCE_ID."),
    ] = None,
    name: Annotated[Optional[str], typer.Option(help="What to call the run.")] = None,  # noqa: UP045
    description: Annotated[Optional[str], typer.Option(help="What to say of the run.")] = None,  # noqa: UP045
    option: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME=VALUE", help="An option of the run, to be recorded. May be given again."),
    ] = None,
    input: Annotated[  # noqa: A002
        Optional[str],  # noqa: UP045
        typer.Option("--input", metavar="FILE", help="The file that COMMAND reads its input from, if not from stdin."),
    ] = None,
    input_dir: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--input-dir", metavar="DIR", help="The folder that it reads its input from."),
    ] = None,
    output: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--output", metavar="FILE", help="The file that it writes its output to; what it prints goes to the logs."
        ),
    ] = None,
    output_dir: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--output-dir", metavar="DIR", help="The folder that it writes its output to; likewise."),
    ] = None,
    form: Annotated[
        Optional[Form],  # noqa: UP045
        typer.Option("--format", help="The input's format; by default what its content shows."),
    ] = None,
    output_form: Annotated[
        Optional[Form],  # noqa: UP045
        typer.Option("--output-format", help="The output's format; likewise."),
    ] = None,
) -> int:
    """Run any program as a tracked run.

    Its input is what comes on stdin, its output what it prints on stdout, its logs what it prints on stderr. All of it
    passes through unchanged, and so do signals and its exit status. Put -- before COMMAND, so that its options are not
    taken for these.
    """
    from nxtrack.cli import exec as work

    return work.execute(
        work.Order(
            command=command,
            app_id=app_id,
            instance_id=instance_id,
            name=name,
            description=description,
            options=option or (),
            input_file=input,
            input_dir=input_dir,
            output_file=output,
            output_dir=output_dir,
            form=None if form is None else form.value,
            output_form=None if output_form is None else output_form.value,
        )
    )


@app.command()
def replay(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run's id in the spool, or its beginning.")],
    function: Annotated[
        str, typer.Argument(metavar="FUNCTION", help="module:function, or file.py:function, seen from this folder.")
    ],
    *,
    tolerance: Annotated[
        float, typer.Option(min=0, help="By how much numbers may differ: absolute, or as a share of the larger one.")
    ] = 0.0,
    ignore: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="PATH", help="A place in the output not to compare, such as statistics.run.duration."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run a function again on a captured input.

    Status, error and output are compared; duration and logged metrics are shown side by side. What the function
    prints goes to stderr. No run is recorded. Exit status: 0 the same, 1 different.
    """
    from nxtrack.cli import replay as work

    if not math.isfinite(tolerance):
        raise typer.BadParameter("--tolerance takes a finite number.")
    return work.replay(run_id, function, work.Terms(tolerance, tuple(ignore or ())), as_json=as_json)


@app.command()
def retry(
    run_ids: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="ID", help="Ids of rejected runs, or their beginnings."),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Send all rejected runs back.")] = False,
    as_json: AsJson = False,
) -> int:
    """Send rejected runs back to those that wait.

    The next flush uploads them anew.
    """
    from nxtrack.cli import retention

    if bool(run_ids) == every:
        raise typer.BadParameter("Give the ids of rejected runs, or --all.")
    return retention.retry(run_ids or None, as_json=as_json)


@app.command()
def clean(
    *,
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="Only runs that began so long ago: 30m, 12h, 7d, 2w."),
    ] = "0",
    rejected: Annotated[bool, typer.Option("--rejected", help="Remove rejected runs too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    as_json: AsJson = False,
) -> int:
    """Remove delivered runs from the spool.

    All of them, unless --older-than is given. Runs that wait for delivery always stay.
    """
    from nxtrack.cli import retention

    age = retention.seconds(older_than)
    return retention.clean(older_than=age, rejected=rejected, dry_run=dry_run, as_json=as_json)


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


@app.command()
def serve(
    *,
    host: Annotated[str, typer.Option(help="A name or address to listen on; any but loopback needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = 8770,
    data: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="DIR", help="Where to keep the data; by default in your user data folder."),
    ] = None,
    key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            envvar="NXTRACK_SERVE_KEY",
            help="The only API key to let in. A key on the command line shows in the list of processes: prefer the "
            "variable.",
        ),
    ] = None,
    tls: Annotated[
        bool,
        typer.Option(
            "--tls", help="Speak https, with a certificate that is made for it; the second line says how to trust it."
        ),
    ] = False,
    certificate: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="FILE", help="Speak https with this certificate, a PEM file."),
    ] = None,
    certificate_key: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="FILE", help="Its key, unencrypted; by default in the same file."),
    ] = None,
    instance: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="NAME=COMMAND",
            help="A program that executes remote runs: it reads the input on stdin, gets options as -key value, "
            "prints the output on stdout and logs on stderr. May be given again.",
        ),
    ] = None,
    jobs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Remote runs to execute at once; by default one for each processor."),
    ] = None,
    time_limit: Annotated[
        str, typer.Option(metavar="TIME", help="How long a remote run may take: 90, 30m, 12h.")
    ] = "300",
    max_inline: Annotated[
        str, typer.Option(metavar="SIZE", help="The most of an input or output inside a request or an answer.")
    ] = "5MiB",
    max_upload: Annotated[str, typer.Option(metavar="SIZE", help="The most that one upload takes.")] = "500MB",
    max_download: Annotated[
        str,
        typer.Option(metavar="SIZE", help="The most that one download gives, and that a remote run may print."),
    ] = "100MB",
    url_lifetime: Annotated[
        str, typer.Option(metavar="TIME", help="How long an upload or download URL is valid: 90, 15m, 1h.")
    ] = "15m",
    rate_limit: Annotated[
        bool,
        typer.Option("--rate-limit", help="Answer 429 above 5 posted runs a second or 2000 requests a minute."),
    ] = False,
) -> int:
    """Run the local platform.

    It has the API for tracked and remote runs, and a page of their history. The first line printed holds the address.
    On loopback any key is let in, unless --key is given. Ctrl-C or SIGTERM stops it, and what it executes.
    """
    from nxtrack.cli import serve as work

    return work.run_platform(
        work.Wishes(
            host=host,
            port=port,
            data=data,
            key=key,
            tls=tls,
            certificate=certificate,
            certificate_key=certificate_key,
            instances=tuple(instance or ()),
            jobs=jobs,
            time_limit=time_limit,
            max_inline=max_inline,
            max_upload=max_upload,
            max_download=max_download,
            url_lifetime=url_lifetime,
            rate_limit=rate_limit,
        )
    )


@app.command()
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the platform up until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The platform's port; 0 takes a free one.")] = 0,
) -> int:
    """Go the whole way on this machine.

    A local platform, tracked solves, a flush, and reading the runs back. Everything happens in a temporary folder;
    your spool, your key and Nextmv Cloud are left alone.
    """
    from nxtrack.cli import demo as work

    return work.demo(keep=keep, port=port)
