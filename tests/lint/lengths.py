#!/usr/bin/env python3
"""Says which functions and files are long; fails beyond the hard bounds."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ["base", "pricing", "metering", "reports", "proxy", "tests/provider"]
SOFT_FUNCTION, HARD_FUNCTION = 80, 120
SOFT_FILE, HARD_FILE = 600, 900
NAME = re.compile(r"(\w+)\s*\(")


def functions(lines):
    """(name, first line, length) of what stands between { and } at the start of lines."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            above = " ".join(lines[max(0, start - 6):start - 1])
            names = NAME.findall(re.split(r"[;}]|\*/", above)[-1])
            yield (names[0] if names else "?"), start, number - start + 1
            start = None


def main():
    hard = 0
    for folder in FOLDERS:
        for place, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.relpath(os.path.join(place, name), ROOT)
                with open(os.path.join(place, name), encoding="utf-8") as file:
                    lines = file.read().splitlines()
                if len(lines) > SOFT_FILE:
                    hard += len(lines) > HARD_FILE
                    print(f"{path}: {len(lines)} lines (aim: {SOFT_FILE})")
                for function, start, length in functions(lines):
                    if length > SOFT_FUNCTION:
                        hard += length > HARD_FUNCTION
                        print(f"{path}:{start}: {function}: {length} lines"
                              f" (aim: {SOFT_FUNCTION})")
    print(f"lengths: {hard} over the hard bounds ({HARD_FUNCTION} a function, {HARD_FILE} a file)")
    return 1 if hard else 0


if __name__ == "__main__":
    sys.exit(main())
