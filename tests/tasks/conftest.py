"""Stage bodies save a checkpoint each; a fresh process for each of them would cost 5 s."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _reload_in_process() -> Iterator[None]:
    """Compare the logits of what was saved, but load it in this process.

    The fresh one has its tests in ``tests/unit/models`` and ``tests/contract``, and every real run starts it.
    """
    from secateur.models.checkpoint import load
    from secateur.models.reload_check import fixed_logits

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            "secateur.models.reload_check._logits_of_fresh_process", lambda folder: fixed_logits(load(folder))
        )
        yield
