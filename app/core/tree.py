"""The one function that folds an operation into a tree.

Store worker, mount and simulator run the same `apply`; a confirmed tree is a pure function of the position.
"""

from app.core.attributes import composed_version, fold_content, fold_removexattr, fold_setattr, fold_setxattr
from app.core.conflicts import INVALID
from app.core.dentries import fold_link, fold_make, fold_rename, fold_rmdir, fold_unlink
from app.core.messages import Outcome
from app.core.nodes import I64, ROOT_NODE, Node, TreeState, is_directory
from app.core.operations import (
    Content,
    FileOperationRequest,
    Link,
    Make,
    RemoveXattr,
    Rename,
    Rmdir,
    SetAttr,
    SetXattr,
    Unlink,
)

__all__ = ["ROOT_NODE", "Node", "TreeState", "apply", "composed_version", "is_directory"]


def apply(  # noqa: C901, PLR0911 - one case an operation, and mypy sees that none is missing
    state: TreeState, request: FileOperationRequest, incarnation: int, origin_name: str
) -> Outcome:
    """Fold one request into `state` by the conflict table and return what became of it.

    A rejected or shadowed operation changes nothing. Total: never raises on any decodable request.
    """
    at_ns, operation = request.at_ns, request.operation
    if not -I64 <= at_ns < I64:
        return INVALID
    match operation:
        case Content():
            return fold_content(state, operation, at_ns, (incarnation, request.origin_seq))
        case Make():
            return fold_make(state, operation, at_ns, origin_name)
        case SetAttr():
            return fold_setattr(state, operation, at_ns)
        case Rename():
            return fold_rename(state, operation, at_ns, origin_name)
        case Unlink():
            return fold_unlink(state, operation, at_ns, origin_name)
        case Link():
            return fold_link(state, operation, at_ns, origin_name)
        case Rmdir():
            return fold_rmdir(state, operation, at_ns, origin_name)
        case SetXattr():
            return fold_setxattr(state, operation, at_ns)
        case RemoveXattr():
            return fold_removexattr(state, operation, at_ns)
