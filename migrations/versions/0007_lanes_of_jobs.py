"""The lane of a job: short ones need not wait behind long ones."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("lane", sa.String(10), nullable=False, server_default="long"))


def downgrade() -> None:
    op.drop_column("jobs", "lane")
