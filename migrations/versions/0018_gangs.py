"""Gangs: the workers of several machines that train one job together."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("nodes", sa.BigInteger, nullable=False, server_default="1"))
    op.create_table(
        "gangs",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("token", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("device", sa.String(10), nullable=False),
        sa.Column("size", sa.BigInteger),
        sa.Column("round", sa.BigInteger, nullable=False),
        sa.Column("address", sa.String(200)),
    )
    op.create_table(
        "gang_members",
        sa.Column("job_id", sa.String(64), primary_key=True),
        sa.Column("token", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("worker", sa.String(200)),
        sa.Column("lease_until", sa.Double),
        sa.Column("leaving", sa.Boolean, nullable=False),
        sa.Column("exit_code", sa.BigInteger),
    )


def downgrade() -> None:
    op.drop_table("gang_members")
    op.drop_table("gangs")
    op.drop_column("jobs", "nodes")
