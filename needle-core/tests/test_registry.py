"""Plug-ins of every state, each really installed: none breaks the import, NumPy or another plug-in; none is silent."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from site_folder import Site

Plugin = Callable[..., str]

EXAMINE = """
import contextlib, io, json
import needle
from needle.cli import main

def output(*argv):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(argv) == 0
    return out.getvalue()

def refusal(function, *arguments):
    try:
        function(*arguments)
    except needle.DeviceError as error:
        return str(error)

def total(device):
    x = needle.ones(2, 3, device=device, requires_grad=True)
    (x * x).sum().backward()
    return x.grad.sum().item()

print(json.dumps({
    "broken": refusal(needle.device, "broken"),
    "called": refusal(needle.broken),
    "unknown": refusal(needle.device, "unknown"),
    "numpy": total("numpy"),
    "theirs": total(needle.theirs(1)),
    "names": [str(device) for device in needle.devices()],
    "devices": output("devices"),
    "doctor": json.loads(output("doctor", "--json")),
    "text": output("doctor"),
    "traces": output("doctor", "-v"),
}))
"""


@dataclass
class Broken:
    """A plug-in that is not ready: how it comes about, and what is said of it."""

    id: str
    state: str
    reason: str
    module: str = ""  # the text of its module; else a good one with these parts replaced:
    parts: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


BROKEN = [
    Broken("no-device", "NO_DEVICE", "no such driver", parts={"probe": "Probe((), 'no such driver')"}),
    Broken("raises", "IMPORT_FAILED", "RuntimeError: two lines", "raise RuntimeError('two\\nlines')"),
    Broken("exits", "IMPORT_FAILED", "SystemExit: 3", "import sys; sys.exit(3)"),
    Broken("needs", "IMPORT_FAILED", "ModuleNotFoundError: No module named 'absent_library'", "import absent_library"),
    Broken("syntax", "IMPORT_FAILED", "SyntaxError: invalid syntax (backend_of_broken.py, line 1)", "no python"),
    Broken("no-hooks", "IMPORT_FAILED", "BackendError: needle_backend_info gave NoneType, not a BackendInfo", "x = 1"),
    Broken("info-raises", "IMPORT_FAILED", "ZeroDivisionError: division by zero", parts={"info": "1 / 0"}),
    Broken("probe-raises", "IMPORT_FAILED", "OSError: libdevice.so: not found",
           parts={"probe": "(_ for _ in ()).throw(OSError('libdevice.so: not found'))"}),
    Broken("probe-exits", "IMPORT_FAILED", "SystemExit: bye", parts={"probe": "exec(\"raise SystemExit('bye')\")"}),
    Broken("probe-type", "IMPORT_FAILED", "BackendError: needle_probe gave int, not a Probe", parts={"probe": "3"}),
    Broken("probe-reason", "IMPORT_FAILED", "BackendError: needle_probe gave the reason 3, not a text",
           parts={"probe": "Probe((), 3)"}),
    Broken("other-name", "IMPORT_FAILED", "BackendError: its entry point says 'broken', its info says 'other'",
           parts={"info": "BackendInfo('other')"}),
    Broken("next-major", "INCOMPATIBLE",
           "it speaks protocol 2.0, this needle-core 1.0; pip install --upgrade needle-core needle-backend-broken",
           parts={"info": "BackendInfo('broken', protocol=(2, 0))"}),
    Broken("later-minor", "INCOMPATIBLE",
           "it speaks protocol 1.99, this needle-core 1.0; pip install --upgrade needle-core needle-backend-broken",
           parts={"info": "BackendInfo('broken', protocol=(1, 99))"}),
    Broken("disabled", "DISABLED", "NEEDLE_DISABLE names it", environment={"NEEDLE_DISABLE": "other, broken"}),
]  # fmt: skip


def examine(site: Site, **environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.run(EXAMINE, **environment))
    return found


def summary(found: dict[str, Any], but: str = "") -> str:
    """The states of all plug-ins, of those too that are installed beside the test's own."""
    others = [plugin for plugin in found["doctor"]["plugins"] if plugin["name"] != but]
    ready = ", ".join(plugin["name"] for plugin in others if plugin["state"] == "READY")
    rest = [f"{p['name']}: {p['state']} ({p['reason']})" for p in others if p["state"] != "READY"]
    return "; ".join([f"ready: {ready}", *rest, *found["doctor"]["damaged"]])


def check(found: dict[str, Any], state: str, reason: str) -> None:
    """The plug-in "broken" is told of everywhere, in one line, and all others work."""
    but_it = summary(found, but="broken")
    assert found["broken"] == found["called"] == f"no device 'broken': {state}, {reason}; {but_it}"
    assert found["unknown"] == f"no device 'unknown'; {summary(found)}; pip install needle-backend-unknown"
    assert f"broken: {state} ({reason})" in found["unknown"]
    assert found["numpy"] == found["theirs"] == 12.0
    assert {"numpy:0", "theirs:0", "theirs:1"} <= set(found["names"])
    assert any(line.split(None, 3) == ["broken", "-", state, reason] for line in found["devices"].splitlines())
    plugins = found["doctor"]["plugins"][::-1]  # of two claims on the built-in's name the first is the built-in
    states = {plugin["name"]: (plugin["state"], plugin["reason"]) for plugin in plugins}
    assert states["broken"] == (state, reason)
    assert states["numpy"] == states["theirs"] == ("READY", "")
    assert f"plug-in broken: {state}" in found["text"]
    assert "Traceback" not in found["text"]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.id)
def test_a_plugin_that_is_not_ready(site: Site, device_plugin: Plugin, case: Broken) -> None:
    site.backend("broken", case.module or device_plugin("broken", **case.parts))
    site.backend("theirs", device_plugin("theirs"))
    found = examine(site, **case.environment)
    check(found, case.state, case.reason)
    assert ("Traceback" in found["traces"]) == (case.state == "IMPORT_FAILED")


def test_an_entry_point_to_a_missing_module(site: Site, device_plugin: Plugin) -> None:
    site.install("needle-backend-broken", {}, "[needle.backends]\nbroken = not_there._plugin\n")
    site.backend("theirs", device_plugin("theirs"))
    check(examine(site), "IMPORT_FAILED", "ModuleNotFoundError: No module named 'not_there'")


OBJECTS = {
    "unhashable": ("__hash__ = None", "READY", ""),
    "equal-to-nothing": ("def __eq__(self, other): raise OSError('no')", "READY", ""),
    "without-truth": ("def __bool__(self): raise OSError('no')", "READY", ""),
    "without-attributes": ("def __getattribute__(self, name): raise OSError('no ' + name)", "IMPORT_FAILED",
                           "OSError: no "),
    "an-unspeakable-error": ("def __dir__(self): raise type('Mute', (OSError,), {'__str__': lambda self: 1 / 0})()",
                             "IMPORT_FAILED", "Mute: (its text raises ZeroDivisionError)"),
}  # fmt: skip


@pytest.mark.parametrize("case", OBJECTS)
def test_an_entry_point_to_an_object(site: Site, device_plugin: Plugin, case: str) -> None:
    """It need not be a module; whatever it is, the plug-ins beside it go on working."""
    body, state, reason = OBJECTS[case]
    module = f"""{device_plugin("broken")}
class Hooks:
    {body}
    needle_backend_info = staticmethod(needle_backend_info)
    needle_probe = staticmethod(needle_probe)
    needle_create_backend = staticmethod(needle_create_backend)

plugin = Hooks()
"""
    entry = "[needle.backends]\nbroken = backend_of_broken:plugin\n"
    site.install("needle-backend-broken", {"backend_of_broken.py": module}, entry)
    site.backend("theirs", device_plugin("theirs"))
    if state == "READY":
        site.run("import needle; assert needle.ones(3, device=needle.broken()).sum().item() == 3; needle.theirs()")
        return
    found = examine(site)
    said = {plugin["name"]: plugin["reason"] for plugin in found["doctor"]["plugins"]}["broken"]
    assert said.startswith(reason)  # which attribute is read first is pluggy's business
    check(found, state, said)


def test_two_distributions_with_one_name(site: Site, device_plugin: Plugin) -> None:
    for distribution in ("needle-backend-broken", "needle-broken-too"):
        site.backend("broken", device_plugin("broken"), distribution)
    site.backend("theirs", device_plugin("theirs"))
    found = examine(site)
    reason = found["broken"].split("CONFLICT, ")[1].split(" claim")[0]
    assert sorted(reason.split(" and ")) == ["needle-backend-broken 1.0", "needle-broken-too 1.0"]
    check(found, "CONFLICT", f"{reason} claim it; uninstall one")


def test_a_claim_on_the_name_of_the_built_in(site: Site, device_plugin: Plugin) -> None:
    site.backend("numpy", "raise RuntimeError('never loaded')")
    site.backend("broken", device_plugin("broken", probe="Probe()"))
    site.backend("theirs", device_plugin("theirs"))
    found = examine(site)
    assert (found["numpy"], found["theirs"]) == (12.0, 12.0)
    states = [(p["state"], p["source"]) for p in found["doctor"]["plugins"] if p["name"] == "numpy"]
    assert states[0] == ("READY", "built in")
    assert ("CONFLICT", "needle-backend-numpy 1.0") in states[1:]
    assert "the name belongs to needle-core, so this plug-in is left out; uninstall it" in found["devices"]
    assert "numpy: CONFLICT (the name belongs to needle-core" in found["unknown"]


def test_one_distribution_twice_on_the_path_is_no_conflict(site: Site, device_plugin: Plugin) -> None:
    site.backend("theirs", device_plugin("theirs"))
    site.run(f"import sys; sys.path.append({str(site.folder)!r} + '/.'); import needle; needle.theirs()")


def test_a_strangers_device(site: Site, device_plugin: Plugin) -> None:
    site.backend("theirs", device_plugin("theirs"))
    text = site.run("""
        import needle
        print(repr(needle.theirs(1)), repr(needle.theirs()), needle.theirs(1), needle.theirs.__name__)
        print(needle.theirs(1) is needle.device("theirs:1"), needle.theirs() is needle.device(needle.theirs(0)))
        print("theirs" in dir(needle), needle.default_device())
        for spec in ("theirs:2", "theirs:-1", "their s", 3):
            try:
                needle.device(spec)
            except needle.DeviceError as error:
                print(error)
    """)
    assert text.splitlines() == [
        "theirs(1) theirs() theirs:1 theirs",
        "True True",
        "True " + text.splitlines()[2].split()[1],
        "no device 'theirs:2'; theirs has 0 to 1",
        "device: cannot read 'theirs:-1'; write a name and perhaps an index, as in 'cuda:1'",
        "device: cannot read 'their s'; write a name and perhaps an index, as in 'cuda:1'",
        "device: expected a Device or text such as 'cuda:1', not int",
    ]
    assert not text.splitlines()[2].endswith("theirs:0")  # its priority is below 0


def test_the_default_is_the_ready_device_of_highest_priority(site: Site, device_plugin: Plugin) -> None:
    site.backend("theirs", device_plugin("theirs", info="BackendInfo('theirs', priority=10**6)"))
    site.backend("broken", device_plugin("broken", info="BackendInfo('broken', priority=10**7)", probe="Probe()"))
    program = "import needle; print(needle.default_device(), needle.zeros(1).device)"
    assert site.run(program) == "theirs:0 theirs:0\n"
    assert site.run(program, NEEDLE_DEVICE="theirs:1") == "theirs:1 theirs:1\n"
    assert site.run(program, NEEDLE_DISABLE="theirs").split()[0] != "theirs:0"


def test_importing_needle_loads_no_plugin(site: Site) -> None:
    site.backend("broken", "print('loaded')")
    assert site.run("import needle; needle.ones(2, device='numpy'); needle.numpy()") == ""


def test_an_unknown_device_says_how_to_get_it(site: Site) -> None:
    done = site.python("-c", "import needle; needle.quantum()")
    error = done.stderr.splitlines()[-1]
    assert error.startswith("AttributeError: module 'needle' has no attribute 'quantum', and no such device")
    assert error.endswith("if it is a device: pip install needle-backend-quantum")


@pytest.mark.parametrize(
    ("create", "reason"),
    [
        ("1 / 0", "the backend could not be created: ZeroDivisionError: division by zero"),
        ("exec('raise SystemExit(4)')", "the backend could not be created: SystemExit: 4"),
        ("object()", "needle_create_backend gave object, not a Backend"),
    ],
)
def test_a_backend_that_cannot_be_created(site: Site, device_plugin: Plugin, create: str, reason: str) -> None:
    site.backend("broken", device_plugin("broken", create=create))
    site.backend("theirs", device_plugin("theirs"))
    text = site.run("""
        import needle
        from needle.cli import main
        try:
            needle.ones(2, device=needle.broken(1))
        except needle.BackendError as error:
            print(error)
        print(needle.ones(2, device="theirs").sum().item())
        main(["doctor"])
    """)
    assert text.splitlines()[:2] == [f"broken:1: {reason}", "2.0"]
    assert f"error  BackendError: broken:1: {reason}" in text


def test_a_type_that_the_device_has_not(site: Site, device_plugin: Plugin) -> None:
    site.backend("small", device_plugin("small", create="Small()"))
    site.backend("theirs", device_plugin("theirs"))
    site.backend("closed", device_plugin("closed", create="1 / 0"))
    text = site.run("""
        import needle
        needle.ones(1, device="theirs:1")
        x = needle.arange(3, device="small")
        print(x.dtype, (x + 1).sum().dtype, needle.ones(2, device="small").argmax().dtype)
        for make in (lambda: needle.zeros(2, dtype="float64", device="small"), lambda: x.astype("float64"),
                     lambda: needle.tensor([1.0], dtype="float64").to("small")):
            try:
                make()
            except needle.DTypeError as error:
                print(error)
    """)
    lines = text.splitlines()
    assert lines[0] == "int32 int32 int32"
    for line, op in zip(lines[1:], ("empty", "empty", "from_numpy"), strict=True):
        assert line.startswith(f"{op}: small:0 has no float64; it has bool, float32, int32; float64 is on ")
        others = line.split(" is on ")[1].split(", ")
        assert {"numpy:0", "theirs:1"} <= set(others)  # the reference, and what is in use
        assert not {"small:0", "theirs:0", "closed:0"} & set(others)
