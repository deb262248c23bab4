"""What administrators do with many skills at once: merging duplicates, and the catalog as a file."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse
from django.urls import reverse
from import_export.admin import ImportExportMixin

from ctj_api.enums import PracticeArea
from ctj_api.models import Opportunity, Skill
from ctj_api.querysets import Usage

from .history import log_changes
from .skill_csv import (
    COLUMNS,
    FIRST_ROW,
    MAX_FILE_SIZE,
    MAX_ROWS,
    ConfirmationStorage,
    SkillConfirmForm,
    SkillCSV,
    SkillImportForm,
    SkillResource,
    UnusableFileError,
    reason_of_failure,
)

MERGE = "merge_selected"
MAX_NAMES = 5


class SkillMergeMixin(admin.ModelAdmin[Skill]):
    """Makes one skill of several, after asking which name stays."""

    def has_merge_permission(self, request: HttpRequest) -> bool:
        """Let those merge who may change and delete skills."""
        return self.has_change_permission(request) and self.has_delete_permission(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the list; whoever may not merge is told so, instead of being shown the list again."""
        if request.POST.get("action") == MERGE and not self.has_merge_permission(request):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    @admin.action(description="Merge selected skills", permissions=["merge"])
    def merge_selected(self, request: HttpRequest, chosen: QuerySet[Skill]) -> HttpResponse | None:
        """Ask which of the skills stays, or merge the others into it."""
        skills = list(chosen)
        if len(skills) < 2:  # noqa: PLR2004
            messages.error(request, "Select at least two skills to merge them.")
            return None
        is_answer = "post" in request.POST
        kept = next((skill for skill in skills if str(skill.pk) == request.POST.get("kept")), None)
        if not is_answer or kept is None:
            return self._ask_which_stays(request, skills, is_missing=is_answer)
        self._merge(request, kept, [skill for skill in skills if skill != kept])
        return None

    def _ask_which_stays(self, request: HttpRequest, skills: list[Skill], *, is_missing: bool) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": "Merge skills",
            "opts": self.opts,
            "skills": skills,
            "is_missing": is_missing,
            "action": MERGE,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/ctj_api/skill/merge.html", context)

    def _merge(self, request: HttpRequest, kept: Skill, dropped: list[Skill]) -> None:
        names = ", ".join(skill.name for skill in dropped)
        merged = Skill.objects.filter(pk__in=[skill.pk for skill in dropped])
        for skill in merged.lock_with_owners():
            listings = Opportunity.objects.requiring_any([str(skill.pk)])
            log_changes(request.user, list(listings), [f"{skill}, which became {kept}"])
        usage = merged.merge_into(kept)
        log, user = LogEntry.objects.log_actions, request.user.pk
        log(user, [kept], CHANGE, f"Merged into it: {names}.")  # type: ignore[arg-type]
        log(user, dropped, DELETION, f"Merged into {kept}.")  # type: ignore[arg-type]
        messages.success(request, _merged(kept, dropped, usage))


class SkillFilesMixin(ImportExportMixin, admin.ModelAdmin[Skill]):  # type: ignore[misc]
    """The catalog as a CSV file: exported at once, imported after a preview."""

    resource_classes = (SkillResource,)
    formats = (SkillCSV,)
    import_form_class = SkillImportForm
    confirm_form_class = SkillConfirmForm
    tmp_storage_class = ConfirmationStorage
    import_template_name = "admin/ctj_api/skill/import.html"
    skip_export_form = True
    to_encoding = "utf-8-sig"  # spreadsheets read UTF-8 only where the file says so

    def has_import_permission(self, request: HttpRequest) -> bool:
        """Let those import who may add and change skills."""
        return self.has_add_permission(request) and self.has_change_permission(request)

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Let those export who may import."""
        return self.has_import_permission(request)

    def get_import_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what the page says of the file."""
        return {
            **super().get_import_context_data(**kwargs),
            "columns": COLUMNS,
            "practice_areas": PracticeArea.values,
            "max_rows": MAX_ROWS,
            "max_megabytes": MAX_FILE_SIZE // 1_000_000,
            "rows_before_first": FIRST_ROW - 1,
        }

    def add_data_read_fail_error_to_form(self, form: SkillImportForm, e: Exception) -> None:
        """Say what is wrong with the file."""
        if not isinstance(e, UnusableFileError):
            raise e
        form.add_error("import_file", str(e))

    def process_dataset(self, dataset: Any, form: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Return the result of the import; nothing is written where any row is wrong."""
        return super().process_dataset(dataset, form, request, rollback_on_validation_errors=True, **kwargs)

    def process_result(self, result: Any, request: HttpRequest) -> HttpResponse:
        """Log and tell what was done, or why nothing was."""
        if result.has_errors() or result.has_validation_errors():
            messages.error(request, f"Nothing was imported. {reason_of_failure(result)} Try again.")
            return HttpResponseRedirect(reverse("admin:ctj_api_skill_import"))
        response: HttpResponse = super().process_result(result, request)
        return response

    def add_success_message(self, result: Any, request: HttpRequest) -> None:
        """Say how many skills are new and changed."""
        totals = result.totals
        messages.success(
            request, f"Skills imported: {totals['new']} new, {totals['update']} changed, {totals['skip']} as they were."
        )


def _merged(kept: Skill, dropped: list[Skill], usage: Usage) -> str:
    names = ", ".join(skill.name for skill in dropped) if len(dropped) <= MAX_NAMES else f"{len(dropped)} skills"
    return (
        f"{names} {pluralize(len(dropped), 'was,were')} merged into {kept}: "
        f"{usage.opportunities} opportunit{pluralize(usage.opportunities, 'y,ies')} and "
        f"{usage.volunteers} volunteer{pluralize(usage.volunteers)} changed; "
        "where both were rated, the higher level was kept."
    )
