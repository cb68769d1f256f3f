#!/usr/bin/env python3
"""Makes tokenizer.jsonl with the reference implementation: tokenizer.py > tokenizer.jsonl

Needs PyPI tiktoken and nothing from the network: the vocabularies are those of
metering/usage/vocab, the patterns stand here. A line holds a text, or base64 of one that is no
UTF-8, and per vocabulary the ids, or only their count where they are many.
"""

import base64
import json
import os
import random
import sys
import unicodedata

import tiktoken

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LEAD, SMALL = r"[^\r\n\p{L}\p{N}]?", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CAPITAL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "cl100k_base": "|".join([CONTRACTION, LEAD + r"\p{L}+", r"\p{N}{1,3}",
                             r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]),
    "o200k_base": "|".join([LEAD + CAPITAL + "*" + SMALL + "+" + CONTRACTION + "?",
                            LEAD + CAPITAL + "+" + SMALL + "*" + CONTRACTION + "?",
                            r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                            r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"]),
}
IDS_MAX = 64


def load(name):
    ranks = {}
    with open(os.path.join(ROOT, "metering/usage/vocab", name + ".tokens"), "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        n = data[at]
        ranks[data[at + 1:at + 1 + n]] = len(ranks)
        at += 1 + n
    return tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks,
                             special_tokens={})


HAND = [
    "", "a", "hello", "Hello, world!", " leading", "trailing ", "   ", "\n", "\r\n\r\n", "\t\tx",
    "it's I'LL we'Ve they'd don't 'tis o'clock 'S 'Re 'x'", "it'\u017f '\u017fx", "'", "''", "a'",
    "HTTPServer XMLHttpRequest camelCase PascalCase snake_case SCREAMING_CASE iPhone15Pro",
    "1 12 123 1234 1234567 3.14159 1,234,567 0xdeadbeef ٣٤٥٦ ²³ Ⅷ ½",
    "for (int i = 0; i < n; i++) {\n        sum += a[i];  // add\n    }\n",
    "def f(x):\n\treturn {'a': [1, 2, None], \"b\": x ** 2}\n\n\n",
    '{"role":"user","content":"price the call","n":0.6170508864415115,"ok":true}',
    "https://example.com/a/b/c?d=e&f=%20#g //comment\n///\n\n/", "a/b/\n/c\n\n//\n",
    "日本語のテキスト 한국어 텍스트 中文文本，没有空格。", "世界A 世界a Aé世b", "ไทยภาษาไทย हिन्दी में العربية עברית",
    "e\u0301 \u0301 \u0301\u0301a A\u0301B a\u0301b", "ǅ ǅa Aǅ ʰa Aʰ Aʰb", "naïve café straße ŁÓDŹ",
    "😀👍🏽 👩\u200d👩\u200d👧 🇩🇪 test", "a\u0085\u0085 b", "\ufeff\ufeffa", "x\u00a0y\u3000z\u2028w",
    "<|endoftext|> <|im_start|>user", "\u0000\u0001\u007f", "  \n  \n   x", " \n", "\n ", "\n a",
    "a  b   c    d\t e \tf", "= == === ==== -> => :: ;; ?? !! ... ---", "ⅷ㎏ﬁ﷽", "𝗿𝚒𩡄𪺚",
]
WORDS = ("the of price token gateway budget I'm you're HTTP request naïve 世界 Привет мир "
         "日本語 123 4567 3.5 == {} () // \n \n\n \t ... 😀 don't camelCase ไทย é").split(" ")


def texts():
    yield from HAND
    for unit, n in (("a", 5000), (" ", 3000), ("\n", 999), ("ab", 3000), ("xyz", 3001),
                    ("世", 1500), ("世界", 1500), ("aA", 2000), ("-", 5000), ("=/", 2500),
                    ("😀", 1200), ("é", 2500), (" \n", 2000), ("'s", 2500), ("9", 1000),
                    ("aaaab", 1500), ("\u0301", 2500), ("Aa", 4500)):
        yield unit * n
        yield unit * n + "!"
    rng = random.Random(20)
    letters = "abcdefghijklmnopqrstuvwxyz"
    for n in (50, 500, 4095, 4096, 4097, 9000):
        yield "".join(rng.choice(letters) for _ in range(n))
        yield "".join(rng.choice("ab") for _ in range(n))
    assigned = [chr(c) for c in range(0x30000) if unicodedata.category(chr(c))[0] not in "C"]
    for n in (5, 20, 60) * 8:
        yield "".join(rng.choice(assigned) for _ in range(n))
        yield " ".join(rng.choice(WORDS) for _ in range(n))
        yield "".join(rng.choice(WORDS) for _ in range(n))


BROKEN = [b"\xff", b"a\xc3", b"\xe2\x82", b"\xe2\x82x", b"\xf0\x9f\x98", b"\xf0\x9f\x98\xc3\xa9",
          b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"ok \x80\x80 ok", b"\xe0\x80\xaf"]


def shorten(line):
    """A long text that repeats itself, and what comes behind, is told as such."""
    text = line.get("text", "")
    for n in range(1, 7):
        times = len(text) // n
        while times > 0 and not text.startswith(text[:n] * times):
            times -= 1
        if len(text) > 900 and times * n > len(text) - 8:
            line.update(text=text[:n], times=times, tail=text[times * n:])
            return


def main():
    encodings = [load(name) for name in PATTERNS]
    lines = [({"text": text}, text) for text in texts()]
    lines += [({"bytes": base64.b64encode(raw).decode()}, raw.decode("utf-8", "replace"))
              for raw in BROKEN]
    for line, text in lines:
        for encoding in encodings:
            ids = encoding.encode_ordinary(text)
            line[encoding.name] = ids if len(ids) <= IDS_MAX else len(ids)
        shorten(line)
        sys.stdout.write(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
