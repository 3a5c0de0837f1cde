// SPDX-License-Identifier: Apache-2.0
// Seeds of nvme_target_stream and nvme_target_commands.
#include "tests/fuzz/support/seed_writer.h"
#include "tests/fuzz/support/target_world.h"

namespace remora::fuzz {

namespace {

using nvme::spec::Command;

Command command_of(std::uint8_t opcode, std::uint32_t nsid, std::uint32_t bytes, std::uint8_t sgl) {
    Command command{};
    command.opcode = opcode;
    command.flags = nvme::spec::kFlagsSgl;
    command.cid = std::uint16_t{9};
    command.nsid = nsid;
    command.sgl.length = bytes;
    command.sgl.identifier = sgl;
    return command;
}

/// Capsules of one connection with the digests it negotiated.
class Conversation {
  public:
    Conversation(unsigned options, unsigned cut, std::uint8_t dgst, std::uint8_t hpda)
        : dgst_(dgst) {
        bytes.u8(options).u8(cut).add(make_ic_req(dgst, hpda));
    }
    template <typename T>
    Conversation& say(const T& command, std::span<const std::byte> data = {}) {
        nvme::tcp::CapsuleCmd capsule;
        capsule.header.type = static_cast<std::uint8_t>(nvme::tcp::PduType::CapsuleCmd);
        std::memcpy(&capsule.command, &command, sizeof(command));
        bytes.run(make_pdu(core::as_bytes_of(capsule), data, (dgst_ & 1U) != 0, (dgst_ & 2U) != 0));
        return *this;
    }
    Conversation& data(std::uint16_t cid, std::uint16_t tag, std::span<const std::byte> data) {
        nvme::tcp::DataPdu pdu;
        pdu.header.type = static_cast<std::uint8_t>(nvme::tcp::PduType::H2cData);
        pdu.header.flags = nvme::tcp::kLastPdu;
        pdu.cccid = cid;
        pdu.ttag = tag;
        pdu.datal = static_cast<std::uint32_t>(data.size());
        bytes.run(make_pdu(core::as_bytes_of(pdu), data, (dgst_ & 1U) != 0, (dgst_ & 2U) != 0));
        return *this;
    }
    Conversation& connect(std::uint16_t qid, std::uint16_t cntlid) {
        return say(make_connect(qid, 15, 0), core::as_bytes_of(make_connect_data(cntlid, 1)));
    }
    Bytes bytes;

  private:
    std::uint8_t dgst_;
};

void write_streams(SeedWriter& writer) {
    const std::string target = "nvme_target_stream";
    for (std::uint8_t dgst = 0; dgst < 4; ++dgst) {
        Conversation admin(2, dgst * 40U, dgst, dgst);
        admin.connect(0, nvme::spec::kDynamicController)
            .say(make_property_set(nvme::spec::kPropertyCc, kEnabledCc));
        Command identify = command_of(0x06, 0, 4096, nvme::spec::kSglTransport);
        identify.cdw10 = 1U;
        admin.say(identify);
        identify.cdw10 = 2U;
        admin.say(identify);
        writer.write(target, "admin-" + std::to_string(dgst), admin.bytes);

        Conversation io(3, dgst * 25U, dgst, 0);
        io.connect(1, 1);
        const std::vector<std::byte> block(1024, std::byte{7});
        Command write = command_of(0x01, 1, 1024, nvme::spec::kSglInCapsule);
        write.cdw12 = 1U;
        io.say(write, block);
        write.sgl.identifier = nvme::spec::kSglTransport;
        io.say(write).data(9, 0x400, block);
        Command read = command_of(0x02, 1, 1024, nvme::spec::kSglTransport);
        read.cdw12 = 1U;
        io.say(read);
        io.say(command_of(0x00, 1, 0, 0));
        writer.write(target, "io-" + std::to_string(dgst), io.bytes);
    }
    nvme::tcp::TermReq end;
    end.header.type = static_cast<std::uint8_t>(nvme::tcp::PduType::H2cTermReq);
    end.header.hlen = sizeof(end);
    end.header.plen = static_cast<std::uint32_t>(sizeof(end));
    writer.write(target, "term", Bytes().u8(0).u8(3).add(make_ic_req(0, 0)).add(end));
}

/// Blocks 8 to 23 are marked, met by every command, and written again piece by piece: while the
/// volume fails, while it stalls, by the destination of a Copy, and amid the end of the namespace.
void write_marks(SeedWriter& writer, const std::string& target) {
    Bytes marks;
    marks.u8(0).u8(0);
    const auto say = [&marks](unsigned op, unsigned opcode, unsigned lba, unsigned blocks) {
        marks.u8(op).u8(1).u8(opcode).u8(lba).u8(blocks - 1).u8(1).u8(0).u8(0).u8(0);
    };
    constexpr unsigned kWrite = 1, kRead = 2, kZeroes = 3, kCompare = 6, kVerify = 7, kCopy = 8;
    constexpr unsigned kMark = 9, kSettled = 0x81, kAtOnce = 0x01;
    say(kSettled, kMark, 8, 16);
    say(kSettled, kRead, 0, 32);
    say(kSettled, kCompare, 8, 1);
    say(kSettled, kVerify, 0, 64);
    say(kSettled, kWrite, 10, 2);
    say(kSettled, kCopy, 20, 8);
    marks.u8(0x88).u8(1);  // the volume and the store fail
    say(kSettled, kZeroes, 8, 1);
    say(kSettled, kMark, 100, 1);
    marks.u8(0x88).u8(0);
    say(kSettled, kZeroes, 8, 1);
    marks.u8(0x88).u8(0x40);  // the volume stalls
    for (unsigned lba = 14; lba < 20; ++lba) {
        say(kAtOnce, kWrite, lba, 1);
        say(kAtOnce, kMark, lba + 1, 1);
    }
    marks.u8(0x87).u8(1).u8(0x88).u8(0);
    for (unsigned lba = 14; lba < 20; ++lba) {
        say(kAtOnce, kWrite, lba, 1);
        say(kAtOnce, kMark, lba + 1, 1);
    }
    marks.u8(0x8c).u8(1).u8(0x8c).u8(0);
    say(kSettled, kRead, 0, 32);
    writer.write(target, "marks", marks);
}

}  // namespace

void write_target_seeds(SeedWriter& writer) {
    write_streams(writer);
    const std::string target = "nvme_target_commands";
    Bytes all;
    all.u8(3).u8(2);
    for (unsigned opcode = 0; opcode < 10; ++opcode) {
        // Queue 1, opcode, address, blocks, in capsule or not; no patch, no lie, no data given.
        all.u8(0x81).u8(1).u8(opcode).u8(opcode).u8(opcode * 9).u8(opcode & 1U);
        all.u8(0).u8(0).u8(0);
        all.u8(0x85).u8(1).u8(opcode);
    }
    writer.write(target, "io", all);
    Bytes admin;
    admin.u8(0).u8(0);
    for (unsigned opcode = 0; opcode < 8; ++opcode) {
        admin.u8(0x83).u8(0).u8(opcode).u8(opcode).u16(255).u16(opcode).u8(0).u8(0).u8(0);
    }
    for (unsigned offset = 0; offset < 6; ++offset) {
        admin.u8(0x84).u8(0).u8(offset % 2 * 4).u8(0).u8(offset).add(std::uint32_t{0x460001});
        admin.u8(0).u8(0).u8(0);
    }
    writer.write(target, "admin", admin);
    Bytes life;
    life.u8(1).u8(31);
    life.u8(0x89).u8(6).u8(2).u8(12);  // another I/O queue, flow control off
    life.u8(0x89).u8(9).u8(0).u8(12);  // discovery, with keep alive
    life.u8(0x83).u8(3).u8(0).u8(0x70).u16(255).u16(0).u8(0).u8(0).u8(0);
    life.u8(0x88).u8(0x40);  // the volume stalls
    life.u8(0x81).u8(2).u8(2).u8(0).u8(20).u8(0).u8(0).u8(0).u8(0);
    life.u8(0x87).u8(4).u8(0x8c).u8(1).u8(0x8c).u8(0).u8(0x8c).u8(2);
    life.u8(0x8b).u8(1).u8(1).u8(0x87).u8(200);
    writer.write(target, "life", life);
    // Two hosts (queues 1 and 3) register, acquire each type, preempt, look and clear; writes of
    // both in between; then a write stays in the volume while it is preempted and the host goes.
    Bytes reservations;
    reservations.u8(0).u8(0);
    reservations.u8(0x8e).u8(0x80).u8(1).u8(0xc4).u8(0);  // register with key 1, PTPL
    reservations.u8(0x8e).u8(0).u8(3).u8(8).u8(0);        // the other one with key 2
    for (unsigned type = 1; type < 7; ++type) {
        reservations.u8(0x8e).u8(1).u8(1).u8(1).u8(type);
        reservations.u8(0x81).u8(3).u8(1).u8(0).u8(0).u8(1).u8(0).u8(0).u8(0);
        reservations.u8(0x8e).u8(3).u8(3).u8(63);
        reservations.u8(0x8e).u8(2).u8(1).u8(1).u8(type);
    }
    reservations.u8(0x8e).u8(1).u8(1).u8(1).u8(1);
    reservations.u8(0x88).u8(0x40);
    reservations.u8(0x81).u8(1).u8(1).u8(0).u8(0).u8(1).u8(0).u8(0).u8(0);
    reservations.u8(0x0e).u8(1 | (2 << 2)).u8(3).u8(2 | (1 << 2)).u8(2);  // preempt and abort
    reservations.u8(0x83).u8(0).u8(0).u8(0x80).u16(15).u16(0).u8(0).u8(0).u8(0);
    reservations.u8(0x87).u8(1).u8(0x8b).u8(3).u8(1).u8(0x88).u8(0).u8(0x8c).u8(1);
    writer.write(target, "reservations", reservations);
    write_marks(writer, target);
}

}  // namespace remora::fuzz
