// SPDX-License-Identifier: Apache-2.0
// The command lines of overview_commands.h and watch.h.
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/overview_commands.h"
#include "cli/watch.h"

namespace remora::cli {

namespace {

void add_conditions(CLI::App& root, Action& action) {
    auto* command = add_command(
        root, "conditions", "Whether resources do what they are there for, and since when",
        "conditions\nconditions --trouble\nconditions --prefix nvmeRemoteControllers/");
    const auto flags = std::make_shared<ConditionsFlags>();
    command->add_option("--prefix", flags->prefix, "Only of resources whose names begin so")
        ->option_text("NAME");
    command->add_flag("--trouble", flags->trouble, "Only what is not as it should be");
    command->callback([&action, flags] {
        action = [flags](const Session& session) { conditions(session, *flags); };
    });
}

void add_watch(CLI::App& root, Action& action) {
    auto* command = add_command(
        root, "watch", "Show what there is, and each change as it comes, until Ctrl-C",
        "watch\nwatch virtio-blk attachment --changes-only\n-o json watch remote-controller");
    const auto flags = std::make_shared<WatchFlags>();
    command->add_option("KIND", flags->kinds, "Only of these kinds (default: of all)")
        ->option_text("...");
    command->add_flag("--changes-only", flags->changes_only, "Leave out what there is already");
    command->callback(
        [&action, flags] { action = [flags](const Session& session) { watch(session, *flags); }; });
}

void add_capabilities(CLI::App& root, Action& action) {
    auto* command =
        add_command(root, "capabilities", "What this daemon can do on its platform, call by call",
                    "capabilities --missing");
    const auto flags = std::make_shared<CapabilitiesFlags>();
    command->add_flag("--missing", flags->missing, "Only what it cannot do, and why");
    command->callback([&action, flags] {
        action = [flags](const Session& session) { capabilities(session, *flags); };
    });
}

void add_reset(CLI::App& root, Action& action) {
    auto* command = add_command(root, "reset", "Make all paths of a remote controller connect anew",
                                "reset array");
    const auto typed = std::make_shared<std::string>();
    command->add_option("REMOTE", *typed, "The remote controller")
        ->option_text("(required)")
        ->required();
    command->callback(
        [&action, typed] { action = [typed](const Session& session) { reset(session, *typed); }; });
}

}  // namespace

void add_overview_commands(CLI::App& root, Action& action) {
    add_command(root, "volumes", "Each volume, what it stands on and what uses it", "volumes")
        ->callback([&action] { action = [](const Session& session) { volumes(session); }; });
    add_conditions(root, action);
    add_watch(root, action);
    add_capabilities(root, action);
    add_command(root, "inventory", "What the daemon's machine is made of", "inventory")
        ->callback([&action] { action = [](const Session& session) { inventory(session); }; });
    add_reset(root, action);
}

}  // namespace remora::cli
