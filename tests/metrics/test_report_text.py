from __future__ import annotations

from lit_llm.metrics.entity_f1 import EntityF1
from lit_llm.metrics.entity_f1_strict import EntityF1Strict
from lit_llm.metrics.report_text import report_text
from lit_llm.metrics.tag_report import TagReport

EXPECTED = """\
Tag level: every word's tag by itself (not an entity F1)
                        precision    recall        f1   support
---------------------------------------------------------------
B-PER                       1.000     0.500     0.667         2
I-PER                       0.500     1.000     0.667         1
O                           1.000     1.000     1.000         1
---------------------------------------------------------------
micro with O (accuracy)     0.750     0.750     0.750         4
micro without O             0.667     0.667     0.667         3
macro                       0.833     0.833     0.778         4
weighted by support         0.875     0.750     0.750         4

Entity level: whole entities, conlleval rules
      precision    recall        f1   support
---------------------------------------------
PER       1.000     1.000     1.000         2
---------------------------------------------
micro     1.000     1.000     1.000         2
macro     1.000     1.000     1.000         2

Entity level: whole entities, strict IOB2 (only B- starts one)
      precision    recall        f1   support
---------------------------------------------
PER       1.000     0.500     0.667         2
---------------------------------------------
micro     1.000     0.500     0.667         2
macro     1.000     0.500     0.667         2
"""


def test_report_text_labels_tag_level_and_entity_level() -> None:
    # The second entity's B- is predicted as I-: one tag of four wrong, no entity by conlleval.
    gold, predicted = [["B-PER", "I-PER", "O", "B-PER"]], [["B-PER", "I-PER", "O", "I-PER"]]
    metrics = TagReport(["PER"]), EntityF1(["PER"]), EntityF1Strict(["PER"])
    for metric in metrics:
        metric.update(gold, predicted)
    computed = [metric.compute() for metric in metrics]
    assert report_text(*computed) == EXPECTED
    assert (
        report_text(*computed[:2])
        == EXPECTED[: EXPECTED.index("\nEntity level: whole entities, strict")]
    )
