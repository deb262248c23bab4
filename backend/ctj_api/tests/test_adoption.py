"""``sync_peopledepot --adopt``: our rows get PeopleDepot's ids, and nothing else changes."""

import os
import signal
import subprocess
import sys
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid5

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase
from rest_framework.test import APIClient

from ctj_api.catalog.sync import SYNC_LOCK
from ctj_api.catalog.sync_metrics import SyncCollector
from ctj_api.models import CommunityOfPractice, Opportunity, Project, Role, Skill, SkillMatrix, SyncRun, UserProfile

from .common import (
    WEEK,
    browser,
    make_admin_user,
    make_opportunity,
    make_project,
    make_regular_user,
    make_role,
    make_skill,
    other_connection,
    wait_until,
)
from .people_depot import TOKEN, PeopleDepot
from .test_sync import stored, sync

NAMES = ("React", "Angular", "Vue", "C++")


def in_names() -> Any:
    """Return what all rows say, with names for the ids of skills, roles and projects."""
    names = Skill.objects.names()
    listings = Opportunity.objects.order_by("pk").values_list("pk", "project__name", "role__title", "updated_at")
    owned = SkillMatrix.objects.order_by("pk").values_list("opportunity", "volunteer", "levels")
    matrices = [(*owners, {names[skill]: level for skill, level in levels.items()}) for *owners, levels in owned]
    links = Skill.communities_of_practice.through._default_manager.values_list("skill__name", "communityofpractice")
    return list(listings), matrices, sorted(links)


def answers(client: APIClient) -> Any:
    """Return what a volunteer is matched with, and what searches find, as far as it names no id."""
    matches = client.get("/api/users/me/matches/").json()
    found = [
        [row["id"] for row in client.get("/api/opportunities/", {"search": text}).json()]
        for text in ("react", "developer", "data 311", "c++")
    ]
    return [(match["opportunity"]["id"], match["score"]) for match in matches], found


def ended() -> dict[str, float]:
    """Return what the metrics say of when runs ended."""
    (family,) = SyncCollector().collect()
    return {sample.labels["outcome"]: sample.value for sample in family.samples if sample.value}


def trigger_states() -> Any:
    """Return which triggers are on."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname")
        return cursor.fetchall()


def make_site(depot: PeopleDepot) -> UserProfile:
    """Make rows of ours and theirs of the same names, a listing and a volunteer, and return the latter."""
    skills = [make_skill(name=name, description=f"About {name}") for name in NAMES]
    skills[0].communities_of_practice.set(CommunityOfPractice.objects.all()[:2])
    project, role = make_project(name="311 Data", meeting_times=WEEK), make_role(title="Developer")
    for number, skill in enumerate(skills):
        depot.add("skills", name=skill.name)
        make_opportunity({skill: number + 1, skills[0]: 2}, project=project, role=role)
    depot.add("modern-job-titles", title="Developer")
    depot.add("projects", name="311 Data", hide=False)
    LogEntry.objects.log_actions(make_admin_user().pk, skills[:1], CHANGE, "Changed.")
    return make_regular_user(dict.fromkeys(skills, 3), email="ana@example.org")


class AdoptionTests(TestCase):
    """Rows of ours, and a PeopleDepot with others of their names."""

    def setUp(self) -> None:
        """Have both, and the way to adopt before the switch."""
        self.depot = self.enterContext(PeopleDepot())
        self.enterContext(self.depot.settings(CATALOG_SOURCE="local"))
        self.volunteer = make_site(self.depot)

    def assert_same_but_for_ids(self) -> None:
        """Adopt, and find every id theirs and everything else as it was."""
        client = browser(self.volunteer)
        before, matches, on = in_names(), answers(client), trigger_states()
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(in_names(), before)
        self.assertEqual(answers(client), matches)
        self.assertEqual(trigger_states(), on)
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
        self.depot.recreate("projects", next(iter(self.depot.lists["projects"])))
        self.assert_same_but_for_ids()

    def test_operator_adopts_after_a_row_took_the_place_of_another(self) -> None:
        """Its id goes to our row of the name that it has now; the one that had it is retired, and no rating is lost."""
        self.assert_same_but_for_ids()
        react, angular = (Skill.objects.get(name=name).pk for name in NAMES[:2])
        self.depot.delete("skills", angular)
        self.depot.change("skills", react, name="Angular")
        before = in_names()
        with self.depot.settings():
            self.assertEqual(sync()[0], 4)
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(SyncRun.objects.latest("pk").plan["retired"], ['Skill "React": not at PeopleDepot'])
        self.assertEqual((in_names(), Skill.objects.get(name="Angular").pk), (before, react))

    def test_operator_is_told_what_adoption_retires_and_leaves(self) -> None:
        """Rows of ours without a counterpart, or with a hidden one, are retired; two for one stay as they are."""
        make_skill(name="jQuery")
        self.depot.add("projects", name="Hack")
        make_project(name="Hack")
        self.depot.add("modern-job-titles", UUID(int=5), title="Data Engineer")
        twins = [
            make_role(title="Data Engineer", community_of_practice=area)
            for area in CommunityOfPractice.objects.all()[:2]
        ]
        make_role(title="Tester")
        self.depot.add("modern-job-titles", twins[0].pk, title="Tester")  # so that the twin gets a new id
        ids = " and ".join(sorted(map(str, (uuid5(twins[0].pk, "Data Engineer"), twins[1].pk))))
        before, foreseen = stored(), sync(adopt=True, dry_run=True)
        self.assertEqual(stored(), before)
        self.assertEqual((sync(adopt=True), foreseen[0]), (foreseen, 4))
        plan = SyncRun.objects.get().plan
        self.assertEqual(plan["retired"], ['Project "Hack": hidden', 'Skill "jQuery": not at PeopleDepot'])
        told = f'Role "Data Engineer" has the id {UUID(int=5)}, and ours of this name {ids}: rename or merge ours'
        self.assertEqual(plan["conflicts"], [told])
        self.assertEqual(Role.objects.filter(title="Data Engineer", retired_at=None).count(), 2)
        for number in range(10):
            make_skill(name=f"Mistake {number}")
        before = stored()
        status, said = sync(adopt=True)
        self.assertEqual((status, stored()), (1, before))
        self.assertIn("10 of 14 skills would be retired or renamed. If that is right: --allow-retire 10", said)

    def test_operator_loses_nothing_by_a_failure(self) -> None:
        """Whatever fails after the ids are changed, all is as it was, triggers included."""
        before, on = stored(), trigger_states()
        with patch("ctj_api.catalog.sync._write_rows", side_effect=DatabaseError("disk full")):
            self.assertEqual(sync(adopt=True)[0], 1)
        self.assertEqual((stored(), trigger_states()), (before, on))

    def test_operator_goes_there_and_back(self) -> None:
        """After a week of changes nothing is lost, our catalog is ours to edit, and the way there is open again."""
        before = in_names()
        with self.depot.settings():
            self.assertEqual(sync(adopt=True)[0], 0)
            react, angular, vue, _ = (Skill.objects.get(name=name).pk for name in NAMES)
            for day in range(7):
                self.depot.change("skills", react, name=f"React {day}")
                self.depot.add("skills", name=f"New {day}")
                self.depot.change("projects", Project.objects.get().pk, hide=day % 2 == 0)
                if day == 3:
                    self.depot.delete("skills", vue)
                    self.depot.change("skills", angular, name="Vue.js")
                self.assertEqual(sync()[0], 0)
        self.assertEqual(sync()[0], 1)
        back = {react: "React", angular: "Angular"}
        for id_, name in back.items():
            Skill.objects.filter(pk=id_).update(name=name)
        self.assertEqual(in_names(), before)
        with self.depot.settings():
            self.assertEqual(sync()[0], 0)
            self.assertEqual(Skill.objects.get(pk=angular).name, "Vue.js")


class InterruptedAdoptionTests(TransactionTestCase):
    """A process of its own that adopts, seen from outside while it is at it."""

    serialized_rollback = True

    def test_operator_kills_an_adoption_and_finds_all_as_it_was(self) -> None:
        """Meanwhile reads are answered, and a write gets 503 with ``Retry-After``; afterwards another run does it."""
        depot = self.enterContext(PeopleDepot())
        self.enterContext(depot.settings(CATALOG_SOURCE="local"))
        client = browser(make_site(depot))
        before = stored()
        with other_connection() as other:
            other.execute("SELECT FROM django_admin_log FOR UPDATE")
            adoption = self.start_adoption(depot)
            self.addCleanup(adoption.kill)
            wait_until(self.is_adopting)
            self.assertEqual(len(answers(client)[0]), len(NAMES))
            with connection.cursor() as cursor:
                cursor.execute("SET lock_timeout = 100")
            levels = {"skills_learned_matrix": {str(Skill.objects.get(name="React").pk): 5}}
            refused = client.patch("/api/users/me/", levels)
            self.assertEqual((refused.status_code, refused.headers["Retry-After"]), (503, "5"))
            adoption.send_signal(signal.SIGKILL)
            adoption.wait()
        wait_until(self.is_over)
        self.assertEqual(stored(), before)
        self.assertEqual(sync(adopt=True)[0], 0)
        self.assertEqual(client.patch("/api/users/me/", {"first_name": "Ana"}).status_code, 200)
        with depot.settings():
            self.assertEqual(ended(), {"done": SyncRun.objects.get().ended_at.timestamp()})
            with patch("ctj_api.catalog.sync_metrics._last_ends", side_effect=DatabaseError):
                self.assertEqual(ended(), {})
        self.assertEqual(ended(), {})

    def start_adoption(self, depot: PeopleDepot) -> subprocess.Popen[bytes]:
        """Start the command as an operator does."""
        used = connection.settings_dict
        environment = {
            "DJANGO_DEBUG": "true",
            "DJANGO_SECRET_KEY": "unused",
            "PEOPLEDEPOT_URL": depot.url,
            "PEOPLEDEPOT_TOKEN": TOKEN,
            "SQL_DATABASE": used["NAME"],
        }
        command = [sys.executable, "manage.py", "sync_peopledepot", "--adopt"]
        return subprocess.Popen(command, cwd=settings.BASE_DIR, env=os.environ | environment)

    def is_adopting(self) -> bool:
        """Return whether it waits for the row of the history."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE django_admin_log%'"
            )
            return cursor.fetchone() is not None

    def is_over(self) -> bool:
        """Return whether PostgreSQL has given up for it."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [SYNC_LOCK])
            return cursor.fetchone() is None
