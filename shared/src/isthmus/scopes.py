"""The OAuth scopes. A worker of another kind than `db` and `file` has `<kind>:use`."""

SCOPES: dict[str, str] = {
    "data:read": "Read the schemas and rows of databases",
    "data:write": "Create, change and delete rows of databases",
    "files:read": "List, read and search files",
    "files:write": "Create, change and delete files",
    "routines:call": "Call stored procedures and functions",
    "sql:run": "Run SQL queries where a database allows them",
}
"""Scope → what a person reads on the consent page."""

DEFAULT_SCOPES = ("data:read", "files:read")
"""What a request without `scope` is offered at first."""
