"""Devices that wait for somebody to allow something."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "device_requests",
        sa.Column("device_code_hash", sa.String(64), primary_key=True),
        sa.Column("user_code_hash", sa.String(64), nullable=False, unique=True),
        sa.Column("client_id", sa.String(255), sa.ForeignKey("clients.client_id", ondelete="CASCADE"), nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("interval", sa.BigInteger, nullable=False),
        sa.Column("asked_at", sa.BigInteger, nullable=False),
        sa.Column("denied", sa.Boolean, nullable=False),
        sa.Column("sid", sa.String(64), sa.ForeignKey("authorizations.sid", ondelete="CASCADE"), index=True),
    )
