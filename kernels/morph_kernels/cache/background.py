"""Best-effort work behind the caller's back."""

import threading
from collections.abc import Callable


def in_background(work: Callable[[], object], *, name: str = "morph-background") -> threading.Thread | None:
    """Run work on a thread that nobody waits for at exit; None where this process may start no more threads."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # A limit on threads, or the interpreter is on its way out. The work was best effort.
        return None
    return thread
