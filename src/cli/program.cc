// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

#include <algorithm>
#include <vector>

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.h"
#include "core/grpc_code_name.h"

namespace remora::cli {

namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  remora attach --discovery 127.0.0.1:4420 --volume 11111111-2222-4333-8444-555555555555"
    " --function 0\n"
    "  remora status\n"
    "  remora create malloc disk0 --size 64M\n"
    "  remora -o json list attachment\n"
    "  remora apply -f site.yaml\n"
    "  remora --server 192.0.2.7:50051 --timeout 5 detach --function 0";

void add_globals(CLI::App& root, Session& session) {
    root.add_option("--server", session.server, "Where the daemon's gRPC is")
        ->option_text(std::string("ADDRESS:PORT (env REMORA_SERVER, default ") + kDefaultServer +
                      ")")
        ->envname("REMORA_SERVER");
    const auto known = [](const std::string& text) {
        return text == "table" || text == "json"
                   ? std::string()
                   : "'" + text + "' is no output format; use table or json";
    };
    root.add_option("-o,--output", session.output, "For people, or for programs (default: table)")
        ->option_text("table|json")
        ->check(CLI::Validator(known, ""));
    root.add_option("--timeout", session.timeout_seconds, "How long to wait (default: 30)")
        ->option_text("SECONDS");
    root.set_version_flag("--version", "remora " REMORA_VERSION, "Print the version");
}

void add_completion(CLI::App& root, Action& action) {
    auto* completion = add_command(root, "completion", "Completion of commands for a shell",
                                   "completion bash > ~/.local/share/bash-completion/completions/"
                                   "remora");
    completion->require_subcommand(1);
    add_command(*completion, "bash", "Print a script for bash to source",
                "completion bash > /etc/bash_completion.d/remora")
        ->callback([&action, &root] {
            action = [&root](const Session& session) { session.out << bash_completion(root); };
        });
}

/// The command that was being read when an error came.
const CLI::App* deepest(const CLI::App* command) {
    for (auto parsed = command->get_subcommands(); !parsed.empty();
         parsed = command->get_subcommands()) {
        command = parsed.front();
    }
    return command;
}

std::string path_of(const CLI::App* command) {
    std::string path = command->get_name();
    while ((command = command->get_parent()) != nullptr) {
        path.insert(0, command->get_name() + " ");
    }
    return path;
}

std::string choices_of(const CLI::App* command) {
    std::string text;
    for (const CLI::App* choice : command->get_subcommands(nullptr)) {
        text += (text.empty() ? "" : ", ") + choice->get_name();
    }
    return text;
}

/// What was wrong with the line, and what would be right.
std::string usage_sentence(const CLI::App& root, const CLI::ParseError& error) {
    const CLI::App* command = deepest(&root);
    const auto choices = choices_of(command);
    if (!choices.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
        const auto left = root.remaining(true);
        const auto word =
            std::ranges::find_if(left, [](const auto& text) { return !text.starts_with('-'); });
        if (word != left.end()) {
            return "there is no `" + path_of(command) + " " + *word + "`; after `" +
                   path_of(command) + "` comes one of: " + choices;
        }
        return "`" + path_of(command) + "` is not complete; next comes one of: " + choices;
    }
    std::string text = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
        text = "nothing known or wanted:";
        for (const std::string& word : root.remaining(true)) {
            text += " " + word;
        }
    }
    std::erase(text, '\n');
    return text + "; see `" + path_of(command) + " --help`";
}

std::string example_of(const CLI::App* command) {
    const std::string footer = command->get_footer();
    return footer.empty() ? "" : footer + "\n";
}

}  // namespace

std::unique_ptr<CLI::App> make_commands(Session& session, Action& action) {
    auto root = std::make_unique<CLI::App>("Remora: remote volumes as local disks", "remora");
    root->get_formatter()->column_width(34);
    root->fallthrough();
    root->require_subcommand(1);
    add_globals(*root, session);
    add_resource_commands(*root, action);
    add_daemon_commands(*root, action);
    add_layer_commands(*root, action);
    add_overview_commands(*root, action);
    add_site_commands(*root, action);
    add_completion(*root, action);
    root->footer(kExamples);
    return root;
}

int run(std::span<const std::string> arguments, std::ostream& out, std::ostream& err) {
    Session session{out};
    Action action;
    const auto root = make_commands(session, action);
    try {
        root->parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
        if (action) {
            action(session);
        }
        out.flush();
        return kDone;
    } catch (const CLI::CallForVersion& version) {
        out << version.what() << '\n';
        return kDone;
    } catch (const CLI::CallForHelp&) {
        out << root->help();
        return kDone;
    } catch (const CLI::ParseError& error) {
        err << "remora: " << usage_sentence(*root, error) << '\n'
            << example_of(deepest(root.get()));
        return kUsage;
    } catch (const Refused& refused) {
        err << "remora: " << refused.what() << " (" << core::grpc_code_name(refused.code())
            << ")\n";
        return refused.exit_code();
    } catch (const EndWith& end) {
        out.flush();
        return end.exit_code;
    }
}

}  // namespace remora::cli
