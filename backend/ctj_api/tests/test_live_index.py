"""The indexes in memory against what the database shows: after any writes, by anyone, committed or not."""

import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from functools import partial
from threading import Event
from unittest.mock import Mock, patch
from uuid import UUID

import psycopg
from django.db import OperationalError, transaction
from django.test import TransactionTestCase
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TransactionTestCase as HypothesisTransactionTestCase

from ctj_api.matching import Levels, OpportunityIndex, VolunteerIndex
from ctj_api.models import Opportunity, Skill, SkillMatrix, UserProfile
from ctj_api.ranking import live_index
from ctj_api.ranking.live_index import LiveIndex, count_volunteers, make_indexes
from ctj_api.ranking.row_changes import changes_since

from . import common as make
from .matching_oracle import Row, naive_ranking, naive_unmet, with_opportunity, with_volunteer

ANY = Fraction(0)
LEVELS = range(1, 6)


class RollbackError(Exception):
    """What ends a transaction without a trace."""


class IndexAssertions(TransactionTestCase):
    """Compares the indexes with the oracle's rankings of what the own connection sees."""

    def assert_as_the_database(self, skills: list[Skill]) -> None:
        """Rank for several levels of ``skills``, in both directions, and count."""
        opportunities = _rows((row, row.skills_required_matrix) for row in Opportunity.objects.open())
        volunteers = _rows((row, row.skills_learned_matrix) for row in UserProfile.objects.volunteers())
        for levels in ({str(skill.pk): level for skill in skills} for level in (1, 3, 5)):
            self.assertEqual(ranked(levels), naive_ranking(opportunities, with_volunteer(levels)))
            overlapping = naive_ranking(volunteers, with_opportunity(levels))
            self.assertEqual(ranked_volunteers(levels), overlapping)
            complete = sum(not naive_unmet(levels, row.levels) for row in volunteers if levels)
            self.assertEqual(count_volunteers({None: levels})[None], (len(overlapping), complete))


class RandomWritesTests(HypothesisTransactionTestCase, IndexAssertions):
    """Whatever is written in whatever order."""

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**32))
    def test_indexes_equal_the_oracle_after_random_writes(self, seed: int) -> None:
        """Through models, querysets and SQL, in transactions that are kept, rolled back, or rolled back in part."""
        writer = Writer(random.Random(seed))
        for _ in range(8):
            writer.write_something()
            self.assert_as_the_database(writer.skills)


class KnownListings(IndexAssertions):
    """Two listings that require the same, and are known to the index of this process."""

    def setUp(self) -> None:
        """Rank them for a volunteer who meets what they require."""
        super().setUp()
        self.skill = make.make_skill()
        self.first, self.second = (make.make_opportunity({self.skill: 3}) for _ in range(2))
        self.learned = {str(self.skill.pk): 3}
        self.assertEqual(len(self.ranked()), 2)

    def ranked(self, index: LiveIndex[OpportunityIndex[UUID]] | None = None) -> list[UUID]:
        """Return the whole ranking, by the index of this process or of another one."""
        used = index or live_index.OPEN_OPPORTUNITIES
        return used.read(lambda opportunities: opportunities.rank(self.learned, ANY, None))[:]


class LiveIndexTests(KnownListings):
    """Own transactions and those of others, changes without triggers, and the queries it takes."""

    def test_ranking_sees_what_another_connection_committed(self) -> None:
        """With the next question, in every process."""
        one, two = fresh_index(), fresh_index()
        both = [self.second.pk, self.first.pk]
        for status, before, after in (("closed", both, both[:1]), ("open", both[:1], both)):
            with make.other_connection() as other:
                set_status(other, self.first, status)
                self.assertEqual([self.ranked(one), self.ranked(two)], [before] * 2)
                other.commit()
            self.assertEqual([self.ranked(one), self.ranked(two)], [after] * 2)

    def test_ranking_sees_a_transaction_that_began_before_others_were_read(self) -> None:
        """Transactions come to light in another order than that of their numbers."""
        with make.other_connection() as early, make.other_connection() as late:
            set_status(early, self.first, "closed")
            set_status(late, self.second, "closed")
            late.commit()
            self.assertEqual(self.ranked(), [self.first.pk])
            with make.other_connection() as later:
                set_status(later, self.second, "open")
                later.commit()
            self.assertEqual(self.ranked(), [self.second.pk, self.first.pk])
            early.commit()
        self.assertEqual(self.ranked(), [self.second.pk])

    def test_ranking_sees_what_the_own_transaction_wrote_after_asking(self) -> None:
        """Asking within a transaction that writes must not pass off the rest of it as known."""
        with make.other_connection() as other, transaction.atomic():
            Opportunity.objects.filter(pk=self.first.pk).update(status="closed")
            other.execute("UPDATE ctj_api_skill SET description = 'by a later transaction, which ends earlier'")
            other.commit()
            self.assertEqual(self.ranked(), [self.second.pk])
            Opportunity.objects.filter(pk=self.second.pk).update(status="closed")
        self.assertEqual(make.in_another_thread(self.ranked), [])

    def test_threads_see_their_own_writes_at_once(self) -> None:
        """Writers and readers at the same time, with transactions that fail in between."""
        listings = [make.make_opportunity({self.skill: 3}) for _ in range(8)]

        def write_and_read(listing: Opportunity) -> None:
            chance = random.Random(listing.pk.int)
            for _ in range(25):
                level = chance.choice(LEVELS)
                with transaction.atomic():
                    SkillMatrix.objects.store({str(self.skill.pk): level}, into=listing.skills_required_matrix)
                with suppress(RollbackError), transaction.atomic():
                    SkillMatrix.objects.filter(pk=listing.skills_required_matrix_id).update(levels={})
                    self.assertNotIn(listing.pk, self.ranked())
                    raise RollbackError
                self.assertEqual(listing.pk in ranked(self.learned, Fraction(1)), level <= 3)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda listing: make.in_another_thread(lambda: write_and_read(listing)), listings))
        self.assert_as_the_database([self.skill])

    def test_ranking_notices_a_rewritten_table_and_an_emptied_one(self) -> None:
        """A restore puts rows in before it makes the triggers, and TRUNCATE calls none for a row."""
        make.execute("ALTER TABLE ctj_api_opportunity DISABLE TRIGGER USER")
        make.execute("UPDATE ctj_api_opportunity SET status = 'closed' WHERE id = %s", self.first.pk)
        make.execute("ALTER TABLE ctj_api_opportunity ENABLE TRIGGER USER")
        self.assertEqual(len(self.ranked()), 2)
        make.execute("VACUUM FULL ctj_api_opportunity")
        self.assertEqual(self.ranked(), [self.second.pk])
        make.execute("TRUNCATE ctj_api_opportunity CASCADE")
        self.assertEqual(self.ranked(), [])

    def test_index_that_is_made_within_a_transaction_is_not_kept(self) -> None:
        """A process, or one that knew another server, may be asked first in a transaction that is rolled back."""
        fresh, stale = fresh_index(), fresh_index()
        stale._snapshot, stale._history = "99999999999:99999999999:", "another server"
        with self.assertRaises(RollbackError), transaction.atomic():
            Opportunity.objects.filter(pk=self.first.pk).delete()
            self.assertEqual((self.ranked(fresh), self.ranked(stale)), ([self.second.pk], [self.second.pk]))
            raise RollbackError
        Opportunity.objects.filter(pk=self.second.pk).update(status="closed")
        self.assertEqual((self.ranked(fresh), self.ranked(stale)), ([self.first.pk], [self.first.pk]))

    def test_changes_of_another_cluster_are_not_read_again_and_again(self) -> None:
        """A restored table names transactions that are yet to come."""
        note_all_in = partial(make.execute, "UPDATE ctj_change SET changed_by = %s::text::xid8")
        self.addCleanup(note_all_in, *make.execute("SELECT pg_current_xact_id()::text"))  # no test empties this table
        note_all_in("1000000000000")
        self.ranked()
        with self.assertNumQueries(1):
            self.ranked()

    def test_ranking_takes_one_query_and_after_changes_two(self) -> None:
        """However many; what was committed beside a long transaction is read once, and other columns not at all."""
        for number in (1, 20):
            for _ in range(number):
                make.make_opportunity({self.skill: 3})
            SkillMatrix.objects.store({str(self.skill.pk): 1}, into=self.first.skills_required_matrix)
            for queries in (2, 1):
                with self.subTest(number=number), self.assertNumQueries(queries):
                    self.ranked()
        with make.other_connection() as other:
            set_status(other, self.first, "closed")
            make.make_opportunity({self.skill: 3})
            self.ranked()
            with self.assertNumQueries(1):
                self.ranked()
        volunteer = make.make_regular_user({self.skill: 3})
        self.assertEqual((len(self.ranked()), len(ranked_volunteers(self.learned))), (23, 1))
        Opportunity.objects.filter(pk=self.first.pk).update(body="Other words.", min_hours_required=9)
        UserProfile.objects.filter(pk=volunteer.pk).update(first_name="Ana", max_available_hours=5)
        Skill.objects.filter(pk=self.skill.pk).update(name="Renamed")
        with self.assertNumQueries(2):
            self.ranked()
            ranked_volunteers(self.learned)

    def test_indexes_that_were_made_before_cost_one_query_each(self) -> None:
        """The first ranking of each direction finds its index made."""
        rows = UserProfile.objects.volunteers
        volunteers = LiveIndex("volunteer", "skills_learned_matrix", VolunteerIndex[UUID], rows)
        self.enterContext(patch.multiple(live_index, OPEN_OPPORTUNITIES=fresh_index(), VOLUNTEERS=volunteers))
        make_indexes()
        with self.assertNumQueries(2):
            self.assertEqual((len(self.ranked()), len(ranked_volunteers(self.learned))), (2, 0))


class RebuildTests(KnownListings):
    """What others do while a thread reads all rows again."""

    def setUp(self) -> None:
        """Have an index that reads all rows anew when both listings change, once the gate is open."""
        super().setUp()
        self.gate = Event()
        self.gate.set()
        self.rows = Mock(side_effect=lambda: self.gate.wait(make.PATIENCE_SECONDS) and Opportunity.objects.open())
        self.index = LiveIndex("opportunity", "skills_required_matrix", OpportunityIndex[UUID], self.rows)
        self.enterContext(patch.object(live_index, "ROWS_AT_ONCE", 1))
        self.before = self.ask()
        self.rows.reset_mock()

    def ask(self) -> list[UUID]:
        """Return the ranking by this index."""
        return self.ranked(self.index)

    def test_threads_wait_for_one_rebuild(self) -> None:
        """However many of them ask, the rows are read once."""
        Opportunity.objects.update(status="closed")
        self.gate.clear()
        asked = self.enterContext(patch.object(live_index, "changes_since", side_effect=changes_since))
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(make.in_another_thread, self.ask) for _ in range(4)]
            make.wait_until(lambda: (asked.call_count, self.rows.call_count) == (4, 1))
            self.gate.set()
            self.assertEqual([answer.result() for answer in answers], [[]] * 4)
        self.assertEqual(self.rows.call_count, 1)

    def test_threads_that_see_no_change_go_on_with_the_old_index(self) -> None:
        """A transaction that began before the change isn't kept waiting for the new one."""
        with ThreadPoolExecutor(1) as pool:
            with transaction.atomic():
                make.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                self.assertEqual(self.ask(), self.before)
                make.in_another_thread(lambda: Opportunity.objects.update(status="closed"))
                self.gate.clear()
                rebuilt = pool.submit(make.in_another_thread, self.ask)
                make.wait_until(lambda: self.rows.call_count == 1)
                self.assertEqual((self.ask(), rebuilt.done()), (self.before, False))
                self.gate.set()
            self.assertEqual((rebuilt.result(), self.ask()), ([], []))

    def test_rebuild_that_fails_is_made_up_for_by_whoever_asks_next(self) -> None:
        """Nobody waits for the thread that gave up."""
        Opportunity.objects.update(status="closed")
        with patch.object(self.index, "_rows", side_effect=OperationalError("away")):
            self.assertRaises(OperationalError, self.ask)
        self.assertEqual(make.in_another_thread(self.ask), [])


def ranked(levels: Levels, minimum: Fraction = ANY) -> list[UUID]:
    """Return the whole ranking of the open opportunities."""
    return live_index.OPEN_OPPORTUNITIES.read(lambda index: index.rank(levels, minimum, None))[:]


def ranked_volunteers(levels: Levels) -> list[UUID]:
    """Return the whole ranking of the volunteers."""
    return live_index.VOLUNTEERS.read(lambda index: index.rank(levels, ANY, None))[:]


def fresh_index() -> LiveIndex[OpportunityIndex[UUID]]:
    """Return an index of the open opportunities, as another process would have one."""
    return LiveIndex("opportunity", "skills_required_matrix", OpportunityIndex[UUID], Opportunity.objects.open)


def set_status(other: psycopg.Connection, listing: Opportunity, status: str) -> None:
    """Change a status by another connection, which has yet to commit it."""
    other.execute("UPDATE ctj_api_opportunity SET status = %s WHERE id = %s", [status, listing.pk])


def _rows(pairs: Iterable[tuple[Opportunity | UserProfile, SkillMatrix | None]]) -> list[Row[UUID]]:
    return [Row(row.pk, matrix.levels if matrix else {}, row.created_at.timestamp()) for row, matrix in pairs]


def _keys(levels: dict[Skill, int]) -> dict[str, int]:
    return {str(skill.pk): level for skill, level in levels.items()}


class Writer:
    """Writes something, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.skills = [make.make_skill() for _ in range(4)]
        self.role, self.project = make.make_role(community_of_practice=make.make_cop()), make.make_project()

    def write_something(self) -> None:
        """Write once to three times, in a transaction that may be rolled back, as a whole or in part."""
        with suppress(RollbackError), transaction.atomic():
            for _ in range(self.chance.randint(1, 3)):
                with suppress(RollbackError), transaction.atomic():
                    self.chance.choice(self._writes)()
                    self._ask_or_roll_back()
            self._ask_or_roll_back()

    @property
    def _writes(self) -> list[Callable[[], object]]:
        listing = {"role": self.role, "project": self.project}
        adding: list[Callable[[], object]] = [
            lambda: make.make_opportunity(self._levels(), status=self._status(), **listing),
            lambda: make.make_regular_user(self.chance.choice([None, self._levels()]), password=None),
        ]
        changing = [self._rate, self._set_status, self._set_activity, self._change_by_sql, self._merge]
        return [*adding, *adding, *changing, self._take_away]

    def _rate(self) -> None:
        if matrix := self._one_of(SkillMatrix):
            SkillMatrix.objects.store(_keys(self._levels()), into=matrix)

    def _set_status(self) -> None:
        Opportunity.objects.filter(min_hours_required=0).update(status=self._status())

    def _set_activity(self) -> None:
        if user := self._one_of(UserProfile):
            user.is_active = self.chance.random() < 0.6
            user.skills_learned_matrix = SkillMatrix.objects.store(_keys(self._levels()))
            user.save()

    def _take_away(self) -> None:
        row = self._one_of(Opportunity) if self.chance.random() < 0.5 else self._one_of(UserProfile)
        if row:
            row.delete()

    def _change_by_sql(self) -> None:
        sql = "UPDATE ctj_api_skillmatrix SET levels = jsonb_set(levels, ARRAY[%s], '2') WHERE levels ? %s"
        make.execute(sql, *[str(self.skills[0].pk)] * 2)

    def _merge(self) -> None:
        kept, dropped = self.skills[0], Skill.objects.filter(pk=self.skills[-1].pk)
        if dropped:
            dropped.merge_into(kept)

    def _ask_or_roll_back(self) -> None:
        if self.chance.random() < 0.4:
            ranked(_keys(self._levels()))
        if self.chance.random() < 0.3:
            raise RollbackError

    def _levels(self) -> dict[Skill, int]:
        stored = [skill for skill in self.skills if Skill.objects.filter(pk=skill.pk).exists()]
        return {skill: self.chance.choice(LEVELS) for skill in stored if self.chance.random() < 0.6}

    def _status(self) -> str:
        return self.chance.choice(["open", "open", "closed"])

    def _one_of[Stored: (Opportunity, UserProfile, SkillMatrix)](self, model: type[Stored]) -> Stored | None:
        rows = list(model.objects.order_by("pk"))
        return self.chance.choice(rows) if rows else None
