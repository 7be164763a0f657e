"""Rules, and the one immutable snapshot that judges tool calls and paths by them."""

from app.core.policy.policy import Policy, compile_policy, refusing
from app.core.policy.source import RuleFile

__all__ = ["Policy", "RuleFile", "compile_policy", "refusing"]
