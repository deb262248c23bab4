"""Retired skills, roles and projects: who has them keeps them, nobody adds them; and who keeps the catalogs."""

import json
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import TestCase, TransactionTestCase, override_settings
from django.urls import reverse
from django.utils import timezone

from ctj_api.catalog.demo import Demo
from ctj_api.catalog.source import KEPT_ELSEWHERE
from ctj_api.models import Opportunity, Role, Skill, UserProfile
from ctj_api.validators import RETIRED

from . import common as make
from .test_history import form_of, messages, payload_of

URL = "/api/opportunities/"
ME = "/api/users/me/"
KINDS = ("skill", "role", "project")
REQUIRED, LEARNED = "skills_required_matrix", "skills_learned_matrix"
ELSEWHERE = override_settings(CATALOG_SOURCE="peopledepot", DEBUG=True)
HELD_UP = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def page(model: str, name: str, *args: object, **query: str) -> str:
    """Return the path of an admin page."""
    return reverse(f"admin:ctj_api_{model}_{name}", args=args, query=query or None)


def make_rows() -> dict[str, Any]:
    """Return a skill, a role and a project."""
    return {"skill": make.make_skill(), "role": make.make_role(), "project": make.make_project()}


def listed(client: Any, kind: str, **query: str) -> list[Any]:
    """Return the rows of a list in the admin."""
    return list(client.get(page(kind, "changelist", **query)).context["cl"].result_list)


class CatalogTests(TestCase):
    """A retired skill, role and project that a listing and a volunteer have, and a current one of each."""

    def setUp(self) -> None:
        """Make the rows, and those who look at them."""
        self.pm, self.desk = make.make_pm_user(), make.form_client(make.make_admin_user())
        self.retired, self.current = make_rows(), make_rows()
        self.skill = self.retired["skill"]
        one, two = ({kind: rows[kind] for kind in ("role", "project")} for rows in (self.retired, self.current))
        self.listing = make.make_opportunity({self.skill: 3}, created_by=self.pm, **one)
        self.other = make.make_opportunity(created_by=self.pm, **two)
        self.volunteer = make.make_regular_user({self.skill: 3})
        self.etags = {kind: self.client.get(f"/api/{kind}s/")["ETag"] for kind in KINDS}
        for row in self.retired.values():
            row.retired_at = timezone.now()
            row.save()
        self.client.force_login(self.pm)

    def test_anyone_lists_current_rows_and_reads_retired_ones_by_id(self) -> None:
        """The ETags of the lists change; what has a retired row goes on naming it, and being matched by it."""
        for kind, row in self.retired.items():
            with self.subTest(kind):
                response = self.client.get(f"/api/{kind}s/", HTTP_IF_NONE_MATCH=self.etags[kind])
                self.assertEqual([each["id"] for each in response.json()], [str(self.current[kind].pk)])
                self.assertEqual(self.client.get(f"/api/{kind}s/{row.pk}/").status_code, 200)
                (found,) = self.client.get(URL, {kind: str(row.pk)}).json()
                names = (found["skills_required"][0]["name"], found["role_title"], found["project_name"])
                self.assertEqual(names, tuple(map(str, self.retired.values())))
        self.assertEqual(self.client.get("/api/skills/", {"search": str(self.skill)}).json(), [])
        (match,) = make.client_of(self.volunteer).get(f"{ME}matches/").json()
        self.assertEqual((match["score"], match["skills"][0]["name"]), (1, str(self.skill)))
        (match,) = self.client.get(f"{URL}{self.listing.pk}/matches/").json()
        self.assertEqual(match["volunteer"]["id"], str(self.volunteer.pk))

    def test_everyone_sees_current_rows_in_the_admin_and_administrators_retired_ones_by_a_filter(self) -> None:
        """In the lists, on the rows' pages, where words are completed, and in the filters of listings."""
        staff = make.form_client(make.make_staff_user("view_skill", "change_skill"))
        for client, kinds in ((self.client, KINDS), (staff, KINDS[:1]), (self.desk, KINDS)):
            for kind in kinds:
                row, is_managed = self.retired[kind], client is self.desk
                with self.subTest(kind, client=client):
                    self.assertEqual(listed(client, kind), [self.current[kind]])
                    self.assertEqual(listed(client, kind, q=str(row)), [])
                    opened = client.get(page(kind, "change", row.pk)).status_code == 200
                    self.assertEqual((opened, row in listed(client, kind, state="retired")), (is_managed,) * 2)
        query = {"app_label": "ctj_api", "model_name": "opportunity", "field_name": "project"}
        completed = self.desk.get(reverse("admin:autocomplete"), query).json()["results"]
        self.assertEqual([each["id"] for each in completed], [str(self.current["project"].pk)])
        make.make_opportunity(project=(project := make.make_project()))
        shown = self.desk.get(page("opportunity", "changelist")).context["cl"].filter_specs
        filters = {each.title: each for each in shown}
        chosen = {pk for pk, _ in filters["project"].lookup_choices}
        self.assertEqual(chosen, {self.current["project"].pk, project.pk})
        self.assertFalse(filters["community of practice"].include_empty_choice)

    def test_volunteers_and_pms_keep_what_they_have_and_add_nothing_retired(self) -> None:
        """A level may change; who adds is told what is retired, by name; what was taken out can't come back."""
        api, url, other = make.client_of(self.pm), f"{URL}{self.listing.pk}/", f"{URL}{self.other.pk}/"
        levels = {str(self.skill.pk).upper(): 5, str(self.current["skill"].pk): 1}
        self.assertEqual(api.put(url, payload_of(self.listing, **{REQUIRED: levels})).status_code, 200)
        for kind, row in self.retired.items():
            field, form_field = (REQUIRED, "skill_levels") if kind == "skill" else (kind, kind)
            added = {field: {str(row.pk): 1} if kind == "skill" else str(row.pk)}
            posted = api.post(URL, make.opportunity_payload(**added))
            for response in (posted, api.put(other, payload_of(self.other, **added))):
                with self.subTest(kind):
                    self.assertEqual(make.error_of(response)["fields"], {field: [RETIRED.format(row)]})
            form = form_of(make.opportunity_payload(status="draft", **added))
            shown = self.client.post(page("opportunity", "add"), form)
            self.assertEqual(list(shown.context["adminform"].form.errors), [form_field])
        statuses = [api.put(url, payload_of(listing)).status_code for listing in (self.other, self.listing)]
        self.assertEqual(statuses, [200, 400])
        save = partial(make.client_of(self.volunteer).patch, ME)
        for rated in ({str(self.skill.pk): 5}, levels, {}):
            self.assertEqual(save({LEARNED: rated}).status_code, 200)
        self.assertEqual(make.error_of(save({LEARNED: levels}))["fields"], {LEARNED: [RETIRED.format(self.skill)]})

    def test_pm_user_is_offered_what_is_current_and_what_the_listing_has(self) -> None:
        """And can save the form as it is."""
        change, add = page("opportunity", "change", self.listing.pk), page("opportunity", "add")
        for path, shown in ((change, 1), (add, 0)):
            html = self.client.get(path).content.decode()
            for row in self.retired.values():
                with self.subTest(path, row=str(row)):
                    self.assertEqual(html.count(f">{row}</option>") + html.count(f'<option value="{row}">'), shown)
        form = form_of(payload_of(self.listing, body="Anew"))
        self.assertEqual(self.client.post(change, form).status_code, 302)

    def test_administrator_cannot_newly_rate_a_retired_skill(self) -> None:
        """Neither for a volunteer, nor by a merging, nor by a file; a merging out of a retired one works."""
        current, path = self.current["skill"], page("userprofile", "change", make.make_regular_user().pk)
        answer = self.desk.post(path, form_of({REQUIRED: {str(self.skill.pk): 2}}) | {"email": "a@example.org"})
        self.assertEqual(answer.context["adminform"].form.errors["skill_levels"], [RETIRED.format(self.skill)])
        with self.assertRaisesMessage(Exception, RETIRED.format(self.skill)):
            Skill.objects.filter(pk=current.pk).merge_into(self.skill)
        file = SimpleUploadedFile("skills.csv", f"name,description\n{self.skill},New\n".encode())
        (row,) = self.desk.post(page("skill", "import"), {"import_file": file}).context["preview"].wrong_rows
        self.assertEqual(row.problems, [f'"{self.skill}" is retired: an administrator can bring it back.'])
        Skill.objects.filter(pk=self.skill.pk).merge_into(current)
        self.listing.skills_required_matrix.refresh_from_db()
        self.assertEqual(self.listing.skills_required_matrix.levels, {str(current.pk): 3})

    def test_operator_loading_and_seeding_leaves_retired_rows_alone(self) -> None:
        """A catalog file that names them neither changes nor repeats them, and no demo has them."""
        skill, role, project = self.retired.values()
        area = role.practice_area
        skills = [{"name": skill.name.upper(), "description": "New", "communities_of_practice": [area]}]
        roles = [{"title": role.title, "community_of_practice": area}]
        catalog = {"skills": skills, "roles": roles, "projects": [{"name": project.name}]}
        before = [list(type(row).objects.values()) for row in self.retired.values()]
        with NamedTemporaryFile(suffix=".json") as file:
            Path(file.name).write_text(json.dumps(catalog))
            call_command("load_catalog", file.name, stdout=StringIO())
        self.assertEqual([list(type(row).objects.values()) for row in self.retired.values()], before)
        self.assertFalse(skill.communities_of_practice.exists())
        demo = Demo(seed=1, password="")
        offered = {*demo.skills.values(), *(str(project.pk) for project in demo.projects)}
        offered |= {str(role.pk) for roles in demo.roles.values() for role in roles}
        self.assertEqual(offered, {str(row.pk) for row in self.current.values()})

    def test_administrator_brings_a_retired_row_back(self) -> None:
        """Nobody else, and only where the catalog is kept here; the history tells."""
        for client, source in ((self.client, "local"), (self.desk, "peopledepot"), (self.desk, "local")):
            is_back = client is self.desk and source == "local"
            for kind, row in self.retired.items():
                with self.subTest(kind, source=source), self.settings(CATALOG_SOURCE=source):
                    form = {"action": "bring_back", "_selected_action": [str(row.pk)]}
                    client.post(page(kind, "changelist", state="retired"), form)
                    row.refresh_from_db()
                    self.assertEqual((row.retired_at is None, messages(row)), (is_back, ["Brought back."] * is_back))

    def test_administrator_gives_a_waiting_title_its_community(self) -> None:
        """Until then it is nowhere; under either source, but not where the community has that title."""
        make.make_role(title="SCOUT", community_of_practice=(taken := make.make_cop("devops")))
        waiting = make.make_role(title="Scout", community_of_practice=None, source="peopledepot")
        told, path = f"/api/roles/{waiting.pk}/", page("role", "change", waiting.pk)
        self.assertEqual((self.client.get(told).status_code, self.client.get(path).status_code), (404, 302))
        self.assertNotIn(str(waiting.pk), str(self.client.get("/api/roles/").json()))
        self.assertNotContains(self.client.get(page("opportunity", "add")), f'value="{waiting.pk}"')
        response = make.client_of(self.pm).post(URL, make.opportunity_payload(role=str(waiting.pk)))
        self.assertEqual(make.error_of(response)["fields"], {"role": ["There is no such role. Choose another one."]})
        self.assertEqual(listed(self.desk, "role", state="waiting"), [waiting])
        form = {"community_of_practice": str(make.make_cop("ui_ux", name="Design").pk), "title": "Renamed"}
        for source in ("peopledepot", "local"):
            with self.subTest(source), self.settings(CATALOG_SOURCE=source):
                Role.objects.filter(pk=waiting.pk).update(community_of_practice=None)
                answer = self.desk.post(path, {"community_of_practice": str(taken.pk)})
                self.assertContains(answer, "There is a role of this title in this community already.")
                self.assertEqual(self.desk.post(path, form).status_code, 302)
                self.assertEqual(self.client.get(told).json()["title"], "Scout")
                self.assertEqual(messages(waiting)[-1], "Changed community of practice from nothing to Design.")

    def test_administrator_changes_only_what_is_ours_while_people_depot_keeps_the_catalog(self) -> None:
        """Descriptions, and who is in which community; the rest is refused in words, until it is kept here again."""
        skill, role, project = self.current.values()
        community, skills = str(make.make_cop("ui_ux").pk), page("skill", "changelist")
        form = {"name": "Renamed", "description": "Ours", "communities_of_practice": [community]}
        with ELSEWHERE:
            refused = [page(kind, "delete", row.pk) for kind, row in self.current.items()]
            for path in (*refused, *(page(kind, "add") for kind in KINDS), page("skill", "import")):
                for send in (self.desk.get, self.desk.post):
                    with self.subTest(path, method=send.__name__):
                        self.assertContains(send(path), KEPT_ELSEWHERE, status_code=403)
            merging = {"action": "merge_selected", "_selected_action": [str(skill.pk)]}
            self.assertContains(self.desk.post(skills, merging), KEPT_ELSEWHERE, status_code=403)
            self.assertNotContains(self.desk.get(skills), page("skill", "import"))
            self.assertEqual(self.desk.get(page("skill", "export")).status_code, 200)
            self.desk.post(page("skill", "change", skill.pk), form)
            self.desk.post(page("role", "change", role.pk), {"community_of_practice": community})
            self.assertEqual(self.desk.post(page("project", "change", project.pk)).status_code, 403)
        stored = Skill.objects.get(name=skill.name)
        self.assertEqual((stored.description, stored.communities_of_practice.count()), ("Ours", 1))
        self.assertEqual(str(Role.objects.get(pk=role.pk).community_of_practice_id), community)
        self.desk.post(page("skill", "change", skill.pk), form)
        self.assertTrue(Skill.objects.filter(name="Renamed").exists())
        self.assertContains(self.desk.get(skills), page("skill", "import"))
        answer = self.desk.post(page("role", "change", role.pk), {"community_of_practice": community})
        self.assertContains(answer, "Your account may not open this page.", status_code=403)

    @ELSEWHERE
    def test_operator_loading_while_people_depot_keeps_the_catalog_is_refused(self) -> None:
        """In words; a start, which loads it if there is none, goes on, and a demo has nothing to begin with."""
        for model in (Opportunity, UserProfile, Skill):
            model._default_manager.all().delete()
        for command in ("load_catalog", "seed_demo"):
            with self.assertRaisesMessage(CommandError, KEPT_ELSEWHERE):
                call_command(command, stdout=StringIO(), stderr=StringIO())
        call_command("load_catalog", "--if-empty", stdout=StringIO())
        self.assertFalse(Skill.objects.exists())

    def test_administrator_reads_what_synchronisations_left_to_do(self) -> None:
        """The newest plan, titles that wait, and what was retired while in use; nobody else does, nor before a run."""
        index, overview = reverse("admin:index"), page("syncrun", "changelist")
        self.assertNotContains(self.desk.get(index), overview)
        waiting = make.make_role(community_of_practice=None)
        make.make_skill(name="Unused", retired_at=timezone.now())
        plan = {"added": ["skill Vue"], "conflicts": ["skill <b>Java</b>: adopt it"], "waiting": []}
        run = make.make_sync_run(outcome="conflicts", plan=plan, reason="One name is taken.")
        self.assertContains(self.desk.get(index), overview)
        texts = ["Done, but for conflicts", "Conflicts: 1", "&lt;b&gt;Java", "One name is taken."]
        texts += [page("role", "change", waiting.pk), page("skill", "change", self.skill.pk)]
        texts += ["</a> (skill): 1 opportunity, 1 volunteer<", "</a> (role): 1 opportunity<", "</a> (project): 1 "]
        shown = self.desk.get(overview)
        for text in texts:
            self.assertContains(shown, text)
        self.assertNotContains(shown, "Unused")
        self.assertContains(self.desk.get(page("syncrun", "change", run.pk)), "skill Vue")
        self.assertEqual(self.client.get(overview).status_code, 403)


class RetirementRaceTests(TransactionTestCase):
    """A retirement while a write waits."""

    serialized_rollback = True

    @ELSEWHERE
    def test_everyone_whose_write_waits_while_its_skill_is_retired_is_refused(self) -> None:
        """For another write of the same row, or for a synchronisation: what is checked is what is stored then."""
        volunteer, pm = make.make_regular_user(), make.make_pm_user()
        listing = make.make_opportunity(created_by=pm)
        save, post = partial(make.client_of(volunteer).patch, ME), partial(make.client_of(pm).post, URL)
        change = partial(make.client_of(pm).put, f"{URL}{listing.pk}/")
        synchronising = "LOCK TABLE ctj_api_skill, ctj_api_skillmatrix, ctj_api_opportunity IN EXCLUSIVE MODE"
        for held, send, field in (
            ("SELECT FROM ctj_api_userprofile FOR UPDATE", save, LEARNED),
            ("SELECT FROM ctj_api_opportunity FOR UPDATE", change, REQUIRED),
            *((synchronising, send, field) for send, field in ((save, LEARNED), (change, REQUIRED), (post, REQUIRED))),
        ):
            skill = make.make_skill()
            with self.subTest(held, send=send), make.other_connection() as other:

                def retire(skill: Skill = skill, other: Any = other) -> None:
                    make.wait_until(lambda: make.execute(HELD_UP) is not None)
                    other.execute("UPDATE ctj_api_skill SET retired_at = now() WHERE id = %s", [skill.pk])
                    other.commit()

                other.execute(held)
                answer, _ = make.at_once(partial(send, {**payload_of(listing), field: {str(skill.pk): 3}}), retire)
                self.assertEqual(make.error_of(answer)["fields"], {field: [RETIRED.format(skill)]})
