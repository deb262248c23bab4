"""The desk of project managers: the list of opportunities, their form, the steps of their life, and who fits."""

import re
from functools import partial
from html import unescape
from itertools import product
from typing import Any

from django.contrib.contenttypes.models import ContentType
from django.test import TestCase
from django.urls import reverse
from django.utils import timezone

from ctj_api.desk.transitions import PUBLISH, TRANSITIONS
from ctj_api.enums import Status
from ctj_api.models import Opportunity, Skill, SkillMatrix

from .common import (
    WEEK,
    candidates_url,
    change_url,
    count_queries,
    make_admin_user,
    make_cop,
    make_opportunity,
    make_pm_user,
    make_project,
    make_regular_user,
    make_role,
    make_skill,
    make_staff_user,
)

LIST = reverse("admin:ctj_api_opportunity_changelist")
ADD = reverse("admin:ctj_api_opportunity_add")
COUNT = reverse("admin:ctj_api_opportunity_volunteer_count")


def rows(*rated: tuple[Skill, int]) -> dict[str, list[Any]]:
    """Return what the skill picker sends."""
    return {
        "skill_levels_name": [skill.name for skill, _ in rated],
        "skill_levels_level": [level for _, level in rated],
    }


def listing_form(**fields: Any) -> dict[str, Any]:
    """Return what the form of an opportunity sends."""
    values = {
        "project": str(make_project().pk),
        "role": str(make_role().pk),
        "body": "Help us.",
        "min_experience_required": "",
        "min_hours_required": "4",
        "work_environment": "remote",
    }
    return {**values, **rows(), **fields}


def hidden(page: Any, prefix: str = "_") -> dict[str, str]:
    """Return the hidden fields of a page whose names begin with ``prefix``."""
    found = re.findall(rf'<input type="hidden" name="({prefix}\w*)" value="([^"]*)"', page.content.decode())
    return {name: unescape(value) for name, value in found}


class OpportunityTestCase(TestCase):
    """A project manager at work in the admin."""

    def setUp(self) -> None:
        """Sign a project manager in."""
        self.pm = make_pm_user(first_name="Ana", last_name="Diaz")
        self.client.force_login(self.pm)

    def results(self, query: str = "") -> list[Any]:
        """Return the rows of the list, in their order."""
        return list(self.client.get(f"{LIST}?{query}").context["cl"].result_list)


class OpportunityListTests(OpportunityTestCase):
    """The list, the best volunteers below a listing, and the hint beside the skill picker."""

    def test_pm_user_filters_the_list(self) -> None:
        """By who posted, status, community and project; own listings come first, then the newest."""
        designer = make_role(community_of_practice=make_cop("ui_ux"))
        listings = {
            status: make_opportunity(status=status, role=designer if status == "open" else None)
            for status in Status.values
        }
        own = make_opportunity(created_by=self.pm, status="open", project=make_project(name="VRMS"))
        cases = {
            "posted_by=me": [own],
            "status=draft": [listings["draft"]],
            "status=current": [own, listings["on_hold"], listings["open"], listings["draft"]],
            "status=archive": [listings["closed"], listings["filled"]],
            f"role__community_of_practice__id__exact={make_cop('ui_ux').pk}": [listings["open"]],
            f"project__id__exact={own.project_id}": [own],
        }
        for query, expected in cases.items():
            with self.subTest(query):
                self.assertCountEqual(self.results(query), expected)
        newest = make_opportunity(created_by=self.pm, status="closed")
        others = sorted(listings.values(), key=lambda row: row.created_at, reverse=True)
        self.assertEqual(self.results(), [newest, own, *others])

    def test_pm_user_reads_each_listing_in_words(self) -> None:
        """Status, the first skills, hours, experience, owner, age, and who fits where people are matched."""
        react, *more = (make_skill(name=name) for name in ("React", "Skill 10", "skill 9", "Skill 8", "Skill 1"))
        make_opportunity(
            {react: 3, **dict.fromkeys(more, 1)},
            created_by=make_pm_user(first_name="Bo", last_name="Lee"),
            status="on_hold",
            min_hours_required=7,
            min_experience_required="mid_level",
        )
        own = make_opportunity(created_by=self.pm)
        make_opportunity({react: 3}, created_by=None, status="filled", project=make_project(name="<b>"))
        page = self.client.get(LIST)
        moment = own.created_at.isoformat()
        for text in (
            '<span class="status status-on_hold">On hold</span>',
            '<li class="chip">React <b>3</b></li>',
            '<td class="field-min_hours_required">7</td>',
            '<td class="field-min_experience_required">Mid level</td>',
            '1, skill 9 1, Skill 10 1"><li class="chip">',
            '<li class="more">+2 more</li>',
            '<td class="field-owner">Bo Lee</td>',
            '<td class="field-owner">you</td>',
            '<td class="field-owner">somebody who has left</td>',
            f'<time datetime="{moment}">0\xa0minutes <small>',
            '<td class="field-volunteers">no skills</td>',
            '<td class="field-volunteers">not matched</td>',
            f'{ADD}?duplicate={own.pk}">Duplicate<span class="visually-hidden"> {own}</span></a>',
        ):
            self.assertContains(page, text, html=text.startswith("<span"))

    def test_pm_user_finds_the_listings_of_a_colleague(self) -> None:
        """By a click on the name, and by searching for name or address; who owns nothing is not offered."""
        bo = make_pm_user(first_name="Bo", last_name="Lee", email="bo.lee@example.net")
        make_pm_user(first_name="Without", last_name="Listings")
        own, theirs = (make_opportunity(created_by=owner, body="Lee") for owner in (self.pm, bo))
        other = make_opportunity(created_by=None)
        for query, expected in (
            (f"posted_by={bo.pk}", [theirs]),
            ("posted_by=nobody", [other]),
            ("q=bo.lee@example.net", [theirs]),
            ("q=bo", [theirs]),
            ("q=lee", [own, theirs]),
            ("q=%20", [own, theirs, other]),
        ):
            with self.subTest(query):
                self.assertCountEqual(self.results(query), expected)
        page = self.client.get(f"{LIST}?posted_by={bo.pk}")
        self.assertEqual(page.context["cl"].chosen, ["owner: Bo Lee"])
        self.assertNotContains(page, "Without Listings")

    def test_administrator_gives_chosen_listings_to_a_colleague(self) -> None:
        """After being asked to whom, with a history; only administrators do, and only to a project manager."""
        listings = [make_opportunity(created_by=owner) for owner in (make_pm_user(), None)]
        form = {"action": "give", "_selected_action": [str(listing.pk) for listing in listings]}
        bo = make_pm_user(first_name="Bo", last_name="Lee")
        self.client.post(LIST, {**form, "new_author": bo.email})
        self.client.force_login(make_admin_user())
        wrong = "No project manager has this address: choose one from the list."
        empty = "Say who looks after this from now on."
        refused = [(make_regular_user().email, wrong), (make_pm_user(is_active=False).email, wrong), ("", empty)]
        self.assertNotContains(self.client.post(LIST, form), empty)
        for address, told in refused:
            self.assertContains(self.client.post(LIST, {**form, "new_author": address}), told)
        self.assertFalse(Opportunity.objects.filter(created_by=bo).exists())
        given = self.client.post(LIST, {**form, "new_author": bo.email}, follow=True)
        self.assertContains(given, "Bo Lee has 2 more to look after.")
        self.assertEqual(set(Opportunity.objects.filter(created_by=bo)), set(listings))
        history = self.client.get(reverse("admin:ctj_api_opportunity_history", args=[listings[1].pk]))
        self.assertContains(history, f"Changed owner from nothing to {bo}.")
        again = self.client.post(LIST, {**form, "new_author": bo.email}, follow=True)
        self.assertContains(again, "Bo Lee has 0 more to look after.")

    def test_pm_user_reads_names_in_the_order_in_which_people_look_for_them(self) -> None:
        """Whatever their case, and numbers as numbers: in lists, by a click on a column, and in pickers."""
        names = ["Ansible", "apache 9", "Apache 10", "AWS", "Azure"]
        for name in reversed(names):
            make_skill(name=name)
            make_opportunity(
                role=make_role(title=name, community_of_practice=make_cop("devops")), project=make_project(name=name)
            )
        skills = self.client.get(reverse("admin:ctj_api_skill_changelist")).context["cl"].result_list
        self.assertEqual([skill.name for skill in skills], names)
        for query, expected in (("o=1", names), ("o=-2", names[::-1])):
            self.assertEqual([str(listing.role) for listing in self.results(query)], expected)
        form = self.client.get(ADD).context["adminform"].form
        self.assertEqual([str(project) for project in form.fields["project"].queryset], names)
        self.assertEqual([str(role) for role in form.fields["role"].queryset], names)
        self.assertEqual([str(skill) for skill in form.fields["skill_levels"].widget.skills.offered([])], names)

    def test_pm_user_sees_how_many_volunteers_a_listing_goes_with(self) -> None:
        """The numbers are those of the API's matches, all and with require_all."""
        react, sql = make_skill(), make_skill()
        listing = make_opportunity({react: 3, sql: 2}, created_by=self.pm)
        for levels in ({react: 3, sql: 5}, {react: 2, sql: 2}, {sql: 1}, {make_skill(): 5}):
            make_regular_user(levels)
        make_regular_user({react: 5, sql: 5}, is_active=False)
        self.assertEqual(self.results()[0].volunteer_count, (3, 1))
        page = reverse("admin:ctj_api_opportunity_candidates", args=[listing.pk])
        self.assertContains(self.client.get(LIST), f'<a href="{page}">3 <small>1 meets all</small></a>')
        matches = reverse("opportunity-matches", args=[listing.pk])
        self.assertEqual(self.client.get(matches).headers["X-Total-Count"], "3")
        self.assertEqual(self.client.get(matches, {"require_all": "true"}).headers["X-Total-Count"], "1")

    def test_pm_user_sees_who_fits_as_the_api_ranks(self) -> None:
        """The ten best in the order of the API, also below a form that was refused; 29 of 50 is exactly 58 %."""
        react, sql = make_skill(name="React"), make_skill(name="SQL")
        listing = make_opportunity({react: 3, sql: 2}, created_by=self.pm, min_hours_required=4)
        for number in range(12):
            levels = {react: number % 4 + 1, sql: number % 3 + 1}
            make_regular_user(levels, first_name=f"Vera {number}", max_available_hours=5)
        page = self.client.get(change_url(listing))
        ranked = self.client.get(reverse("opportunity-matches", args=[listing.pk]), {"limit": 10}).json()
        shown = page.context["who_fits"]["matches"]
        self.assertEqual([{name: match[name] for name in ranked[0]} for match in shown], ranked)
        for match in shown:
            self.assertContains(page, match["volunteer"]["name"])
        self.assertContains(page, "100 %")
        refused = self.client.post(change_url(listing), listing_form(min_hours_required="9", body=""))
        self.assertContains(refused, "This field is required.")
        below = refused.context["who_fits"]["matches"]
        self.assertEqual([match["fits_hours"] for match in below], [True] * 10)
        Opportunity.objects.update(status="filled")
        self.assertNotContains(self.client.get(change_url(listing)), "who-fits")
        skills = [make_skill() for _ in range(10)]
        make_regular_user({**dict.fromkeys(skills[:5], 5), skills[5]: 4})
        listing = make_opportunity(dict.fromkeys(skills, 5), created_by=self.pm)
        self.assertEqual(self.client.get(change_url(listing)).context["who_fits"]["matches"][0]["percent"], 58)

    def test_pm_user_is_told_each_skill_in_words(self) -> None:
        """Met, below or missing, with the levels, and the times here; a foreign listing has no form; all is escaped."""
        skills = {name: make_skill(name=name) for name in ("Go", "SQL", "<i>CSS</i>")}
        slots = [{"day": day, "start": "19:00", "end": "20:00"} for day in ("wed", "mon")]
        week = {"timezone": "America/New_York", "slots": slots}
        listing = make_opportunity(dict.fromkeys(skills.values(), 3), created_by=make_pm_user(), meeting_times=week)
        for free in ({**week, "slots": slots[:1]}, week, {**week, "slots": []}, None):
            levels = {skills["Go"]: 4, skills["SQL"]: 1}
            make_regular_user(levels, first_name="<b>Vera</b>", meeting_availability=free)
        page = self.client.get(change_url(listing))
        for text in (
            '<li class="chip">Go <b>3</b></li>',
            'id="who-fits"',
            "Go: met (4)",
            "SQL: below (1 of 3)",
            "&lt;i&gt;CSS&lt;/i&gt;: missing (3)",
            "&lt;b&gt;Vera&lt;/b&gt;",
            "44 % <small>1 of 3 skills asked</small>",
            "times on the clock of America/Los_Angeles:",
        ):
            self.assertContains(page, text)
        for words in (
            'some, not all <ul class="week"><li>Wed 16:00 yes</li><li>Mon 16:00 no</li></ul>',
            'all <ul class="week"><li>Wed 16:00 yes</li><li>Mon 16:00 yes</li></ul>',
            'none <ul class="week"><li>Wed 16:00 no</li><li>Mon 16:00 no</li></ul>',
            "not given",
        ):
            self.assertContains(page, f'<td role="cell" data-label="Meetings">{words}</td>', count=1, html=True)
        for button in ("_transition", "_save"):
            self.assertNotContains(page, f'name="{button}"')

    def test_pm_user_asks_how_many_volunteers_meet_the_rows(self) -> None:
        """In words, before anything is saved; a wrong row is told as the form tells it."""
        react, sql, go, rust = (make_skill(name=name) for name in ("React", "SQL", "Go", "Rust"))
        response = self.client.get(COUNT, rows((Skill(name="Reakt"), 3)))
        told = {"text": 'There is no skill "Reakt". Choose one from the list, or ask an administrator to add it.'}
        self.assertEqual((response.status_code, response.json()), (400, told))
        for levels in ({react: 3}, {react: 4}, {react: 1}, {react: 2}, {sql: 2}, {go: 1}, *[{go: 2}] * 10):
            make_regular_user(levels)
        too_little = "the listing probably asks too little. Is there a skill that it doesn't name?"
        counted: list[tuple[list[tuple[Skill, int]], str]] = [
            ([], "Nobody is matched with a listing that requires no skills."),
            ([(rust, 3)], "No volunteer has any of these skills yet."),
            ([(react, 5)], "No volunteer meets all of these requirements, 4 meet them in part."),
            ([(react, 4)], "1 volunteer meets all of these requirements, 3 meet them in part."),
            ([(react, 2)], "3 volunteers meet all of these requirements, 1 meets them in part."),
            ([(react, 1)], "4 volunteers meet all of these requirements."),
            ([(react, 1), (sql, 1)], "No volunteer meets all of these requirements, 5 meet them in part."),
            ([(go, 2)], "10 volunteers meet all of these requirements, 1 meets them in part."),
            ([(go, 1)], f"11 volunteers meet all of these requirements. More than 10 are many: {too_little}"),
        ]
        for rated, text in counted:
            self.assertEqual(self.client.get(COUNT, rows(*rated)).json(), {"text": text, "usual": []})


class OpportunityFormTests(OpportunityTestCase):
    """The form of a listing."""

    def post(self, url: str, form: dict[str, Any]) -> Any:
        """Return the answer to a form, after its redirect."""
        return self.client.post(url, form, follow=True)

    def test_pm_user_adds_a_listing(self) -> None:
        """With its skills by name, as a draft or open; who posts it is stamped in any case."""
        react = make_skill(name="React")
        form = listing_form(**rows((react, 3)), created_by=str(make_pm_user().pk))
        self.assertContains(self.post(ADD, form), "was added successfully")
        listing = Opportunity.objects.get()
        self.assertEqual((listing.created_by, listing.status), (self.pm, "draft"))
        self.assertEqual(listing.skills_required_matrix.levels, {str(react.pk): 3})
        answer = self.client.post(ADD, listing_form(_transition="publish", **rows((react, 3))))
        published = Opportunity.objects.exclude(pk=listing.pk).get()
        self.assertEqual((published.created_by, published.status), (self.pm, "open"))
        self.assertRedirects(answer, candidates_url(published))

    def test_pm_user_changes_a_listing(self) -> None:
        """The row of its matrix is kept, and the author with it; so does an administrator with any."""
        react, sql = make_skill(), make_skill()
        listing = make_opportunity({react: 3}, created_by=self.pm)
        for user, level in ((self.pm, 5), (make_admin_user(), 2)):
            self.client.force_login(user)
            self.post(change_url(listing), listing_form(**rows((sql, level)), body="New"))
            self.assertEqual(SkillMatrix.objects.get().levels, {str(sql.pk): level})
        listing.refresh_from_db()
        self.assertEqual((listing.body, listing.created_by), ("New", self.pm))

    def test_pm_user_with_a_wrong_form_is_told_what_is_wrong(self) -> None:
        """The summary links each field, the first has the cursor, and nothing is written."""
        form = listing_form(project="", role="x", body=" ", min_hours_required="169", **rows((Skill(name="Reakt"), 3)))
        page = self.post(ADD, form)
        for message in (
            "This field is required.",
            "Select a valid choice. That choice is not one of the available choices.",
            "Ensure this value is less than or equal to 168.",
            "There is no skill &quot;Reakt&quot;. Choose one from the list, or ask an administrator to add it.",
        ):
            self.assertContains(page, message)
        for link in ('<a href="#id_body">Description</a>', '<a href="#id_skill_levels">Required skills</a>'):
            self.assertContains(page, link, html=True)
        self.assertContains(page, " autofocus", count=1)
        self.assertRegex(page.content.decode(), r'<select name="project"[^>]* autofocus')
        self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (0, 0))

    def test_pm_user_chooses_a_role_under_its_community(self) -> None:
        """Roles of one title are told apart."""
        for area in ("devops", "data_science"):
            make_role(title="Data Engineer", community_of_practice=make_cop(area))
        page = self.client.get(ADD)
        (_, *choices) = page.context["adminform"].form["role"].field.choices
        groups = [(name, [str(label) for _, label in roles]) for name, roles in choices]
        self.assertEqual(groups, [("Data Science", ["Data Engineer"]), ("DevOps", ["Data Engineer"])])

    def test_former_pm_changes_no_listing_and_an_administrator_any(self) -> None:
        """Also where the former project manager still comes in as staff."""
        former = make_staff_user("change_skill", "change_opportunity")
        listing = make_opportunity(created_by=former)
        action = {"action": "close", "_selected_action": str(listing.pk)}
        self.client.force_login(former)
        for answer in (
            self.client.get(LIST),
            self.client.post(LIST, action),
            self.client.get(change_url(listing)),
            self.client.post(change_url(listing), listing_form(body="New")),
            self.client.post(ADD, listing_form()),
        ):
            self.assertEqual(answer.status_code, 403)
        self.assertEqual(Opportunity.objects.get().body, listing.body)
        self.client.force_login(make_admin_user())
        self.post(change_url(listing), listing_form(body="New"))
        self.post(LIST, action)
        listing.refresh_from_db()
        self.assertEqual((listing.body, listing.created_by, listing.status), ("New", former, "closed"))

    def test_pm_user_deletes_any_listings_with_a_constant_number_of_queries(self) -> None:
        """From the list and from its page, with the matrix; rights are asked for once."""
        counts = []
        for number in (1, 2, 20):
            chosen = [str(make_opportunity(created_by=make_pm_user()).pk) for _ in range(number)]
            for answer in ({}, {"post": "yes"}):
                form = {"action": "delete_selected", "_selected_action": chosen, **answer}
                counts.append(count_queries(partial(self.client.post, LIST, form)))
            self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (0, 0))
        self.assertEqual(counts[2:4], counts[4:])
        foreign = make_opportunity(created_by=make_pm_user())
        self.post(reverse("admin:ctj_api_opportunity_delete", args=[foreign.pk]), {"post": "yes"})
        self.assertEqual((Opportunity.objects.count(), SkillMatrix.objects.count()), (0, 0))

    def test_pm_user_duplicates_any_listing(self) -> None:
        """All that it says but status and owner stands in a new form; one that is gone is told as such."""
        skill = make_skill()
        original = make_opportunity({skill: 3}, created_by=make_pm_user(), status="filled", meeting_times=WEEK)
        url = reverse("admin:ctj_api_opportunity_add", query={"duplicate": original.pk})
        self.assertContains(self.client.get(change_url(original)), f'href="{url}"')
        columns = ("project", "role", "body", "min_experience_required", "min_hours_required", "work_environment")
        said = Opportunity.objects.filter(pk=original.pk).values(*columns).get()
        page = self.client.get(url)
        expected = {**said, "skill_levels": {str(skill.pk): 3}, "weekly_meetings": WEEK}
        self.assertEqual(page.context["adminform"].form.initial, expected)
        self.assertContains(page, ">Draft<")
        for gone in ("x", str(make_project().pk)):
            page = self.client.get(ADD, {"duplicate": gone}, follow=True)
            self.assertContains(page, "This listing is not there.")
        self.assertEqual(self.client.get(ADD, {"skill_levels": "x", "weekly_meetings": "x"}).status_code, 200)

    def test_pm_user_gives_a_listing_away(self) -> None:
        """To another project manager at work, an administrator any; the history tells it."""
        listing, bo = make_opportunity(created_by=self.pm), make_pm_user(email="bo@example.org", first_name="Bo")
        give = reverse("admin:ctj_api_opportunity_give", args=[listing.pk])
        self.assertContains(self.client.get(change_url(listing)), f'href="{give}"')
        for address in ("", "x", make_regular_user().email, make_pm_user(is_active=False).email):
            page = self.client.post(give, {"new_author": address})
            self.assertContains(page, '<option value="bo@example.org">Bo</option>', html=True)
        for address in (self.pm.email, "Bo@example.org"):
            self.assertContains(self.post(give, {"new_author": address}), "more to look after.")
        page = self.client.get(change_url(listing))
        for form in (give, 'name="_save"', 'name="_transition"'):
            self.assertNotContains(page, form)
        self.assertEqual(self.client.post(give, {"new_author": self.pm.email}).status_code, 403)
        self.client.force_login(make_admin_user())
        self.post(give, {"new_author": self.pm.email})
        self.assertEqual(Opportunity.objects.get().created_by, self.pm)
        page = self.client.get(reverse("admin:ctj_api_opportunity_history", args=[listing.pk]))
        self.assertContains(page, "Changed owner from ", count=2)
        self.assertContains(page, f"Changed owner from {self.pm} to {bo}.")

    def test_pm_user_reads_what_volunteers_see(self) -> None:
        """Whose address, and the whole listing in words, without tags of its text; of others owner and dates."""
        skill, bo = make_skill(name="<i>Go</i>"), make_pm_user(first_name="Bo", last_name="Lee")
        foreign = make_opportunity({skill: 3}, created_by=bo, status="draft", body="One\n\n<b>Two</b>")
        left = make_opportunity(created_by=None)
        page = self.client.get(change_url(foreign))
        for text in (f"owner&#x27;s address: {bo}.", f"Bo Lee {bo}", "Created at:", ">Draft<", "<p>One</p>"):
            self.assertContains(page, text)
        for text in ("<p>&lt;b&gt;Two&lt;/b&gt;</p>", "&lt;i&gt;Go&lt;/i&gt;: works on their own (3 of 5)"):
            self.assertContains(page, text)
        for url in (ADD, change_url(make_opportunity(created_by=self.pm))):
            self.assertContains(self.client.get(url), f"Volunteers see your address: {self.pm}.")
        self.assertContains(self.client.get(change_url(left)), "address: nobody, its owner has left.")


class OpportunityStepTests(OpportunityTestCase):
    """Publish, put on hold, mark as filled, close."""

    def setUp(self) -> None:
        """Make a skill, without which publishing asks."""
        super().setUp()
        self.skill = make_skill()

    def act(self, name: str, *listings: Opportunity) -> Any:
        """Return the list after an action."""
        form = {"action": name, "_selected_action": [str(listing.pk) for listing in listings]}
        return self.client.post(LIST, form, follow=True)

    def test_pm_user_takes_each_step_from_where_it_makes_sense(self) -> None:
        """From the list and by a button, which saves the form; elsewhere nothing changes, and it says why."""
        for step, status in product(TRANSITIONS, Status):
            with self.subTest(step=step.name, status=status):
                makes_sense = status in step.sources
                one, two = (make_opportunity({self.skill: 3}, created_by=self.pm, status=status) for _ in range(2))
                word = f"1 listing was {step.done}." if makes_sense else f"was not {step.done}: only"
                self.assertContains(self.act(step.name, one), word)
                self.assertContains(self.client.get(change_url(two)), f'value="{step.name}"', count=int(makes_sense))
                form = listing_form(body="New", _transition=step.name, **rows((self.skill, 3)))
                page = self.client.post(change_url(two), form, follow=True)
                expected = step.target if makes_sense else status
                stored = Opportunity.objects.in_bulk([one.pk, two.pk])
                self.assertEqual([stored[row.pk].status for row in (one, two)], [expected] * 2)
                self.assertEqual(stored[two.pk].body, "New" if makes_sense else two.body)
                now = status.label.lower()
                no_step = f"It can&#x27;t be {step.done}: it is {now} by now."
                refusal = f"It is {now} already." if status == step.target else no_step
                done = f'“<a href="{change_url(two)}">{stored[two.pk]}</a>” was {step.done}.'
                self.assertContains(page, done if makes_sense else refusal)
                if makes_sense:
                    self.assertRedirects(page, candidates_url(two) if step == PUBLISH else LIST)

    def test_pm_user_saves_by_enter(self) -> None:
        """The first button of the form, which leaves the status; the strong one of a draft publishes."""
        for status in Status:
            with self.subTest(status):
                listing = make_opportunity({self.skill: 3}, created_by=self.pm, status=status)
                page = self.client.get(change_url(listing)).content.decode()
                buttons = re.findall(r'<(?:button|input) type="submit"[^>]*>', page.split('id="opportunity_form"')[1])
                strong = [number for number, button in enumerate(buttons) if "default" in button]
                self.assertIn('name="_save"', buttons[0])
                self.assertEqual(strong, [1 if status == Status.DRAFT else 0])
                self.assertEqual('value="publish"' in buttons[1], status != Status.OPEN)
                self.assertNotIn('name="status"', page)
                form = listing_form(body="New", status="closed", _save="Save", **rows((self.skill, 3)))
                self.client.post(change_url(listing), form)
                stored = Opportunity.objects.get(pk=listing.pk)
                self.assertEqual((stored.body, stored.status), ("New", status))

    def test_pm_user_publishing_without_skills_is_asked_first(self) -> None:
        """With a new listing and with a stored one, once; from the list it isn't done."""
        for stored in (None, make_opportunity(created_by=self.pm, status="closed")):
            with self.subTest(stored=stored):
                url = change_url(stored) if stored else ADD
                page = self.client.post(url, listing_form(body="Typed", _transition="publish"))
                self.assertContains(page, "Publish without skills")
                self.assertContains(page, '<a href="#id_skill_levels">Required skills</a>', html=True)
                self.assertFalse(Opportunity.objects.filter(body="Typed").exists())
                pressed = hidden(page, "_pressed")
                self.assertEqual(pressed, {"_pressed": "publish"})
                self.client.post(url, listing_form(body="Typed", _without_skills="yes", **pressed))
                listing = Opportunity.objects.get(body="Typed")
                self.assertEqual(listing.status, "open")
                self.client.post(change_url(listing), listing_form())
                self.assertFalse(Opportunity.objects.filter(body="Typed").exists())
        draft = make_opportunity(created_by=self.pm, status="draft")
        self.assertContains(self.act("publish", draft), "1 listing was not published: nobody is matched with")
        self.assertEqual(Opportunity.objects.get(pk=draft.pk).status, "draft")

    def test_pm_user_moves_own_listings_only(self) -> None:
        """Those of others stay, an administrator moves any, and the history says who did what."""
        own = make_opportunity({self.skill: 3}, created_by=self.pm, status="draft")
        foreign = make_opportunity({self.skill: 3}, created_by=make_pm_user(), status="draft")
        page = self.act("publish", own, foreign)
        self.assertContains(page, "1 listing was published.")
        self.assertContains(page, "1 listing was not published: only its owner can change a listing.")
        self.assertEqual(list(Opportunity.objects.filter(status="open")), [own])
        self.act("hold", own)
        page = self.client.get(reverse("admin:ctj_api_opportunity_history", args=[own.pk]))
        for text in ("Ana Diaz", "Changed status from Draft to Open.", "Changed status from Open to On hold."):
            self.assertContains(page, text)
        self.client.force_login(make_admin_user())
        self.act("publish", foreign, own)
        self.assertEqual(Opportunity.objects.filter(status="open").count(), 2)

    def test_pm_user_moves_many_with_a_constant_number_of_queries(self) -> None:
        """However many are chosen; each is told as changed now."""
        counts = []
        for number in (2, 20):
            listings = [make_opportunity({self.skill: 3}, created_by=self.pm, status="draft") for _ in range(number)]
            before = timezone.now()
            ContentType.objects.clear_cache()
            counts.append(count_queries(partial(self.act, "publish", *listings)))
            moved = Opportunity.objects.filter(pk__in=[listing.pk for listing in listings])
            self.assertEqual(moved.filter(status="open", updated_at__gte=before).count(), number)
        self.assertEqual(counts[0], counts[1])
