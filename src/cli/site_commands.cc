// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>

#include "cli/apply.h"
#include "cli/commands.h"

namespace remora::cli {

namespace {

std::shared_ptr<ApplyFlags> add_flags(CLI::App& command) {
    auto flags = std::make_shared<ApplyFlags>();
    command.add_option("-f,--file", flags->file, "The site's file; - is the standard input")
        ->option_text("FILE (required)")
        ->required();
    auto* prune = command.add_flag("--prune", flags->plan.prune,
                                   "Also delete what the file does not have, of the kinds it has");
    command.add_option("--scope", flags->plan.scope, "Prune only names that begin so")
        ->option_text("PREFIX")
        ->needs(prune);
    command.add_flag("--replace", flags->plan.replace,
                     "Delete and make anew what cannot be changed, and what uses it; its data is "
                     "lost");
    return flags;
}

}  // namespace

void add_site_commands(CLI::App& root, Action& action) {
    auto* apply_command = add_command(
        root, "apply", "Make the daemon hold what a file declares; shows the plan first",
        "apply -f site.yaml\napply -f site.yaml --dry-run\n"
        "apply -f site.yaml --prune --scope lab-\nexport | remora --server 192.0.2.7:50051 apply "
        "-f -");
    const auto apply_flags = add_flags(*apply_command);
    apply_command->add_flag("--dry-run", apply_flags->dry_run, "Only show the plan, as diff does");
    apply_command->callback([&action, apply_flags] {
        action = [apply_flags](const Session& session) { apply(session, *apply_flags); };
    });
    auto* diff_command = add_command(
        root, "diff", "Show what apply would do; ends with 1 when that is anything, 2 on errors",
        "diff -f site.yaml\n-o json diff -f site.yaml --prune");
    const auto diff_flags = add_flags(*diff_command);
    diff_command->callback([&action, diff_flags] {
        action = [diff_flags](const Session& session) { diff(session, *diff_flags); };
    });
    add_command(root, "export", "Write what the daemon holds as a file for apply",
                "export > site.yaml")
        ->callback([&action] { action = [](const Session& session) { export_site(session); }; });
}

}  // namespace remora::cli
