"""quicktunetool's four files: written and read back, and read as the tool's own examples lay them out."""

import numpy as np
import pytest

from synthenv.ranking.readers import quicktunetool
from synthenv.ranking.runs import RunTable
from tests.ranking.test_runs import same, small

OWN = {
    "config.csv": ",model,lr\n1,xcit,0.1\n2,beit,\n3,xcit,0.1\n",
    "curve.csv": ",1,2,3\n1,0.1,0.2,0.3\n2,0.2,0.3,\n3,0.5,0.6,0.7\n",
    "cost.csv": ",cost\n1,30\n2,10\n3,\n",
    "meta.csv": ",num-classes\n1,10\n2,10\n3,20\n",
}


def laid_out(folder, **changed):
    for name, text in {**OWN, **{f"{key}.csv": text for key, text in changed.items()}}.items():
        (folder / name).write_text(text)
    return folder


def test_reads_the_tools_own_layout(tmp_path):
    table = quicktunetool.read(laid_out(tmp_path))
    assert table.tasks == ("num-classes=10.0", "num-classes=20.0")
    assert table.pipelines == ("lr=0.1, model=xcit", "model=beit")
    assert table.settings["lr=0.1, model=xcit"] == {"lr": 0.1, "model": "xcit"}
    assert table.features["num-classes=20.0"] == {"num-classes": 20}
    grid = table.grid()
    np.testing.assert_array_equal(grid.score[0], [[0.1, 0.2, 0.3], [0.2, 0.3, np.nan]])
    np.testing.assert_array_equal(grid.seconds[0], [[10, 20, 30], [5, 10, np.nan]])


def test_seconds_of_single_epochs_are_summed(tmp_path):
    cost = ",1,2,3\n1,1,2,3\n2,4,5,\n3,1,1,1\n"
    grid = quicktunetool.read(laid_out(tmp_path, cost=cost)).grid()
    np.testing.assert_array_equal(grid.seconds[0], [[1, 3, 6], [4, 9, np.nan]])


def test_repeats_become_seeds(tmp_path):
    table = quicktunetool.read(laid_out(tmp_path, meta=",num-classes\n1,10\n2,10\n3,10\n"))
    assert table.seed[table.pipeline == "lr=0.1, model=xcit"].tolist() == [0, 0, 0, 1, 1, 1]


def test_tails_of_zeros_are_refused_and_can_be_cut(tmp_path):
    folder = laid_out(tmp_path, curve=",1,2,3\n1,0.1,0,0\n2,0,0,0\n3,0.5,0.6,0.7\n")
    with pytest.raises(ValueError, match=r"1 of 3 curves end in zeros.*row 2.*repair=True"):
        quicktunetool.read(folder)
    with pytest.warns(UserWarning, match="cut the tails of zeros: 1 of 3"):
        table = quicktunetool.read(folder, repair=True)
    assert table.seconds[0] == 30
    assert len(table) == 7


def test_written_tables_are_read_back(tmp_path):
    table = small(settings={"p": {"lr": 0.1, "opt": "1"}, "q": {"lr": 1.0}}, features={"a": {"n": 1.0}})
    quicktunetool.write(table, tmp_path / "files")
    same(table, quicktunetool.read(tmp_path / "files"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cost": ",cost\n2,1\n1,1\n3,1\n"}, "cost.csv and config.csv differ in their first column"),
        ({"cost": ",a,b\n1,1,1\n2,1,1\n3,1,1\n"}, "one column or one an epoch"),
        ({"curve": ",a\n1,1\n2,1\n3,1\n"}, "columns 1, 2, ... beside its index, got a"),
        ({"curve": ",1\n1,x\n2,1\n3,1\n"}, "row 2, column 'curve.csv: 1' should be a number"),
        ({"config": "", "curve": ""}, "config.csv is empty"),
        ({"config": ",lr\n", "curve": ",1\n", "cost": ",cost\n", "meta": ",n\n"}, "holds no runs"),
    ],
)
def test_what_is_not_theirs_is_refused(tmp_path, changed, said):
    with pytest.raises(ValueError, match=said):
        quicktunetool.read(laid_out(tmp_path, **changed))


def test_one_task_needs_a_name(tmp_path):
    folder = laid_out(tmp_path)
    (folder / "meta.csv").unlink()
    with pytest.raises(ValueError, match="say task='NAME'"):
        quicktunetool.read(folder)
    assert quicktunetool.read(folder, task="mine").tasks == ("mine",)
    (folder / "cost.csv").unlink()
    with pytest.raises(ValueError, match=r"cost\.csv is missing"):
        quicktunetool.read(folder, task="mine")


@pytest.mark.parametrize(
    ("told", "said"), [({"budget": 0.5}, "whole numbers"), ({"maximize": False}, "quicktunetool maximises")]
)
def test_what_the_tool_cannot_hold_is_refused(tmp_path, told, said):
    with pytest.raises(ValueError, match=said):
        quicktunetool.write(RunTable.of("a", "p", 1.0, **told), tmp_path)
