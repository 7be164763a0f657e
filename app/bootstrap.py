"""The composition root: the only module that names concrete adapters.

One function a process or service; adapters are imported inside it, so that each process loads only what it
needs. Nothing is opened at import: pools and clients are opened by the caller's process, after any fork.
"""


def migrate_database(admin_url: str, *, writer_password: str, reader_password: str) -> None:
    """Bring the database to the newest schema and its two roles into being; safe when many do it at once."""
    from app.adapters.postgres.migrate import migrate

    migrate(admin_url, writer_password=writer_password, reader_password=reader_password)
