"""The scripts that measure and that make other environments: their judgements, without servers or pip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmarks.table import Row, table
from scripts.stacks import matrix, venvs


@pytest.mark.parametrize(
    ("other", "at_least", "is_met"),
    [([2.0], False, True), ([0.5], False, False), ([2.0], True, False), ([0.5], True, True)],
)
def test_a_goal_is_met_by_the_ratio_of_the_medians(other: list[float], at_least: bool, is_met: bool) -> None:
    assert Row("x", [9.0, 1.0, 0.1], other, 1.0, at_least=at_least).is_met is is_met


def test_the_table_shows_medians_spreads_ratios_and_what_upstream_said() -> None:
    rows = (
        Row("GET", [1.0, 2.0, 3.0], [4.0], 1.1, ([8.0], [2.0])),
        Row("file", [100.0], [400.0], 0.3, "403", at_least=True),
    )
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(rows).splitlines()[2:]]
    assert lines[0] == ["GET", "2 (1 to 3)", "4 (4 to 4)", "0.50", "≤ 1.1 met", "8 (8 to 8)", "2 (2 to 2)", "4.00"]
    assert lines[1] == ["file", "100 (100 to 100)", "400 (400 to 400)", "0.25", "≥ 0.3 MISSED", "403", "", ""]


def test_an_environment_that_has_what_is_wanted_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "packages").write_text("3.8\ntornado==6.1")
    python = venvs.ensure("old", "3.8", ("tornado==6.1",), where=tmp_path)
    assert python == tmp_path / "old" / "bin" / "python"
    assert not python.exists()


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(venvs.Unavailable, match=r"python3\.99"):
        venvs.ensure("new", "3.99", (), where=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_running_python_is_found() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.run([venvs.find_python(version), "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == version


def test_the_matrix_spans_what_the_bridge_promises() -> None:
    packages = " ".join(package for row in matrix.ROWS for package in row.packages)
    for promised in ("server==1.24", "server==2.0", "server==2.14", "notebook==6.4", "notebook==6.5", "notebook==7"):
        assert promised in packages
    assert {f"tornado==6.{minor}" for minor in range(1, 7)} <= {
        package[: len("tornado==6.x")] for row in matrix.ROWS for package in row.packages
    }
    assert {row.python for row in matrix.ROWS} == {f"3.{minor}" for minor in range(8, 16)}


def test_the_matrix_lists_its_rows_and_refuses_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(["--list", "--ci"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["server-1.24", "notebook-6.4"]
    with pytest.raises(SystemExit):
        matrix.main(["no-such-row"])


def test_all_of_the_bridges_tests_against_a_server_are_in_the_matrix() -> None:
    against_servers = {
        str(path.relative_to(venvs.ROOT))
        for path in (venvs.ROOT / "tests" / "integration" / "bridge").glob("test_*.py")
        if "odd_server" in path.read_text()
    }
    assert against_servers == set(matrix.TESTS)
