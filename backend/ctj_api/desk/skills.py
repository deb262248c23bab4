"""The skill catalog in the admin: its list, the merging of duplicates, and its import and export as a CSV file."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import PermissionDenied
from django.db.models import ManyToManyField, QuerySet
from django.forms import CheckboxSelectMultiple, Textarea
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import pluralize
from django.template.loader import render_to_string
from django.utils.text import Truncator

from ctj_api.catalog.merging import merge_skills
from ctj_api.models import Skill

from .csv_file import csv_response
from .display import community_names
from .forms import SkillFileForm, digest_of
from .reauthentication import ask_password
from .reference import CatalogAdmin, StateFilter
from .site import DeskAdmin, answered
from .skill_csv import ABOUT_FILES, COLUMNS, SkillImport, cells_of, sign, spellings_of, unsign, warnings_of

MERGE = "merge_selected"
ALIASES_HELP = "By which people find it as well, such as k8s for Kubernetes: one name a line."


class LinesInput(Textarea):
    """A text of lines, of which empty ones are left out."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        """Return the lines that were sent."""
        return "\n".join(filter(None, map(str.strip, data.get(name, "").splitlines())))


class SkillAdmin(CatalogAdmin[Skill]):
    """The skill catalog; a skill that is in use can't be deleted, but merged into another."""

    pages: ClassVar = {"import": "import/", "export": "export/"}
    list_display = ("name", "short_description", "practice_areas", "opportunities", "volunteers")
    list_filter = ("communities_of_practice", StateFilter)
    search_fields = ("name", "description")
    fields = ("name", "aliases", "description", "communities_of_practice")
    formfield_overrides: ClassVar = {
        **DeskAdmin.formfield_overrides,
        ManyToManyField: {"widget": CheckboxSelectMultiple},
        ArrayField: {"delimiter": "\n", "widget": LinesInput({"rows": 3}), "help_text": ALIASES_HELP},
    }
    actions = (MERGE, *CatalogAdmin.actions)

    def get_queryset(self, request: HttpRequest) -> Any:
        """Return the skills with their communities and with how often they are rated."""
        return super().get_queryset(request).with_usage().prefetch_related("communities_of_practice")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Let nobody add a skill where PeopleDepot keeps them."""
        return not self.refusal and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Skill | None = None) -> bool:
        """Let nobody delete a skill where PeopleDepot keeps them."""
        return not self.refusal and super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Skill | None = None) -> Any:
        """Return what can't be changed: where PeopleDepot keeps the skills, their names as well."""
        fields = super().get_readonly_fields(request, obj)
        return (*fields, "name") if self.refusal else fields

    @admin.display(description="description", ordering="description")
    def short_description(self, skill: Skill) -> str:
        """Return the beginning of the description."""
        return Truncator(skill.description).chars(80)

    @admin.display(description="communities of practice")
    def practice_areas(self, skill: Skill) -> str:
        """Return the names of the communities."""
        return community_names(skill.communities_of_practice.all())

    @admin.display(ordering="opportunity_count")
    def opportunities(self, skill: Any) -> Any:
        """Return how many opportunities require the skill."""
        return skill.opportunity_count

    @admin.display(ordering="volunteer_count")
    def volunteers(self, skill: Any) -> Any:
        """Return how many volunteers rate the skill."""
        return skill.volunteer_count

    def lock(self, request: HttpRequest, pks: Collection[Any]) -> None:
        """Lock these skills; before they are merged, all who rate them first."""
        if MERGE in request.POST.getlist("action"):
            Skill.objects.filter(pk__in=pks).lock_with_owners()
        else:
            super().lock(request, pks)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Return what a deletion would take along, with the skills in use as protected."""
        skills = list(objs)
        to_delete, counts, needed, protected = super().get_deleted_objects(skills, request)
        uses = [
            f"{skill}: required by {skill.opportunity_count} "
            f"opportunit{pluralize(skill.opportunity_count, 'y,ies')} "
            f"and rated by {skill.volunteer_count} volunteer{pluralize(skill.volunteer_count)}"
            for skill in skills
            if skill.opportunity_count or skill.volunteer_count
        ]
        return to_delete, counts, needed, [*protected, *uses]

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Return the page of a deletion, which offers to merge a skill in use."""
        others = Skill.objects.current() if self.has_merge_permission(request) else []
        return super().delete_view(request, object_id, {"others": others})

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the communities, and warn of what is probably a mistake."""
        super().save_related(request, form, formsets, change)
        others = Skill.objects.exclude(pk=form.instance.pk).values_list("name", flat=True)
        communities = form.cleaned_data["communities_of_practice"]
        for warning in warnings_of(form.instance.name, communities, spellings_of(others)):
            messages.warning(request, warning)

    def has_merge_permission(self, request: HttpRequest) -> bool:
        """Let those merge who may change and delete skills."""
        return self.has_change_permission(request) and self.has_delete_permission(request)

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Let those import and export who may add and change skills."""
        return super().has_add_permission(request) and self.has_change_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the list; merging is refused to those who may not, and asks for the password again."""
        merges = MERGE in request.POST.getlist("action")
        if merges and not self.has_merge_permission(request):
            raise PermissionDenied(self.refusal)
        context = {**(extra_context or {}), "has_import_permission": self.has_import_permission(request)}
        question = ask_password(self, request) if merges else None
        return question or super().changelist_view(request, context)

    @admin.action(description="Merge selected skills", permissions=["merge"])
    def merge_selected(self, request: HttpRequest, chosen: QuerySet[Skill]) -> HttpResponse | None:
        """Ask which of the skills stays, or merge the others into it."""
        skills = list(chosen)
        if len(skills) <= 1:
            messages.error(request, "Select at least two skills to merge them.")
            return None
        is_answer = "post" in request.POST
        kept = next((skill for skill in skills if str(skill.pk) == request.POST.get("kept")), None)
        if is_answer and kept is not None:
            dropped = [skill for skill in skills if skill != kept]
            context = {"kept": kept, "dropped": dropped, "usage": merge_skills(request.user, kept, dropped)}
            messages.success(request, render_to_string("admin/ctj_api/skill/merged.html", context))
            return None
        context = {"title": "Merge skills", "skills": skills, "is_missing": is_answer, "action": MERGE}
        return self.show(request, "merge", context)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Return the pages of the import, which ask for the password again before anything is written."""
        if self.refusal or not self.has_import_permission(request):
            raise PermissionDenied(self.refusal)
        question = ask_password(self, request) if "previewed" in request.POST else None
        return question or self._answer_import(request)

    @answered
    def _answer_import(self, request: HttpRequest) -> HttpResponse:
        is_answer = "previewed" in request.POST
        is_sent = request.method == "POST" and not is_answer
        form = SkillFileForm(request.POST, request.FILES) if is_sent else SkillFileForm()
        context = {"title": "Import skills", "form": form, **ABOUT_FILES}
        if is_answer or (is_sent and form.is_valid()):
            rows = unsign(request.POST["previewed"]) if is_answer else form.cleaned_data["import_file"]
            preview = SkillImport(rows)
            seen = digest_of([row.before for row in preview.rows])
            if is_answer and request.POST.get("seen", seen) == seen:
                preview.save(request.user)
                new, changed, unchanged = (preview.totals[outcome] for outcome in ("new", "changed", "unchanged"))
                told = f"Skills imported: {new} new, {changed} changed, {unchanged} as they were."
                messages.success(request, told)
                return redirect("admin:ctj_api_skill_changelist")
            if is_answer:
                messages.warning(request, "The catalog was changed after this preview. Nothing was imported yet.")
            context |= {"preview": preview, "previewed": sign(rows), "seen": seen}
        return self.show(request, "import", context)

    @answered
    def export_view(self, request: HttpRequest) -> HttpResponse:
        """Return the file of the skills that the list shows."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        ids = list(self.get_changelist_instance(request).queryset.values_list("pk", flat=True))
        skills = Skill.objects.prefetch_related("communities_of_practice").in_bulk(ids)
        return csv_response("skills", COLUMNS, (cells_of(skills[pk]).values() for pk in ids))
