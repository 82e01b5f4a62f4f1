"""Ordinal: a grade for every text, of some that have an order, such as stars."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, final

from secateur.kinds.numeric import Numeric
from secateur.quality import KAPPA, Measure

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from transformers import PreTrainedConfig, PreTrainedModel

    from secateur.config.promote import PromoteSection
    from secateur.evaluation.row_scores import Measured
    from secateur.inference.answers import Answers
    from secateur.inference.prediction import Prediction, Predictor
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.statistics.numbers import Scoring


@final
class Ordinal(Numeric):
    """A grade for every text; quadratic weighted kappa decides, which counts by how far off an answer is.

    The model tells the place of a grade in their order, 0 for the lowest, and the nearest grade is said.
    """

    name: ClassVar[str] = "ordinal"
    does: ClassVar[str] = "give a text a grade"
    measure: ClassVar[Measure] = KAPPA
    scores: ClassVar[tuple[str, ...]] = ("qwk", "accuracy", "macro_mae")
    columns: ClassVar[Mapping[str, str]] = {"grade": "string", "value": "double"}

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``; the place of every row's grade."""
        from secateur.data.number_targets import grade_targets

        return grade_targets(labels)

    def outputs(self, labels: Sequence[str]) -> Sequence[str]:
        """See ``Kind``; one, whose name holds the grades, so that every form of a model knows them."""
        from secateur.readers.grades import joined

        return [joined(labels)]

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; one output whose name holds grades."""
        from secateur.models.heads import head_of
        from secateur.readers.grades import grades_in

        problem = vars(config).get("problem_type")
        return head_of(config).labelled and problem == self.problem_type and bool(grades_in(config.id2label))

    def grades(self, model: "PreTrainedModel") -> Sequence[str]:
        """See ``Numeric``."""
        from secateur.readers.grades import grades_in

        return grades_in(model.config.id2label)

    def told(self, values: "npt.NDArray[np.float64]", *, names: Sequence[str]) -> "npt.NDArray[np.float64]":
        """See ``Numeric``; the nearest place."""
        import numpy as np

        return np.clip(np.rint(values), 0.0, len(names) - 1.0)

    def answered(self, found: "Sequence[Prediction]", *, names: Sequence[str]) -> "npt.NDArray[np.float64]":
        """See ``Numeric``; the place among ``names`` of the grade that is said, or of the next one to it.

        A model that was trained when there were other grades counts places among those.
        """
        import numpy as np

        said = [float(one.label) for one in found]
        return np.rint(np.interp(said, [float(name) for name in names], range(len(names))))

    def written(self, value: float, *, names: Sequence[str]) -> str:
        """See ``Numeric``; the name of the grade."""
        return names[int(value)]

    def valued(self, values: "npt.NDArray[np.float64]", *, names: Sequence[str]) -> "npt.NDArray[np.float64]":
        """See ``Numeric``; between the numbers that grades are."""
        import numpy as np

        return np.interp(values, range(len(names)), [float(name) for name in names])

    def scoring(self) -> "Scoring":
        """See ``Numeric``."""
        from secateur.statistics.grades import GRADES

        return GRADES

    def least(self, settings: "PromoteSection") -> float:
        """See ``Numeric``."""
        return settings.min_qwk

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.grades import PRESENTATION

        return PRESENTATION

    def answer_texts(
        self, model: "Predictor", texts: Sequence[str], parameters: Mapping[str, Any]
    ) -> dict[str, list[Any]]:
        """See ``Kind``; the grade, and where between the grades the model puts the text."""
        found = model.predict(texts)
        return {"grade": [one.label for one in found], "value": [one.value for one in found]}

    def answer_rows(
        self, model: "Predictor", texts: Sequence[str], *, numbers: Sequence[int], parameters: Mapping[str, Any]
    ) -> "Answers":
        """See ``Kind``."""
        from secateur.evaluation.number_rows import grades_of_rows

        return grades_of_rows(model, texts)

    def unknown_labels(self, model: "Predictor", labels: Sequence[str]) -> list[str]:
        """See ``Kind``; those that are none of the model's grades."""
        from secateur.evaluation.number_rows import no_grades

        return no_grades(model, labels)

    def measure_rows(self, model: "Predictor", texts: Sequence[str], labels: Sequence[str | None]) -> "Measured":
        """See ``Kind``; the place of the grade of a row, and of the one that is said."""
        from secateur.evaluation.number_rows import true_and_said_grade

        return true_and_said_grade(model, texts, labels)

    def confusion_of(self, model: "Predictor", values: "npt.NDArray[np.float64]") -> "npt.NDArray[np.int64]":
        """See ``Kind``."""
        import numpy as np

        from secateur.evaluation.metrics import confusion

        true, said = values.T.astype(np.int64)
        return confusion(true, said, num_labels=len(model.labels))


KIND = Ordinal()
