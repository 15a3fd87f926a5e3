"""What the console may do in somebody's name ends with their session in the browser."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("authorizations", sa.Column("browser", sa.String(64)))
    op.create_index("ix_authorizations_browser", "authorizations", ["browser"])
