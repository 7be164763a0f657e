"""Bring a database to the newest schema: numbered SQL files, each once, under one advisory lock.

Safe when many processes start at once: the lock is taken before anything is looked at. Roles: weir_writer (workers)
may append, weir_reader may only read; both are made here when the connecting role may make them.
"""

from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.adapters.postgres.connections import Connection, store_errors

FOLDER: Final = Path(__file__).parent / "migrations"
_LOCK: Final = 0x77656972
WRITER: Final = "weir_writer"
READER: Final = "weir_reader"


def migrate(url: str, *, writer_password: str | None = None, reader_password: str | None = None) -> list[str]:
    """Create what is missing (database, schema, roles, grants); return the names of the files applied now.

    `url` names the owner of the data (an administrator for roles and database). A password of None leaves that
    role as it is.
    """
    with store_errors():
        _ensure_database(url)
        with psycopg.connect(url) as connection:
            connection.execute("select pg_advisory_xact_lock(%s)", (_LOCK,))
            applied = _apply_files(connection)
            _ensure_role(connection, WRITER, writer_password)
            _ensure_role(connection, READER, reader_password)
            _grant(connection)
            return applied


def _ensure_database(url: str) -> None:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        name = conninfo_to_dict(url).get("dbname")
        if not name or f'database "{name}" does not exist' not in str(error):
            raise
        with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as connection:
            try:
                connection.execute(
                    sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(str(name)))
                )
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return


def _apply_files(connection: Connection) -> list[str]:
    connection.execute(
        "create table if not exists migrations"
        " (name text primary key, applied_at timestamptz not null default clock_timestamp())"
    )
    done = {row[0] for row in connection.execute("select name from migrations")}
    fresh = [path for path in sorted(FOLDER.glob("[0-9]*.sql")) if path.stem not in done]
    for path in fresh:
        connection.execute(path.read_text().encode())
        connection.execute("insert into migrations (name) values (%s)", (path.stem,))
    return [path.stem for path in fresh]


def _ensure_role(connection: Connection, role: str, password: str | None) -> None:
    known = connection.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone()
    if password is None and known:
        return
    verb = "alter" if known else "create"
    secret = sql.SQL(" password {}").format(sql.Literal(password)) if password else sql.SQL("")
    connection.execute(
        sql.SQL("{} role {} login nosuperuser nocreatedb nocreaterole").format(sql.SQL(verb), sql.Identifier(role))
        + secret
    )


def _grant(connection: Connection) -> None:
    """Grants are stated whole at every run, so that a new table is never forgotten."""
    database = sql.Identifier(connection.info.dbname)
    for text in (
        "revoke all on schema public from public",
        "revoke all on database {db} from public",
        "grant connect on database {db} to weir_writer, weir_reader",
        "grant usage on schema public to weir_writer, weir_reader",
        "grant select on all tables in schema public to weir_writer, weir_reader",
        "revoke execute on all routines in schema public from public",
        "grant execute on all routines in schema public to weir_writer",
        "grant insert on all tables in schema public to weir_writer",
        "revoke insert on migrations from weir_writer",
        "grant update on log_heads, incarnations, inodes, dentries, aliases, content_chunks, spools to weir_writer",
        "grant delete on inodes, dentries, content_chunks, tree_waiting, open_escalations to weir_writer",
    ):
        connection.execute(sql.SQL(text).format(db=database))
