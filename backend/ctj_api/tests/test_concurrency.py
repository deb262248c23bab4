"""What several requests at once can't break; each runs in a thread with a connection of its own."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any
from unittest.mock import patch

from django.contrib.sessions.models import Session
from django.test import Client, TransactionTestCase
from django.urls import reverse

from ctj_api.accounts.sign_in import Attempt
from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile

from . import common as make

THREADS = 8
ROUNDS = 10
ME = "/api/users/me/"
URL = "/api/opportunities/"


class ConcurrencyTests(TransactionTestCase):
    """Transactions that are really committed."""

    def setUp(self) -> None:
        """Make a project manager with a listing."""
        self.pm = make.make_pm_user()
        self.opportunity = make.make_opportunity(created_by=self.pm)
        self.url = f"/api/opportunities/{self.opportunity.pk}/"

    def test_simultaneous_signups_make_one_account(self) -> None:
        """One is 201, the others are told that the address is taken."""
        body = {"email": "ana@example.org", "password": make.PASSWORD}
        clients = [make.browser() for _ in range(THREADS)]
        answers = make.at_once(*(partial(client.post, "/api/auth/signup/", body) for client in clients))
        self.assertEqual(sorted(answer.status_code for answer in answers), [201] + [400] * (THREADS - 1))
        for answer in answers:
            if answer.status_code != 201:
                self.assertEqual(list(make.error_of(answer)["fields"]), ["email"])
        self.assertEqual(UserProfile.objects.filter(email="ana@example.org").count(), 1)

    def test_simultaneous_writers_who_know_one_version_leave_the_first_one_s(self) -> None:
        """Exactly one is 200, and its change is what is stored; the others are told that there is another version."""
        payload = make.opportunity_payload(min_hours_required=0)
        put, patch_me = ("put", self.url, "min_hours_required"), ("patch", ME, "max_available_hours")
        for method, url, field in (put, patch_me):
            body: dict[str, Any] = payload if method == "put" else {}
            for _ in range(ROUNDS // 2):
                known = {"If-Match": make.client_of(self.pm).get(url)["ETag"]}
                sends = [getattr(make.client_of(self.pm), method) for _ in range(THREADS)]
                sent = [partial(send, url, {**body, field: 20 + n}, headers=known) for n, send in enumerate(sends)]
                answers = make.at_once(*sent)
                statuses = [answer.status_code for answer in answers]
                with self.subTest(method):
                    self.assertEqual(sorted(statuses), [200] + [412] * (THREADS - 1))
                    self.assertEqual(make.client_of(self.pm).get(url).json(), answers[statuses.index(200)].json())
                make.client_of(self.pm).patch(ME, {"max_available_hours": 1})
                make.client_of(self.pm).put(self.url, payload)

    def test_updates_during_a_deletion_do_not_bring_the_listing_back(self) -> None:
        """Whoever comes after the deletion gets a 404."""
        payload = make.opportunity_payload()
        updates = [partial(make.client_of(self.pm).put, self.url, payload) for _ in range(THREADS - 1)]
        answers = make.at_once(*updates, partial(make.client_of(self.pm).delete, self.url))
        self.assertEqual(answers[-1].status_code, 204)
        self.assertLessEqual({answer.status_code for answer in answers[:-1]}, {200, 404})
        self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (0, 0))

    def test_simultaneous_saves_of_the_qualifier_store_one_of_them_whole(self) -> None:
        """Hours and matrix come from one tab, no row is left over, and different steps are all kept."""
        users = [make.make_regular_user() for _ in range(ROUNDS)]
        skills = [make.make_skill() for _ in range(THREADS)]
        rest = {"community_of_practice": None, "meeting_availability": None}
        answers: list[dict[str, Any]] = []
        for number, skill in enumerate(skills):
            levels = {str(skill.pk): 3, str(skills[number - 1].pk): 5}
            answers.append({**rest, "skills_learned_matrix": levels, "max_available_hours": number})
        for user, method in product(users, ("put", "patch")):
            saves = [partial(getattr(make.client_of(user), method), ME, answer) for answer in answers]
            self.assertEqual({response.status_code for response in make.at_once(*saves)}, {200})
            user.refresh_from_db()
            winner = answers[user.max_available_hours or 0]
            self.assertEqual(SkillMatrix.objects.get(volunteer=user).levels, winner["skills_learned_matrix"])
        self.assertEqual(SkillMatrix.objects.filter(opportunity=None).count(), ROUNDS)
        user, community = users[0], str(make.make_cop("devops").pk)
        steps = {**answers[0], "meeting_availability": make.WEEK, "community_of_practice": community}
        saves = [partial(make.client_of(user).patch, ME, {name: step}) for name, step in steps.items()]
        self.assertEqual({response.status_code for response in make.at_once(*saves)}, {200})
        self.assertLessEqual(steps.items(), make.client_of(user).get(ME).json().items())

    def test_admin_user_deleting_skills_never_overtakes_those_who_rate_them(self) -> None:
        """Each page is an answer, none an error, whoever comes first; in bulk, with the skills in another order."""
        skills = [make.make_skill() for _ in range(THREADS)]
        admin = make.make_admin_user()
        url = reverse("admin:ctj_api_skill_changelist")
        calls: list[Callable[[], Any]] = []
        for number in range(4):
            chosen = [str(skill.pk) for skill in skills[number:]]
            action = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
            payload = make.opportunity_payload(skills_required_matrix=dict.fromkeys(reversed(chosen), 3))
            calls.append(partial(make.form_client(admin).post, url, action))
            calls.append(partial(make.client_of(self.pm).post, URL, payload))
        answers = make.at_once(*calls)
        self.assertLessEqual({answer.status_code for answer in answers[::2]}, {200, 302})
        self.assertLessEqual({answer.status_code for answer in answers[1::2]}, {201, 400})
        rated = {key for levels in SkillMatrix.objects.values_list("levels", flat=True) for key in levels}
        self.assertLessEqual(rated, {str(pk) for pk in Skill.objects.values_list("pk", flat=True)})

    def test_renaming_what_a_listing_has_and_writing_listings_do_not_wait_for_each_other(self) -> None:
        """Project and skills are renamed while listings are written; documents have the last names."""
        project, kept = self.opportunity.project, make.make_skill()
        fields = {"project": str(project.pk), "role": str(self.opportunity.role.pk)}
        for number in range(ROUNDS):
            taken = make.make_skill()
            levels = {str(kept.pk): 1 + number % 5, str(taken.pk): 3}
            payload = make.opportunity_payload(**fields, skills_required_matrix=levels)
            calls: list[Callable[[], Any]] = [partial(make.client_of(self.pm).put, self.url, payload) for _ in range(3)]
            calls += [partial(make.client_of(self.pm).post, URL, payload) for _ in range(3)]
            rows = [type(row)._default_manager.filter(pk=row.pk) for row in (project, kept, taken)]
            calls += [partial(row.update, name=f"Gondola {number} {place}") for place, row in enumerate(rows)]
            answers = make.at_once(*calls)
            self.assertEqual([answer.status_code for answer in answers[:6]], [200] * 3 + [201] * 3)
            self.assertEqual(answers[6:], [1] * 3)
            documents = Opportunity.objects.order_by("pk").values_list("search_document", flat=True)
            written = list(documents)
            Opportunity.objects.update(search_document=None)
            self.assertEqual(list(documents.all()), written)

    def test_administrators_taking_each_other_the_rights_leave_one(self) -> None:
        """Whoever comes second would take them from the last one."""
        for number in range(ROUNDS):
            with self.subTest(round=number):
                UserProfile.objects.filter(is_superuser=True).update(is_active=False)
                one, two = (make.make_admin_user() for _ in range(2))
                forms = {user: {"email": user.email, "is_active": "on"} for user in (one, two)}
                sends = [(make.form_client(two), one), (make.form_client(one), two)]
                make.at_once(*(partial(client.post, make.change_url(user), forms[user]) for client, user in sends))
                self.assertEqual(UserProfile.objects.administrators().count(), 1)

    def test_sign_in_to_an_account_that_is_deleted_meanwhile_is_refused(self) -> None:
        """In the API and in the admin, with no session left."""
        json, form = make.browser(), Client()
        json.raise_request_exception = form.raise_request_exception = False
        for client, url, name in ((json, "/api/auth/login/", "email"), (form, "/admin/login/", "username")):
            user = make.make_pm_user()
            with self.subTest(url), patch.object(Attempt, "succeed", lambda _, user=user: user.delete()):
                self.assertEqual(client.post(url, {name: user.email, "password": make.PASSWORD}).status_code, 400)
                self.assertFalse(Session.objects.exists())
