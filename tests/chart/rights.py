"""What roles grant, and their subjects."""

from itertools import product

from chart.programs import Json

Right = tuple[str, str]
"""Verb, and resource as in ``secrets`` or ``leases.coordination.k8s.io``."""


def granted(documents: list[Json]) -> set[Right]:
    """What the roles of these documents grant that have a subject."""
    roles = {identity(row): row for row in documents if row["kind"] in ("Role", "ClusterRole")}
    bindings = [row for row in documents if row["kind"].endswith("RoleBinding")]
    bound = {identity(row["roleRef"], row["metadata"].get("namespace")) for row in bindings}
    foreign = bound - set(roles)
    assert foreign == set(), f"subjects of other kinds: {foreign}"
    return {right for role in bound for right in rights(roles[role])}


def identity(row: Json, namespace: str | None = None) -> tuple[str, str, str | None]:
    """Kind, name and namespace of a role, or of one that a binding in the namespace refers to."""
    named = row.get("metadata", row)
    where = named.get("namespace", namespace) if row["kind"] == "Role" else None
    return row["kind"], named["name"], where


def rights(role: Json) -> set[Right]:
    found: set[Right] = set()
    for rule in role["rules"]:
        for group, resource in product(rule.get("apiGroups", ()), rule.get("resources", ())):
            plural, _, subresource = str(resource).partition("/")
            reference = {"resource": plural, "apiGroup": group}
            if subresource:
                reference["subresource"] = subresource
            found |= {(str(verb), resource_name(reference)) for verb in rule["verbs"]}
        found |= set(product(rule["verbs"], rule.get("nonResourceURLs", ())))
    return found


def resource_name(reference: Json) -> str:
    name = f"{reference['resource']}.{reference.get('apiGroup', '')}".rstrip(".")
    return f"{name}/{reference['subresource']}" if "subresource" in reference else name
