# SPDX-License-Identifier: Apache-2.0
"""The lab's own language: what is wrong in a scenario is said before anything starts."""

import sys
import tempfile
import unittest
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "lab"))

import fio  # noqa: E402
import scenario  # noqa: E402
from paths import LabError  # noqa: E402
from target import Volume  # noqa: E402


def parse(text: str) -> scenario.Scenario:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given.scn"
        path.write_text(text, encoding="utf-8")
        return scenario.read(path)


class Language(unittest.TestCase):
    def test_every_scenario_of_the_lab_parses_and_has_a_title(self) -> None:
        paths = sorted(scenario.FOLDER.glob("*.scn"))
        self.assertGreaterEqual(len(paths), 8)
        for path in paths:
            self.assertTrue(scenario.read(path).title, path)

    def test_unknown_word_is_named_with_its_line(self) -> None:
        with self.assertRaisesRegex(LabError, r"given\.scn:3: there is no word `strat`"):
            parse("# title\n\nstrat target\n")

    def test_repeat_without_end_is_refused(self) -> None:
        with self.assertRaisesRegex(LabError, "a `repeat` has no `end`"):
            parse("repeat i 0 3\nattach a{i} {i}\n")

    def test_end_without_repeat_is_refused(self) -> None:
        with self.assertRaisesRegex(LabError, "given.scn:1: `end` without a `repeat`"):
            parse("end\n")

    def test_repeat_holds_its_body(self) -> None:
        steps = parse("repeat i 0 3\n  attach a{i} {i}\nend\nexpect disks 4\n").steps
        self.assertEqual([step.word for step in steps], ["repeat", "expect"])
        self.assertEqual([step.word for step in steps[0].body], ["attach"])


class Fio(unittest.TestCase):
    def test_options_of_the_line_win_over_the_defaults(self) -> None:
        line = fio.command(["vda", "vdb"], {"size": "4M"})
        self.assertIn("--size=4M", line)
        self.assertIn("--verify=crc32c", line)
        self.assertTrue(line.endswith("--name=vda --filename=/dev/vda --name=vdb --filename=/dev/vdb"))

    def test_figures_are_found_after_a_warning(self) -> None:
        report = ('fio: a warning\n{"jobs": [{"read": {"total_ios": 0}, "write": {"total_ios": 8, '
                  '"iops": 4, "clat_ns": {"mean": 2000, "percentile": {"99.000000": 9000}}}}]}\nend')
        self.assertEqual(fio.figures(report), {"write": fio.Figures(8, 4, 2.0, 9.0)})

    def test_output_without_report_is_an_error(self) -> None:
        with self.assertRaisesRegex(LabError, "no report"):
            fio.figures("fio: out of memory")


class VolumeSerial(unittest.TestCase):
    def test_is_the_first_twenty_hex_digits(self) -> None:
        volume = Volume("a", "malloc", "1M", "01234567-89ab-cdef-0123-456789abcdef")
        self.assertEqual(volume.serial, "0123456789abcdef0123")


if __name__ == "__main__":
    unittest.main(verbosity=2)
