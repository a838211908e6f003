"""Corpus preparation: raw files of many formats to clean texts by language, without copies.

`build_corpus` runs a `CorpusRecipe` on datatrove's executors; `Identifier` names the languages of many texts at once.
"""

from __future__ import annotations

from interlingua.prepare.build import CorpusResult, build_corpus
from interlingua.prepare.identify import Identifier, identifier

__all__ = ["CorpusResult", "Identifier", "build_corpus", "identifier"]
