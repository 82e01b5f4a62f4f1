"""How often a process of ours looks for what nobody needs."""

SELDOM = (50_000, 20, 20)
"""For ``gc.set_threshold``: libraries leave a million objects that live until the end. To walk through them again and
again while they are imported, and when all is over, is a third of a short command's time."""
