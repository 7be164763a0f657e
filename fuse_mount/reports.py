"""What debug/ says: each file rendered from the mount's own figures, at the moment of its look-up."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

from app.ports import MountParts
from fuse_mount.feed import Feed
from fuse_mount.kernel_cache import NotifiedCache
from fuse_mount.state import MountState


class Reports:
    """Rendered with llfuse.lock held: nothing here asks a server, or the mount."""

    def __init__(self, state: MountState, feed: Feed, cache: NotifiedCache, parts: MountParts, agent: str) -> None:
        self._state = state
        self._feed = feed
        self._cache = cache
        self._parts = parts
        self._agent = agent
        self._started_s = time.monotonic()

    def files(self) -> dict[bytes, Callable[[], bytes]]:
        """Return the files of debug/ by name."""
        shown: dict[bytes, Callable[[], dict[str, Any]]] = {
            b"health": self.health,
            b"position": self.position,
            b"flags": lambda: dict(self._parts.flags),
            b"last-denial": lambda: dict(self._state.gate.last_denial),
            b"stats": self.stats,
        }
        files = {name: _json(said) for name, said in shown.items()}
        files[b"metrics"] = self.metrics
        return files

    def position(self) -> dict[str, Any]:
        """The last position that the kernel has been told of, and how far our own operations are."""
        journal = self._state.changes.journal
        settled = self._cache.delivered == self._feed.position
        return {
            "position": self._cache.delivered,
            "applied": self._feed.position,
            "hash": self._feed.hash.hex() if settled else "",
            "incarnation": journal.incarnation,
            "sequence": journal.next_sequence - 1,
            "acked": self._state.confirmed.get(journal.incarnation, 0),
        }

    def health(self) -> dict[str, Any]:
        """What is well and what is not; `problems` is empty on a healthy mount."""
        state, figures = self._state, self._feed.figures
        courier = self._parts.journal.courier()
        return {
            "mount": state.options.name,
            "pid": os.getpid(),
            "agent": self._agent,
            "uptime_s": round(time.monotonic() - self._started_s, 1),
            "read_only": state.options.read_only,
            "durability": state.options.durability,
            **self.position(),
            "pending": len(state.tree.pending),
            "feed": {
                "by_pubsub": figures.by_pubsub,
                "by_catch_up": figures.by_catch_up,
                "gaps": figures.gaps,
                "resyncs": figures.resyncs,
                "last_resync": figures.last_resync,
            },
            "lost": figures.losses,
            "cold_failures": state.cold.failures,
            "rules": state.gate.rules.version,
            "denials_unrecorded": state.gate.unrecorded,
            "journal_damage": [damage._asdict() for damage in self._parts.journal.damage],
            "counters": dict(state.counters),
            "courier": courier,
            "problems": self._problems(courier),
        }

    def _problems(self, courier: dict[str, Any]) -> list[str]:
        found = [f"courier: {courier[key]}" for key in ("problem", "error") if courier.get(key)]
        if self._parts.journal.damage:
            found.append("an older journal had an unreadable tail: see journal_damage")
        if self._state.cold.failures:
            found.append("content could not be read in time: see cold_failures")
        if self._feed.figures.losses:
            found.append("operations of this mount were refused by the store: see lost")
        if self._state.gate.rules.alert:
            found.append(f"rules: {self._state.gate.rules.alert}")
        if self._state.border.patterns.problem:
            found.append(f".weirignore: {self._state.border.patterns.problem}")
        if self._state.gate.unrecorded:
            found.append(f"{self._state.gate.unrecorded} refusals by path rules are in no log: see mount's own log")
        return found

    def stats(self) -> dict[str, Any]:
        """Sizes of what the mount holds."""
        state = self._state
        return {
            "inodes": len(state.tree.nodes),
            "known_to_kernel": len(state.lookups),
            "open_files": len(state.files.handles),
            "unlinked_open": len(state.changes.orphans),
            "content_files": len(state.contents.files),
            "unsealed_files": len(state.contents.dirty),
            "clean_bytes": state.contents.clean_bytes,
            "pinned_bytes": state.contents.pinned_bytes,
            "copied_bytes": state.contents.copied_bytes,
            "ephemeral_roots": sum(map(len, state.border.names.values())),
            "ephemeral_inodes": len(state.border.inodes.known),
            "local_chunks_refused": state.cold.refused,
            "invalidations_queued": self._cache.queued,
        }

    def metrics(self) -> bytes:
        """Figures in Prometheus's text format."""
        figures = self._feed.figures
        rows: dict[str, float] = {
            "position": self._feed.position,
            "pending_operations": len(self._state.tree.pending),
            "feed_by_pubsub_total": figures.by_pubsub,
            "feed_by_catch_up_total": figures.by_catch_up,
            "feed_gaps_total": figures.gaps,
            "resyncs_total": figures.resyncs,
            **self.stats(),
        }
        lines = [f"weir_mount_{name} {value}" for name, value in rows.items()]
        lines += [f'weir_mount_events_total{{event="{_label(name)}"}} {n}' for name, n in self._state.counters.items()]
        return ("\n".join(lines) + "\n").encode()


def _label(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')


def _json(said: Callable[[], dict[str, Any]]) -> Callable[[], bytes]:
    def rendered() -> bytes:
        return (json.dumps(said()) + "\n").encode()

    return rendered
