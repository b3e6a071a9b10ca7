"""Which names may have a newer index than the one this process knows, by what it was told and when it last asked."""

_MOST_NAMES = 10_000


class Changes:
    """A logical clock of what was told: one thread tells, any thread asks.

    A value answers for a name only if it was asked for after the last change of that name; so one that was read while
    the change was told is not taken for fresh.
    """

    def __init__(self) -> None:
        self._now = 0
        self._everything_at = 0
        self._changed_at: dict[str, int] = {}
        self._asked_at: dict[str, int] = {}

    def now(self) -> int:
        """Return the moment to settle a name with that is asked for after this call."""
        return self._now

    def tell(self, name: str) -> None:
        """Take a name for changed."""
        if len(self._changed_at) >= _MOST_NAMES:
            self.tell_all()
            return
        self._now += 1
        self._changed_at[name] = self._now

    def tell_all(self) -> None:
        """Take every name for changed."""
        self._now += 1
        self._everything_at = self._now
        # After the line above: whoever looks in between sees a name as changed that is so anyway.
        self._changed_at.clear()

    def settle(self, name: str, asked_at: int) -> None:
        """Note that a server answered for a name which was asked at that moment."""
        self._asked_at[name] = max(asked_at, self._asked_at.get(name, 0))

    def is_settled(self, name: str) -> bool:
        """Return whether nothing was told of a name since it was last asked for."""
        return self._asked_at.get(name, 0) >= max(self._everything_at, self._changed_at.get(name, 0))
