"""The planner's processor time for 10,000 VIPs on 50 nodes, beside what the same machine takes to look for each VIP's
interface on each node once (plan.c), so that the ratio says how good it is, whatever the machine."""

from programs import clusters, program

VIPS, NODES = 10000, 50


def measure(vips=VIPS, nodes=NODES):
    rows = []
    for line in clusters.run(program("plan"), vips, nodes).stdout.splitlines():
        case, moves, took, asked = line.split()
        rows.append({"case": case.replace("-", " "), "vips": vips, "nodes": nodes, "moves": int(moves), "plan_ms": float(took),
                     "ask_ms": float(asked), "ratio": round(float(took) / float(asked), 2)})  # fmt: skip
    return rows
