"""Before everything else: makes the secrets, and volumes that the services may write to.

Each service's secrets are in a folder of its own, readable by that service's group alone. Runs at every start; what is
there stays as it is.
"""

import os
from pathlib import Path

import msgspec

from isthmus.demo import files
from isthmus.launcher.state import Secrets, read, write

SECRETS = Path("/secrets")
BUS = Path("/bus")
STORE = Path("/store")

OPERATOR, AUTH, GATEWAY, DB_WORKER, FILE_WORKER, NATS, S3, PROXY, WORKER = range(10000, 10009)
"""User and group ids; compose.yaml and the Dockerfiles name the same."""
S3_ACCESS_KEY = "isthmus"

ROOT = 0
"""PostgreSQL's image reads its password before it becomes another user."""


class ComposeSecrets(Secrets, kw_only=True):
    """`secrets.json`: what the launcher keeps, and the passwords of the database server and of S3."""

    postgres_password: str = msgspec.field(default_factory=lambda: os.urandom(16).hex())
    auth_database_password: str = msgspec.field(default_factory=lambda: os.urandom(16).hex())
    shop_password: str = msgspec.field(default_factory=lambda: os.urandom(16).hex())
    s3_secret_key: str = msgspec.field(default_factory=lambda: os.urandom(16).hex())


def folders(secrets: ComposeSecrets) -> dict[tuple[str, int], dict[str, str]]:
    """What each service is told, by the name of its folder and its group."""
    nats = secrets.nats_passwords
    database = f"postgresql+psycopg://auth:{secrets.auth_database_password}@postgres/auth"
    client = {"client_id": secrets.client_id, "client_secret": secrets.client_secret}
    admin = {"admin_password": secrets.admin_password}
    worker = {"fingerprint_key": secrets.fingerprint_key}
    return {
        ("auth", AUTH): {
            **client,
            **admin,
            "nats_password": nats["auth"],
            "database_url": database,
            "cli_secret": secrets.cli_secret,
        },
        ("mcp-gateway", GATEWAY): {"nats_password": nats["gateway"]},
        ("db-worker", DB_WORKER): {
            **worker,
            "nats_password": nats["db_worker"],
            "shop_password": secrets.shop_password,
        },
        ("file-worker", FILE_WORKER): {
            **worker,
            "nats_password": nats["file_worker"],
            "s3_secret_key": secrets.s3_secret_key,
        },
        # For workers of kinds of your own.
        ("worker", WORKER): {**worker, "nats_password": nats["worker"]},
        # rclone reads the variable as a line of CSV.
        ("s3", S3): {"auth_key": f'"{S3_ACCESS_KEY},{secrets.s3_secret_key}"'},
        ("nats", NATS): {
            "passwords.env": "\n".join(f"NATS_{user.upper()}_PASSWORD={password}" for user, password in nats.items())
        },
        ("postgres", ROOT): {"password": secrets.postgres_password},
        ("operator", OPERATOR): {
            **client,
            **admin,
            "admin_email": secrets.admin_email,
            "postgres_password": secrets.postgres_password,
            "auth_database_password": secrets.auth_database_password,
            "shop_password": secrets.shop_password,
        },
    }


def hand_over(folder: Path, group: int, content: dict[str, str]) -> None:
    """Writes the files, each by rename, for root and the group alone."""
    folder.mkdir(mode=0o755, exist_ok=True)
    for name, value in content.items():
        aside = folder / f".{name}"
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440), "w") as file:
            os.fchown(file.fileno(), -1, group)
            file.write(f"{value}\n")
        aside.replace(folder / name)


def main() -> None:
    """Runs as root, with the right to change owners and no other."""
    kept = SECRETS / "secrets.json"
    secrets = read(kept, ComposeSecrets) or ComposeSecrets()
    secrets.add_users()
    write(kept, secrets)
    for (name, group), content in folders(secrets).items():
        hand_over(SECRETS / name, group, content)
    if STORE.stat().st_uid == ROOT:
        files.create(STORE / "documents")
        for path in [*STORE.rglob("*"), STORE]:
            os.chown(path, S3, S3)
    os.chown(BUS, NATS, NATS)


if __name__ == "__main__":
    main()
