"""An authorization says which sources are shared."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("authorizations", sa.Column("sources", sa.JSON, nullable=False, server_default='["**"]'))
