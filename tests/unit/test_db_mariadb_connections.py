"""Whether a connection to MariaDB asks for TLS."""

from typing import Any

import pytest

from isthmus_db_worker.dialects.mariadb import Connection


@pytest.mark.parametrize(
    ("parameters", "asks"),
    [
        ({"unix_socket": "/run/mysqld/mysqld.sock"}, False),
        ({"unix_socket": "/run/mysqld/mysqld.sock", "ssl_verify_cert": True}, True),
        ({"host": "db.example"}, True),
        ({"host": "db.example", "ssl_verify_cert": True}, True),
        ({"host": "db.example", "ssl_disabled": True}, False),
    ],
)
def test_tls_is_asked_for_where_it_protects_something(parameters: dict[str, Any], asks: bool) -> None:
    assert Connection(defer_connect=True, **parameters).ssl == asks
