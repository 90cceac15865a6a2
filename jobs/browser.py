"""A headless Chromium that is told what to do over its DevTools protocol."""

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import time
import urllib.request

from websockets.sync.client import connect

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
#: What keys are called, and their codes.
KEYS = {"Enter": 13, "Delete": 46, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}


class Browser:
    """One page. ``requests``: addresses that it asked for; ``errors``: what it complained of."""

    def __init__(self, folder, width=1440, height=950):
        command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
                   f"--user-data-dir={folder}", "--no-first-run", "about:blank"]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = folder / "DevToolsActivePort"
        while not (port_file.is_file() and len(port_file.read_text().split()) == 2):
            assert self.process.poll() is None
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as found:
            (target,) = [one for one in json.load(found) if one["type"] == "page"]
        self.connection = contextlib.ExitStack()
        self.socket = self.connection.enter_context(connect(target["webSocketDebuggerUrl"], max_size=None))
        self.numbers, self.requests, self.errors, self.bodies = itertools.count(1), [], [], []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")
        self.size(width, height)

    def __call__(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._noted(message)

    def _noted(self, message):
        told = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
            self.bodies.append(told["request"].get("postData"))
        elif message["method"] == "Runtime.exceptionThrown":
            self.errors.append(told["exceptionDetails"].get("exception", {}).get("description", str(told)))
        elif message["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])

    def size(self, width, height, touch=False):
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)

    def dark(self, on=True):
        features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
        self("Emulation.setEmulatedMedia", features=features)

    def open(self, url):
        self("Page.navigate", url=url)

    def js(self, expression):
        found = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression, seconds=30):
        deadline = time.monotonic() + seconds
        while not (found := self.js(expression)):
            assert time.monotonic() < deadline, f"{expression} did not come true; errors {self.errors}"
            time.sleep(0.03)
        return found

    def mouse(self, kind, x, y, buttons=0):
        self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if kind != "mouseMoved" else "none",
             buttons=buttons, clickCount=1)  # fmt: skip

    def click(self, x, y):
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, 1)
        self.mouse("mouseReleased", x, y)

    def drag(self, start, end, steps=8):
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, 1)
        for step in range(1, steps + 1):
            self.mouse("mouseMoved", *(a + (b - a) * step / steps for a, b in zip(start, end, strict=True)), 1)
        self.mouse("mouseReleased", *end)

    def press(self, key, modifiers=0):
        code = KEYS.get(key) or ord(key.upper())
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 and not modifiers else "")
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self("Input.dispatchKeyEvent", type="keyUp", **common)

    def middle(self, selector):
        """Where an element's middle is on the screen."""
        return self.js(f"""(() => {{ const found = document.querySelector({selector!r});
            found.scrollIntoView({{block: 'nearest'}}); const r = found.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2]; }})()""")

    def file(self, selector, path):
        document = self("DOM.getDocument")["root"]["nodeId"]
        node = self("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def picture(self, path=None):
        content = base64.b64decode(self("Page.captureScreenshot")["data"])
        if path is not None:
            path.write_bytes(content)
        return content

    def end(self):
        self.connection.close()
        self.process.terminate()
        self.process.wait(20)
