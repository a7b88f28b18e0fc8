"""Owns what makes runs of an application: uploads, new runs and waiting for them, and runs that were made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nxtrack import settings
from nxtrack.cloud import transfers, waiting
from nxtrack.cloud.messages import ExternalResult, NewRun, UploadURL
from nxtrack.cloud.payloads import inline_json, payload_of
from nxtrack.cloud.polling import PollingOptions
from nxtrack.cloud.posting import configured, options_of, post_surely
from nxtrack.cloud.retries import HARMLESS
from nxtrack.cloud.runs import Runs
from nxtrack.errors import AnswerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nxtrack.cloud.messages import Form, RunConfiguration, RunInformation, RunResult, TrackedStatus
    from nxtrack.cloud.transfers import Progress


class Application(Runs):
    """One application: what makes runs of it, and, from `Runs`, what can be asked of those it has.

    What does no harm when it comes twice is repeated after a failure, with backoff, as the client's `patience` says;
    a new run is never posted blindly again.

    Args:
        id: Its id, as in `NEXTMV_APP_ID`.
        client: The way to the platform; by default one that the settings describe.
        limits: What payloads may weigh.
        default_instance_id: The instance of new runs that name none; by default the setting `instance_id`, then the
            application's own.

    Attributes:
        endpoint: The path of its resources, such as `/v1/applications/routing`, for `Client.request`.

    Raises:
        SettingsError: No application can have that id, or the client cannot be made.
    """

    def upload_url(self) -> UploadURL:
        """Asks for a place to upload one artefact to, valid for 15 minutes ("Track runs", step 1)."""
        return self.client.patience.repeat(self._upload_url, HARMLESS)

    def upload(
        self,
        source: Any,
        upload_url: UploadURL | None = None,
        *,
        content_type: str = "application/json",
        progress: Progress | None = None,
    ) -> UploadURL:
        """Uploads an input, an output or logs, in constant memory where they are files.

        Args:
            source: A path (`os.PathLike`) of a file, whose bytes are taken as they are, or of a folder, which becomes
                a `.tar.gz`; bytes; a file open in binary mode; a `str`, which is a text and never a path; or any other
                value, which is written as JSON.
            upload_url: Where to. By default a URL is asked for, and another one when it expires meanwhile.
            content_type: The media type.
            progress: Told the bytes that are through, and all.

        Returns:
            The upload, whose `upload_id` stands for the bytes in a new run.

        Raises:
            TooLarge: There are more bytes than `limits.upload`; none was sent.
            UploadExpired: The given URL is not valid any more.
            CloudError: It could not be uploaded.
            ArchiveRefused: The folder cannot be packed.
            OSError: The source cannot be read.
        """
        with payload_of(source, limit=self.limits.upload, what="The upload") as payload:
            ask = self._upload_url if upload_url is None else lambda: upload_url
            return transfers.upload(self.client, payload, ask=ask, content_type=content_type, progress=progress)

    def upload_large_input(self, input: Any, upload_url: UploadURL) -> None:  # noqa: A002  (the platform's name)
        """Uploads an input to a URL that was asked for before ("Large payloads", step 2); see `upload`."""
        self.upload(input, upload_url)

    def new_run(
        self,
        input: Any = None,  # noqa: A002  (the platform's name for it)
        *,
        instance_id: str | None = None,
        name: str | None = None,
        description: str | None = None,
        upload_id: str | None = None,
        options: Mapping[str, Any] | None = None,
        configuration: RunConfiguration | Mapping[str, Any] | None = None,
        batch_experiment_id: str | None = None,
        progress: Progress | None = None,
    ) -> str:
        """Submits a run; a larger input than `limits.inline` is uploaded before.

        Args:
            input: What `upload` takes. Without a configuration a `str` is of the format `text`, a folder `multi-file`,
                and all else `json`.
            instance_id: The instance that is to run; by default `default_instance_id`.
            name: What to call it.
            description: What to say of it. A line `nxtrack:<id>` is added, by which the run is found again when the
                platform's answer is lost.
            upload_id: In place of `input`, what was uploaded before.
            options: Options of the run; values that are no text are written as JSON.
            configuration: How to run, with `format` among it.
            batch_experiment_id: The batch experiment that it belongs to.
            progress: Told of an upload the bytes that are through, and all.

        Returns:
            The run's id.

        Raises:
            TooLarge: The input has more bytes than `limits.upload`; none was sent.
            RunUnconfirmed: Whether the platform took the run is not known; the error's `marker` finds it.
            CloudError: The platform has not taken it.
            TypeError: Both or none of `input` and `upload_id` are given.
        """
        if (input is None) == (upload_id is None):
            raise TypeError("A new run takes either an input or an upload_id.")
        run = NewRun(
            upload_id=upload_id,
            name=name,
            description=description,
            options=options_of(options),
            batch_experiment_id=batch_experiment_id,
        )
        if input is None:
            run.configuration = configured(configuration, "json", "json")
        else:
            self._give_input(run, input, configuration, progress)
        return self._post(run, instance_id)

    def _give_input(
        self,
        run: NewRun,
        source: Any,
        configuration: RunConfiguration | Mapping[str, Any] | None,
        progress: Progress | None,
    ) -> None:
        """Puts an input and its format into a new run: the input itself, or the id of its upload."""
        with payload_of(source, limit=self.limits.upload, what="The input") as payload:
            # What is an archive comes back as one, and all else as JSON (SDK).
            run.configuration = configured(
                configuration, payload.form, "json" if payload.form == "text" else payload.form
            )
            inline = inline_json(payload, run.configuration, limit=self.limits.inline)
            if inline is None:
                where = transfers.upload(self.client, payload, ask=self._upload_url, progress=progress)
                run.upload_id = where.upload_id
            else:
                run.input = inline

    def new_run_with_result(
        self,
        input: Any = None,  # noqa: A002  (the platform's name for it)
        *,
        instance_id: str | None = None,
        name: str | None = None,
        description: str | None = None,
        upload_id: str | None = None,
        run_options: Mapping[str, Any] | None = None,
        polling_options: PollingOptions | None = None,
        configuration: RunConfiguration | Mapping[str, Any] | None = None,
        batch_experiment_id: str | None = None,
        options: Mapping[str, Any] | None = None,
        polled: Callable[[RunInformation], object] | None = None,
        progress: Progress | None = None,
    ) -> RunResult:
        """Submits a run, waits for it, and returns its result: `new_run`, then `run_result_with_polling`.

        It takes what these take. The options may also be called `run_options`, as the platform's own tools call them
        here and nowhere else.

        Raises:
            TypeError: Both names of the options are used.
        """
        if options is not None and run_options is not None:
            raise TypeError("A new run takes options or run_options, which are the same.")
        run_id = self.new_run(
            input,
            instance_id=instance_id,
            name=name,
            description=description,
            upload_id=upload_id,
            options=run_options if options is None else options,
            configuration=configuration,
            batch_experiment_id=batch_experiment_id,
            progress=progress,
        )
        return self.run_result_with_polling(run_id, polling_options, polled=polled)

    def track_run(
        self,
        input: Any,  # noqa: A002  (the platform's name for it)
        output: Any = None,
        logs: Any = None,
        *,
        status: TrackedStatus = "succeeded",
        error_message: str | None = None,
        execution_duration: int | None = None,
        metrics: Any = None,
        assets: Any = None,
        name: str | None = None,
        description: str | None = None,
        options: Mapping[str, Any] | None = None,
        instance_id: str | None = None,
        configuration: RunConfiguration | Mapping[str, Any] | None = None,
        batch_experiment_id: str | None = None,
    ) -> str:
        """Tells the platform of a run that was made elsewhere, now: the five steps of the guide "Track runs".

        `nxtrack.track` does it without a network in the solver's way, and so that no run is lost.

        Args:
            input: What the run was given; this and what follows as `upload` takes it.
            output: What it returned.
            logs: What it wrote, or a list of its lines.
            status: What it came to.
            error_message: Why it failed.
            execution_duration: How long it took, in milliseconds.
            metrics: For an output that is no JSON: its metrics.
            assets: For such an output: its assets.
            name: This and what follows as for `new_run`.
            description: As there.
            options: As there.
            instance_id: As there.
            configuration: As there.
            batch_experiment_id: As there.

        Returns:
            The run's id.

        Raises:
            As `new_run`.
        """
        if isinstance(logs, list):
            logs = "\n".join(map(str, cast("list[object]", logs)))
        form, upload_id = self._send("The input", input)
        output_form, output_id = self._send("The output", output)
        run = NewRun(
            upload_id=upload_id,
            name=name,
            description=description,
            options=options_of(options),
            configuration=configured(configuration, form, output_form),
            batch_experiment_id=batch_experiment_id,
            result=ExternalResult(
                status=status,
                error_message=error_message,
                execution_duration=execution_duration,
                output_upload_id=output_id,
                error_upload_id=self._send("The log", logs)[1],
                metrics_upload_id=self._send("The upload of metrics", metrics)[1],
                assets_upload_id=self._send("The upload of assets", assets)[1],
            ),
        )
        return self._post(run, instance_id)

    def wait_for_run(
        self,
        run_id: str,
        polling_options: PollingOptions | None = None,
        *,
        polled: Callable[[RunInformation], object] | None = None,
    ) -> RunInformation:
        """Waits until a run has ended, however it did.

        A Ctrl-C meanwhile leaves the run as it is; the exception's note tells how to come back to it.

        Args:
            run_id: The run.
            polling_options: How long to wait between two looks, and in all; by default without a bound.
            polled: Told what is known of the run, after each look.

        Raises:
            StillRunning: The options said that it is enough.
            CloudError: The platform could not be asked, now or several times in a row.
        """
        with waiting.way_back(run_id):
            return waiting.wait_for_run(self, run_id, polling_options or PollingOptions(), polled)

    def run_result_with_polling(
        self,
        run_id: str,
        polling_options: PollingOptions | None = None,
        *,
        polled: Callable[[RunInformation], object] | None = None,
    ) -> RunResult:
        """Waits for a run as `wait_for_run` does, and returns its result.

        Raises:
            RunFailed: It failed; the error's `log` has what the platform's error log says.
            RunCanceled: It was canceled.
        """
        with waiting.way_back(run_id):
            information = waiting.wait_for_run(self, run_id, polling_options or PollingOptions(), polled)
            error = waiting.bad_end(self, information)
            if error is None:
                return self.run_result(run_id)
        raise error

    def _post(self, run: NewRun, instance_id: str | None) -> str:
        chosen = settings.current()
        return post_surely(
            self, run, instance_id or self.default_instance_id or chosen.instance_id, settle=chosen.settle
        )

    def _send(self, what: str, source: Any) -> tuple[Form, str | None]:
        """Uploads a part of a tracked run, if there is one; returns its format and the upload's id."""
        if source is None:
            return "json", None
        with payload_of(source, limit=self.limits.upload, what=what) as payload:
            return payload.form, transfers.upload(self.client, payload, ask=self._upload_url).upload_id

    def _upload_url(self) -> UploadURL:
        answer = self.client.call("POST", f"{self.endpoint}/runs/uploadurl", answer=UploadURL)
        if not answer.upload_id or not answer.upload_url:
            raise AnswerLost("The platform gave an upload URL without id or address: try again.")
        return answer
