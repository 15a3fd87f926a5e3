"""Sign-in pages of MCP services, OpenID Connect providers, and sign-ins that are under way."""

import sqlalchemy as sa
from alembic import op

revision = "0102"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("services", sa.Column("login_url", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "sign_ins",
        sa.Column("secret_hash", sa.String(64), primary_key=True),
        sa.Column("step", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("tie", sa.String(64), nullable=False),
        sa.Column("then", sa.Text, nullable=False),
        sa.Column("account_id", sa.String(255), sa.ForeignKey("accounts.id", ondelete="CASCADE")),
        sa.Column("address", sa.String(64), nullable=False, index=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    )
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
