"""The short run in tests/run: ratios of figures of one run, so that a busy machine slows both sides; never absolute times."""

import time

import alarms
import commits
import outage
import planning
import report
import rest
import rival
import scale
import tables
from programs import clusters, side_by_side

SECONDS = 2
QUIET_S = 6  # of waiting for a cluster at rest
SPARE = 4  # times the aim: what a neighbour on the machine may take from one side of a ratio alone
ATTEMPTS = 3  # a neighbour may be worse than that, but not each time
AT_ONCE = {"held twice"}  # what no neighbour excuses


def check_outage():
    """Nobody's VIP is held twice; a planned move costs a client less than a crash, a crash less than VRRP's with its defaults."""
    rows = side_by_side([
        lambda: outage.measure([lambda: outage.Vipd("default")], 1, 1, ["power", "killed", "drain"]),
        lambda: outage.measure([lambda: outage.Keepalived(None)], 1, 1, ["power"]),
    ])  # fmt: skip
    if len(rows) < 4:
        raise clusters.Timeout("a round that came to no end")
    ours = {row["fault"]: row for row in rows[:3]}
    return rows, {
        "held twice": all(row["twice_worst_ms"] == 0 for row in ours.values()),
        "drain < power": ours["drain"]["median_ms"] < ours["power"]["median_ms"],
        "killed < power": ours["killed"]["median_ms"] < ours["power"]["median_ms"],
        "power < keepalived": ours["power"]["median_ms"] < rows[3]["median_ms"],
    }


def check_scale():
    row = scale.measure(1000, 1)
    share = report.of_aim
    return [row], {
        "add": share(row["add_ms"], row["floor_add_ms"]) < SPARE,
        "fail over": share(row["failover_ms"], row["floor_add_ms"]) < SPARE,
        "drain": share(row["drain_ms"], row["floor_move_ms"]) < SPARE,
    }


def check_rest():
    """Memory, packets and writes are flat in VIPs; the processor is left to the full run, whose times are long enough."""
    none, many = rest.measure(3, 0, SECONDS, QUIET_S), rest.measure(3, 2000, SECONDS, QUIET_S)
    return [none, many], {
        "memory flat": many["memory_mb"] < none["memory_mb"] * 1.5,
        # what it has room for takes none before it is used: its own pages are few beside those of the libraries
        "memory unused": none["own_mb"] < (none["memory_mb"] - none["own_mb"]) / 2,
        "packets flat": many["packets_s"] < none["packets_s"] * 1.5,
        "no disk write": none["disk_bytes"] == 0 and many["disk_bytes"] == 0,
    }


def check_changes():
    """Many clients share what a commit costs."""
    row = commits.measure("memory", 2)
    return [row], {"many > one": row["many_s"] > row["one_s"], "one > vipctl": row["one_s"] > row["vipctl_s"]}


def check_alarms():
    """Nothing moves for a lost packet; and what moves for good reason is counted."""
    rows = alarms.measure(0.1, ["2 %", alarms.CONTROL], ["default"])
    loss, control = rows
    return rows, {"no move": loss["moves"] == 0, "control": control["moves"] > 0 and control["fences"] > 0}


def check_plan():
    """20 ms where the asking takes 2.5, which no machine of these years is faster at: a ratio of 8."""
    rows = planning.measure()
    most = {row["case"]: row["ratio"] for row in rows}
    return rows, {
        "within 8 askings": all(ratio < 8 for ratio in most.values()),
        "at rest within 2": most["nothing to do"] < 2,
    }


CHECKS = {"outage": check_outage, "scale": check_scale, "rest": check_rest, "changes": check_changes, "alarms": check_alarms,
          "plan": check_plan}  # fmt: skip


def attempt(part):
    """The names of the checks that were not fulfilled."""
    start = time.monotonic()
    try:
        rows, checks = CHECKS[part]()
    except clusters.Timeout as late:
        print(f"  {part}: {late}\n", flush=True)
        return ["in time"]
    print(tables.as_text(*report.TABLES[part](rows)))
    told = ", ".join(f"{name}: {'ok' if fine else 'NO'}" for name, fine in checks.items())
    print(f"  {part}: {time.monotonic() - start:.0f} s: {told}\n", flush=True)
    return [name for name, fine in checks.items() if not fine]


def check(parts):
    """Exit status."""
    if rival.PROGRAM is None:
        raise SystemExit("keepalived is not there: tests/install installs it")
    failed = []
    for part in parts:
        for _ in range(ATTEMPTS):
            wrong = attempt(part)
            if not wrong or set(wrong) & AT_ONCE:
                break
        failed += [f"{part}: {name}" for name in wrong]
    print("tests/bench/run --quick: " + ("FAILED: " + "; ".join(failed) if failed else "all ratios are as they should be"))
    return 1 if failed else 0
