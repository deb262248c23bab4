"""The skill catalog as forms need it: by name, by id, and with its communities."""

from functools import cached_property

from ctj_api.catalog.loading import lower_name
from ctj_api.models import Skill


class SkillIndex:
    """All skills, loaded with the first question in two queries."""

    @cached_property
    def _skills(self) -> list[Skill]:
        return list(Skill.objects.prefetch_related("communities_of_practice"))

    @cached_property
    def names(self) -> dict[str, str]:
        """Id → name of all skills."""
        return {str(skill.pk): skill.name for skill in self._skills}

    @cached_property
    def _ids(self) -> dict[str, str]:
        return {lower_name(skill.name): str(skill.pk) for skill in self._skills}

    def id_of(self, name: str) -> str | None:
        """Return the id of the skill with this name, in any case; ``None`` where there is none."""
        return self._ids.get(lower_name(name))

    def with_communities(self) -> list[tuple[str, list[str]]]:
        """Return the name of each skill with the names of its communities."""
        return [(skill.name, [str(area) for area in skill.communities_of_practice.all()]) for skill in self._skills]

    def rated(self, levels: dict[str, int]) -> list[tuple[str, int]]:
        """Return name and level of the skills of a matrix, highest level first, then by name."""
        rated = [(self.names[skill], level) for skill, level in levels.items() if skill in self.names]
        return sorted(rated, key=lambda entry: (-entry[1], entry[0]))
