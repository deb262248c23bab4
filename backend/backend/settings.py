"""Django settings, from the environment or a ``.env``: for production, unless DJANGO_DEBUG says otherwise."""

from typing import Any
from zoneinfo import available_timezones

import django_stubs_ext
from django.utils.csp import CSP
from marshmallow.validate import OneOf, Range

from backend import __version__, environment
from backend.configuration import check_settings

django_stubs_ext.monkeypatch()

env = environment.read_environment(eager=False)
BASE_DIR = environment.BASE_DIR
DEBUG = env.bool("DJANGO_DEBUG", False)
SECRET_KEY = env.str("DJANGO_SECRET_KEY", "")
SECRET_KEY_FALLBACKS = env.texts("DJANGO_SECRET_KEY_FALLBACKS", "")
ALLOWED_HOSTS = env.texts("DJANGO_ALLOWED_HOSTS", "")
DATA_DIR = environment.data_directory()
SQL_HOST = ",".join(env.texts("SQL_HOST", "") or ())
NEXT_DEV_ORIGIN = "http://localhost:3000"
# What runs: the version that a release raised, and the commit where the image's build names it.
RELEASE = "+".join(filter(None, (__version__, env.str("RELEASE_COMMIT", ""))))
NO_ZONE = "This is no time zone such as America/Los_Angeles."

INSTALLED_APPS = [
    "daphne",
    "backend.apps.CivicTechJobsAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "ctj_api",
]

MIDDLEWARE = [
    "ctj_api.accounts.client_address.ClientAddressMiddleware",
    "serving.request_log.RequestLogMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "ctj_api.http.middleware.BrowserPolicyMiddleware",
    "ctj_api.http.middleware.ErrorEnvelopeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "serving.handlers.RefusalMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ctj_api.http.middleware.CachePolicyMiddleware",
    "ctj_api.http.middleware.HostCheckMiddleware",
    "ctj_api.http.middleware.StrictRequestMiddleware",
    "ctj_api.accounts.sessions.SessionRenewalMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

# Load balancers and Prometheus ask these, with a Host of their own.
MACHINE_PATHS = ("/api/healthcheck/", "/metrics/")

ROOT_URLCONF = "backend.urls"
ASGI_APPLICATION = "backend.asgi.application"
WSGI_APPLICATION = "backend.wsgi.application"
REQUEST_THREADS = env.int("REQUEST_THREADS", 4, validate=Range(min=1))
REQUEST_WAIT_SECONDS = env.float("REQUEST_WAIT_SECONDS", 10, validate=Range(min=0, min_inclusive=False))
# Less than the proxy's limit: what only the proxy cuts off, it answers with an empty 200.
REQUEST_BODY_SECONDS = env.float("REQUEST_BODY_SECONDS", 20, validate=Range(min=0, min_inclusive=False))
KEPT_ANSWERS_MB = env.int("KEPT_ANSWERS_MB", 64, validate=Range(min=0))
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("REQUEST_MAX_BYTES", 2_621_440, validate=Range(min=1))
# What each process does before it takes its first connection.
WARM_UP = ["ctj_api.ranking.live_index.make_indexes"]
# Metrics that are read when they are scraped, and not counted by each process.
METRICS_COLLECTORS = ["serving.metrics.ProcessesCollector", "ctj_api.catalog.sync.SyncCollector"]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "backend" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "django.template.context_processors.csp",
            ],
        },
    },
]

# Of requests; manage.py sets none for commands, which may take their time.
SQL_STATEMENT_TIMEOUT_MS = env.int("SQL_STATEMENT_TIMEOUT_MS", 30_000, validate=Range(min=0))
SQL_LOCK_TIMEOUT_MS = env.int("SQL_LOCK_TIMEOUT_MS", 5_000, validate=Range(min=0))
SQL_IDLE_TIMEOUT_MS = env.int("SQL_IDLE_TIMEOUT_MS", 60_000, validate=Range(min=0))
# The first words to each new connection: poolers refuse or ignore libpq's "options".
SQL_SESSION = f"""
    SET random_page_cost = 1.1; -- the data fits into memory, or lies on a disk without moving parts
    SET statement_timeout = {SQL_STATEMENT_TIMEOUT_MS};
    SET lock_timeout = {SQL_LOCK_TIMEOUT_MS};
    SET idle_in_transaction_session_timeout = {SQL_IDLE_TIMEOUT_MS};
"""
# "prefer" takes no TLS for an answer, too, as long as nothing leaves this machine.
SQL_SSLMODE = env.str(
    "SQL_SSLMODE",
    "prefer" if DEBUG or environment.is_local(SQL_HOST) else "verify-full",
    validate=OneOf(["disable", "prefer", "require", "verify-ca", "verify-full"]),
)

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": env.str("SQL_DATABASE", environment.EMBEDDED_DATABASE),
        "USER": env.str("SQL_USER", environment.EMBEDDED_USER),
        "PASSWORD": env.str("SQL_PASSWORD", ""),
        "HOST": SQL_HOST or str(environment.socket_directory(DATA_DIR)),
        "PORT": env.str("SQL_PORT", ""),
        "OPTIONS": {
            "sslmode": SQL_SSLMODE,
            "sslrootcert": env.str("SQL_SSLROOTCERT", "") or None,
            # Of several servers, the one that is not a standby.
            "target_session_attrs": "read-write" if "," in SQL_HOST else None,
            "connect_timeout": 2,
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
        },
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    },
}

AUTH_USER_MODEL = "ctj_api.UserProfile"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "ctj_api.validators.MaximumLengthValidator"},
]

PASSWORD_HASHERS = [
    "ctj_api.accounts.hashers.FrugalArgon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
PASSWORD_RESET_TIMEOUT = 60 * (env.int("PASSWORD_RESET_MINUTES", 60, validate=Range(min=1)) or 0)
PASSWORD_RESET_URL = env.str("PASSWORD_RESET_URL", f"{NEXT_DEV_ORIGIN}/reset-password" if DEBUG else "")

MAIL = env.str("EMAIL_BACKEND", "console" if DEBUG else "smtp", validate=OneOf(["console", "smtp"]))
EMAIL_BACKEND = f"django.core.mail.backends.{MAIL}.EmailBackend"
EMAIL_HOST = env.str("EMAIL_HOST", "")
EMAIL_PORT = env.int("EMAIL_PORT", 587, validate=Range(min=1, max=65_535))
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", "")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", "")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", True)
EMAIL_TIMEOUT = 5
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", "CivicTechJobs <civictechjobs@localhost>")

LOGIN_REDIRECT_URL = "admin:index"
SESSION_ENGINE = "ctj_api.accounts.sessions"
# Since the sign-in, and since the last use of the admin; beyond these it asks for the password again.
ADMIN_SESSION_SECONDS = 12 * 3600
ADMIN_IDLE_SECONDS = 2 * 3600

# Who keeps accounts, and who keeps the catalogs: CivicTechJobs itself, or Hack for LA's services (docs/stage-2.md).
IDENTITY_PROVIDER = env.str("IDENTITY_PROVIDER", "local", validate=OneOf(["local", "cognito"]))
CATALOG_SOURCE = env.str("CATALOG_SOURCE", "local", validate=OneOf(["local", "peopledepot"]))
# A session names the backend that began it, and rests while that one is not among these.
BACKENDS_OF = {
    "local": ["ctj_api.accounts.sign_in.LimitedModelBackend"],
    "cognito": ["ctj_api.accounts.sign_in.AdministratorBackend", "ctj_api.accounts.linking.CognitoBackend"],
}
AUTHENTICATION_BACKENDS = BACKENDS_OF.get(IDENTITY_PROVIDER or "", [])

COGNITO_AWS_REGION = env.str("COGNITO_AWS_REGION", "")
COGNITO_USER_POOL = env.str("COGNITO_USER_POOL", "")
COGNITO_APP_CLIENT_ID = env.texts("COGNITO_APP_CLIENT_ID", "")
# Both forms name one pool.
COGNITO_ISSUERS = env.texts(
    "COGNITO_ISSUERS",
    f"https://cognito-idp.{COGNITO_AWS_REGION}.amazonaws.com/{COGNITO_USER_POOL},"
    f"https://issuer-cognito-idp.{COGNITO_AWS_REGION}.amazonaws.com/{COGNITO_USER_POOL}",
)
COGNITO_JWKS_URL = env.str("COGNITO_JWKS_URL", "")
COGNITO_LEEWAY_SECONDS = env.int("COGNITO_LEEWAY_SECONDS", 10, validate=Range(min=0, max=60))
COGNITO_DOMAIN = (env.str("COGNITO_DOMAIN", "") or "").rstrip("/")
COGNITO_ADMIN_CLIENT_ID = env.str("COGNITO_ADMIN_CLIENT_ID", "")
COGNITO_ADMIN_CLIENT_SECRET = env.str("COGNITO_ADMIN_CLIENT_SECRET", "")
# Off in tests alone, for a stand-in that gives none back.
COGNITO_NONCE_REQUIRED = True

PEOPLEDEPOT_URL = env.str("PEOPLEDEPOT_URL", "")
PEOPLEDEPOT_TOKEN = env.str("PEOPLEDEPOT_TOKEN", "")
# Read at each run: tokens last an hour.
PEOPLEDEPOT_TOKEN_FILE = env.str("PEOPLEDEPOT_TOKEN_FILE", "")
PEOPLEDEPOT_MAX_RETIRED_PERCENT = env.int("PEOPLEDEPOT_MAX_RETIRED_PERCENT", 20, validate=Range(min=0, max=100))

# Attempts in a time: those from one address on one account, those on an account, those from an address.
LOGIN_RATE = env.rate("LOGIN_RATE", "5/15m")
LOGIN_ACCOUNT_RATE = env.rate("LOGIN_ACCOUNT_RATE", "50/15m")
LOGIN_ADDRESS_RATE = env.rate("LOGIN_ADDRESS_RATE", "50/15m")
SIGNUP_RATE = env.rate("SIGNUP_RATE", "60/1h")
WRITE_RATE = env.rate("WRITE_RATE", "120/1m")
PASSWORD_RESET_RATE = env.rate("PASSWORD_RESET_RATE", "20/1h")
PASSWORD_MAIL_RATE = env.rate("PASSWORD_MAIL_RATE", "3/1h")
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES", "")

# The API, the logs and the database speak UTC; the admin speaks the time zone of the organisation.
TIME_ZONE = "UTC"
ADMIN_TIME_ZONE = env.str("TIME_ZONE", "America/Los_Angeles", validate=OneOf(available_timezones(), error=NO_ZONE))
FORMAT_MODULE_PATH = "ctj_api.desk.formats"
USE_I18N = False

STATIC_URL = "static/"
WHITENOISE_ALLOW_ALL_ORIGINS = False
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# https://docs.djangoproject.com/en/6.0/howto/deployment/checklist/
SESSION_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
CSRF_TRUSTED_ORIGINS = env.texts("DJANGO_CSRF_TRUSTED_ORIGINS", NEXT_DEV_ORIGIN if DEBUG else "")
SECURE_SSL_REDIRECT = env.bool("DJANGO_SSL_REDIRECT", not DEBUG)
SECURE_REDIRECT_EXEMPT = [r"^api/healthcheck/$", r"^metrics/$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("DJANGO_BEHIND_PROXY", False) else None
SECURE_HSTS_SECONDS = env.int("DJANGO_HSTS_SECONDS", 0 if DEBUG else 31_536_000, validate=Range(min=0))
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool("DJANGO_HSTS_INCLUDE_SUBDOMAINS", not DEBUG)
# Being on the browsers' lists is hard to take back, and for the whole domain: whoever owns it decides.
SECURE_HSTS_PRELOAD = env.bool("DJANGO_HSTS_PRELOAD", False)
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_CSP = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "ctj_api.auth.CognitoAuthentication",
        "ctj_api.http.authentication.CsrfSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["ctj_api.accounts.limits.WriteThrottle"],
    "DEFAULT_PARSER_CLASSES": ["ctj_api.http.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["ctj_api.http.renderers.OrjsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "ctj_api.exceptions.civic_exception_handler",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "CivicTechJobs API",
    "DESCRIPTION": "Matches Hack for LA's volunteers with the opportunities of its projects.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.1",
    "DEFAULT_GENERATOR_CLASS": "ctj_api.http.schema.CommittedSchemaGenerator",
    "SERVE_INCLUDE_SCHEMA": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_NAME_OVERRIDES": {"ExperienceEnum": "ctj_api.enums.Experience"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "ctj_api.http.schema.complete_schema",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOG_FORMAT = env.str("LOG_FORMAT", "console" if DEBUG else "json", validate=OneOf(["json", "console"]))
LOG_LEVEL = env.str("LOG_LEVEL", "INFO", validate=OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
LOGGING_CONFIG = "serving.logs.configure_logging"
LOGGING = {"form": LOG_FORMAT, "level": LOG_LEVEL}
SLOW_QUERY_MS = env.float("SLOW_QUERY_MS", 500, validate=Range(min=0))
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
METRICS_ALLOWED_NETWORKS = env.networks("METRICS_ALLOWED_NETWORKS", "")

check_settings(locals(), env)
