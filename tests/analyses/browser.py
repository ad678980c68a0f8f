"""
A headless Chromium for the tests, over its own pipe: what Playwright and Puppeteer speak, in a page
of Python. There is no package to install, no driver whose version must fit the browser's, and no
port that another test could take.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage".split()
FLAGS += "--hide-scrollbars --no-first-run --disable-extensions".split()
FLAGS += "--disable-background-networking --remote-debugging-pipe".split()


class Browser:
    """One tab; `problems` collects what the console would show in red."""

    def __init__(self):
        self.problems, self.number, self.unread = [], 0, b""
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        child_reads, self.writes = os.pipe()
        self.reads, child_writes = os.pipe()
        high = [os.dup(child_reads), os.dup(child_writes)]  # copies that are not 3 or 4

        def hand_over():  # Chromium reads from 3 and writes to 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        argv = [CHROMIUM, *FLAGS, f"--user-data-dir={self.folder.name}", "about:blank"]
        quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen(argv, pass_fds=(3, 4), preexec_fn=hand_over, **quiet)
        for end in (child_reads, child_writes, *high):
            os.close(end)
        self.session = None
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.ask(f"{domain}.enable")

    @classmethod
    def start(cls, tries=3):
        """
        A browser. On a machine that is short of time or memory Chromium may end while it starts, so
        it gets more tries.
        """
        for left in reversed(range(tries)):
            try:
                return cls()
            except (RuntimeError, OSError):
                if not left:
                    raise

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.writes)
        os.close(self.reads)
        self.folder.cleanup()

    def ask(self, method, **parameters):
        """Send a command of the DevTools protocol and wait for its answer."""
        self.number += 1
        message = dict(id=self.number, method=method, params=parameters)
        if self.session:
            message["sessionId"] = self.session
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def read(self):
        while b"\0" not in self.unread:
            piece = os.read(self.reads, 1 << 16)
            if not piece:
                raise RuntimeError("Chromium ended")
            self.unread += piece
        message, _, self.unread = self.unread.partition(b"\0")
        message = json.loads(message)
        self.notice(message.get("method"), message.get("params"))
        return message

    def notice(self, event, said):
        if event == "Runtime.exceptionThrown":
            self.problems.append(
                said["exceptionDetails"]["exception"].get("description", str(said))
            )
        if event == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.problems.append(str(said["args"]))
        if event == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.problems.append(said["entry"]["text"])
        if event == "Network.requestWillBeSent" and not said["request"]["url"].startswith(
            ("file:", "data:", "about:", "blob:")  # a blob is a part of the page
        ):
            self.problems.append(f"asked the network for {said['request']['url']}")

    # ---- what a person does

    def open(self, path, width, height=900, touch=False):
        mobile = dict(width=width, height=height, deviceScaleFactor=1, mobile=touch)
        self.ask("Emulation.setDeviceMetricsOverride", **mobile)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, expression):
        """The value of an expression of JavaScript."""
        told = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise RuntimeError(told["exceptionDetails"]["exception"].get("description", str(told)))
        return told["result"].get("value")

    def wait(self, expression, seconds=60):
        end = time.time() + seconds
        while not self.run(expression):
            assert time.time() < end, f"this never came true: {expression}"
            time.sleep(0.02)

    def place(self, selector):
        """The middle of an element, brought into view."""
        find = f"document.querySelector({json.dumps(selector)})"
        program = f"const element = {find}; element.scrollIntoView({{block: 'center'}}); "
        program += "const box = element.getBoundingClientRect(); "
        program += "return [box.x, box.y, box.width, box.height];"
        x, y, width, height = self.run(f"(() => {{ {program} }})()")
        return x + width / 2, y + height / 2, width

    def click(self, selector):
        x, y, _ = self.place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def tap(self, selector):
        x, y, _ = self.place(selector)
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[dict(x=x, y=y)])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def type(self, selector, text):
        """Put text in the place of what stands in a field."""
        self.click(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", text=text)

    def press(self, key, times=1):
        for kind in ("keyDown", "keyUp") * times:
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=KEYS[key],
            )

    def drag(self, selector, share, release=True):
        """Drag the handle of a slider to a share of its width, by mouse."""
        x, y, width = self.place(selector)
        left = x - width / 2
        self.ask(
            "Input.dispatchMouseEvent",
            type="mousePressed",
            x=left + 5,
            y=y,
            button="left",
            clickCount=1,
        )
        for step in (0.25, 0.5, 0.75, 1):
            self.ask(
                "Input.dispatchMouseEvent",
                type="mouseMoved",
                x=left + step * share * width,
                y=y,
                button="left",
            )
        if release:
            self.ask(
                "Input.dispatchMouseEvent",
                type="mouseReleased",
                x=left + share * width,
                y=y,
                button="left",
            )

    def picture(self, path, whole=True):
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=whole, **self.clip(whole))[
            "data"
        ]
        path.write_bytes(base64.b64decode(data))

    def clip(self, whole):
        if not whole:
            return {}
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        return dict(clip=dict(x=0, y=0, width=size["width"], height=size["height"], scale=1))


KEYS = {
    "ArrowRight": 39,
    "ArrowLeft": 37,
    "ArrowDown": 40,
    "ArrowUp": 38,
    "Home": 36,
    "End": 35,
    "Tab": 9,
}
