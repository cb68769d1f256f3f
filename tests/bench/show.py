"""Tables in Markdown, as docs/performance.md has them."""

import math
import platform
import re
import subprocess


def machine():
    """One line: processor, cores, kernel, versions of the peers."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"model name\s*: (.*)", file.read())
    model = found.group(1) if found else platform.machine()
    versions = []
    for name, flag in (("nginx", "-v"), ("haproxy", "-v"), ("openssl", "version")):
        try:
            done = subprocess.run([name, flag], capture_output=True, text=True, check=False)
        except OSError:
            continue
        number = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
        versions.append(f"{name} {number.group(0) if number else '?'}")
    cores = sum(1 for line in open("/proc/cpuinfo", encoding="utf-8")
                if line.startswith("processor"))
    return f"{model} x {cores}, Linux {platform.release()}, {', '.join(versions)}"


def number(value):
    if value is None or math.isnan(value):
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 \
        else f"{value:.2f}"


def table(title, columns, rows):
    """columns: {key: heading}; rows: {name: {key: value}}."""
    print(f"\n### {title}\n")
    lines = [["", *columns.values()]]
    lines += [[name, *(number(row.get(key)) for key in columns)] for name, row in rows.items()]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for i, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]
        print("| " + " | ".join(cells) + " |")
        if i == 0:
            rule = ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]]
            print("|" + "|".join(f" {dashes} " for dashes in rule) + "|")
    print(flush=True)


def with_ratios(rows, keys, of="tollgate"):
    """The rows, and for each other peer one of how many times its figure ours is."""
    out = dict(rows)
    for name, row in rows.items():
        if name in (of, "direct"):
            continue
        out[f"{of} / {name}"] = {
            key: rows[of][key] / row[key] for key in keys
            if rows[of].get(key) is not None and (row.get(key) or 0) > 0}
    return out


def without_direct(rows, keys):
    """The rows with what the provider itself takes subtracted from those figures."""
    direct = rows["direct"]
    return {name: {key: value - direct[key] if key in keys else value
                   for key, value in row.items()}
            for name, row in rows.items() if name != "direct"}
