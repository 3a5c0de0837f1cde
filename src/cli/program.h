// SPDX-License-Identifier: Apache-2.0
// The program `remora`: its tree of commands, made from the tables of kinds, and one run of it.
//
// Reading the command line only chooses an action; the action runs afterwards, so a usage error
// never leaves half a command done. Exit codes: 0 done, 1 refused (by the daemon, or a value that
// cannot work), 2 not a command line. Only `diff` differs: 1 is a difference, 2 an error.
#pragma once

#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>

#include <CLI/App.hpp>

#include "cli/client.h"

namespace remora::cli {

/// What the command line asked for; takes the session once all flags are read.
using Action = std::function<void(const Session&)>;

/// The commands. Reading a line with them fills `session` and `action`, which must outlive the
/// tree.
std::unique_ptr<CLI::App> make_commands(Session& session, Action& action);

/// One run: `arguments` without the program's name.
int run(std::span<const std::string> arguments, std::ostream& out, std::ostream& err);

/// A completion script for bash, from the tree of commands. Pure.
std::string bash_completion(const CLI::App& commands);

}  // namespace remora::cli
