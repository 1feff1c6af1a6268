"""`hotpair export` and `import`: sheets of a site's points, taken back row by row."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from command import hotpair

from gateway.app import schemas
from gateway.cli.workbook import write_workbook
from gateway.config.cells import Unsayable, cells
from gateway.config.files import check_site, source
from gateway.config.points_sheet import Sheet, drafts_of
from gateway.errors import ControlError
from profiles.schema import ModbusPoint

SITE = """\
site: plant
devices:
  plc1:
    driver: modbus
    line: {tcp: {host: 10.0.0.1}}
    points:
      level: {register: holding, address: 0, type: float32, unit: m, description: "=1+1"}
  meter1: {driver: modbus, line: {tcp: {host: 10.0.0.2}}, profile: eastron/sdm120}
  plc2:
    driver: opcua
    endpoint: opc.tcp://10.0.0.3:4840
    insecure: true
points_csv: [points.csv]
"""
POINTS = """\
# made by hand
device;point;address;type;scale
plc1;flow;10;uint16;0,5
# the next one is by the pump
plc1;ph;12;uint16;
plc2;run;;;
meter1;voltage;;;
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "site.yaml"
    file.write_text(SITE)
    points = POINTS.replace("plc2;run;;;\n", "").replace("meter1;voltage;;;\n", "")
    (tmp_path / "points.csv").write_text(points)
    return file


def points_of(site: Path) -> dict[str, object]:
    loaded = check_site(site, schemas())
    assert loaded.site is not None, loaded.problems
    return {point.id: point.settings for point in loaded.site.points}


def put(folder: Path, *lines: str, name: str = "new.csv") -> Path:
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.mark.parametrize("name", ["all.csv", "all.xlsx"])
def test_what_goes_out_comes_back_into_an_empty_site(site: Path, tmp_path: Path, name: str) -> None:
    before = points_of(site)
    said = hotpair("export", tmp_path / name, "--site", site, "--all")
    assert said.status == 0, said
    assert said.out == f"{tmp_path / name}: 13 points of {site}\n"
    bare = tmp_path / "bare"
    bare.mkdir()
    without = SITE.replace("points_csv: [points.csv]\n", "")
    head, _, rest = without.partition("    points:\n")
    (bare / "site.yaml").write_text(head + rest.partition("\n")[2])
    said = hotpair("import", tmp_path / name, "--site", bare / "site.yaml")
    assert said.status == 0, said
    assert "added: 13: " in said.out and "points_csv names points.csv" in said.out
    assert points_of(bare / "site.yaml") == before
    again = hotpair("import", tmp_path / name, "--site", bare / "site.yaml")
    assert "unchanged: 13" in again.out and "added" not in again.out


def test_export_takes_what_the_site_says_and_no_formula_leaves(site: Path) -> None:
    said = hotpair("export", "-", "--site", site)
    lines = said.out.splitlines()
    assert lines[0] == "device,point,register,address,type,unit,description,scale"
    assert "plc1,level,holding,0,float32,m,'=1+1," in lines
    assert len(lines) == 4, "the meter's points come from its profile"
    only = hotpair("export", "-", "--site", site, "--device", "meter1", "--all")
    assert len(only.out.splitlines()) == 11
    wrong = hotpair("export", "-", "--site", site, "--device", "meter2")
    assert wrong.status == 3 and "Did you mean `meter1`" in wrong.err


def test_a_file_is_replaced_only_when_that_is_said(site: Path, tmp_path: Path) -> None:
    out = put(tmp_path, "mine", name="out.csv")
    assert hotpair("export", out, "--site", site).status == 1
    assert out.read_text() == "mine\n"
    said = hotpair("export", out, "--site", site, "--force", "--json")
    assert said.json == {"file": str(out), "points": 3}


def test_a_point_that_no_row_can_hold_is_named_and_nothing_is_written(
    site: Path, tmp_path: Path
) -> None:
    site.write_text(SITE.replace("unit: m,", 'unit: m, enum: {1: "a|b"},'))
    said = hotpair("export", tmp_path / "out.csv", "--site", site)
    assert said.status == 1
    assert f"{site}:7: devices.plc1.points.level: `enum` has a text with `|`" in said.err
    assert not (tmp_path / "out.csv").exists()


def test_rows_change_add_and_keep_and_comments_stay(site: Path, tmp_path: Path) -> None:
    file = put(
        tmp_path,
        "device,point,address,type,unit,scale",
        "plc1,flow,11,uint16,m3/h,0.5",
        "plc1,ph,12,uint16,,",
        "plc1,new,14,uint16,V,2",
    )
    dry = hotpair("import", file, "--site", site, "--dry-run")
    assert dry.status == 0 and "dry run: nothing was changed" in dry.out
    assert "unit" not in (tmp_path / "points.csv").read_text()
    said = hotpair("import", file, "--site", site, "--json")
    assert said.json == {
        "into": "points.csv",
        "written": True,
        "added": ["plc1/new"],
        "changed": ["plc1/flow"],
        "removed": [],
        "unchanged": 1,
        "problems": [],
    }
    assert (tmp_path / "points.csv").read_text() == (
        "# made by hand\n"
        "device;point;address;type;scale;unit\n"
        "plc1;flow;11;uint16;0.5;m3/h\n"
        "# the next one is by the pump\n"
        "plc1;ph;12;uint16;\n"
        "plc1;new;14;uint16;2;V\n"
    )
    assert "plc1/new" in points_of(site)


def test_what_a_file_does_not_hold_is_dropped_only_with_prune(site: Path, tmp_path: Path) -> None:
    file = put(tmp_path, "device,point,address", "plc1,flow,10")
    said = hotpair("import", file, "--site", site)
    assert "unchanged: 1" in said.out and "removed" not in said.out
    said = hotpair("import", file, "--site", site, "--prune")
    assert "removed: 1: plc1/ph" in said.out
    assert set(points_of(site)) >= {"plc1/flow", "plc1/level"}
    assert "plc1/ph" not in points_of(site)
    # An empty cell under a named column says: nothing any more.
    file = put(tmp_path, "device,point,address,type", "plc1,flow,10,")
    said = hotpair("import", file, "--site", site)
    assert "changed: 1: plc1/flow" in said.out


def test_every_mistake_is_told_by_its_line_and_nothing_is_changed(
    site: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    file = put(
        tmp_path,
        "device,point,address,type,nan",
        "plc9,a,1,uint16,",
        "plc1,level,1,uint16,",
        "plc1,twice,1,uint16,",
        "plc1,twice,2,uint16,",
        "plc1,bad,70000,uint16,",
    )
    said = hotpair("import", file, "--site", site)
    assert said.status == 1
    for line, told in (
        (2, "the site has no device `plc9`"),
        (3, f"`plc1/level` is defined in {site}:7"),
        (5, "the point is in line 4, too"),
        (6, "address 70000 is outside"),
    ):
        (problem,) = (p for p in said.err.splitlines() if p.startswith(f"{file}:{line}: "))
        assert told in problem
    assert said.err.endswith("4 problem(s): nothing was changed\n")
    assert {path: path.read_bytes() for path in before} == before
    file = put(tmp_path, "device,point,address", "plc1,,1")
    said = hotpair("import", file, "--site", site)
    assert said.status == 1 and f"{file}:2: column point: the cell `point` is empty" in said.err
    # What only the site as a whole shows comes back to the line of the file that was read.
    file = put(tmp_path, "device,point,address,type", "", "plc1,bad,7,uint99")
    said = hotpair("import", file, "--site", site, "--json")
    assert said.status == 1 and not said.json["written"]
    (problem,) = said.json["problems"]
    assert problem.startswith(f"{file}:3: plc1/bad, column type: ")


def test_unusable_values_of_a_row_are_told(site: Path, tmp_path: Path) -> None:
    file = put(tmp_path, "device,point,address,nan", "plc1,a,1,|")
    said = hotpair("import", file, "--site", site)
    assert said.status == 1 and f"{file}:2: `nan` is no list with entries" in said.err
    said = hotpair("import", put(tmp_path, "point,address", "a,1"), "--site", site)
    assert said.status == 1 and "the column `device` is missing" in said.err


def test_the_points_file_may_be_another_or_a_new_one(site: Path, tmp_path: Path) -> None:
    file = put(tmp_path, "device,point,node,type", "plc2,run,ns=2;s=Run,bool")
    said = hotpair("import", file, "--site", site, "--into", "opcua.csv")
    assert said.status == 0, said
    assert "points_csv: [points.csv, opcua.csv]\n" in site.read_text()
    assert "plc2/run" in points_of(site)
    # A point of another file is not taken into this one.
    file = put(tmp_path, "device,point,address", "plc1,flow,10")
    said = hotpair("import", file, "--site", site, "--into", "opcua.csv")
    assert said.status == 1 and f"is defined in {tmp_path / 'points.csv'}:3" in said.err


def test_a_list_of_files_over_several_lines_is_kept_whole(site: Path, tmp_path: Path) -> None:
    site.write_text(SITE.replace("[points.csv]", "\n  - points.csv"))
    file = put(tmp_path, "device,point,node,type", "plc2,run,ns=2;s=Run,bool")
    assert hotpair("import", file, "--site", site, "--into", "opcua.csv").status == 0
    assert drafts_of(site, source(), schemas()).csv_names == ("points.csv", "opcua.csv")


def test_a_broken_site_takes_nothing(tmp_path: Path) -> None:
    site = put(tmp_path, "- a list", name="site.yaml")
    file = put(tmp_path, "device,point,address", "plc1,flow,10")
    assert hotpair("import", file, "--site", site).status == 1
    assert hotpair("export", tmp_path / "x.csv", "--site", site).status == 3


def book(file: Path, *rows: list[object], title: str = "points", more: bool = False) -> Path:
    made = openpyxl.Workbook()
    page = made.active
    assert page is not None
    page.title = title
    for row in rows:
        page.append(row)
    if more:
        made.create_sheet("notes")
    made.save(file)
    return file


def test_what_a_spreadsheet_changed_is_told_by_its_cell(site: Path, tmp_path: Path) -> None:
    from datetime import datetime

    file = book(
        tmp_path / "p.xlsx",
        ["device", "point", "address", "type", "volatile", "description", "scale"],
        ["plc1", "a", 20, "uint16", True, "  lead", 2.0],
        [None],
        ["plc1", "b", "=1+1", "uint16"],
        ["plc1", "c", datetime(2026, 1, 2), "uint16"],  # noqa: DTZ001 - a cell has no zone
        more=True,
    )
    said = hotpair("import", file, "--site", site)
    assert said.status == 1
    assert "the sheet points is read" in said.err
    assert f"{file}:4: cell C4: a formula, where a value belongs" in said.err
    assert f"{file}:5: cell C5: the spreadsheet made a date of it" in said.err
    file = book(
        tmp_path / "p.xlsx",
        ["device", "point", "address", "type", "volatile", "description", "scale"],
        ["plc1", "a", 20, "uint16", True, "  lead", 2.5],
        title="anything",
    )
    assert hotpair("import", file, "--site", site).status == 0
    taken = points_of(site)["plc1/a"]
    assert isinstance(taken, ModbusPoint)
    assert (taken.description, taken.volatile, taken.scale) == ("  lead", True, 2.5)


def test_a_file_that_is_no_workbook_is_refused(site: Path, tmp_path: Path) -> None:
    for name, content in (("a.xlsx", b"no zip"), ("b.xlsx", b"PK\x05\x06" + bytes(18))):
        (tmp_path / name).write_bytes(content)
        said = hotpair("import", tmp_path / name, "--site", site)
        assert said.status == 3 and "is no XLSX workbook" in said.err
    empty = book(tmp_path / "empty.xlsx")
    said = hotpair("import", empty, "--site", site)
    assert said.status == 1 and "the sheet has no header" in said.err
    wrong = book(tmp_path / "w.xlsx", ["device", "nonsense"])
    assert "unknown column `nonsense`" in hotpair("import", wrong, "--site", site).err


def test_a_control_character_is_told_when_no_workbook_can_hold_it() -> None:
    row = {"device": "plc1", "point": "a", "unit": "\x01"}
    with pytest.raises(ControlError, match="`unit` of plc1/a"):
        write_workbook(Sheet(tuple(row), (row,), ()))


@pytest.mark.parametrize(
    ("data", "tells"),
    [
        ({"description": "x" * 10_001}, "longer than"),
        ({"description": "x "}, "ends in a blank"),
        ({"description": ["x"]}, "a list or a mapping"),
        ({"nan": []}, "no list with entries"),
        ({"nan": 5}, "no list with entries"),
        ({"nan": ["a|b"]}, "an entry with `|`"),
        ({"enum": {}}, "no mapping with entries"),
        ({"enum": {1: "a|b"}}, "a text with `|`"),
        ({"range": {"eu": 5}}, "`range.eu` is no pair"),
        ({"notes": "x"}, "`notes` is no key of a point"),
    ],
)
def test_what_no_cell_can_hold_says_so(data: dict[str, object], tells: str) -> None:
    with pytest.raises(Unsayable, match=tells):
        cells(data, ModbusPoint)


def test_nothing_is_said_by_nothing() -> None:
    assert cells({"unit": None, "range": None}, ModbusPoint) == {}


def test_a_file_of_excel_and_one_without_a_last_line_end_are_kept(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "points.csv").write_bytes(b"sep=;\r\ndevice;name;address\r\nplc1;flow;10")
    file = put(tmp_path, "device,point,address", "plc1,more,12")
    assert hotpair("import", file, "--site", site).status == 0
    text = (tmp_path / "points.csv").read_bytes()
    assert text == b"sep=;\r\ndevice;name;address\r\nplc1;flow;10\nplc1;more;12\n"


def test_a_range_is_taken_in_either_form(site: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("device,point,address,range\nplc1,a,1,0..10 -> 0..5\n")
    file = put(tmp_path, "device,point,raw_min,raw_max,eu_min,eu_max", "plc1,a,0,20,0,5")
    assert hotpair("import", file, "--site", site).status == 0
    taken = points_of(site)["plc1/a"]
    assert isinstance(taken, ModbusPoint) and taken.range is not None
    assert taken.range.raw == (0, 20)
