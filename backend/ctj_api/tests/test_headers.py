"""The headers that every answer carries, whoever makes it and whatever went wrong."""

from typing import Any
from unittest.mock import patch

from django.db import OperationalError
from django.test import TestCase, override_settings

from .common import make_admin_user, make_opportunity, make_skill

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class HeaderTests(TestCase):
    """Over HTTPS, in production."""

    def answers(self) -> dict[str, Any]:
        """Return an answer of each kind, by what it is."""
        opportunity, client = make_opportunity(), self.client
        client.raise_request_exception = False
        with patch("ctj_api.views.SkillFilter.read", side_effect=ZeroDivisionError):
            broken = client.get("/api/skills/", secure=True)
        with patch("ctj_api.views.SkillFilter.read", side_effect=OperationalError):
            away = client.get("/api/skills/", secure=True)
        etag = client.get("/api/skills/", secure=True)["ETag"]
        answers = {
            "list": client.get("/api/skills/", secure=True),
            "head": client.head("/api/opportunities/", secure=True),
            "detail": client.get(f"/api/opportunities/{opportunity.pk}/", secure=True),
            "not modified": client.get("/api/skills/", secure=True, headers={"if-none-match": etag}),
            "health check": client.get("/api/healthcheck/", secure=True),
            "docs": client.get("/api/docs/", secure=True),
            "schema": client.get("/api/schema/", secure=True),
            "sign-in": client.get("/admin/login/", secure=True),
            "redirect": client.get("/admin/", secure=True),
            "not signed in": client.get("/api/users/me/", secure=True),
            "no such route": client.get("/api/nowhere/", secure=True),
            "no such page": client.get("/nowhere/", secure=True),
            "bad parameter": client.get("/api/skills/?x=1", secure=True),
            "wrong method": client.post("/api/skills/", secure=True),
            "foreign host": client.get("/api/skills/", secure=True, headers={"host": "evil.example"}),
            "error": broken,
            "database away": away,
        }
        client.force_login(make_admin_user())
        make_skill()
        return answers | {"admin": client.get("/admin/ctj_api/skill/", secure=True)}

    @override_settings(SECURE_HSTS_SECONDS=31_536_000)
    def test_every_answer_carries_them(self) -> None:
        """Also those that middleware makes, and those that replace another."""
        statuses = set()
        for name, response in self.answers().items():
            statuses.add(response.status_code)
            for header, value in EVERYWHERE.items():
                with self.subTest(name, header=header):
                    self.assertEqual(response.get(header), value)
            with self.subTest(name):
                self.assertIn("max-age=31536000", response.get("Strict-Transport-Security", ""))
                self.assertIn("camera=()", response.get("Permissions-Policy", ""))
                policy = response.get("Content-Security-Policy", "")
                self.assertIn("default-src 'none'", policy)
                self.assertIn("frame-ancestors 'none'", policy)
                self.assertNotIn("unsafe", policy)
        self.assertEqual(statuses, {200, 302, 304, 400, 403, 404, 405, 500, 503})

    def test_pages_have_a_nonce_of_their_own_and_are_kept_by_no_cache_in_the_admin(self) -> None:
        """Nor is the page on which to sign in."""
        first, second = (self.client.get("/api/docs/")["Content-Security-Policy"] for _ in range(2))
        self.assertIn("'nonce-", first)
        self.assertNotEqual(first, second)
        self.client.force_login(make_admin_user())
        for path in ("/admin/login/", "/admin/", "/admin/ctj_api/userprofile/"):
            self.assertIn("no-store", self.client.get(path)["Cache-Control"])

    @override_settings(SECURE_SSL_REDIRECT=True)
    def test_plain_http_is_sent_on_to_https(self) -> None:
        """But for the health check, which load balancers make without."""
        self.assertEqual(self.client.get("/api/skills/").status_code, 301)
        self.assertEqual(self.client.get("/api/healthcheck/").status_code, 200)
