"""The bill of materials: uv's CycloneDX export of the lock, narrowed to what is in the package. No clock, no chance.

Of each library it keeps the one file that was unpacked, with its hash, and adds the license of its own metadata.
"""

import json
import uuid
from datetime import UTC, datetime
from itertools import product
from typing import Any
from urllib.parse import quote

from deb_recipe.bundled import Bundled, normal
from deb_recipe.target import BuildError, Target

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:deb/edge-agent")


def bill(exported: str, libraries: list[Bundled], target: Target, version: str, epoch: int) -> str:
    """The document's text; raises BuildError where lock and package differ."""
    document: dict[str, Any] = json.loads(exported)
    known = {normal(part["name"]): part for part in document["components"]}
    parts = []
    for library in libraries:
        part = known.get(library.name)
        if part is None or part["version"] != library.version:
            raise BuildError(f"{library.name} {library.version} is in the package and not in uv.lock")
        parts.append(_component(part, library))
    own = document["metadata"]["component"]
    kept = {part["bom-ref"] for part in parts} | {own["bom-ref"]}
    number = quote(target.version(version), safe="~")
    deb = f"pkg:deb/edge-agent/edge-agent@{number}?arch={target.arch}&distro=debian-{target.release}"
    document["components"] = parts
    document["dependencies"] = [
        entry | {"dependsOn": [ref for ref in entry.get("dependsOn", []) if ref in kept]}
        for entry in document["dependencies"]
        if entry["ref"] in kept
    ]
    document["metadata"]["component"] = {
        "type": "application",
        "bom-ref": own["bom-ref"],
        "name": "edge-agent",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": deb,
    }
    document["metadata"]["timestamp"] = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document.pop("serialNumber", None)
    # The same parts have the same serial number: derived, not drawn.
    serial = uuid.uuid5(_NAMESPACE, json.dumps(document, sort_keys=True))
    document = {"bomFormat": document.pop("bomFormat"), "specVersion": document.pop("specVersion"),
                "serialNumber": f"urn:uuid:{serial}", **document}  # fmt: skip
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _component(part: dict[str, Any], library: Bundled) -> dict[str, Any]:
    used = _used(part, library)
    told = {"expression": library.license} if library.is_expression else {"license": {"name": library.license}}
    return part | {"licenses": [told], "externalReferences": [used]}


def _used(part: dict[str, Any], library: Bundled) -> dict[str, Any]:
    """The distribution that the installed files come from: the wheel with its tags, or the source."""
    files = {reference["url"].rpartition("/")[2]: reference for reference in part["externalReferences"]}
    wheels = {name: len(_tags(name) & library.tags) for name in files if name.endswith(".whl")}
    best = max(wheels.values(), default=0)
    found = [name for name, common in wheels.items() if common == best and best]
    if not found:
        found = [name for name in files if not name.endswith(".whl")]
    if len(found) != 1:
        raise BuildError(f"{library.name}: {len(found)} files of uv.lock could be the one in the package")
    reference: dict[str, Any] = files[found[0]]
    return reference


def _tags(wheel: str) -> frozenset[str]:
    """The tags of a wheel by its file's name."""
    fields = wheel.removesuffix(".whl").split("-")[-3:]
    return frozenset("-".join(one) for one in product(*(field.split(".") for field in fields)))
