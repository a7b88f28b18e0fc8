"""Owns the way to the Nextmv Cloud API: credentials, the HTTP client, the platform's messages and its errors.

The names for users come from here and are loaded when they are asked for, so that the messages alone can be used
without loading requests:

    from nxtrack.cloud import Application, Client, PollingOptions
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nxtrack.cloud.application import Application
    from nxtrack.cloud.client import Client
    from nxtrack.cloud.limits import Limits
    from nxtrack.cloud.messages import (
        ContentFormat,
        DownloadURL,
        ErrorLog,
        LogEntry,
        RunConfiguration,
        RunFormat,
        RunInformation,
        RunListItem,
        RunMetadata,
        RunResult,
        UploadURL,
    )
    from nxtrack.cloud.polling import PollingOptions
    from nxtrack.cloud.response import Response
    from nxtrack.cloud.retries import Patience
    from nxtrack.cloud.transport import Timeouts

__all__ = [
    "Application",
    "Client",
    "ContentFormat",
    "DownloadURL",
    "ErrorLog",
    "Limits",
    "LogEntry",
    "Patience",
    "PollingOptions",
    "Response",
    "RunConfiguration",
    "RunFormat",
    "RunInformation",
    "RunListItem",
    "RunMetadata",
    "RunResult",
    "Timeouts",
    "UploadURL",
]

_MODULES = {
    "Application": "application",
    "Client": "client",
    "Limits": "limits",
    "Patience": "retries",
    "PollingOptions": "polling",
    "Response": "response",
    "Timeouts": "transport",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'nxtrack.cloud' has no attribute {name!r}")
    return getattr(importlib.import_module(f"nxtrack.cloud.{_MODULES.get(name, 'messages')}"), name)
