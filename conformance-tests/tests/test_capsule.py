"""The time capsule, a backend of protocol 1.0 that `nox -s capsule` runs the suite on, is as it was sealed."""

import hashlib
from pathlib import Path

CAPSULE = Path(__file__).parents[1] / "capsule"
SEAL = "e04f0005708b8fa84a2892294f369000198c48bc752a8f4e54287960ba540b83"  # never changes: see capsule/README.md
SEALED = ("LICENSE", "README.md", "pyproject.toml", "src/needle_backend_capsule/__init__.py",
          "src/needle_backend_capsule/_plugin.py", "src/needle_backend_capsule/backend.py")  # fmt: skip


def test_the_seal_is_whole() -> None:
    digest = hashlib.sha256()
    for name in SEALED:
        digest.update(name.encode() + b"\0" + (CAPSULE / name).read_bytes().replace(b"\r\n", b"\n") + b"\0")
    assert digest.hexdigest() == SEAL, "the time capsule was edited; restore it: conformance-tests/capsule/README.md"


def test_nothing_was_added() -> None:
    found = {str(path.relative_to(CAPSULE)) for path in (CAPSULE / "src").rglob("*.py")}
    assert found == {name for name in SEALED if name.endswith(".py")}
