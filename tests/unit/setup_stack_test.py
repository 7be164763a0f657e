"""Up twice changes nothing, a program that cannot start is named with its log, down stops by tiers."""

import pytest

from app.core.errors import SetupError
from app.ports import Program, ProgramState
from app.services import stack

PROGRAMS = [Program(name, f"exec {name}") for name in ("redis", "postgres", "store", "gateway", "courier", "mount")]


class DictSupervisor:
    """Programs as a dictionary of states; `stubborn` ones do not stop in time."""

    def __init__(self, states=None, stubborn=(), killed=()):
        self._killed = killed
        self._states = dict(states or {})
        self._stubborn = set(stubborn)
        self.launched = 0
        self.restarts = 0
        self.started = []
        self.stopped = []
        self.ended = False

    def alive(self):
        return bool(self._states)

    def launch(self, programs):
        self.launched += 1
        self._states = {program.name: "running" for program in programs}

    def states(self):
        restarts = self.restarts
        return [ProgramState(name, state, 1, 5, restarts, f"/logs/{name}.log") for name, state in self._states.items()]

    def add(self, programs):
        self._states |= {program.name: "running" for program in programs}

    def start(self, name):
        self.started.append(name)
        self._states[name] = "running"

    def stop(self, names, timeout_s):
        self.stopped.append(list(names))
        if self._stubborn & set(names):
            raise SetupError("did not stop")
        return [name for name in names if name in self._killed]

    def remove(self, name):
        del self._states[name]

    def end(self, timeout_s):
        self.ended = True


def up(supervisor, probes=None, timeout_s=0.0):
    return stack.bring_up(supervisor, PROGRAMS, lambda fresh: probes or {}, lambda progress: None, timeout_s)


def test_up_on_a_running_stack_starts_nothing():
    supervisor = DictSupervisor({program.name: "running" for program in PROGRAMS})
    assert up(supervisor) is False
    assert (supervisor.launched, supervisor.started) == (0, [])


def test_up_starts_again_what_has_given_up():
    supervisor = DictSupervisor({program.name: "running" for program in PROGRAMS} | {"store": "fatal"})
    up(supervisor)
    assert supervisor.started == ["store"]


def test_a_program_that_does_not_come_up_is_named_with_what_it_waits_for_and_its_log():
    with pytest.raises(stack.StartFailed, match="gateway is not ready in time: listens") as caught:
        up(DictSupervisor(), {"gateway": lambda: "listens"})
    assert caught.value.log == "/logs/gateway.log"


def test_what_ended_in_earlier_days_is_no_sign_that_it_ends_again_and_again():
    supervisor = DictSupervisor({program.name: "running" for program in PROGRAMS})
    supervisor.restarts = 100
    answers = iter(["connects", ""])
    assert up(supervisor, {"store": lambda: next(answers)}, timeout_s=10.0) is False


def test_up_waits_until_the_last_probe_is_content():
    answers = iter(["connects", "connects", ""])
    assert up(DictSupervisor(), {"store": lambda: next(answers)}, timeout_s=10.0)
    assert next(answers, None) is None


def test_down_stops_what_takes_work_before_what_ships_it_and_servers_last():
    names = ["redis", "postgres", "store", "validate", "gateway", "courier", "mount", "flower", "courier-b", "mount-b"]
    supervisor = DictSupervisor(dict.fromkeys(names, "running"))
    stack.take_down(supervisor, lambda name, what: None)
    assert supervisor.stopped == [
        ["mount", "flower", "mount-b"],
        ["courier", "courier-b"],
        ["gateway"],
        ["store", "validate"],
        ["redis", "postgres"],
    ]
    assert supervisor.ended


def test_down_names_what_its_supervisor_killed():
    supervisor = DictSupervisor({program.name: "running" for program in PROGRAMS}, killed=["redis"])
    assert stack.take_down(supervisor, lambda name, what: None) == ["redis"]


def test_down_goes_on_where_a_program_does_not_stop():
    supervisor = DictSupervisor({program.name: "running" for program in PROGRAMS}, stubborn=["courier"])
    assert stack.take_down(supervisor, lambda name, what: None) == ["courier"]
    assert supervisor.stopped[-1] == ["redis", "postgres"]
    assert supervisor.ended
