"""Headless Chromium, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "End": 35,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
}  # fmt: skip
"""Windows' codes of the keys that tests press."""
STOPS_MAX = 60
FOCUS_SHOWN = """(() => {
  const element = document.activeElement;
  if (element === document.body) return true;  // on the way round, as at a browser's own buttons
  const box = element.getBoundingClientRect();
  const top = document.elementFromPoint(box.x + Math.min(8, box.width / 2), box.y + box.height / 2);
  const style = getComputedStyle(element);
  return element.matches(":focus-visible") && style.outlineStyle !== "none"
    && parseFloat(style.outlineWidth) >= 2
    && (element.contains(top) || top?.contains(element) && top !== document.body
      || getComputedStyle(element).overflow !== "visible");
})()"""
"""Focus is seen (WCAG 2.2, 2.4.7), and nothing lies over it (2.4.11)."""


class Tab:
    """One tab. What it says on its console, asks for and fails at is kept."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._session = ""
        self.complaints: list[str] = []
        self.urls: list[str] = []

    async def listen(self) -> None:
        async for text in self._socket:
            told = json.loads(text)
            if "id" in told:
                waiting = self._waiting.pop(told["id"])
                if not waiting.done():  # nobody waits any more
                    waiting.set_result(told)
            else:
                self._hear(told["method"], told.get("params", {}))

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"])[:600])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"])[:600])
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    async def do(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        asked = {"id": number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        await self._socket.send(json.dumps(asked))
        async with asyncio.timeout(20):
            told = await answer
        assert "error" not in told, (method, told)
        return told["result"]

    async def open(self) -> None:
        target = await self.do("Target.createTarget", url="about:blank", newWindow=True)
        found = await self.do("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.do(f"{domain}.enable")

    async def js(self, code: str) -> Any:
        """What an expression is worth, awaited."""
        found = await self.do(
            "Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, (code, found["exceptionDetails"])
        return found["result"].get("value")

    async def until(self, code: str, within_s: float = 10) -> Any:
        """Wait for an expression to be true."""
        try:
            async with asyncio.timeout(within_s):
                while not (found := await self.js(f"!!({code})")):
                    await asyncio.sleep(0.03)  # paces: a person looks again
                return found
        except TimeoutError:
            text = await self.js("document.body.innerText")
            raise AssertionError(f"never: {code}\n{text}\n{self.complaints}") from None

    async def look(self, width: int, height: int, dark: bool) -> None:
        """Change the size of the window and the colours that its reader likes."""
        await self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.do("Emulation.setEmulatedMedia", features=[feature])

    async def press(self, key: str, shift: bool = False) -> None:
        """A key goes down and up, as from a keyboard."""
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        common = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, 0), "modifiers": 8 * shift}
        await self.do("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.do("Input.dispatchKeyEvent", type="keyUp", **common)

    async def type(self, text: str) -> None:
        """Text goes into what has the focus."""
        await self.do("Input.insertText", text=text)

    async def tab_to(self, selector: str, shift: bool = False) -> None:
        """Press Tab until an element has the focus; all on the way show it, and are in sight."""
        for _ in range(STOPS_MAX):
            await self.press("Tab", shift)
            assert await self.js(FOCUS_SHOWN), await self.focused()
            if await self.js(f"document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"Tab never came to {selector}, but to {await self.focused()}")

    async def focused(self) -> str:
        """What has the focus, for messages."""
        return str(await self.js("document.activeElement.outerHTML.slice(0, 200)"))

    async def picture(self, path: Path) -> None:
        png = base64.b64decode((await self.do("Page.captureScreenshot"))["data"])
        await asyncio.to_thread(path.write_bytes, png)

    async def log_in(self, base: str, user: str, password: str) -> None:
        """As a person does."""
        await self.do("Page.navigate", url=base)
        await self.until("document.querySelector('#password')")
        await self.js(
            f"document.querySelector('#name').value={json.dumps(user)};"
            f"document.querySelector('#password').value={json.dumps(password)};"
            "document.querySelector('form').requestSubmit()"
        )


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Tab]:
    """A browser with one tab; certificates that nodes made themselves are taken."""
    async with tabs(folder, 1) as (tab,):
        yield tab


@asynccontextmanager
async def tabs(folder: Path, count: int) -> AsyncIterator[list[Tab]]:
    """A browser with some tabs, each in a window of its own: none is hidden."""
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: apt-get install chromium"
    profile = folder / "chromium"
    process = await asyncio.create_subprocess_exec(
        chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
        "--ignore-certificate-errors", "--disable-dev-shm-usage", "--no-proxy-server",
        "--disable-background-networking", "--remote-debugging-port=0",
        f"--user-data-dir={profile}", "about:blank",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        async with asyncio.timeout(30):
            while b"DevTools listening on" not in (line := await process.stderr.readline()):
                assert line, "chromium ended"
        drain = asyncio.create_task(process.stderr.read())
        url = line.decode().split()[-1]
        async with AsyncExitStack() as stack:
            found = []
            for _ in range(count):
                connected = connect(url, max_size=2**26, compression=None, proxy=None)
                tab = Tab(await stack.enter_async_context(connected))
                stack.callback(asyncio.create_task(tab.listen()).cancel)
                await tab.open()
                found.append(tab)
            yield found
        drain.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
