"""`track(input_dir=..., output_dir=...)`: folders that are a run's input and output."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from nxtrack import current_run, track
from nxtrack.spool.store import Spool


@pytest.fixture
def folders(tmp_path):
    """Two folders: one with a file, one without."""
    given, found = tmp_path / "given", tmp_path / "found"
    given.mkdir()
    found.mkdir()
    (given / "demand.csv").write_text("a,1\n")
    return given, found


@pytest.fixture
def only(tmp_path):
    """Gives the only run: its record, and its artefacts' bytes by kind."""

    def read():
        spool = Spool(str(tmp_path / "spool"))
        (entry,) = spool.entries()
        run = spool.read(entry)
        kinds = ("input", "output", "logs", "metrics", "assets")
        return run, {kind: source.read() for kind in kinds if (source := spool.artefact(run, kind))}

    return read


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        return {one.name: archive.extractfile(one).read() for one in archive.getmembers() if one.isfile()}


def test_a_decorator_names_the_parameters_that_hold_the_paths(folders, only):
    @track(input_dir="source", output_dir="target", options=["limit"])
    def solve(source, target, limit=3):
        (Path(source) / "demand.csv").write_text("changed by the solver")
        (Path(target) / "plan.txt").write_text("done")
        assert current_run().input == source
        return 17

    assert solve(*folders) == 17
    run, data = only()
    assert (run.form("input"), run.form("output")) == ("csv-archive", "multi-file")
    assert members(data["input"]) == {"demand.csv": b"a,1\n"}
    assert members(data["output"]) == {"plan.txt": b"done"}
    assert run.start.options == {"limit": "3"}
    assert run.end.notes == ("The output is what stands in the files; what was returned beside them is not kept.",)


def test_a_with_block_gives_the_paths(folders, only, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with track(input_dir="given", output_dir=Path("found")) as run:
        os.chdir(tmp_path.parent)  # A path means what it meant when the run began.
        (folders[1] / "plan.txt").write_text("done")
        run.log_metric("gap", 0.5)
        run.log_asset("chart", {"x": 1})
    found, data = only()
    assert found.end.status == "succeeded"
    assert members(data["input"]) == {"demand.csv": b"a,1\n"}
    assert members(data["output"]) == {"plan.txt": b"done"}
    assert data["metrics"] == b'{"gap":0.5}'
    assert data["assets"] == b'{"assets":[{"name":"chart","content":{"x":1},"content_type":"json"}]}'


def test_what_is_returned_beside_a_folder_gives_metrics_and_assets(folders, only):
    class Model:
        @track(output_dir="target")
        def solve(self, problem, target):
            (target / "plan.txt").write_text("done")
            return {"metrics": {"cost": 3}, "assets": [{"name": "a", "content": 1, "content_type": "json"}]}

    Model().solve([1, 2], folders[1])
    run, data = only()
    assert data["input"] == b"[1,2]"
    assert (run.form("input"), run.form("output")) == ("json", "multi-file")
    assert data["metrics"] == b'{"cost":3}'
    assert data["assets"] == b'{"assets":[{"name":"a","content":1,"content_type":"json"}]}'
    assert run.end.notes == ()


def test_only_an_input_folder_leaves_the_output_as_it_is(folders, only):
    @track(input_dir="source")
    def solve(source):
        return {"cost": len(list(source.iterdir()))}

    solve(folders[0])
    run, data = only()
    assert (run.form("input"), data["output"]) == ("csv-archive", b'{"cost":1}')
    assert "metrics" not in data


def test_no_folder_is_no_payload(only):
    @track(input_dir="source", output_dir="target")
    def solve(source=None, target=None):
        return None

    solve()
    run, data = only()
    assert (run.end.status, data, run.end.notes) == ("succeeded", {}, ())


def test_a_folder_that_cannot_be_packed_stops_no_solver(folders, only, tmp_path, warned):
    os.symlink("/etc/passwd", folders[0] / "link")

    @track(input_dir="source", output_dir="target")
    def solve(source, target):
        return "solved"

    assert solve(folders[0], tmp_path / "nowhere") == "solved"
    run, data = only()
    assert run.end.status == "succeeded"
    assert data == {}
    first, second, *_ = run.end.notes
    assert first.startswith("The input could not be kept: ")
    assert "link" in first
    assert second == "The output could not be kept: no such file or directory."
    assert len(warned()) == 2
    left = os.listdir(tmp_path / "spool" / "payloads")
    assert left == []


def test_an_exception_still_keeps_what_was_written(folders, only):
    @track(output_dir="target")
    def solve(target):
        (target / "part.txt").write_text("so far")
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        solve(folders[1])
    run, data = only()
    assert (run.end.status, members(data["output"])) == ("failed", {"part.txt": b"so far"})


@pytest.mark.parametrize(
    "arguments",
    [
        {"input_dir": "nowhere"},
        {"output_dir": "nowhere"},
        {"input_dir": Path("source")},
        {"output_dir": 3},
        {"input_dir": "source", "input": "source"},
        {"input_dir": "source", "process_input": str},
        {"output_dir": "source", "process_output": str},
        {"input_dir": "source", "options": ["source"]},
    ],
)
def test_misuse_is_told_when_decorating(arguments):
    with pytest.raises(TypeError):

        @track(**arguments)
        def solve(source):
            return source


def test_a_process_that_is_killed_keeps_its_input_folder(folders, only, python):
    python(
        """
        import os, signal, sys
        from nxtrack import track

        with track(input_dir=sys.argv[1], output_dir=sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        *map(str, folders),
        status=-9,
    )
    run, data = only()
    assert run.end.error == "process died: killed while solving"
    assert members(data["input"]) == {"demand.csv": b"a,1\n"}


def test_runs_without_folders_load_no_archives(python):
    program = """
        import sys
        from nxtrack import track
        with track(input=1) as run:
            run.output = {"a": "x" * 1_000_000}
        print({"tarfile", "mmap", "nxtrack.cloud.archives"} & set(sys.modules))
    """
    assert python(program).stdout == "set()\n"
