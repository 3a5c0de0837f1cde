// SPDX-License-Identifier: Apache-2.0
// Seeds of nvme_host_stream and nvme_host_pages.
#include "tests/fuzz/support/seed_writer.h"

namespace remora::fuzz {

void write_host_seeds(SeedWriter& writer) {
    // A start takes some fifteen PDUs of the host's; zeros behave.
    constexpr unsigned kStart = 24;
    for (unsigned settings = 0; settings < 4; ++settings) {
        Bytes sound;
        sound.u8(settings | (settings << 5U)).u8(30);
        for (unsigned i = 0; i < 160; ++i) {
            sound.u8(i % 6 + (i % 3 == 0 ? 0 : i % 40));
        }
        writer.write("nvme_host_stream", "sound-" + std::to_string(settings), sound);
        for (unsigned lie = 0; lie < 16; ++lie) {
            Bytes late;
            late.u8(settings);
            for (unsigned i = 0; i < kStart + lie; ++i) {
                late.u8(0);
            }
            late.u8(128 + lie).u8(9).u8(1).u16(512).u8(12).u8(128 + lie).u16(lie).u16(4).u8(3);
            for (unsigned i = 0; i < 40; ++i) {
                late.u8(i % 5).u8(i);
            }
            writer.write("nvme_host_stream",
                         "lie-" + std::to_string(settings) + "-" + std::to_string(lie), late);
        }
    }
    for (unsigned which = 0; which < 2; ++which) {
        for (unsigned at = 0; at < 8; ++at) {
            Bytes pages;
            pages.u8(which);
            for (unsigned i = 0; i < at; ++i) {
                pages.u8(0);
            }
            pages.u8(2).u16(at * 97).u8(4).text("1234").u16(at * 8).u8(2).u16(at);
            pages.u8(0).u8(255).text("abcdefgh");
            writer.write("nvme_host_pages",
                         "page-" + std::to_string(which) + "-" + std::to_string(at), pages);
        }
    }
}

}  // namespace remora::fuzz
