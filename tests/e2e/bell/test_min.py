"""The built bell, one file with all parts, under a strict Content-Security-Policy."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser, Route, expect

from tests.support.bell_pages import LIBRARY, STUB, become, bell, grouped, panel, rows
from tests.support.browser import needs_chromium
from tests.support.npm import run

pytestmark = needs_chromium

ORIGIN = "https://kitchen.example"
PAGE = """<!doctype html><html lang="en"><title>Kitchen</title><link rel="icon" href="data:,">
  <notification-bell></notification-bell><script type="module" src="/page.js"></script></html>"""
SCRIPT = STUB.replace(f"{LIBRARY}/bell.js", "/lib/bell.min.js")
STRICT = (
    "default-src 'none'; script-src 'self'; img-src data:; trusted-types 'none'; "
    "require-trusted-types-for 'script'"
)


async def test_the_built_bell_needs_nothing_but_its_file(browser: Browser, package: Path) -> None:
    built = run(package, "npm", "run", "build")
    assert built.returncode == 0, built.stdout
    context = await browser.new_context(reduced_motion="reduce")
    asked: list[str] = []
    complaints: list[str] = []

    async def answer(route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        asked.append(path)
        headers = {"Content-Security-Policy": STRICT}
        if path == "/":
            await route.fulfill(content_type="text/html", body=PAGE, headers=headers)
        elif path == "/page.js":
            await route.fulfill(content_type="text/javascript", body=SCRIPT)
        else:
            file = package / "dist" / path.removeprefix("/lib/")
            await route.fulfill(path=file, content_type="text/javascript")

    await context.route(f"{ORIGIN}/**", answer)
    page = await context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(ORIGIN)
    await page.wait_for_function("window.bell?.inbox")
    await become(page, {"state": {"name": "live"}, "items": grouped()})
    await bell(page).click()
    await expect(rows(page)).to_have_count(10)
    await page.evaluate("bell.setAttribute('group-by', 'group')")
    await panel(page).get_by_role("heading", name="5 things in Family Group").get_by_role("button").click()
    await expect(rows(page)).to_have_count(6 + 5)
    await rows(page).first.get_by_role("button", name="Snooze: 5 things").click()
    await expect(rows(page).first.get_by_role("button", name="Tomorrow morning")).to_be_visible()
    assert asked == ["/", "/page.js", "/lib/bell.min.js"]
    await context.close()
    assert complaints == []
