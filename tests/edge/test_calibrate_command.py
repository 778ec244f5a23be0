"""`botyard-edge calibrate`, with a robot that runs and with one that does not."""

import io
import sys
from pathlib import Path

import pytest
import yaml

from botyard_edge.cli import main
from tests.processes import Running, wait_until

ROBOT = "robot: r1\nlocal: {page: false}\ndrivers: {base: {type: sim, options: {seed: 3, patrol: false}}}\n"
PROFILE = "name: force\ncorrection:\n  kind: linear\n  channel: gripper.force\n  scale: 1.5\n"
SAMPLES = "raw,reference  # by hand\n0.1,0\n10.2,10\n\n20.5,20\n30.4,30\n"


@pytest.fixture
def robot(tmp_path: Path) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(ROBOT)
    return path


def calibrate(what: str, robot: Path, *more: object) -> int:
    return main(["calibrate", what, str(robot), *map(str, more)])


def write(robot: Path, name: str, text: str) -> Path:
    path = robot.parent / name
    path.write_text(text)
    return path


def test_profile_from_a_file_is_kept_with_its_versions(robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert calibrate("list", robot) == 0
    assert capsys.readouterr().out == "this robot was never calibrated\n"
    assert calibrate("set", robot, write(robot, "force.yaml", PROFILE)) == 0
    assert calibrate("set", robot, write(robot, "force.yaml", PROFILE.replace("1.5", "1.25"))) == 0
    capsys.readouterr()
    assert calibrate("diff", robot, "force") == 0
    assert capsys.readouterr().out.splitlines() == [
        "--- force version 1",
        "+++ force version 2",
        "- correction.scale: 1.5",
        "+ correction.scale: 1.25",
    ]
    assert calibrate("rollback", robot, "force", 1) == 0
    assert calibrate("show", robot, "force") == 0
    assert "3: linear of gripper.force, as in version 1" in capsys.readouterr().out
    assert calibrate("show", robot, "force", "--version", 2) == 0
    assert "scale: 1.25" in capsys.readouterr().out
    assert calibrate("remove", robot, "force") == 0
    assert "version 4 now (off)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("1.5", "-1", "profile.yaml:5: correction.scale: -1 would invert the sign of gripper.force, expected above 0"),
        ("scale:", "scael:", "profile.yaml:5: correction.scael: unknown key, did you mean 'scale'?"),
        ("linear", "lineal", "profile.yaml:3: correction.kind: "),
        ("name: force", "title: force", "profile.yaml:1: title: unknown key"),
        ("1.5", ".inf", "profile.yaml:5: correction.scale: "),
        ("1.5", "1.5\nvalid_until: soon", "profile.yaml:6: valid_until: 'soon' is no date, expected one such as"),
    ],
)
def test_profile_that_cannot_be_is_told_with_file_and_line(
    robot: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    assert calibrate("set", robot, write(robot, "profile.yaml", PROFILE.replace(old, new))) == 2
    assert sentence in capsys.readouterr().err


def test_fit_shows_a_plot_and_applies_nothing_unless_told(robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = write(robot, "samples.csv", SAMPLES)
    out, plot = robot.parent / "out.yaml", robot.parent / "plot.svg"
    arguments = ["force", "--channel", "gripper.force", "--samples", samples]
    assert calibrate("fit", robot, *arguments, "--out", out, "--plot", plot, "--valid-days", 30) == 0
    said = capsys.readouterr().out
    assert said.count("o") >= 4
    assert "rms 0.08267, largest 0.1381 over 4" in said
    assert plot.read_text().count("<circle") == 4
    assert calibrate("list", robot) == 0
    assert "never calibrated" in capsys.readouterr().out
    assert calibrate("set", robot, out) == 0
    assert calibrate("fit", robot, *arguments, "--degree", 2, "--set") == 0
    capsys.readouterr()
    assert calibrate("list", robot) == 0
    assert "polynomial of gripper.force" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "there are no samples"),
        ("raw,truth\n1,2\n", "samples.csv:1: there is no column 'reference', expected raw, reference"),
        ("1,2\n3\n", "samples.csv:2: has 1 values, expected raw, reference"),
        ("1,2\n3,x\n", "samples.csv:2: reference: 'x' is no finite number"),
        ("1,2\n1,3\n", "all raw values are 1, so a scale cannot be told; fit the offset alone"),
        ("1,2\n2,1\n", "what was fitted makes no sense: correction.scale: -1 would invert the sign"),
    ],
)
def test_samples_that_cannot_be_fitted_are_told(
    robot: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
) -> None:
    samples = write(robot, "samples.csv", text)
    assert calibrate("fit", robot, "force", "--channel", "f", "--samples", samples) in (1, 2)
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--plot", "--out"])
def test_fit_that_cannot_write_its_file_says_so_and_applies_nothing(
    robot: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    samples, file = write(robot, "samples.csv", SAMPLES), robot.parent / "missing" / "file"
    arguments = ["force", "--channel", "gripper.force", "--samples", samples, "--set"]
    assert calibrate("fit", robot, *arguments, option, file) == 1
    assert capsys.readouterr().err == f"{file}: cannot be written: No such file or directory\n"
    assert "never calibrated" in _listed(robot, capsys)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--valid-days", "nan", "'nan' is no number above 0 and at most 36500"),
        ("--valid-days", "inf", "'inf' is no number above 0 and at most 36500"),
        ("--valid-days", "-3", "'-3' is no number above 0 and at most 36500"),
        ("--seconds", "soon", "'soon' is no number above 0 and at most 120"),
    ],
)
def test_fit_with_a_number_that_makes_no_sense_says_what_was_expected(
    robot: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, sentence: str
) -> None:
    samples = write(robot, "samples.csv", SAMPLES)
    with pytest.raises(SystemExit):
        calibrate("fit", robot, "force", "--channel", "f", "--samples", samples, f"{option}={value}")
    assert f"argument {option}: {sentence}" in capsys.readouterr().err


def test_fit_that_is_interrupted_ends_as_shells_expect_it(robot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Keyboard:
        def readline(self) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Keyboard())
    assert calibrate("fit", robot, "force", "--channel", "gripper.force") == 130


def test_axes_motor_and_wheels_are_fitted_from_files(robot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turned = "x y z reference_x reference_y reference_z\n" + "".join(
        f"{x} {y} {z} {-y} {x} {z}\n"
        for x, y, z in [(9.8, 0, 0), (-9.8, 0, 0), (0, 9.8, 0), (0, -9.8, 0), (0, 0, 9.8), (0, 0, -9.8)]
    )
    assert calibrate("fit", robot, "imu", "--axes", "ax", "ay", "az", "--samples", write(robot, "a.csv", turned)) == 0
    assert "largest" in capsys.readouterr().out
    motor = "given\tmeasured\n0.3\t0.2\n0.5\t0.4\n-0.3\t-0.1\n-0.5\t-0.3\n"
    assert calibrate("fit", robot, "m", "--motor", "drive.left", "--samples", write(robot, "m.csv", motor)) == 0
    assert "dead_band: 0.1" in capsys.readouterr().out
    wheels, out = "left;right;way;turn\n100;100;10;0\n100;101;10.05;0.25\n99;100;9.95;0.25\n", robot.parent / "w.yaml"
    arguments = ["w", "--wheels", "base", "--samples", write(robot, "w.csv", wheels), "--out", out]
    assert calibrate("fit", robot, *arguments) == 0
    found = yaml.safe_load(out.read_text())["correction"]
    assert [found[key] for key in ("radius_left", "radius_right", "track")] == pytest.approx([0.1, 0.1, 0.4])


def test_robot_that_runs_is_sampled_and_calibrated_at_once(
    robot: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running([sys.executable, "-m", "botyard_edge.cli", "run", str(robot)], robot.parent, "edge")
    try:
        wait_until(lambda: "never calibrated" in _listed(robot, capsys) and _door(robot).exists(), "the robot runs", 20)
        monkeypatch.setattr("sys.stdin", io.StringIO("nonsense\nnan\n5\n\n"))
        arguments = ["force", "--channel", "gripper.force", "--offset", "--seconds", "0.5", "--set"]
        assert calibrate("fit", robot, *arguments) == 0
        said = capsys.readouterr()
        assert "'nonsense' is not understood" in said.err
        assert "'nan' is not understood" in said.err
        assert "force is at version 1 now" in said.out
        assert calibrate("set", robot, write(robot, "bad.yaml", PROFILE.replace("gripper.", "grippre."))) == 2
        assert "bad.yaml:2: correction: no driver publishes the channel grippre.force" in capsys.readouterr().err
        arguments = ["same", "--channel", "gripper.force", "--reference", "gripper.force", "--seconds", "0.5"]
        assert calibrate("fit", robot, *arguments) == 0
        assert calibrate("fit", robot, "x", "--channel", "nothing", "--reference", "speed", "--seconds", "0.3") == 1
        assert "no numbers came of channel nothing within 0.3 s" in capsys.readouterr().err
    finally:
        running.stop()
    listed = _listed(robot, capsys)
    assert listed.startswith("applied when the robot runs: ")
    assert "force    1        -       linear of gripper.force" in listed


def _door(robot: Path) -> Path:
    return robot.parent / "state" / "r1.outbox.db.local.sock"


def _listed(robot: Path, capsys: pytest.CaptureFixture[str]) -> str:
    calibrate("list", robot)
    return capsys.readouterr().out
