"""OpenID Connect providers, and whose account somebody there has."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "providers",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("client_secret", sa.LargeBinary),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("email_domains", sa.JSON, nullable=False),
        sa.Column("allow_private_addresses", sa.Boolean, nullable=False),
        sa.Column("create_people", sa.Boolean, nullable=False),
        sa.Column("link_by_email", sa.Boolean, nullable=False),
    )
    op.create_table(
        "provider_links",
        sa.Column("provider", sa.String(32), sa.ForeignKey("providers.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("subject", sa.String(255), primary_key=True),
        sa.Column(
            "account_id",
            sa.String(255),
            sa.ForeignKey("accounts.id", ondelete="CASCADE"),
            nullable=False,
            index=True,
        ),
        sa.Column("roles", sa.JSON, nullable=False),
    )
