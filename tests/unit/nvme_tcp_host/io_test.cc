// SPDX-License-Identifier: Apache-2.0
// I/O of the host against a target that behaves: sizes, splits, depths, digests, opcodes.
#include <gtest/gtest.h>

#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

struct Wire {
    const char* name;
    std::uint8_t digests;
    std::uint8_t cpda;
    bool flow_control_off;
    std::uint32_t in_capsule;
    std::uint32_t maxh2cdata;
    std::uint32_t r2t_bytes;
    std::uint32_t c2h_bytes;
};

class HostIoTest : public HostFixture, public testing::WithParamInterface<Wire> {
  public:
    ControllerOptions prepare() {
        const Wire& wire = GetParam();
        target.digests = wire.digests;
        target.cpda = wire.cpda;
        target.flow_control_off = wire.flow_control_off;
        target.in_capsule = wire.in_capsule;
        target.maxh2cdata = wire.maxh2cdata;
        target.r2t_bytes = wire.r2t_bytes;
        target.c2h_bytes = wire.c2h_bytes;
        ControllerOptions with = options();
        with.header_digest = true;
        with.data_digest = true;
        return with;
    }
};

TEST_P(HostIoTest, RoundTrip_anySizeAndOffset_keepsTheBytes) {
    with_volume(prepare(), [](BlockClient& client) -> Task<> {
        const std::uint32_t sizes[] = {1,  2,   7,   8,   31,  32,  33,  64,
                                       65, 128, 255, 511, 512, 513, 2100};
        std::uint64_t lba = 0;
        for (const std::uint32_t blocks : sizes) {
            co_await expect_round_trip(client, lba, blocks, blocks);
            lba += 13;
        }
    });
}

TEST_P(HostIoTest, Reads_manyAtOnce_eachGetsItsOwn) {
    with_volume(prepare(), [this](BlockClient& client) -> Task<> {
        target.namespaces[1].data = pattern(target.namespaces[1].data.size(), 77);
        for (const std::size_t depth : {1U, 2U, 17U, 64U, 127U, 128U, 300U}) {
            std::vector<std::unique_ptr<OwnedRequest>> requests;
            for (std::size_t i = 0; i < depth; ++i) {
                requests.push_back(std::make_unique<OwnedRequest>(Opcode::Read, i * 8, 8,
                                                                  std::vector<std::byte>(4096)));
                client.start(requests.back()->request);
            }
            for (std::size_t i = 0; i < depth; ++i) {
                const Status status = co_await BlockClient::finish(requests[i]->request);
                EXPECT_EQ(status, Status::Ok);
                EXPECT_EQ(std::memcmp(requests[i]->data.data(),
                                      target.namespaces[1].data.data() + i * 4096, 4096),
                          0);
            }
        }
    });
}

INSTANTIATE_TEST_SUITE_P(
    Wires,
    HostIoTest,
    testing::Values(Wire{"Plain", 0, 0, true, 16384, 65536, 65536, 100000},
                    Wire{"FlowControl", 0, 0, false, 16384, 65536, 262144, 262144},
                    Wire{"Digests", 3, 0, true, 16384, 65536, 65536, 5000},
                    Wire{"HeaderDigest", 1, 0, true, 8192, 8192, 30000, 262144},
                    Wire{"DataDigest", 2, 0, false, 0, 4096, 262144, 100000},
                    Wire{"PaddedDigests", 3, 31, true, 16384, 4096, 12288, 70000},
                    Wire{"NoInCapsule", 0, 15, true, 0, 262144, 4096, 262144}),
    [](const auto& info) { return info.param.name; });

constexpr std::uint16_t kMedia =
    nvme::spec::status_field(nvme::spec::StatusCode::UnrecoveredReadError);

class HostCommandsTest : public HostFixture {};

TEST_F(HostCommandsTest, Transfer_largerThanMdts_isSplitAtIt) {
    target.mdts = 5;  // 128 KiB
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        co_await expect_round_trip(client, 3, 700, 1);
        std::size_t most = 0;
        for (const auto& command : target.io_log) {
            most = std::max<std::size_t>(most, command.sgl.length);
        }
        EXPECT_EQ(most, 128U * 1024);
        EXPECT_EQ(target.io_log.size(), 6U);
    });
}

TEST_F(HostCommandsTest, Transfer_withoutMdts_isSplitAtOneMebibyte) {
    target.mdts = 0;
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        co_await expect_round_trip(client, 1, 4097, 1);
        EXPECT_EQ(target.io_log.size(), 6U);
        EXPECT_EQ(target.io_log[0].sgl.length, 1U << 20U);
        EXPECT_EQ(target.io_log[2].sgl.length, 512U);
    });
}

/// Namespaces 1 and 2 have blocks of 512 and of 4096 bytes.
class HostZeroesTest : public HostFixture {
  public:
    HostZeroesTest() { target.add_namespace(2, 1000, 12); }

    /// Blocks of each command that zeroes `blocks` of the namespace.
    Task<std::vector<std::uint32_t>> commands_of(std::uint32_t nsid, std::uint32_t blocks) {
        target.io_log.clear();
        auto channel = controller->device(nsid)->open_channel();
        BlockClient client(**channel);
        const Status status = co_await client.perform(Opcode::WriteZeroes, 8, blocks);
        EXPECT_EQ(status, Status::Ok);
        std::vector<std::uint32_t> out;
        for (const auto& command : target.io_log) {
            out.push_back(nvme::spec::block_count(command));
        }
        co_return out;
    }
};

TEST_F(HostZeroesTest, LimitOfTransfers_isKeptInBytesForEachBlockSize) {
    target.mdts = 1;  // 8 KiB
    with_volume(options(), [this](BlockClient&) -> Task<> {
        const auto small = co_await commands_of(1, 40);
        EXPECT_EQ(small, (std::vector{16U, 16U, 8U}));
        const auto large = co_await commands_of(2, 5);
        EXPECT_EQ(large, (std::vector{2U, 2U, 1U}));
    });
}

TEST_F(HostZeroesTest, LimitOfTheirOwn_isKeptInBytesForEachBlockSize) {
    target.mdts = 1;
    target.on_pdu = [](FakeConnection& connection, const nvme::tcp::CommonHeader& header,
                       std::span<const std::byte> pdu) {
        if (header.type != static_cast<std::uint8_t>(nvme::tcp::PduType::CapsuleCmd)) {
            return false;
        }
        const auto command = load<nvme::tcp::CapsuleCmd>(pdu).command;
        const auto property = std::bit_cast<nvme::spec::PropertyCommand>(command);
        if (command.opcode == nvme::spec::kFabricsOpcode &&
            nvme::spec::fabrics_type(command) ==
                static_cast<std::uint8_t>(nvme::spec::FabricsType::PropertyGet) &&
            property.offset == nvme::spec::kPropertyVs) {
            connection.respond(command.cid, 0, 0x00020000);
            return true;
        }
        constexpr std::uint32_t kCommandSetController = 6;
        if (connection.queue_id() == 0 && command.opcode == 0x06 &&
            command.cdw10 == kCommandSetController) {
            std::vector<std::byte> limits(nvme::spec::kIdentifyBytes);
            limits[1] = std::byte{2};  // WZSL: 16 KiB
            connection.send_data(command.cid, 0, limits, nvme::tcp::kLastPdu | nvme::tcp::kSuccess);
            return true;
        }
        return false;
    };
    with_volume(options(), [this](BlockClient&) -> Task<> {
        const auto small = co_await commands_of(1, 40);
        EXPECT_EQ(small, (std::vector{32U, 8U}));
        const auto large = co_await commands_of(2, 5);
        EXPECT_EQ(large, (std::vector{4U, 1U}));
    });
}

TEST_F(HostCommandsTest, OtherOpcodes_goOutAsTheSpecificationSays) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        co_await expect_round_trip(client, 0, 64, 4);
        target.io_log.clear();
        Status status = co_await client.perform(Opcode::Flush, 0, 0);
        EXPECT_EQ(status, Status::Ok);
        status = co_await client.perform(Opcode::WriteZeroes, 8, 4);
        EXPECT_EQ(status, Status::Ok);
        status = co_await client.perform(Opcode::Discard, 16, 5);
        EXPECT_EQ(status, Status::Ok);
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        status = co_await client.perform(Opcode::Write, 9, 1, std::span(&one, 1), true);
        EXPECT_EQ(status, Status::Ok);
        const auto& log = target.io_log;
        EXPECT_EQ(log.size(), 4U);
        EXPECT_EQ(log[0].opcode, 0x00);
        EXPECT_EQ(log[1].opcode, 0x08);
        EXPECT_EQ(nvme::spec::block_count(log[1]), 4U);
        EXPECT_EQ(log[2].opcode, 0x09);
        EXPECT_EQ(log[2].cdw11, nvme::spec::kDsmDeallocate);
        EXPECT_EQ(log[3].cdw12 & nvme::spec::kCdw12ForceUnitAccess,
                  nvme::spec::kCdw12ForceUnitAccess);
        std::vector<std::byte> zeros(5 * 512);
        EXPECT_EQ(std::memcmp(target.namespaces[1].data.data() + 16 * 512, zeros.data(), 5 * 512),
                  0);
    });
}

TEST_F(HostCommandsTest, Discard_deallocatedReadsAnything_zeroesInstead) {
    target.namespaces[1].dlfeat = 0x08;  // no promise; deallocate bit of Write Zeroes taken
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        const Status status = co_await client.perform(Opcode::Discard, 16, 5);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(target.io_log.back().opcode, 0x08);
        EXPECT_NE(target.io_log.back().cdw12 & nvme::spec::kCdw12Deallocate, 0U);
    });
}

TEST_F(HostCommandsTest, BadRequests_areRefusedHere) {
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        std::vector<std::byte> data(512);
        const Segment one = segment_of(data);
        Status status = co_await client.perform(Opcode::Read, 8192, 1, std::span(&one, 1));
        EXPECT_EQ(status, Status::OutOfRange);
        status = co_await client.perform(Opcode::Read, 0, 2, std::span(&one, 1));
        EXPECT_EQ(status, Status::InvalidRequest);
        EXPECT_TRUE(target.io_log.empty());
    });
}

// Also of blocks that a host has marked (Write Uncorrectable), which say Do Not Retry.
TEST_F(HostCommandsTest, Status_ofTheTarget_comesThroughAtOnce) {
    std::uint16_t said = kMedia;
    int asked = 0;
    target.on_io = [&](FakeConnection& connection, const nvme::spec::Command& command,
                       std::span<const std::byte>) {
        ++asked;
        connection.respond(command.cid, said);
        return true;
    };
    with_volume(options(), [&](BlockClient& client) -> Task<> {
        for (const std::uint16_t flag : {std::uint16_t{0}, nvme::spec::kDoNotRetry}) {
            said = kMedia | flag;
            asked = 0;
            OwnedRequest read(Opcode::Read, 0, 1, std::vector<std::byte>(512));
            client.start(read.request);
            const Status status = co_await BlockClient::finish(read.request);
            EXPECT_EQ(status, Status::IoError);
            EXPECT_EQ(read.request.nvme_status, said);
            EXPECT_EQ(asked, 1);
        }
    });
}

TEST_F(HostCommandsTest, Status_thatAsksForRetry_isTriedAgain) {
    int refusals = 3;
    target.on_io = [&refusals](FakeConnection& connection, const nvme::spec::Command& command,
                               std::span<const std::byte>) {
        if (refusals-- <= 0) {
            return false;
        }
        connection.respond(command.cid,
                           nvme::spec::status_field(nvme::spec::StatusCode::NamespaceNotReady));
        return true;
    };
    with_volume(options(),
                [](BlockClient& client) -> Task<> { co_await expect_round_trip(client, 5, 3, 6); });
    EXPECT_LT(refusals, 0);
}

TEST_F(HostCommandsTest, Write_failedWhileItsDataIsAskedFor_failsOnceAndGoesOn) {
    target.in_capsule = 0;
    target.maxh2cdata = 4096;
    bool once = true;
    target.on_io = [&once](FakeConnection& connection, const nvme::spec::Command& command,
                           std::span<const std::byte>) {
        if (!std::exchange(once, false)) {
            return false;
        }
        connection.send_r2t(command.cid, 1, 0, 65536);
        connection.respond(command.cid,
                           nvme::spec::status_field(nvme::spec::StatusCode::WriteFault));
        return true;
    };
    // The fake does not expect the data of a command it has answered.
    target.on_pdu = [](FakeConnection&, const nvme::tcp::CommonHeader& header,
                       std::span<const std::byte> pdu) {
        if (header.type != static_cast<std::uint8_t>(nvme::tcp::PduType::H2cData)) {
            return false;
        }
        nvme::tcp::DataPdu data;
        std::memcpy(&data, pdu.data(), sizeof(data));
        return data.ttag == 1;
    };
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        OwnedRequest write(Opcode::Write, 0, 128, pattern(65536, 1));
        client.start(write.request);
        const Status status = co_await BlockClient::finish(write.request);
        EXPECT_EQ(status, Status::IoError);
        co_await expect_round_trip(client, 0, 64, 2);
        EXPECT_EQ(target.connects, 1);
    });
}

}  // namespace
}  // namespace remora::test
