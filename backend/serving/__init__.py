"""How the server runs: its processes, threads, logs and metrics."""
