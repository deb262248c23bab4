"""Who may see and change what: each rule once, asked by the API, the admin and the matching alike."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.search import SearchQuery, SearchRank, SearchVectorExact, SearchVectorField
from django.core.exceptions import ValidationError
from django.db import connections, models, transaction
from django.db.models import Count, Exists, F, Func, OuterRef, Window
from django.db.models.functions import Cast
from django.utils import timezone

from .enums import Status
from .validators import RETIRED, add_aliases, is_uuid, lower_name

if TYPE_CHECKING:
    from .models import DeletedOpportunity, Opportunity, Skill, SkillMatrix, UserProfile

RESTORABLE_FOR = timedelta(days=30)
LAST_ADMINISTRATOR = "This is the last administrator: make somebody else one first."

type Requester = AbstractBaseUser | AnonymousUser


def is_project_manager(user: Requester) -> bool:
    """Return whether ``user`` may post, delete and see drafts: flagged as a project manager and still active."""
    return user.is_active and getattr(user, "is_project_manager", False)


def is_administrator(user: Requester) -> bool:
    """Return whether ``user`` may do anything in the admin: a superuser who is still active."""
    return user.is_active and getattr(user, "is_superuser", False)


@dataclass(frozen=True, slots=True)
class Usage:
    """By how many opportunities and how many volunteers something is rated."""

    opportunities: int
    volunteers: int


class RetiredName(str):
    """The name of a skill that is retired."""

    __slots__ = ()


# The functions of migration 0012 alone define what a word is.
class TextQuery(SearchQuery):
    """The query for all words of a text, in any grammatical form, the last of which may be unfinished."""

    template = "(SELECT ctj_search_query(%(expressions)s))"  # as a subquery, evaluated once


def lexemes(*columns: str | models.Func) -> models.Func:
    """Return the words of ``columns`` as the search indexes hold them."""
    return models.Func(*columns, function="ctj_search_lexemes", output_field=SearchVectorField())


class SearchQuerySet[M: models.Model](models.QuerySet[M]):
    """Rows that are found by the words in them."""

    document: ClassVar[Any]

    def search(self, text: str) -> Self:
        """Return those that ``text`` is found in; an empty text is found in all."""
        return self.alias(document=self.document).filter(document=TextQuery(text)) if text.strip() else self


class CatalogQuerySet[M: models.Model](SearchQuerySet[M]):
    """Rows of a catalog, with the rule of which ones are in use."""

    def current(self) -> Self:
        """Return what is listed, picked and newly used: all that is not retired."""
        return self.filter(retired_at=None)

    def current_or(self, kept: object) -> Self:
        """Return what may be chosen where the row with the id ``kept``, if any, is stored already."""
        return self.current() | self.filter(pk=kept)

    def retired(self) -> Self:
        """Return what only those still have who used it before."""
        return self.exclude(retired_at=None)

    def with_usage(self) -> Self:
        """Count for each row the opportunities that have it."""
        return self.annotate(opportunity_count=Count("opportunities"))


class RoleQuerySet(CatalogQuerySet[Any]):
    """Roles, found by their titles."""

    document = lexemes("title")

    def current(self) -> Self:
        """Return what is listed, picked and newly used: what is not retired, and has a community."""
        return super().current().exclude(community_of_practice=None)

    def waiting(self) -> Self:
        """Return the titles that wait for a community."""
        return super().current().filter(community_of_practice=None)


class ProjectQuerySet(CatalogQuerySet[Any]):
    """Projects, found by their names."""

    document = lexemes("name")


class SkillQuerySet(CatalogQuerySet["Skill"]):
    """Skills of the catalog, found by name, other names and description."""

    all_names: ClassVar[Any] = Func("name", "aliases", function="ctj_skill_names", output_field=models.TextField())
    document = lexemes(all_names, "description")

    def ranked_search(self, text: str) -> Self:
        """Search, and put those first that ``text`` names, by whole words before beginnings, then go by name."""
        is_named = [SearchVectorExact(lexemes(self.all_names), TextQuery(each)) for each in (f"{text} ", text)]
        return self.search(text).order_by(*(hit.desc() for hit in is_named), "name", "id")

    def with_usage(self) -> Self:
        """Count for each skill the opportunities that require it and the volunteers who rate it."""
        return self.annotate(
            opportunity_count=_UsesOfSkill("opportunity", "skills_required_matrix_id"),
            volunteer_count=_UsesOfSkill("userprofile", "skills_learned_matrix_id"),
        )

    def lock_with_owners(self) -> "list[Skill]":
        """Lock these skills, after all who rate them as the API does, so that nobody else rates them meanwhile."""
        matrices = _matrices().rating_any([str(pk) for pk in self.values_list("pk", flat=True)]).values("pk")
        for model, field in (("Opportunity", "skills_required_matrix"), ("UserProfile", "skills_learned_matrix")):
            owners = apps.get_model("ctj_api", model)._default_manager.filter(**{f"{field}__in": matrices})
            list(owners.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
        return list(self.select_for_update().order_by("pk"))

    @transaction.atomic
    def merge_into(self, kept: "Skill") -> Usage:
        """Let ``kept`` take the place and the names of these skills, and return how many matrices that changed."""
        dropped = [str(skill.pk) for skill in self.exclude(pk=kept.pk)]
        chosen = {str(kept.pk), *dropped}
        skills = self.model._default_manager.filter(pk__in=chosen)
        locked = skills.lock_with_owners()
        if not dropped or len(locked) != len(chosen):
            raise ValidationError("One of these skills was deleted meanwhile.")
        if any(skill.retired_at for skill in locked if skill == kept):
            raise ValidationError(RETIRED.format(kept))
        matrices = _matrices().rating_any(dropped)
        usage = Usage(**matrices.aggregate(opportunities=Count("opportunity"), volunteers=Count("volunteer")))
        _matrices().replace_skills(dropped, str(kept.pk))
        communities = kept.communities_of_practice.model._default_manager.filter(skills__in=locked)
        kept.communities_of_practice.add(*communities)
        *others, stored = sorted(locked, key=lambda skill: (skill == kept, skill.name))
        names = chain((skill.name for skill in others), *(skill.aliases for skill in others))
        kept.aliases = add_aliases(kept.name, stored.aliases, names, {})
        kept.save(update_fields=["aliases", "updated_at"])
        self.model._default_manager.filter(pk__in=dropped).delete()
        return usage

    def names(self) -> dict[str, str]:
        """Return id → name of these skills: the ids as in matrices, each retired one's name as a ``RetiredName``."""
        rows = self.order_by().values_list(Cast("pk", models.TextField()), "name", "retired_at")
        return {skill: RetiredName(name) if retired_at else name for skill, name, retired_at in rows}

    def names_of(self, ids: Iterable[object]) -> dict[str, str]:
        """Return lower-case id → name of those among ``ids`` that are the id of a skill."""
        wanted = {id_.lower() for id_ in ids if isinstance(id_, str) and is_uuid(id_)}
        return {str(pk): name for pk, name in self.filter(pk__in=wanted).values_list("pk", "name")}


class SkillMatrixQuerySet(models.QuerySet["SkillMatrix"]):
    """Skill matrices of volunteers and opportunities."""

    def rating_any(self, skills: Iterable[str]) -> Self:
        """Return those that rate at least one of ``skills``, given by their ids."""
        return self.filter(levels__has_any_keys=list(skills))

    def replace_skills(self, dropped: list[str], kept: str) -> None:
        """Rate ``kept`` where any of ``dropped`` is rated, at the highest of the levels."""
        matrices = list(self.rating_any(dropped).select_for_update().order_by("pk"))
        for matrix in matrices:
            highest = max(matrix.levels[skill] for skill in (kept, *dropped) if skill in matrix.levels)
            others = {skill: level for skill, level in matrix.levels.items() if skill not in dropped}
            matrix.levels = {**others, kept: highest}
            matrix.updated_at = timezone.now()
        self.bulk_update(matrices, ["levels", "updated_at"], batch_size=500)

    def store(self, levels: dict[str, int], into: "SkillMatrix | None" = None) -> "SkillMatrix":
        """Write ``levels`` into the given row, or into a new one whose owner the same transaction must save."""
        if into is None:
            return self.create(levels=levels)
        into.levels = levels
        into.save(update_fields=["levels", "updated_at"])
        return into


class OpportunityQuerySet(SearchQuerySet["Opportunity"]):
    """Opportunities, with the rules of visibility and editing."""

    document = F("search_document")

    def visible_to(self, user: Requester) -> Self:
        """Return what ``user`` may see: drafts are for project managers only, all else is public."""
        if is_project_manager(user):
            return self.all()
        return self.exclude(status=Status.DRAFT)

    def editable_by(self, user: Requester) -> Self:
        """Return what ``user`` may change: what they have posted, for as long as they are a project manager."""
        return self.filter(created_by=user.pk) if is_project_manager(user) else self.none()

    def with_rights_of(self, user: Requester) -> Self:
        """Annotate each opportunity with ``is_editable``: whether ``user`` may change it."""
        editable = self.model._default_manager.editable_by(user).filter(pk=OuterRef("pk"))
        return self.annotate(is_editable=Exists(editable))

    def open(self) -> Self:
        """Return what volunteers can apply for."""
        return self.filter(status=Status.OPEN)

    def hits(self, page: slice) -> tuple[int, list[UUID]]:
        """Return how many hits of a search these are, and the ids of a page of them, in one query."""
        # PostgreSQL underrates the cost of reading search documents: for common words it would read the whole table.
        with transaction.atomic(using=self.db), connections[self.db].cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
            found = list(self.values_list("pk", Window(Count("*")))[page])
        if not found:
            return self.count() if page.start else 0, []
        return found[0][1], [pk for pk, _ in found]

    def by_relevance(self, text: str) -> Self:
        """Put hits of whole words first, then the best of ``text``, the newest among equals, then by id."""
        has_whole_words = SearchVectorExact(self.document, TextQuery(f"{text} "))
        relevance = SearchRank(self.document, TextQuery(text))
        return self.order_by(has_whole_words.desc(), relevance.desc(), "-created_at", "id")

    def usual_skills(self, role: Any) -> list[str]:
        """Return the ids of the eight skills that the last 100 listings of ``role`` require most often."""
        newest = self.filter(role=role).order_by("-created_at", "id")[:100]
        levels = newest.values_list("skills_required_matrix__levels", flat=True)
        return [skill for skill, _ in Counter(chain.from_iterable(levels)).most_common(8)]

    def requiring_any(self, skills: Iterable[str]) -> Self:
        """Return those that require at least one of ``skills``, given by their ids."""
        return self.filter(skills_required_matrix__levels__has_any_keys=list(skills))

    def with_details(self) -> Self:
        """Load with each opportunity the rows that its read shape names."""
        return self.select_related("project", "role__community_of_practice", "created_by", "skills_required_matrix")


class OpportunityManager(models.Manager["Opportunity"]):
    """Doesn't load the search document, which is large and written by triggers."""

    def get_queryset(self) -> models.QuerySet["Opportunity"]:
        """Return all opportunities, without their search documents."""
        return super().get_queryset().defer("search_document")


class DeletedOpportunityQuerySet(models.QuerySet["DeletedOpportunity"]):
    """Listings that were deleted, with the rule of who can restore them, and until when."""

    def restorable_by(self, user: Requester) -> Self:
        """Return what ``user`` can still restore: administrators all, project managers what they have deleted."""
        kept = self.filter(deleted_at__gt=timezone.now() - RESTORABLE_FOR)
        if is_administrator(user):
            return kept
        return kept.filter(deleted_by=user.pk) if is_project_manager(user) else self.none()

    def outdated(self) -> Self:
        """Return what nobody can restore any more."""
        return self.filter(deleted_at__lte=timezone.now() - RESTORABLE_FOR)


class UserProfileQuerySet(SearchQuerySet["UserProfile"]):
    """Accounts, with the rule of who is listed as a volunteer."""

    document = lexemes("email", "first_name", "last_name")

    def volunteers(self) -> Self:
        """Return who can be found for an opportunity: the active users who have filled in a skill matrix."""
        return self.filter(is_active=True, skills_learned_matrix__isnull=False)

    def administrators(self) -> Self:
        """Return who can give and take rights."""
        return self.filter(is_active=True, is_superuser=True)

    def has_no_administrator_but(self, *users: "UserProfile") -> bool:
        """Return whether all administrators are among ``users``, after locking them, so that no two leave at once."""
        return set(users).issuperset(self.administrators().select_for_update(no_key=True).order_by("pk"))

    def having_any(self, skills: Iterable[str]) -> Self:
        """Return those who have rated at least one of ``skills``, given by their ids."""
        return self.filter(skills_learned_matrix__levels__has_any_keys=list(skills))


class UserProfileManager(BaseUserManager["UserProfile"]):
    """Makes accounts, which are known by their e-mail address."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "UserProfile":
        """Save and return an account; without a password nobody can sign in to it."""
        if not email:
            raise ValueError("An account needs an e-mail address.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "UserProfile":
        """Save and return an administrator's account; raises a ``ValidationError`` for a bad address."""
        self.model._meta.get_field("email").clean(email, None)
        return self.create_user(email, password, **{**fields, "is_staff": True, "is_superuser": True})


def by_any_name(skills: "Collection[Skill] | SkillQuerySet") -> "dict[str, Skill]":
    """Return lower-case name → skill, also for each alias that is nobody's name."""
    aliases = {lower_name(alias): skill for skill in skills for alias in skill.aliases}
    return aliases | {lower_name(skill.name): skill for skill in skills}


def _matrices() -> SkillMatrixQuerySet:
    return apps.get_model("ctj_api", "SkillMatrix")._default_manager.all()


class _UsesOfSkill(Func):
    """In how many matrices a skill is rated: all of them are read once, for any number of skills."""

    template = Path(__file__).with_name("uses_of_skill.sql").read_text(encoding="utf-8")

    def __init__(self, owner: str, matrix: str) -> None:
        """Take the model that owns the matrices, and its column with them."""
        skill = Cast("pk", models.TextField())
        super().__init__(skill, owner=owner, matrix=matrix, output_field=models.IntegerField())
