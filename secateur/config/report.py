"""``report``: the HTML page."""

from typing import Annotated

from pydantic import Field

from secateur.config.base import Section


class ReportSection(Section):
    """What the page shows."""

    title: Annotated[str, Field(min_length=1, description="heading of the page")] = "A pruned text model"
    max_examples: Annotated[int, Field(ge=0, description="examples per rule in the data report")] = 5
