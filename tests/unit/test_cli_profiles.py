"""`hotpair profiles`: found, shown, checked, begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import hotpair

from gateway.commissioning import suggest_profiles
from profiles.load import names, parse


def test_profiles_are_found_by_vendor_model_and_any_word() -> None:
    everything = hotpair("profiles", "list", "--json").json
    assert [entry["profile"] for entry in everything] == names()
    for words, expected in (
        (["eastron"], {"eastron/sdm120", "eastron/sdm630"}),
        (["SDM630"], {"eastron/sdm630"}),
        (["eastron", "single-phase"], {"eastron/sdm120"}),
    ):
        found = hotpair("profiles", "list", *words, "--json").json
        assert {entry["profile"] for entry in found} == expected
    assert "2 profiles" in hotpair("profiles", "list", "eastron").out


def test_a_profile_is_shown_with_where_it_was_read_and_its_points() -> None:
    said = hotpair("profiles", "show", "generic/plc-ring")
    assert said.status == 0
    assert "windback: ring" in said.out and "source:" in said.out
    found = hotpair("profiles", "show", "eastron/sdm120", "--json").json
    assert found["status"] == "manual" and found["source"]
    assert found["points"]["voltage"]["unit"] == "V"


def test_a_profile_of_ones_own_is_begun_passes_lint_and_is_shown(tmp_path: Path) -> None:
    for order in ("ABCD", "CDAB", "BADC", "DCBA"):
        file = tmp_path / "acme" / f"{order.lower()}.yaml"
        said = hotpair(
            *("profiles", "new", file, "--vendor", 'Acme "Pumps"', "--byte-order", order, "-y"),
        )
        assert said.status == 0, said
        assert hotpair("profiles", "lint", file).out == f"{file}: OK\n"
        profile = parse(file.read_text(), file.name)
        assert profile.vendor == 'Acme "Pumps"' and profile.defaults.byte_order == order
        assert hotpair("profiles", "show", file).status == 0
    again = hotpair("profiles", "new", file, "-y")
    assert again.status == 1 and "exists: nothing was written" in again.err


@pytest.mark.parametrize(
    "words", [["x.txt"], ["x.yaml", "--area", "coil"], ["x.yaml", "--byte-order", "AB"]]
)
def test_a_profile_that_can_not_be_begun_is_refused(words: list[str], tmp_path: Path) -> None:
    said = hotpair("profiles", "new", tmp_path / words[0], *words[1:], "-y")
    assert said.status == 2 and ". " in said.err
    assert not list(tmp_path.iterdir())


def test_every_mistake_is_told_by_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "m7.yaml"
    assert hotpair("profiles", "new", file, "-y").status == 0
    good = file.read_text()
    file.write_text(good.replace("version: 1 ", "version: 0 ").replace("unit: V", "unot: V"))
    said = hotpair("profiles", "lint", file)
    line = 1 + good[: good.index("version:")].count("\n")
    assert said.status == 1
    assert f"{file}:{line}: version:" in said.out and "unknown key `unot`" in said.out
    assert said.out.endswith("2 problems\n")
    # An example that does not come out is a mistake, too: here of the byte order.
    file.write_text(good.replace("byte_order: ABCD", "byte_order: CDAB"))
    said = hotpair("profiles", "lint", file, "--json")
    line = 1 + good[: good.index("expect:")].count("\n")
    assert said.status == 1 and not said.json["ok"]
    (problem,) = said.json["problems"]
    assert problem.startswith(f"{file}:{line}: examples.0.expect.example: ")
    assert hotpair("profiles", "lint", tmp_path / "none.yaml").status == 1


def test_shipped_profiles_pass_lint() -> None:
    folder = Path(__file__).parents[2] / "profiles"
    said = hotpair("profiles", "lint", *sorted(folder.glob("*/*.yaml")))
    assert said.status == 0, said.out


def test_profiles_are_suggested_by_what_a_device_tells() -> None:
    told = suggest_profiles(["Eastron", "SDM120-Modbus"], ())
    assert [s.profile for s in told] == ["eastron/sdm120", "eastron/sdm630"]
    assert told[0].why == "it names SDM120"
    inverter = suggest_profiles(["Fronius"], (1, 103, 120))
    assert [s.profile for s in inverter] == ["sunspec/inverter"]
    assert inverter[0].why == "it has SunSpec model 103"
    assert suggest_profiles(["Nobody", "N1"], (1,)) == []
