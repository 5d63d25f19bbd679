"""axe-core on a page: what it finds against WCAG 2.2 AA, and against good practice."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page

RUN = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const { violations, passes } = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  const found = violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
    `${id} at ${target.flat().join(" ")}: ${failureSummary}`));
  return [passes.length, found];
}"""


class Axe:
    """Checks pages; `package` is the folder that it is installed in."""

    def __init__(self, package: Path) -> None:
        self._source = (package / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")

    async def check(self, page: Page) -> None:
        """Fails with all violations of what the page shows now."""
        if not await page.evaluate("Boolean(window.axe)"):
            await page.evaluate(f"{self._source}\nnull")
        passed, violations = await page.evaluate(RUN)
        assert not violations, "\n".join(violations)
        assert passed > 0
