"""Published experiments, run again: what was claimed, what was published, what we find, and a verdict.

A study is run by name into a folder and resumed there; its page is made from the scores in the folder alone.
"""

from interlingua.studies.across import AcrossStudy
from interlingua.studies.alignment import AlignmentStudy
from interlingua.studies.base import Claim, Evidence, Study, Verdict, verdict, verdicts
from interlingua.studies.depth import DepthStudy
from interlingua.studies.fake import FakeStudy
from interlingua.studies.families import FamiliesStudy
from interlingua.studies.freezing import FreezingStudy
from interlingua.studies.objectives import ObjectivesStudy
from interlingua.studies.overlap import OverlapStudy
from interlingua.studies.pages import counted, measured, write_overview, write_pages
from interlingua.studies.parallel import ParallelStudy
from interlingua.studies.questions import QuestionsStudy
from interlingua.studies.retrieval import RetrievalStudy
from interlingua.studies.sampling import SamplingStudy
from interlingua.studies.senses import SensesStudy
from interlingua.studies.sharing import SharingStudy
from interlingua.studies.shift import ShiftStudy
from interlingua.studies.size import SizeStudy
from interlingua.studies.steering import SteeringStudy
from interlingua.studies.symbols import SymbolsStudy
from interlingua.studies.words import WordsStudy

__all__ = [
    "STUDIES", "Claim", "Evidence", "Study", "Verdict", "counted", "measured", "verdict", "verdicts", "write_overview",
    "write_pages",
]  # fmt: skip

#: By name.
STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        AcrossStudy(), AlignmentStudy(), DepthStudy(), FakeStudy(), FamiliesStudy(), FreezingStudy(),
        ObjectivesStudy(), OverlapStudy(), ParallelStudy(), QuestionsStudy(), RetrievalStudy(), SamplingStudy(),
        SensesStudy(), SharingStudy(), ShiftStudy(), SizeStudy(), SteeringStudy(), SymbolsStudy(), WordsStudy(),
    )
}  # fmt: skip
