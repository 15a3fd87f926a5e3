"""Clients with keys of their own; assertions that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("clients", sa.Column("public", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("clients", sa.Column("jwks", sa.JSON))
    op.add_column("clients", sa.Column("jwks_uri", sa.Text))
    op.execute("UPDATE clients SET public = (secret_hash IS NULL)")
    op.create_table(
        "used_assertions",
        sa.Column("id_hash", sa.String(64), primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
