"""What a report has to know of the score it draws: one scale per kind of task."""

from abc import ABC, abstractmethod


class Scale(ABC):
    """One way; without a state.

    Attributes:
        logarithmic: equal shares are equally far apart in a plot of training.
    """

    logarithmic: bool

    @abstractmethod
    def write(self, value: float) -> str:
        """Write a value on the page."""

    @abstractmethod
    def write_for_terminal(self, value: float) -> str:
        """Write a value in a table of the terminal, where all have as many decimals."""

    @abstractmethod
    def write_end(self, value: float) -> str:
        """Write an end of an interval in a table of the terminal."""

    @abstractmethod
    def unit_of_loss(self, title: str) -> str:
        """Say of what a hundredth of ``max_drop`` is one."""

    @abstractmethod
    def against(self, value: float, dense: float) -> str:
        """Write what became of the score of dense, with its sign."""

    @abstractmethod
    def beside(self, value: float, dense: float) -> str:
        """Write with what a round's score on the test rows is compared."""

    @abstractmethod
    def in_words(self, title: str, value: float, dense: float, *, change: float | None) -> tuple[str, bool]:
        """Say what became of the score of dense: "loses 1.2 points of macro-F1".

        Args:
            title: of the score.
            value: of the model.
            dense: of the dense one.
            change: of the deployed form, in pairs on the same rows, where somebody compared.

        Returns:
            It, and whether it is a change at all.
        """

    @abstractmethod
    def between(self, title: str, low: float, high: float) -> str:
        """Say what an interval of the change is of, and its ends."""
