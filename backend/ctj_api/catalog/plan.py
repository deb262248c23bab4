"""What a synchronisation with PeopleDepot is to change: a plan made of our rows and theirs, without the database."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from ctj_api.validators import lower_name

# So few may always be retired or renamed at once.
MAX_UNGUARDED = 5
# Of PeopleDepot's practice areas those that mean one of our communities.
COMMUNITIES = {"development": "engineering", "project management": "project_management", "design": "ui_ux"}

type Texts = defaultdict[str, list[str]]


@dataclass(frozen=True)
class Row:
    """A row of a catalog, ours or theirs: ``gone`` says why it is out of use, ``waits`` that it has no community."""

    id: UUID
    name: str
    gone: str = ""
    is_synced: bool = True
    waits: bool = False

    @property
    def key(self) -> str:
        """The name as the database compares it."""
        return lower_name(self.name)


class CatalogPlan:
    """The changes of one catalog, by the ids after the adoption; ``texts`` gets them in words."""

    def __init__(self, noun: str, ours: Iterable[Row], theirs: Iterable[Row], texts: Texts, *, adopts: bool) -> None:
        """Plan; with ``adopts`` all rows of ours take part, else those that came from PeopleDepot."""
        self._noun = noun
        self._texts = texts
        self._adopts = adopts
        self._ours = {row.id: row for row in ours}
        self._theirs = {row.id: row for row in sorted(theirs, key=lambda row: row.id)}
        # What is to be added or goes on, but for what is in conflict.
        self._shown = {id_: row for id_, row in self._theirs.items() if not row.gone}
        # Names, as keys, that are in conflict: nothing that has them is changed.
        self._contested: set[str] = set()
        self.adopted: dict[UUID, UUID] = {}
        self.changed: dict[UUID, Row] = {}
        if adopts:
            self._adopt()
        self._taking_part = [row for row in self._ours.values() if row.is_synced or adopts]
        self._contest()
        self.added = {id_: row for id_, row in self._shown.items() if id_ not in self._ours}
        self._change()
        for row in self.added.values():
            self._tell("added", row.name)
        for row in (self._ours | self.changed | self.added).values():
            if row.waits and not row.gone:
                self._tell("waiting", row.name)

    @property
    def taken_away(self) -> int:
        """How many rows are retired or renamed."""
        return sum(bool(row.gone) or row.name != self._ours[id_].name for id_, row in self.changed.items())

    def objection(self, max_percent: int) -> str:
        """Return why this may be a mistake or malice, with the figures; empty where it is usual."""
        live = sum(not row.gone for row in self._taking_part)
        if live and not self._theirs:
            return f"PeopleDepot's list of {self._noun.lower()}s is empty, and {live} are in use"
        if self.taken_away > MAX_UNGUARDED and self.taken_away * 100 > max_percent * live:
            return f"{self.taken_away} of {live} {self._noun.lower()}s would be retired or renamed"
        return ""

    def _tell(self, kind: str, name: str, more: str = "") -> None:
        self._texts[kind].append(f'{self._noun} "{name}"{more}')

    def _adopt(self) -> None:
        """Give our rows the ids of theirs of the same names, where exactly one of ours and of theirs is called so."""
        theirs = _by_key(self._theirs.values()) | _by_key(self._shown.values())
        counterparts = {key: rows[0].id for key, rows in theirs.items() if len(rows) == 1 or rows[0].gone}
        groups = _by_key(self._ours.values())
        found = {key for key in groups.keys() & counterparts if len(groups[key]) == 1}
        ids = {groups[key][0].id: counterparts[key] for key in found}
        # Whose id goes to another row gets one that nobody has, and that each dry run foresees.
        ids |= {id_: uuid5(id_, self._ours[id_].name) for id_ in set(ids.values()) & self._ours.keys() - ids.keys()}
        ids |= {id_: id_ for id_ in self._ours.keys() & self._theirs.keys() - ids.keys()}
        self.adopted = {id_: new for id_, new in ids.items() if id_ != new or not self._ours[id_].is_synced}
        rows = {id_: self._ours.pop(id_) for id_ in self.adopted}
        for id_, row in rows.items():
            new = self.adopted[id_]
            self._ours[new] = replace(row, id=new, is_synced=True)
            if new in self._theirs:
                self._tell("adopted", row.name, f" takes the id {new}")

    def _contest(self) -> None:
        """Leave out what would get a name that another row has or gets, too, until nothing does."""
        while clashes := [rows for rows in self._namesakes() if len(rows) > 1 and any(map(self._is_new, rows))]:
            for rows in clashes:
                theirs = [row for row in rows if row.id in self._shown]
                self._tell("conflicts", *self._conflict(theirs, [row for row in rows if row not in theirs]))
                self._contested.add(rows[0].key)
                for row in theirs:
                    del self._shown[row.id]

    def _namesakes(self) -> Iterable[list[Row]]:
        return _by_key((self._ours | self._shown).values()).values()

    def _is_new(self, row: Row) -> bool:
        return row.id not in self._ours or self._ours[row.id].name != row.name

    def _conflict(self, theirs: list[Row], ours: list[Row]) -> tuple[str, str]:
        """Return the name that is in conflict, and in words why, with the way out."""
        first, *others = sorted(row.name for row in theirs)
        if others:
            names = " and ".join(f'"{name}"' for name in others)
            return first, f" and {names} differ in case only: rename one at PeopleDepot"
        ids = " and ".join(sorted(str(row.id) for row in ours))
        way_out = "rename or merge ours" if self._adopts or len(ours) > 1 else "--adopt gives it theirs"
        return first, f" has the id {theirs[0].id}, and ours of this name {ids}: {way_out}"

    def _change(self) -> None:
        for row in self._taking_part:
            after = self._theirs.get(row.id, replace(row, gone="not at PeopleDepot"))
            name = row.name if after.gone else after.name
            if lower_name(name) in self._contested or (name, bool(after.gone)) == (row.name, bool(row.gone)):
                continue
            self.changed[row.id] = replace(row, name=name, gone=after.gone)
            if name != row.name:
                self._tell("renamed", row.name, f' is "{name}" now')
            if after.gone:
                self._tell("retired", name, f": {after.gone}")
            elif row.gone:
                self._tell("returned", name)


def plan_communities(ours: dict[str, UUID | None], theirs: list[Row], texts: Texts) -> dict[str, UUID]:
    """Return the communities that get another practice area's id; tell them, and the areas that are none of ours."""
    areas = {COMMUNITIES.get(row.key, ""): row.id for row in sorted(theirs, key=lambda row: row.id)}
    changed = {community: id_ for community, id_ in areas.items() if community and ours[community] != id_}
    texts["adopted"] += [f"Community {community} takes the id {id_}" for community, id_ in changed.items()]
    unknown = [row.name for row in theirs if row.key not in COMMUNITIES]
    texts["ignored"] += [f'Practice area "{name}" is none of our communities' for name in unknown]
    return changed


def _by_key(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    return groups
