"""What a project declares of itself: every key is documented, and what is wrong is told."""

import re
from pathlib import Path

import pytest

from hbitmap_bench.base.errors import UserError
from hbitmap_bench.commits.project_file import DEFAULTS, FILE, ProjectFile, keys, parse, read

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "project-file.md"


def test_every_key_is_in_the_page_and_no_other():
    tables = {"measured", "profiles", "counters", "parameters", "derived", "growth", "front"}
    tables |= {"attached"}
    documented = set(re.findall(r"^\| `([\w.]+)` \|", PAGE.read_text(), re.M))
    assert documented == set(keys()) - tables - {"suites", "benchmarks"}


def test_the_examples_of_the_page_are_files():
    whole, nested = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert parse(whole).growth[0].limits == {"tree": 1.0, "dense": 2.0}
    assert parse(nested).profile("quick").repeat == (3, 10, 5.0)
    assert parse(nested).counters.allowed[0].reason == "the search looks at both ends now"


def test_without_a_file_the_defaults_hold(tmp_path):
    assert read(tmp_path) == DEFAULTS == ProjectFile()
    assert DEFAULTS.profile("quick") == DEFAULTS.profile("full")
    assert DEFAULTS.suite_words("graph").title == "graph"


def test_this_project_has_a_file():
    found = read(ROOT)
    assert found.measured.imports == "hbitmap_impl"
    assert list(found.suites) == ["buildup", "access_check", "bitmap_ops", "memory"]
    assert {growth.of for growth in found.growth} == {one.name for one in found.derived}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mesured]", "not 'mesured': did you mean 'measured'?"),
        (
            "[measured]\npath = 1",
            "[measured] takes paths, imports, files, reviewed, submodules, not 'path'",
        ),
        ("[measured]\nxyz = 1", "not 'xyz': see docs/project-file.md"),
        ('[measured]\npaths = "a"', "measured.paths must be a list, and is 'a'"),
        ("[measured]\npaths = [1]", "measured.paths must be text, and is 1"),
        ("measured = 3", "[measured] must be a table, and is 3"),
        ("[profiles.quick]\nrounds = true", "rounds must be a whole number, and is True"),
        ("[profiles.quick]\nrounds = 1.5", "rounds must be a whole number, and is 1.5"),
        ("[profiles.quick]\nrepeat = [1]", "[least, most, seconds], and is [1]"),
        ("[profiles.quick]\ncells = ['(']", "must be regular expressions, and has '('"),
        ('[[growth]]\nof = "a"', "[growth] needs quantity, size, series, limits"),
        ("[[derived]]\nname = 3", "derived.name must be text, and is 3"),
        ('[[counters.allowed]]\nbenchmark = "a"', "needs a reason, and 'a' has none"),
        ('[parameters]\npairs = [["a"]]', "parameters.pairs must be pairs, and has ['a']"),
        ('[[attached]]\nof = "a"\ntitle = "b"', "[attached] needs command"),
        ('[[attached]]\nof = "a"\ntitle = "b"\ncommand = []', "names a program, and is empty"),
        (
            '[[attached]]\nof = "a"\ntitle = "b"\ncommand = ["c", "{d"]',
            "has parameters in braces, and '{d' is none such",
        ),
        ("x =", "must be TOML"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(tmp_path, text, said):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError) as told:
        read(tmp_path)
    assert said in str(told.value)
    assert str(told.value).startswith(str(tmp_path / FILE))
    assert "\n" not in str(told.value)


def test_names_of_groups_may_only_have_their_parameters():
    growth = '[[growth]]\nof = "a"\nquantity = "b"\nsize = "c"\nseries = "d"\nlimits = {}\n'
    with pytest.raises(UserError, match="growth.at may name e in braces"):
        parse(growth + 'by = ["e"]\nat = "{f}"')


def test_a_profile_that_is_not_there_is_told():
    with pytest.raises(UserError, match="'quik' is none: did you mean 'quick'"):
        DEFAULTS.profile("quik")
