#!/usr/bin/env python3
"""Finds calls that this project does without, and text that does not belong in it.

A line may be excused by a comment: /* allow: NAME, reason */.
"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDERS = ["base", "pricing", "metering", "reports", "proxy", "tests"]

CALLS = {
    "strcpy": "bounded copies", "strcat": "struct buf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "strtok": "strv_split", "sscanf": "strv_parse_u64",
    "atoi": "strv_parse_u64", "atol": "strv_parse_u64", "atof": "exact decimals",
    "strtol": "strv_parse_u64", "strtoul": "strv_parse_u64", "strtoll": "strv_parse_u64",
    "strtoull": "strv_parse_u64", "strtod": "exact decimals", "gets": "nothing",
    "alloca": "a bounded array or xmalloc", "localtime": "base/zone.h", "gmtime": "gmtime_r",
    "tmpnam": "mkstemp", "rand": "digest_random", "system": "nothing",
}
# What tests may use: they read no hostile numbers.
TESTS_MAY = {"system", "strtol", "strtoul", "strtoll", "strtoull", "rand"}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(CALLS) + r")\s*\(")
FLOATS = re.compile(r"\b(double|float)\b")
# cJSON keeps numbers as doubles; here they are checked to be whole, and made integers.
FLOATS_MAY = {"pricing/read_json.c"}
NO_FLOATS = ["pricing/", "metering/usage/", "metering/limits/", "metering/ledger/"]
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
ALLOW = re.compile(r"allow: (\w+)")


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def code_only(text):
    """The text without comments and strings, lines kept."""
    return COMMENT.sub(blank, STRING.sub(blank, text))


def check_file(path, text):
    lines = text.splitlines()
    for number, line in enumerate(code_only(text).splitlines(), 1):
        allowed = ALLOW.findall(lines[number - 1])
        for call in CALL.findall(line):
            if call not in allowed and not (path.startswith("tests/") and call in TESTS_MAY):
                yield f"{path}:{number}: {call}: use {CALLS[call]}"
        if path not in FLOATS_MAY and any(path.startswith(folder) for folder in NO_FLOATS):
            for word in FLOATS.findall(line):
                if word not in allowed:
                    yield f"{path}:{number}: {word} near money or counts"
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield f"{path}:{number}: blanks at the end"
        if "\t" in line:
            yield f"{path}:{number}: a tab"
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at the end"


def main():
    problems = []
    count = 0
    for folder in FOLDERS:
        for place, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    path = os.path.relpath(os.path.join(place, name), ROOT)
                    with open(os.path.join(place, name), encoding="utf-8") as file:
                        problems += check_file(path, file.read())
                    count += 1
    for problem in problems:
        print(problem)
    print(f"banned: {count} files, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
