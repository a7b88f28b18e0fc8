"""Owns what differs between operating systems; the rest of the spool knows only these names."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from nxtrack.spool._windows import (
        CREATE,
        READ,
        READ_APPEND,
        at_fork,
        boot_id,
        check_private,
        duplicate,
        end_closing,
        give_back,
        has_ended,
        host_id,
        mark,
        marked,
        pid_namespace,
        process_started,
        rename_closing,
        sync_folder,
        sync_new,
        try_lock,
        unmark,
    )
else:
    from nxtrack.spool._posix import (
        CREATE,
        READ,
        READ_APPEND,
        at_fork,
        boot_id,
        check_private,
        duplicate,
        end_closing,
        give_back,
        has_ended,
        host_id,
        mark,
        marked,
        pid_namespace,
        process_started,
        rename_closing,
        sync_folder,
        sync_new,
        try_lock,
        unmark,
    )

__all__ = [
    "CREATE",
    "READ",
    "READ_APPEND",
    "at_fork",
    "boot_id",
    "check_private",
    "duplicate",
    "end_closing",
    "give_back",
    "has_ended",
    "host_id",
    "mark",
    "marked",
    "pid_namespace",
    "process_started",
    "rename_closing",
    "sync_folder",
    "sync_new",
    "try_lock",
    "unmark",
]
