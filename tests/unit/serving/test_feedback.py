"""What was right: counted once, for who asked, of the newest answers."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from secateur.inference.prediction import Prediction
from secateur.kinds.registry import kind_named
from secateur.serving.live.feedback import MAX_VERSIONS, Feedback
from secateur.serving.refusals import Refused
from secateur.serving.served import Served


def _served(version: str | None = "1", labels: tuple[str, ...] = ("bad", "good")) -> Served:
    return cast("Served", SimpleNamespace(source=SimpleNamespace(version=version), labels=labels))


def _said(*labels: str) -> Prediction:
    return Prediction(label=" ".join(labels), score=0.9, scores={}, labels=labels)


def _asked(feedback: Feedback, *said: Any, version: str | None = "1", owner: str | None = None) -> list[Any]:
    return feedback.remember(_served(version), said, owner=owner)


def test_right_answers_are_counted_with_wilsons_interval() -> None:
    feedback = Feedback(kind_named("classification"), max_ids=100)
    ids = _asked(feedback, *[_said("good")] * 10, "the text is empty")
    assert ids[-1] is None
    for place, id_ in enumerate(ids[:10]):
        feedback.tell(id_, "good" if place else "bad", owner=None)
    [judged] = feedback.judged()
    assert (judged.texts, judged.right, judged.value) == (10, 9, 0.9)
    # By hand, of 9 among 10 and z = 1.96: (0.9 + z²/20 ∓ z·sqrt(0.009 + z²/400)) / (1 + z²/10).
    assert (judged.low, judged.high) == (pytest.approx(0.5958, abs=1e-4), pytest.approx(0.9821, abs=1e-4))


def test_an_answer_is_spoken_of_once_by_who_asked_and_not_for_ever() -> None:
    feedback = Feedback(kind_named("classification"), max_ids=2)
    old, mine, other = (_asked(feedback, _said("good"), owner=owner)[0] for owner in ("me", "me", "you"))
    for id_ in (old, other, "made up", f"{mine}0"):
        with pytest.raises(Refused, match=r"no answer with this id is remembered: those of the newest 2 answers are"):
            feedback.tell(id_, "good", owner="me")
    with pytest.raises(Refused, match="label: 'fine' is none of the labels in /model"):
        feedback.tell(mine, "fine", owner="me")
    feedback.tell(mine, "good", owner="me")
    with pytest.raises(Refused) as again:
        feedback.tell(mine, "good", owner="me")
    assert (again.value.status, feedback.judged()[0].texts) == (404, 1)


def test_several_labels_are_right_together_and_numbers_have_an_error() -> None:
    several = Feedback(kind_named("multi_label"), max_ids=10)
    for truth in (("bad", "good"), ("bad",)):
        [id_] = _asked(several, _said("good", "bad"))
        several.tell(id_, truth, owner=None)
    assert (several.field, several.judged()[0].right, several.judged()[0].texts) == ("labels", 1, 2)
    numbers = Feedback(kind_named("regression"), max_ids=10)
    for truth in (3.0, 5.0):
        [id_] = _asked(numbers, Prediction(label="2", score=0.0, scores={}, number=2.0))
        numbers.tell(id_, truth, owner=None)
    judged = numbers.judged()[0]
    assert (numbers.field, judged.right, judged.value) == ("number", None, 2.0)
    assert judged.low < 2.0 < judged.high


def test_grades_are_right_or_wrong() -> None:
    grades = Feedback(kind_named("ordinal"), max_ids=10)
    [id_] = _asked(grades, Prediction(label="good", score=0.0, scores={}, number=0.8, labels=("good",)))
    grades.tell(id_, "good", owner=None)
    assert (grades.field, grades.judged()[0].right) == ("grade", 1)


def test_feedback_of_few_versions_is_kept_and_goes_on_in_another_process() -> None:
    feedback = Feedback(kind_named("classification"), max_ids=100)
    ids = [_asked(feedback, _said("good"), version=str(version))[0] for version in range(MAX_VERSIONS + 2)]
    for id_ in ids:
        feedback.tell(id_, "good", owner=None)
    assert [judged.version for judged in feedback.judged()] == ["2", "3", "4", "5", "6"]
    other = Feedback(kind_named("classification"), max_ids=100)
    other.resume(feedback.judged())
    assert other.judged() == feedback.judged()
