"""Owns what can be typed of the local platform; see `commands`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from nxtrack.cli.frame import app


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
