"""What README says is so: its code runs, its commands are one line each, its tables are complete."""

from __future__ import annotations

import dataclasses
import re

import pytest
from support import programs

from nxtrack import settings
from nxtrack.spool.store import spool

README = (programs.ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(CODE)))
def test_code_runs_as_it_stands(tmp_path, number):
    told = programs.run(tmp_path, CODE[number])
    assert (told.returncode, told.stderr) == (0, "")
    runs = spool(str(tmp_path / "spool"))
    found = [runs.read(entry) for entry in runs.entries("ready")]
    assert found
    assert all(run.end.status == "succeeded" for run in found)


def test_there_is_code():
    assert len(CODE) == 3


@pytest.mark.parametrize("name", ["demo", "tests"])
def test_each_command_is_one_line(name):
    (block,) = re.findall(rf"<!-- {name} -->\n```console\n(.*?)```", README, re.DOTALL)
    assert block.count("\n") == 1
    assert block.startswith("python3 -m venv ")


def test_every_setting_is_in_the_table():
    told = set(re.findall(r"`((?:NXTRACK|NEXTMV)_[A-Z_]+)`", README))
    known = {settings._VARIABLES[field.name] for field in dataclasses.fields(settings.Settings)}
    # The last two are of the command line alone.
    assert told == known | {"NXTRACK_SERVE_KEY", "NXTRACK_DEBUG"}
