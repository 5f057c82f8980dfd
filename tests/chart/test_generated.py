"""What is derived is up to date, and says what it is derived from."""

import subprocess
import sys

import pytest

import chart_files
from chart.programs import CHART, ROOT


@pytest.mark.usefixtures("helm")
def test_derived_files_are_current() -> None:
    call = subprocess.run(
        [sys.executable, str(ROOT / "hack/chart_files.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (call.returncode, call.stderr) == (0, "")


def test_crd_of_the_chart_is_that_of_the_repository() -> None:
    name = "imageshareacceptances.ims.otc.dev.yaml"

    assert (CHART / "files/crds" / name).read_text() == (ROOT / "deploy/crds" / name).read_text()


def test_annotations_of_the_crd_replace_older_ones() -> None:
    before = "annotations:\n  artifacthub.io/license: Apache-2.0\n"

    first = chart_files.with_crd(before)

    assert chart_files.with_crd(first) == first
    assert first.startswith(before)
    assert "kind: ImageShareAcceptance" in first


def test_table_has_groups_values_and_their_comments() -> None:
    values = """
# How many.
replicas: 2

image:
  # Where it is.
  repository: ""

# All of it.
resources:
  limits: {memory: 1Gi}
"""

    assert list(chart_files.rows_of(values)) == [
        ("replicas", "2", "How many."),
        ("image.repository", '""', "Where it is."),
        ("resources", '{"limits": {"memory": "1Gi"}}', "All of it."),
    ]


def test_value_without_comment_is_an_error() -> None:
    with pytest.raises(chart_files.UndocumentedError, match=r"image\.tag"):
        list(chart_files.rows_of("image:\n  # Where it is.\n  repository: x\n  tag: y\n"))


def test_table_goes_between_its_marks() -> None:
    page = f"before\n{chart_files.BEGIN}\nold\n{chart_files.END}\nafter\n"

    text = chart_files.with_table(page, "# How many.\nreplicas: 2\n")

    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| `replicas` | `2` | How many. |" in text
    assert "old" not in text
