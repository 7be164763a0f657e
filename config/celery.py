"""Celery's configuration as plain values, each with its reason; imports nothing of ours but the settings.

Two forms of one table: `worker_configuration` for the processes that consume, `sender_configuration` for
those that only send (shorter time-outs). Figures in comments were measured on two cores with Redis on a Unix socket.
"""

from typing import Any, Final, NamedTuple

from config.settings import Settings


class Queue(NamedTuple):
    """Bounds of one queue: messages that may wait, seconds after which a message is dropped unread, and a
    task's soft and hard time limit in seconds (prefork only; solo and threads cannot interrupt).
    """

    length_max: int
    expires_s: float
    soft_s: int
    hard_s: int


# Every sender re-drives after 3 s without a reply, so a message that waited longer than `expires_s` has been sent
# again: dropping it bounds what a long outage of the workers leaves behind. Lengths bound the bytes in the broker:
# a persist batch is at most about 1.4 MiB in base64, chunks likewise, a validate batch 256 calls.
QUEUES: Final[dict[str, Queue]] = {
    "validate": Queue(length_max=512, expires_s=5, soft_s=2, hard_s=4),  # a verdict is useless after its deadline
    "files": Queue(length_max=64, expires_s=30, soft_s=20, hard_s=25),
    "record": Queue(length_max=128, expires_s=30, soft_s=20, hard_s=25),
    "experts": Queue(length_max=1024, expires_s=300, soft_s=20, hard_s=25),
    "maintenance": Queue(length_max=64, expires_s=30, soft_s=20, hard_s=25),
}

# Journal and spool send these again after 3 s without a reply, for as long as it takes: workers hold them as
# unacknowledged in memory, not in Redis.
SENT_AGAIN: Final = frozenset({"files", "record"})

# Redelivery of what a killed worker held unacknowledged, of the other queues. It must pass the
# longest task (25 s), or a slow one would run twice; equal in every process, since the shortest wins.
VISIBILITY_TIMEOUT_S: Final = 30

HEARTBEAT_EVERY_S: Final = 5.0
MAINTAIN_EVERY_S: Final = 10.0
# the gateway asks by itself at the deadline of a caller that waits; this ends what nobody waits for
ESCALATIONS_EVERY_S: Final = 5.0
# a row and some stats: how long the project's own rules may take to come into force
RULES_EVERY_S: Final = 2.0

_TRANSPORT: Final[dict[str, Any]] = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    # by default one sweep of ten, every ten seconds, looks: redelivery at an 8 s time-out took 100 s, 7.4 s with these
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    # no priorities on Redis: separate queues instead, and one key a queue to pop from instead of four
    "priority_steps": [0],
    "queue_order_strategy": "round_robin",
}


def broker_url(settings: Settings) -> str:
    """Return the broker's URL in Celery's form: redis+socket:// for a Unix socket."""
    return settings.redis_url.replace("unix://", "redis+socket://", 1)


def broker_prefix(settings: Settings) -> str:
    """Return the prefix of every key and channel of the broker: two projects may share one Redis."""
    return f"{settings.key_prefix}broker:"


def _base(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": broker_url(settings),
        # one bytes argument a task: msgpack carries bytes as they are. JSON is what remote control and events
        # speak. Pickle would let whoever reaches Redis run code in a worker.
        "task_serializer": "msgpack",
        "accept_content": ["json", "msgpack"],
        "result_accept_content": ["json", "msgpack"],
        "event_serializer": "json",
        # answers go through reply lists, one a batch; results would be a write and a key a task
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "result_backend": None,
        # a frozen Redis would otherwise hold the sender for ever
        "task_publish_retry": False,
        # taken is gone for `validate`: the bookkeeping of what is unacknowledged is two round trips a batch, and a
        # batch whose worker died is answered by the gateway long before it could be delivered again
        "task_queues": {name: {"exchange": name, "routing_key": name, "no_ack": name == "validate"} for name in QUEUES},
        # a misspelt -Q is an error, not a queue that nobody fills
        "task_create_missing_queues": False,
        "task_default_queue": "maintenance",
        # an event a send costs a publish and tells nothing that task-received does not
        "task_send_sent_event": False,
        "timezone": "UTC",
        "enable_utc": True,
        "broker_connection_retry_on_startup": True,
    }


def worker_configuration(settings: Settings) -> dict[str, Any]:
    """Return the configuration of workers, beat and Flower."""
    return _base(settings) | {
        "broker_transport_options": _TRANSPORT
        | {
            "global_keyprefix": broker_prefix(settings),
            # a worker may wait longer than a sender, but not for ever: kombu blocks 1 s in BRPOP
            "socket_timeout": 5.0,
            "socket_connect_timeout": 1.0,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        "imports": ("workers.tasks",),
        # drops and counts what no sender of ours made; in Celery's own it ended the worker
        "worker_consumer": "workers.border:CarefulConsumer",
        # a worker that lost Redis tries for ever, first at once: the supervisor need not restart it
        "broker_connection_max_retries": None,
        "broker_connection_retry": True,
        "broker_channel_error_retry": True,  # an answer such as MISCONF (disk full) passes; a worker would end for good
        "broker_heartbeat": 0,
        # Flower shows a worker without event heartbeats as offline, its pid and load empty
        "worker_send_task_events": True,
        # a second message held back would wait behind a transaction while another worker idles
        "worker_prefetch_multiplier": 1,
        # late acknowledgement is chosen a task (workers/tasks.py); a task that kills its worker must not come back
        # for ever: its sender re-drives it, and the store parks a poison operation
        "task_reject_on_worker_lost": False,
        "task_acks_on_failure_or_timeout": True,
        # with soft shutdown or REMAP_SIGTERM a solo worker lost its late-ack task in 3 of 3 runs
        "worker_soft_shutdown_timeout": 0.0,
        "worker_enable_soft_shutdown_on_idle": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        # Redis has no quorum queues: skips the detection at start
        "worker_detect_quorum_queues": False,
        # a leak ends with its process
        "worker_max_tasks_per_child": 20_000,
        "worker_proc_alive_timeout": 30.0,
        # logs belong to the supervisor; tasks do not print
        "worker_hijack_root_logger": True,
        "worker_redirect_stdouts": False,
        "worker_state_db": None,
        # in memory: every interval is seconds, so nothing is worth a (pickled) file of last runs
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 1.0,
        "beat_schedule": beat_schedule(),
    }


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Return what beat sends: one empty bytes argument, dropped when the next is due."""
    entries = {
        "weir.heartbeat": HEARTBEAT_EVERY_S,
        "weir.maintain": MAINTAIN_EVERY_S,
        "weir.expire-escalations": ESCALATIONS_EVERY_S,
        "weir.rules": RULES_EVERY_S,
    }
    return {
        name: {
            "task": name,
            "schedule": every_s,
            "args": (b"",),
            "options": {"queue": "maintenance", "expires": every_s, "argsrepr": "<0 bytes>"},
        }
        for name, every_s in entries.items()
    }


def sender_configuration(settings: Settings) -> dict[str, Any]:
    """Return the configuration of processes that only send: gateway, courier, import."""
    return _base(settings) | {
        "broker_transport_options": _TRANSPORT
        | {
            "global_keyprefix": broker_prefix(settings),
            # together under the 1 s that ports.Tasks promises when Redis is frozen
            "socket_timeout": 0.5,
            "socket_connect_timeout": 0.25,
            "max_retries": 0,
            "health_check_interval": 0,
        },
        "broker_connection_retry": False,
        "broker_pool_limit": 0,
    }
