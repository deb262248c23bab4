"""What the backend is measured by: each thing beside a reference, in the same run, on the same machine.

``python -m devtools.benchmarks`` runs them; ``docs/performance.md`` has what they told last.
"""
