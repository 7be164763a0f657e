"""Flower's configuration as plain values, also usable by hand: `celery -A workers flower --conf=config/flower.py`.

That form leaves `/metrics`, `/healthcheck` and static files open; `python -m workers.flower`, which the
Procfile runs, takes these values and asks for the password on every route. Imports nothing of ours but the settings.
"""

from typing import Final

from config.secret_files import secret_text
from config.settings import Settings, load

USER: Final = "weir"


def password(settings: Settings) -> str:
    """Return Flower's generated password; `weir status` shows it."""
    return secret_text(settings.secrets / "flower")


def credentials(settings: Settings) -> str:
    """Return `user:password`."""
    return f"{USER}:{password(settings)}"


_settings: Final = load()

# by default Flower listens on every interface with open pages
address = "127.0.0.1"
port = _settings.flower_port
basic_auth = [credentials(_settings)]
# 100,000 by default: at a few kB a task that is hundreds of MB in a process that only shows the newest
max_tasks = 5000
max_workers = 200
# whoever has the password sees; stopping workers, revoking and sending tasks is the supervisor's and Weir's business
read_only = True
persistent = False
db = str(_settings.run / "flower")
# pages ask every worker; a solo worker in a batch answers after it
inspect_timeout = 2000.0
natural_time = False
tasks_columns = "name,uuid,state,result,received,runtime,worker"
# a worker that the supervisor replaced is gone from the list after an hour
purge_offline_workers = 3600
# the default buckets begin at 5 ms, above every validate task
task_runtime_metric_buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]
