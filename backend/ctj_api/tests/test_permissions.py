"""Who may do what: a matrix over every URL of the project, which fails when a URL is missing from it."""

from collections.abc import Iterator
from itertools import product
from typing import Any

from django.db import transaction
from django.test import Client, TestCase
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.test import APITestCase

from ctj_api.desk.deleted import keep_deleted
from ctj_api.models import DeletedOpportunity, Opportunity, UserProfile

from . import common

WHO = ("anonymous", "volunteer", "former_pm", "other_pm", "creator", "administrator")
EVERYONE = dict.fromkeys(WHO, 200)
NOBODY = dict.fromkeys(WHO, 405)
SIGNED_IN = {**EVERYONE, "anonymous": 403}
METHODS = ("get", "post", "put", "patch", "delete")
CODES = {400: "validation_error", 404: "not_found", 405: "method_not_allowed"}


def pms(status: int) -> dict[str, int]:
    """Return what each sees of an operation that any project manager may do."""
    return {**dict.fromkeys(WHO, 403), "other_pm": status, "creator": status}


def read_only(get: dict[str, int], unsafe: dict[str, int] = NOBODY) -> dict[str, dict[str, int]]:
    """Return the rows of a route that is only read."""
    return {"get": get, "post": unsafe, "put": unsafe, "patch": unsafe, "delete": unsafe}


def post_only(status: int) -> dict[str, dict[str, int]]:
    """Return the rows of a route that anyone may post to."""
    return {method: dict.fromkeys(WHO, status) if method == "post" else NOBODY for method in METHODS}


CATALOGS = ("skill", "community-of-practice", "role", "project")
FORMS = ("signup", "login", "forgot-password", "reset-password")
PRIVATE_NOBODY = {**NOBODY, "anonymous": 403}
PROOF_NEEDED = {**dict.fromkeys(WHO, 400), "anonymous": 403}
API_MATRIX: dict[str, dict[str, dict[str, int]]] = {
    **dict.fromkeys(("healthcheck", "schema", "docs", "auth-csrf"), read_only(EVERYONE)),
    **dict.fromkeys((f"{name}-{view}" for name in CATALOGS for view in ("list", "detail")), read_only(EVERYONE)),
    **dict.fromkeys((f"auth-{name}" for name in FORMS), post_only(400)),
    "auth-logout": post_only(204),
    "auth-change-password": {**read_only(PRIVATE_NOBODY, PRIVATE_NOBODY), "post": PROOF_NEEDED},
    "user-me": {
        **read_only(SIGNED_IN, PRIVATE_NOBODY),
        **dict.fromkeys(("put", "patch"), SIGNED_IN),
        "delete": PROOF_NEEDED,
    },
    **dict.fromkeys(("user-me-matches", "user-me-match"), read_only(SIGNED_IN, PRIVATE_NOBODY)),
    "user-detail": read_only({**dict.fromkeys(WHO, 403), "volunteer": 200}, PRIVATE_NOBODY),
    "opportunity-list": {**read_only(EVERYONE), "post": pms(201)},
    "opportunity-detail": {
        "get": EVERYONE,
        "post": NOBODY,
        "put": {**pms(403), "creator": 200},
        "patch": NOBODY,
        "delete": pms(204),
    },
    "opportunity-matches": read_only(pms(200), pms(405)),
    "metrics": {method: dict.fromkeys(WHO, 404) for method in METHODS},
    "api-not-found": {method: dict.fromkeys(WHO, 404) for method in METHODS},
}
BODIES: dict[str, dict[str, Any]] = {
    "user-me": {
        "community_of_practice": None,
        "skills_learned_matrix": {},
        "max_available_hours": None,
        "meeting_availability": None,
    }
}
ADMIN_WHO = ("other_pm", "creator", "administrator")


def site_page(status: int) -> dict[str, int]:
    """Return what all who work in the admin see of a page that is the same for all of them."""
    return dict.fromkeys(ADMIN_WHO, status)


def admins(status: int) -> dict[str, int]:
    """Return what they see of a page that is for administrators only."""
    return {**site_page(403), "administrator": status}


ADMIN_SITE = {
    **dict.fromkeys(("index", "password_change", "password_change_done", "jsi18n", "app_list"), site_page(200)),
    **dict.fromkeys(("cognito", "cognito_callback", "view_on_site"), site_page(404)),
    "supply_and_demand": admins(200),
    "login": site_page(302),
    "logout": site_page(405),
    "autocomplete": site_page(403),
}
OPEN_ADMIN_PAGES = {"login": 200, "logout": 302, "cognito": 404, "cognito_callback": 404}
READ = {"changelist": site_page(200), "history": site_page(200), "change": site_page(200)}
ITS_DELETER = {**site_page(200), "other_pm": 302}
UNCHANGED = {"add": site_page(403), "delete": site_page(403)}
VIEW_ONLY = {**READ, **UNCHANGED}
ADMIN_MODELS = {
    "skill": {**READ, **dict.fromkeys(("add", "delete", "import", "export"), admins(200))},
    "opportunity": {
        **READ,
        **dict.fromkeys(("add", "delete", "volunteer_count", "candidates"), site_page(200)),
        "give": {"other_pm": 403, "creator": 200, "administrator": 200},
    },
    **dict.fromkeys(("communityofpractice", "role", "project"), VIEW_ONLY),
    "userprofile": {**dict.fromkeys((*READ, "listings"), admins(200)), **UNCHANGED},
    "deletedopportunity": {**VIEW_ONLY, "change": ITS_DELETER, "history": ITS_DELETER},
    "syncrun": {**dict.fromkeys(READ, admins(200)), **UNCHANGED},
}
FORGED = {"post": "yes", "name": "x", "is_active": "on", "is_superuser": "on"}
LISTS = {"changelist", "add", "volunteer_count", "import", "export", "listings"}
# What a form with nothing of use in it is answered: 302 where it was taken, 200 where it is shown again.
ADMIN_POSTS = {
    **{f"{model}_{page}": site_page(200) for model in ADMIN_MODELS for page in ("changelist", "history")},
    **{f"{model}_{page}": site_page(403) for model in ADMIN_MODELS for page in ("add", "change", "delete")},
    **dict.fromkeys(("syncrun_changelist", "syncrun_history"), admins(200)),
    **{f"userprofile_{page}": admins(200) for page in READ},
    "userprofile_listings": admins(302),
    **{f"skill_{page}": admins(302) for page in ("add", "change", "delete")},
    **{f"skill_{page}": admins(200) for page in ("import", "export")},
    "opportunity_add": site_page(200),
    "opportunity_change": {"other_pm": 403, "creator": 200, "administrator": 200},
    "opportunity_delete": site_page(302),
    "opportunity_give": {"other_pm": 403, "creator": 200, "administrator": 200},
    "opportunity_volunteer_count": site_page(405),
    "opportunity_candidates": site_page(405),
    "deletedopportunity_history": ITS_DELETER,
}


def route_names(patterns: list[URLPattern | URLResolver], namespace: str = "") -> Iterator[str]:
    """Return the name of every route, with its namespace; a route without a name is told by its pattern."""
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else ""
            yield from route_names(pattern.url_patterns, namespace + inner)
        else:
            yield namespace + (pattern.name or str(pattern.pattern))


class ApiPermissionTests(APITestCase):
    """Every API route with every method, for everyone."""

    def setUp(self) -> None:
        """Make one of each kind of user, and a row for each detail route."""
        self.volunteer = common.make_regular_user()
        self.users = {
            "anonymous": None,
            "volunteer": self.volunteer,
            "former_pm": common.make_regular_user(),
            "other_pm": common.make_pm_user(),
            "creator": common.make_pm_user(),
            "administrator": common.make_admin_user(),
        }
        self.rows = {
            "skill-detail": common.make_skill(),
            "community-of-practice-detail": common.make_cop(),
            "role-detail": common.make_role(),
            "project-detail": common.make_project(),
            "user-detail": self.volunteer,
        }
        self.payload = common.opportunity_payload()

    def url(self, name: str, who: str) -> str:
        """Return the URL of a route, with a row that lives for one request only where it may be deleted."""
        if name == "api-not-found":
            return "/api/nowhere/"
        if name in {"opportunity-detail", "opportunity-matches", "user-me-match"}:
            author = self.users["former_pm" if who == "former_pm" else "creator"]
            return reverse(name, args=[common.make_opportunity(created_by=author).pk])
        return reverse(name, args=[self.rows[name].pk] if name in self.rows else [])

    def test_matrix_covers_every_route(self) -> None:
        """A new route fails here until the matrix says who may use it."""
        names = {name for name in route_names(get_resolver().url_patterns) if not name.startswith("admin:")}
        self.assertEqual(names, set(API_MATRIX))
        for name, methods in API_MATRIX.items():
            self.assertEqual((name, set(methods)), (name, set(METHODS)))
            for row in methods.values():
                self.assertEqual(set(row), set(WHO))

    def test_anonymous_with_dead_or_broken_cookies_gets_nothing_public(self) -> None:
        """An answer that sets or ends a cookie is kept by no cache, on any route; some do, on some routes."""
        found = set()
        for name in API_MATRIX:
            for cookie, value in (("sessionid", "d" * 32), ("csrftoken", "x"), ("messages", "x")):
                client = Client()
                client.cookies[cookie] = value
                response = client.get(self.url(name, "anonymous"))
                for told in response.cookies:
                    found.add((name, told))
                    with self.subTest(route=name, cookie=cookie):
                        self.assertEqual(response["Cache-Control"], "private, no-store")
                        self.assertIn("Cookie", response["Vary"])
        self.assertLessEqual({("opportunity-list", "sessionid"), ("skill-list", "csrftoken")}, found)

    def test_everyone_gets_what_the_matrix_says(self) -> None:
        """Each cell is a request: who, method, route; a refusal says by its code which one it is."""
        for name, methods in API_MATRIX.items():
            for method, expected in methods.items():
                for who, status in expected.items():
                    self.client.force_authenticate(self.users[who])
                    with self.subTest(route=name, method=method, who=who):
                        body = BODIES.get(name) or (self.payload if name.startswith("opportunity") else {})
                        arguments = [] if method == "get" else [body]
                        response = getattr(self.client, method)(self.url(name, who), *arguments)
                        self.assertEqual(response.status_code, status)
                        if status >= 400 and name != "metrics":
                            refused = "not_authenticated" if who == "anonymous" else "permission_denied"
                            self.assertEqual(common.error_of(response)["code"], {**CODES, 403: refused}[status])

    def test_everyone_without_token_writes_nothing(self) -> None:
        """Neither a session without a token nor with a wrong one is enough for anything that is written."""
        cells = [(name, method, API_MATRIX[name][method]) for name in API_MATRIX for method in METHODS[1:]]
        written = [cell for cell in cells if {200, 201, 204, 400} & set(cell[2].values())]
        self.assertEqual(len(written), 12)
        for user, token in product((self.users["creator"], None), ({}, {"HTTP_X_CSRFTOKEN": "x" * 64})):
            client = common.browser(user)
            client.credentials(**token)
            for name, method, _ in written:
                url, before = self.url(name, "creator"), Opportunity.objects.count()
                with self.subTest(route=name, method=method, user=user, token=token):
                    response = getattr(client, method)(url, self.payload)
                    code = common.error_of(response)["code"]
                    self.assertEqual((response.status_code, code), (403, "permission_denied"))
                    self.assertEqual((Opportunity.objects.count(), UserProfile.objects.count()), (before, 5))


class AdminPermissionTests(TestCase):
    """Every admin page, for everyone."""

    def setUp(self) -> None:
        """Make a row of each model, and one of each kind of user."""
        creator = common.make_pm_user()
        self.users = {"other_pm": common.make_pm_user(), "creator": creator, "administrator": common.make_admin_user()}
        self.rows: dict[str, Any] = {
            "skill": common.make_skill(),
            "opportunity": common.make_opportunity(created_by=creator),
            "communityofpractice": common.make_cop(),
            "role": common.make_role(),
            "project": common.make_project(),
            "userprofile": common.make_regular_user(),
            "syncrun": common.make_sync_run(),
        }
        gone = common.make_opportunity()
        keep_deleted(creator, [gone])
        self.rows["deletedopportunity"] = DeletedOpportunity.objects.get()

    def url(self, model: str, page: str) -> str:
        """Return the URL of a page of a model."""
        args = [] if page in LISTS else [self.rows[model].pk]
        return reverse(f"admin:ctj_api_{model}_{page}", args=args)

    def pages(self) -> Iterator[tuple[str, str, dict[str, int]]]:
        """Return name, URL and who sees what of every admin page."""
        arguments: dict[str, list[Any]] = {"app_list": ["ctj_api"], "view_on_site": [1, 1]}
        for name, expected in ADMIN_SITE.items():
            yield name, reverse(f"admin:{name}", args=arguments.get(name, [])), expected
        for model, pages in ADMIN_MODELS.items():
            for page, expected in pages.items():
                yield f"ctj_api_{model}_{page}", self.url(model, page), expected

    def stored(self) -> dict[str, Any]:
        """Return the rows as the database has them."""
        return {name: type(row)._default_manager.filter(pk=row.pk).values().first() for name, row in self.rows.items()}

    def test_matrix_covers_every_route(self) -> None:
        """A new admin page fails here until the matrices say who may open it, and who may send it a form."""
        names = {
            name.removeprefix("admin:")
            for name in route_names(get_resolver().url_patterns)
            if name.startswith("admin:") and "(?P<" not in name and "<path:object_id>/" not in name
        }
        self.assertEqual(names, {name for name, _, _ in self.pages()})
        pages = {f"{model}_{page}" for model, pages in ADMIN_MODELS.items() for page in pages}
        self.assertEqual(set(ADMIN_POSTS), pages)

    def test_anyone_from_outside_is_sent_to_the_sign_in(self) -> None:
        """Volunteers, inactive project managers, and permissions without being staff don't count."""
        before = self.stored()
        permitted = common.make_staff_user("add_skill", "change_skill", "delete_skill", is_staff=False)
        for user in (None, common.make_regular_user(), common.make_pm_user(is_active=False), permitted):
            if user:
                self.client.force_login(user)
            for name, url, _ in self.pages():
                with self.subTest(page=name, user=user):
                    response = self.client.get(url)
                    if name in OPEN_ADMIN_PAGES:
                        self.assertEqual(response.status_code, OPEN_ADMIN_PAGES[name])
                        continue
                    sign_in = f"{reverse('admin:login')}?next={url}"
                    self.assertRedirects(response, sign_in)
                    if name not in ADMIN_SITE:
                        forged = self.client.post(url, {"post": "yes", "name": "x", "is_superuser": "on"})
                        self.assertRedirects(forged, sign_in)
        client = Client(enforce_csrf_checks=True)  # another site, in the name of somebody who is signed in
        client.force_login(self.users["creator"])
        for page in ("add", "change", "delete", "changelist"):
            self.assertEqual(client.post(self.url("opportunity", page), {"post": "yes"}).status_code, 403)
        self.assertEqual(self.stored(), before)

    def test_everyone_gets_what_the_matrix_says(self) -> None:
        """Each cell is a page that is opened."""
        for name, url, expected in self.pages():
            for who, status in expected.items():
                self.client.force_login(self.users[who])
                with self.subTest(page=name, who=who):
                    self.assertEqual(self.client.get(url).status_code, status)

    def test_everyone_posts_what_the_matrix_says(self) -> None:
        """Each cell is a form that is sent; one that is refused changes nothing."""
        for name, expected in ADMIN_POSTS.items():
            for who, status in expected.items():
                self.client.force_login(self.users[who])
                with self.subTest(page=name, who=who), transaction.atomic():
                    before = self.stored()
                    response = self.client.post(self.url(*name.split("_", 1)), FORGED)
                    self.assertEqual(response.status_code, status)
                    if status == 403:
                        self.assertEqual(self.stored(), before)
                    transaction.set_rollback(True)

    def test_other_pm_has_no_action_that_is_not_theirs(self) -> None:
        """A forged action on the lists of skills and users deletes, merges and promotes nothing."""
        self.client.force_login(self.users["other_pm"])
        for model, action in (
            ("skill", "delete_selected"),
            ("skill", "merge_selected"),
            ("userprofile", "make_project_manager"),
            ("role", "delete_selected"),
            ("project", "delete_selected"),
        ):
            with self.subTest(model=model, action=action):
                before = self.stored()
                form = {"action": action, "_selected_action": [str(self.rows[model].pk)], "post": "yes"}
                self.client.post(self.url(model, "changelist"), form)
                self.assertEqual(self.stored(), before)
