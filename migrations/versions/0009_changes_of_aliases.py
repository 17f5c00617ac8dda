"""Revisions of aliases, and the history of their changes."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("aliases", sa.Column("revision", sa.BigInteger(), nullable=False, server_default="1"))
    op.create_table(
        "alias_changes",
        sa.Column("project_id", sa.String(64), sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("alias", sa.String(200), primary_key=True),
        sa.Column("revision", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("model_id", sa.String(64), nullable=True),
        sa.Column("restores", sa.BigInteger(), nullable=True),
        sa.Column("changed_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("alias_changes")
    op.drop_column("aliases", "revision")
