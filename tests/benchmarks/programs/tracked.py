"""A contender: nxtrack itself."""

from __future__ import annotations

from turns import problem, solve, take_turns

import nxtrack

given = problem(1000)
tracked = nxtrack.track(solve)
take_turns(lambda: tracked(given))
