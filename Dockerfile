FROM python:3.13.18-slim-trixie AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app/backend

FROM base AS packages
COPY .ci/poetry-requirements.txt ./
RUN pip install --no-cache-dir --require-hashes --requirement poetry-requirements.txt
COPY backend/pyproject.toml backend/poetry.lock ./
RUN poetry export --output requirements.txt \
    && python -m venv --without-pip .venv \
    && pip --python .venv/bin/python install --no-cache-dir --require-hashes --requirement requirements.txt

FROM base
LABEL org.opencontainers.image.title="CivicTechJobs backend" \
      org.opencontainers.image.description="Hack for LA's volunteer matching: the API and the admin site"
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin ctj \
    && pip uninstall --yes --root-user-action=ignore pip
COPY --from=packages /app/backend/.venv .venv
COPY backend .
ENV PATH=/app/backend/.venv/bin:$PATH \
    PORT=8000
# Settings that are of no use afterwards: without them settings.py refuses to be loaded.
# The modes are those of whoever builds it, whose files may be closed to others.
RUN DJANGO_SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(64))')" DJANGO_ALLOWED_HOSTS=unused \
    SQL_HOST=unused EMAIL_BACKEND=console PASSWORD_RESET_URL=https://unused \
    python manage.py collectstatic --no-input \
    && python -m compileall -q --invalidation-mode unchecked-hash backend ctj_api serving \
    && chmod -R go=rX -- *
# The commit that is built, where whoever builds it says so: last, for it changes each time.
ARG RELEASE_COMMIT=""
LABEL org.opencontainers.image.revision=$RELEASE_COMMIT
ENV RELEASE_COMMIT=$RELEASE_COMMIT
USER 10001
EXPOSE 8000
HEALTHCHECK --start-period=300s --interval=10s --timeout=5s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', '/api/healthcheck/'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["./entrypoint.sh"]
