"""The database itself refuses what must not be: each constraint is proved by an insert that fails."""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import uuid4

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.db.models import ProtectedError
from django.test import TestCase
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase as HypothesisTestCase

from ctj_api import validators
from ctj_api.models import CommunityOfPractice, Skill, SkillMatrix, UserProfile
from ctj_api.validators import normal_name, validate_meeting_times, validate_person_name, validate_week_slots

from . import common as make

SLOT: dict[str, Any] = {"day": "mon", "start": "18:00", "end": "20:00"}
NO_DAYS: list[Any] = ["monday", "MON", 1, ["mon"], None]
NO_STARTS: list[Any] = ["20:00", "21:00", "9:00", "18:60", 18, ["18:00"], "18:00\n", None]
NO_ENDS: list[Any] = ["24:01", "25:00", None, ["20:00"]]
BAD_SLOTS: list[Any] = [
    *(None, 3, "mon", [], [SLOT], {}, {**SLOT, "extra": 1}, {**SLOT, "start": "24:00", "end": "24:00"}),
    *({name: SLOT[name] for name in SLOT if name != missing} for missing in SLOT),
    *({**SLOT, name: value} for name, bad in zip(SLOT, (NO_DAYS, NO_STARTS, NO_ENDS), strict=True) for value in bad),
]
BAD_WEEKS: list[Any] = [
    *(None, [], "mon", 3, True, {}, {"slots": []}, {"timezone": "UTC"}, {**make.WEEK, "extra": 1}),
    *({**make.WEEK, "timezone": zone} for zone in (None, 3, "", ["UTC"])),
    *({**make.WEEK, "slots": slots} for slots in (None, {}, SLOT, "mon", [SLOT] * 101)),
    *({**make.WEEK, "slots": [SLOT, slot]} for slot in BAD_SLOTS),
]
GOOD_WEEKS: list[Any] = [
    make.WEEK,
    {"timezone": "Etc/GMT+8", "slots": []},
    {"timezone": "America/Argentina/Buenos_Aires", "slots": [{"day": "sun", "start": "00:00", "end": "24:00"}] * 100},
]


def is_refused(name: str) -> bool:
    """Return whether the validator refuses a person's name."""
    try:
        validate_person_name(name)
    except ValidationError:
        return True
    return False


class ConstraintTests(TestCase):
    """Rows written past all validators."""

    def setUp(self) -> None:
        """Make the rows that others refer to."""
        self.cop, self.role, self.project = make.make_cop(), make.make_role(), make.make_project()
        self.skill = make.make_skill(name="React")
        self.user = make.make_regular_user(email="ana@example.org")
        self.opportunity = make.make_opportunity(created_by=self.user)
        self.key = str(self.skill.pk)

    def assert_refused(self, constraint: str, write: Callable[[], Any]) -> None:
        """Fail unless ``write`` violates ``constraint``."""
        with self.assertRaises(IntegrityError) as caught, transaction.atomic():
            write()
            connection.check_constraints()
        self.assertEqual(caught.exception.__cause__.diag.constraint_name, constraint)  # type: ignore[union-attr]

    def change(self, row: models.Model, **values: Any) -> Callable[[], Any]:
        """Return an update that no validator sees."""
        return lambda: type(row)._default_manager.filter(pk=row.pk).update(**values)

    def write(self, row: models.Model, column: str, value: Any) -> Callable[[], Any]:
        """Return an update that goes past the field's normal form."""
        return partial(make.execute, f"UPDATE {row._meta.db_table} SET {column} = %s WHERE id = %s", value, row.pk)

    def write_levels(self, levels: str) -> Callable[[], Any]:
        """Return an update of a matrix with JSON text, as somebody at the SQL prompt would write it."""
        return self.write(self.opportunity.skills_required_matrix, "levels", levels)

    def test_sql_write_against_any_constraint_fails(self) -> None:
        """Every constraint of every model bites; one that is missing here fails the test."""
        linked = {"cognito_pool": "us-west-2_Pool", "cognito_sub": "of-ana"}
        make.make_project(name="VRMS")
        make.make_regular_user(email="ben@example.org")
        make.make_role(title="Developer", community_of_practice=self.cop)
        cases: dict[str, Callable[[], Any]] = {
            "community_practice_area_enum": self.change(self.cop, practice_area="gardening"),
            "community_name_filled": self.change(self.cop, name=""),
            "role_title_unique_in_any_case": partial(make.make_role, title="DEVELOPER", community_of_practice=self.cop),
            "role_title_normal": self.write(self.role, "title", "Web\u00a0developer"),
            "role_source_enum": self.change(self.role, source="elsewhere"),
            "project_source_enum": self.change(self.project, source="elsewhere"),
            "skill_source_enum": self.change(self.skill, source=""),
            "project_name_unique_in_any_case": partial(make.make_project, name="vrms"),
            "project_name_normal": self.write(self.project, "name", ""),
            "project_meeting_times_shape": self.change(self.project, meeting_times=[]),
            "skill_name_unique_in_any_case": partial(make.make_skill, name="rEACT"),
            "skill_name_normal": self.write(self.skill, "name", "Cafe\u0301"),
            "skill_aliases_normal": self.change(self.skill, aliases=[None]),
            "skill_matrix_levels_shape": self.write_levels("[]"),
            "skill_matrix_levels_size": self.write_levels(json.dumps({str(uuid4()): 1 for _ in range(251)})),
            "user_email_lower_case": self.write(self.user, "email", "Ana@example.org"),
            "user_email_filled": self.change(self.user, email=""),
            "user_first_name_plain": self.change(self.user, first_name="Ana\n"),
            "user_last_name_plain": self.change(self.user, last_name="\u202eReyes"),
            "user_first_name_letter": self.change(self.user, first_name="..."),
            "user_last_name_letter": self.change(self.user, last_name="\u3164"),
            "user_max_available_hours_range": self.change(self.user, max_available_hours=169),
            "user_meeting_availability_shape": self.change(self.user, meeting_availability={}),
            "user_cognito_pool_with_sub": self.change(self.user, cognito_sub="of-ana"),
            "user_cognito_sub_unique_in_pool": partial(UserProfile.objects.update, **linked),
            "sync_run_outcome_enum": partial(make.make_sync_run, outcome="lost"),
            "opportunity_status_enum": self.change(self.opportunity, status="lost"),
            "opportunity_work_environment_enum": self.change(self.opportunity, work_environment="moon"),
            "opportunity_min_experience_enum": self.change(self.opportunity, min_experience_required="guru"),
            "opportunity_min_hours_range": self.change(self.opportunity, min_hours_required=169),
            "opportunity_body_filled": self.change(self.opportunity, body=""),
            "opportunity_meeting_times_shape": self.change(self.opportunity, meeting_times={}),
        }
        own_models = apps.get_app_config("ctj_api").get_models()
        declared = {constraint.name for model in own_models for constraint in model._meta.constraints}
        self.assertEqual(set(cases), declared)
        for constraint, write in cases.items():
            with self.subTest(constraint):
                self.assert_refused(constraint, write)

    def test_sql_write_of_aliases_succeeds_in_their_normal_form_only(self) -> None:
        """Each is one line, none is empty or NULL, and there are twenty at most, of 800 letters."""
        names = [f"Name {number}, |\u00e9" for number in range(21)]
        wrong: list[Any] = [*"\n\t\u200b\u00a0", "", " a", "a  b", "Cafe\u0301", None]
        for aliases in (names, [letter * 200 for letter in "abcd"], *(["a", alias] for alias in wrong)):
            with self.subTest(aliases[-1]):
                self.assert_refused("skill_aliases_normal", self.write(self.skill, "aliases", aliases))
        for aliases in (names[:20], []):
            self.write(self.skill, "aliases", aliases)()

    def test_sql_write_of_addresses_is_refused_as_by_the_validator(self) -> None:
        """Quotes, literals, what means something in links, controls, no dot in the domain; createsuperuser as well."""
        for good in ("ana.o'reyes+ctj@mail.example.org", "a@b.co", "x_1-2/3=4@xn--bcher-kva.example"):
            validators.validate_plain_address(good)
            self.write(self.user, "email", good)()
        local = [f"a{sign}b@example.org" for sign in '"?&%() ,:;<>@[]\\\t\n\x7f\u00e9']
        domains = ["ana@localhost", "ana@[127.0.0.1]", "ana@example.org\n", "ana@ex\u00e4mple.org", "ana@.org"]
        for bad in (*local, *domains, "ana", "@example.org", "ana@", '"ana"@example.org'):
            with self.subTest(bad):
                self.assertRaises(ValidationError, validators.validate_plain_address, bad)
                self.assert_refused("user_email_plain", self.write(self.user, "email", bad))
                self.assert_refused("user_email_plain", partial(make.make_regular_user, email=bad))
                self.assertRaises(ValidationError, UserProfile.objects.create_superuser, bad, make.PASSWORD)
                self.assertRaises(ValidationError, UserProfile(email=bad).full_clean)

    def test_sql_write_of_person_names_is_refused_as_by_the_validator(self) -> None:
        """All controls, separators of lines and what turns text around; all else is fine, unseen joiners included."""
        bidirectional = {"\u061c", "\u200e", "\u200f", *map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
        stored = [chr(code) for code in range(1, 0x3000)]
        refused = {sign for sign in stored if unicodedata.category(sign) in {"Cc", "Zl", "Zp"}} | bidirectional
        self.assertEqual({sign for sign in stored if is_refused(f"A{sign}")}, refused)
        query = "SELECT array_agg(chr(code)) FROM unnest(%s::int[]) AS code WHERE chr(code) ~ %s"
        (found,) = make.execute(query, [ord(sign) for sign in stored], validators.NO_PART_OF_A_NAME)
        self.assertEqual(set(found), refused)
        for name in ("José María", "O'Neill-Smith Jr.", "మన్\u200cహా", "ක්\u200dෂ", "李小龍", "a\u00a0b"):
            validate_person_name(name)
            self.change(self.user, first_name=name, last_name=name)()

    def test_sql_write_of_levels_takes_good_ones_only(self) -> None:
        """Whole numbers from 1 to 5 by lower-case ids of skills that exist, of 250 skills at most."""
        bad_levels = ["0", "6", "-1", "1.0", "1.5", "10", '"3"', "true", "null", "[]", "[3]", "{}", '{"a": 3}', "1e20"]
        bad_keys = ["x", "", self.key.upper(), self.key.replace("-", ""), f"{self.key} ", f"{self.key}\\n"]
        bad = [f'{{"{self.key}": {level}}}' for level in bad_levels]
        bad += [f'{{"{key}": 3}}' for key in bad_keys]
        bad += [f'{{"{self.key}": 3, "{uuid4()}": 6}}', "[]", "null", "3", '"x"', "true", f'[{{"{self.key}": 3}}]']
        for levels in bad:
            with self.subTest(levels):
                self.assert_refused("skill_matrix_levels_shape", self.write_levels(levels))
        unknown = json.dumps({self.key: 3, make.UNKNOWN_ID: 1})
        self.assert_refused("skill_matrix_rated_skills_exist", self.write_levels(unknown))
        most = {str(make.make_skill().pk): 5 for _ in range(250)}
        for good in ({}, *({self.key: level} for level in range(1, 6)), most):
            self.write_levels(json.dumps(good))()
        self.assertEqual(validators.clean_skill_levels(most), most)
        connection.check_constraints()

    def test_sql_write_of_weeks_is_refused_as_by_the_validators(self) -> None:
        """JSON's null is no week; one from midnight to midnight or without a slot is, or none at all."""
        for week in (None, *GOOD_WEEKS):
            self.change(self.project, meeting_times=week)()
            self.change(self.user, meeting_availability=week)()
        for week in GOOD_WEEKS:
            validate_meeting_times(week)
            validate_week_slots(week)
        for week in BAD_WEEKS:
            with self.subTest(json.dumps(week)[:80]):
                stored = models.Value(None, models.JSONField()) if week is None else week
                self.assert_refused("project_meeting_times_shape", self.change(self.project, meeting_times=stored))
                write = self.change(self.user, meeting_availability=stored)
                self.assert_refused("user_meeting_availability_shape", write)
                for validate in (validate_meeting_times, validate_week_slots):
                    self.assertRaises(ValidationError, validate, week)

    def test_sql_write_of_named_slots_succeeds_for_meetings_only(self) -> None:
        """A meeting may have a name, which is a text; free time has none."""
        named = {**make.WEEK, "slots": [{**SLOT, "name": "Sync 🎉"}]}
        self.change(self.project, meeting_times=named)()
        validate_meeting_times(named)
        self.assert_refused("user_meeting_availability_shape", self.change(self.user, meeting_availability=named))
        self.assertRaises(ValidationError, validate_week_slots, named)
        for name in (None, 3, [], ["Sync"], "x" * 256):
            with self.subTest(name=name):
                bad = {**make.WEEK, "slots": [{**SLOT, "name": name}]}
                self.assert_refused("project_meeting_times_shape", self.change(self.project, meeting_times=bad))
                self.assertRaises(ValidationError, validate_meeting_times, bad)

    def test_week_in_unknown_timezone_is_refused_by_validators(self) -> None:
        """The database checks the form of their names only, which change without a migration."""
        for zone in ("Mars/Olympus", "../etc/passwd", "utc ", "localtime", "Factory"):
            self.assertRaises(ValidationError, validate_week_slots, {**make.WEEK, "timezone": zone})
        for zone in ("Asia/Calcutta", "US/Pacific", "UTC"):
            validate_week_slots({**make.WEEK, "timezone": zone})

    def test_model_validation_takes_rows_without_optional_values(self) -> None:
        """What may be absent may be absent in forms as well."""
        for row in (self.user, self.project, self.opportunity, self.role, self.skill, self.cop):
            row.full_clean()

    def test_sql_write_works_without_a_search_path(self) -> None:
        """As in a restore, which names every table in full."""
        make.execute("SET LOCAL search_path = ''")
        make.execute("UPDATE public.ctj_api_skillmatrix SET levels = %s", json.dumps({self.key: 3}))
        make.execute("DELETE FROM public.ctj_api_opportunity")
        self.assertEqual(make.execute("SELECT count(*) FROM public.ctj_api_skillmatrix"), (0,))

    def test_model_validation_says_the_same_as_the_database(self) -> None:
        """``full_clean`` brings a matrix into its normal form, and names the wrong skill."""
        matrix = SkillMatrix(levels={self.key.upper(): 3})
        matrix.full_clean()
        self.assertEqual(matrix.levels, {self.key: 3})
        with self.assertRaisesMessage(ValidationError, "React: the level must be a whole number from 1 to 5, not 6."):
            SkillMatrix(levels={self.key: 6}).full_clean()


class NormalNameTests(HypothesisTestCase):
    """Names, as the database and Python see them."""

    def refused(self, constraint: str, column: str, values: Iterable[str]) -> set[str]:
        """Return those of ``values`` that a constraint of the database refuses in its column."""
        named = "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = %s"
        (check,) = make.execute(named, constraint)
        rows = f"SELECT unnest(%s::text[])::varchar COLLATE pg_c_utf8 AS {column}"
        (found,) = make.execute(f"SELECT array_agg({column}) FROM ({rows}) AS rows WHERE NOT ({check})", list(values))
        return set(found or ())

    @given(st.text(st.characters(exclude_categories=("Cs", "Cn"), exclude_characters="\0"), min_size=1))
    @example("Cafe\u0301")
    @example(" \u00a0React\u2028\t18 ")
    @example("a\u200d\u0301\u00ad\ufeff\u202e\x1c")
    @settings(deadline=None)
    def test_sql_write_of_a_name_succeeds_in_its_normal_form_only(self, text: str) -> None:
        """What the normaliser changes is refused, and what it returns is taken, by both."""
        normal = normal_name(text)
        self.assertEqual(normal_name(normal), normal)
        changed = {text} - {normal} | {normal} & {""}
        self.assertEqual(self.refused("skill_name_normal", "name", [text, normal]), changed)

    def test_sql_write_of_any_sign_is_refused_as_by_the_validators(self) -> None:
        """No sign of any of Unicode's categories is part of a name for one and not for the other."""
        signs = [sign for sign in map(chr, range(1, sys.maxunicode)) if unicodedata.category(sign) not in ("Cs", "Cn")]
        names = {f"a{sign}" for sign in signs}
        changed = {name for name in names if normal_name(name) != name}
        self.assertEqual(self.refused("skill_name_normal", "name", names), changed)
        unseen = {sign for sign in signs if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp"}}
        self.assertEqual({sign for sign in unseen if sign in normal_name(f"a{sign}a")}, set())
        letters = {sign for sign in signs if not is_refused(sign)}
        self.assertGreater(len(letters), 100_000)
        self.assertEqual(self.refused("user_first_name_letter", "first_name", letters), set())
        for name in ("...", "42", "\u200b", "\u3164", "🎉", "_", "-"):
            self.assertTrue(is_refused(name), name)
            self.assertEqual(self.refused("user_first_name_letter", "first_name", [name]), {name})


class IntegrityTests(TestCase):
    """What people wrote is not lost, and no matrix is left behind."""

    def setUp(self) -> None:
        """Make a volunteer and an opportunity that rate one skill."""
        self.skill = make.make_skill()
        self.user = make.make_regular_user({self.skill: 2})
        self.opportunity = make.make_opportunity({self.skill: 3}, created_by=self.user)

    def test_deleting_owners_deletes_their_matrices(self) -> None:
        """Through the model, the queryset or SQL by hand."""
        make.make_opportunity({self.skill: 1})
        self.user.delete()
        self.assertEqual(SkillMatrix.objects.count(), 2)
        self.opportunity.delete()
        make.execute("DELETE FROM ctj_api_opportunity")
        connection.check_constraints()
        self.assertFalse(SkillMatrix.objects.exists())

    def test_replacing_a_matrix_deletes_the_old_one(self) -> None:
        """A new row takes the place of the old one, which goes."""
        old = self.user.skills_learned_matrix
        self.user.skills_learned_matrix = make.make_matrix({self.skill: 5})
        self.user.save()
        connection.check_constraints()
        self.assertFalse(SkillMatrix.objects.filter(levels=old.levels if old else {}).exists())
        UserProfile.objects.filter(pk=self.user.pk).update(skills_learned_matrix=None)
        self.assertEqual(SkillMatrix.objects.get(), self.opportunity.skills_required_matrix)

    def test_matrix_without_owner_or_with_two_is_refused(self) -> None:
        """At the end of the transaction someone must own it alone, and before its owner it can't be deleted."""
        with self.assertRaisesMessage(IntegrityError, "one owner, not 0"), transaction.atomic():
            make.make_matrix({self.skill: 1})
            connection.check_constraints()
        matrix = self.opportunity.skills_required_matrix
        with self.assertRaisesMessage(IntegrityError, "one owner, not 2"), transaction.atomic():
            UserProfile.objects.filter(pk=self.user.pk).update(skills_learned_matrix=matrix)
            connection.check_constraints()
        self.assertRaises(ProtectedError, matrix.delete)

    def test_rated_skill_cannot_be_deleted(self) -> None:
        """Not through the model either; it can once nobody rates it."""
        with self.assertRaisesMessage(IntegrityError, "still rates this skill"), transaction.atomic():
            self.skill.delete()
        self.user.delete()
        self.opportunity.delete()
        Skill.objects.get(pk=self.skill.pk).delete()

    def test_deleting_what_others_refer_to_is_refused(self) -> None:
        """Communities, roles and projects stay while a listing or a role needs them."""
        community = CommunityOfPractice.objects.get(roles=self.opportunity.role)
        for row in (self.opportunity.project, self.opportunity.role, community):
            self.assertRaises(ProtectedError, row.delete)
