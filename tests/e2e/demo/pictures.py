"""How pictures of pages are taken for the docs."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Page

from app.dev import demo
from tests.support.hub import ROOT

IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 250_000
COLOURS = (256, 128, 64)

PAGE = f"""<!doctype html>
<html lang="en"><head><title>Family kitchen</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width">
<style>
  :root {{ color-scheme: light dark;
    --line: light-dark(#e4e7ee, #2c3240); --soft: light-dark(#5a6374, #a3acbd); }}
  * {{ box-sizing: border-box; margin: 0; }}
  body {{ background: light-dark(#f5f6f9, #12151c); color: light-dark(#1c2230, #e7eaf1);
    font: 16px/1.5 system-ui, "Liberation Sans", sans-serif; }}
  header {{ display: flex; align-items: center; gap: .75rem; padding: .6rem 1.25rem;
    background: light-dark(#fff, #1b1f29); border-bottom: 1px solid var(--line); }}
  header b {{ flex: 1; font-size: 1.1rem; letter-spacing: -.01em; }}
  .me {{ display: grid; place-items: center; width: 2.25rem; height: 2.25rem; border-radius: 50%;
    background: light-dark(#e3ebff, #2a3557); color: light-dark(#2f4bb8, #b3c2ff); font-weight: 700; }}
  main {{ max-width: 60rem; padding: 1.75rem 1.25rem; }}
  h1 {{ margin-bottom: .25rem; font-size: 1.6rem; letter-spacing: -.02em; }}
  main > p {{ margin-bottom: 1.5rem; color: var(--soft); }}
  .plans {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); }}
  .plan {{ padding: 1rem 1.1rem; border: 1px solid var(--line); border-radius: 14px;
    background: light-dark(#fff, #1b1f29); }}
  .plan p {{ color: var(--soft); font-size: .9rem; }}
</style></head>
<body>
<header><b>Family kitchen</b>
  <notification-bell user-id="{demo.JOHN}"></notification-bell>
  <span class="me" aria-hidden="true">J</span></header>
<main><h1>This week</h1><p>Two of five plans are open.</p><div class="plans">
  <div class="plan"><b>Monday</b><p>Phở gà, for four</p></div>
  <div class="plan"><b>Tuesday</b><p>Cơm tấm, for four</p></div>
  <div class="plan"><b>Wednesday</b><p>Bún chả, for six</p></div>
  <div class="plan"><b>Thursday</b><p>Nobody cooks yet</p></div>
  <div class="plan"><b>Friday</b><p>Nobody cooks yet</p></div>
</div></main>
<script type="module">
  import "/notification-hub-client/src/bell.js";
  document.querySelector("notification-bell").getToken = async () => {{
    const {{ users }} = await (await fetch("/dev/session")).json();
    return users.find(({{ id }}) => id === "{demo.JOHN}").token;
  }};
</script></body></html>"""


async def take(page: Page, path: Path, **options: Any) -> None:
    """Take a picture of the page without animations."""
    _save(await page.screenshot(animations="disabled", **options), path)


def _save(taken: bytes, path: Path) -> None:
    """In all colours, or as many as there is room for: few of them show as bands in shadows."""
    with Image.open(BytesIO(taken)) as picture:
        whole = picture.convert("RGB")
    whole.save(path, optimize=True)
    if path.stat().st_size < MOST_BYTES:
        return
    for colours in COLOURS:
        few = whole.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            return
    raise AssertionError(f"{path.name} doesn't fit into {MOST_BYTES} bytes")
