"""Bring all programs up, wait until each serves, and take them down by tiers: up twice changes nothing.

A probe returns "" once its program serves, else what it is about to do; a program without one serves when it runs.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from app.core.errors import SetupError
from app.ports import Program, ProgramState, Supervisor

DRAIN_S: Final = 40.0
_POLL_S: Final = 0.1
_ENDED: Final = {"stopped", "exited", "fatal"}
_RESTARTS_MAX: Final = 5

Probe = Callable[[], str]


class Progress(NamedTuple):
    """One program on its way: `waits_for` is "" once it serves."""

    name: str
    waits_for: str
    state: ProgramState | None


Notify = Callable[[Sequence[Progress]], None]


class StartFailed(SetupError):
    """A program does not come up: `log` is where it says why."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def bring_up(
    supervisor: Supervisor,
    programs: Sequence[Program],
    probes: Callable[[bool], Mapping[str, Probe]],
    notify: Notify,
    timeout_s: float,
) -> bool:
    """Start what does not run and wait until everything serves; return whether anything had to be started.

    `probes` is asked with whether the stack starts afresh. Raises StartFailed naming the program.
    """
    fresh = not supervisor.alive()
    before: dict[str, int] = {}
    if fresh:
        known = probes(True)
        supervisor.launch(programs)
    else:
        known = probes(False)
        before = {state.name: state.restarts for state in supervisor.states()}
        for state in supervisor.states():
            if state.state in _ENDED:
                supervisor.start(state.name)
    give_up = time.monotonic() + timeout_s
    while not _all_serve(supervisor, programs, known, notify, before, final=time.monotonic() > give_up):
        time.sleep(_POLL_S)
    return fresh


def _all_serve(
    supervisor: Supervisor,
    programs: Sequence[Program],
    probes: Mapping[str, Probe],
    notify: Notify,
    before: Mapping[str, int],
    *,
    final: bool,
) -> bool:
    states = {state.name: state for state in supervisor.states()}
    progress = [_look(program.name, states.get(program.name), probes) for program in programs]
    notify(progress)
    late = [item for item in progress if item.waits_for]
    for item in late:
        tired = _is_tired(item.state, before)
        if final or tired:
            why = "ends again and again" if tired else f"is not ready in time: {item.waits_for}"
            raise StartFailed(f"{item.name} {why}", item.state.log if item.state else "")
    return not late


def _is_tired(state: ProgramState | None, before: Mapping[str, int]) -> bool:
    """Tell whether a program has given up, or ended too often since `before`; what it did earlier is no sign."""
    if state is None:
        return False
    return state.state == "fatal" or state.restarts - before.get(state.name, 0) > _RESTARTS_MAX


def _look(name: str, state: ProgramState | None, probes: Mapping[str, Probe]) -> Progress:
    if state is None or state.state not in {"running", "starting"}:
        return Progress(name, f"is {state.state if state else 'not started'}", state)
    probe = probes.get(name)
    if probe is not None:
        return Progress(name, probe(), state)
    return Progress(name, "" if state.state == "running" else "starts", state)


def take_down(supervisor: Supervisor, notify: Callable[[str, str], None]) -> list[str]:
    """Stop everything in the order of the drain; return the programs that had to be killed."""
    killed: list[str] = []
    left = [state.name for state in supervisor.states() if state.state not in _ENDED]
    for tier in sorted({_tier(name) for name in left}):
        names = [name for name in left if _tier(name) == tier]
        began = time.monotonic()
        try:
            late = list(supervisor.stop(names, DRAIN_S))
        except SetupError as error:
            killed += names
            notify(names[0], str(error))
        else:
            killed += late
            words = f"; killed: {', '.join(late)}" if late else ""
            notify(", ".join(names), f"stopped in {time.monotonic() - began:.1f} s{words}")
    supervisor.end(DRAIN_S)
    return killed


def _tier(name: str) -> int:
    """Return when a program stops: first what takes new work in, then what ships it, what does it, what keeps it."""
    match name.partition("-")[0]:
        case "mount" | "beat" | "flower":
            return 0
        case "courier":
            return 1
        case "gateway":
            return 2
        case "redis" | "postgres":
            return 4
        case _:
            return 3
