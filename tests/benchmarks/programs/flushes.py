"""Flushes, and tells what it took. Usage: flushes.py [LIMIT]."""

from __future__ import annotations

import json
import resource
import sys
import time

import nxtrack
from nxtrack.delivery import flusher

del flusher  # loaded, so that what it takes counts as idle
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
limit = int(sys.argv[1]) if len(sys.argv) > 1 else None
began, used = time.monotonic(), time.process_time()
report = nxtrack.flush(limit=limit)
print(
    json.dumps(
        {
            "began": began,
            "seconds": time.monotonic() - began,
            "busy": time.process_time() - used,
            "synced": len(report.synced),
            "pending": report.pending,
            "problems": report.problems,
            "recovered": report.recovered,
            "grown": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle) * 1024,
        }
    )
)
