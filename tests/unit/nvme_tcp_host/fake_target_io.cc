// SPDX-License-Identifier: Apache-2.0
// FakeConnection, the I/O queue's half: reads, writes with R2T, and the rest as a good target does.
#include <algorithm>
#include <cstring>
#include <utility>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "core/crc32c.h"
#include "nvme/tcp/digest.h"
#include "tests/unit/nvme_tcp_host/fake_target.h"

namespace remora::test {

using nvme::spec::Command;
using nvme::tcp::CommonHeader;

/// The data of a PDU, its alignment and digest checked.
std::span<const std::byte> FakeConnection::data_of(std::span<const std::byte> pdu) const {
    const auto header = load<CommonHeader>(pdu);
    if (header.pdo == 0) {
        return {};
    }
    EXPECT_EQ(header.pdo % ((target_.cpda + 1) * 4), 0);
    auto data = pdu.subspan(header.pdo);
    if ((digests_ & nvme::tcp::kDgstData) != 0) {
        EXPECT_NE(header.flags & nvme::tcp::kDataDigest, 0);
        const auto digest = data.last(nvme::tcp::kDigestBytes);
        data = data.first(data.size() - nvme::tcp::kDigestBytes);
        EXPECT_EQ(nvme::tcp::load_digest(digest), core::crc32c(data));
    }
    return data;
}

void FakeConnection::serve_io(const Command& command, std::span<const std::byte> data) {
    using nvme::spec::IoOpcode;
    const auto found = target_.namespaces.find(command.nsid);
    if (found == target_.namespaces.end()) {
        respond(command.cid,
                nvme::spec::status_field(nvme::spec::StatusCode::InvalidNamespace, true));
        return;
    }
    FakeNamespace& space = found->second;
    const auto opcode = static_cast<IoOpcode>(command.opcode);
    if (opcode == IoOpcode::Read) {
        serve_read(command);
    } else if (opcode == IoOpcode::Write && command.sgl.identifier == nvme::spec::kSglTransport) {
        Writing& writing = writing_[command.cid];
        writing = {command, std::vector<std::byte>(command.sgl.length), 0, 0};
        ask(command.cid);
    } else if (opcode == IoOpcode::DatasetManagement) {
        const auto range = load<nvme::spec::DsmRange>(data);
        std::memset(space.data.data() + (range.lba.get() << space.block_shift), 0,
                    std::size_t{range.block_count} << space.block_shift);
        respond(command.cid, 0);
    } else if (opcode == IoOpcode::WriteZeroes) {
        std::memset(space.data.data() + (nvme::spec::starting_lba(command) << space.block_shift), 0,
                    std::size_t{nvme::spec::block_count(command)} << space.block_shift);
        respond(command.cid, 0);
    } else if (opcode == IoOpcode::Write) {
        write_done(command, data);
    } else {
        respond(command.cid, 0);
    }
}

void FakeConnection::respond_and_break(std::uint16_t cid) {
    nvme::tcp::CapsuleResp response;
    response.header.type = static_cast<std::uint8_t>(nvme::tcp::PduType::CapsuleResp);
    response.header.hlen = sizeof(response);
    response.header.plen = std::uint32_t{sizeof(response)};
    response.completion.cid = cid;
    const auto good = core::as_bytes_of(response);
    std::vector<std::byte> both(good.begin(), good.end());
    both.insert(both.end(), 64, std::byte{0xaa});  // no PDU
    send(both);
}

void FakeConnection::serve_read(const Command& command) {
    FakeNamespace& space = target_.namespaces.at(command.nsid);
    const std::size_t offset = nvme::spec::starting_lba(command) << space.block_shift;
    const std::size_t bytes = std::size_t{nvme::spec::block_count(command)} << space.block_shift;
    ASSERT_LE(offset + bytes, space.data.size());
    answer_data(command, std::span<const std::byte>(space.data).subspan(offset, bytes));
}

void FakeConnection::write_done(const Command& command, std::span<const std::byte> data) {
    FakeNamespace& space = target_.namespaces.at(command.nsid);
    const std::size_t offset = nvme::spec::starting_lba(command) << space.block_shift;
    EXPECT_EQ(data.size(), std::size_t{nvme::spec::block_count(command)} << space.block_shift);
    ASSERT_LE(offset + data.size(), space.data.size());
    std::memcpy(space.data.data() + offset, data.data(), data.size());
    respond(command.cid, 0);
}

void FakeConnection::ask(std::uint16_t cid) {
    Writing& writing = writing_[cid];
    const auto left = static_cast<std::uint32_t>(writing.data.size()) - writing.asked;
    const std::uint32_t bytes = std::min(left, target_.r2t_bytes);
    const std::uint32_t from = writing.asked;
    writing.asked += bytes;
    send_r2t(cid, static_cast<std::uint16_t>(cid ^ 0x5555U), from, bytes);
}

void FakeConnection::on_h2c_data(std::span<const std::byte> pdu) {
    const auto header = load<nvme::tcp::DataPdu>(pdu);
    const auto data = data_of(pdu);
    ASSERT_TRUE(writing_.contains(header.cccid));
    Writing& writing = writing_[header.cccid];
    EXPECT_EQ(header.ttag, header.cccid ^ 0x5555);
    EXPECT_LE(header.datal, target_.maxh2cdata);
    EXPECT_EQ(header.datal, data.size());
    ASSERT_EQ(header.datao, writing.have);
    ASSERT_LE(writing.have + data.size(), writing.asked);
    std::memcpy(writing.data.data() + writing.have, data.data(), data.size());
    writing.have += static_cast<std::uint32_t>(data.size());
    EXPECT_EQ((header.header.flags & nvme::tcp::kLastPdu) != 0, writing.have == writing.asked);
    if (writing.have == writing.data.size()) {
        const Writing whole = std::move(writing);
        writing_.erase(header.cccid);
        write_done(whole.command, whole.data);
    } else if (writing.have == writing.asked) {
        ask(header.cccid);
    }
}

}  // namespace remora::test
