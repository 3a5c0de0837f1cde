# SPDX-License-Identifier: Apache-2.0
"""The command line of remora-sim: what is wrong is named, and a seed repeats."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.environ["REMORA_SIM"]
REFUSED = 2
UNKNOWN_OPTION = 109  # CLI11's ExtrasError


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)


class Refusals(unittest.TestCase):
    def assert_refused(self, why: str, *arguments: str, status: int = REFUSED) -> None:
        ended = run(*arguments)
        self.assertEqual(ended.returncode, status, ended)
        self.assertRegex(ended.stderr, why)
        self.assertEqual(ended.stdout, "", "nothing ran")

    def assert_line_refused(self, line: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seeds.txt"
            path.write_text(f"# a comment, and a good line\n17\n{line}\n", encoding="utf-8")
            self.assert_refused(
                rf"seeds\.txt:3: a line is a seed and, .* a scenario; this is not: {line}",
                "--regressions", str(path))

    def test_unknown_scenario_is_named_with_those_there_are(self) -> None:
        self.assert_refused("there is no scenario 'nonsense'; there are mixed, network,",
                            "--seed", "7", "--scenario", "nonsense")

    def test_unknown_fault_is_named_with_those_there_are(self) -> None:
        self.assert_refused("there is no fault 'nonsense'; there are delay, split,",
                            "--seed", "7", "--without", "reset", "--without", "nonsense")

    def test_no_seeds_says_how_to_give_them(self) -> None:
        self.assert_refused("say which seeds: --seed N, --count N, --seconds N or --regressions")

    def test_missing_seed_file_is_named(self) -> None:
        self.assert_refused("cannot read the seed file '/no/such/file'",
                            "--regressions", "/no/such/file")

    def test_seed_that_is_no_number_is_named_with_its_line(self) -> None:
        self.assert_line_refused("12x")

    def test_negative_seed_is_named_with_its_line(self) -> None:
        self.assert_line_refused("-3")

    def test_seed_beyond_64_bits_is_named_with_its_line(self) -> None:
        self.assert_line_refused("99999999999999999999")

    def test_unknown_scenario_of_a_line_is_named_with_its_line(self) -> None:
        self.assert_line_refused("5 nonsense")

    def test_third_word_of_a_line_is_named_with_its_line(self) -> None:
        self.assert_line_refused("5 mixed more")

    def test_unknown_option_is_named(self) -> None:
        self.assert_refused("not expected: --seeed", "--seed", "7", "--seeed",
                            status=UNKNOWN_OPTION)


class Runs(unittest.TestCase):
    def test_one_seed_twice_traces_the_same(self) -> None:
        # Whether it ends well is not the question here.
        first, second = run("--seed", "7"), run("--seed", "7")
        self.assertRegex(first.stdout, r"^seed 7 \(\w+\): .* trace [0-9a-f]{16}\n$", first)
        self.assertEqual(first.stdout, second.stdout)
        self.assertEqual(first.returncode, second.returncode)

    def test_a_few_seeds_twice_do_not_differ(self) -> None:
        ended = run("--from", "1", "--count", "5", "--twice")
        self.assertEqual(ended.returncode, 0, ended)
        self.assertRegex(ended.stdout, r"(?m)^seeds from 1$")
        self.assertRegex(ended.stdout, r"(?m)^5 seeds in .*, each run twice; 0 failed$")

    def test_good_seed_file_is_run(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seeds.txt"
            path.write_text("# why it is here\n\n3 network  # and so\n", encoding="utf-8")
            ended = run("--regressions", str(path))
        self.assertEqual(ended.returncode, 0, ended)
        self.assertRegex(ended.stdout, r"(?m)^1 seeds in .*; 0 failed$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
