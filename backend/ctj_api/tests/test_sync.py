"""``manage.py sync_peopledepot``: what it plans and says, what it writes, and when it writes nothing."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from io import StringIO
from typing import Any
from unittest.mock import DEFAULT, patch
from uuid import UUID

from django.core.management import CommandError, call_command
from django.db import DatabaseError, InterfaceError, connection, transaction
from django.test import TestCase, override_settings

from ctj_api.catalog.sync import SYNC_LOCK
from ctj_api.clients.peopledepot import PeopleDepotClient
from ctj_api.models import CommunityOfPractice, Project, Role, Skill, SkillMatrix, SyncRun
from ctj_api.querysets import CatalogQuerySet

from .common import (
    WEEK,
    browser,
    make_opportunity,
    make_project,
    make_regular_user,
    make_role,
    make_skill,
    other_connection,
)
from .databases import LEFT_OUT, table_digests
from .people_depot import TOKEN, PeopleDepot, say

REACT, ANGULAR, VUE, DEVELOPER, DATA, OTHER = (UUID(int=number) for number in range(1, 7))
IGNORED = {"ignored": ['Practice area "Professional Development" is none of our communities']}
KINDS = ("skills", "roles", "projects")


def sync(**options: Any) -> tuple[int, str]:
    """Run the command and return its exit status and all that it says."""
    output = StringIO()
    try:
        call_command("sync_peopledepot", stdout=output, stderr=output, **options)
    except CommandError as error:
        return error.returncode, f"{output.getvalue()}{error}"
    return 0, output.getvalue()


def stored() -> dict[str, str]:
    """Return a digest of every table but for what belongs to the moment and the records of runs."""
    return table_digests((*LEFT_OUT, "ctj_api_syncrun"))


def versions() -> list[Any]:
    """Return the transaction that wrote each row of a catalog, and the ETags of the lists."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, xmin::text FROM ctj_api_skill UNION ALL SELECT id, xmin::text FROM ctj_api_role"
            " UNION ALL SELECT id, xmin::text FROM ctj_api_project"
            " UNION ALL SELECT id, xmin::text FROM ctj_api_communityofpractice ORDER BY id"
        )
        rows = cursor.fetchall()
    reader = browser()
    return [*rows, *(reader.get(f"/api/{kind}/")["ETag"] for kind in KINDS)]


class SyncCase(TestCase):
    """A PeopleDepot with five rows, whose ids ours have got by an adoption."""

    def setUp(self) -> None:
        """Adopt them, and have a volunteer who rates the skills and a listing that refers to all."""
        self.depot = self.enterContext(PeopleDepot())
        self.enterContext(self.depot.settings())
        for id_, name in ((REACT, "React"), (ANGULAR, "Angular"), (VUE, "Vue")):
            self.depot.add("skills", id_, name=name)
        self.depot.add("modern-job-titles", DEVELOPER, title="Developer")
        self.depot.add("projects", DATA, name="311 Data", hide=False)
        skills = [make_skill(name=name, description=f"About {name}") for name in ("React", "Angular", "Vue")]
        skills[0].communities_of_practice.set(CommunityOfPractice.objects.all()[:2])
        project = make_project(name="311 Data", meeting_times=WEEK)
        self.volunteer = make_regular_user(dict.fromkeys(skills, 3))
        self.listing = make_opportunity({skills[0]: 2}, project=project, role=make_role(title="Developer"))
        self.assertEqual(sync(adopt=True)[0], 0)
        self.levels = dict.fromkeys(map(str, (REACT, ANGULAR, VUE)), 3)

    def plan(self) -> dict[str, list[str]]:
        """Return the plan of the last run, but for the practice area that is never ours."""
        plan: dict[str, list[str]] = SyncRun.objects.latest("pk").plan
        return {kind: lines for kind, lines in plan.items() if (kind, lines) not in IGNORED.items()}


def held(name: str, theirs: UUID, ours: UUID) -> str:
    """Return what a plan says of a skill whose name a row of ours has."""
    return f'Skill "{name}" has the id {theirs}, and ours of this name {ours}: --adopt gives it theirs'


class PlanTests(SyncCase):
    """What happens at PeopleDepot, and what a run makes of it."""

    def cases(self) -> list[tuple[str, Callable[[], Any], int, dict[str, list[str]]]]:
        """Return what is changed there, with the exit status and the plan that follow."""
        add, change, delete = self.depot.add, self.depot.change, self.depot.delete
        long, twins = "x" * 255, 'Skill "React" and "rEACT" differ in case only: rename one at PeopleDepot'
        swapped = ['Skill "Angular" is "React" now', 'Skill "React" is "Angular" now']
        chained = [held("React", ANGULAR, REACT), held("jQ", REACT, self.ours)]
        completed = ['Project "311 Data": completed on 2026-11-01']
        writer = {"added": ['Role "Writer"'], "waiting": ['Role "Writer"']}
        return [
            ("nothing", lambda: None, 0, {}),
            ("rename", partial(change, "skills", REACT, name="JS"), 0, {"renamed": ['Skill "React" is "JS" now']}),
            ("case", partial(change, "skills", VUE, name="VUE"), 0, {"renamed": ['Skill "Vue" is "VUE" now']}),
            ("swap", self.swap, 0, {"renamed": swapped}),
            ("made anew", partial(self.recreate, REACT), 4, {"conflicts": [held("React", OTHER, REACT)]}),
            ("case twins", partial(add, "skills", OTHER, name="rEACT"), 4, {"conflicts": [twins]}),
            (
                "ours",
                partial(add, "skills", OTHER, name="JQ"),
                4,
                {"conflicts": [held("JQ", OTHER, self.ours)]},
            ),
            ("chain", self.chain, 4, {"conflicts": chained}),
            ("rated", partial(delete, "skills", REACT), 0, {"retired": ['Skill "React": not at PeopleDepot']}),
            ("return", self.retire_and_return, 0, {"returned": ['Skill "React"']}),
            ("long", partial(add, "skills", name=long), 0, {"added": [f'Skill "{long}"']}),
            ("hide", partial(change, "projects", DATA, hide=True), 0, {"retired": ['Project "311 Data": hidden']}),
            ("end", partial(change, "projects", DATA, completed_on="2026-11-01"), 0, {"retired": completed}),
            ("secret", partial(add, "projects", name="Secret"), 0, {}),
            ("title", partial(add, "modern-job-titles", title="Writer"), 0, writer),
            ("area", self.move_area, 0, {"adopted": [f"Community engineering takes the id {OTHER}"]}),
        ]

    def swap(self) -> None:
        """Exchange two names."""
        self.depot.change("skills", REACT, name="Angular")
        self.depot.change("skills", ANGULAR, name="React")

    def recreate(self, id_: UUID) -> None:
        """Delete a skill and make it again under another id."""
        name = self.depot.lists["skills"][id_]["name"]
        self.depot.delete("skills", id_)
        self.depot.add("skills", OTHER, name=name)

    def chain(self) -> None:
        """Have one skill take the name of ours, and another one its name."""
        self.depot.change("skills", REACT, name="jQ")
        self.depot.change("skills", ANGULAR, name="React")

    def retire_and_return(self) -> None:
        """Delete a skill, run, and bring it back under its id."""
        row = self.depot.lists["skills"].pop(REACT)
        sync()
        self.depot.lists["skills"][REACT] = row

    def move_area(self) -> None:
        """Give a practice area another id."""
        (area,) = (id_ for id_, row in self.depot.lists["practice-areas"].items() if row["name"] == "Development")
        self.depot.delete("practice-areas", area)
        self.depot.add("practice-areas", OTHER, name="Development")

    def test_operator_reads_in_the_plan_what_is_done_then(self) -> None:
        """A dry run writes nothing and says all that the run says; the run after it finds nothing to do."""
        self.ours = make_skill(name="jQ").pk
        lists = deepcopy(self.depot.lists)
        for case, change, status, plan in self.cases():
            with self.subTest(case), transaction.atomic():
                change()
                before, runs = stored(), SyncRun.objects.count()
                foreseen = sync(dry_run=True)
                self.assertEqual((stored(), SyncRun.objects.count()), (before, runs))
                self.assertEqual(sync(), foreseen)
                self.assertEqual((foreseen[0], self.plan()), (status, plan))
                self.assertEqual(stored() == before, plan.keys() <= {"conflicts"})
                written = versions()
                self.assertEqual(sync()[0], status)
                self.assertEqual(versions(), written)
                self.assertEqual(self.plan().keys() - {"conflicts", "waiting"}, set())
                self.assertEqual(SkillMatrix.objects.get(volunteer=self.volunteer).levels, self.levels)
                transaction.set_rollback(True)
            self.depot.lists = deepcopy(lists)

    def test_operator_finds_the_plan_carried_out(self) -> None:
        """Names, ids and retirements are PeopleDepot's, and what changed has a new time."""
        self.swap()
        self.depot.delete("skills", VUE)
        self.depot.add("modern-job-titles", OTHER, title="Writer")
        before = Skill.objects.get(pk=REACT).updated_at
        sync()
        rows = {row.pk: (row.name, row.retired_at is not None) for row in Skill.objects.all()}
        self.assertEqual(rows, {REACT: ("Angular", False), ANGULAR: ("React", False), VUE: ("Vue", True)})
        self.assertGreater(Skill.objects.get(pk=REACT).updated_at, before)
        writer = Role.objects.get(pk=OTHER)
        self.assertEqual((writer.title, writer.source, writer.community_of_practice), ("Writer", "peopledepot", None))
        self.assertEqual(Project.objects.get().people_depot_project_id, DATA)
        self.assertEqual(CommunityOfPractice.objects.get(practice_area="ui_ux").people_depot_id, UUID(int=3))

    def test_operator_runs_ten_times_and_keeps_what_is_ours(self) -> None:
        """Communities, meeting times and descriptions stay through all renamings, retirements and returns."""

        def ours() -> Any:
            links = Skill.communities_of_practice.through._default_manager.order_by("pk").values_list()
            texts = Skill.objects.order_by("pk").values_list("pk", "description")
            role, project = Role.objects.get(), Project.objects.get()
            return [list(links), list(texts), role.community_of_practice, project.meeting_times]

        before = ours()
        for number in range(10):
            self.depot.change("projects", DATA, name=f"311 Data {number}", hide=number % 2 == 1)
            self.depot.change("modern-job-titles", DEVELOPER, title=f"Developer {number}")
            self.swap() if number % 2 else self.depot.change("skills", REACT, name=f"React {number}")
            self.assertEqual(sync()[0], 0)
        self.assertEqual(ours(), before)


class GuardTests(SyncCase):
    """Runs that write nothing."""

    def assert_nothing_is_written(self, outcome: str, status: int, reason: str, **options: Any) -> None:
        """Run, and find a record that says why nothing else was written."""
        before = stored()
        self.assertEqual(sync(**options)[0], status)
        self.assertEqual(stored(), before)
        run = SyncRun.objects.latest("pk")
        self.assertEqual(run.outcome, outcome)
        self.assertIn(reason, run.reason)
        self.assertNotIn(TOKEN, run.reason)

    def test_operator_is_asked_before_much_is_taken_away(self) -> None:
        """More than five and a fifth of a catalog, or a list that is empty; only the very number lets it pass."""
        more = [self.depot.add("skills", name=f"Skill {number}") for number in range(27)]
        sync()
        for id_ in more[:6]:
            self.depot.delete("skills", id_)
        self.assertEqual(sync()[0], 0)  # 6 of 30
        for id_ in more[6:8]:
            self.depot.delete("skills", id_)
        for id_ in more[8:11]:
            self.depot.change("skills", id_, name=str(id_))
        with override_settings(PEOPLEDEPOT_MAX_RETIRED_PERCENT=0):
            self.assertEqual(sync(dry_run=True)[0], 0)  # five are always few
        self.depot.change("skills", more[11], name="Defaced")
        reason = "6 of 24 skills would be retired or renamed. If that is right: --allow-retire 6"
        self.assert_nothing_is_written("refused", 1, reason)
        self.assert_nothing_is_written("refused", 1, "Not 5 but 6", allow_retire=5)
        self.assertEqual(sync(allow_retire=6)[0], 0)
        self.depot.lists["projects"].clear()
        self.assert_nothing_is_written("refused", 1, "PeopleDepot's list of projects is empty, and 1 are in use")
        self.assertEqual(sync(allow_retire=1)[0], 0)

    def test_operator_reads_why_nothing_is_written(self) -> None:
        """Whichever list is no list, and wherever the database fails, all stays as it was."""
        for name in ("skills", "practice-areas"):
            self.depot.add("skills", name="New")
            for answer, reason in (
                (say(401, b'{"detail": "Error decoding token."}'), "it refuses the token (401)"),
                (say(200, b"<html>", "text/html"), "JSON"),
                (say(200, b'[{"uuid":'), "truncated"),
                (say(302, Location="https://example.org/"), "redirects"),
                (say(200, b'[{"uuid": 1, "name": "x"}]'), "row 1"),
            ):
                with self.subTest(name=name, reason=reason):
                    self.depot.fail(name, answer)
                    self.assert_nothing_is_written("failed", 1, reason)
            self.depot.failures.clear()
        with patch.object(CatalogQuerySet, "bulk_create", side_effect=DatabaseError("disk full")):
            self.assert_nothing_is_written("failed", 1, "disk full")

    def test_operator_starts_a_second_run_in_vain(self) -> None:
        """It ends at once with 3, and leaves no record."""
        runs = SyncRun.objects.count()
        with other_connection() as other:
            other.execute("SELECT pg_advisory_lock(%s)", [SYNC_LOCK])
            self.assertEqual(sync(), (3, "Another synchronisation is on."))
            other.execute("SELECT pg_advisory_unlock_all()")  # a connection's end frees its locks a little later
        self.assertEqual(SyncRun.objects.count(), runs)
        self.assertEqual(sync()[0], 0)

    def test_operator_is_refused_what_makes_no_sense(self) -> None:
        """Without the switch only adoptions run, without an address nothing, and repeatedly only plain runs."""
        with override_settings(CATALOG_SOURCE="local"):
            self.assertEqual([sync()[0], sync(dry_run=True)[0], sync(adopt=True)[0]], [1, 1, 0])
            with override_settings(PEOPLEDEPOT_URL=""):
                self.assertIn("PEOPLEDEPOT_URL", sync(adopt=True)[1])
        for option in ("dry_run", "adopt", "allow_retire"):
            self.assertIn("--every", sync(every=15, **{option: True})[1])
        self.assertIn("--every", sync(every=0)[1])

    def test_operator_has_it_run_again_and_again(self) -> None:
        """After a failure as well, that of the database included; the newest records are kept."""
        self.depot.fail("skills", say(401), times=1)
        output = StringIO()
        pauses = patch("time.sleep", side_effect=[None, None, None, KeyboardInterrupt])
        lost = [InterfaceError("the connection is closed"), DEFAULT, DEFAULT]
        self.enterContext(patch.object(PeopleDepotClient, "practice_areas", side_effect=lost, return_value=[]))
        self.enterContext(patch("ctj_api.catalog.sync.KEPT_RUNS", 3))
        with pauses as slept, patch.object(connection, "close"), self.assertRaises(KeyboardInterrupt):
            call_command("sync_peopledepot", every=15, stdout=output, stderr=output)
        self.assertEqual([call.args for call in slept.call_args_list], [(900,)] * 4)
        self.assertIn(
            "Failed: nothing was changed. PeopleDepot's skills: it refuses the token (401).", output.getvalue()
        )
        self.assertEqual([run.outcome for run in SyncRun.objects.all()], ["done", "done", "failed"])
