"""``manage.py sync_peopledepot``: what it plans, says, writes and leaves; with ``--adopt``, ids and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from io import StringIO
from typing import Any
from unittest.mock import DEFAULT, patch
from uuid import UUID, uuid4, uuid5

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, InterfaceError, connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from rest_framework.test import APIClient

from ctj_api.catalog.sync import SYNC_LOCK, SyncCollector
from ctj_api.clients.peopledepot import PeopleDepotClient
from ctj_api.models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, SyncRun, UserProfile

from . import common as make
from .databases import LEFT_OUT, table_digests
from .people_depot import TOKEN, PeopleDepot
from .stand_in import say

REACT, ANGULAR, VUE, CPP, DEVELOPER, DATA, OTHER = (UUID(int=number) for number in range(1, 8))
SKILLS = {"React": REACT, "Angular": ANGULAR, "Vue": VUE, "C++": CPP}
IGNORED = {"ignored": ['Practice area "Professional Development" is none of our communities']}
KINDS = ("skills", "roles", "projects")
ADOPTING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%TRIGGER skill_rated_stays%'"
TRIGGERS = "SELECT array_agg((tgname, tgenabled)::text ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal"
HOLDING_LOCK = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"


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
    tables, reader = ("skill", "role", "project", "communityofpractice"), make.browser()
    rows = [make.execute(f"SELECT array_agg((id, xmin)::text ORDER BY id) FROM ctj_api_{table}") for table in tables]
    return [*rows, *(reader.get(f"/api/{kind}/")["ETag"] for kind in KINDS)]


def make_site(depot: PeopleDepot) -> UserProfile:
    """Make rows of ours and theirs of the same names, listings that refer to ours, and a volunteer, and return them."""
    skills = [make.make_skill(name=name, description=f"About {name}") for name in SKILLS]
    skills[0].communities_of_practice.set(CommunityOfPractice.objects.all()[:2])
    project, role = make.make_project(name="311 Data", meeting_times=make.WEEK), make.make_role(title="Developer")
    for number, skill in enumerate(skills):
        depot.add("skills", SKILLS[skill.name], name=skill.name)
        make.make_opportunity({skill: number + 1, skills[0]: 2}, project=project, role=role)
    depot.add("modern-job-titles", DEVELOPER, title="Developer")
    depot.add("projects", DATA, name="311 Data", hide=False)
    LogEntry.objects.log_actions(make.make_admin_user().pk, skills[:1], CHANGE, "Changed.")
    return make.make_regular_user(dict.fromkeys(skills, 3), email="ana@example.org")


def held(name: str, theirs: UUID, ours: UUID) -> str:
    """Return what a plan says of a skill whose name a row of ours has."""
    return f'Skill "{name}" has the id {theirs}, and ours of this name {ours}: --adopt gives it theirs'


def in_names() -> Any:
    """Return what all rows say, with names for the ids of skills, roles and projects."""
    names = Skill.objects.names()
    columns = ("pk", "updated_at", "project__name", "project__meeting_times", "role__title")
    listings = Opportunity.objects.order_by("pk").values_list(*columns, "role__community_of_practice")
    owned = SkillMatrix.objects.order_by("pk").values_list("opportunity", "volunteer", "levels")
    matrices = [(*owners, {names[skill]: level for skill, level in levels.items()}) for *owners, levels in owned]
    skills = Skill.objects.exclude(description="").values_list("name", "description", "communities_of_practice")
    return list(listings), matrices, sorted(map(str, skills))


def answers(client: APIClient) -> Any:
    """Return what a volunteer is matched with, and what searches find, as far as it names no id."""
    matches = client.get("/api/users/me/matches/").json()
    texts = ("react", "developer", "data 311", "c++")
    found = [client.get("/api/opportunities/", {"search": text}).json() for text in texts]
    matched = [(match["opportunity"]["id"], match["score"]) for match in matches]
    return matched, [[row["id"] for row in rows] for rows in found]


def ended() -> dict[str, float]:
    """Return what the metrics say of when runs ended."""
    (family,) = SyncCollector().collect()
    return {sample.labels["outcome"]: sample.value for sample in family.samples if sample.value}


class SyncRunTests(TestCase):
    """Rows of ours that have got PeopleDepot's ids by an adoption."""

    def setUp(self) -> None:
        """Adopt them."""
        self.depot = self.enterContext(PeopleDepot())
        self.enterContext(self.depot.settings())
        self.volunteer = make_site(self.depot)
        self.assertEqual(sync(adopt=True)[0], 0)

    def plan(self) -> dict[str, list[str]]:
        """Return the plan of the last run, but for the practice area that is never ours."""
        plan: dict[str, list[str]] = SyncRun.objects.latest("pk").plan
        return {kind: lines for kind, lines in plan.items() if (kind, lines) not in IGNORED.items()}

    def cases(self) -> list[tuple[str, Callable[[], Any], int, dict[str, list[str]]]]:
        """Return what is changed there, with the exit status and the plan that follow."""
        add, change, delete, recreate = self.depot.add, self.depot.change, self.depot.delete, self.depot.recreate
        engineering = f"Community engineering takes the id {OTHER}"
        long, twins = "x" * 255, 'Skill "React" and "rEACT" differ in case only: rename one at PeopleDepot'
        swapped = ['Skill "Angular" is "React" now', 'Skill "React" is "Angular" now']
        chained = [held("React", ANGULAR, REACT), held("jQ", REACT, self.ours)]
        completed = ['Project "311 Data": completed on 2026-11-01']
        writer = {"added": ['Role "Writer"'], "waiting": ['Role "Writer"']}
        return [
            ("nothing", lambda: None, 0, {}),
            ("rename", partial(change, "skills", REACT, name="JS"), 0, {"renamed": ['Skill "React" is "JS" now']}),
            ("case", partial(change, "skills", VUE, name="VUE"), 0, {"renamed": ['Skill "Vue" is "VUE" now']}),
            ("swap", self.rename_two, 0, {"renamed": swapped}),
            ("made anew", partial(recreate, "skills", REACT, OTHER), 4, {"conflicts": [held("React", OTHER, REACT)]}),
            ("case twins", partial(add, "skills", OTHER, name="rEACT"), 4, {"conflicts": [twins]}),
            ("ours", partial(add, "skills", OTHER, name="JQ"), 4, {"conflicts": [held("JQ", OTHER, self.ours)]}),
            ("chain", partial(self.rename_two, "jQ"), 4, {"conflicts": chained}),
            ("rated", partial(delete, "skills", REACT), 0, {"retired": ['Skill "React": not at PeopleDepot']}),
            ("return", self.retire_and_return, 0, {"returned": ['Skill "React"']}),
            ("long", partial(add, "skills", name=long), 0, {"added": [f'Skill "{long}"']}),
            ("hide", partial(change, "projects", DATA, hide=True), 0, {"retired": ['Project "311 Data": hidden']}),
            ("end", partial(change, "projects", DATA, completed_on="2026-11-01"), 0, {"retired": completed}),
            ("secret", partial(add, "projects", name="Secret"), 0, {}),
            ("title", partial(add, "modern-job-titles", title="Writer"), 0, writer),
            ("area", partial(recreate, "practice-areas", UUID(int=1), OTHER), 0, {"adopted": [engineering]}),
        ]

    def rename_two(self, name: str = "Angular") -> None:
        """Rename a skill, and have another one take the name that it had."""
        self.depot.change("skills", REACT, name=name)
        self.depot.change("skills", ANGULAR, name="React")

    def retire_and_return(self) -> None:
        """Delete a skill, run, and bring it back under its id."""
        row = self.depot.lists["skills"].pop(REACT)
        sync()
        self.depot.lists["skills"][REACT] = row

    def test_operator_reads_in_the_plan_what_is_done_then(self) -> None:
        """A dry run writes nothing and says all that the run says; the run after it finds nothing to do."""
        self.ours, levels = make.make_skill(name="jQ").pk, {str(id_): 3 for id_ in SKILLS.values()}
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
                self.assertEqual(SkillMatrix.objects.get(volunteer=self.volunteer).levels, levels)
                transaction.set_rollback(True)
            self.depot.lists = deepcopy(lists)

    def test_operator_finds_the_plan_carried_out(self) -> None:
        """Names, ids and retirements are PeopleDepot's, and what changed has a new time."""
        self.rename_two()
        self.depot.delete("skills", VUE)
        self.depot.add("modern-job-titles", OTHER, title="Writer")
        before = Skill.objects.get(pk=REACT).updated_at
        sync()
        rows = {row.pk: (row.name, row.retired_at is not None) for row in Skill.objects.all()}
        told = {REACT: ("Angular", False), ANGULAR: ("React", False), VUE: ("Vue", True), CPP: ("C++", False)}
        self.assertEqual(rows, told)
        self.assertGreater(Skill.objects.get(pk=REACT).updated_at, before)
        writer = Role.objects.get(pk=OTHER)
        self.assertEqual((writer.title, writer.source, writer.community_of_practice), ("Writer", "peopledepot", None))
        self.assertEqual(CommunityOfPractice.objects.get(practice_area="ui_ux").people_depot_id, UUID(int=3))

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
        more = [self.depot.add("skills", name=f"Skill {number}") for number in range(26)]
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
        """Where a list is no list; a second run at the same time ends with 3, and leaves no record."""
        self.depot.add("skills", name="New")
        self.depot.fail("practice-areas", say(200, b'[{"uuid": 1, "name": "x"}]'))
        self.assert_nothing_is_written("failed", 1, "PeopleDepot's practice-areas: row 1")
        self.depot.failures.clear()
        runs = SyncRun.objects.count()
        with make.other_connection() as other:
            other.execute("SELECT pg_advisory_lock(%s)", [SYNC_LOCK])
            self.assertEqual(sync(), (3, "Another synchronisation is on."))
            other.execute("SELECT pg_advisory_unlock_all()")
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
        told = "Failed: nothing was changed. PeopleDepot's skills: it refuses the token (401)."
        self.assertIn(told, output.getvalue())
        self.assertEqual([run.outcome for run in SyncRun.objects.all()], ["done", "done", "failed"])


class AdoptionTests(TestCase):
    """Rows of ours, and a PeopleDepot with others of their names."""

    def setUp(self) -> None:
        """Have both, and the way to adopt before the switch."""
        self.depot = self.enterContext(PeopleDepot())
        self.enterContext(self.depot.settings(CATALOG_SOURCE="local"))
        self.volunteer = make_site(self.depot)

    def assert_same_but_for_ids(self) -> None:
        """Adopt, and find every id theirs and everything else as it was."""
        client = make.browser(self.volunteer)
        before, matches, on = in_names(), answers(client), make.execute(TRIGGERS)
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(in_names(), before)
        self.assertEqual(answers(client), matches)
        self.assertEqual(make.execute(TRIGGERS), on)
        for model, name in ((Skill, "skills"), (Role, "modern-job-titles"), (Project, "projects")):
            ids = set(model._default_manager.filter(source="peopledepot").values_list("pk", flat=True))
            self.assertEqual(ids, self.depot.lists[name].keys())
        self.assertEqual(Project.objects.get().people_depot_project_id, Project.objects.get().pk)
        self.assertEqual(LogEntry.objects.get(object_repr="React").object_id, str(Skill.objects.get(name="React").pk))

    def test_operator_adopts_and_everything_says_the_same(self) -> None:
        """Matrices, listings, communities, history, search, scores and orders; a second time nothing changes."""
        self.assert_same_but_for_ids()
        before = stored()
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(stored(), before)
        with self.assertRaises(IntegrityError), transaction.atomic():
            SkillMatrix.objects.filter(volunteer=self.volunteer).update(levels={str(UUID(int=99)): 1})

    def test_operator_adopts_from_another_instance(self) -> None:
        """Also where it has given the ids of the first one to other rows."""
        self.assert_same_but_for_ids()
        for rows in self.depot.lists.values():
            ids = list(rows)
            values = [rows.pop(id_) for id_ in ids]
            for id_, row in zip(ids, [*values[1:], *values[:1]], strict=True):
                rows[id_] = row | {"uuid": str(id_)}
        self.depot.recreate("projects", DATA, uuid4())
        self.assert_same_but_for_ids()

    def test_operator_adopts_after_a_row_took_the_place_of_another(self) -> None:
        """Its id goes to our row of the name that it has now; the one that had it is retired, and no rating is lost."""
        self.assert_same_but_for_ids()
        self.depot.delete("skills", ANGULAR)
        self.depot.change("skills", REACT, name="Angular")
        before = in_names()
        with self.depot.settings():
            self.assertEqual(sync()[0], 4)
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(SyncRun.objects.latest("pk").plan["retired"], ['Skill "React": not at PeopleDepot'])
        self.assertEqual((in_names(), Skill.objects.get(name="Angular").pk), (before, REACT))

    def test_operator_is_told_what_adoption_retires_and_leaves(self) -> None:
        """Rows of ours without a counterpart, or with a hidden one, are retired; two for one stay as they are."""
        make.make_skill(name="jQuery")
        self.depot.add("projects", name="Hack")
        make.make_project(name="Hack")
        self.depot.add("modern-job-titles", OTHER, title="Data Engineer")
        areas = CommunityOfPractice.objects.all()[:2]
        twins = [make.make_role(title="Data Engineer", community_of_practice=area) for area in areas]
        make.make_role(title="Tester")
        self.depot.add("modern-job-titles", twins[0].pk, title="Tester")  # so that the twin gets a new id
        ids = " and ".join(sorted(map(str, (uuid5(twins[0].pk, "Data Engineer"), twins[1].pk))))
        before, foreseen = stored(), sync(adopt=True, dry_run=True)
        self.assertEqual(stored(), before)
        self.assertEqual((sync(adopt=True), foreseen[0]), (foreseen, 4))
        plan = SyncRun.objects.get().plan
        self.assertEqual(plan["retired"], ['Project "Hack": hidden', 'Skill "jQuery": not at PeopleDepot'])
        told = f'Role "Data Engineer" has the id {OTHER}, and ours of this name {ids}: rename or merge ours'
        self.assertEqual(plan["conflicts"], [told])
        self.assertEqual(Role.objects.filter(title="Data Engineer", retired_at=None).count(), 2)
        for number in range(10):
            make.make_skill(name=f"Mistake {number}")
        before = stored()
        status, said = sync(adopt=True)
        self.assertEqual((status, stored()), (1, before))
        self.assertIn("10 of 14 skills would be retired or renamed. If that is right: --allow-retire 10", said)

    def test_operator_loses_nothing_by_a_failure(self) -> None:
        """Whatever fails after the ids are changed, all is as it was, triggers included."""
        before, on = stored(), make.execute(TRIGGERS)
        with patch("ctj_api.catalog.sync._write_rows", side_effect=DatabaseError("disk full")):
            self.assertEqual(sync(adopt=True)[0], 1)
        self.assertEqual(SyncRun.objects.values_list("outcome", "reason").get(), ("failed", "disk full"))
        self.assertEqual((stored(), make.execute(TRIGGERS)), (before, on))

    def test_operator_goes_there_and_back(self) -> None:
        """After a week of changes nothing is lost, our catalog is ours to edit, and the way there is open again."""
        before = in_names()
        with self.depot.settings():
            self.assertEqual(sync(adopt=True)[0], 0)
            for day in range(7):
                self.depot.change("skills", REACT, name=f"React {day}")
                self.depot.change("modern-job-titles", DEVELOPER, title=f"Developer {day}")
                self.depot.add("skills", name=f"New {day}")
                self.depot.change("projects", DATA, hide=day % 2 == 0)
                if day == 3:
                    self.depot.delete("skills", VUE)
                    self.depot.change("skills", ANGULAR, name="Vue.js")
                self.assertEqual(sync()[0], 0)
        self.assertEqual(sync()[0], 1)
        for id_, name in ((REACT, "React"), (ANGULAR, "Angular")):
            Skill.objects.filter(pk=id_).update(name=name)
        Role.objects.update(title="Developer")
        self.assertEqual(in_names(), before)
        with self.depot.settings():
            self.assertEqual(sync()[0], 0)
            self.assertEqual(Skill.objects.get(pk=ANGULAR).name, "Vue.js")


class InterruptedAdoptionTests(TransactionTestCase):
    """A process of its own that adopts, seen from outside while it is at it."""

    serialized_rollback = True

    def test_operator_kills_an_adoption_and_finds_all_as_it_was(self) -> None:
        """Meanwhile reads are answered, and a write gets 503 with ``Retry-After``; afterwards another run does it."""
        depot = self.enterContext(PeopleDepot())
        self.enterContext(depot.settings(CATALOG_SOURCE="local"))
        client = make.browser(make_site(depot))
        before = stored()
        with make.other_connection() as other:
            other.execute("SELECT FROM django_admin_log FOR UPDATE")
            environment = {"PEOPLEDEPOT_URL": depot.url, "PEOPLEDEPOT_TOKEN": TOKEN, "DJANGO_DEBUG": "true"}
            environment |= {"DJANGO_SECRET_KEY": "unused", "SQL_DATABASE": connection.settings_dict["NAME"]}
            command = [sys.executable, "manage.py", "sync_peopledepot", "--adopt"]
            adoption = subprocess.Popen(command, cwd=settings.BASE_DIR, env=os.environ | environment)
            self.addCleanup(adoption.kill)
            make.wait_until(lambda: make.execute(ADOPTING) is not None)
            self.assertEqual(len(answers(client)[0]), len(SKILLS))
            make.execute("SET lock_timeout = 100")
            levels = {"skills_learned_matrix": {str(Skill.objects.get(name="React").pk): 5}}
            refused = client.patch("/api/users/me/", levels)
            self.assertEqual((refused.status_code, refused.headers["Retry-After"]), (503, "5"))
            adoption.send_signal(signal.SIGKILL)
            adoption.wait()
        make.wait_until(lambda: make.execute(HOLDING_LOCK, SYNC_LOCK) is None)
        self.assertEqual(stored(), before)
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(client.patch("/api/users/me/", {"first_name": "Ana"}).status_code, 200)
        with depot.settings():
            self.assertEqual(ended(), {"done": SyncRun.objects.get().ended_at.timestamp()})
            with patch.object(SyncRun.objects, "order_by", side_effect=DatabaseError):
                self.assertEqual(ended(), {})
        self.assertEqual(ended(), {})
