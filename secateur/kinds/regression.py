"""Regression: a number for every text."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, final

from secateur.kinds.numeric import Numeric
from secateur.quality import R2, Measure

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from secateur.config.promote import PromoteSection
    from secateur.readers.labels import Targets
    from secateur.report.presentation import Presentation
    from secateur.statistics.numbers import Scoring


@final
class Regression(Numeric):
    """A number for every text; R² decides, the share of the numbers' variance that the model explains.

    Of errors it is the score that has no unit and grows towards 1, so that a promise of two points means as much for
    prices as for stars: squared errors may grow by 2 % of the variance. A rank correlation would not see that all
    numbers are twice what they should be.
    """

    name: ClassVar[str] = "regression"
    does: ClassVar[str] = "give a text a number"
    measure: ClassVar[Measure] = R2
    scores: ClassVar[tuple[str, ...]] = ("r2", "spearman")
    columns: ClassVar[Mapping[str, str]] = {"number": "double"}

    def targets(self, labels: Sequence[str]) -> "Targets":
        """See ``Kind``."""
        from secateur.data.number_targets import number_targets

        return number_targets(labels)

    def claims(self, config: "PreTrainedConfig") -> bool:
        """See ``Kind``; one output, whatever ``problem_type`` says of it, where that is a number."""
        from secateur.models.heads import head_of
        from secateur.readers.grades import grades_in

        if not head_of(config).labelled or int(config.num_labels) != 1 or grades_in(config.id2label):
            return False
        return vars(config).get("problem_type") in (None, self.problem_type)

    def scoring(self) -> "Scoring":
        """See ``Numeric``."""
        from secateur.statistics.numbers import NUMBERS

        return NUMBERS

    def least(self, settings: "PromoteSection") -> float:
        """See ``Numeric``."""
        return settings.min_r2

    def presentation(self) -> "Presentation":
        """See ``Kind``."""
        from secateur.report.numbers import PRESENTATION

        return PRESENTATION


KIND = Regression()
