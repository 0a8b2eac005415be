"""A series in CSV: what is read, and every line that is wrong by its number."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data.read_series import read_series
from harness.errors import UserError

HOURS = [f"2016-07-01 {hour:02}:00,{hour},{hour * 10}" for hour in range(24)]


def read(lines, header="date,a,b", **more):
    series, columns = read_series("\n".join([header, *lines]), "my.csv", "my", **more)
    return series, columns


def faults(lines, header="date,a,b", **more):
    with pytest.raises(UserError) as caught:
        read(lines, header, **more)
    return [str(fault).replace("\n", ";") for fault in caught.value.faults]


def put(number, line, *others):
    """HOURS with line `number` of the file instead, and others below it."""
    return [*HOURS[: number - 2], line, *others, *HOURS[number - 1 :]]


# what is read


def test_columns_are_read_in_their_order_or_as_they_are_named():
    series, columns = read(HOURS)
    assert columns == ["a", "b"] and series.values[3].tolist() == [3, 30]
    series, columns = read(HOURS, columns=["b"])
    assert columns == ["b"] and series.values[3].tolist() == [30]


def test_dates_may_stand_in_any_column():
    series, columns = read(["1.5,2001-01-01", "2.5,2001-01-02"], "x,when", date="when")
    assert columns == ["x"] and np.diff(series.times).tolist() == [1]


@pytest.mark.parametrize(
    ("dates", "steps"),
    [
        (["1700", "1701", "1702"], [1, 1]),
        (["20160101", "20160108", "20160115"], [7, 7]),
        (["2016-01-31", "2016-02-29", "2016-03-31"], [1, 1]),
        (["2016-01-01", "2016-04-01", "2016-07-01"], [3, 3]),
        (["2016-01-01T00:00+01:00", "2016-01-02T00:00+01:00", "2016-01-02T23:00Z"], [1, 1]),
    ],
)
def test_dates_are_numbers_days_or_months(dates, steps):
    assert np.allclose(np.diff(read([f"{date},1" for date in dates], "t,x")[0].times), steps)


def test_a_byte_order_mark_carriage_returns_blank_lines_quotes_and_columns_that_nobody_reads_do_no_harm():
    text = '\ufeffdate,"a",note\r\n2001-01-01," 1 ",so\r\n\r\n2001-01-02,2,"more, or less"\r\n'
    series, _ = read_series(text, "my.csv", "my", columns=["a"])
    assert series.values[:, 0].tolist() == [1, 2]


def test_weekends_of_shares_are_no_gaps():
    days = ["2016-07-01", "2016-07-05", *(f"2016-07-{day:02}" for day in (6, 7, 8, 11, 12, 13, 14, 15, 18))]
    assert len(read([f"{day},1" for day in days], "Date,Close")[0].times) == len(days)


def test_carry_takes_blanks_as_missing_and_fills_whole_steps_that_were_left_out():
    lines = [*put(5, "2016-07-01 03:00,,30")[:10], *HOURS[12:]]
    series, _ = read(lines, missing=True)
    assert len(series.times) == 24 and np.allclose(np.diff(series.times), 1 / 24)
    assert np.argwhere(np.isnan(series.values)).tolist() == [[3, 0], [10, 0], [10, 1], [11, 0], [11, 1]]


# what is wrong


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2016-07-01 03:00,3", "2 cells;  allowed: 3, as the header has"),
        ("2016-07-01 03:00,3,4,5", "4 cells;  allowed: 3"),
        ("2016-07-01 03:00,,4", "column 'a': no value ('');  allowed: a number;  try: missing: carry"),
        ("2016-07-01 03:00,3,NaN", "column 'b': no value ('NaN')"),
        ("2016-07-01 03:00,3,high", "column 'b': no number: 'high'"),
        ("2016-07-01 03:00,3,inf", "column 'b': no number: 'inf'"),
        ("2016-07-01 03:00,3,1e999", "column 'b': 1e999 is too large"),
        ('2016-07-01 03:00,3,"1,234.5"', "column 'b': no number: '1,234.5'"),
        ('2016-07-01 03:00,3,"3,14"', "try: write 1234.5 for 1,234.5"),
        ("1/7/2016,3,4", "column 'date': no date: '1/7/2016';  allowed: ISO dates"),
        ("2016-07-01 02:00,3,4", "the date of line 4 again;  allowed: one row for each time"),
    ],
)
def test_a_line_that_is_wrong_is_named_with_what_is_allowed(line, said):
    (fault,) = faults(put(5, line))[:1]
    assert fault.startswith("my.csv:5: ") and said in fault


def test_unsorted_dates_and_gaps_are_named():
    (back,) = faults([HOURS[0], HOURS[2], HOURS[1], *HOURS[3:]])
    assert back.startswith(
        "my.csv:4: a date before that of line 3;  allowed: rows in order of time;  try: sort the file by its date"
    )
    (gap,) = faults([*HOURS[:10], *HOURS[12:]])
    assert gap.startswith("my.csv:12: 3 steps after line 11") and "missing: carry" in gap
    (half,) = faults(put(25, "2016-07-01 23:30,1,1"), missing=True)
    assert half.startswith("my.csv:25: 1.5 steps after line 24") and "try" not in half
    (long,) = faults([f"{day},1" for day in (1, 3, 4, 7, 8, 9, 60)], "day,x")
    assert long.startswith("my.csv:8: a gap 34 times as long as usual after line 7")


def test_a_month_that_is_missing_is_a_gap_though_months_have_no_one_length():
    months = [
        f"{year}-{month:02}-01,1" for year in (2001, 2002) for month in range(1, 13) if (year, month) != (2001, 7)
    ]
    (gap,) = faults(months, "month,x")
    assert gap.startswith("my.csv:8: 2 steps after line 7")


@pytest.mark.parametrize(
    ("lines", "header", "said"),
    [
        ([], "date,a", "my.csv: no rows"),
        (["1;2"], "date;a", "my.csv:1: cells are parted by semicolons"),
        (["1", "2"], "date", "my.csv:1: one column"),
        (["2,3"], "1,2", "my.csv:1: the first line is numbers, no header"),
        (["1,2,3"], "date,a,a", "my.csv:1: the header names 'a' 2 times"),
        (["1,2"], "date,Close", "my.csv:1: no column 'close'"),
        (['1,"2'], "date,close", "my.csv:2: no CSV: unexpected end of data"),
    ],
)
def test_a_file_that_is_no_table_with_a_header_is_refused(lines, header, said):
    assert any(fault.startswith(said) for fault in faults(lines, header, columns=["close"]))


def test_a_date_is_no_value():
    (fault,) = faults(HOURS, columns=["date"])
    assert fault.startswith("my.csv:1: column 'date' holds the dates")


def test_lines_are_named_in_their_order_whatever_is_wrong():
    lines = ["2016-07-01,1,2", "2016-07-02,x,2", "no day,1,2", "2016-07-02,1", "2016-06-01,1,", "2016-07-05,1,2"]
    found = faults(lines)
    assert [fault.split(": ")[0] for fault in found] == ["my.csv:3", "my.csv:4", "my.csv:5", "my.csv:6"]
    found = faults([*lines[:2], *lines[4:]])
    assert [fault.split(": ")[0] for fault in found] == ["my.csv:3", "my.csv:4", "my.csv:4"]


def test_of_many_faults_the_first_are_told():
    found = faults([f"{hour},high,1" for hour in range(50)])
    assert len(found) == 21 and found[-1] == "and 30 lines more"
