"""The steps in the life of a listing that the admin offers, each with the statuses that it makes sense from."""

from typing import NamedTuple

from ctj_api.enums import Status


class Transition(NamedTuple):
    """A step: what it is called before and after it is done, and from where to where it leads."""

    name: str
    verb: str
    done: str
    sources: tuple[Status, ...]
    target: Status

    def refusal(self, status: Status) -> str:
        """Return why a listing with this status can't take the step."""
        now = status.label.lower()
        return f"It is {now} already." if status == self.target else f"It can't be {self.done}: it is {now} by now."


PUBLISH = Transition(
    "publish", "Publish", "published", (Status.DRAFT, Status.ON_HOLD, Status.FILLED, Status.CLOSED), Status.OPEN
)
HOLD = Transition("hold", "Put on hold", "put on hold", (Status.OPEN,), Status.ON_HOLD)
FILL = Transition("fill", "Mark as filled", "marked as filled", (Status.OPEN, Status.ON_HOLD), Status.FILLED)
CLOSE = Transition("close", "Close listing", "closed", (Status.OPEN, Status.ON_HOLD, Status.FILLED), Status.CLOSED)
TRANSITIONS = (PUBLISH, HOLD, FILL, CLOSE)
