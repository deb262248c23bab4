"""The OpenAPI document says what the API does."""

from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import SimpleTestCase, override_settings
from jsonschema import Draft202012Validator
from rest_framework.test import APITestCase

from ctj_api.enums import PracticeArea
from ctj_api.exceptions import NO_SUCH_PARAMETER, ErrorCode
from ctj_api.http.schema import PARTS
from ctj_api.matching import SkillStatus
from ctj_api.validators import DAYS, MAX_LEVEL, MAX_SKILLS, MAX_SLOT_NAME, MAX_SLOTS, MIN_LEVEL

from . import common
from .test_permissions import API_MATRIX, METHODS

MADE_UP_TOKEN = {"Authorization": "Bearer made-up"}
UNSAFE = {"post", "put", "patch", "delete"}


class SchemaTests(SimpleTestCase):
    """The committed document."""

    def setUp(self) -> None:
        """Read it."""
        self.text = (Path(settings.BASE_DIR) / "openapi-schema.yml").read_text(encoding="utf-8")
        self.schema: dict[str, Any] = yaml.safe_load(self.text)
        self.operations = [
            (path, method, operation)
            for path, methods in self.schema["paths"].items()
            for method, operation in methods.items()
        ]

    def test_maintainer_finds_the_document_current(self) -> None:
        """What is committed is what the code generates."""
        out = StringIO()
        call_command("spectacular", "--validate", "--fail-on-warn", stdout=out)
        self.assertEqual(out.getvalue().strip(), self.text.strip())

    def test_client_finds_every_operation_described(self) -> None:
        """As many operations as the permission matrix lets anyone do; the document and its page aside."""
        served = {
            (name, method)
            for name, methods in API_MATRIX.items()
            for method in METHODS
            if set(methods[method].values()) - {403, 404, 405}
        }
        served -= {("schema", "get"), ("docs", "get")}
        self.assertEqual(len(self.operations), len(served))

    def test_client_finds_the_envelope_described_for_every_failure(self) -> None:
        """Each response of 400 and above refers to the one shape."""
        for path, method, operation in self.operations:
            with self.subTest(path=path, method=method):
                errors = {status for status in operation["responses"] if status >= "400"}
                expected = {"400", "406", "500", "503"}
                expected |= {"404"} if "{" in path else set()
                expected |= {"403", "415"} if method in UNSAFE else set()
                self.assertLessEqual(expected, errors)
                for status in errors:
                    name = operation["responses"][status]["$ref"].rsplit("/", 1)[1]
                    content = self.schema["components"]["responses"][name]["content"]["application/json"]
                    self.assertEqual(content["schema"], {"$ref": "#/components/schemas/Error"})

    def test_client_is_told_to_send_the_token_with_every_unsafe_operation(self) -> None:
        """Whether or not it requires a session; an ID token needs no other beside it."""
        for path, method, operation in self.operations:
            with self.subTest(path=path, method=method):
                for requirement in operation["security"]:
                    expected = method in UNSAFE and "idToken" not in requirement
                    self.assertEqual("csrfToken" in requirement, expected)

    def test_client_finds_every_query_parameter_explained(self) -> None:
        """With a description, and with an example that the schema of the parameter admits."""
        parameters = [row for *_, operation in self.operations for row in operation.get("parameters", [])]
        queried = [row for row in parameters if row["in"] == "query"]
        self.assertGreater(len(queried), 30)
        for row in queried:
            with self.subTest(row["name"]):
                self.assertGreater(len(row["description"]), 10)
                self.assertEqual(faults_of(row["examples"]["Example"]["value"], row["schema"]), [])

    def test_client_finds_versions_and_waiting_times_described(self) -> None:
        """Which writes take ``If-Match`` and answer 412, which answers carry a tag, and which say when to try again."""
        written = {f"{method} {path}" for path, method, row in self.operations if "412" in row["responses"]}
        me, listings = "/api/users/me/", "/api/opportunities/"
        answered = {f"put {me}", f"patch {me}", f"put {listings}{{id}}/"}
        self.assertEqual(written, {*answered, f"delete {me}", f"delete {listings}{{id}}/"})
        answered.add(f"post {listings}")
        for path, method, row in self.operations:
            with self.subTest(path=path, method=method):
                headers = {parameter["name"] for parameter in row.get("parameters", []) if parameter["in"] == "header"}
                self.assertEqual("If-Match" in headers, f"{method} {path}" in written)
                has_tag = any("ETag" in answer.get("headers", ()) for answer in row["responses"].values())
                self.assertEqual(has_tag, "304" in row["responses"] or f"{method} {path}" in answered)
        for name in ("TooManyRequests", "ServiceUnavailable"):
            self.assertIn("Retry-After", self.schema["components"]["responses"][name]["headers"])

    def test_client_finds_the_limits_of_matrices_and_weeks_described(self) -> None:
        """The document's own numbers and days are those that values are checked by."""
        levels, slots = PARTS["levels"], PARTS["meeting_times"]["properties"]["slots"]
        level, slot = levels["additionalProperties"], slots["items"]["properties"]
        described = [level["minimum"], level["maximum"], levels["maxProperties"], slots["maxItems"]]
        self.assertEqual(described, [MIN_LEVEL, MAX_LEVEL, MAX_SKILLS, MAX_SLOTS])
        self.assertEqual((slot["name"]["maxLength"], tuple(slot["day"]["enum"])), (MAX_SLOT_NAME, DAYS))
        self.assertEqual(PARTS["community"]["anyOf"][1]["enum"], PracticeArea.values)
        self.assertEqual(PARTS["schemas"]["SkillStatusEnum"]["enum"], list(SkillStatus))

    def test_client_gets_a_type_for_error_codes_and_enums(self) -> None:
        """Clients get a type for each closed set of values."""
        schemas = self.schema["components"]["schemas"]
        self.assertEqual(schemas["ErrorCodeEnum"]["enum"], [code.value for code in ErrorCode])
        self.assertLessEqual({"StatusEnum", "WorkEnvironmentEnum", "ExperienceEnum", "PracticeAreaEnum"}, set(schemas))


class ResponseTests(APITestCase):
    """Real answers, held against the committed document."""

    def setUp(self) -> None:
        """Make a sparse row of each kind, and a full one."""
        self.schema = yaml.safe_load((Path(settings.BASE_DIR) / "openapi-schema.yml").read_text(encoding="utf-8"))
        skill = common.make_skill(description="For pages")
        skill.communities_of_practice.add(common.make_cop())
        common.make_project(meeting_times=common.WEEK)
        self.sparse = common.make_regular_user()
        self.full = common.make_regular_user(
            {skill: 5}, first_name="Ana", community_of_practice=common.make_cop(), meeting_availability=common.WEEK
        )
        common.make_opportunity()
        self.wanted = common.make_opportunity({skill: 5}, min_experience_required="senior", created_by=self.full)

    def assert_described(self, path: str, pk: object = None) -> None:
        """Fail unless the answer to a GET, which is not empty, has the shape that the document gives it."""
        described = self.schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        response = self.client.get(path.replace("{id}", str(pk)))
        self.assertTrue(body := response.json())
        self.assertEqual("ETag" in response, "304" in self.schema["paths"][path]["get"]["responses"])
        self.assertEqual(faults_of(body, {**described, "components": self.schema["components"]}), [])

    def test_anonymous_lists_are_as_described(self) -> None:
        """Each list holds rows with and without their optional values."""
        for name in ("skills", "communities-of-practice", "roles", "projects", "opportunities", "healthcheck"):
            with self.subTest(name):
                self.assert_described(f"/api/{name}/")

    def test_authenticated_user_record_and_matches_are_as_described(self) -> None:
        """Before the qualifier was filled in, and after; rankings in both directions."""
        for user in (self.sparse, self.full):
            self.client.force_authenticate(user)
            self.assert_described("/api/users/me/")
        self.assert_described("/api/users/me/matches/")
        self.assert_described("/api/users/me/matches/{id}/", self.wanted.pk)
        self.client.force_authenticate(common.make_pm_user())
        self.assert_described("/api/opportunities/{id}/matches/", self.wanted.pk)

    def test_pm_user_is_refused_a_bad_value_of_every_described_parameter_and_any_other(self) -> None:
        """A parameter that the document has and no view reads, or the other way round, fails here."""
        self.client.force_authenticate(common.make_pm_user())
        for path, methods in self.schema["paths"].items():
            rows = methods.get("get", {}).get("parameters", [])
            expected = {row["name"]: ["This is not UTF-8."] for row in rows if row["in"] == "query"}
            expected["nonsense"] = [NO_SUCH_PARAMETER]
            if "get" in methods:
                query = "&".join(f"{name}=%FF" for name in expected)
                response = self.client.get(f"{path.replace('{id}', common.UNKNOWN_ID)}?{query}")
                with self.subTest(path):
                    self.assertEqual(common.error_of(response)["fields"], expected)

    @override_settings(IDENTITY_PROVIDER="cognito")
    def test_attacker_with_a_bad_id_token_is_answered_as_described(self) -> None:
        """Refused where the document says 401; what it calls absent is, without a token, a 404 that says why."""
        for path, methods in self.schema["paths"].items():
            for method, operation in methods.items():
                request = method.upper(), path.replace("{id}", common.UNKNOWN_ID)
                absent, refused = self.client.generic(*request), self.client.generic(*request, headers=MADE_UP_TOKEN)
                with self.subTest(path=path, method=method):
                    is_absent = absent.status_code == 404 and "Cognito" in absent.content.decode()
                    self.assertEqual(is_absent, "Cognito keeps" in operation["description"])
                    is_refused = refused.status_code == 401 and "WWW-Authenticate" in refused
                    self.assertEqual(is_refused, "401" in operation["responses"])
        self.assertIn("WWW-Authenticate", self.schema["components"]["responses"]["Unauthorized"]["headers"])

    def test_client_finds_an_optional_address_described(self) -> None:
        """An empty text is no e-mail address, so that it is one of two alternatives and not both."""
        described = {"oneOf": [{"type": "string", "format": "email"}, {"type": "string", "maxLength": 0}]}
        self.assertEqual([bool(faults_of(value, described)) for value in ("", "a@b.org", "ab")], [False, False, True])


def faults_of(value: object, schema: dict[str, Any]) -> list[str]:
    """Return what of ``value`` is not as the schema describes it, formats included."""
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [fault.message for fault in validator.iter_errors(value)]


class SchemaPagesTests(APITestCase):
    """The document and its page, as served."""

    def test_everyone_gets_the_committed_document_as_json(self) -> None:
        """Whoever asks; nobody can have another one made, or kept for others."""
        committed = yaml.safe_load((Path(settings.BASE_DIR) / "openapi-schema.yml").read_text(encoding="utf-8"))
        for user in (None, common.make_regular_user()):
            self.client.force_authenticate(user)
            self.assertEqual(self.client.get("/api/schema/").json(), committed)
            for query in ("version=2", "lang=de"):
                self.assertEqual(self.client.get(f"/api/schema/?{query}").status_code, 400)
        self.assertEqual(committed["openapi"][:2], "3.")

    def test_anonymous_docs_load_nothing_from_elsewhere(self) -> None:
        """All assets are served by this app."""
        page = self.client.get("/api/docs/").content.decode()
        self.assertNotIn("https://", page)
        self.assertNotIn("http://", page)
        self.assertIn("/static/drf_spectacular_sidecar/", page)
