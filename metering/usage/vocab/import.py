#!/usr/bin/env python3
"""Makes what this folder holds from the originals.

    import.py vocabulary ENCODING.tiktoken OUT   byte length and bytes of every token, by rank
    import.py classes OUT                        Unicode 16.0 (pip install unicodedata2==16.0.0)

Both outputs depend on their input alone, byte for byte.
"""

import base64
import sys

LAST = 0x10FFFF
UNICODE = "16.0.0"
# Letters of the splitting patterns' classes; what is not listed is punctuation to them.
NAMES = {"Lu": "U", "Lt": "U", "Ll": "l", "Lm": "o", "Lo": "o",
         "Mn": "m", "Mc": "m", "Me": "m", "Nd": "n", "Nl": "n", "No": "n"}
SPACES = ([0x9, 0xB, 0xC, 0x20, 0x85, 0xA0, 0x1680, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
          + list(range(0x2000, 0x200B)))
NEWLINES = [0xA, 0xD]


def vocabulary(source, target):
    ranks = {}
    with open(source, "rb") as file:
        for line in file:
            token, rank = line.split()
            ranks[int(rank)] = base64.b64decode(token, validate=True)
    tokens = [ranks[rank] for rank in range(len(ranks))]
    if len(set(tokens)) != len(tokens) or not all(0 < len(t) < 256 for t in tokens):
        sys.exit(f"{source}: a token is empty, too long or there twice")
    with open(target, "wb") as file:
        for token in tokens:
            file.write(bytes([len(token)]) + token)


def class_of(unicodedata, code):
    if code in NEWLINES:
        return "r"
    if code in SPACES:
        return "s"
    return NAMES.get(unicodedata.category(chr(code)), "")


def classes(target):
    import unicodedata2 as unicodedata
    if unicodedata.unidata_version != UNICODE:
        sys.exit(f"Unicode {unicodedata.unidata_version} is not {UNICODE}")
    with open(target, "w", encoding="ascii") as file:
        file.write(f"# Unicode {UNICODE}: first last class\n")
        start = 0
        for code in range(1, LAST + 2):
            name = class_of(unicodedata, start)
            if code <= LAST and class_of(unicodedata, code) == name:
                continue
            if name:
                file.write(f"{start:04X} {code - 1:04X} {name}\n")
            start = code


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "vocabulary":
        vocabulary(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 3 and sys.argv[1] == "classes":
        classes(sys.argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
