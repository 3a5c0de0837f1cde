// SPDX-License-Identifier: Apache-2.0
// The command lines of layer_commands.h.
#include <memory>
#include <string>

#include "cli/commands.h"
#include "cli/layer_commands.h"

namespace remora::cli {

namespace {

void add_scrub(CLI::App& root, Action& action) {
    auto* command = add_command(root, "scrub",
                                "Read everything in the background, compare it, and mend what can "
                                "be mended",
                                "scrub raid array0 --wait\nscrub integrity checked0\n"
                                "scrub raid array0 --cancel");
    command->require_subcommand(1);
    for (const char* kind : {"raid", "integrity"}) {
        auto* one = add_command(*command, kind, std::string("Scrub a volume of the kind ") + kind,
                                std::string("scrub ") + kind + " array0 --wait");
        const auto flags = std::make_shared<ScrubFlags>();
        flags->kind = kind;
        one->add_option("NAME", flags->name, "The volume")->option_text("(required)")->required();
        one->add_flag("--cancel", flags->cancel, "End the one that is under way");
        one->add_flag("--wait", flags->wait, "Until it has ended, with its progress");
        one->callback([&action, flags] {
            action = [flags](const Session& session) { scrub(session, *flags); };
        });
    }
}

void add_replace_member(CLI::App& root, Action& action) {
    auto* command = add_command(root, "replace-member",
                                "Rebuild a member of an array on another volume, or anew",
                                "replace-member array0 --member disk1 --with disk4 --wait\n"
                                "replace-member array0 --member disk1");
    const auto flags = std::make_shared<ReplaceFlags>();
    command->add_option("ARRAY", flags->array, "The array")->option_text("(required)")->required();
    command->add_option("--member", flags->member, "Whose place it is")
        ->option_text("REF (required)")
        ->required();
    command->add_option("--with", flags->with, "What takes it (default: the member, rebuilt)")
        ->option_text("REF");
    command->add_flag("--wait", flags->wait, "Until it is rebuilt, with its progress");
    command->callback([&action, flags] {
        action = [flags](const Session& session) { replace_member(session, *flags); };
    });
}

void add_rekey(CLI::App& root, Action& action) {
    auto* command = add_command(root, "rekey",
                                "Give an encrypted volume another key while it is in use, or say "
                                "how far that is",
                                "rekey secret0 --key-file /etc/remora/secret0-new.key --wait\n"
                                "rekey secret0");
    const auto flags = std::make_shared<RekeyFlags>();
    command->add_option("NAME", flags->name, "The encrypted volume")
        ->option_text("(required)")
        ->required();
    command
        ->add_option("--key-file", flags->key_file,
                     "The new key as raw bytes, as long as the old; -: the standard input")
        ->option_text("FILE");
    command
        ->add_option("--background-mbs", flags->background_mbs,
                     "At most so many MiB a second; 0: the default, 200")
        ->option_text("MIB");
    command->add_flag("--wait", flags->wait, "Until it is done, with its progress");
    command->callback(
        [&action, flags] { action = [flags](const Session& session) { rekey(session, *flags); }; });
}

void add_remove_member(CLI::App& root, Action& action) {
    auto* command = add_command(root, "remove-member", "Do without a member of an array",
                                "remove-member array0 --member disk1");
    const auto array = std::make_shared<std::string>();
    const auto member = std::make_shared<std::string>();
    command->add_option("ARRAY", *array, "The array")->option_text("(required)")->required();
    command->add_option("--member", *member, "The member, or a spare")
        ->option_text("REF (required)")
        ->required();
    command->callback([&action, array, member] {
        action = [array, member](const Session& session) {
            remove_member(session, *array, *member);
        };
    });
}

}  // namespace

void add_layer_commands(CLI::App& root, Action& action) {
    add_scrub(root, action);
    add_replace_member(root, action);
    add_remove_member(root, action);
    add_rekey(root, action);
}

}  // namespace remora::cli
