"""Chromium as Debian packages it, driven over its DevTools protocol; nothing is downloaded."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import time

try:
    from websockets.sync.client import connect
except ImportError:                     # comes with the SDKs of the tests
    connect = None

BINARY = next((path for path in map(shutil.which, ("chromium", "google-chrome", "chrome")) if path),
              None)


def missing():
    """Why there is no browser here; None where there is one."""
    if not BINARY:
        return "no chromium (Debian package chromium)"
    return None if connect else "no websockets for Python (comes with the SDKs)"


class Failed(Exception):
    pass


class Browser:
    """One headless Chromium with a profile of its own; pages are tabs."""

    def __init__(self, folder):
        self.folder = os.path.join(str(folder), "chromium")
        self.process = subprocess.Popen(
            [BINARY, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--remote-debugging-port=0", "--user-data-dir=" + self.folder, "--no-first-run",
             "--ignore-certificate-errors", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--force-color-profile=srgb",
             "--hide-scrollbars", "--lang=en-US", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        name = os.path.join(self.folder, "DevToolsActivePort")
        end = time.monotonic() + 60
        while not os.path.exists(name) or not open(name, encoding="ascii").read().count("\n"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise Failed("chromium does not start")
            time.sleep(0.05)
        with open(name, encoding="ascii") as file:
            port, path = file.read().split()
        self.connection = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None)
        self.socket = self.connection.__enter__()
        self.numbers = itertools.count(1)
        self.events = []

    def send(self, method, session=None, **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        self.socket.send(json.dumps(message))
        while True:
            answer = self.receive(60)
            if answer.get("id") == number:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self, seconds):
        return json.loads(self.socket.recv(timeout=seconds))

    def page(self):
        return Page(self)

    def stop(self):
        try:
            self.send("Browser.close")
            self.connection.__exit__(None, None, None)
        except Exception:               # it may be gone already
            self.process.kill()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


class Page:
    """A tab, and all that it said and asked for."""

    def __init__(self, browser):
        self.browser = browser
        context = browser.send("Target.createBrowserContext")["browserContextId"]
        target = browser.send("Target.createTarget", url="about:blank", browserContextId=context)
        self.session = browser.send("Target.attachToTarget", targetId=target["targetId"],
                                    flatten=True)["sessionId"]
        self.said = []                  # console, exceptions, violations
        self.asked = []                 # every address that was requested
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.send(domain + ".enable")
        self.size(1360, 900)

    def send(self, method, **params):
        return self.browser.send(method, self.session, **params)

    def collect(self):
        """Takes what has happened since."""
        self.js("0")                    # what came before its answer is read
        events, self.browser.events = self.browser.events, []
        for event in events:
            if event.get("sessionId") != self.session:
                continue
            params = event.get("params", {})
            kind = event["method"]
            if kind == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                self.said.append(str([a.get("value", a.get("description"))
                                      for a in params["args"]]))
            elif kind == "Runtime.exceptionThrown":
                self.said.append(json.dumps(params["exceptionDetails"])[:600])
            elif kind == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                self.said.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
            elif kind == "Audits.issueAdded" and "ContentSecurityPolicy" in params["issue"]["code"]:
                self.said.append(json.dumps(params["issue"])[:600])
            elif kind == "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])

    def js(self, text):
        """The value of an expression, which may be a promise."""
        answer = self.send("Runtime.evaluate", expression=text, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise Failed(json.dumps(answer["exceptionDetails"])[:800])
        return answer["result"].get("value")

    def until(self, text, seconds=30):
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.js(f"!!({text})")
            except Failed:              # between two documents
                found = None
            if found:
                return found
            if time.monotonic() > end:
                raise Failed(f"never: {text}; {self.js('location.href')}; "
                             f"{self.js('document.body.innerText')[:1500]}")
            time.sleep(0.05)

    def go(self, url):
        self.js("document.body.dataset.state = 'leaving'")
        self.send("Page.navigate", url=url)

    def ready(self):
        """Until the dashboard has filled every part."""
        self.until("document.body?.dataset.state === 'ready'")

    def size(self, width, height, scale=1):
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=scale, mobile=False)

    def scheme(self, name, media="screen"):
        self.send("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": name}])

    def key(self, name, text=None):
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        down = {"type": "keyDown", "key": name, "code": {" ": "Space"}.get(name, name),
                "windowsVirtualKeyCode": codes[name]}
        if name in ("Enter", " "):
            down["text"] = {"Enter": "\r", " ": " "}[name]
        self.send("Input.dispatchKeyEvent", **down)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=name,
                  windowsVirtualKeyCode=codes[name])

    def write(self, text):
        self.send("Input.insertText", text=text)

    def picture(self, path, whole=False):
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def pdf(self):
        return base64.b64decode(self.send("Page.printToPDF", printBackground=False)["data"])
