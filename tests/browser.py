"""A headless Chromium driven over the WebDriver protocol with the standard library alone."""

import base64
import contextlib
import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CHROMEDRIVER = shutil.which("chromedriver")
_FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --disable-dev-shm-usage --window-size=1100,900"""
_ELEMENT = (
    "element-6066-11e4-a52e-4f735466cecf"  # the key under which the protocol names an element
)


class Browser:
    """One window. Elements are named by CSS selectors; of several, the first is meant."""

    def __init__(self, session: str):
        self._session = session
        self._page = ""

    def open(self, path: Path) -> None:
        self._page = path.resolve().as_uri()
        self._call("url", {"url": self._page})

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs the body of a function in the page; a promise that it returns is waited for."""
        return self._call("execute/sync", {"script": script, "args": arguments})

    def point_at(self, selector: str) -> None:
        """Moves the mouse onto the element."""
        origin = {_ELEMENT: self._find(selector)}
        self._act(
            "pointer", {"type": "pointerMove", "origin": origin, "x": 0, "y": 0, "duration": 0}
        )

    def point_away(self) -> None:
        """Moves the mouse into the window's upper left corner."""
        self._act(
            "pointer", {"type": "pointerMove", "origin": "viewport", "x": 0, "y": 0, "duration": 0}
        )

    def tap(self, selector: str) -> None:
        """Touches the element with a finger."""
        origin = {_ELEMENT: self._find(selector)}
        move = {"type": "pointerMove", "origin": origin, "x": 0, "y": 0, "duration": 0}
        self._act(
            "pointer",
            move,
            {"type": "pointerDown"},
            {"type": "pointerUp"},
            parameters={"pointerType": "touch"},
        )

    def press(self, key: str) -> None:
        """Presses and releases a key, of whatever the page has in focus."""
        self._act("key", {"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})

    def screenshot(self, selector: str | None = None) -> bytes:
        """Returns a PNG of the window, or of one element."""
        path = f"element/{self._find(selector)}/screenshot" if selector else "screenshot"
        return base64.b64decode(self._call(path))

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Sends a command of the DevTools protocol."""
        return self._call("goog/cdp/execute", {"cmd": command, "params": parameters})

    def requests(self) -> list[str]:
        """Returns the addresses that the page asked for since the last time, itself among them, by
        the network log.
        """
        entries = (
            json.loads(entry["message"])["message"]
            for entry in self._call("se/log", {"type": "performance"})
        )
        asked = [
            entry["params"] for entry in entries if entry["method"] == "Network.requestWillBeSent"
        ]
        return [each["request"]["url"] for each in asked if each["documentURL"] == self._page]

    def console(self) -> list[str]:
        """Returns what the console was told since the last time: errors, violations of the page's
        policy.
        """
        return [entry["message"] for entry in self._call("se/log", {"type": "browser"})]

    def _find(self, selector: str) -> str:
        return self._call("element", {"using": "css selector", "value": selector})[_ELEMENT]

    def _act(self, device: str, *actions: dict[str, Any], **more: Any) -> None:
        name = f"{device} {more}"  # to the protocol, a device of another kind is another device
        self._call(
            "actions", {"actions": [{"type": device, "id": name, "actions": actions} | more]}
        )

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return _answer(f"{self._session}/{path}", body)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Browser]:
    """Starts chromedriver and a Chromium whose profile is new and lies in `folder`; both end with
    the block.
    """
    driver = subprocess.Popen([CHROMEDRIVER, "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        ports = (re.search(r"started successfully on port (\d+)", line) for line in driver.stdout)
        server = f"http://127.0.0.1:{next(filter(None, ports))[1]}/session"
        options = {"binary": CHROMIUM, "args": [*_FLAGS.split(), f"--user-data-dir={folder}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        session = (
            f"{server}/{_answer(server, {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"
        )
        try:
            yield Browser(session)
        finally:
            _answer(session, method="DELETE")
    finally:
        driver.terminate()
        driver.wait(timeout=10)
        driver.stdout.close()


def _answer(url: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    # No proxy of the machine's may stand between the test and its own browser.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        return json.load(response)["value"]
