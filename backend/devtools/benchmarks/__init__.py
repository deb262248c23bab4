"""How fast the project is, beside references; ``docs/performance.md`` has the figures."""
