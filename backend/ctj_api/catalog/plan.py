"""What a synchronisation with PeopleDepot is to change: a plan made of our rows and theirs, without the database."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

from .loading import lower_name

# So few may always be retired or renamed at once.
MAX_UNGUARDED = 5
# Of PeopleDepot's practice areas those that mean one of our communities.
COMMUNITIES = {"development": "engineering", "project management": "project_management", "design": "ui_ux"}


@dataclass(frozen=True)
class Row:
    """A row of a catalog, ours or theirs: ``gone`` says why it isn't used, if so, and ``waits`` is for a community."""

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
    """The changes of one catalog by the ids that rows have after the adoption, and all of them in words."""

    def __init__(self, noun: str, ours: Iterable[Row], theirs: Iterable[Row], *, adopts: bool) -> None:
        """Plan; with ``adopts`` all rows of ours take part, else those that came from PeopleDepot."""
        self._noun = noun
        self._adopts = adopts
        self._ours = {row.id: row for row in ours}
        self._theirs = {row.id: row for row in sorted(theirs, key=lambda row: row.id)}
        self._shown = {id_: row for id_, row in self._theirs.items() if not row.gone}
        # Names, as keys, that are in conflict: nothing that has them is changed.
        self._contested: set[str] = set()
        self.texts: dict[str, list[str]] = defaultdict(list)
        self.adopted: dict[UUID, UUID] = {}
        self.added: dict[UUID, Row] = {}
        self.changed: dict[UUID, Row] = {}
        self._contest_twins()
        if adopts:
            self._adopt()
        self._taking_part = [row for row in self._ours.values() if row.is_synced or adopts]
        self._contest_held_names()
        self._add()
        self._change()
        for row in (self._ours | self.changed | self.added).values():
            if row.waits and not row.gone:
                self._tell("waiting", row.name)

    @property
    def taken_away(self) -> int:
        """How many rows are retired or renamed."""
        return len(self.texts["retired"]) + len(self.texts["renamed"])

    def objection(self, max_percent: int) -> str:
        """Return why this may be a mistake or malice, with the figures; empty where it is usual."""
        live = sum(not row.gone for row in self._taking_part)
        if live and not self._theirs:
            return f"PeopleDepot's list of {self._noun.lower()}s is empty, and {live} are in use"
        if self.taken_away > MAX_UNGUARDED and self.taken_away * 100 > max_percent * live:
            return f"{self.taken_away} of {live} {self._noun.lower()}s would be retired or renamed"
        return ""

    def _tell(self, kind: str, name: str, more: str = "") -> None:
        self.texts[kind].append(f'{self._noun} "{name}"{more}')

    def _contest_twins(self) -> None:
        for key, rows in _by_key(self._shown.values()).items():
            if len(rows) > 1:
                first, *others = sorted(row.name for row in rows)
                names = " and ".join(f'"{name}"' for name in others)
                self._tell("conflicts", first, f" and {names} differ in case only: rename one at PeopleDepot")
                self._contested.add(key)

    def _adopt(self) -> None:
        """Give our rows the ids of theirs of the same names, where exactly one of ours is called so."""
        # Of several of a name the last one counts: one that is shown.
        counterparts = {row.key: row.id for row in sorted(self._theirs.values(), key=lambda row: not row.gone)}
        groups = _by_key(self._ours.values())
        found = {key for key, rows in groups.items() if len(rows) == 1 and key in counterparts} - self._contested
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

    def _contest_held_names(self) -> None:
        """Take out what would get a name that another row of ours keeps, until nothing does."""
        wanted = {
            id_: row
            for id_, row in self._shown.items()
            if row.key not in self._contested and row.name != self._ours.get(id_, Row(id_, "")).name
        }
        held = _by_key(row for id_, row in self._ours.items() if id_ not in wanted or not row.is_synced)
        while blocked := [row for row in wanted.values() if row.key in held]:
            for row in blocked:
                ids = sorted(str(holder.id) for holder in held[row.key])
                way_out = "rename or merge ours" if self._adopts or len(ids) > 1 else "--adopt gives it theirs"
                more = f" has the id {row.id}, and ours of this name {' and '.join(ids)}: {way_out}"
                self._tell("conflicts", row.name, more)
                self._contested.add(row.key)
                del wanted[row.id]
                if row.id in self._ours:
                    held[self._ours[row.id].key].append(self._ours[row.id])

    def _add(self) -> None:
        for id_, row in self._shown.items():
            if id_ not in self._ours and row.key not in self._contested:
                self.added[id_] = row
                self._tell("added", row.name)

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


def plan_communities(
    ours: dict[str, UUID | None], theirs: Iterable[Row]
) -> tuple[dict[str, UUID], dict[str, list[str]]]:
    """Return the communities that get another practice area's id, and in words also the areas that are none of ours."""
    ids: dict[str, UUID] = {}
    ignored = []
    for row in sorted(theirs, key=lambda row: row.id):
        community = COMMUNITIES.get(row.key)
        if community and community not in ids:
            ids[community] = row.id
        else:
            ignored.append(f'Practice area "{row.name}" is none of our communities')
    changed = {community: id_ for community, id_ in ids.items() if ours[community] != id_}
    adopted = [f"Community {community} takes the id {id_}" for community, id_ in changed.items()]
    return changed, {"ignored": ignored, "adopted": adopted}


def _by_key(rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    return groups
