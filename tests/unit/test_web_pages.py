"""The page's files: all there, whole, checked each time, and nothing in them from elsewhere."""

from __future__ import annotations

import re

import httpx
from fastapi import FastAPI

from gateway.web.pages import page, page_files


async def test_a_file_is_served_once_and_then_only_checked() -> None:
    app = FastAPI()
    app.include_router(page())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://node", trust_env=False
    ) as client:
        first = await client.get("/")
        assert first.headers["content-type"].startswith("text/html")
        assert first.headers["cache-control"] == "no-cache"
        again = await client.get("/", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        script = await client.get("/page/app.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for name in ("pages.py", "..%2fpages.py", "%2e%2e/pages.py", ""):
            assert (await client.get(f"/page/{name}")).status_code == 404


def test_every_file_that_is_named_is_there_and_none_is_elsewhere() -> None:
    files = page_files()
    named = set()
    for name, file in files.items():
        text = file.content.decode()
        named |= set(re.findall(r'from "\./([a-z.]+)"', text))
        named |= set(re.findall(r'"/page/([a-z.]+)"', text))
        found = [url for url in re.findall(r"https?://[^\s\"']+", text) if "w3.org" not in url]
        assert found == [], name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert named == set(files) - {"index.html"}
