FROM python:3.13-slim-trixie AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app/backend

FROM base AS packages
RUN pip install --no-cache-dir poetry==2.5.1 poetry-plugin-export==1.10.1
COPY backend/pyproject.toml backend/poetry.lock ./
RUN poetry export --output requirements.txt \
    && python -m venv .venv \
    && .venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements.txt

FROM base
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin ctj
COPY --from=packages /app/backend/.venv .venv
COPY backend .
ENV PATH=/app/backend/.venv/bin:$PATH \
    PORT=8000
# Settings that are of no use afterwards: without them settings.py refuses to be loaded.
RUN DJANGO_SECRET_KEY=unused DJANGO_ALLOWED_HOSTS=unused SQL_HOST=unused python manage.py collectstatic --no-input
USER 10001
EXPOSE 8000
HEALTHCHECK --start-period=60s --interval=10s --timeout=5s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/api/healthcheck/', timeout=4)"]
ENTRYPOINT ["./entrypoint.sh"]
