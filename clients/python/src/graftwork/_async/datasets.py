"""The resource /v1/datasets."""

from collections.abc import AsyncIterator
from typing import Any, Literal, Unpack, overload

from graftwork import answers, requests
from graftwork._async.jobs import AsyncJobs
from graftwork._async.transport import UPLOAD_SECONDS, AsyncTransport
from graftwork._async.uploads import AsyncUploads
from graftwork.errors import DatasetFailedError
from graftwork.progress import Progress
from graftwork.uploads import Source, form_fields, is_in_place, is_large, open_source


class AsyncDatasets:
    """Uploads, prepares and reads datasets: /v1/datasets."""

    def __init__(self, transport: AsyncTransport, jobs: AsyncJobs, uploads: AsyncUploads) -> None:
        self._transport = transport
        self._jobs = jobs
        self._uploads = uploads

    async def create(
        self,
        source: Source | answers.Upload,
        *,
        name: str,
        filename: str | None = None,
        wait: bool = True,
        progress: Progress = False,
        **options: Unpack[requests.DatasetOptions],
    ) -> answers.Dataset:
        """Upload a dataset: a path, the bytes of a file, arrays by name (`x`, and `y` if labelled), or a frame.

        `options` are the form's fields, such as `columns={"age": "input"}`; None leaves one out. With `wait`, returns
        once the dataset is `ready`. A large file is sent in parts: after a break the same call sends the rest. A
        complete upload may stand for the file, and so may s3://bucket/path or file:///path on the server, where the
        service lets files be registered in place.

        Raises:
            DatasetFailedError: its preparation failed.
        """
        fields = {name: value for name, value in {"name": name, **options}.items() if value is not None}
        if is_in_place(source):
            body = {**fields, "source": source}
            dataset = await self._transport.create(answers.Dataset, "POST /v1/datasets", json=body)
        elif not isinstance(source, answers.Upload):
            with open_source(source, filename) as (file, file_name):
                if is_large(file):
                    source = await self._uploads.send(file, filename=file_name)
                else:
                    form = {"data": form_fields(fields), "files": {"file": (file_name, file)}}
                    dataset = await self._transport.create(
                        answers.Dataset, "POST /v1/datasets", **form, seconds=UPLOAD_SECONDS
                    )
        if isinstance(source, answers.Upload):
            body = {**fields, "upload": source["id"]}
            dataset = await self._transport.create(answers.Dataset, "POST /v1/datasets", json=body)
        return await self.wait(dataset["id"], progress=progress) if wait else dataset

    async def version(
        self,
        dataset_id: str,
        source: Source | answers.Upload | None = None,
        *,
        name: str | None = None,
        filename: str | None = None,
        wait: bool = True,
        progress: Progress = False,
        **options: Unpack[requests.PrepareOptions],
    ) -> answers.Dataset:
        """Prepare a dataset again, as a new dataset; options that are not given stay the same.

        It is prepared from its own file, or from a new `source` as `create` takes it, which holds all rows of the new
        dataset: earlier ones, which keep their splits, and further ones. A file is sent in parts.

        Raises:
            DatasetFailedError: its preparation failed.
        """
        body: dict[str, Any] = {"name": name, "options": options}
        if is_in_place(source):
            body["source"] = source
        elif source is not None:
            if not isinstance(source, answers.Upload):
                source = await self._uploads.send(source, filename=filename)
            body["upload"] = source["id"]
        route = "POST /v1/datasets/{dataset_id}/versions"
        dataset = await self._transport.create(answers.Dataset, route, dataset_id, json=body)
        return await self.wait(dataset["id"], progress=progress) if wait else dataset

    async def leaks(self, dataset_id: str, *, against: str | None = None) -> answers.Leaks:
        """Return rows that train shares with validation or test, or that this dataset shares with `against`."""
        route = "GET /v1/datasets/{dataset_id}/leaks"
        return await self._transport.ask(answers.Leaks, route, dataset_id, query={"against": against})

    async def preview(self, dataset_id: str, **fields: Unpack[requests.PreviewRequest]) -> answers.Preview:
        """Return some rows before and after `augmentations`."""
        return await self._transport.ask(
            answers.Preview, "POST /v1/datasets/{dataset_id}/previews", dataset_id, json=fields
        )

    async def wait(
        self, dataset_id: str, *, timeout: float | None = None, progress: Progress = False
    ) -> answers.Dataset:
        """Return the dataset once it is ready; `timeout` is in seconds.

        Raises:
            DatasetFailedError: its preparation failed.
            TimeoutError: it is not prepared yet; its preparation goes on.
        """
        dataset = await self.get(dataset_id)
        if dataset["status"] == "preparing":
            await self._jobs.wait(dataset["job"], check=False, timeout=timeout, progress=progress)
            dataset = await self.get(dataset_id)
        if dataset["status"] != "ready":
            raise DatasetFailedError(dataset)
        return dataset

    async def get(self, dataset_id: str) -> answers.Dataset:
        """Return a dataset."""
        return await self._transport.ask(answers.Dataset, "GET /v1/datasets/{dataset_id}", dataset_id)

    @overload
    def list(
        self, *, view: Literal["full"], **filters: Unpack[requests.DatasetFilters]
    ) -> AsyncIterator[answers.Dataset]: ...
    @overload
    def list(
        self, *, view: Literal["summary"] = ..., **filters: Unpack[requests.DatasetFilters]
    ) -> AsyncIterator[answers.DatasetSummary]: ...
    async def list(self, *, view: Literal["summary", "full"] = "summary", **filters: Any) -> AsyncIterator[Any]:
        """Yield the datasets, newest first: summaries, without columns, targets and decisions unless `view="full"`."""
        entry = answers.Dataset if view == "full" else answers.DatasetSummary
        async for dataset in self._transport.items(entry, "GET /v1/datasets", {"view": view, **filters}):
            yield dataset

    async def report(self, dataset_id: str) -> answers.Report:
        """Return the preparation's report: what it found, removed and decided."""
        return await self._transport.ask(answers.Report, "GET /v1/datasets/{dataset_id}/report", dataset_id)

    async def rows(self, dataset_id: str, *, limit: int = 20, offset: int = 0) -> answers.RowsPage:
        """Return `limit` prepared rows from `offset` on."""
        query = {"limit": limit, "offset": offset}
        return await self._transport.ask(
            answers.RowsPage, "GET /v1/datasets/{dataset_id}/rows", dataset_id, query=query
        )

    async def delete(self, dataset_id: str) -> None:
        """Delete a dataset."""
        await self._transport.send("DELETE /v1/datasets/{dataset_id}", dataset_id)
