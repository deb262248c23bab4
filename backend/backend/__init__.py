"""Configuration and root routing of the CivicTechJobs backend."""

__version__ = "0.4.0"
