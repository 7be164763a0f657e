"""Rules, and the one immutable snapshot that judges tool calls and paths by them."""

from app.core.policy.explain import Explanation, explained
from app.core.policy.policy import Policy, compile_policy, refusing
from app.core.policy.source import RuleFile

__all__ = ["Explanation", "Policy", "RuleFile", "compile_policy", "explained", "refusing"]
