"""What the documentation says is true: the tour is run, and every setting, code, endpoint and link is looked up."""

import ast
import os
import re
import tempfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import LiveServerTestCase, SimpleTestCase, override_settings

from ctj_api.accounts.linking import ADMINISTRATORS, ANOTHERS, UNUSABLE, UNVERIFIED
from ctj_api.catalog.loading import SHIPPED_CATALOG, read_catalog
from ctj_api.desk.site import OVERTAKEN, SignInForm
from ctj_api.desk.transitions import TRANSITIONS
from ctj_api.enums import SkillLevel
from ctj_api.exceptions import ErrorCode
from ctj_api.matching import compare, score
from ctj_api.permissions import KEPT_BY_COGNITO
from devtools.reliability.scenarios import SCENARIOS

from .common import run, url_patterns

BACKEND = Path(settings.BASE_DIR)
ROOT = BACKEND.parent
PACKAGES = [path.parent for path in BACKEND.glob("*/__init__.py")]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / ".github").glob("*.md"))]
READ_BY_SHELL = {"DATABASE_WAIT_SECONDS", "WEB_CONCURRENCY"}
READ_BY_COMPOSE = {"API_MEMORY", "HTTPS_PORT", "HTTP_PORT", "PROXY_NETWORK", "SITE_ADDRESS"}
EXAMPLE = re.compile(r"\b(work_environment|WorkEnvironment)\b")
TOUR = re.compile(r"<!-- tour -->\n```bash\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
VARYING = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "TIME"),
    (re.compile(r'("uptime_seconds": )[0-9.]+'), r"\1UPTIME"),
)


def read(name: str | Path) -> str:
    """Return the text of a file, which is named from the top of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def mask(text: str) -> str:
    """Return ``text`` with what differs from run to run replaced."""
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return text


@override_settings(SESSION_COOKIE_SECURE=False, CSRF_COOKIE_SECURE=False)
class TourTests(LiveServerTestCase):
    """The README's tour, against a live server."""

    serialized_rollback = True

    def setUp(self) -> None:
        """Load the catalog, as the first start does."""
        call_command("load_catalog", stdout=StringIO())

    def run_tour(self, blocks: list[str]) -> list[str]:
        """Return what each block of commands prints, run one after the other in one shell."""
        mark = "--- end of block ---"
        script = f"\necho '{mark}'\n".join(blocks).replace("http://127.0.0.1:8000", self.live_server_url)
        environment = {
            **os.environ,
            "DJANGO_DEBUG": "true",
            "SQL_HOST": connection.settings_dict["HOST"],
            "SQL_DATABASE": connection.settings_dict["NAME"],
        }
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "backend").symlink_to(BACKEND)
            done = run("bash", "-euc", script, cwd=folder, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [output.lstrip("\n") for output in done.stdout.split(f"{mark}\n")]

    def test_newcomer_following_the_tour_sees_what_the_readme_shows(self) -> None:
        """Every command works, and prints what stands below it."""
        tour = TOUR.findall(read("README.md"))
        self.assertGreater(len(tour), 4)
        outputs = self.run_tour([commands for commands, _ in tour])
        for (commands, expected), output in zip(tour, outputs, strict=True):
            with self.subTest(commands):
                self.assertEqual(mask(output), mask(expected))


class DocsTests(SimpleTestCase):
    """The pages beside the code."""

    def test_every_link_leads_somewhere(self) -> None:
        """Relative links name files that exist, and headings that are in them."""
        for page in PAGES:
            for link in re.findall(r"\]\(([^)]+)\)", read(page)):
                if "://" in link:
                    continue
                with self.subTest(page=page.name, link=link):
                    name, _, heading = link.partition("#")
                    target = page.parent / name if name else page
                    self.assertTrue(target.exists())
                    if heading:
                        self.assertIn(heading, anchors(target))

    def test_every_proof_exists(self) -> None:
        """Test files and scenarios that pages name as proving something are there, but for records of the past."""
        files = [path for package in PACKAGES for path in package.rglob("test_*.py")]
        tests = {name for path in files for name in re.findall(r"def (test_\w+)", read(path))}
        in_force = "".join(text for text in map(read, PAGES) if "Status: Superseded" not in text)
        named = set(re.findall(r"`(?:\w+/)*(test_\w+(?:\.py)?)`", in_force))
        self.assertGreater(len(named), 20)
        self.assertEqual(named - tests - {path.name for path in files}, set())
        sentences = re.findall(r"the scenarios? ((?:`[a-z-]+`(?: and )?)+)", read("docs/threat-model.md"))
        self.assertGreater(len(sentences), 2)
        self.assertLessEqual(set(re.findall(r"`([a-z-]+)`", "".join(sentences))), set(SCENARIOS))

    def test_every_page_that_code_names_exists(self) -> None:
        """Nobody is sent to a page that is gone."""
        tracked = run("git", "ls-files", "*.py", "*.sh", "*.yml", ".env.example", cwd=ROOT).stdout.split()
        self.assertIn(".env.example", " ".join(tracked))
        for name in tracked:
            for page in re.findall(r"\bdocs/[\w/-]+\.md", read(name)):
                with self.subTest(name):
                    self.assertTrue((ROOT / page).exists(), page)

    def test_every_fault_has_a_row(self) -> None:
        """The table of what was tried is that of a run of all scenarios, and nothing was lost."""
        row = r"^\| .+ \| .+ \| (.+) \| .+ \| `\S+ -m devtools.reliability ([a-z-]+)` \|$"
        rows = re.findall(row, read("docs/reliability.md"), re.MULTILINE)
        self.assertEqual(rows, [("nothing", name) for name in SCENARIOS])

    def test_operator_finds_every_alert_in_the_runbook(self) -> None:
        """What to do is told for each alert, and for none that is gone."""
        alerts = re.findall(r"^ +- alert: (\w+)$", read("backend/alerts.yml"), re.MULTILINE)
        rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", read("docs/runbook.md"), re.MULTILINE)
        self.assertEqual(sorted(re.findall(r"\w+", " ".join(rows))), sorted(alerts))

    def test_operator_finds_every_refusal_of_cognitos_users_explained(self) -> None:
        """Each sentence by which the API refuses them, as far as it is the same for all."""
        told = [UNVERIFIED, UNUSABLE, ANOTHERS, ADMINISTRATORS.partition(" {")[0], KEPT_BY_COGNITO.partition(" S")[0]]
        told += re.findall(r'AuthenticationFailed\("(.+?)"', read("backend/ctj_api/auth.py"))
        self.assertGreater(len(told), 7)
        for sentence in told:
            self.assertIn(sentence, read("docs/stage-2.md"))

    def test_every_error_code_is_documented(self) -> None:
        """Clients find each code that they may meet."""
        page = read("docs/api.md")
        for code in ErrorCode:
            self.assertIn(f"| `{code}` |", page)

    def test_every_endpoint_is_documented(self) -> None:
        """And no endpoint that is not there."""
        documented = set(re.findall(r"`(/api/[^`]*)`", read("docs/api.md").split("## Errors")[0]))
        routes = {route.replace("<uuid:pk>", "{id}") for route, _ in url_patterns() if route.startswith("api/")}
        self.assertEqual(documented, {f"/{route}" for route in routes})

    def test_every_setting_is_documented(self) -> None:
        """The table of the deployment page names what is read from the environment, and nothing else."""
        modules = [*(BACKEND / "backend").glob("*.py"), *(BACKEND / "serving").glob("*.py")]
        names = {name for module in modules for name, _ in settings_read_in(module)}
        self.assertEqual(set(settings_table()), names | READ_BY_SHELL | READ_BY_COMPOSE)
        for name in READ_BY_SHELL:
            self.assertIn(name, read("backend/entrypoint.sh"))
        for name in READ_BY_COMPOSE:
            self.assertIn(f"${{{name}:-{settings_table()[name].strip('`')}}}", read("docker-compose.yml"))

    def test_every_default_is_documented(self) -> None:
        """As far as it is one value; what depends on other settings is told in words."""
        table = settings_table()
        read_there = settings_read_in(BACKEND / "backend" / "settings.py")
        defaults = {name: default for name, default in read_there if default not in {"", None}}
        self.assertGreater(len(defaults), 20)
        for name, default in defaults.items():
            with self.subTest(name):
                told = str(default).lower() if isinstance(default, bool) else str(default)
                self.assertTrue(table[name].startswith(f"`{told}`"), f"{told} is not {table[name]}")

    def test_worked_example_of_matching_is_right(self) -> None:
        """Real skills, the explanation in the API's order, and the score that the formula gives."""
        page = read("docs/matching.md").split("<!-- worked example -->")[1].split("## What follows")[0]
        rows = re.findall(r"^\| (.+?) \| (\d) \| (\d) \| (\d) \| (\w+) \|$", page, re.MULTILINE)
        required = {name: int(level) for name, level, *_ in rows}
        learned = {name: int(level) for name, _, level, *_ in rows if level != "0"}
        self.assertLessEqual(set(required), {skill["name"] for skill in read_catalog(SHIPPED_CATALOG)["skills"]})
        comparisons = sorted(compare(required, learned), key=lambda comparison: (-comparison.gap, comparison.skill))
        self.assertEqual(
            [(skill, int(counts), status) for skill, _, _, counts, status in rows],
            [(row.skill, row.required - row.gap, row.status) for row in comparisons],
        )
        result = score(required, learned)
        fraction = f"{result.covered} / {result.required} = {result.value:.4f}"
        self.assertIn(f"{fraction}, with {result.met_count} of {result.required_count} skills met", page)

    def test_guide_for_project_managers_is_right(self) -> None:
        """Each level with its meaning, each step with where it makes sense, and the words of the messages."""
        page = read("docs/pm-guide.md")
        for level, meaning in SkillLevel.choices:
            self.assertIn(f"| {level} | {meaning} |", page)
        for step in TRANSITIONS:
            self.assertIn(f"| {step.verb} | {', '.join(source.label.lower() for source in step.sources)} |", page)
        self.assertIn(str(SignInForm.error_messages["invalid_login"]).partition(". ")[0], page)
        self.assertIn(OVERTAKEN, page)

    def test_every_image_is_shown(self) -> None:
        """None is left over."""
        shown = {name for page in PAGES for name in re.findall(r"\(images/([\w-]+\.png)\)", read(page))}
        self.assertEqual({image.name for image in (ROOT / "docs" / "images").iterdir()}, shown)

    def test_every_decision_is_listed_with_its_status(self) -> None:
        """The index names each record by its own title and status, and each record that it names is there."""
        listed = []
        for record in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
            text = read(record)
            status = re.search(r"^Status: (Accepted|Superseded by \[\d+\]\([\w-]+\.md\))", text, re.MULTILINE)
            with self.subTest(record.name):
                self.assertIsNotNone(status)
            number, _, title = text.splitlines()[0].removeprefix("# ").partition(" ")
            superseded = f": s{status[1][1:]}" if status and status[1] != "Accepted" else ""
            listed.append(f"{number} [{title}]({record.name}){superseded}")
        self.assertEqual(re.findall(r"^\d+\. .+$", read("docs/decisions/README.md"), re.MULTILINE), listed)

    def test_maintainer_adding_a_field_finds_each_place(self) -> None:
        """The recipe names each place where a field of a listing stands, and the field stands in each."""
        recipe = read("docs/development.md").split("## Add a field to a listing")[1].split("## ")[0]
        places = re.findall(r"^\| `([\w/.-]+)`(?: `(\w+)`)? \|", recipe, re.MULTILINE)
        self.assertGreater(len(places), 9)
        for name, symbol in places:
            with self.subTest(name, symbol=symbol):
                self.assertRegex(told_in(found(name), symbol), EXAMPLE)
        others = {
            str(module.relative_to(BACKEND))
            for package in PACKAGES
            for module in package.rglob("*.py")
            if EXAMPLE.search(read(module)) and not {"migrations", "tests", "devtools"} & set(module.parts)
        }
        self.assertEqual({name for name in others if f"`{name}`" not in recipe and name != "ctj_api/enums.py"}, set())

    def test_map_names_every_room(self) -> None:
        """A newcomer finds the place of a change, and no place that is gone."""
        page = read("docs/development.md").split("## The map")[1].split("## ")[0]
        folders = [path for path in (BACKEND / "ctj_api").iterdir() if path.is_dir() and path.name != "__pycache__"]
        for room in PACKAGES + folders:
            self.assertIn(f"`{room.relative_to(BACKEND)}/`", page)
        for module in (BACKEND / "ctj_api").glob("*.py"):
            if module.name not in {"__init__.py", "apps.py"}:
                self.assertIn(f"`{module.name}`", page)
        for name in re.findall(r"`(\w[\w/]*(?:/|\.py))`", page):
            places = (BACKEND, BACKEND / "ctj_api", BACKEND / "ctj_api" / "tests")
            self.assertTrue(any((place / name).exists() for place in places), name)


def found(name: str) -> Path:
    """Return the file or folder that a page names from the backend or from the top of the repository."""
    return BACKEND / name if (BACKEND / name).exists() else ROOT / name


def told_in(place: Path, symbol: str) -> str:
    """Return the text of a file or a folder's modules, or of one class or function of a module."""
    modules = sorted(place.glob("*.py")) if place.is_dir() else [place]
    text = "".join(map(read, modules))
    if not symbol:
        return text
    definitions = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return ast.get_source_segment(text, definitions[symbol]) or ""


def anchors(page: Path) -> set[str]:
    """Return how GitHub names the headings of a page in links."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def settings_table() -> dict[str, str]:
    """Return setting → what the deployment page says of its default."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| ", read("docs/deployment-infra.md"), re.MULTILINE)
    return dict(rows)


def settings_read_in(module: Path) -> Iterator[tuple[str, Any]]:
    """Return the name of each setting that a module reads, and its default where that is a plain value."""
    for call in ast.walk(ast.parse(read(module))):
        if isinstance(call, ast.Call) and re.fullmatch(r"env\.\w+", ast.unparse(call.func)):
            name, *defaults = [arg.value if isinstance(arg, ast.Constant) else None for arg in call.args]
            yield str(name), defaults[0] if defaults else None
