"""A contender: the platform's own SDK, which tracks a run by sending it. Usage: sdk_run.py INPUT OUTPUT LOG, in bytes.

`track_run` alone: `track_run_with_result` then waits for a second or more, and asks for the result.
"""

from __future__ import annotations

import os
import sys

import nextmv
from nextmv.cloud import Application, Client
from turns import take_turns

given, output, log = (int(size) for size in sys.argv[1:])
client = Client(api_key=os.environ["NEXTMV_API_KEY"], url=os.environ["NEXTMV_ENDPOINT"])
application = Application(client=client, id=os.environ["NEXTMV_APP_ID"])


def call() -> None:
    application.track_run(
        nextmv.TrackedRun(
            status=nextmv.TrackedRunStatus.SUCCEEDED,
            input={"text": "i" * given},
            output={"text": "o" * output},
            duration=1,
            logs="l" * log,
        )
    )


take_turns(call, f"nextmv {nextmv.__version__}")
