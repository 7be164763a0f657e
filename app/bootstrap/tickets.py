"""Wiring of tickets for changes that the path rules escalate."""

from typing import TYPE_CHECKING

from app.ports import ChangeLeave, TicketBox
from config.settings import Settings

if TYPE_CHECKING:
    from app.services.ticket_shipping import TicketShipper


def change_leave(settings: Settings, mount: str) -> ChangeLeave:
    """A mount's tickets, as the mount asks for them."""
    from app.services.write_leave import WriteLeave

    return WriteLeave(settings.project, _box(settings, mount), settings.escalation_s)


def ticket_shipper(settings: Settings, mount: str) -> "TicketShipper":
    """What sends a mount's tickets to the workers; not started yet."""
    from app.bootstrap import reply_box, seal, tasks
    from app.services.ticket_shipping import TicketShipper

    return TicketShipper(_box(settings, mount), tasks(settings), reply_box(settings), seal(settings))


def _box(settings: Settings, mount: str) -> TicketBox:
    from app.adapters.ticket_folder import TicketFolder

    return TicketFolder(settings.mounts / mount / "tickets")
