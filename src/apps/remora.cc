// SPDX-License-Identifier: Apache-2.0
// The command line of a daemon: everything is in cli/, which speaks only gRPC.
#include <iostream>
#include <string>
#include <vector>

#include "cli/program.h"

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return remora::cli::run(arguments, std::cout, std::cerr);
}
