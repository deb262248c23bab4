"""How settings say how often something may be tried."""

import re
from dataclasses import dataclass

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """So many attempts in so many seconds, which begin with the first one."""

    attempts: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Return the rate that a text like ``5/15m`` means; raises ``ValueError`` for any other."""
        match = re.fullmatch(r"([1-9]\d{0,6})/([1-9]\d{0,3})([smhd])", text.strip(), re.ASCII)
        if match is None:
            raise ValueError(f'"{text}" is no rate such as 5/15m: attempts, and a number of s, m, h or d')
        attempts, number, unit = match.groups()
        return cls(int(attempts), int(number) * UNITS[unit])
