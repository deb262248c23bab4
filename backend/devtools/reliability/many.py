"""Many requests at once."""

import resource

from .scenario import ReliabilityError


def allow_files(count: int) -> None:
    """Let this process have so many connections; raises ``ReliabilityError`` where the system doesn't."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ReliabilityError(f"This process may have {hard} files and connections; {wanted} are needed.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
