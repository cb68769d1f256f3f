#!/usr/bin/env python3
"""Makes the pictures of the dashboard in docs/img/ anew: pictures.py (after make release
build/release/provider build/release/history; needs chromium and pngquant)."""

import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from kit import browser as browser_kit  # noqa: E402
from kit.certs import Certs  # noqa: E402
from kit.config import base_config  # noqa: E402
from kit.procs import Gateway, Provider, provider_binary  # noqa: E402

LIMITS = [
    {"name": "company-month", "unit": "usd", "limit": "420", "window": "month",
     "alerts": [50, 80, 100]},
    {"name": "team-month", "per": ["team"], "unit": "usd", "limit": "150", "window": "month",
     "mode": "warn", "alerts": [50, 80, 100]},
    {"name": "labs-day", "match": {"team": "labs"}, "unit": "usd", "limit": "5", "window": "day"},
]

# Name, address, scheme, width, height (0: all of it).
PICTURES = [
    ("overview-light", "/", "light", 1360, 0),
    ("overview-dark", "/", "dark", 1360, 0),
    ("spend-light", "/spend?by=feature&grain=day&last=30d&where=team%3Dsearch,support", "light",
     1360, 900),
    ("tasks-dark", "/tasks", "dark", 1360, 0),
    ("statement-light", "/statement", "light", 1360, 1100),
    ("overview-narrow-dark", "/", "dark", 390, 1500),
    ("spend-narrow-light", "/spend", "light", 390, 1100),
]


def take(page, site, folder):
    for name, path, scheme, width, height in PICTURES:
        page.scheme(scheme)
        page.size(width, height or 900)
        page.go(site + path)
        page.ready()
        if not height:
            page.size(width, page.js("document.documentElement.scrollHeight"))
        target = os.path.join(folder, name + ".png")
        page.picture(target)
        subprocess.run(["pngquant", "--force", "--speed", "1", "--strip", "--output", target, "64", target],
                       check=True)


def main():
    if browser_kit.missing():
        sys.exit(browser_kit.missing())
    folder = tempfile.mkdtemp(prefix="tollgate-pictures-")
    out = os.path.join(ROOT, "docs", "img")
    os.makedirs(out, exist_ok=True)
    certs = Certs(os.path.join(folder, "tls"))
    provider = Provider(folder, certs)
    state = os.path.join(folder, "gateway", "var")
    os.makedirs(state)
    subprocess.run([os.path.join(os.path.dirname(provider_binary()), "history"), state, "75", "2500"],
                   check=True)
    gateway = Gateway(os.path.join(folder, "gateway"), base_config(certs, provider, limits=LIMITS),
                      certs)
    browser = browser_kit.Browser(folder)
    try:
        page = browser.page()
        site = f"https://localhost:{gateway.admin_port}"
        page.go(site + "/")
        page.until("document.querySelector('#token')")
        page.js("document.querySelector('#token').focus()")
        page.write(gateway.token())
        page.key("Enter")
        page.ready()
        take(page, site, out)
    finally:
        browser.stop()
        gateway.stop()
        provider.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
