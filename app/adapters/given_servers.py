"""Redis and Postgres that somebody else runs: waited for without end, and what is wrong is said whenever it changes."""

import sys
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from app.adapters.postgres.migrate import migrate
from app.adapters.redis.connection import connect
from app.adapters.servers import wait_postgres, wait_redis
from app.core.errors import SetupError, Unavailable

LOOK_S: Final = 2.0


class GivenRedis:
    """See Server: a Redis somebody else runs; only waited for."""

    def __init__(self, url: str) -> None:
        self._url = url

    def start(self) -> str:
        connect(self._url).close()  # an address that is none is said at once
        place = urlsplit(self._url)
        shown = f"{place.hostname or place.path}:{place.port or ''}"
        _until_there(f"redis: REDIS_URL, {shown}", lambda: wait_redis(self._url, LOOK_S))
        return "the Redis of REDIS_URL"

    def ended(self) -> int | None:
        return None

    def mend(self) -> Sequence[str]:
        return ()

    def stop(self) -> None:
        return


class GivenPostgres:
    """See Server: a Postgres somebody else runs; waited for, and migrated where an administrator's URL is given."""

    def __init__(self, url: str, admin_url: str) -> None:
        self._url, self._admin_url = url, admin_url

    def start(self) -> str:
        url = self._admin_url or self._url
        try:
            place = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise SetupError(f"DATABASE_URL is no address of a Postgres: {error}") from error
        shown = f"{place.get('user', '')}@{place.get('host', '')}:{place.get('port', '')}/{place.get('dbname', '')}"
        _until_there(f"postgres: DATABASE_URL, {shown}", lambda: wait_postgres(url, LOOK_S))
        applied = migrate(self._admin_url) if self._admin_url else []
        return f"the Postgres of DATABASE_URL, migrations applied now: {len(applied)}"

    def ended(self) -> int | None:
        return None

    def mend(self) -> Sequence[str]:
        return ()

    def stop(self) -> None:
        return


def _until_there(what: str, look: Callable[[], None]) -> None:
    said = ""
    while True:
        try:
            look()
        except Unavailable as error:
            if str(error) != said:
                said = str(error)
                print(f"{what}: {said}; waiting for it", file=sys.stderr, flush=True)
        else:
            return
