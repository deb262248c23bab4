"""The skill catalog as a CSV file: how it is written, which files are refused and why, and what a file would change."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import NamedTuple

from django.core import signing
from django.core.exceptions import ValidationError

from ctj_api.enums import PracticeArea
from ctj_api.exceptions import MAX_MESSAGES
from ctj_api.models import CommunityOfPractice, Skill
from ctj_api.querysets import Requester, by_any_name
from ctj_api.validators import MAX_NAME, clean_aliases, lower_name, normal_lines, normal_name, quote

from .csv_file import unescaped
from .history import changes, log_addition, log_changes, snapshot

type NumberedRow = tuple[int, dict[str, str]]

COLUMNS = ("name", "description", "communities_of_practice", "aliases")
SEPARATOR = "|"
MAX_FILE_SIZE = 1_000_000
MAX_ROWS = 1_000
SALT = "ctj_api.numbered_skill_rows"  # another one for each form of what is signed
CONFIRM_WITHIN_SECONDS = 24 * 60 * 60
MAX_COMMUNITIES = 20
DELIMITERS = ",;\t|"
WORKBOOKS = {b"PK\x03\x04": "a workbook, such as .xlsx", b"\xd0\xcf\x11\xe0": "a workbook (.xls)"}
MIN_LETTERS = 4
MAX_LETTERS = 60
ABOUT_FILES = {
    "columns": COLUMNS,
    "practice_areas": PracticeArea.choices,
    "max_rows": MAX_ROWS,
    "max_wrong_rows": MAX_MESSAGES,
    "max_megabytes": MAX_FILE_SIZE // 1_000_000,
}


def decode_file(data: bytes) -> str:
    """Return the text of an uploaded file; raises a ``ValidationError`` that says what else it is."""
    kinds = [kind for start, kind in WORKBOOKS.items() if data.startswith(start)]
    if b"\0" in data[:4]:  # plain letters in UTF-16 are valid UTF-8, too
        kinds.append('in UTF-16, which spreadsheet programs call "Unicode text"')
    try:
        if not kinds:
            return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        kinds.append("not in UTF-8")
    raise ValidationError(f'The file is {kinds[0]}. In a spreadsheet program, save it as "CSV UTF-8".')


def read_rows(text: str) -> list[NumberedRow]:
    """Return the numbered rows of a CSV file; raises a ``ValidationError`` where it is no list of skills."""
    filled = [(number, row) for number, row in enumerate(_parse(text), start=1) if _is_filled(row)]
    (_, header), *rows = filled or [(1, [])]
    columns = _columns(header)
    if not rows:
        raise ValidationError("The file has no skills, only the names of the columns.")
    if len(rows) > MAX_ROWS:
        raise ValidationError(f"The file has {len(rows):,} rows; at most {MAX_ROWS:,} can be imported at once.")
    for number, row in rows:
        if _is_filled(row[len(header) :]):
            raise ValidationError(f"Row {number} has more cells than columns: is a quotation mark missing?")
    return [(number, _by_column(columns, row)) for number, row in rows]


def sign(rows: list[NumberedRow]) -> str:
    """Return previewed rows as a text that can travel through the browser and back."""
    return signing.dumps(rows, salt=SALT, compress=True)


def unsign(signed: str) -> list[NumberedRow]:
    """Return the rows of :func:`sign`; raises a ``ValidationError`` for any other text, and after a day."""
    try:
        return list(signing.loads(signed, salt=SALT, max_age=CONFIRM_WITHIN_SECONDS))
    except signing.BadSignature as error:
        raise ValidationError("This is not a file that was previewed today. Choose it again.") from error


def spellings_of(names: Iterable[str]) -> dict[str, str]:
    """Return the names by what they and those that differ in one letter have in common."""
    return {text: name for name in names for text in _spellings(name)}


def warnings_of(name: str, communities: object, spellings: Mapping[str, str]) -> list[str]:
    """Return what is probably a mistake in a skill, given the :func:`spellings_of` the other skills."""
    near = [spellings[text] for text in sorted(_spellings(name) & spellings.keys())]
    likeness = [f"{quote(name)} is nearly the same name as {quote(near[0])}."] if near else []
    return likeness if communities else [*likeness, f"{quote(name)} is in no community of practice."]


class ImportedRow(NamedTuple):
    """A row of a file: its number and skill, old and new cells, what is wrong and what is likely a mistake."""

    number: int
    skill: Skill
    before: dict[str, str]
    after: dict[str, str]
    problems: list[str]
    warnings: list[str]

    @property
    def outcome(self) -> str:
        """What the import does with the skill, in a word."""
        if self.skill._state.adding:
            return "new"
        return "unchanged" if self.before == self.after else "changed"

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The stored text and the new one of each column; for a new skill nothing is stored."""
        return [(self.before[column], self.after[column]) for column in COLUMNS]


class SkillImport:
    """What a file would do to the catalog, which is locked so that what was checked holds when saved."""

    def __init__(self, rows: list[NumberedRow]) -> None:
        communities = CommunityOfPractice.objects.select_for_update(no_key=True).order_by("pk")
        self._communities = {community.practice_area: community for community in communities}
        self._areas = {
            lower_name(word): area
            for area, community in self._communities.items()
            for word in (community.name, PracticeArea(area).label, area)
        }
        skills = Skill.objects.select_for_update(no_key=True).order_by("pk")
        self._skills = {lower_name(skill.name): skill for skill in skills.prefetch_related("communities_of_practice")}
        self._spellings = spellings_of(skill.name for skill in self._skills.values())
        self._known: dict[str, object] = {**by_any_name(self._skills.values())}
        self._first_numbers: dict[str, int] = {}
        self.rows = [self._row(number, cells) for number, cells in rows]
        self.wrong_rows = [row for row in self.rows if row.problems]
        self.totals = Counter(row.outcome for row in self.rows)

    def save(self, user: Requester) -> None:
        """Save and log what is new or changed; raises a ``ValidationError`` where a row is wrong."""
        if self.wrong_rows:
            row = self.wrong_rows[0]
            raise ValidationError(f"Nothing was imported. Row {row.number}: {' '.join(row.problems)} Try again.")
        added = [row.skill for row in self.rows if row.outcome == "new"]
        before = {row.skill.pk: snapshot(row.skill) for row in self.rows if row.outcome == "changed"}
        _write([row for row in self.rows if row.outcome != "unchanged"], self._communities)
        log_addition(user, *added)
        names = {community.pk: str(community) for community in self._communities.values()}
        alike: dict[tuple[str, ...], list[Skill]] = {}
        for skill in Skill.objects.filter(pk__in=before).prefetch_related("communities_of_practice"):
            alike.setdefault(tuple(changes(skill, before[skill.pk], names)), []).append(skill)
        for texts, skills in alike.items():
            log_changes(user, skills, texts)

    def _row(self, number: int, cells: dict[str, str]) -> ImportedRow:
        stored = self._skills.get(lower_name(cells["name"]))
        before = cells_of(stored) if stored else dict.fromkeys(COLUMNS, "")
        after = before | cells
        areas = {self._areas.get(lower_name(word), word) for word in _words(after["communities_of_practice"])}
        name, communities = after["name"], SEPARATOR.join(sorted(areas))
        after["communities_of_practice"] = communities
        problems = list(self._problems(number, after))
        try:
            aliases = clean_aliases(name, after["aliases"].splitlines(), self._known)
            after["aliases"] = "\n".join(aliases)
            self._known |= dict.fromkeys(map(lower_name, (name, *aliases)), name)
        except ValidationError as error:
            problems.append(error.messages[0])
        warnings = []
        if before != after:
            warnings = warnings_of(name, communities, {} if stored else self._spellings)
            self._spellings |= spellings_of([name])
        if stored and stored.retired_at:
            problems.append(f"{quote(name)} is retired: an administrator can bring it back.")
        return ImportedRow(number, stored or Skill(), before, after, problems, warnings)

    def _problems(self, number: int, cells: dict[str, str]) -> Iterator[str]:
        name = cells["name"]
        if not name:
            yield "A skill needs a name."
        if len(name) > MAX_NAME:
            yield f"The name has {len(name):,} characters; at most {MAX_NAME} are possible."
        first = self._first_numbers.setdefault(lower_name(name), number)
        if name and first != number:
            yield f"Row {first} has this name already."
        if "\0" in name + cells["description"] + cells["aliases"]:
            yield "This has a null character, which can't be stored."
        unknown = [area for area in _words(cells["communities_of_practice"]) if area not in self._communities]
        if unknown:
            known = ", ".join(sorted(self._communities))
            yield f"There is no community of practice {quote(unknown[0])}. There are: {known}."


def _write(rows: list[ImportedRow], communities: Mapping[str, CommunityOfPractice]) -> None:
    """Save the skills of rows with their communities, in as many queries for a thousand rows as for one."""
    skills = [row.skill for row in rows]
    for row in rows:
        row.skill.name, row.skill.description = row.after["name"], row.after["description"]
        row.skill.aliases = row.after["aliases"].splitlines()
    columns = ["name", "description", "aliases", "updated_at"]
    Skill.objects.bulk_create(skills, update_conflicts=True, unique_fields=["id"], update_fields=columns)
    links = Skill.communities_of_practice.through._default_manager
    links.filter(skill__in=skills).delete()
    links.bulk_create(
        links.model(skill=row.skill, communityofpractice=communities[area])
        for row in rows
        for area in _words(row.after["communities_of_practice"])
    )


def cells_of(skill: Skill) -> dict[str, str]:
    """Return the cells of a stored skill by their columns."""
    areas = SEPARATOR.join(community.practice_area for community in skill.communities_of_practice.all())
    cells = (skill.name, skill.description, areas, "\n".join(skill.aliases))
    return dict(zip(COLUMNS, cells, strict=True))


def _words(cell: str) -> list[str]:
    return [word.strip() for word in cell.split(SEPARATOR, MAX_COMMUNITIES) if word.strip()]


def _spellings(name: str) -> set[str]:
    """Return the letters of a name, also without any one of them: similar names share one of these texts."""
    letters = "".join(filter(str.isalnum, lower_name(name)))[:MAX_LETTERS]
    if len(letters) < MIN_LETTERS:
        return set()
    return {letters, *(letters[:place] + letters[place + 1 :] for place in range(len(letters)))}


def _parse(text: str) -> list[list[str]]:
    """Return the cells of all rows, by the delimiter that stands most often between the names of the columns."""
    text = re.sub(r'\A"?sep=[,;\t|]+"?(\r\n?|\n)', "", text)
    header = next((line for line in text.splitlines() if any(map(str.isalnum, line))), "")
    delimiter = max(DELIMITERS, key=header.count)
    try:
        return list(csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValidationError(f"The file is not CSV: {error}.") from error


def _is_filled(row: list[str]) -> bool:
    return any(cell.strip() for cell in row)


def _columns(header: list[str]) -> dict[str, int]:
    names = [cell.strip().lower() for cell in header]
    columns = ", ".join(COLUMNS)
    for name in filter(None, names):
        if name not in COLUMNS:
            raise ValidationError(
                f"The file has a column {quote(name)}, which skills don't have. The columns are: {columns}."
            )
        if names.count(name) > 1:
            raise ValidationError(f"The file has the column {quote(name)} more than once.")
    if "name" not in names:
        raise ValidationError(f'The first row must name the columns, with "name" among them: {columns}.')
    return {name: names.index(name) for name in COLUMNS if name in names}


def _by_column(places: Mapping[str, int], row: list[str]) -> dict[str, str]:
    cells = {name: unescaped(row[place]) if place < len(row) else "" for name, place in places.items()}
    cells["name"] = normal_name(cells["name"])
    if "description" in cells:
        cells["description"] = normal_lines(cells["description"])
    return cells
