// SPDX-License-Identifier: Apache-2.0
// Runs so many I/Os of our host on our target, for a tool that counts the program's instructions
// (tests/cost/instructions.py):
//
//   nvme_tcp_loop read|write DEPTH OPERATIONS
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tests/support/tcp_loop.h"

int main(int argc, char** argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: nvme_tcp_loop read|write DEPTH OPERATIONS\n");
        return 2;
    }
    const auto opcode = std::string_view(argv[1]) == "read" ? remora::block::Opcode::Read
                                                            : remora::block::Opcode::Write;
    remora::test::OneReactor reactor;
    remora::test::TcpLoop loop(reactor);
    return loop.load(opcode, std::strtoul(argv[2], nullptr, 10),
                     std::strtoul(argv[3], nullptr, 10)) == 0
               ? 0
               : 1;
}
