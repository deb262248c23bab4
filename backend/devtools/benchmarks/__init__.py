"""Measures the backend: each row beside a reference, in the same run, on the same machine."""
