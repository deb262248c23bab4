"""axe-core's rules, which of them hold on which elements, and its findings in words."""

from typing import Any

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice")
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": TAGS},
    "resultTypes": ["violations"],
    # For css-orientation-lock alone, axe would load style sheets itself, and what they import from wrong addresses.
    "preload": False,
}
COLOR_RULES = ("color-contrast", "link-in-text-block")
MAX_HTML = 200


def violations(results: dict[str, Any]) -> list[str]:
    """Return a text for each element that breaks a rule: the rule, the element, and what would help."""
    return [
        f"  {violation['id']}: {violation['help']}\n"
        f"    {' '.join(map(str, node['target']))}: {node['html'][:MAX_HTML]}\n"
        f"    {_summary(node)}"
        for violation in results["violations"]
        for node in violation["nodes"]
    ]


def _summary(node: dict[str, Any]) -> str:
    return "; ".join(line.strip() for line in node["failureSummary"].splitlines()[1:])
