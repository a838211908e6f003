"""Style sheet and sorting script of the report page.

In: the colours of `interlingua.report.style`. Out: two strings that `page` sets into the file.

Decision: system fonts for running text (every reader's machine has one for its own script), colours as custom
properties that the drawings share. Price: the page looks a little different on each system; the figures, whose letters
are outlines, do not.
"""

from __future__ import annotations

from interlingua.report import style

__all__ = ["SORTING", "STYLE"]


def _properties(roles: dict[str, str]) -> str:
    return " ".join(f"--{role}: {colour};" for role, colour in roles.items())


STYLE = (
    f":root {{ {_properties(style.ROLES)} --tint: #f4f6f8; --line: #c9cfd5; }}\n"
    "@media (prefers-color-scheme: dark) { :root { "
    f"{_properties(style.DARK)} --tint: #1e2227; --line: #454c54; }} }}\n"
    f"@media print {{ :root {{ {_properties(style.ROLES)} --tint: #f4f6f8; --line: #c9cfd5; }} }}\n"
    """
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3.5rem 1.25rem 5rem; max-width: 47rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.6 system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans Arabic", "Noto Sans Devanagari",
    "Noto Sans CJK SC", "Noto Sans CJK JP", sans-serif;
  text-rendering: optimizeLegibility; overflow-wrap: break-word;
}
h1 { font-size: clamp(1.6rem, 1.2rem + 2vw, 2.25rem); line-height: 1.2; letter-spacing: -0.015em; margin: 0 0 0.75rem;
  font-weight: 650; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.3; font-weight: 620; margin: 3.5rem 0 0.75rem; text-wrap: balance; }
h3 { font-size: 1rem; line-height: 1.4; font-weight: 620; margin: 0; }
p { margin: 0 0 1rem; max-width: 40rem; }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: 0.2em; }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--data-0); outline-offset: 3px; border-radius: 2px; }
.lead { font-size: 1.15rem; line-height: 1.55; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1px; margin: 2rem 0 0;
  border-block: 1px solid var(--line); padding: 0.9rem 0; gap: 0.9rem 1.5rem; }
.facts dt { font-size: 0.8rem; color: var(--muted); line-height: 1.35; }
.facts dd { margin: 0.1rem 0 0; font-variant-numeric: tabular-nums; line-height: 1.4; }
nav ol { display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; list-style: none; margin: 1.25rem 0 0; padding: 0;
  font-size: 0.925rem; }
figure { margin: 2rem 0 2.75rem; }
figcaption { margin-bottom: 0.9rem; }
figcaption p { color: var(--muted); font-size: 0.925rem; line-height: 1.5; margin: 0.2rem 0 0; }
.wide { overflow-x: auto; -webkit-overflow-scrolling: touch; }
.wide > svg { display: block; width: 100%; min-width: 33rem; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.925rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.36rem 0.75rem 0.36rem 0; text-align: left; vertical-align: baseline; font-weight: 400; }
thead th { color: var(--muted); font-size: 0.825rem; border-bottom: 1px solid var(--line); vertical-align: bottom;
  white-space: nowrap; }
tbody tr + tr > * { border-top: 1px solid var(--grid); }
tbody tr:last-child > * { border-bottom: 1px solid var(--line); }
tbody tr:hover > * { background: var(--tint); }
.number { text-align: right; white-space: nowrap; padding-left: 0.75rem; }
tr > :last-child { padding-right: 0.2rem; }
.dense table { font-size: 0.78rem; }
.dense th, .dense td { padding-right: 0.5rem; }
.dense .number { padding-inline: 0.2rem; }
.dense thead th { font-size: 0.72rem; white-space: normal; overflow-wrap: normal; }
.dense tbody th { white-space: nowrap; }
strong { font-weight: 680; }
.missing { color: var(--muted); }
th button { all: unset; cursor: pointer; }
th button:hover { color: var(--ink); }
th button:focus-visible { outline: 2px solid var(--data-0); outline-offset: 2px; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort="ascending"] button::after { content: " ↑"; }
th[aria-sort="descending"] button::after { content: " ↓"; }
@media (max-width: 30rem) {
  body { padding: 1.75rem 1rem 3rem; }
  h2 { margin-top: 2.5rem; }
  .facts { grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; }
  .wide > svg { min-width: 0; max-height: 24cm; }
  h2, h3, figcaption { break-after: avoid; }
  figure:not(.table), tr { break-inside: avoid; }
  thead { display: table-header-group; }
  nav, script { display: none; }
}
""".strip()
)

SORTING = """
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const sign = (now ? now === "descending" : !head.classList.contains("number")) ? 1 : -1;
      const key = (row) => row.cells[column].dataset.value;
      const missing = (row) => row.cells[column].querySelector(".missing") ? 1 : 0;
      const rows = [...body.rows].sort((a, b) => missing(a) - missing(b) || sign * (
        key(a) !== undefined && key(b) !== undefined
          ? key(a) - key(b)
          : a.cells[column].textContent.localeCompare(b.cells[column].textContent)));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      body.append(...rows);
    });
  });
}
""".strip()
