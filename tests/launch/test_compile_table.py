"""launch.compile_table: what is finished stays, what fails is said."""

import json

from typed import command

from ssd_jax.compiled import table


def test_a_finished_row_is_not_compiled_again(tmp_path):
    for name in ("ssd300-h100-8", "ssd300-a100-8"):
        (tmp_path / name).mkdir()
    finished = {
        "memory": {"total": 5_970_000_000, "fits": True},
        "flops": None,
        "step": None,
        "collectives": [],
    }
    (tmp_path / "ssd300-h100-8" / "summary.json").write_text(json.dumps(finished))
    done = command(
        "compile_table",
        f"--output={tmp_path}",
        "--rows=SSD300 h100,SSD300 a100",
        "--cuda_python=false",
    )
    assert done.returncode == 1
    assert "SSD300 a100:8 failed; see" in done.stderr
    assert "SSD300 h100:8 failed" not in done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("| SSD300")]
    assert line.split("|")[2].strip() == "h100:8"
    assert line.split("|")[3].strip() == table.row(finished)[0] == "5.97"
    assert (tmp_path / "table.md").read_text() in done.stdout


def test_rows_that_are_not_there(tmp_path):
    done = command("compile_table", f"--output={tmp_path}", "--rows=v9")
    assert done.returncode == 1
    assert "error: --rows: none of MobileNet-SSD h100:8, " in done.stderr
