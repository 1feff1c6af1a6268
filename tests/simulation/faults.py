"""What goes wrong in a world, one thing at a time, each with its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.model import NS_PER_MS, NS_PER_S
from gateway.pair import events as ev
from tests.simulation.agenda import EPOCH_NS
from tests.simulation.node import Host

if TYPE_CHECKING:
    from tests.simulation.world import World

MS = NS_PER_MS
S = NS_PER_S


def strike(world: World, kind: str) -> None:
    """One fault of that kind, somewhere."""
    host = world.hosts[world.agenda.random.choice("ab")]
    main = world.main()
    if world.conditions.calm and main is not None:
        host = main.host
    _KINDS[kind](world, host)


def mend(world: World) -> None:
    """Everything is well again, as far as people can see to it."""
    conditions = world.conditions
    net = world.net
    net.heal()
    net.delay_ns, net.jitter_ns = conditions.delay_ns, conditions.jitter_ns
    net.loss, net.twice = conditions.loss, conditions.twice
    world.plant.dead.clear()
    world.plant.unreached.clear()
    world.plant.etcd_away = False
    world.deaf_until_ns = 0
    for plc in world.plant.plcs:
        plc.away = False
    for host in world.hosts.values():
        host.disk.full = False
        host.crash_chance = 0.0
        world.thaw(host)
        if host.process is None:
            world.start(host)
        elif host.process.machine.paused:
            host.process.feed(ev.Pause(False, "alice"))


def _later(world: World, low_ns: int, high_ns: int, work: Callable[[], object]) -> None:
    world.agenda.at(world.agenda.between(low_ns, high_ns), work)


def _kill(world: World, host: Host) -> None:
    if world.kill(host):
        _later(world, 100 * MS, 6 * S, lambda: world.start(host))


def _power(world: World, host: Host) -> None:
    host.powered = False
    world.kill(host)
    gone = host.disk.lose_power(lambda exposed: world.agenda.random.randint(0, exposed))
    world.tell(host.node, f"power lost, and with it {gone} commits")
    if gone:
        world.forgot(host)
    _later(world, 1 * S, 6 * S, lambda: world.start(host))


def _blackout(world: World, _: Host) -> None:
    for host in world.hosts.values():
        _power(world, host)


def _freeze(world: World, host: Host) -> None:
    if host.process is not None and not host.frozen:
        host.frozen = True
        world.tell(host.node, "is frozen")
        long_ns = world.agenda.random.choice([300 * MS, 900 * MS, 2 * S, 4 * S])
        _later(world, 50 * MS, long_ns, lambda: world.thaw(host))


def _nap(world: World, _: Host) -> None:
    """The Standby sleeps a little longer than it may before the Main counts as silent."""
    main = world.main()
    if main is not None:
        host = world.other(main.host)
        host.frozen = host.process is not None
        world.tell(host.node, "naps")
        _later(world, 1_000 * MS, 1_900 * MS, lambda: world.thaw(host))


def _blink(world: World, _: Host) -> None:
    """The links are cut about as long as a takeover takes."""
    for link in world.net.links.values():
        link.cut.update("ab")
    world.net.changed()
    world.tell("net", "all links are cut for a moment")
    _heal_later(world, 900 * MS, 1_500 * MS)


def _crash(world: World, host: Host) -> None:
    host.crash_chance = 0.08
    _later(world, 1 * S, 4 * S, lambda: setattr(host, "crash_chance", 0.0))


def _stop(world: World, host: Host) -> None:
    if host.process is not None:
        host.process.enter(host.process.feed, ev.Stop())


def _changeover(world: World, host: Host) -> None:
    if host.process is not None:
        host.process.enter(host.process.feed, ev.Changeover("alice"))


def _pause(world: World, host: Host) -> None:
    def resume() -> None:
        for each in world.hosts.values():
            if each.process is not None and each.process.machine.paused:
                each.process.enter(each.process.feed, ev.Pause(False, "bob"))

    if host.process is not None:
        host.process.enter(host.process.feed, ev.Pause(True, "alice"))
        _later(world, 1 * S, 5 * S, resume)


def _field(world: World, host: Host) -> None:
    world.plant.unreached.add(host.node)
    world.tell(host.node, "reaches no device")
    _later(world, 1 * S, 9 * S, lambda: world.plant.unreached.discard(host.node))


def _device(world: World, _: Host) -> None:
    device = world.agenda.random.choice(["pump", "tank"])
    world.plant.dead.add(device)
    world.tell(device, "is dead")
    _later(world, 300 * MS, 5 * S, lambda: world.plant.dead.discard(device))


def _disk(world: World, host: Host) -> None:
    host.disk.full = True
    world.tell(host.node, "its disk is full")
    _later(world, 1 * S, 5 * S, lambda: setattr(host.disk, "full", False))


def _follow(world: World, _: Host) -> None:
    world.deaf_until_ns = world.agenda.now_ns + world.agenda.between(500 * MS, 4 * S)
    world.tell("net", "no data passes, heartbeats do")
    world.hang_up()


def _revision(world: World, _: Host) -> None:
    for host in world.hosts.values():
        if host.process is not None:
            host.process.enter(host.process.revise)


def _slow(world: World, _: Host) -> None:
    net, dice = world.net, world.agenda.random
    net.delay_ns = dice.choice([50, 120, 200]) * MS
    net.jitter_ns = dice.choice([0, 60, 150]) * MS
    net.loss = dice.choice([0.0, 0.1, 0.25])
    net.twice = 0.2
    world.tell("net", f"slow: {net.delay_ns // MS} ms +{net.jitter_ns // MS}, loss {net.loss}")

    def over() -> None:
        conditions = world.conditions
        net.delay_ns, net.jitter_ns = conditions.delay_ns, conditions.jitter_ns
        net.loss, net.twice = conditions.loss, conditions.twice

    _later(world, 1 * S, 5 * S, over)


def _wipe(world: World, host: Host) -> None:
    if world.kill(host):
        host.disk.become([], set(), {})
        host.backup = None
        world.forgot(host)
        world.tell(host.node, "its database is wiped")
        _later(world, 500 * MS, 4 * S, lambda: world.start(host))


def _restore(world: World, host: Host) -> None:
    if host.backup is None:
        host.backup = host.disk.copy()
    elif world.kill(host):
        host.disk.become(*host.backup)
        world.forgot(host)
        world.tell(host.node, "its database is restored from an old copy")
        _later(world, 500 * MS, 4 * S, lambda: world.start(host))


def _step(world: World, host: Host) -> None:
    dice = world.agenda.random
    step_ns = dice.choice([-1, 1]) * dice.choice([300 * MS, 1_500 * MS, 20 * S])
    host.clock.error_ns += step_ns
    world.tell(host.node, f"its clock is set by {step_ns / S:+.1f} s")


def _cut(world: World, _: Host) -> None:
    _cut_links(world, list(world.net.links), ["a", "b"], "all links are cut")


def _one_way(world: World, host: Host) -> None:
    _cut_links(world, list(world.net.links), [host.node], f"nothing that {host.node} says arrives")


def _cut_link(world: World, host: Host) -> None:
    name = world.agenda.random.choice(list(world.net.links))
    nodes = world.agenda.random.choice([["a", "b"], [host.node]])
    _cut_links(world, [name], nodes, f"{name} is cut for {nodes}")


def _cut_links(world: World, names: list[str], nodes: list[str], text: str) -> None:
    low_ns = 3 * S if world.conditions.calm else 200 * MS
    for name in names:
        world.net.links[name].cut.update(nodes)
    world.net.changed()
    world.tell("net", text)
    _heal_later(world, low_ns, 5 * S if world.conditions.calm else 7 * S)


def _firewall(world: World, _: Host) -> None:
    for link in world.net.links.values():
        link.refuses = link.tcp
    world.net.changed()
    world.hang_up()
    world.tell("net", "a firewall refuses every connection")
    _heal_later(world, 200 * MS, 6 * S)


def _heal_later(world: World, low_ns: int, high_ns: int) -> None:
    agenda, net = world.agenda, world.net
    long_ns = agenda.between(low_ns, high_ns)
    net.cut_until_ns = max(net.cut_until_ns, agenda.now_ns + long_ns)

    def heal() -> None:
        if agenda.now_ns >= net.cut_until_ns:
            net.heal()
            world.tell("net", "the links are whole")

    agenda.at(long_ns, heal)


def _plc_restart(world: World, _: Host) -> None:
    for plc in world.plant.plcs:
        if world.agenda.chance(0.5):
            plc.words[:] = [0, 0, 0]
            plc.boot += 1
    world.tell("plc", "starts anew")


def _plc_away(world: World, _: Host) -> None:
    world.plant.etcd_away = True
    for plc in world.plant.plcs:
        plc.away = world.agenda.chance(0.7)
    world.tell("plc", "is away")

    def back() -> None:
        world.plant.etcd_away = False
        for plc in world.plant.plcs:
            plc.away = False

    _later(world, 500 * MS, 6 * S, back)


def _absent(world: World, _: Host) -> None:
    main = world.main()
    if main is not None and world.other(main.host).process is None and not world.conditions.splits:
        main.enter(main.feed, ev.PeerAbsent(True, "alice"))


def _log_clear(world: World, _: Host) -> None:
    for device, logged in world.logged.items():
        if world.agenda.chance(0.7):
            logged.disturb("clear", EPOCH_NS + world.agenda.now_ns)
            world.tell(device, "its log is cleared")


def _log_stop(world: World, _: Host) -> None:
    agenda = world.agenda

    def go() -> None:
        for logged in world.logged.values():
            logged.disturb("go", EPOCH_NS + agenda.now_ns)
        world.tell("plant", "logs go on")

    for logged in world.logged.values():
        logged.disturb("stop", EPOCH_NS + agenda.now_ns)
    world.tell("plant", "logs stop")
    _later(world, 1 * S, 4 * S, go)


def _log_clock(world: World, _: Host) -> None:
    """The clock of a device that keeps a log is set back, by more than its records can hide."""
    for device, logged in world.logged.items():
        if not logged.kept.forgets and world.agenda.chance(0.6):
            by_ns = world.agenda.random.choice([3, 7, 20]) * logged.kept.resolution_ns + 150 * MS
            true_ns = EPOCH_NS + world.agenda.now_ns
            logged.set_back(by_ns, true_ns)
            world.tell(device, f"its clock is set back by {by_ns // MS} ms")


_KINDS: Final[dict[str, Callable[[World, Host], None]]] = {
    "kill": _kill,
    "power": _power,
    "blackout": _blackout,
    "freeze": _freeze,
    "nap": _nap,
    "blink": _blink,
    "crash": _crash,
    "stop": _stop,
    "changeover": _changeover,
    "pause": _pause,
    "field": _field,
    "device": _device,
    "disk": _disk,
    "follow": _follow,
    "revision": _revision,
    "slow": _slow,
    "wipe": _wipe,
    "restore": _restore,
    "step": _step,
    "cut": _cut,
    "one_way": _one_way,
    "cut_link": _cut_link,
    "firewall": _firewall,
    "plc_restart": _plc_restart,
    "plc_away": _plc_away,
    "absent": _absent,
    "log_clear": _log_clear,
    "log_stop": _log_stop,
    "log_clock": _log_clock,
}
