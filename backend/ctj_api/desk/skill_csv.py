"""The skill catalog as a CSV file: how it is written, which files are refused and why, and what a file would change."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO
from typing import NamedTuple

from django.core import signing
from django.core.exceptions import ValidationError

from ctj_api.catalog.loading import lower_name
from ctj_api.models import MAX_NAME, CommunityOfPractice, Skill
from ctj_api.querysets import Requester
from ctj_api.validators import quote

from .history import log_addition, log_change, snapshot

COLUMNS = ("name", "description", "communities_of_practice")
SEPARATOR = "|"
MAX_FILE_SIZE = 1_000_000
MAX_ROWS = 1_000
MAX_MESSAGES = 20
FIRST_ROW = 2  # as spreadsheets count: the names of the columns are in row 1
SALT = "ctj_api.skill_import"
CONFIRM_WITHIN_SECONDS = 24 * 60 * 60
NOT_UTF8 = 'The file is not in UTF-8. In a spreadsheet program, save it as "CSV UTF-8".'

# What spreadsheets take for a formula, after any number of the apostrophes that keep them from it.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def write_skills(skills: Iterable[Skill]) -> str:
    """Return ``skills`` as a CSV file, in which no cell is a formula."""
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows([_escaped(cell) for cell in _cells_of(skill).values()] for skill in skills)
    return file.getvalue()


def decode_file(data: bytes) -> str:
    """Return the text of an uploaded file; raises a ``ValidationError`` where it is not in UTF-8."""
    if b"\0" in data.split(b"\n", 1)[0]:  # plain letters in UTF-16 are valid UTF-8, too
        raise ValidationError(NOT_UTF8)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValidationError(NOT_UTF8) from error


def read_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file by its columns; raises a ``ValidationError`` where it is no list of skills."""
    headers, *rows = _parse(text) or [[]]
    headers = [header.strip().lower() for header in headers]
    _check_headers(headers)
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if not rows:
        raise ValidationError("The file has no skills, only the names of the columns.")
    if len(rows) > MAX_ROWS:
        raise ValidationError(f"The file has {len(rows):,} rows; at most {MAX_ROWS:,} can be imported at once.")
    return [_by_column(headers, number, row) for number, row in enumerate(rows, FIRST_ROW)]


def sign(rows: list[dict[str, str]]) -> str:
    """Return previewed rows as a text that can travel through the browser and back."""
    return signing.dumps(rows, salt=SALT, compress=True)


def unsign(signed: str) -> list[dict[str, str]]:
    """Return the rows of :func:`sign`; raises a ``ValidationError`` for any other text, and after a day."""
    try:
        rows: list[dict[str, str]] = signing.loads(signed, salt=SALT, max_age=CONFIRM_WITHIN_SECONDS)
    except signing.BadSignature as error:
        raise ValidationError("This is not a file that was previewed today. Choose it again.") from error
    return rows


class ImportedRow(NamedTuple):
    """A row of a file: its number, the skill that it names if there is one, old and new cells, and what is wrong."""

    number: int
    skill: Skill | None
    before: dict[str, str]
    after: dict[str, str]
    problems: list[str]

    @property
    def outcome(self) -> str:
        """What the import does with the skill, in a word."""
        if self.skill is None:
            return "new"
        return "unchanged" if self.before == self.after else "changed"

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The stored text and the new one of each column; for a new skill nothing is stored."""
        return [(self.before[column], self.after[column]) for column in COLUMNS]


class SkillImport:
    """What a file would do to the catalog: a skill is known by its name in any case, and what isn't named stays.

    The catalog is locked for the transaction, so that what was checked still holds when it is saved.
    """

    def __init__(self, rows: list[dict[str, str]]) -> None:
        communities = CommunityOfPractice.objects.select_for_update(no_key=True).order_by("pk")
        self._communities = {community.practice_area: community for community in communities}
        skills = Skill.objects.select_for_update(no_key=True).order_by("pk")
        self._skills = {lower_name(skill.name): skill for skill in skills.prefetch_related("communities_of_practice")}
        self._first_numbers: dict[str, int] = {}
        self.rows = [self._row(number, cells) for number, cells in enumerate(rows, FIRST_ROW)]
        self.wrong_rows = [row for row in self.rows if row.problems]
        self.totals = Counter(row.outcome for row in self.rows)

    def save(self, user: Requester) -> None:
        """Save and log what is new or changed; raises a ``ValidationError`` where a row is wrong."""
        if self.wrong_rows:
            row = self.wrong_rows[0]
            raise ValidationError(f"Nothing was imported. Row {row.number}: {' '.join(row.problems)} Try again.")
        for row in self.rows:
            if row.outcome != "unchanged":
                self._save(row, user)

    def _save(self, row: ImportedRow, user: Requester) -> None:
        skill = row.skill or Skill()
        before = snapshot(skill) if row.skill else None
        skill.name, skill.description = row.after["name"], row.after["description"]
        skill.save()
        if row.before["communities_of_practice"] != row.after["communities_of_practice"]:
            areas = _areas(row.after["communities_of_practice"])
            skill.communities_of_practice.set(self._communities[area] for area in areas)
        if before is None:
            log_addition(user, skill)
        else:
            log_change(user, skill, before)

    def _row(self, number: int, cells: dict[str, str]) -> ImportedRow:
        skill = self._skills.get(lower_name(cells["name"]))
        before = _cells_of(skill) if skill else dict.fromkeys(COLUMNS, "")
        after = before | cells
        if _lines(after["description"]) == _lines(before["description"]):
            after["description"] = before["description"]
        return ImportedRow(number, skill, before, after, list(self._problems(number, after)))

    def _problems(self, number: int, cells: dict[str, str]) -> Iterator[str]:
        name = cells["name"]
        if not name:
            yield "A skill needs a name."
        if len(name) > MAX_NAME:
            yield f"The name has {len(name):,} characters; at most {MAX_NAME} are possible."
        first = self._first_numbers.setdefault(lower_name(name), number)
        if name and first != number:
            yield f"Row {first} has this name already."
        if "\0" in name + cells["description"]:
            yield "This has a null character, which can't be stored."
        unknown = [area for area in _areas(cells["communities_of_practice"]) if area not in self._communities]
        if unknown:
            known = ", ".join(sorted(self._communities))
            yield f"There is no practice area {quote(unknown[0])}. The practice areas are: {known}."


def _cells_of(skill: Skill) -> dict[str, str]:
    areas = SEPARATOR.join(community.practice_area for community in skill.communities_of_practice.all())
    return dict(zip(COLUMNS, (skill.name, skill.description, areas), strict=True))


def _areas(cell: str) -> list[str]:
    return sorted({area.strip().lower() for area in cell.split(SEPARATOR) if area.strip()})


def _parse(text: str) -> list[list[str]]:
    """Return the cells of all rows, which semicolons separate in files from many countries."""
    first_line = text.split("\n", 1)[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    try:
        return list(csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValidationError(f"The file is not CSV: {error}.") from error


def _check_headers(headers: list[str]) -> None:
    columns = ", ".join(COLUMNS)
    named = [header for header in headers if header]
    for header in named:
        if header not in COLUMNS:
            raise ValidationError(
                f"The file has a column {quote(header)}, which skills don't have. The columns are: {columns}."
            )
        if named.count(header) > 1:
            raise ValidationError(f"The file has the column {quote(header)} more than once.")
    if "name" not in named:
        raise ValidationError(f'The first row must name the columns, with "name" among them: {columns}.')


def _by_column(headers: list[str], number: int, row: list[str]) -> dict[str, str]:
    """Return the cells of the columns that have a name; those that a short row lacks are empty."""
    if any(cell.strip() for cell in row[len(headers) :]):
        raise ValidationError(f"Row {number} has more cells than there are columns: is a quotation mark missing?")
    filled = row + [""] * (len(headers) - len(row))
    cells = {header: _unescaped(cell) for header, cell in zip(headers, filled, strict=False) if header}
    cells["name"] = cells["name"].strip()
    if "communities_of_practice" in cells:
        cells["communities_of_practice"] = SEPARATOR.join(_areas(cells["communities_of_practice"]))
    return cells


def _escaped(cell: str) -> str:
    """Return a text that no spreadsheet takes for a formula, with an apostrophe in front where it would."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _lines(text: str) -> list[str]:
    return text.replace("\r\n", "\n").split("\n")
