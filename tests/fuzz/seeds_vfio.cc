// SPDX-License-Identifier: Apache-2.0
// Seeds of vfio_user and nvme_data_pointer.
#include "nvme/spec/command.h"
#include "tests/fuzz/support/seed_writer.h"
#include "tests/fuzz/support/vfio_world.h"

namespace remora::fuzz {

namespace {

void write_vfio_user_seeds(SeedWriter& writer) {
    for (unsigned how = 0; how < 4; ++how) {
        Bytes sound;
        sound.u8(how & 1U).u8(0x80).u8(how >> 1U);
        for (unsigned i = 0; i < 16; ++i) {
            sound.u8(0x81).u8(i).u8(i * 3).u8(i % 5).u8(0x8f);
        }
        // Held by the volume, then let go; failed.
        sound.u8(9).u8(0x40).u8(0x81).u8(5).u8(0).u8(1).u8(0x89).u8(0).u8(0x8f);
        sound.u8(9).u8(1).u8(0x82).u8(4).u8(7).u8(0).u8(0x8f);
        writer.write("vfio_user", "sound-" + std::to_string(how), sound);
    }
    for (unsigned type = 0; type < 8; ++type) {
        Bytes single;
        single.u8(1)
            .u8(0x80)
            .u8(0)
            .u8(0x84)
            .u8(4 + 8 + 0x40)
            .u8(type)
            .u8(0x24)
            .u8(1)
            .u16(64)
            .u16(7);
        single.u8(0x85).u8(1).u8(type).u8(0x21).u8(0).u16(9).u8(0x81).u8(2).u8(1).u8(1).u8(0x8f);
        writer.write("vfio_user", "message-" + std::to_string(type), single);
    }
    for (unsigned how = 0; how < 4; ++how) {
        Bytes life;  // a request is held while everything else changes
        life.u8(1).u8(0x80).u8(how & 1U).u8(9).u8(0x40).u8(0x81).u8(4).u8(0).u8(0);
        life.u8(0x8c).u8(3).u16(0).u8(how).u8(0x84).u8(how).u8(how == 1 ? 5 : 1);
        life.u8(0x8b).u8(how + 0x10).u8(0x8d).u8(how).u8(0x89).u8(0).u8(0x8f).u8(0x8d).u8(4);
        life.u8(0x8e).u8(how).u8(0x81).u8(4).u8(0).u8(0);
        writer.write("vfio_user", "life-" + std::to_string(how), life);
    }
    for (unsigned opcode :
         {0x00U, 0x01U, 0x02U, 0x04U, 0x05U, 0x06U, 0x08U, 0x09U, 0x0aU, 0x0cU, 0x7cU}) {
        nvme::spec::Command command{};
        command.opcode = static_cast<std::uint8_t>(opcode);
        command.sgl.address = std::uint64_t{VfioWorld::kData};
        command.cdw10 = 1U;
        Bytes admin;
        admin.u8(1).u8(0x80).u8(0).u8(0x83).u8(0).add(command).u8(3).u8(0x8f);
        admin.u8(0x83).u8(1).add(command).u8(3).u8(0x8f);
        writer.write("vfio_user", "opcode-" + std::to_string(opcode), admin);
    }
}

Bytes pointer_start(unsigned flags, std::uint64_t address, std::uint64_t second) {
    Bytes out;
    out.u16(0x3fff).u16(0x3fff).u8(0).u8(flags);
    return out.add(address).add(second);
}

void write_data_pointer_seeds(SeedWriter& writer) {
    constexpr std::uint64_t kBase = 0x10000;
    constexpr std::uint64_t kList = kBase + 0x3000;
    for (const std::uint32_t bytes : {512U, 4096U, 8192U, 0x10000U, 0x40000U}) {
        Bytes prps = pointer_start(0, kBase + 0x200, bytes > 8192 ? kList : kBase + 0x1000);
        prps.add(bytes);
        for (unsigned i = 0; i < 64; ++i) {
            prps.u8(0).u16(0x3000 + 8 * i).u8(8).add(kBase + std::uint64_t{i % 3} * 0x1000);
        }
        writer.write("nvme_data_pointer", "prp-" + std::to_string(bytes), prps);
    }
    const auto kind = [](std::uint32_t length, std::uint64_t type) {
        return std::uint64_t{length} | (type << 56U);
    };
    Bytes block = pointer_start(0x40, kBase + 3, kind(1000, 0x00));
    writer.write("nvme_data_pointer", "sgl-block", block.add(std::uint32_t{1000}));
    Bytes chain = pointer_start(0x40, kList, kind(32, 0x20));
    chain.add(std::uint32_t{1536});
    chain.u8(0).u16(0x3000).u8(32).add(kBase + 5).add(kind(512, 0x00));
    chain.add(kList + 0x100).add(kind(32, 0x30));
    chain.u8(0).u16(0x3100).u8(32).add(kBase + 0x1000).add(kind(512, 0x00));
    chain.add(kBase + 0x3fff).add(kind(512, 0x00));
    writer.write("nvme_data_pointer", "sgl-chain", chain);
}

}  // namespace

void write_vfio_seeds(SeedWriter& writer) {
    write_vfio_user_seeds(writer);
    write_data_pointer_seeds(writer);
}

}  // namespace remora::fuzz
