"""What the READMEs show is run: the twenty lines on needle-core alone, and the example of needle-core."""

import re
from pathlib import Path

import pytest
from site_folder import Site

ROOT = Path(__file__).resolve().parents[2]


def programs(readme: Path) -> list[str]:
    return [str(text) for text in re.findall(r"^```python\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)]


def first_program(readme: Path) -> str:
    return programs(readme)[0]


def test_the_twenty_lines_train_a_net_with_core_alone(site: Site) -> None:
    program = first_program(ROOT / "README.md")
    assert len([line for line in program.splitlines() if line]) <= 20
    text = site.run(f"{program}\nimport sys; assert 'needle_nn' not in sys.modules", NEEDLE_DEVICE="numpy")
    result = re.fullmatch(r"loss (.+), accuracy (.+)%\n", text)
    assert result is not None
    assert float(result[1]) < 0.2
    assert float(result[2]) > 95


def test_the_example_of_core(site: Site) -> None:
    text = site.run(first_program(ROOT / "needle-core" / "README.md"), NEEDLE_DEVICE="numpy")
    assert text.startswith("Tensor([[")
    assert "Tensor([ 3., 12.], dtype=float32, device=numpy:0)" in text


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "needle-core/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", ["README.md", "needle-core/README.md"])
def test_every_program_can_be_read(page: str) -> None:
    for program in programs(ROOT / page):
        compile(program, page, "exec")
        assert max(map(len, program.splitlines())) <= 120
