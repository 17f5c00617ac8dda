"""Versions with weights and shadows of aliases, and what comparing them has counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("aliases", sa.Column("traffic", JSON, nullable=True))
    op.add_column("alias_changes", sa.Column("traffic", JSON, nullable=True))
    op.create_table(
        "shadow_reports",
        sa.Column("project_id", sa.String(64), sa.ForeignKey("projects.id"), primary_key=True),
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("alias", sa.String(200), primary_key=True),
        sa.Column("model_id", sa.String(64), primary_key=True),
        sa.Column("shadow_id", sa.String(64), primary_key=True),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("shadow_reports")
    op.drop_column("alias_changes", "traffic")
    op.drop_column("aliases", "traffic")
