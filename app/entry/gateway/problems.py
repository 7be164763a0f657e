"""Errors as RFC 9457 problem documents: what is wrong, in which field, and what to do about it."""

import http

import msgspec

_TYPE = "urn:weir:problem:"


class Problem(Exception):
    """A request that cannot be served; `slug` names the kind, `field` the place, `remedy` the way out."""

    def __init__(self, status: int, slug: str, detail: str, remedy: str, field: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.slug = slug
        self.detail = detail
        self.remedy = remedy
        self.field = field


class ProblemDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an error answer."""

    type: str
    title: str
    status: int
    detail: str
    remedy: str
    field: str = ""


def document(problem: Problem) -> bytes:
    """Return the body of a problem's answer."""
    title = http.HTTPStatus(problem.status).phrase
    return msgspec.json.encode(
        ProblemDocument(f"{_TYPE}{problem.slug}", title, problem.status, problem.detail, problem.remedy, problem.field)
    )
