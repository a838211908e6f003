"""Reports: figures in which every language is written in its own script, and one self-contained HTML page.

Numbers by language flow in (`figures`), a file that opens anywhere flows out (`page.write_report`). Colours live in
`style`, fonts in `fonts`. Nothing here needs torch; importing `interlingua.report.figures` loads matplotlib.
"""

from __future__ import annotations

from interlingua.report.page import Figure, Phrase, Section, Table, write_report

__all__ = ["Figure", "Phrase", "Section", "Table", "write_report"]
