"""tollgate count, and its vocabularies against the originals and the reference implementation."""

import importlib.util
import json
import os
import random
import subprocess
import sys

import pytest

from kit import procs

SHARED = os.path.normpath(os.path.join(procs.ROOT, "..", "shared", "vocab"))
VOCAB = os.path.join(procs.ROOT, "metering", "usage", "vocab")
VECTORS = os.path.join(procs.ROOT, "tests", "vectors", "tokenizer.py")
NAMES = ["o200k_base", "cl100k_base"]


def count(text, *args, stdin=True, tmp_path=None):
    """(number, standard output, standard error)"""
    if stdin:
        done = subprocess.run([procs.tollgate_binary(), "count", *args], input=text,
                              capture_output=True, timeout=120, check=True)
    else:
        path = tmp_path / "text"
        path.write_bytes(text)
        done = subprocess.run([procs.tollgate_binary(), "count", *args, str(path)],
                              capture_output=True, timeout=120, check=True)
    return int(done.stdout.split()[0]), done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("stdin", [True, False])
def test_command(stdin, tmp_path):
    text = "日本語テスト 한국어".encode()
    number, out, err = count(text, "-m", "gpt-4", stdin=stdin, tmp_path=tmp_path)
    assert (number, out, err) == (10, "10 tokens (cl100k_base)\n", "")
    number, out, err = count(text, "--model=gpt-4o-mini", stdin=stdin, tmp_path=tmp_path)
    assert (number, out, err) == (6, "6 tokens (o200k_base)\n", "")
    assert count(text, stdin=stdin, tmp_path=tmp_path)[1] == "6 tokens (o200k_base)\n"
    number, out, err = count(text, "-m", "claude-sonnet-4-5", stdin=stdin, tmp_path=tmp_path)
    assert number == 6 and "not known" in err
    assert count(b"")[0] == 0


@pytest.mark.parametrize("args", [["/nowhere/at/all"], ["-x"], ["a", "b"]])
def test_bad_usage(args):
    done = subprocess.run([procs.tollgate_binary(), "count", *args], input=b"",
                          capture_output=True, timeout=60)
    assert done.returncode == 2 and done.stdout == b"" and done.stderr


def test_hostile_texts_are_quick():
    for text in (b"a" * 3_000_000, b" " * 3_000_000, b"\xff" * 1_000_000,
                 bytes(random.Random(1).choices(b"abcdefghij", k=1_000_000))):
        assert 0 < count(text)[0] <= len(text)


@pytest.mark.parametrize("name", NAMES)
def test_vocabulary_is_the_original(name, tmp_path):
    source = os.path.join(SHARED, name + ".tiktoken")
    if not os.path.exists(source):
        pytest.skip(f"no originals at {SHARED}")
    made = tmp_path / "tokens"
    subprocess.run([sys.executable, os.path.join(VOCAB, "import.py"), "vocabulary", source, made],
                   check=True)
    with open(os.path.join(VOCAB, name + ".tokens"), "rb") as file:
        assert file.read() == made.read_bytes()


@pytest.fixture(scope="module")
def reference():
    """The reference implementation over our vocabularies, by name."""
    pytest.importorskip("tiktoken")
    spec = importlib.util.spec_from_file_location("vectors", VECTORS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: module.load(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_patterns_are_the_original(name, reference):
    path = os.path.join(SHARED, name + ".json")
    if not os.path.exists(path):
        pytest.skip(f"no originals at {SHARED}")
    with open(path, encoding="utf-8") as file:
        assert json.load(file)["pat_str"] == reference[name]._pat_str


def test_committed_vectors_are_the_reference(reference):
    with open(VECTORS.replace(".py", ".jsonl"), "rb") as file:
        committed = file.read()
    made = subprocess.run([sys.executable, VECTORS], capture_output=True, check=True, timeout=120)
    assert made.stdout == committed


def every_character():
    """Each code point with letters, digits, signs and blanks about it: its class shows."""
    for start in range(0, 0x110000, 0x8000):
        codes = [c for c in range(start, start + 0x8000) if not 0xD800 <= c < 0xE000]
        yield "".join(f"{chr(c)}a {chr(c)}{chr(c)}A7{chr(c)}\n" for c in codes)


def random_texts(rng):
    parts = ["'s", "'LL", "'\u017f", "'", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u0085", "A", "B",
             "z", "q", "世", "ก", "ʰ", "\u0301", "ǅ", "1", "½", "/", "//", "-", "{", "\ufeff", "😀", "é",
             "the", " token", "HTTPServer", "\n\n", "    "]
    for size in [3, 10, 40, 400] * 40:
        yield "".join(rng.choice(parts) for _ in range(size))
        yield "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x3000),
                                      rng.randrange(0xE000, 0x32000)])) for _ in range(size))
        yield "".join(rng.choices(parts, k=2)) * size


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_reference(name, reference):
    encoding = reference[name]
    for text in every_character():
        assert count(text.encode(), "-m", name)[0] == len(encoding.encode_ordinary(text))
    # One text of many, so that one run of the program tells: a difference shifts the sum.
    rng = random.Random(os.environ.get("TOLLGATE_SEED", "7"))
    texts = list(random_texts(rng))
    for at in range(0, len(texts), 20):
        text = "".join(texts[at:at + 20])
        got = count(text.encode(), "-m", name)[0]
        assert got == len(encoding.encode_ordinary(text)), (at, name)


@pytest.mark.parametrize("name", NAMES)
def test_broken_utf8(name, reference):
    rng = random.Random(3)
    for size in (1, 5, 50, 5000):
        for _ in range(5):
            raw = bytes(rng.choices(b"ab \xc3\xa9\xe4\xb8\x96\xf0\x9f\x98\x80\xed\xa0\xff\xc0", k=size))
            want = len(reference[name].encode_ordinary(raw.decode("utf-8", "replace")))
            assert count(raw, "-m", name)[0] == want, raw
