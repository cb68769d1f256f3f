#!/usr/bin/env python3
"""Checks who includes whom: a floor may use itself and those below it, nothing else.

    base < pricing < metering (usage < limits, usage < ledger) < reports < proxy

Also: an .h has its include guard, and every file says at its head what it is for.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

MAY_USE = {
    "base": {"base"},
    "pricing": {"pricing", "base"},
    "metering/usage": {"metering/usage", "pricing", "base"},
    "metering/limits": {"metering/limits", "pricing", "base"},
    "metering/ledger": {"metering/ledger", "metering/usage", "pricing", "base"},
    "reports": {"reports", "metering/ledger", "metering/limits", "metering/usage", "pricing",
                "base"},
    "proxy": {"proxy", "reports", "metering/ledger", "metering/limits", "metering/usage",
              "pricing", "base"},
}
# Libraries that one floor may name and no other.
ONLY = {
    r"sqlite3\.h": {"metering/ledger", "reports"},
    r"event2/.*": {"metering/limits", "proxy"},
    r"hiredis/.*|async\.h|hiredis\.h|adapters/.*": {"metering/limits", "proxy"},
    r"openssl/.*": {"base", "metering/limits", "proxy"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
GENERATED = re.compile(r"^[a-z0-9_]+\.(lua|js|css|html)\.h$")


def floor_of(path):
    for floor in sorted(MAY_USE, key=len, reverse=True):
        if path.startswith(floor + "/"):
            return floor
    return None


def check_file(path, text):
    floor = floor_of(path)
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if not found:
            continue
        kind, name = found.groups()
        if kind == '"':
            if GENERATED.match(name):
                continue
            other = floor_of(name)
            if other is None:
                yield f'{path}:{number}: "{name}" is not a file of the project from its root'
            elif other not in MAY_USE[floor]:
                yield f"{path}:{number}: {floor} may not include {name}"
            elif not os.path.exists(os.path.join(ROOT, name)):
                yield f"{path}:{number}: {name} does not exist"
        else:
            for pattern, floors in ONLY.items():
                if re.fullmatch(pattern, name) and floor not in floors:
                    yield f"{path}:{number}: {floor} may not use <{name}>"
    if path.endswith(".h") and not re.search(r"#ifndef (\w+_H)\n#define \1\n", text):
        yield f"{path}: no include guard"
    if path.endswith(".h") and not text.lstrip().startswith("/*"):
        yield f"{path}: no comment at its head"


def main():
    problems = []
    count = 0
    for floor in MAY_USE:
        folder = os.path.join(ROOT, floor)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.endswith((".c", ".h")):
                count += 1
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    problems += check_file(f"{floor}/{name}", file.read())
    for problem in problems:
        print(problem)
    print(f"includes: {count} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
