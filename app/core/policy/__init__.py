"""Rules, and the one immutable snapshot that judges tool calls and paths by them."""

from app.core.policy.explain import Explanation, explained
from app.core.policy.policy import Policy, compile_policy, refusing, version_of
from app.core.policy.source import RuleFile
from app.core.policy.world import NOWHERE, World

__all__ = [
    "NOWHERE",
    "Explanation",
    "Policy",
    "RuleFile",
    "World",
    "compile_policy",
    "explained",
    "refusing",
    "version_of",
]
