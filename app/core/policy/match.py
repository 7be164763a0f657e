"""A compiled rule and how it meets a command, a file tool or a fetch: all conditions that it has must hold."""

from typing import Any

import msgspec

from app.core.decisions import Verdict
from app.core.policy.glob import argument_expression, compiled, needles, path_expression, simple_glob, text_expression
from app.core.policy.options import Line
from app.core.policy.source import Stated, Tier, WhenSource, names, refusal
from app.core.policy.verbs import CHANGE, kind_of
from app.core.shell.form import MARKS, Command, Touch, as_glob
from app.core.shell.places import absolute

WRITE_TOOLS = frozenset(
    (
        "Write",
        "Edit",
        "MultiEdit",
        "NotebookEdit",
        "create_file",
        "str_replace",
        "apply_patch",
        "write_file",
        "edit_file",
    )
)
READ_TOOLS = frozenset(("Read", "Glob", "Grep", "LS", "NotebookRead", "read_file", "list_dir"))
CHANGING = frozenset(("write", "delete", "change"))
WHOLES = frozenset(("project-root", "temp-root", "policy-parent", "weir", "git", "secret"))
SETTLED = frozenset(("project", "temp", "system", "null"))


class Seen(msgspec.Struct, frozen=True):
    """What rules look at: one simple command, or a tool call that is none (then `program` is '')."""

    tool: str
    command: Command
    line: Line
    text: str
    cwd: str
    project: str
    agent: str
    session: str
    host: str = ""


class Pattern(msgspec.Struct, frozen=True):
    """One `match:` entry, compiled. Exactly one of text, path and host is set, or none (the bare tool name)."""

    tools: frozenset[str]
    text: str = ""
    path: Any = None
    host: str = ""
    tool_glob: str = ""
    access: frozenset[str] = frozenset()
    path_glob: str = ""


class Rule(msgspec.Struct, frozen=True):
    """A rule ready to judge; regular expressions are RE2, sets are sets. `order`: of two that say the same in one
    tier, the one stated first is named.
    """

    id: str
    tier: Tier
    file: str
    line: int
    verdict: Verdict
    reason: str
    remedy: str
    lifts: frozenset[str]
    patterns: tuple[Pattern, ...]
    text: Any
    programs: frozenset[str]
    program_globs: tuple[str, ...]
    first_words: frozenset[str]
    subcommands: tuple[tuple[str, ...], ...]
    flags: frozenset[str]
    all_flags: tuple[str, ...]
    without: frozenset[str]
    args: Any
    arg_counts: tuple[int, int]
    accesses: frozenset[str]
    where: frozenset[str]
    where_not: frozenset[str]
    paths: Any
    touches: bool
    facts: frozenset[str]
    wrappers: frozenset[str]
    tools: frozenset[str]
    agents: tuple[str, ...]
    sessions: tuple[str, ...]
    cwds: tuple[str, ...]
    unresolved: str
    on_write: tuple[str, ...]
    commanded: bool
    within: frozenset[str]
    keeps_to: frozenset[str] = frozenset()
    facts_not: frozenset[str] = frozenset()
    order: int = 0
    unless: frozenset[str] = frozenset()
    arg_globs: tuple[str, ...] = ()
    path_globs: tuple[str, ...] = ()
    arg_needles: tuple[str, ...] = ()
    path_needles: tuple[str, ...] = ()
    branches: tuple[str, ...] = ()
    times: tuple[str, ...] = ()


def compile_rule(stated: Stated, order: int = 0) -> Rule:
    """Return a rule from its source; raises PolicyInvalid for a pattern that has no meaning."""
    source, command, touch = stated.source, stated.source.command, stated.source.touch
    patterns = tuple([_pattern(stated, text) for text in names(source.match)])
    texts = tuple([text_expression(p.text) for p in patterns if p.text])
    programs = names(command.program) if command else ()
    paths = names(touch.path) if touch else ()
    args = names(command.args) if command else ()
    subcommands = names(command.subcommand) if command else ()
    _compile_globs(source.when, programs, patterns)
    return Rule(
        id=source.id,
        tier=stated.tier,
        file=stated.file,
        line=stated.line,
        verdict=source.decide,
        reason=source.reason.strip(),
        remedy=source.remedy.strip(),
        lifts=frozenset(source.lifts),
        patterns=patterns,
        text=compiled(texts) if texts else None,
        programs=frozenset(p for p in programs if "*" not in p),
        program_globs=tuple(p for p in programs if "*" in p),
        first_words=frozenset(sub for sub in subcommands if " " not in sub),
        subcommands=tuple([tuple(sub.split()) for sub in subcommands if " " in sub]),
        flags=frozenset(names(command.flags)) if command else frozenset(),
        all_flags=names(command.all_flags) if command else (),
        without=frozenset(names(command.without)) if command else frozenset(),
        args=compiled(tuple([argument_expression(a) for a in args])) if args else None,
        arg_counts=(command.min_args, command.max_args) if command else (0, 1_000_000),
        accesses=frozenset(names(touch.access)) if touch else frozenset(),
        where=frozenset(names(touch.where)) if touch else frozenset(),
        where_not=frozenset(names(touch.where_not)) if touch else frozenset(),
        paths=compiled(tuple([path_expression(p) for p in paths])) if paths else None,
        touches=touch is not None,
        facts=frozenset(names(source.fact)),
        facts_not=frozenset(names(source.fact_not)),
        wrappers=frozenset(names(source.wrapper)),
        tools=frozenset(names(source.tool)),
        agents=names(source.when.agent),
        sessions=names(source.when.session),
        cwds=names(source.when.cwd),
        unresolved=source.unresolved,
        on_write=paths if source.on else (),
        commanded=command is not None,
        within=frozenset(names(source.within)),
        keeps_to=frozenset(names(source.keeps_to)),
        order=order,
        unless=frozenset(names(command.unless)) if command else frozenset(),
        arg_globs=args,
        path_globs=(*paths, *[p.path_glob for p in patterns if p.path_glob]),
        arg_needles=needles(args),
        path_needles=needles(paths),
        branches=names(source.when.branch),
        times=names(source.when.time),
    )


def _compile_globs(when: WhenSource, programs: tuple[str, ...], patterns: tuple[Pattern, ...]) -> None:
    """Compile now what would else be compiled by the first call that meets it."""
    callers = (*names(when.agent), *names(when.session), *names(when.cwd), *names(when.branch))
    for glob in (*callers, *[p for p in programs if "*" in p], *[p.tool_glob for p in patterns if p.tool_glob]):
        simple_glob(glob)


def _pattern(stated: Stated, text: str) -> Pattern:
    tool, opening, rest = text.partition("(")
    if opening and not rest.endswith(")"):
        raise refusal(stated, f"{text!r} has no closing bracket", "write Tool(pattern)")
    inner = rest[:-1] if opening else ""
    if not tool or (tool.startswith("mcp__") and opening):
        raise refusal(stated, f"{text!r} is no pattern", "write Tool, Tool(pattern) or mcp__server__tool")
    if "*" in tool or (tool.startswith("mcp__") and tool.count("__") == 1):
        return Pattern(frozenset(), tool_glob=tool if "*" in tool else f"{tool}__*")
    return _tool_pattern(stated, tool, inner)


def _tool_pattern(stated: Stated, tool: str, inner: str) -> Pattern:
    if not inner or inner == "*":
        return Pattern(frozenset((tool,)))
    if tool == "Bash":
        return Pattern(frozenset((tool,)), text=inner)
    if tool in {"WebFetch", "WebSearch"}:
        return Pattern(frozenset((tool,)), host=inner.removeprefix("domain:").lower())
    if tool in WRITE_TOOLS:
        path = compiled((path_expression(inner),))
        return Pattern(WRITE_TOOLS, path=path, access=CHANGING, path_glob=inner)
    if tool in READ_TOOLS:
        path = compiled((path_expression(inner),))
        return Pattern(READ_TOOLS, path=path, access=frozenset(("list", "read", "send")), path_glob=inner)
    raise refusal(stated, f"{tool} takes no pattern in brackets", "use the bare tool name")


def matches(rule: Rule, seen: Seen) -> bool:
    """Tell whether every condition of a rule on the call holds; those on the world are asked last (world.py)."""
    command = seen.command
    if (rule.facts or rule.facts_not) and not _matches_facts(rule, command.facts):
        return False
    if rule.commanded and not _matches_command(rule, seen):
        return False
    if rule.touches and not _matches_touches(rule, seen):
        return False
    if rule.patterns and not _matches_patterns(rule, seen):
        return False
    if rule.keeps_to and command.touches and not _keeps_to(rule, command):
        return False
    if (rule.within or rule.wrappers or rule.tools) and not _matches_circumstances(rule, seen):
        return False
    if (rule.agents or rule.sessions or rule.cwds) and not _matches_caller(rule, seen):
        return False
    return rule.verdict is not Verdict.APPROVE or not command.unresolved or _known_enough(rule, command)


def _matches_facts(rule: Rule, facts: frozenset[str]) -> bool:
    return (not rule.facts or not rule.facts.isdisjoint(facts)) and rule.facts_not.isdisjoint(facts)


def _keeps_to(rule: Rule, command: Command) -> bool:
    for touch in command.touches:
        if touch.access in CHANGING and (
            touch.where[0] not in rule.keeps_to or (touch.access == "delete" and not WHOLES.isdisjoint(touch.where))
        ):
            return False
    return True


def _matches_circumstances(rule: Rule, seen: Seen) -> bool:
    if rule.within and any(touch.where[0] not in rule.within for touch in seen.command.touches):
        return False
    if rule.wrappers and rule.wrappers.isdisjoint(seen.command.wrappers):
        return False
    return not rule.tools or seen.tool in rule.tools


def _matches_command(rule: Rule, seen: Seen) -> bool:
    program = seen.command.program
    if not program:
        return False
    line, strict = seen.line, rule.verdict is not Verdict.APPROVE
    if (rule.programs or rule.program_globs) and not _matches_program(rule, program, sure=strict or not line.unsure):
        return False
    if (rule.first_words or rule.subcommands) and not _matches_subcommand(rule, line.positions):
        return False
    if rule.unless and line.positions and line.positions[0] in rule.unless:
        return False
    if rule.flags and not line.any_of(rule.flags, strict=strict):
        return False
    if rule.all_flags and not all(line.any_of(name.split("|"), strict=strict) for name in rule.all_flags):
        return False
    if rule.without and line.any_of(rule.without, strict=not strict):
        return False
    return _matches_arguments(rule, seen)


def _matches_program(rule: Rule, program: str, *, sure: bool) -> bool:
    """An approval of any program takes no command line whose sub-command is unsure."""
    if program in rule.programs:
        return True
    return (
        sure and bool(rule.program_globs) and any(g == "*" or simple_glob(g).match(program) for g in rule.program_globs)
    )


def _matches_arguments(rule: Rule, seen: Seen) -> bool:
    if not rule.arg_counts[0] <= len(seen.line.positions) <= rule.arg_counts[1]:
        return False
    return rule.args is None or _matches_word(rule, seen.command.words[1:])


def _matches_word(rule: Rule, words: tuple[str, ...]) -> bool:
    return any(rule.args.fullmatch(word) for word in words if not rule.arg_needles or _holds(word, rule.arg_needles))


def _holds(text: str, wanted: tuple[str, ...]) -> bool:
    for one in wanted:  # noqa: SIM110  # a third of the time of any()
        if one in text:
            return True
    return False


def _matches_subcommand(rule: Rule, positions: list[str]) -> bool:
    if not positions:
        return False
    if positions[0] in rule.first_words:
        return True
    loose = rule.verdict is not Verdict.APPROVE or kind_of(positions[0]) != CHANGE
    return any(_begins_with(positions, sub) for sub in rule.subcommands if loose or sub[0] != "*")


def _begins_with(positions: list[str], sub: tuple[str, ...]) -> bool:
    if sub[0] != "*":
        return tuple(positions[: len(sub)]) == sub
    return tuple(positions[1 : len(sub)]) == sub[1:]


def _matches_touches(rule: Rule, seen: Seen) -> bool:
    for touch in seen.command.touches:  # noqa: SIM110  # a third of the time of any()
        if _matches_touch(rule, touch, seen):
            return True
    return False


def _matches_touch(rule: Rule, touch: Touch, seen: Seen) -> bool:
    if rule.accesses and touch.access not in rule.accesses:
        return False
    if rule.where and rule.where.isdisjoint(touch.where):
        return False
    if rule.where_not and not rule.where_not.isdisjoint(touch.where):
        return False
    return rule.paths is None or _matches_path(rule.paths, touch.path, seen, rule.path_needles)


def _matches_path(paths: Any, path: str, seen: Seen, wanted: tuple[str, ...] = ()) -> bool:
    full = absolute(path, seen.cwd)
    if wanted and not _holds(full, wanted):
        return False
    if paths.fullmatch(full):
        return True
    home = absolute(seen.project, "") if seen.project else ""
    if not home or not full.startswith(home) or full[len(home) : len(home) + 1] != "/":
        return False
    return bool(paths.fullmatch(full[len(home) + 1 :]))


def _matches_patterns(rule: Rule, seen: Seen) -> bool:
    if rule.text is not None and seen.command.program and rule.text.fullmatch(seen.text):
        return True
    return any(_matches_pattern(pattern, rule, seen) for pattern in rule.patterns if not pattern.text)


def _matches_pattern(pattern: Pattern, rule: Rule, seen: Seen) -> bool:
    if pattern.tool_glob:
        return simple_glob(pattern.tool_glob).match(seen.tool) is not None
    if pattern.path is not None:
        strict = rule.verdict is not Verdict.APPROVE
        touched = [
            touch.access in pattern.access and _matches_path(pattern.path, touch.path, seen)
            for touch in seen.command.touches
        ]
        return any(touched) if strict else seen.tool in pattern.tools and bool(touched) and all(touched)
    if seen.tool not in pattern.tools:
        return False
    return not pattern.host or _matches_host(pattern.host, seen.host)


def _matches_host(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return pattern in (host, "*")


def _matches_caller(rule: Rule, seen: Seen) -> bool:
    return all(
        not globs or any(simple_glob(g).match(value) for g in globs)
        for globs, value in ((rule.agents, seen.agent), (rule.sessions, seen.session), (rule.cwds, seen.cwd))
    )


def _known_enough(rule: Rule, command: Command) -> bool:
    """May an approval stand although a word is not known?"""
    if rule.unresolved == "ok":
        return True
    if rule.unresolved == "refuse":
        return False
    open_words = sum(
        1 for word in command.words if not word.isascii() and any(mark in as_glob(word) for mark in MARKS)
    )
    settled = [t for t in command.touches if "unresolved" in t.where and t.where[0] in SETTLED]
    return len({t.path for t in settled}) >= open_words
