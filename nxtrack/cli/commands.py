"""Owns what can be typed of the spool and of programs: options, help, and which function does each command's work."""

from __future__ import annotations

import math
from typing import Annotated, Optional

import typer

from nxtrack.cli.frame import AsJson, Form, State, app


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
