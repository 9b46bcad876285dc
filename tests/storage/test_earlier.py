"""What the journal says of earlier results: when they were made, of which model, and whether a header changed since."""

from sqlalchemy import Engine

from storage.analyses import UsedModel
from storage.journal import Journal
from storage.queries import Queries
from storage.records import Compared, Likeness
from tests.support.studies import analysed, at, image, outcome, report, take_up

pytest_plugins = ["tests.support.postgres"]


def test_earlier_results_have_their_time_and_model(engine: Engine) -> None:
    """The objects of one analysis share the time at which it ended and the version of its model, where it was kept."""
    journal = Journal(engine)
    analysed(journal, "1.2.3", "pacs")
    journal.received(image(number=2), at(200))
    (study,) = take_up(journal, 300)
    assert [(made.made_at, made.model) for made in study.earlier] == [(at(61), "")]
    both = report("1.2.3.10", "pacs"), report("1.2.3.11", "pacs", kind="sc")
    journal.analysed(study, outcome(study, *both, model=UsedModel("chest", bundle_version="2.1")), at(301))
    journal.received(image(number=3), at(400))
    (study,) = take_up(journal, 500)
    assert [(made.made_at, made.model) for made in study.earlier] == [(at(61), ""), (at(301), "2.1"), (at(301), "2.1")]
    assert not study.corrected


def test_a_correction_counts_until_the_next_result(engine: Engine) -> None:
    """A study is corrected if a header changed after its newest result, and no longer once that was answered."""
    journal = Journal(engine)
    analysed(journal, "1.2.3", "pacs")
    first, corrected = image(), image(sha256="new", spooled=image(number=7).spooled, patient_id="A-1")
    journal.received(corrected, at(70), Compared(first.spooled.sha256, Likeness.CORRECTED))
    (study,) = take_up(journal, 200)
    assert study.corrected
    journal.analysed(study, outcome(study, report("1.2.3.10", "pacs")), at(201))
    journal.received(image(number=3), at(400))
    (study,) = take_up(journal, 500)
    assert not study.corrected


def test_an_image_in_another_version_has_no_result_yet(engine: Engine) -> None:
    """What a model said of the former header is not said of the corrected one until that was analysed."""
    journal = Journal(engine)
    analysed(journal, "1.2.3", "pacs")
    assert [one["analysed"] for one in Queries(engine).results("1.2.3")] == [True]
    corrected = image(sha256="new", spooled=image(number=7).spooled, patient_id="A-1")
    journal.received(corrected, at(70), Compared(image().spooled.sha256, Likeness.CORRECTED))
    (result,) = Queries(engine).results("1.2.3")
    assert (result["analysed"], result["reason"]) == (False, "not analysed yet")
