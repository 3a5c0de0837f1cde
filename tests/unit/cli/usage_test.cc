// SPDX-License-Identifier: Apache-2.0
// The command line itself: help, usage errors, completion, and the program as it is installed.
#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/kinds.h"
#include "tests/unit/cli/fake_daemon.h"

namespace remora::cli {

namespace {

using testing::HasSubstr;

/// A shell command's output, standard error included, and its exit code.
Ran shell(const std::string& command) {
    FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) {
        return {-1, "", "no shell"};
    }
    Ran ran;
    std::array<char, 4096> part{};
    for (std::size_t got = 0; (got = std::fread(part.data(), 1, part.size(), pipe)) > 0;) {
        ran.out.append(part.data(), got);
    }
    const int status = ::pclose(pipe);
    ran.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return ran;
}

void check_help(const CLI::App& command, std::vector<std::string> line) {
    const Ran ran = [&] {
        auto with_help = line;
        with_help.emplace_back("--help");
        return run_line(std::move(with_help));
    }();
    EXPECT_EQ(ran.code, 0);
    EXPECT_THAT(ran.out, HasSubstr("Example")) << testing::PrintToString(line);
    EXPECT_THAT(ran.out, HasSubstr("  remora ")) << testing::PrintToString(line);
    for (const CLI::App* next : command.get_subcommands(nullptr)) {
        auto deeper = line;
        deeper.push_back(next->get_name());
        check_help(*next, deeper);
    }
}

/// What bash offers for the words, of which the last is being typed.
std::string offered(const std::string& script, const std::string& words, int index) {
    return shell("bash -c 'source " + script + "; COMP_WORDS=(" + words +
                 "); COMP_CWORD=" + std::to_string(index) + "; _remora; echo \"${COMPREPLY[@]}\"'")
        .out;
}

}  // namespace

TEST(Help, Every_command_shows_an_example) {
    std::ostringstream out;
    Session session{out};
    Action action;
    const auto commands = make_commands(session, action);

    check_help(*commands, {});
}

TEST(Help, Every_kind_can_be_got_and_listed) {
    FakeDaemon daemon;
    for (const Kind& kind : kinds()) {
        const std::string example(kind.example);
        const std::string parent = example.substr(0, example.find('/'));

        const Ran got = run_at(daemon, {"get", std::string(kind.name), example});
        const Ran listed = kind.parent.empty()
                               ? run_at(daemon, {"list", std::string(kind.plural)})
                               : run_at(daemon, {"list", std::string(kind.plural), parent});

        EXPECT_EQ(got.code, 0) << got.err;
        EXPECT_EQ(listed.code, 0) << listed.err;
    }
}

TEST(Help, Every_kind_that_can_be_deleted_or_counted_is) {
    FakeDaemon daemon;
    for (const Kind& kind : kinds()) {
        const std::string name(kind.name);
        const Ran deleted = run_at(daemon, {"delete", name, std::string(kind.example)});
        const Ran counted = run_at(daemon, {"stats", name, std::string(kind.example)});

        EXPECT_EQ(deleted.code, kind.can_delete ? 0 : 2) << deleted.err;
        EXPECT_EQ(counted.code, kind.counters == Counters::None ? 2 : 0) << counted.err;
    }
}

TEST(Usage, Version_is_printed) {
    const Ran ran = run_line({"--version"});

    EXPECT_EQ(ran.code, 0);
    EXPECT_TRUE(ran.out.starts_with("remora ")) << ran.out;
}

TEST(Usage, Errors_end_with_2_and_say_what_would_be_right) {
    const struct {
        std::vector<std::string> line;
        const char* part;
    } cases[] = {
        {{}, "`remora` is not complete; next comes one of: create, "},
        {{"lst"}, "there is no `remora lst`"},
        {{"list", "foo"}, "after `remora list` comes one of: malloc, "},
        {{"create", "malloc"}, "ID is required"},
        {{"create", "malloc", "a"}, "--size is required"},
        {{"create", "malloc", "a", "--size", "1M", "--bogus"},
         "--bogus; see `remora create malloc"},
        {{"create", "remote-controller", "a", "--multipath", "x"}, "use disable, failover or "},
        {{"detach"}, "--function PF[.VF] or --volume UUID"},
        {{"detach", "--function", "1", "--volume", "u"}, "excludes"},
        {{"detach", "--function", "one"}, "'one' is no function of a host"},
        {{"detach", "--function", "3.0"}, "write 3, or 3.2 for a virtual one"},
        {{"-o", "yaml", "status"}, "use table or json"},
    };
    for (const auto& one : cases) {
        const Ran ran = run_line(one.line);

        EXPECT_EQ(ran.code, 2) << ran.err;
        EXPECT_TRUE(ran.err.starts_with("remora: ")) << ran.err;
        EXPECT_THAT(ran.err, HasSubstr(one.part));
        EXPECT_THAT(ran.err, HasSubstr("Example"));
    }
}

TEST(Usage, Things_may_be_called_like_commands) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"delete", "malloc", "null", "-o", "json"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out, "{}\n");
}

TEST(Completion, Script_is_bash_and_completes) {
    const std::string script =
        testing::TempDir() + "remora-completion-" + std::to_string(::getpid()) + ".bash";
    std::ofstream(script) << run_line({"completion", "bash"}).out;

    const Ran parsed = shell("bash -n " + script);

    EXPECT_EQ(parsed.code, 0) << parsed.out;
    EXPECT_EQ(offered(script, "remora att", 1), "attach\n");
    EXPECT_EQ(offered(script, "remora -o json create mal", 4), "malloc\n");
    EXPECT_EQ(offered(script, "remora create malloc disk0 --si", 4), "--size\n");
    EXPECT_EQ(offered(script, "remora list mallocs --serv", 3), "--server\n");
    EXPECT_EQ(offered(script, "remora create aio f --file att", 5), "\n");
    std::remove(script.c_str());
}

TEST(Program, Takes_the_server_from_the_environment) {
    FakeDaemon daemon;

    const Ran ran = shell("REMORA_SERVER=" + daemon.address() + " " REMORA_PROGRAM " status");

    EXPECT_EQ(ran.code, 0) << ran.out;
    EXPECT_EQ(daemon.methods().size(), 1U);
}

TEST(Program, Ends_with_the_codes_of_its_outcome) {
    EXPECT_EQ(shell(REMORA_PROGRAM " --help").code, 0);
    EXPECT_EQ(shell(REMORA_PROGRAM " create malloc a --size 1").code, 1);
    EXPECT_EQ(shell(REMORA_PROGRAM " nothing").code, 2);
}

}  // namespace remora::cli
