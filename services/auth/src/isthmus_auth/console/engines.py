"""What can be a source, and what its worker's configuration says of it. Passwords stay with the worker."""

import msgspec


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of database or file store."""

    id: str
    label: str
    kind: str
    """Of the worker that serves it: `db` or `file`."""
    configuration: str
    """For `isthmus.toml`."""
    variables: str
    """What the worker's environment must have for it; empty: nothing."""
    argument: str
    """Of `isthmus up`, for a first try; empty: it takes a file."""
    note: str = ""


def _database(
    engine: str, label: str, url: str, *, argument: str = "", note: str = "", variables: str = "SALES_PASSWORD=…"
) -> Engine:
    configuration = f"""[databases.sales]
url = "{url}"
title = "Sales"
description = "Orders, customers and invoices"
access = "read-only"
"""
    return Engine(
        id=engine,
        label=label,
        kind="db",
        configuration=configuration,
        variables=variables,
        argument=argument and f"--db 'sales={argument}'",
        note=note,
    )


_NOT_TESTED = (
    "It is served through SQLAlchemy's own dialect and is not run in the tests of Isthmus. Install its driver beside "
    "the db-worker first: {}."
)

ENGINES = {
    engine.id: engine
    for engine in (
        _database(
            "postgresql",
            "PostgreSQL",
            "postgresql://reader:${SALES_PASSWORD}@db.internal/sales",
            argument="postgresql://reader:PASSWORD@db.internal/sales",
        ),
        _database(
            "mysql",
            "MySQL",
            "mysql://reader:${SALES_PASSWORD}@db.internal/sales",
            argument="mysql://reader:PASSWORD@db.internal/sales",
        ),
        _database(
            "mariadb",
            "MariaDB",
            "mariadb://reader:${SALES_PASSWORD}@db.internal/sales",
            argument="mariadb://reader:PASSWORD@db.internal/sales",
        ),
        _database(
            "sqlite",
            "SQLite",
            "sqlite:////data/sales.db",
            argument="sqlite:////data/sales.db",
            variables="",
            note="Four slashes begin a path from the root, three one from where the worker was started.",
        ),
        _database(
            "mssql",
            "SQL Server",
            "mssql+pyodbc://reader:${SALES_PASSWORD}@db.internal/sales?driver=ODBC+Driver+18+for+SQL+Server",
            note=_NOT_TESTED.format("pyodbc, and Microsoft's ODBC driver"),
        ),
        _database(
            "oracle",
            "Oracle",
            "oracle+oracledb://reader:${SALES_PASSWORD}@db.internal:1521/?service_name=sales",
            note=_NOT_TESTED.format("oracledb"),
        ),
        Engine(
            id="folder",
            label="Local folder",
            kind="file",
            configuration="""[files.reports]
path = "/data/reports"
title = "Reports"
description = "Monthly reports"
access = "read-only"
""",
            variables="",
            argument="--files reports=/data/reports",
            note="Nothing outside of the folder can be reached, and symbolic links in it do not exist.",
        ),
        Engine(
            id="s3",
            label="S3 or MinIO",
            kind="file",
            configuration="""[files.archive]
url = "s3://archive/2026?endpoint=https://s3.internal&region=eu-central-1"
access_key = "${S3_KEY}"
secret_key = "${S3_SECRET}"
title = "Archive"
description = "Invoices since 2020"
access = "read-only"
""",
            variables="S3_KEY=…\nS3_SECRET=…",
            argument="",
            note="Leave the endpoint out for AWS. What follows the bucket's name is a prefix: nothing outside of it "
            "can be reached.",
        ),
    )
}
"""By their ids."""
