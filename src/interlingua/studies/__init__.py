"""Published experiments, run again: what was claimed, what was published, what we find, and a verdict.

A study is run by name into a folder and resumed there; its page is made from the scores in the folder alone.
"""

from interlingua.studies.base import Claim, Study, Verdict, verdict, write_pages
from interlingua.studies.objectives import ObjectivesStudy

__all__ = ["STUDIES", "Claim", "Study", "Verdict", "verdict", "write_pages"]

#: By name.
STUDIES: dict[str, Study] = {study.name: study for study in (ObjectivesStudy(),)}
