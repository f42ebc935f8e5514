"""Two plots in one SVG, written by hand: bars of the outages, lines of the scale, both on logarithmic axes."""

import math
from html import escape

WIDTH, PANEL, LEFT, RIGHT = 900, 420, 150, 30
COLOURS = ["#1f6f8b", "#7fb7be", "#c8553d", "#f28f3b", "#6b705c", "#a5a58d"]
STYLE = """<style>
text{font:12px sans-serif;fill:#222}.title{font-size:15px;font-weight:bold}.small{font-size:10px;fill:#555}
.grid{stroke:#ddd}.axis{stroke:#555}@media(prefers-color-scheme:dark){text{fill:#ddd}.small{fill:#aaa}.grid{stroke:#444}}
</style>"""


def text(x, y, words, anchor="start", kind=None):
    attributes = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{attributes}>{escape(words)}</text>'


def ticks(low, high):
    return [10.0**e for e in range(round(math.log10(low)), round(math.log10(high)) + 1)]


def milliseconds(value):
    return f"{value:g} ms" if value < 1000 else f"{value / 1000:g} s"


class LogAxis:
    def __init__(self, values, start, end):
        values = [value for value in values if value > 0]
        self.low = 10.0 ** math.floor(math.log10(min(values)))
        self.high = 10.0 ** math.ceil(math.log10(max(values) * 1.0001))
        self.start, self.end = start, end

    def __call__(self, value):
        share = math.log10(max(value, self.low) / self.low) / math.log10(self.high / self.low)
        return self.start + share * (self.end - self.start)


def legend(names, y):
    parts, x = [], LEFT
    for name, colour in zip(names, COLOURS):
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>' + text(x + 17, y, name))
        x += 45 + 6.5 * len(name)
    return parts


def bars(rows, top):
    """The outages: a group for each fault, a bar for each system to the median, a line on to the worst."""
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    systems = list(dict.fromkeys(row["system"] for row in rows))
    by = {(row["fault"], row["system"]): row for row in rows}
    axis = LogAxis([row["median_ms"] for row in rows] + [row["worst_ms"] for row in rows], LEFT, WIDTH - RIGHT)
    bottom = top + PANEL
    parts = [text(LEFT, top - 34, "Outage that a client sees (bar: median, line: worst; *: held by two)", kind="title")]
    parts += legend(systems, top - 12)
    for tick in ticks(axis.low, axis.high):
        x = axis(tick)
        parts += [f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>',
                  text(x, bottom + 16, milliseconds(tick), "middle")]  # fmt: skip
    height = PANEL / len(faults)
    thick = (height - 8) / len(systems)
    for f, fault in enumerate(faults):
        parts.append(text(LEFT - 8, top + height * (f + 0.5) + 4, fault, "end"))
        for s, system in enumerate(systems):
            row = by.get((fault, system))
            if row is None:
                continue
            y = top + height * f + 4 + thick * s
            end, worst = axis(row["median_ms"]), axis(row["worst_ms"])
            twice = row["twice_worst_ms"] > 0
            parts += [f'<rect x="{LEFT}" y="{y:.1f}" width="{end - LEFT:.1f}" height="{thick * 0.85:.1f}" fill="{COLOURS[s]}"/>',
                      f'<line class="axis" x1="{end:.1f}" y1="{y + thick * 0.42:.1f}" x2="{worst:.1f}" y2="{y + thick * 0.42:.1f}"/>',
                      text(worst + 4, y + thick * 0.7, milliseconds(round(row["median_ms"])) + (" *" if twice else ""), kind="small")]  # fmt: skip
    return parts


def lines(rows, series, top):
    """The scale: milliseconds over the number of VIPs, a line for each (name, key)."""
    bottom = top + PANEL
    across = LogAxis([row["vips"] for row in rows], LEFT, WIDTH - RIGHT)
    up = LogAxis([row[key] for row in rows for _, key in series], bottom, top)
    parts = [text(LEFT, top - 34, "Until the last VIP answers at its new place, over the number of VIPs", kind="title")]
    parts += legend([name for name, _ in series], top - 12)
    for tick in ticks(up.low, up.high):
        y = up(tick)
        parts += [f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>',
                  text(LEFT - 8, y + 4, milliseconds(tick), "end")]  # fmt: skip
    for row in rows:
        parts.append(text(across(row["vips"]), bottom + 16, f"{row['vips']:,}", "middle"))
    for s, (_, key) in enumerate(series):
        dash = ' stroke-dasharray="5 4"' if key.startswith("floor") else ""
        points = " ".join(f"{across(row['vips']):.1f},{up(row[key]):.1f}" for row in rows)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[s]}" stroke-width="2.5"{dash}/>')
    return parts


def svg(outages, scale, series):
    parts, top = [], 60
    if outages:
        parts += bars(outages, top)
        top += PANEL + 100
    if scale:
        parts += lines(scale, series, top)
        top += PANEL + 100
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - 60}" width="{WIDTH}">{STYLE}\n'
            + "\n".join(parts) + "\n</svg>\n")  # fmt: skip
