"""Wiring of what is looked for outside of the programs: mounts, and servers that were left behind."""

import signal
from pathlib import Path

from config.settings import Settings


def mount_kind(point: Path) -> str:
    """What is mounted at a folder, '' for nothing; never touches the folder."""
    from app.adapters import mount_points

    return mount_points.mount_kind(point)


def unmount(point: Path) -> bool:
    """Unmount a FUSE mount and its cover; return whether there was a mount."""
    from app.adapters import mount_points

    return mount_points.unmount(point)


def mounted(settings: Settings) -> list[str]:
    """Return the folders of this project that something is mounted on."""
    from app.services.status import mount_places

    return [place.path for place in mount_places(settings) if mount_kind(Path(place.path))]


def unmount_leftovers(settings: Settings) -> list[str]:
    """Unmount what is still mounted of this project and return where."""
    from app.services.status import mount_places

    return [place.path for place in mount_places(settings) if unmount(Path(place.path))]


def end_left_servers(settings: Settings) -> dict[str, bool]:
    """End the project's own servers that outlived who started them; return whether each had to be killed."""
    from app.adapters import left_servers

    ways = {
        "redis": (settings.home / "redis" / "server.lock", (signal.SIGTERM,)),
        "postgres": (settings.home / "postgres.lock", (signal.SIGINT, signal.SIGQUIT)),
    }
    ended = {name: left_servers.end_left(lock, signals) for name, (lock, signals) in ways.items()}
    return {name: killed for name, killed in ended.items() if killed is not None}
