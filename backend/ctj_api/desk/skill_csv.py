"""The skill catalog as a CSV file: what its columns mean, which files are refused, and why, in words."""

import csv
import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any

from django import forms
from django.core import signing
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString
from import_export.fields import Field
from import_export.formats.base_formats import CSV
from import_export.forms import ConfirmImportForm, ImportForm
from import_export.instance_loaders import BaseInstanceLoader
from import_export.resources import Diff, ModelResource
from import_export.tmp_storages import BaseStorage
from import_export.widgets import ManyToManyWidget, Widget
from tablib import Dataset

from ctj_api.catalog.loading import lower_name
from ctj_api.models import MAX_NAME, CommunityOfPractice, Skill
from ctj_api.validators import quote

COLUMNS = ("name", "description", "communities_of_practice")
SEPARATOR = "|"
MAX_FILE_SIZE = 1_000_000
MAX_ROWS = 1_000
NOT_UTF8 = 'The file is not in UTF-8. In a spreadsheet program, save it as "CSV UTF-8".'
FIRST_ROW = 2  # as spreadsheets count: the names of the columns are in row 1
CONFIRM_WITHIN_SECONDS = 24 * 60 * 60

# What spreadsheets take for a formula, after any number of the apostrophes that keep them from it.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


class UnusableFileError(ValueError):
    """A file that is no list of skills; the message says why."""


class SkillCSV(CSV):  # type: ignore[misc]
    """Comma-separated values in UTF-8, or separated by semicolons, as spreadsheets write them in many countries."""

    CONTENT_TYPE = "text/csv; charset=utf-8"

    def create_dataset(self, in_stream: bytes, **_: object) -> Dataset:
        """Return the rows of a file; raises an ``UnusableFileError`` that says what is wrong with it."""
        headers, *rows = _cells(_text(in_stream)) or [[]]
        headers = [header.strip().lower() for header in headers]
        if problem := _problem_of_headers(headers):
            raise UnusableFileError(problem)
        while rows and not any(cell.strip() for cell in rows[-1]):
            rows.pop()
        if not rows:
            raise UnusableFileError("The file has no skills, only the names of the columns.")
        if len(rows) > MAX_ROWS:
            raise UnusableFileError(f"The file has {len(rows):,} rows; at most {MAX_ROWS:,} can be imported at once.")
        return _dataset(headers, rows)


class ConfirmationStorage(BaseStorage):  # type: ignore[misc]
    """Keeps a file from its preview to its confirmation in the form in between, signed.

    Nothing stays behind on a disk, and any process of any machine with the same ``SECRET_KEY`` can go on.
    """

    SALT = "ctj_api.skill_import"

    def save(self, data: bytes) -> None:
        """Make the text that stands for the file."""
        self.name = signing.dumps(data, salt=self.SALT, serializer=_PlainBytes, compress=True)

    def read(self) -> bytes:
        """Return the file; raises an ``UnusableFileError`` for a text that this site did not make, or long ago."""
        try:
            data: bytes = signing.loads(
                self.name, salt=self.SALT, serializer=_PlainBytes, max_age=CONFIRM_WITHIN_SECONDS
            )
        except signing.BadSignature as error:
            raise UnusableFileError("This is not a file that was previewed today.") from error
        return data

    def remove(self) -> None:
        """Do nothing: the file went with the page."""


class SkillImportForm(ImportForm):  # type: ignore[misc]
    """The choice of a file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["import_file"].widget.attrs.update({"accept": ".csv,text/csv", "aria-describedby": "file-help"})
        self.fields["format"].widget = forms.HiddenInput()
        self.fields["format"].required = False

    @property
    def media(self) -> forms.Media:
        """Need no scripts: there is no format to guess."""
        return forms.Media()

    def clean_format(self) -> str:
        """Return the only format."""
        return "0"

    def clean_import_file(self) -> Any:
        """Return the file; raises a ``ValidationError`` for one that is too large."""
        file = self.cleaned_data["import_file"]
        if file.size > MAX_FILE_SIZE:
            raise forms.ValidationError(
                f"The file has {file.size / 1e6:.1f} MB; at most {MAX_FILE_SIZE // 1_000_000} MB can be imported."
            )
        return file


class SkillConfirmForm(ConfirmImportForm):  # type: ignore[misc]
    """The file that was previewed; whatever else the form sends, there is one format and one resource."""

    format = forms.CharField(widget=forms.HiddenInput, required=False)

    def clean_format(self) -> str:
        """Return the only format."""
        return "0"

    def clean_resource(self) -> str:
        """Return the only resource."""
        return "0"


class TextWidget(Widget):  # type: ignore[misc]
    """A text that no spreadsheet takes for a formula."""

    def render(self, value: str | None, obj: object = None, **_: object) -> str:
        """Return the text, with an apostrophe in front where it would be a formula."""
        return f"'{value}" if value and _FORMULA.match(value) else value or ""


class PracticeAreasWidget(ManyToManyWidget):  # type: ignore[misc]
    """Communities, told by their practice areas."""

    def __init__(self) -> None:
        super().__init__(CommunityOfPractice, separator=SEPARATOR, field="practice_area")
        self.communities: dict[str, CommunityOfPractice] = {}

    def clean(self, value: str, row: object = None, **_: object) -> list[CommunityOfPractice]:
        """Return the communities, each once."""
        return [self.communities[area] for area in split_areas(value)]


class SkillLoader(BaseInstanceLoader):  # type: ignore[misc]
    """Finds skills by their names, in any case, with two queries for the whole file."""

    def __init__(self, resource: "SkillResource", dataset: Dataset | None = None) -> None:
        super().__init__(resource, dataset)
        skills = Skill.objects.prefetch_related("communities_of_practice")
        self._by_name = {lower_name(skill.name): skill for skill in skills}

    def get_instance(self, row: Mapping[str, str]) -> Skill | None:
        """Return the skill that the row names, or ``None`` for a new one."""
        return self._by_name.get(lower_name(row["name"]))


class PlainDiff(Diff):  # type: ignore[misc]
    """What an import changes: the old text struck out, the new one after it."""

    def as_html(self) -> list[SafeString]:
        """Return one cell for each column."""
        before = [""] * len(self.right) if self.new else self.left
        return [_changed(old, new) for old, new in zip(before, self.right, strict=True)]


class SkillResource(ModelResource):  # type: ignore[misc]
    """A row for each skill, known by its name; a column that the file leaves out stays as it is."""

    name = Field(attribute="name", column_name="name", widget=TextWidget())
    description = Field(attribute="description", column_name="description", widget=TextWidget())
    communities_of_practice = Field(
        attribute="communities_of_practice", column_name="communities_of_practice", widget=PracticeAreasWidget()
    )

    class Meta:
        model = Skill
        fields = COLUMNS
        import_id_fields = ("name",)
        instance_loader_class = SkillLoader
        skip_unchanged = True
        report_skipped = True
        use_transactions = True

    @classmethod
    def get_diff_class(cls) -> type[PlainDiff]:
        """Return what the preview shows."""
        return PlainDiff

    def filter_export(self, queryset: QuerySet[Skill], **_: object) -> list[Skill]:
        """Return the skills in the order of the list, without the numbers that only the list shows."""
        order = list(queryset.values_list("pk", flat=True))
        skills = Skill.objects.prefetch_related("communities_of_practice").in_bulk(order)
        return [skills[pk] for pk in order if pk in skills]

    def before_import(self, dataset: Dataset, **_: object) -> None:
        """Lock the communities, as the loading of a catalog does: one import at a time."""
        rows = CommunityOfPractice.objects.select_for_update(no_key=True).order_by("pk")
        self._communities = {row.practice_area: row for row in rows}
        self.fields["communities_of_practice"].widget.communities = self._communities
        self._rows_by_name: dict[str, int] = {}

    def before_import_row(self, row: dict[str, str], **kwargs: Any) -> None:
        """Bring the row into the form in which it is stored; raises a ``ValidationError`` that says what is wrong."""
        row.update({column: _unescaped(row[column]) for column in COLUMNS if column in row})
        row["name"] = row["name"].strip()
        problems = {
            "name": list(self._problems_of_name(row["name"], kwargs["row_number"])),
            "description": _problems_of_text(row.get("description", "")),
            "communities_of_practice": self._problems_of_areas(row.get("communities_of_practice", "")),
        }
        if found := {column: messages for column, messages in problems.items() if messages}:
            raise forms.ValidationError(found)

    def after_init_instance(self, instance: Skill, new: bool, row: dict[str, str], **_: object) -> None:
        """Keep the line ends of a text that is otherwise the same: spreadsheets write their own."""
        if "description" in row and _lines(row["description"]) == _lines(instance.description):
            row["description"] = instance.description

    def do_instance_save(self, instance: Skill, is_create: bool) -> None:
        """Save a new skill, or one that is there still: a merged one doesn't come back."""
        instance.save(force_insert=is_create, force_update=not is_create)

    def _problems_of_name(self, name: str, number: int) -> Iterable[str]:
        if not name:
            yield "A skill needs a name."
        if len(name) > MAX_NAME:
            yield f"The name has {len(name):,} characters; at most {MAX_NAME} are possible."
        first = self._rows_by_name.setdefault(lower_name(name), number)
        if name and first != number:
            yield f"Row {first - 1 + FIRST_ROW} has this name already."
        yield from _problems_of_text(name)

    def _problems_of_areas(self, value: str) -> list[str]:
        known = ", ".join(sorted(self._communities))
        return [
            f"There is no practice area {quote(area)}. The practice areas are: {known}."
            for area in split_areas(value)
            if area not in self._communities
        ]


def reason_of_failure(result: Any) -> str:
    """Return why an import whose preview had no fault was not done."""
    if result.has_validation_errors():
        row = result.invalid_rows[0]
        return f"Row {row.number - 1 + FIRST_ROW}: {' '.join(row.error.messages)}"
    return "Somebody else changed these skills at the same moment."


def split_areas(value: str) -> list[str]:
    """Return the practice areas of a cell, each once, in the order of the cell."""
    return list(dict.fromkeys(area.strip().lower() for area in value.split(SEPARATOR) if area.strip()))


class _PlainBytes:
    """Signs bytes as they are."""

    def dumps(self, data: bytes) -> bytes:
        return data

    def loads(self, data: bytes) -> bytes:
        return data


def _text(data: bytes) -> str:
    first_line = data.split(b"\n", 1)[0]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableFileError(NOT_UTF8) from error
    if b"\0" in first_line:  # UTF-16 of plain letters is UTF-8, too
        raise UnusableFileError(NOT_UTF8)
    return text


def _cells(text: str) -> list[list[str]]:
    first_line = text.split("\n", 1)[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    try:
        return list(csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise UnusableFileError(f"The file is not CSV: {error}.") from error


def _problem_of_headers(headers: list[str]) -> str | None:
    named = [header for header in headers if header]
    if unknown := [quote(header) for header in named if header not in COLUMNS]:
        return f"The file has a column {unknown[0]}, which skills don't have. The columns are: {', '.join(COLUMNS)}."
    if "name" not in named:
        return f'The first row must name the columns, with "name" among them: {", ".join(COLUMNS)}.'
    if repeated := [header for header in COLUMNS if named.count(header) > 1]:
        return f"The file has the column {quote(repeated[0])} more than once."
    return None


def _dataset(headers: list[str], rows: list[list[str]]) -> Dataset:
    """Return the columns that have a name; short rows are filled up."""
    named = [column for column, header in enumerate(headers) if header]
    dataset = Dataset(headers=[headers[column] for column in named])
    for number, row in enumerate(rows, start=FIRST_ROW):
        if any(cell.strip() for cell in row[len(headers) :]):
            raise UnusableFileError(f"Row {number} has more cells than there are columns: is a quotation mark missing?")
        cells = row + [""] * (len(headers) - len(row))
        dataset.append([cells[column] for column in named])
    return dataset


def _problems_of_text(text: str) -> list[str]:
    return ["This has a null character, which can't be stored."] if "\0" in text else []


def _unescaped(cell: str) -> str:
    """Return what :class:`TextWidget` wrote as ``cell``."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")


def _changed(old: str, new: str) -> SafeString:
    if old == new:
        return format_html("{}", new)
    before = format_html("<del>{}</del> ", old) if old else ""
    return format_html("{}<ins>{}</ins>", before, new) if new else format_html("{}", before)
