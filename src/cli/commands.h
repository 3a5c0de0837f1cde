// SPDX-License-Identifier: Apache-2.0
// Pieces the tree of commands is built from. Used by program.cc only.
#pragma once

#include <string>
#include <string_view>

#include "cli/program.h"

namespace remora::cli {

/// A subcommand with an "Example" in its help: each line of `examples` follows "remora ".
CLI::App* add_command(CLI::App& parent,
                      std::string_view name,
                      std::string_view help,
                      std::string_view examples);

/// An option for a whole number, checked while the line is read and kept as its digits.
CLI::Option* add_number(CLI::App& command,
                        std::string_view name,
                        std::string& digits,
                        std::string_view help);

/// An option for a function of the host, checked likewise and kept as it was written.
CLI::Option* add_function(CLI::App& command,
                          std::string_view name,
                          std::string& text,
                          std::string_view help);

/// create, get, list, delete, stats, with a subcommand for each kind.
void add_resource_commands(CLI::App& root, Action& action);

/// attach, detach, status, bench.
void add_daemon_commands(CLI::App& root, Action& action);

/// scrub, replace-member, remove-member.
void add_layer_commands(CLI::App& root, Action& action);

/// inventory, volumes, conditions, watch, capabilities, reset.
void add_overview_commands(CLI::App& root, Action& action);

/// apply, diff, export.
void add_site_commands(CLI::App& root, Action& action);

}  // namespace remora::cli
