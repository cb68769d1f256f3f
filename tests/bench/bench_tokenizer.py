#!/usr/bin/env python3
"""The tokenizer beside the reference implementation (PyPI tiktoken): same texts, same process
priority, one thread, turn by turn.  A ratio is the median of the turns', of the best times within
each turn; MB/s are those of the best of all turns.

    make bench BENCH=tokenizer
    bench_tokenizer.py [--rounds N]      after make BUILD=release benchers

Both count whole texts that are in memory: tiktoken with encode_ordinary, which is its only way and
gives a list of ids; ours gives the number alone, which is what the gateway asks for.  Each text is
counted after the three others have been, as texts come in a gateway (what caches hold is theirs),
and once more at once; ours has remembered nothing of it the first time.
"""

import argparse
import glob
import importlib.util
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(ROOT, "build", "release", "bench", "bench_tokenizer")
TEXT_BYTES = 400_000
REPEATS = 6  # within a turn, as bench_tokenizer.c has it
CHINESE = ("我们 你们 他们 这个 那个 什么 怎么 可以 已经 因为 所以 但是 如果 虽然 然后 现在 今天 明天 昨天 时间 "
           "问题 工作 学习 系统 服务 数据 模型 请求 用户 公司 产品 技术 开发 测试 部署 网络 安全 管理 价格 成本 "
           "预算 报告 分析 结果 方法 过程 使用 提供 支持 需要 进行 发现 认为 表示 希望 开始 结束 增加 减少 提高 "
           "降低 非常 比较 更加 最近 以后 之前 同时 其中 一个 两个 三种 很多 所有 每天 中国 北京 上海 世界 国家 "
           "经济 社会 文化 教育 科学 研究 历史 发展 城市 生活 家庭 朋友 孩子 老师 学生 电脑 手机 软件 文件 信息 "
           "语言 文字 翻译 写作 代码 函数 接口 缓存 队列 线程 内存 磁盘 日志 监控 的 了 在 是 和 也 就 都 还 "
           "对 把 被 从 到 与 为 以 及 其 并 而 或 不 没有 会 能 要 想 说 看 做 去 来 上 下 中 里 大 小 新 好").split()


def ours(*patterns):
    paths = sorted(path for pattern in patterns for path in glob.glob(os.path.join(ROOT, pattern)))
    text = ""
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text += file.read()
        if len(text) > TEXT_BYTES:
            break
    return text[:TEXT_BYTES]


def chinese():
    """Sentences of common words, no two alike."""
    rng = random.Random(1)
    out = []
    for _ in range(TEXT_BYTES // 45):
        out.append("".join(rng.choices(CHINESE, k=rng.randrange(3, 10))) + rng.choice("，，。、；！"))
        if rng.random() < 0.1:
            out.append("\n")
    return "".join(out)


def texts():
    english = ours("docs/*.md", "docs/*/*.md", "README.md", "tests/vectors/*/README.md")
    return {"English": english, "code": ours("metering/*/*.c", "proxy/*.c"),
            "JSON": ours("pricing/book/*.json", "tests/vectors/usage/*.json"),
            "Chinese": chinese()}


def reference():
    path = os.path.join(ROOT, "tests", "vectors", "tokenizer.py")
    spec = importlib.util.spec_from_file_location("vectors", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load


def run_ours(name, path, other):
    """(tokens, seconds with nothing in memory, after other texts, again) in a process of its own."""
    out = subprocess.run([BENCH, name, path, other], capture_output=True, check=True, text=True).stdout
    tokens, *seconds = out.split()
    return int(tokens), *map(float, seconds)


def timed(encoding, text):
    start = time.thread_time()
    tokens = len(encoding.encode_ordinary(text))
    return tokens, time.thread_time() - start


def run_reference(encoding, text, other):
    """(tokens, seconds after other texts, again)"""
    best = again = 1e9
    for _ in range(REPEATS):
        encoding.encode_ordinary(other)
        tokens, seconds = timed(encoding, text)
        best = min(best, seconds)
        again = min(again, timed(encoding, text)[1])
    return tokens, best, again


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    try:
        load = reference()
    except ImportError:
        print("tokenizer: no tiktoken here (make venv)")
        return 0
    bad = 0
    print(f"{'vocabulary':12} {'text':8} {'KB':>5} {'tokens':>7} | MB/s {'ours':>6} {'tiktoken':>9}"
          f" {'ratio':>6} | again {'ours':>6} {'tiktoken':>9} {'ratio':>6} | {'first':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for vocabulary in ("o200k_base", "cl100k_base"):
            encoding = load(vocabulary)
            for name, text in texts().items():
                path, other = os.path.join(folder, name), os.path.join(folder, "other")
                others = "".join(t for n, t in texts().items() if n != name)
                for place, content in ((path, text), (other, others)):
                    with open(place, "w", encoding="utf-8") as file:
                        file.write(content)
                size = os.path.getsize(path) / 1e6
                turns = [(run_ours(vocabulary, path, other), run_reference(encoding, text, others))
                         for _ in range(rounds)]
                bad += any(mine[0] != theirs[0] for mine, theirs in turns)
                first, best, again = (size / min(mine[i] for mine, _ in turns) for i in (1, 2, 3))
                peer, peer_again = (size / min(theirs[i] for _, theirs in turns) for i in (1, 2))
                ratio, ratio_again = (statistics.median(theirs[i] / mine[i + 1] for mine, theirs in turns)
                                      for i in (1, 2))
                print(f"{vocabulary:12} {name:8} {size * 1000:5.0f} {turns[0][0][0]:7} |"
                      f" {best:11.1f} {peer:9.1f} {ratio:6.1f} | {again:12.1f} {peer_again:9.1f}"
                      f" {ratio_again:6.1f} | {first:6.1f}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
