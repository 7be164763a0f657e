"""Gives each start of an origin its number: registered in Postgres, once for each request id."""

from app.core.messages import FORMAT, IncarnationReply, IncarnationRequest, encode
from app.ports import FileEventWriter, Replies
from app.services.persist import require_project


class Incarnations:
    """The register of incarnations as a worker process serves it."""

    def __init__(self, project: str, writer: FileEventWriter, replies: Replies) -> None:
        self._project = project
        self._writer = writer
        self._replies = replies

    def register(self, request: IncarnationRequest) -> int:
        """Reply with a fresh incarnation, or the one that this request id already got; return it."""
        require_project(self._project, request.project)
        number = self._writer.register_incarnation(
            request.project, request.origin, request.origin_name, request.request_id
        )
        self._replies.push(request.reply_to, encode(IncarnationReply(FORMAT, request.request_id, number)))
        return number
