"""How Gunicorn starts and watches the server processes; ``WEB_CONCURRENCY`` says how many, which it reads itself."""

from backend.environment import env

_host = env.str("HOST", "") or "127.0.0.1"
_port = env.str("PORT", "") or "8000"

bind = f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"
worker_class = "backend.worker.DaphneWorker"
# Requests under way have so long to finish when a process is told to stop.
graceful_timeout = 8
# A process whose event loop gives no sign of life for so long is replaced.
timeout = 30
control_socket_disable = True
