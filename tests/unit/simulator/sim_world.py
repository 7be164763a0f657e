"""One seeded history: three mounts and couriers, a broker, a store, a lossy feed, crashes between any two steps."""

from collections import Counter
from random import Random

from sim_courier import Courier
from sim_faults import Broken
from sim_mount import NAMES, Habits, Mount
from sim_store import FORBIDDEN, Broker, Store, without_chunks

from app.core.chain import row_hash
from app.core.ids import GENESIS_HASH
from app.core.memory_tree import MemoryTree
from app.core.nodes import is_directory
from app.core.operations import Content, decode_request
from app.core.tree import apply
from app.core.tree_hash import tree_hash

CRASHES = (
    "mount-killed",
    "mount-torn",
    "start-killed",
    "power",
    "courier",
    "broker",
    "store-before-commit",
    "store-after-commit",
)
ROUNDS_MAX = 400


class Truth:
    """What programs were told: calls that were tried and returned, what was on disk, the bytes of every version."""

    def __init__(self) -> None:
        self.now = 0
        self.attempts: dict[tuple[int, int], object] = {}
        self.required: Counter[int] = Counter()
        self.on_disk: Counter[int] = Counter()
        self.contents: dict = {}
        self.lost_power: list = []

    def tick(self) -> int:
        self.now += 1
        return self.now

    def attempt(self, incarnation: int, sequence: int, operation: object) -> None:
        self.attempts[incarnation, sequence] = operation

    def returned(self, incarnation: int, sequence: int) -> None:
        self.required[incarnation] = sequence

    def synced(self, incarnation: int, sequence: int) -> None:
        self.on_disk[incarnation] = sequence

    def power_lost(self, mount: Mount) -> None:
        for incarnation, name in mount.store.names.items():
            if name == mount.name:
                kept = max(self.on_disk[incarnation], mount.store.last[incarnation])
                self.required[incarnation] = min(self.required[incarnation], kept)

    def forget(self, incarnation: int) -> None:
        self.attempts = {key: one for key, one in self.attempts.items() if key[0] != incarnation}
        self.required.pop(incarnation, None)


class World:
    """`crash_at`: None for crashes at random, else {step: kind}."""

    def __init__(
        self,
        seed: int,
        faults: frozenset[str] = frozenset(),
        crash_at: dict[int, str] | None = None,
        crash_share: float | None = None,
    ) -> None:
        self.rng = Random(seed)
        self.crash_at = crash_at
        self.crash_share = self.rng.uniform(0.05, 0.4) if crash_share is None else crash_share
        self.crashes: Counter[str] = Counter()
        self.store, self.truth, self.broker = Store(faults), Truth(), Broker(self.rng)
        names = (*NAMES, FORBIDDEN) if self.rng.random() < 0.3 else NAMES
        habits = Habits(names, self.rng.choice([0.2, 0.5, 0.8]))
        self.mounts = [
            Mount(f"m{i}", self.store, self.rng, faults, self.truth, commuting=self.rng.random() < 0.7, habits=habits)
            for i in range(3)
        ]
        self.couriers = [Courier(m.name, m.disk, self.store, self.broker, self.rng, faults) for m in self.mounts]
        for mount in self.mounts:
            mount.start()
        self._warm_up()

    # -- a history

    def _warm_up(self) -> None:
        """Files that every mount has seen, so that there is something to disagree on."""
        self.broker.calm = True
        for _ in range(self.rng.randint(0, 6)):
            self.mounts[0].call()
        for _ in range(30):
            self.couriers[0].step()
            while self.broker.tasks or self.broker.replies:
                self._deliver()
            for mount in self.mounts:
                mount.receive()
        self.broker.calm = False

    def run(self, steps: int) -> None:
        for number in range(steps):
            kind = self._crash_for(number)
            if kind:
                self._crash(kind)
            self._step()
        self._quiesce()
        self._check()

    def _crash_for(self, number: int) -> str | None:
        if self.crash_at is not None:
            return self.crash_at.get(number)
        return self.rng.choice(CRASHES) if self.rng.random() < self.crash_share else None

    def _step(self) -> None:
        rng = self.rng
        choice, mount = rng.random(), rng.choice(self.mounts)
        if mount.tree is None:
            if choice < 0.6:
                mount.start()
        elif choice < 0.45:
            mount.call()
        elif choice < 0.62:
            rng.choice(self.couriers).step()
        elif choice < 0.82:
            self._deliver()
        elif choice < 0.97:
            mount.receive()
        else:
            self._heartbeat(mount)

    def _deliver(self, crash: str = "") -> None:
        broker = self.broker
        if broker.replies and (not broker.tasks or self.rng.random() < 0.5) and not crash:
            courier, reply = broker.take(broker.replies)
            courier.hear(reply)
        elif broker.tasks:
            courier, batch = broker.take(broker.tasks)
            if crash == "store-before-commit":
                return
            reply, message = self.store.append(batch)
            if crash == "store-after-commit":
                return
            broker.send(broker.replies, (courier, reply))
            for mount in self.mounts:
                if message is not None and mount.tree is not None and (broker.calm or self.rng.random() < 0.85):
                    mount.queue.append(message)

    def _heartbeat(self, mount: Mount) -> None:
        if self.rng.random() < 0.2 and not self.broker.calm:
            mount.resync()
        elif mount.position < len(self.store.log) and "gap-fill" not in mount.faults:
            mount.catch_up()

    # -- crashes

    def _crash(self, kind: str) -> None:
        self.crashes[kind] += 1
        mount = self.rng.choice(self.mounts)
        match kind:
            case "mount-killed" | "mount-torn":
                mount.kill(torn=kind == "mount-torn")
            case "start-killed":
                mount.kill()
                mount.start(dies_before_rename=True)
            case "power":
                mount.lose_power()
                self.couriers[self.mounts.index(mount)].restart()
            case "courier":
                self.couriers[self.mounts.index(mount)].restart()
            case "broker":
                self.broker.crash()
            case _:
                self._deliver(kind)

    # -- the end

    def _quiesce(self) -> None:
        self.broker.calm = True
        for mount in self.mounts:
            if mount.tree is None:
                mount.start()
            mount._flush_deferred()
            for inode in list(mount.dirty):
                mount.seal(inode)
            mount._flush_deferred()
        for _ in range(ROUNDS_MAX):
            for courier in self.couriers:
                courier.step()
            while self.broker.tasks or self.broker.replies:
                self._deliver()
            if all(
                c.incarnation == m.incarnation and c.drained() for c, m in zip(self.couriers, self.mounts, strict=True)
            ):
                break
        else:
            raise Broken("the couriers do not get done")
        for mount in self.mounts:
            while mount.queue:
                mount.receive()
            self._heartbeat(mount)

    def _check(self) -> None:
        self._check_log()
        self._check_contents()
        confirmed = self._fold_log()
        wanted = self._hash(confirmed)
        if self._hash(self.store.tree) != wanted:
            raise Broken("the store's tree is not the fold of its log")
        for mount in self.mounts:
            if mount.tree.pending:
                raise Broken(f"{mount.name} still waits for {mount.tree.pending[0]}")
            if mount.position != len(self.store.log):
                raise Broken(f"{mount.name} is at {mount.position} of {len(self.store.log)}")
            if self._hash(mount.tree) != wanted or self._hash(mount.tree.confirmed()) != wanted:
                raise Broken(f"{mount.name} shows another tree than the log")
            if mount.tree.nodes != confirmed.nodes or mount.tree.aliases != confirmed.aliases:
                raise Broken(f"{mount.name} has other nodes than the log")
        _check_links(confirmed)

    def _check_log(self) -> None:
        """Positions without gaps, the chain, and each incarnation 1..N with what its mount was told had returned."""
        previous, sequences = GENESIS_HASH, Counter()
        for index, (event, (header, digest)) in enumerate(zip(self.store.log, self.store.rows, strict=True)):
            previous = row_hash(previous, header, digest)
            if (event.position, event.hash) != (index + 1, previous):
                raise Broken(f"position {event.position}: the chain does not verify")
            sequences[event.incarnation] += 1
            if event.sequence != sequences[event.incarnation]:
                wanted = sequences[event.incarnation]
                raise Broken(f"incarnation {event.incarnation}: {event.sequence} stands where {wanted} belongs")
            asked = self.truth.attempts.get((event.incarnation, event.sequence))
            if asked is None or without_chunks(decode_request(event.request).operation) != asked:
                raise Broken(f"incarnation {event.incarnation} sequence {event.sequence} is not what its mount did")
        for incarnation, count in self.truth.required.items():
            if sequences[incarnation] < count:
                raise Broken(
                    f"incarnation {incarnation}: {count} calls returned, {sequences[incarnation]} are in the store"
                )

    def _check_contents(self) -> None:
        for event in self.store.log:
            operation = decode_request(event.request).operation
            if isinstance(operation, Content):
                version = (event.incarnation, event.sequence)
                if self.store.bytes_of(operation.inode, version) != self.truth.contents.get((operation.inode, version)):
                    raise Broken(
                        f"version {version} of inode {operation.inode:x} has other bytes than its writer wrote"
                    )

    def _fold_log(self) -> MemoryTree:
        tree = MemoryTree()
        for event in self.store.log:
            if event.outcome.kind not in {"rejected", "shadowed"}:
                apply(tree, decode_request(event.request), event.incarnation, event.origin_name)
        return tree

    def _hash(self, tree: MemoryTree) -> str:
        return tree_hash(tree, lambda inode, node: self.store.bytes_of(inode, node.version))


def _check_links(tree: MemoryTree) -> None:
    """Link counts are recomputed; every node but the root has a name; directories know their parent."""
    names: Counter[int] = Counter(inode for held in tree.children.values() for inode in held.values())
    below: Counter[int] = Counter(
        p for p, held in tree.children.items() for i in held.values() if is_directory(tree.node(i))
    )
    for inode, node in tree.nodes.items():
        links = 2 + below[inode] if is_directory(node) else names[inode]
        if node.nlink != links or (inode != 1 and not names[inode]):
            raise Broken(f"inode {inode:x} has {node.nlink} links, not {links}")
        if is_directory(node) and inode != 1 and tree.child(node.parent, tree.names_of(inode)[0][1]) != inode:
            raise Broken(f"directory {inode:x} does not know its parent")
