"""Remote runs, start to end, on a real local platform: what users write, and what comes back."""

from __future__ import annotations

import codecs
import io
import json
import os
import signal
import threading
import time

import pytest

from nxtrack.cloud import Application, Client, Limits, PollingOptions
from nxtrack.cloud.messages import FINAL_STATUSES, RunConfiguration
from nxtrack.errors import AnswerLost, NotFound, Rejected, RunCanceled, RunFailed, SettingsError, StillRunning, TooLarge

QUICK = PollingOptions(initial_delay=0.05, delay=0.05, backoff=0.0, jitter=0.05)
LARGE = 5_100_000


def test_a_run_from_value_to_result(routing):
    seen = []
    result = routing.new_run_with_result(
        {"a": 1},
        name="first",
        description="by hand",
        run_options={"duration": "2"},
        polling_options=QUICK,
        polled=seen.append,
    )
    assert result.output == {"words": ["-duration", "2"], "characters": 7, "pad": ""}
    assert (result.name, result.metadata.status_v2) == ("first", "succeeded")
    assert result.description.startswith("by hand\n\nnxtrack:")
    assert result.to_dict()["output"] == result.output
    assert {type(information).__name__ for information in seen} == {"RunInformation"}
    assert seen[-1].metadata.is_final
    assert routing.run_input(result.id) == b'{"a":1}'
    assert routing.run_logs(result.id) == "solving\n"


@pytest.mark.parametrize("size", [3, LARGE])
@pytest.mark.parametrize("given", ["path", "bytes", "file", "pipe", "value"])
def test_what_an_input_may_be_given_as(routing, tmp_path, given, size):
    value = {"a": "x" * size}
    data = json.dumps(value).encode()
    path = tmp_path / "input.json"
    path.write_bytes(data)
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    feeder = threading.Thread(target=fifo.write_bytes, args=(data,), daemon=True)
    if given == "pipe":
        feeder.start()
    ahead = io.BytesIO(b"ahead" + data)
    ahead.seek(5)
    sources = {"path": path, "bytes": data, "file": ahead, "pipe": fifo, "value": value}
    run_id = routing.new_run(sources[given], options={"n": 3, "exact": True})
    information = routing.wait_for_run(run_id, QUICK)
    expected = data.replace(b'": "', b'":"') if given == "value" else data
    assert routing.run_input(run_id) == expected
    assert information.metadata.input_size == len(expected)
    assert information.metadata.options.request_options == {"n": "3", "exact": "true"}
    assert information.metadata.format.input.type == "json"
    assert not ahead.closed


@pytest.mark.parametrize("size", [0, 10, LARGE])
def test_a_text(routing, size):
    text = "ü\n" * (size // 3)
    run_id = routing.new_run(text)
    metadata = routing.wait_for_run(run_id, QUICK).metadata
    assert (metadata.format.input.type, metadata.format.output.type) == ("text", "json")
    assert routing.run_input(run_id) == text.encode()
    assert routing.run_result(run_id).output["characters"] == len(text)


def test_a_large_output_comes_by_url(routing, tmp_path):
    result = routing.new_run_with_result({"pad": LARGE}, polling_options=QUICK)
    assert len(result.output["pad"]) == LARGE
    told = []
    path = routing.run_output(result.id, tmp_path / "output.json", progress=lambda *far: told.append(far))
    assert path.read_bytes() == routing.run_output(result.id)
    assert json.loads(path.read_bytes()) == result.output
    assert told[-1] == (path.stat().st_size,) * 2
    with pytest.raises(
        TooLarge, match=rf"The output of run {result.id} has {path.stat().st_size} bytes, .* 1000: nothing was"
    ) as caught:
        routing.run_output(result.id, tmp_path / "other.json", limit=1000)
    assert (caught.value.size, caught.value.limit) == (path.stat().st_size, 1000)
    assert not (tmp_path / "other.json").exists()


def test_an_input_over_the_limit_is_an_error_before_the_first_byte(remote, tmp_path):
    with Client("any", remote) as client:
        small = Application("routing", client, limits=Limits(inline=5, upload=10))
        path = tmp_path / "input.json"
        path.write_bytes(b'"' + b"x" * 20 + b'"')
        for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), "x" * 22, {"a": "x" * 14}, tmp_path):
            with pytest.raises(TooLarge, match=r"limit.* 10\b|10 bytes"):
                small.new_run(source)
        assert client.requests_sent == 0
        assert small.new_run(b"123456789")  # uploaded, as it is larger than what may stand in a request
        assert client.requests_sent == 3
        assert small.new_run(b"12345")
        assert client.requests_sent == 4


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"{'a': 1}", "no JSON"),
        (b'"\xff"', "not UTF-8"),
        ({"a": [1.0, float("nan")]}, "NaN or infinity"),
        ((None, {"a": float("-inf")}), "NaN or infinity"),
        (object(), "cannot be written as JSON"),
        ("\ud800", "UTF-8 has no bytes"),
    ],
)
def test_what_is_no_input_is_never_sent(routing, value, why):
    with pytest.raises(Rejected, match=why) as caught:
        routing.new_run(value)
    assert caught.value.status == 0
    assert routing.client.requests_sent == 0


def test_a_value_with_none_in_it_is_an_input(routing):
    run_id = routing.new_run({"a": None, "b": 1.5})
    assert routing.run_input(run_id) == b'{"a":null,"b":1.5}'


def test_a_value_that_holds_itself(routing):
    circle = []
    circle.append(circle)
    with pytest.raises(Rejected, match="nested too deeply"):
        routing.new_run(circle)


def test_misuse_is_a_type_error_or_says_what_to_do(routing, tmp_path):
    with pytest.raises(TypeError, match="either an input or an upload_id"):
        routing.new_run()
    with pytest.raises(TypeError, match="either an input or an upload_id"):
        routing.new_run({}, upload_id="u")
    with pytest.raises(TypeError, match="the same"):
        routing.new_run_with_result({}, options={"a": "1"}, run_options={"a": "1"})
    (tmp_path / "text").write_text("a")
    with (tmp_path / "text").open() as file, pytest.raises(TypeError, match=r'The input .* open it with "rb"'):
        routing.new_run(file)
    with (
        codecs.open(tmp_path / "text", encoding="utf-8") as file,
        pytest.raises(TypeError, match="The upload is a file"),
    ):
        routing.upload(file)
    for value in (object(), float("nan"), [float("inf")]):
        with pytest.raises(Rejected, match=r"Option a cannot be written as JSON .* not sent"):
            routing.new_run({}, options={"a": value})
    with pytest.raises(TypeError, match="Options are a mapping of names to values, and no list"):
        routing.new_run({}, options=[("a", "1")])
    for configuration in ({"format": {"input": {"type": "xml"}}}, "json", ["json"]):
        with pytest.raises(SettingsError, match="configuration cannot be used"):
            routing.new_run({}, configuration=configuration)
    with pytest.raises(SettingsError, match="None is no application id"):
        Application(None, routing.client)
    with pytest.raises(FileNotFoundError):
        routing.new_run(tmp_path / "absent.json")
    for limits in ({"inline": -1}, {"upload": 1.5}, {"download": "1MB"}):
        with pytest.raises(SettingsError, match="numbers of bytes"):
            Limits(**limits)
    assert routing.client.requests_sent == 0


def test_a_run_that_failed(routing):
    with pytest.raises(RunFailed) as caught:
        routing.new_run_with_result({"fail": 1}, polling_options=QUICK)
    error = caught.value
    assert f"Run {error.run_id} failed (" in str(error)
    assert "\x1b" not in str(error)
    assert "\n" not in str(error)
    assert error.log.endswith("solving\nNo plan\nby \x1b[31mtonight")
    assert routing.wait_for_run(error.run_id, QUICK).metadata.outcome == "failed"
    assert routing.run_result(error.run_id).error_log.stderr == "solving\nNo plan\nby \x1b[31mtonight\n"
    assert routing.run_error_log(error.run_id) == routing.run_result(error.run_id).error_log
    with pytest.raises(NotFound):
        routing.run_output(error.run_id)


def test_a_run_that_is_canceled(routing):
    run_id = routing.new_run({"sleep": 60})
    routing.cancel_run(run_id)
    with pytest.raises(RunCanceled, match=rf"Run {run_id} was canceled\.") as caught:
        routing.run_result_with_polling(run_id, QUICK)
    assert caught.value.run_id == run_id
    routing.delete_run(run_id)
    with pytest.raises(NotFound):
        routing.run_metadata(run_id)


@pytest.mark.parametrize(
    "enough",
    [
        {"max_tries": 2},
        {"max_duration": 0.2},
        {"max_tries": 0},
        {"stop": lambda: True},
    ],
)
def test_a_run_that_is_waited_for_no_longer_goes_on(routing, enough):
    run_id = routing.new_run({"sleep": 60})
    options = PollingOptions(initial_delay=0.05, delay=0.1, backoff=0, jitter=0, **enough)
    with pytest.raises(StillRunning, match=rf"Run {run_id} was .*goes on: `nxtrack result {run_id}`") as caught:
        routing.run_result_with_polling(run_id, options)
    assert caught.value.run_id == run_id
    assert routing.run_metadata(run_id).metadata.outcome not in FINAL_STATUSES
    routing.cancel_run(run_id)


def test_a_ctrl_c_leaves_the_run_and_tells_how_to_come_back(routing):
    run_id = routing.new_run({"sleep": 60})
    stopper = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    stopper.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        routing.wait_for_run(run_id, PollingOptions(initial_delay=30))
    assert caught.value.__notes__ == [f"Run {run_id} is not affected: `nxtrack result {run_id}` comes back to it."]
    assert routing.run_metadata(run_id).metadata.outcome not in FINAL_STATUSES
    routing.cancel_run(run_id)


def test_waiting_goes_on_when_the_platform_does(flaky, astray):
    """A platform that is gone for some looks, and one that stays away."""
    run_id = astray.new_run({"sleep": 1})
    astray.wait_for_run(
        run_id, QUICK, polled=lambda _: flaky.fail("GET", "/metadata$", times=9) if not flaky.faults else 0
    )
    assert astray.run_metadata(run_id).metadata.outcome == "succeeded"


def test_a_run_that_is_not_there_is_not_waited_for(astray, flaky):
    with pytest.raises(NotFound) as caught:
        astray.wait_for_run("nobody", QUICK)
    assert not hasattr(caught.value, "__notes__")  # There is no way back to what is not there.
    flaky.fail("GET", "/metadata$", times=999)
    began = time.monotonic()
    with pytest.raises(AnswerLost, match="No usable answer") as caught:
        astray.wait_for_run("nobody", QUICK)
    assert time.monotonic() - began < 10
    assert "`nxtrack result nobody` comes back to it" in caught.value.__notes__[0]


def test_a_platform_that_stays_away(flaky, astray):
    run_id = astray.new_run({"sleep": 60})

    def gone(_):
        flaky.fail("GET", "/metadata$", times=999)

    with pytest.raises(AnswerLost) as caught:
        astray.wait_for_run(run_id, QUICK, polled=gone)
    assert flaky.count("GET", "/metadata$") == 1 + 10 * 4
    assert run_id in caught.value.__notes__[0]
    flaky.faults.clear()
    astray.cancel_run(run_id)


def test_logs_are_followed_while_they_come(routing):
    run_id = routing.new_run({"sleep": 0.5})
    entries = list(routing.follow_logs(run_id))
    assert "".join(entry.log for entry in entries) == "solving\n"
    assert routing.run_metadata(run_id).metadata.is_final


def test_logs_of_a_platform_that_has_no_live_ones(flaky, astray):
    run_id = astray.new_run({"sleep": 0.5})
    flaky.fail("GET", "/logs/live$", times=99, status=404)
    assert "".join(entry.log for entry in astray.follow_logs(run_id)) == "solving\n"
    with pytest.raises(NotFound):
        list(astray.follow_logs("nobody"))


def test_logs_into_a_file(routing, tmp_path):
    run_id = routing.new_run({})
    routing.wait_for_run(run_id, QUICK)
    assert routing.run_logs(run_id, tmp_path / "log").read_text() == routing.run_logs(run_id) == "solving\n"


def test_a_run_that_was_made_elsewhere(routing):
    run_id = routing.track_run(
        {"a": 1},
        {"solution": 3, "metrics": {"gap": 0.5}},
        "presolve\n",
        status="failed",
        error_message="No plan",
        execution_duration=1500,
        name="by hand",
        description="why",
        options={"limit": 3},
        instance_id="staging",
        batch_experiment_id="nightly",
    )
    assert routing.run_logs(routing.track_run({}, {}, ["one", "two"])) == "one\ntwo"
    result = routing.run_result(run_id)
    assert result.output == {"solution": 3, "metrics": {"gap": 0.5}}
    metadata = result.metadata
    assert (metadata.outcome, metadata.duration, metadata.error) == ("failed", 1500, "No plan")
    assert (metadata.run_type.type, metadata.application_instance_id) == ("external", "staging")
    assert (metadata.experiment_id, metadata.metrics) == ("nightly", {"gap": 0.5})
    assert metadata.options.request_options == {"limit": "3"}
    assert routing.run_logs(run_id) == "presolve\n"


def test_folders_of_a_run_that_was_made_elsewhere(routing, tmp_path):
    for name in ("input", "output"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "a.csv").write_text(f"{name},1\n")
    run_id = routing.track_run(tmp_path / "input", tmp_path / "output", metrics={"cost": 7})
    result = routing.run_result(run_id)
    assert result.output is None  # and no presigned URL
    assert (result.metadata.format.input.type, result.metadata.format.output.type) == ("multi-file",) * 2
    assert result.metadata.metrics == {"cost": 7}
    assert routing.run_output(run_id, tmp_path / "back", unpack=True) == tmp_path / "back"
    assert (tmp_path / "back" / "deep" / "a.csv").read_text() == "output,1\n"
    routing.run_input(run_id, tmp_path / "given", unpack=True)
    assert (tmp_path / "given" / "deep" / "a.csv").read_text() == "input,1\n"
    assert routing.run_input(run_id) == routing.run_input(run_id, tmp_path / "given.tar.gz").read_bytes()


def test_a_text_output_of_a_run_that_was_made_elsewhere(routing):
    run_id = routing.track_run({}, "plan:\nnone\n")
    assert routing.run_result(run_id).metadata.format.output.type == "text"
    assert routing.run_output(run_id) == b"plan:\nnone\n"


def test_a_configuration_is_passed_on_as_it_is(routing):
    given = {"format": {"input": {"type": "text"}, "output": {"type": "text"}}, "execution_class": "large"}
    for configuration in (given, RunConfiguration.from_dict(given)):
        metadata = routing.run_metadata(routing.new_run(b"plain", configuration=configuration)).metadata
        assert (metadata.format.input.type, metadata.format.output.type) == ("text", "text")
        assert metadata.execution_class == "large"


def test_a_configuration_that_names_one_format_has_the_other_found_out(routing):
    given = {"format": {"input": {"type": "text"}}}
    for output, form in (("plan\n", "text"), ({"solution": 1}, "json")):
        metadata = routing.run_metadata(routing.track_run("plain", output, configuration=given)).metadata
        assert (metadata.format.input.type, metadata.format.output.type) == ("text", form)


def test_runs_are_listed_over_the_pages(routing):
    ids = [routing.track_run({"n": n}, name=f"run {n}") for n in range(3)]
    listed = [run for _, run in zip(range(3), routing.list_runs(), strict=False)]
    assert [run.id for run in listed] == ids[::-1]
    assert [run.name for run in listed] == ["run 2", "run 1", "run 0"]
    assert {run.status_v2 for run in listed} == {"succeeded"}


def test_the_default_instance(remote, monkeypatch):
    monkeypatch.setenv("NEXTMV_INSTANCE_ID", "latest")
    with Client("any", remote) as client:
        with pytest.raises(Rejected, match="other"):
            Application("routing", client, default_instance_id="other").new_run({})
        assert Application("routing", client, default_instance_id="latest").new_run({}).startswith("latest-")
        assert Application("routing", client, default_instance_id="other").new_run({}, instance_id="latest")
        assert Application("routing", client).new_run({}).startswith("latest-")
        monkeypatch.setenv("NEXTMV_INSTANCE_ID", "other")
        with pytest.raises(Rejected, match="other"):
            Application("routing", client).new_run({})
