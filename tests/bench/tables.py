"""How figures are shown: on the terminal and in Markdown."""


def figure(value):
    """A number with the digits that count."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    text = f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"
    return text.rstrip("0").rstrip(".") or "0"


def as_text(columns, rows):
    """In columns; the first ones with words to the left, figures to the right."""
    cells = [columns, *[[figure(value) for value in row] for row in rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    words = [all(isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    lines = ["  ".join(c.ljust(w) if left else c.rjust(w) for c, w, left in zip(line, widths, words)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(columns, rows):
    words = [all(isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join("---" if left else "--:" for left in words) + "|"]
    lines += ["| " + " | ".join(figure(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)
