// SPDX-License-Identifier: Apache-2.0
// Linked into tests that kill simulated processes: what those leave behind is no leak.

// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer calls it so
extern "C" const char* __lsan_default_suppressions();
// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer calls it so
extern "C" const char* __lsan_default_suppressions() {
    return "leak:remora::sim::Process::die\n";
}
