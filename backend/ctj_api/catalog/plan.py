"""What a synchronisation with PeopleDepot is to change: a plan made of our rows and theirs, without the database."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from uuid import UUID, uuid4

from .loading import lower_name

ROLE = "Role"
# So few may always be retired or renamed at once.
MAX_UNGUARDED = 5
# Of PeopleDepot's practice areas those that mean one of our communities.
COMMUNITIES = {"development": "engineering", "project management": "project_management", "design": "ui_ux"}

type Texts = dict[str, list[str]]


@dataclass(frozen=True)
class Theirs:
    """A row of PeopleDepot; ``gone`` says why it isn't to be shown, if so."""

    id: UUID
    name: str
    gone: str = ""


@dataclass(frozen=True)
class Ours:
    """A row of our catalog; a title that ``waits`` has no community."""

    id: UUID
    name: str
    is_synced: bool
    is_retired: bool
    waits: bool = False


@dataclass
class CatalogPlan:
    """The changes of one catalog by the ids that rows have after the adoption, and all of them in words."""

    noun: str
    ours: dict[UUID, Ours]
    theirs: dict[UUID, Theirs]
    adopts: bool
    # Names in lower case that are in conflict: nothing that has them is changed.
    contested: set[str] = field(default_factory=set)
    adopted: dict[UUID, UUID] = field(default_factory=dict)
    added: dict[UUID, str] = field(default_factory=dict)
    renamed: dict[UUID, str] = field(default_factory=dict)
    retired: set[UUID] = field(default_factory=set)
    returned: set[UUID] = field(default_factory=set)
    texts: Texts = field(default_factory=lambda: defaultdict(list))

    @property
    def taken_away(self) -> int:
        """How many rows are retired or renamed, which the guard counts."""
        return len(self.retired) + len(self.renamed)

    def tell(self, kind: str, name: str, more: str = "") -> None:
        """Add a line to what the plan says."""
        self.texts[kind].append(f'{self.noun} "{name}"{more}')

    def live(self) -> list[Ours]:
        """Return the rows that are in use and that PeopleDepot decides on."""
        return [row for row in self.ours.values() if not row.is_retired and (row.is_synced or self.adopts)]

    def shown(self) -> dict[UUID, Theirs]:
        """Return the rows of theirs that are to be shown."""
        return {id_: row for id_, row in self.theirs.items() if not row.gone}

    def objection(self, max_percent: int) -> str:
        """Return why the plan may be a mistake or malice, with the figures; empty where it is usual."""
        live, nouns = len(self.live()), f"{self.noun.lower()}s"
        if live and not self.theirs:
            return f"PeopleDepot's list of {nouns} is empty, and {live} are in use"
        if self.taken_away > MAX_UNGUARDED and self.taken_away * 100 > max_percent * live:
            return f"{self.taken_away} of {live} {nouns} would be retired or renamed"
        return ""


def plan_catalog(noun: str, ours: Iterable[Ours], theirs: Iterable[Theirs], *, adopts: bool) -> CatalogPlan:
    """Return the plan of one catalog; with ``adopts`` all rows of ours take part, else those that came from there."""
    in_order = sorted(theirs, key=lambda row: row.id)
    plan = CatalogPlan(noun, {row.id: row for row in ours}, {row.id: row for row in in_order}, adopts)
    _contest_twins(plan)
    if adopts:
        _adopt(plan)
    _add_and_rename(plan)
    _retire_and_return(plan)
    _tell_waiting(plan)
    return plan


def plan_communities(ours: dict[str, UUID | None], theirs: Iterable[tuple[UUID, str]]) -> tuple[dict[str, UUID], Texts]:
    """Return the communities that get another practice area's id, and in words also the areas that are none of ours."""
    texts: Texts = defaultdict(list)
    ids: dict[str, UUID] = {}
    for id_, name in sorted(theirs):
        community = COMMUNITIES.get(lower_name(name))
        if community is None or community in ids:
            texts["ignored"].append(f'Practice area "{name}" is none of our communities')
        else:
            ids[community] = id_
    changed = {community: id_ for community, id_ in ids.items() if ours[community] != id_}
    texts["adopted"] += [f"Community {community} takes the id {id_}" for community, id_ in changed.items()]
    return changed, texts


def _contest_twins(plan: CatalogPlan) -> None:
    """Report what several of their rows are called, the case aside."""
    for key, rows in _by_name(plan.shown().values()).items():
        if len(rows) > 1:
            names = " and ".join(sorted(f'"{row.name}"' for row in rows))
            plan.texts["conflicts"].append(f"{plan.noun} {names} differ in case only: rename one at PeopleDepot")
            plan.contested.add(key)


def _adopt(plan: CatalogPlan) -> None:
    """Give our rows the ids of theirs of the same names, where exactly one of ours is called so."""
    # Of several of a name the last one counts: one that is shown.
    counterparts = {lower_name(row.name): id_ for id_, row in sorted(plan.theirs.items(), key=lambda item: not item[1].gone)}
    ids = {
        rows[0].id: counterparts[name]
        for name, rows in _by_name(plan.ours.values()).items()
        if len(rows) == 1 and name in counterparts and name not in plan.contested
    }
    # Whose id goes to another row gets one that nobody has.
    ids |= {id_: uuid4() for id_ in set(ids.values()) & plan.ours.keys() - ids.keys()}
    ids |= {id_: id_ for id_ in plan.ours.keys() & plan.theirs.keys() - ids.keys()}
    plan.adopted = {id_: new for id_, new in ids.items() if id_ != new or not plan.ours[id_].is_synced}
    rows = {id_: plan.ours.pop(id_) for id_ in plan.adopted}
    for id_, row in rows.items():
        new = plan.adopted[id_]
        plan.ours[new] = replace(row, id=new, is_synced=True)
        if new in plan.theirs:
            plan.tell("adopted", row.name, f" takes the id {new}")


def _add_and_rename(plan: CatalogPlan) -> None:
    ours = plan.ours
    wanted = {
        id_: row.name
        for id_, row in plan.shown().items()
        if lower_name(row.name) not in plan.contested
        and (id_ not in ours or (ours[id_].is_synced and ours[id_].name != row.name))
    }
    _contest_held_names(plan, wanted)
    for id_, name in wanted.items():
        if id_ in ours:
            plan.renamed[id_] = name
            plan.tell("renamed", ours[id_].name, f' is "{name}" now')
        else:
            plan.added[id_] = name
            plan.tell("added", name)


def _contest_held_names(plan: CatalogPlan, wanted: dict[UUID, str]) -> None:
    """Report and take out what wants a name that a row of ours keeps, until nothing does."""
    held = _by_name(row for id_, row in plan.ours.items() if id_ not in wanted)
    while blocked := [id_ for id_, name in wanted.items() if lower_name(name) in held]:
        for id_ in blocked:
            name = wanted.pop(id_)
            holders = held[lower_name(name)]
            ids = " and ".join(sorted(str(row.id) for row in holders))
            way_out = "rename or merge ours" if plan.adopts or len(holders) > 1 else "--adopt gives it theirs"
            plan.tell("conflicts", name, f" has the id {id_}, and ours of this name {ids}: {way_out}")
            plan.contested.add(lower_name(name))
            if id_ in plan.ours:
                held[lower_name(plan.ours[id_].name)].append(plan.ours[id_])


def _retire_and_return(plan: CatalogPlan) -> None:
    shown = plan.shown()
    for row in plan.live():
        if row.id not in shown and lower_name(row.name) not in plan.contested:
            plan.retired.add(row.id)
            why = plan.theirs[row.id].gone if row.id in plan.theirs else "not at PeopleDepot"
            plan.tell("retired", row.name, f": {why}")
    for row in plan.ours.values():
        is_back = row.is_retired and row.is_synced and row.id in shown
        if is_back and lower_name(shown[row.id].name) not in plan.contested:
            plan.returned.add(row.id)
            plan.tell("returned", row.name)


def _tell_waiting(plan: CatalogPlan) -> None:
    """Name the titles that wait for a community once the plan is carried out."""
    if plan.noun == ROLE:
        in_use = {row.id for row in plan.ours.values() if row.waits and not row.is_retired}
        back = {id_ for id_ in plan.returned if plan.ours[id_].waits}
        for id_ in ((in_use | back) - plan.retired) | plan.added.keys():
            plan.tell("waiting", plan.added.get(id_) or plan.renamed.get(id_) or plan.ours[id_].name)


def _by_name[Row: (Ours, Theirs)](rows: Iterable[Row]) -> dict[str, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[lower_name(row.name)].append(row)
    return groups
