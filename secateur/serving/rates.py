"""How often somebody may ask."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import final

_MAX_CLIENTS = 10_000


@final
class Rates:
    """Counts requests by who sends them, in memory that does not grow with their number.

    One second's worth may come at once (virtual scheduling of ITU-T I.371, known as the generic cell rate algorithm:
    one number per client). Who has not come for longest is forgotten first; a client that was forgotten may come as
    often as a new one.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Know nobody.

        Args:
            clock: in seconds.
        """
        self._clock = clock
        self._next: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, who: str, *, per_s: float) -> float:
        """Count a request.

        Args:
            who: sends it.
            per_s: requests per second that are allowed; 0 = any number.

        Returns:
            0, or the seconds after which it would be allowed; then it is not counted.
        """
        if not per_s:
            return 0.0
        interval, now = 1.0 / per_s, self._clock()
        due = max(self._next.get(who, 0.0), now)
        early = due - now - max(1.0 - interval, 0.0)
        if early > 1e-9:
            return early
        self._next[who] = due + interval
        self._next.move_to_end(who)
        if len(self._next) > _MAX_CLIENTS:
            self._next.popitem(last=False)
        return 0.0
