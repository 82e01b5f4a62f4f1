"""``benchmarks.tied_head``, on a model that is trained for seconds."""

from benchmarks.tied_head import compare


def test_rotation_loses_less_than_selection_with_one_table_too() -> None:
    dense, selected, one_table, two_tables = compare([40], hidden=64, layers=1, steps=60, recovery=1, seed=0)
    assert float(dense["cut"]) < float(one_table["cut"]) < float(selected["cut"])
    vocabulary = (float(two_tables["params"]) - float(one_table["params"]) + 40 * 40 - 40) / 40
    assert vocabulary == int(vocabulary) > 1000
    assert float(one_table["params"]) - float(selected["params"]) == 40 * 40 - 40
