"""The tables of workers: who lives, and who trains together. Times are those of the database's clock."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, Name


class WorkerRow(Base):
    """A worker, updated regularly while it is alive; `devices` are such as `cpu:2 cuda:4`."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(Name, primary_key=True)
    devices: Mapped[str] = mapped_column(String(100))
    started_at: Mapped[float]
    seen_at: Mapped[float]


class GangRow(Base):
    """The workers of one attempt at a job of several nodes; `size` is null while they gather."""

    __tablename__ = "gangs"

    job_id: Mapped[str] = mapped_column(Id, primary_key=True)
    token: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    device: Mapped[str] = mapped_column(String(10))  # the kind that all its ranks compute on
    size: Mapped[int | None]  # nodes that the training began with
    round: Mapped[int] = mapped_column(default=0)  # how often the leader has called its ranks together
    address: Mapped[str | None] = mapped_column(String(200))  # host:port at which they meet this time


class GangMemberRow(Base):
    """A node of a gang, held by a worker under a lease of its own; `worker` is null while nobody has taken it."""

    __tablename__ = "gang_members"

    job_id: Mapped[str] = mapped_column(Id, primary_key=True)
    token: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    node: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 0: the leader
    worker: Mapped[str | None] = mapped_column(Name)
    lease_until: Mapped[float | None]
    leaving: Mapped[bool] = mapped_column(default=False)  # its worker shuts down and waits for a checkpoint
    exit_code: Mapped[int | None]  # of its trainer, which gave up
