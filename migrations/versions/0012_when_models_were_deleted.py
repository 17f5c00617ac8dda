"""An index of when models were deleted, by which processes see that the registry has changed."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("models_deleted_at", "models", ["deleted_at"])


def downgrade() -> None:
    op.drop_index("models_deleted_at", "models")
