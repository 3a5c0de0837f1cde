// SPDX-License-Identifier: Apache-2.0
// Seeds of virtqueue, packed_virtqueue and vhost_user.
#include "tests/fuzz/support/seed_writer.h"

namespace remora::fuzz {

namespace {

/// A descriptor as the target `virtqueue` reads it: in region 0 at `offset`.
void descriptor(
    Bytes& to, unsigned index, unsigned offset, unsigned length, unsigned flags, unsigned next) {
    to.u8(0).u8(index).u8(0).u16(offset).u8(flags).u8(length).u8(next);
}

Bytes virtqueue_start(unsigned options) {
    Bytes out;
    out.u8(options).u8(1).u8(0).u16(4095).u8(0).u16(2000);  // two regions without a gap
    out.u8(0).u8(16);
    return out;
}

/// One as the target `packed_virtqueue` reads it: the ring's next.
void packed(Bytes& to, unsigned offset, unsigned length, unsigned flags, unsigned id) {
    to.u8(0).u8(flags).u16(offset).u8(length).u8(id);
}

void write_packed_seeds(SeedWriter& writer) {
    for (unsigned options = 0; options < 4; ++options) {
        for (const unsigned type : {0U, 1U, 4U, 13U}) {
            Bytes out;
            out.u8(options).u8(6).u8(20);  // seven descriptors
            for (unsigned lap = 0; lap < 4; ++lap) {
                out.u8(3).u16(1024).u8(16).add(std::uint32_t{type}).add(std::uint32_t{0});
                out.add(std::uint64_t{8});
                packed(out, 1024, 16, 1, 0);
                packed(out, type == 0 ? 4090 : 1040, type == 13 ? 16 : 64, type == 0 ? 3 : 1, 0);
                packed(out, 2048, 1, 2, lap);
                out.u8(5).u8(8).u8(lap % 2).u8(0).u8(1);
                out.u8(7).u8(lap);
            }
            out.u8(5).u8(8).u8(7).u8(3).u8(1).u8(0).u8(0).u8(1).u8(9).u8(8).u8(0);
            writer.write("packed_virtqueue", std::to_string(type) + "-" + std::to_string(options),
                         out);
        }
    }
    Bytes table;
    table.u8(2).u8(6).u8(20);
    for (unsigned i = 0; i < 3; ++i) {
        table.u8(4)
            .u8(i == 2 ? 2 : 0)
            .u16(512 + 64 * i)
            .u8(i == 2 ? 1 : 16)
            .u8(9)
            .u16(1536 + 16 * i);
    }
    packed(table, 1536, 48, 4, 3);
    table.u8(5).u8(0).u8(0).u8(7).u8(1).u8(5).u8(0).u8(1).u8(0).u8(1);
    writer.write("packed_virtqueue", "indirect", table);
}

}  // namespace

void write_virtio_seeds(SeedWriter& writer) {
    write_packed_seeds(writer);
    for (const unsigned type : {0U, 1U, 4U, 8U, 11U, 13U}) {
        for (unsigned options = 0; options < 8; options += 3) {
            Bytes out = virtqueue_start(options | (3U << 3U));
            const unsigned at = 1024;
            const unsigned body = type == 11 || type == 13 ? 16 : 64;
            out.u8(4).u8(0).u16(at).u8(16).add(std::uint32_t{type}).add(std::uint32_t{0});
            out.add(std::uint64_t{8});
            descriptor(out, 0, at, 16, 1, 1);
            descriptor(out, 1, type == 0 ? 4080 : at + 32, body, type == 0 || type == 8 ? 3 : 1, 2);
            descriptor(out, 2, at + 128, 1, 2, 0);
            out.u8(2).u8(0).u8(6).u8(0).u8(9).u8(1);
            writer.write("virtqueue", std::to_string(type) + "-" + std::to_string(options), out);
        }
    }
    Bytes table = virtqueue_start(2U | (3U << 3U));
    descriptor(table, 3, 2048, 48, 4, 0);
    for (unsigned i = 0; i < 3; ++i) {
        table.u8(5).u8(0).u16(2048 + 16 * i);
        table.u8(0).u16(512 + 64 * i).u8(i == 2 ? 2 : 1).u8(i == 2 ? 1 : 16).u8(i + 1);
    }
    table.u8(2).u8(3).u8(6).u8(3).u8(9).u8(0).u8(9).u8(1).u8(11).u8(0).u16(4000).u16(900);
    writer.write("virtqueue", "indirect", table);
    for (unsigned how = 0; how < 4; ++how) {
        Bytes sound;
        sound.u8(how).u8(0x80).u8(how);
        for (unsigned i = 0; i < 8; ++i) {
            sound.u8(0x81).u8(i | (how << 3U)).u8(i * 5);
        }
        sound.u8(9).u8(0x40).u8(0x81).u8(1).u8(3).u8(0x81).u8(0).u8(4).u8(0x8b).u8(5 + 0x70);
        sound.u8(9).u8(0).u8(0x8d).u8(77);
        writer.write("vhost_user", "sound-" + std::to_string(how), sound);
    }
    for (unsigned type = 0; type < 20; ++type) {
        Bytes single;
        single.u8(1).u8(0x80).u8(2).u8(0x84).u8(type).u8(0x81).u16(16).u16(1024).u16(2048).u16(1);
        single.u8(0x81).u8(0).u8(1).u8(0x86).u8(type).u8(8).u16(8).u8(1).u8(0).text("12345678");
        single.u8(5);
        writer.write("vhost_user", "message-" + std::to_string(type), single);
    }
}

}  // namespace remora::fuzz
