"""Every setting of the service, read from the environment (`GRAFTWORK_...`); with none set, everything is embedded."""

from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One typed value that every process of the service is started with."""

    model_config = SettingsConfigDict(env_prefix="GRAFTWORK_", frozen=True, extra="ignore", hide_input_in_errors=True)

    data: Path = Field(default=Path("data"), description="Folder of the database, the artifacts and caches.")
    host: str = Field(default="127.0.0.1", description="Address that the API binds.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that the API binds; 0 takes a free one.")
    database_url: str = Field(default="", description="SQLAlchemy URL; empty: SQLite in the data folder.")
    broker_url: str = Field(default="", description="Redis URL; empty: `graftwork up` starts an embedded one.")
    artifacts_url: str = Field(default="", description="s3://bucket/prefix; empty: the data folder.")
    artifacts_patience_seconds: float = Field(
        default=180, gt=0, description="How long a bucket that does not answer is asked again."
    )
    gc_grace_seconds: float = Field(
        default=86_400, ge=0, description="`graftwork gc` leaves files alone that are younger; it deletes none earlier."
    )
    bootstrap_key: SecretStr | None = Field(
        default=None, min_length=32, description="API key with every scope, created at the first start."
    )
    allowed_hosts: list[str] = Field(
        default=[], description="Host headers that are answered; empty: loopback names when bound there, else all."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Lines for people, or one JSON object a line."
    )
    docs: bool = Field(default=True, description="Serve /docs and /openapi.json without a key.")
    max_upload_bytes: int = Field(default=8 << 30, gt=0, description="Largest dataset upload.")
    max_json_bytes: int = Field(
        default=32 << 20, gt=0, description="Largest body of rows to predict; any other JSON has at most 1 MiB."
    )
    max_requests: int = Field(
        default=256, gt=0, description="Requests that an API process works on at a time; others are answered 429."
    )
    receive_seconds: float = Field(
        default=20, gt=0, description="Time for a request's head, and that much again for its body; then it is cut."
    )
    receive_rate: int = Field(
        default=1024, gt=0, description="Bytes of a body that give it a second more: slower uploads are cut."
    )
    max_queued_jobs: int = Field(default=10_000, gt=0, description="Unfinished jobs that a project may have.")
    loaded_models: int = Field(default=16, gt=0, description="Models that an API process keeps in memory.")
    lease_seconds: float = Field(default=60, gt=0, description="A silent worker loses its job after this time.")
    sweep_seconds: float = Field(default=5, gt=0, description="How often lost work is looked for.")
    poll_seconds: float = Field(default=30, gt=0, description="How often a worker looks for work unrung.")
    max_attempts: int = Field(default=3, ge=1, description="Starts of a job before it fails as worker_lost.")
    backoff_seconds: float = Field(
        default=30, ge=0, description="Wait before the third start of a job; doubled for each further one."
    )
    stall_seconds: float = Field(
        default=300, gt=0, description="A trainer that does nothing for this time is killed, and its job tried again."
    )
    worker_device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="What a worker trains on; auto: a GPU where there is one. Others' jobs it leaves."
    )
    worker_devices: int = Field(
        default=1,
        ge=1,
        le=8,
        description="On how many processes of its CPU a worker may train one job; GPUs it counts.",
    )
    memory_events: Path = Field(
        default=Path("/sys/fs/cgroup/memory.events"), description="Where the kernel counts its kills for memory."
    )
    cancel_grace_seconds: float = Field(
        default=20, gt=0, description="Time that a trainer gets to stop by itself before it is killed."
    )
    feature_cache_bytes: int = Field(
        default=4 << 30, ge=0, description="Features of frozen backbones that a worker keeps on disk for later jobs."
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of a trainer; 0: all cores.")

    @cached_property
    def data_folder(self) -> Path:
        """The data folder as an absolute path."""
        return self.data.expanduser().resolve()

    @cached_property
    def feature_cache(self) -> Path:
        """Where features of frozen backbones are kept."""
        return self.data_folder / "cache" / "features"

    @cached_property
    def sql_url(self) -> str:
        """The database that is used."""
        return self.database_url or f"sqlite:///{self.data_folder / 'graftwork.db'}"
