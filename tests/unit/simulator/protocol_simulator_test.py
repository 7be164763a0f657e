"""The ring keeps its promises whatever breaks: random histories of three mounts, with a crash between any two steps.

WEIR_SIM_HISTORIES (default 5000) says how many; a red history prints its seed: `World(seed).run(STEPS)` repeats it.
"""

import os
from collections import Counter

import pytest
from sim_faults import PLANTED, Broken
from sim_world import CRASHES, World

STEPS = 110
pytestmark = pytest.mark.thorough  # in make test, not in make check
HISTORIES = int(os.environ.get("WEIR_SIM_HISTORIES", "5000"))
CRASHES_A_HISTORY = 20


def play(
    seed: int, faults: frozenset[str] = frozenset(), crash_at: dict[int, str] | None = None, steps: int = STEPS
) -> World:
    world = World(seed, faults, crash_at)
    try:
        world.run(steps)
    except Broken as broken:
        raise Broken(f"seed {seed}: {broken}") from broken
    return world


@pytest.mark.timeout(3600)
def test_no_returned_call_is_lost_doubled_or_changed_in_thousands_of_histories(
    capsys: pytest.CaptureFixture[str],
) -> None:
    crashes: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in range(HISTORIES):
        world = play(seed)
        crashes.update(world.crashes)
        outcomes.update(event.outcome.kind for event in world.store.log)
    with capsys.disabled():
        print(
            f"\nsimulator: {HISTORIES} histories, {crashes.total()} crash points {dict(crashes)},"
            f" {outcomes.total()} events {dict(outcomes)}"
        )
    assert crashes.total() >= CRASHES_A_HISTORY * HISTORIES
    if HISTORIES >= 100:
        assert set(crashes) == set(CRASHES)
        assert set(outcomes) == {"applied", "renamed", "merged", "shadowed", "composed", "rejected"}


@pytest.mark.parametrize("kind", CRASHES)
def test_one_crash_after_every_single_step_loses_nothing(kind: str) -> None:
    for seed in (1, 2):
        for step in range(80):
            play(seed, crash_at={step: kind}, steps=80)


@pytest.mark.parametrize("fault", PLANTED)
def test_each_mechanism_that_is_switched_off_is_missed(fault: str) -> None:
    with pytest.raises(Broken):
        for seed in range(400):
            play(seed, frozenset({fault}))


def test_a_history_repeats_itself_from_its_seed() -> None:
    first, again = play(7), play(7)
    assert first.store.head == again.store.head
    assert [mount.tree.nodes for mount in first.mounts] == [mount.tree.nodes for mount in again.mounts]


def test_the_fast_path_for_foreign_events_shows_what_the_safe_path_shows() -> None:
    for seed in range(150):
        trees = []
        for commuting in (True, False):
            world = World(seed)
            for mount in world.mounts:
                mount.commuting = commuting
                mount.tree.commuting = commuting
            world.run(STEPS)
            trees.append((world.store.head, [mount.tree.nodes for mount in world.mounts]))
        assert trees[0] == trees[1]
