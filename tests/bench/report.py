"""Tables and plots of what was measured."""

import plot
import tables
from scale import AIM, LEASE_MS

SERIES = [("add", "add_ms"), ("fail over", "failover_ms"), ("drain", "drain_ms"),
          ("floor: add", "floor_add_ms"), ("floor: move", "floor_move_ms"), ("ip -batch: add", "floor_ip_batch_add_ms")]  # fmt: skip


def outage_table(rows):
    columns = ["system", "fault", "rounds", "median ms", "worst ms", "held twice ms (worst)"]
    return columns, [[r["system"], r["fault"], r["rounds"], r["median_ms"], r["worst_ms"], r["twice_worst_ms"]] for r in rows]


def of_aim(took, floor):
    """How much of its aim a time takes: 1 is just met."""
    return took / (AIM * floor + LEASE_MS)


def scale_table(rows):
    columns = ["VIPs", "rounds", "add ms", "fail over ms", "drain ms", "floor: add ms", "floor: move ms",
               "ip -batch: add ms", "share of the aim: add", "fail over", "drain", "late ms"]  # fmt: skip
    return columns, [
        [r["vips"], r["rounds"], r["add_ms"], r["failover_ms"], r["drain_ms"], r["floor_add_ms"], r["floor_move_ms"],
         r["floor_ip_batch_add_ms"], of_aim(r["add_ms"], r["floor_add_ms"]), of_aim(r["failover_ms"], r["floor_add_ms"]),
         of_aim(r["drain_ms"], r["floor_move_ms"]), r.get("late_ms")]
        for r in rows
    ]  # fmt: skip


def rest_table(rows):
    columns = ["nodes", "VIPs", "% of a core", "memory MB", "of that its own", "packets/s", "kB/s", "announced/s", "disk bytes"]
    keys = ["nodes", "vips", "cpu_percent", "memory_mb", "own_mb", "packets_s", "kbytes_s", "announced_s", "disk_bytes"]
    return columns, [[r[key] for key in keys] for r in rows]


def changes_table(rows):
    columns = ["data in", "floor µs", "commit µs", "99th µs", "through a follower µs", "1 client /s", "16 clients /s", "vipctl /s"]
    keys = ["where", "floor_us", "one_us", "one_p99_us", "follower_us", "one_s", "many_s", "vipctl_s"]
    return columns, [[r[key] for key in keys] for r in rows]


def alarms_table(rows):
    columns = ["trouble", "timing", "minutes", "needless moves", "needless fences"]
    return columns, [[r["trouble"], r["profile"], r["minutes"], r["moves"], r["fences"]] for r in rows]


def plan_table(rows):
    columns = ["case", "VIPs", "nodes", "moves", "plan ms", "interfaces ms", "plan / interfaces"]
    return columns, [[r[key] for key in ("case", "vips", "nodes", "moves", "plan_ms", "ask_ms", "ratio")] for r in rows]


TABLES = {"outage": outage_table, "scale": scale_table, "rest": rest_table, "changes": changes_table, "alarms": alarms_table,
          "plan": plan_table}  # fmt: skip


def as_text(part, result):
    return tables.as_text(*TABLES[part](result["rows"]))


def conditions(result):
    m = result["machine"]
    return (f"{m['date']}, {m['cpus']} processors ({m['cpu']}), Linux {m['kernel']}, {m['disk']}; "
            f"load {m['load_before']} before, {m['load_after']} after.")  # fmt: skip


def as_section(part, result):
    return f"{conditions(result)}\n\n{tables.as_markdown(*TABLES[part](result['rows']))}\n"


def as_plot(results):
    rows = {part: results.get(part, {}).get("rows", []) for part in TABLES}
    return plot.svg(rows["outage"], rows["scale"], SERIES)


def write(folder, results):
    """performance.md and performance.svg in the folder."""
    parts = [f"### {part}\n\n{as_section(part, results[part])}" for part in TABLES if part in results]
    (folder / "performance.md").write_text("\n".join(parts))
    (folder / "performance.svg").write_text(as_plot(results))
    print(f"{folder}/performance.md, performance.svg, results.json")


def about(results):
    """What the tables are of."""
    runs = {result.get("run") for result in results.values()}
    if len(runs) > 1 or None in runs or set(results) != set(TABLES):
        return "The tables are of several runs; each tells its day, and the machine's load.\n"
    took = sum(result["minutes"] for result in results.values())
    quietly = [row["minutes"] for row in results["alarms"]["rows"]]
    return (f"All tables are of one run of `{results['alarms']['command']}`, which took {took:.0f} minutes. A trouble lasted "
            f"{tables.figure(max(quietly))} minutes\nthere in which nothing was to move (without a budget: ten).\n")  # fmt: skip


def put(text, name, section):
    """Between <!-- NAME --> and <!-- end -->."""
    before, mark, rest = text.partition(f"<!-- {name} -->\n")
    assert mark, f"the page has no <!-- {name} -->"
    return before + mark + section + rest[rest.index("<!-- end -->"):]


def write_docs(page, results):
    """What the page has of results, and the plot beside it."""
    text = put(page.read_text(), "about", about(results))
    for part in results:
        text = put(text, part, as_section(part, results[part]))
    page.write_text(text)
    page.with_suffix(".svg").write_text(as_plot(results))
    print(f"{page}, {page.with_suffix('.svg')}")
