"""Two people, or two tabs, at one row of the admin: nothing is overwritten unseen, and nothing is made twice."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.test import Client, TestCase, TransactionTestCase
from django.urls import reverse

from ctj_api.desk.forms import CHANGED_MEANWHILE
from ctj_api.desk.history import snapshot
from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile

from . import common as make
from .test_admin_opportunities import ADD, LIST, hidden, listing_form, rows

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
ACCOUNTS = reverse("admin:ctj_api_userprofile_changelist")


def fields_of(page: Any) -> dict[str, Any]:
    """Return what the form of a page sends where nothing is typed."""
    sent: dict[str, Any] = hidden(page)
    form = page.context["adminform"].form
    for name in form.fields:
        value = form[name].value()
        if name == "skill_levels":
            sent |= {f"{name}_{part}": [getattr(row, part) for row in value] for part in ("name", "level")}
        elif value is not None and value is not False:
            sent[name] = "on" if value is True else value
    return sent


def stored(row: Model) -> dict[str, Any]:
    """Return the row as it is stored now."""
    return snapshot(type(row)._default_manager.get(pk=row.pk))


class FormVersionTests(TestCase):
    """A form that was opened before somebody else's change."""

    def setUp(self) -> None:
        """Make rows, and who changes them."""
        self.pm = make.make_pm_user(email="ana@example.org", first_name="Ana", last_name="Diaz")
        self.administrator = make.make_admin_user(email="ada@example.org", first_name="Ada", last_name="King")
        self.react, self.area = make.make_skill(name="React", description="Old"), make.make_cop("devops")
        self.listing = make.make_opportunity({self.react: 3}, created_by=self.pm, body="Old", status="open")
        self.volunteer = make.make_regular_user({self.react: 3})

    def save(self, user: UserProfile, row: Model, **typed: Any) -> Any:
        """Open the form of ``row``, and save it at once."""
        client = make.form_client(user)
        return client.post(make.change_url(row), {**fields_of(client.get(make.change_url(row))), **typed})

    def cases(self) -> list[tuple[Model, dict[str, Any], Callable[[], Any], list[str]]]:
        """Return what is typed into the form of a row, what happens meanwhile, and what is told."""
        listing, volunteer = self.listing, self.volunteer
        name, body = {"first_name": "Typed"}, {"body": "Typed"}
        other = make.make_admin_user(email="bo@example.org")
        off = {"action": "make_inactive", "_selected_action": [str(volunteer.pk)]}
        fill = {"action": "fill", "_selected_action": [str(listing.pk)]}
        filling = partial(make.form_client(self.pm).post, LIST, fill)
        rate = {"skills_learned_matrix": {str(self.react.pk): 5}, "max_available_hours": 7}
        curate = {"description": "Corrected", "communities_of_practice": [str(self.area.pk)]}
        deactivate = partial(make.form_client(other).post, ACCOUNTS, off)
        answer = partial(make.client_of(volunteer).patch, "/api/users/me/", rate)
        correct = partial(self.save, self.administrator, listing, body="Corrected", skill_levels_level=["4"])
        rename = partial(Opportunity.objects.filter(pk=listing.pk).update, body="By SQL")
        curates = ["Description", "Corrected", "Communities of practice", str(self.area), "bo@example.org"]
        answers = ["Skills", "React 5", "Hours a week, at most", 'class="stored">7</td>', "the volunteer"]
        corrects = ["Description", "Corrected", "Required skills", "React 4", "Ada King"]
        return [
            (volunteer, name, deactivate, ["Active", 'class="stored">no</td>', "bo@example.org"]),
            (volunteer, {**name, "is_active": "on"}, answer, answers),
            (listing, body, filling, ["Status", "Filled", "you, on another page"]),
            (listing, {**body, "_transition": "close"}, correct, corrects),
            (listing, body, rename, ["Description", "By SQL", "somebody", "not known"]),
            (self.react, {"description": "Typed"}, partial(self.save, other, self.react, **curate), curates),
        ]

    def test_pm_user_and_administrator_overwrite_nothing_unseen(self) -> None:
        """Each change since is told, with who it was; one button saves on top, unless there was a third."""
        for row, typed, happen, told in self.cases():
            with self.subTest(row=row, typed=typed, told=told):
                url, user = make.change_url(row), self.pm if row == self.listing else self.administrator
                client = make.form_client(user)
                another = {"opportunity": "body", "userprofile": "last_name"}.get(str(row._meta.model_name), "name")
                form = {**fields_of(client.get(url)), **typed}
                happen()
                before, entries = stored(row), LogEntry.objects.count()
                page = client.post(url, form)
                for text in (CHANGED_MEANWHILE, "Typed", *told):
                    self.assertContains(page, text)
                knowing = {**form, **hidden(page, "_pressed"), "_overwrite": page.context["adminform"].form.version}
                knowing.pop("_transition", None)
                type(row)._default_manager.filter(pk=row.pk).update(**{another: "A third"})
                page = client.post(url, knowing)
                self.assertContains(page, CHANGED_MEANWHILE)
                self.assertEqual((stored(row), LogEntry.objects.count()), ({**before, another: "A third"}, entries))
                knowing["_overwrite"] = page.context["adminform"].form.version
                self.assertEqual(client.post(url, knowing).status_code, 302)
                self.assertIn("Typed", stored(row).values())
                if "_transition" in typed:
                    self.assertEqual(stored(row)["status"], "closed")

    def test_attacker_sending_an_odd_version_changes_nothing(self) -> None:
        """What says no version is taken as it is, as the API takes it; one that can't be read is refused."""
        client, url = make.form_client(self.pm), make.change_url(self.listing)
        form = {**fields_of(client.get(url)), "body": "Typed"}
        for version in ("", "x", "\x00", "é:x", "[" * 10_000, form["_version"][:-1]):
            with self.subTest(version[:10]):
                self.assertContains(client.post(url, {**form, "_version": version}), CHANGED_MEANWHILE)
                self.assertEqual(stored(self.listing)["body"], "Old")
        del form["_version"]
        self.assertEqual(client.post(url, form).status_code, 302)

    def test_pm_user_sending_a_new_form_twice_makes_one_row(self) -> None:
        """The second time leads to what the first has stored."""
        skill = reverse("admin:ctj_api_skill_add")
        for user, url, typed, model in (
            (self.pm, ADD, listing_form(**rows((self.react, 3)), _transition="publish"), Opportunity),
            (self.administrator, skill, {"name": "Vue"}, Skill),
        ):
            with self.subTest(url):
                client, count = make.form_client(user), model._default_manager.count()
                form = {**typed, **hidden(client.get(url))}
                client.post(url, form)
                again = client.post(url, form)
                row = model._default_manager.latest("created_at")
                self.assertRedirects(again, make.change_url(row), fetch_redirect_response=False)
                self.assertContains(client.get(make.change_url(row)), "saved already")
                self.assertEqual(model._default_manager.count(), count + 1)


class ListVersionTests(TestCase):
    """Actions that were chosen from a list that is older than a row."""

    def setUp(self) -> None:
        """Sign an administrator in."""
        self.client = make.form_client(make.make_admin_user())

    def test_administrator_acts_on_rows_as_the_list_showed_them(self) -> None:
        """What was changed since is left alone, what is gone is counted, the rest is done."""
        react, pm = make.make_skill(), make.make_pm_user()
        cases: list[tuple[str, Callable[[], Any], Callable[[Any], bool]]] = [
            ("close", partial(make.make_opportunity, {react: 3}, created_by=pm), lambda row: row.status == "closed"),
            ("make_project_manager", make.make_regular_user, lambda row: row.is_project_manager),
            ("end_project_manager", make.make_pm_user, lambda row: not row.is_project_manager),
            ("make_inactive", make.make_regular_user, lambda row: not row.is_active),
            ("delete_selected", make.make_skill, lambda row: row is None),
            ("merge_selected", make.make_skill, lambda row: row is None),
        ]
        for action, factory, is_done in cases:
            with self.subTest(action):
                kept, one, two, gone = (factory() for _ in range(4))
                manager = type(one)._default_manager
                url = reverse(f"admin:ctj_api_{one._meta.model_name}_changelist")
                chosen = [str(row.pk) for row in (one, two, gone, *([kept] if action == "merge_selected" else []))]
                form = {"action": action, "_selected_action": chosen, **hidden(self.client.get(url), "made_at")}
                if action.endswith("selected"):
                    form |= hidden(self.client.post(url, form), "made_at") | {"post": "yes", "kept": str(kept.pk)}
                two.save()
                gone.delete()
                page = self.client.post(url, form, follow=True)
                self.assertContains(page, f"nothing was done with: {two}.")
                self.assertContains(page, "1 of the chosen were deleted meanwhile.")
                done = [is_done(manager.filter(pk=row.pk).first()) for row in (one, two)]
                self.assertEqual(done, [True, False])
        listing = make.make_opportunity()
        for time in ("x", "-inf", "nan", "\x00"):
            form = {"action": "close", "_selected_action": [str(listing.pk)], "made_at": time}
            self.assertEqual(self.client.post(LIST, form).status_code, 302)
            self.assertEqual(stored(listing)["status"], "open")

    def test_administrator_deletes_a_row_as_the_page_showed_it(self) -> None:
        """One that was changed since is shown again first; a deleted one is told as such."""
        for row in (make.make_opportunity(), make.make_skill()):
            with self.subTest(row=row):
                url = reverse(f"admin:ctj_api_{row._meta.model_name}_delete", args=[row.pk])
                form = {**hidden(self.client.get(url), "made_at"), "post": "yes"}
                row.save()
                page = self.client.post(url, form, follow=True)
                self.assertContains(page, "Look at it before you delete it.")
                self.assertContains(page, "Changed after this page was made")
                form |= hidden(self.client.get(url), "made_at")
                self.assertRedirects(self.client.post(url, form), url.split(str(row.pk))[0])
                self.assertContains(self.client.get(make.change_url(row), follow=True), "Perhaps it was deleted?")


class VersionConcurrencyTests(TransactionTestCase):
    """Transactions that are really committed."""

    def setUp(self) -> None:
        """Make a project manager, and a skill to ask for."""
        self.pm, self.react = make.make_pm_user(), make.make_skill()

    def test_pm_user_pressing_save_twice_makes_one_listing(self) -> None:
        """The second press waits for the first, and leads to what it has made."""
        tabs: list[Client] = [make.form_client(self.pm) for _ in range(4)]
        form = {**listing_form(**rows((self.react, 3))), **hidden(tabs[0].get(ADD))}
        answers = make.at_once(*(partial(tab.post, ADD, form) for tab in tabs))
        self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (1, 1))
        url = make.change_url(Opportunity.objects.get())
        self.assertEqual(sorted(answer.headers["Location"] for answer in answers), [LIST, url, url, url])

    def test_pm_user_taking_a_step_that_waits_for_another_change_is_told_truly(self) -> None:
        """A listing whose role changes meanwhile is closed; one that is deleted is not told as somebody else's."""
        kept, gone, other = (make.make_opportunity(created_by=self.pm) for _ in range(3))
        form = {"action": "close", "_selected_action": [str(kept.pk), str(gone.pk)]}
        client = make.form_client(self.pm)
        with make.other_connection() as conn:
            conn.execute("UPDATE ctj_api_opportunity SET role_id = %s WHERE id = %s", [other.role_id, kept.pk])
            conn.execute("DELETE FROM ctj_api_opportunity WHERE id = %s", [gone.pk])

            def commit() -> None:
                make.wait_until(lambda: make.execute(WAITING) is not None)
                conn.commit()

            make.at_once(partial(client.post, LIST, form), commit)
        page = client.get(LIST)
        self.assertContains(page, "1 listing was closed.")
        self.assertContains(page, "1 of the chosen were deleted meanwhile.")
        self.assertNotContains(page, "only its owner")
