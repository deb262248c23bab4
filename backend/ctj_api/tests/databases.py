"""Databases of a test's own, beside the one that all tests share."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

import psycopg
from django.db import connection
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

# What belongs to the moment and the server: backups leave out these tables' rows.
LEFT_OUT = ("django_session", "ctj_api_accountsession", "ctj_api_attemptcount", "ctj_change")


@contextmanager
def new_database(name: str) -> Iterator[str]:
    """Give the name of an empty database, which goes away with all connections to it."""
    connection.ensure_connection()
    info = connection.connection.info
    database = Identifier(name := f"{connection.settings_dict['NAME']}_{name}")
    dsn = make_conninfo(info.dsn, dbname="postgres", password=info.password)
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database))
        server.execute(SQL("CREATE DATABASE {}").format(database))
        try:
            yield name
        finally:
            server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(database))


@contextmanager
def using(name: str) -> Iterator[None]:
    """Lead Django, the API included, to another database of the server."""
    usual = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual


def table_digests(without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return a digest of all columns of all rows of each table, and the value of each sequence."""
    with connection.cursor() as cursor:
        digests = {}
        for table in connection.introspection.table_names(cursor):
            if table not in without:
                cursor.execute(
                    SQL('SELECT t::text FROM {} AS t ORDER BY t::text COLLATE "C"').format(Identifier(table))
                )
                rows = cursor.fetchall()
                digests[table] = f"{len(rows)} rows, {sha256(repr(rows).encode()).hexdigest()}"
        cursor.execute("SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'")
        sequences = {name: str(value) for name, value in cursor.fetchall()}
    return digests | {name: value for name, value in sequences.items() if not name.startswith(without)}
