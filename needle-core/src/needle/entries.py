"""Finds entry points one distribution at a time, so that a damaged one is a line of a report and hides no other.

`importlib.metadata.entry_points` reads all distributions at once, and one file it cannot read ends the call.
"""

from importlib.metadata import Distribution, EntryPoint, distributions

_FILE = "entry_points.txt"


def find(group: str) -> tuple[list[EntryPoint], list[str]]:
    """The entry points of a group, each with its distribution; and a line for each distribution that is damaged."""
    found: list[EntryPoint] = []
    damaged: list[str] = []
    seen: set[str] = set()
    for distribution in distributions():
        try:
            text = distribution.read_text(_FILE)
            if text is None or group not in text:
                continue
            entries = [entry for entry in distribution.entry_points if entry.group == group]
        except Exception as error:
            damaged.append(f"{source(distribution)}: {_FILE} cannot be read, {_why(distribution, error)}")
            continue
        key = _key(distribution)
        if key not in seen:  # of one distribution that stands on the path twice, the first counts
            seen.add(key)
            found += entries
    return found, list(dict.fromkeys(damaged))


def source(distribution: Distribution | None) -> str:
    """Name and version of a distribution, as far as they can be read, else where it lies."""
    if distribution is None:
        return "unknown"
    try:
        return f"{distribution.metadata['Name']} {distribution.metadata['Version']}"
    except Exception:
        return str(getattr(distribution, "_path", distribution))


def _key(distribution: Distribution) -> str:
    name = source(distribution).rpartition(" ")[0]
    return name.lower().replace("_", "-").replace(".", "-")


def _why(distribution: Distribution, error: Exception) -> str:
    """The line that is no entry, or what reading raised."""
    try:
        lines = (distribution.read_text(_FILE) or "").splitlines()
    except Exception:
        lines = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and line[0] not in "#[" and "=" not in line:
            return f"line {number} is not 'name = module': {line!r}"
    return " ".join(f"{type(error).__name__}: {error}".split())
