"""The one tree of errors that nxtrack raises, and nothing else.

    NxtrackError
    ├── SettingsError            a setting, a profile or an option that cannot be used
    │   └── CredentialsMissing   no API key was found when one was needed
    ├── SpoolError               the spool on disk cannot be used as asked
    │   ├── SpoolRefused         it is somebody else's, or others may write to it
    │   ├── SpoolUnavailable     it cannot be read or written: full, read-only, no permission
    │   │   ├── SpoolFull        it holds as much as it may
    │   │   └── SpoolUnsafe      a run is written whole, but a power cut could still take it
    │   ├── RunNotFound          no run of that id is in it
    │   ├── RunBusy              another process has claimed the run
    │   └── RunCorrupt           a run's file cannot be read: it is damaged
    │       └── RunNewer         ... or a newer nxtrack wrote it, so it is left alone
    ├── CloudError               the platform could not do what was asked
    │   ├── NotReached           the request was never sent: it may be sent again as it is
    │   ├── AnswerLost           the request was sent and no usable answer came: it may have been done
    │   │   └── RunUnconfirmed   ... and a new run could not be looked for in the platform's list either
    │   ├── RunEnded             a remote run has come to an end, but not to a result
    │   │   ├── RunFailed        it failed
    │   │   └── RunCanceled      somebody canceled it
    │   ├── StillRunning         a remote run was waited for as long as was asked, and goes on
    │   └── Refused              the platform answered, and said no
    │       ├── AccessRefused    401 or 403: the key is wrong, or may not do this
    │       ├── NotFound         404: no such application, instance or run
    │       ├── RateLimited      429: later, and perhaps `retry_after` seconds later
    │       ├── QuotaUsedUp      402: when there is quota again
    │       ├── Redirected       3xx: the endpoint is at fault; nothing is ever followed
    │       ├── UploadExpired    403 from the object store: the upload URL is no longer valid
    │       └── Rejected         400, 413, 422, ...: the same request will never be accepted
    │           └── TooLarge     more bytes than may go up or come down, so none did
    ├── FileUnusable             a file that was named for an input or output cannot be read or written
    │   └── NoSpace              ... as its disk is full
    ├── FunctionUnusable         a function that was named cannot be imported, or not called with what was captured
    ├── ArchiveRefused           a folder that cannot be packed, or an archive that is not safe to unpack
    ├── ProgramUnusable          a program that was to be run cannot be executed
    │   └── ProgramNotFound      ... as there is none of that name
    └── ServerError              the local platform cannot start or keep its data

Every message is one sentence for the person at the terminal: what happened, to which run, what was kept, what
to do next. A tracked solver never sees any of these: `nxtrack.tracking` logs them once instead.
"""

from __future__ import annotations


class NxtrackError(Exception):
    """Anything that nxtrack raises on purpose."""


class SettingsError(NxtrackError, ValueError):
    """A setting, a profile or an option has a value that cannot be used."""


class CredentialsMissing(SettingsError):
    """No API key was found in the arguments, the environment or the profile file."""


class SpoolError(NxtrackError):
    """The spool cannot be used as asked."""


class SpoolRefused(SpoolError):
    """The spool belongs to somebody else, or others may write to it."""


class SpoolUnavailable(SpoolError):
    """The spool cannot be read or written: no space, read-only, no permission, gone."""


class SpoolFull(SpoolUnavailable):
    """The spool holds as many bytes as it may, and all of them wait for delivery."""


class SpoolUnsafe(SpoolUnavailable):
    """A run is written down whole, but could not be made safe from a power cut."""


class RunNotFound(SpoolError, LookupError):
    """No run of the given id is in the spool."""


class RunBusy(SpoolError):
    """Another process has claimed the run."""


class RunCorrupt(SpoolError):
    """A run's file is damaged beyond what can be delivered."""


class RunNewer(RunCorrupt):
    """A run's file holds records that a newer version of nxtrack wrote."""


class CloudError(NxtrackError):
    """The platform could not do what was asked."""


class NotReached(CloudError):
    """The request was never sent, so sending it again cannot repeat anything."""


class AnswerLost(CloudError):
    """The request was sent and no usable answer came back: the platform may have acted on it."""


class RunUnconfirmed(AnswerLost):
    """A new run was sent, and neither an answer nor the platform's list tells whether it was taken.

    Attributes:
        marker: What the run's description holds if it was, such as `nxtrack:7ZK…`.
    """

    def __init__(self, message: str, *, marker: str = "") -> None:
        super().__init__(message)
        self.marker = marker


class RunEnded(CloudError):
    """A remote run has come to an end, but not to a result.

    Attributes:
        run_id: The run.
        log: What the platform's error log of it says; empty if it says nothing.
    """

    def __init__(self, message: str, *, run_id: str = "", log: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id
        self.log = log


class RunFailed(RunEnded):
    """A remote run failed."""


class RunCanceled(RunEnded):
    """A remote run was canceled."""


class StillRunning(CloudError):
    """A remote run was waited for as long as was asked, and goes on.

    Attributes:
        run_id: The run, to come back to it.
    """

    def __init__(self, message: str, *, run_id: str = "") -> None:
        super().__init__(message)
        self.run_id = run_id


class Refused(CloudError):
    """The platform answered with a refusal.

    Attributes:
        status: The HTTP status of the answer.
        detail: What the platform said, shortened to a line.
    """

    def __init__(self, message: str, *, status: int, detail: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail


class AccessRefused(Refused):
    """401 or 403: the API key is wrong, or may not use this application."""


class NotFound(Refused):
    """404: the application, instance or run does not exist."""


class RateLimited(Refused):
    """429: too many requests.

    Attributes:
        retry_after: Seconds the platform asked to wait, or None when it did not say.
    """

    def __init__(self, message: str, *, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, status=429, detail=detail)
        self.retry_after = retry_after


class QuotaUsedUp(Refused):
    """402: what the account's plan allows is used up; it will be accepted when there is quota again."""


class Redirected(Refused):
    """3xx: the address is not the platform's. Redirects are not followed, and say nothing of what was done before."""


class UploadExpired(Refused):
    """The object store no longer accepts the upload URL: ask for a new one."""


class Rejected(Refused):
    """The request itself is at fault and will never be accepted as it is."""


class FileUnusable(NxtrackError):
    """A file that was named for an input or an output cannot be read or written."""


class NoSpace(FileUnusable):
    """A file cannot be written as there is no space left on its disk."""


class FunctionUnusable(NxtrackError):
    """A function that was named cannot be imported, or cannot be called with what was captured of a run."""


class ArchiveRefused(NxtrackError, ValueError):
    """A folder cannot become an archive, or an archive is damaged, too large, or would write where it must not."""


class TooLarge(Rejected):
    """An input or output has more bytes than the platform takes or gives: nothing of it was sent, or kept.

    Attributes:
        size: Bytes that it has, or had when it was cut off.
        limit: Bytes that it may have.
    """

    def __init__(self, message: str, *, size: int = 0, limit: int = 0, status: int = 0) -> None:
        super().__init__(message, status=status)
        self.size = size
        self.limit = limit


class ProgramUnusable(NxtrackError):
    """A program that was to be run cannot be executed."""


class ProgramNotFound(ProgramUnusable):
    """There is no program of that name."""


class ServerError(NxtrackError):
    """The local platform cannot start, or cannot keep its data."""
