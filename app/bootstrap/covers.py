"""What keeps the folder below a mount from being written to while the mount is away."""

from pathlib import Path


def cover(point: Path) -> None:
    """Let nothing be written in a folder while nothing is mounted on it, where that is allowed."""
    from app.adapters import mount_points

    mount_points.cover(point)


def uncover(point: Path) -> None:
    """End what `cover` began."""
    from app.adapters import mount_points

    mount_points.uncover(point)
