"""The platform's public SDK reads what nxtrack delivered, and nxtrack's reader agrees with it."""

from __future__ import annotations

import json

import pytest
from support import programs

pytest.importorskip("nextmv", reason="the SDK is in the extra `dev`")

READ_BACK = """
    import json, os, sys
    from nextmv.cloud import Application, Client

    application = Application(client=Client(api_key="key", url=os.environ["NEXTMV_ENDPOINT"]), id="routing")
    runs = application.list_runs()
    told = []
    for run in runs:
        result = application.run_result(run.id)
        told.append({
            "id": run.id,
            "status": result.metadata.status_v2.value,
            "error": result.metadata.error,
            "duration": result.metadata.execution_duration,
            "input": application.run_input(run.id),
            "output": result.output,
            "logs": application.run_logs(run.id).log,
            "type": result.metadata.run_type.run_type.value,
        })
    json.dump(told, sys.stdout)
"""


def test_the_sdk_reads_what_was_delivered(tmp_path, platform):
    access = {"NEXTMV_ENDPOINT": platform.url, "NEXTMV_API_KEY": "key", "PYTHONWARNINGS": "default"}
    made = programs.run(
        tmp_path,
        """
        import time
        import nxtrack

        @nxtrack.track(app_id="routing", options=["limit"])
        def solve(problem, limit):
            print("solving")
            time.sleep(0.05)
            if not problem:
                raise ValueError("nothing to solve")
            return {"solution": [1, 2], "metrics": {"cost": 3}}

        solve({"stops": 2}, limit=1)
        try:
            solve({}, limit=2)
        except ValueError:
            pass
        assert len(nxtrack.flush().synced) == 2
        """,
        **access,
    )
    assert made.returncode == 0, made.stderr
    read = programs.run(tmp_path, READ_BACK, **access)
    assert read.returncode == 0, read.stderr
    by_status = {run["status"]: run for run in json.loads(read.stdout)}
    good, bad = by_status["succeeded"], by_status["failed"]
    assert good["input"] == {"stops": 2}
    assert good["output"] == {"solution": [1, 2], "metrics": {"cost": 3}}
    assert good["logs"] == "solving\n"
    assert 50 <= good["duration"] < 5000
    assert {good["type"], bad["type"]} == {"external"}
    assert bad["error"] == "ValueError: nothing to solve"
    assert bad["logs"].endswith("ValueError: nothing to solve\n")
