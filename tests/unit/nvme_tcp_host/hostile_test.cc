// SPDX-License-Identifier: Apache-2.0
// A controller that breaks the protocol: the connection ends with the right Fatal Error Status
// (NVMe/TCP Transport 1.0 §3.6.2.4), nothing is completed wrongly, and the I/O is done on the next
// connection.
#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "tests/unit/nvme_tcp_host/host_fixture.h"

namespace remora::test {
namespace {

using nvme::spec::Command;
using nvme::tcp::CommonHeader;
using nvme::tcp::FatalError;
using nvme::tcp::PduType;
using std::chrono::milliseconds;
using std::chrono::seconds;

using Crime = void (*)(FakeConnection& connection, const Command& command);

struct Case {
    const char* name;
    FatalError status;
    bool write;  ///< The command that provokes it: a 64 KiB write, or a 64 KiB read.
    Crime crime;
};

std::vector<std::byte> some(std::size_t bytes) {
    return std::vector<std::byte>(bytes, std::byte{0xaa});
}

/// A PDU with nothing right but its length.
void send_raw(FakeConnection& connection,
              PduType type,
              std::uint8_t hlen,
              std::uint32_t plen,
              std::uint8_t pdo = 0,
              std::uint8_t flags = 0) {
    CommonHeader header;
    header.type = static_cast<std::uint8_t>(type);
    header.hlen = hlen;
    header.plen = plen;
    header.pdo = pdo;
    header.flags = flags;
    connection.send(core::as_bytes_of(header));
    connection.send(some(64));
}

std::uint16_t other_generation(std::uint16_t cid) {
    return static_cast<std::uint16_t>(cid ^ 0x8000U);
}

const Case kCases[] = {
    {"AnswerToNoCommand", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command& command) {
         c.respond(static_cast<std::uint16_t>(command.cid + 1), 0);
     }},
    {"AnswerWithOldGeneration", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command& command) {
         c.respond(other_generation(command.cid), 0);
     }},
    {"AnswerTwice", FatalError::InvalidHeaderField, true,
     [](FakeConnection& c, const Command& command) {
         c.respond(command.cid,
                   nvme::spec::status_field(nvme::spec::StatusCode::NamespaceNotReady));
         c.respond(command.cid, 0);
     }},
    {"IdentifierOutsideTheTable", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { c.respond(0xffff, 0); }},
    {"DataForNoCommand", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(other_generation(command.cid), 0, some(512), 0);
     }},
    {"DataForAWrite", FatalError::SequenceError, true,
     [](FakeConnection& c, const Command& command) { c.send_data(command.cid, 0, some(512), 0); }},
    {"DataBeyondTheRequest", FatalError::DataOutOfRange, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(command.cid, 0, some(65536 + 512), nvme::tcp::kLastPdu);
     }},
    {"DataOffsetBeyondTheRequest", FatalError::DataOutOfRange, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(command.cid, 65536, some(512), nvme::tcp::kLastPdu);
     }},
    {"DataOffsetWraps", FatalError::DataOutOfRange, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(command.cid, 0xfffffe00U, some(1024), nvme::tcp::kLastPdu);
     }},
    {"DataTwice", FatalError::DataOutOfRange, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(command.cid, 0, some(512), 0);
         c.send_data(command.cid, 0, some(512), 0);
     }},
    {"DataAfterTheLast", FatalError::SequenceError, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(command.cid, 0, some(512), nvme::tcp::kLastPdu);
         c.send_data(command.cid, 512, some(512), nvme::tcp::kLastPdu);
     }},
    {"SuccessBeforeTheLast", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command& command) {
         c.send_data(command.cid, 0, some(512), nvme::tcp::kSuccess);
     }},
    {"ReadyForARead", FatalError::SequenceError, false,
     [](FakeConnection& c, const Command& command) { c.send_r2t(command.cid, 1, 0, 512); }},
    {"ReadyForNoCommand", FatalError::InvalidHeaderField, true,
     [](FakeConnection& c, const Command& command) {
         c.send_r2t(other_generation(command.cid), 1, 0, 512);
     }},
    {"ReadyBeyondTheRequest", FatalError::DataOutOfRange, true,
     [](FakeConnection& c, const Command& command) { c.send_r2t(command.cid, 1, 0, 65537); }},
    {"ReadyOffsetBeyond", FatalError::DataOutOfRange, true,
     [](FakeConnection& c, const Command& command) { c.send_r2t(command.cid, 1, 65536, 512); }},
    {"ReadyOffsetWraps", FatalError::DataOutOfRange, true,
     [](FakeConnection& c, const Command& command) {
         c.send_r2t(command.cid, 1, 0xffffff00U, 512);
     }},
    {"ReadyForNothing", FatalError::DataOutOfRange, true,
     [](FakeConnection& c, const Command& command) { c.send_r2t(command.cid, 1, 0, 0); }},
    {"ReadyTwiceAtOnce", FatalError::DataLimitExceeded, true,
     [](FakeConnection& c, const Command& command) {
         c.send_r2t(command.cid, 1, 0, 32768);
         c.send_r2t(command.cid, 2, 32768, 32768);
     }},
    {"SuccessBeforeTheDataIsSent", FatalError::SequenceError, true,
     [](FakeConnection& c, const Command& command) {
         c.send_r2t(command.cid, 1, 0, 65536);
         c.respond(command.cid, 0);
     }},
    {"SecondIcResp", FatalError::SequenceError, false,
     [](FakeConnection& c, const Command&) {
         send_raw(c, PduType::IcResp, 128, 128);
         c.send(some(56));
     }},
    {"UnknownType", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, static_cast<PduType>(0x44), 24, 24); }},
    {"TypeOfTheOtherDirection", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, PduType::CapsuleCmd, 72, 72); }},
    {"ShortPdu", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, PduType::CapsuleResp, 24, 20); }},
    {"EmptyPdu", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, PduType::CapsuleResp, 24, 0); }},
    {"WrongHeaderLength", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, PduType::CapsuleResp, 23, 24); }},
    {"HugeAnswer", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, PduType::CapsuleResp, 24, 0xffffffffU); }},
    {"DataOffsetInsideTheHeader", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) { send_raw(c, PduType::C2hData, 24, 536, 8); }},
    {"DigestNobodyAskedFor", FatalError::InvalidHeaderField, false,
     [](FakeConnection& c, const Command&) {
         send_raw(c, PduType::CapsuleResp, 24, 28, 0, nvme::tcp::kHeaderDigest);
     }},
};

class HostileTest : public HostFixture, public testing::WithParamInterface<Case> {};

TEST_P(HostileTest, Crime_endsTheConnectionAndTheIoIsDoneOnTheNext) {
    const Case& one = GetParam();
    target.in_capsule = 0;
    target.maxh2cdata = 1U << 20U;
    bool armed = true;
    target.on_io = [&](FakeConnection& connection, const Command& command,
                       std::span<const std::byte>) {
        if (!std::exchange(armed, false)) {
            return false;
        }
        one.crime(connection, command);
        return true;
    };
    // Data that was asked for as part of the crime is not waited for.
    target.on_pdu = [](FakeConnection&, const CommonHeader& header,
                       std::span<const std::byte> pdu) {
        if (header.type != static_cast<std::uint8_t>(PduType::H2cData)) {
            return false;
        }
        nvme::tcp::DataPdu data;
        std::memcpy(&data, pdu.data(), sizeof(data));
        return data.ttag == 1 || data.ttag == 2;
    };
    with_volume(options(), [&](BlockClient& client) -> Task<> {
        const std::vector<std::byte> wanted = pattern(65536, 5);
        std::memcpy(target.namespaces[1].data.data(), wanted.data(), wanted.size());
        OwnedRequest request(one.write ? Opcode::Write : Opcode::Read, 0, 128,
                             one.write ? wanted : some(65536));
        client.start(request.request);
        const Status status = co_await BlockClient::finish(request.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(request.request.completions, 1);
        EXPECT_TRUE(request.data == wanted);
        EXPECT_EQ(target.connects, 2);
        co_await until([this] { return !target.term_requests.empty(); });
        EXPECT_EQ(target.term_requests.size(), 1U);
        EXPECT_EQ(target.term_requests.at(0).fes, static_cast<std::uint16_t>(one.status));
        co_await expect_round_trip(client, 200, 33, 8);
    });
}

INSTANTIATE_TEST_SUITE_P(Crimes, HostileTest, testing::ValuesIn(kCases), [](const auto& info) {
    return info.param.name;
});

class HostileWireTest : public HostFixture {
  public:
    /// Answers the first ICReq with `response`, the others as it should be.
    void answer_ic_req_with(nvme::tcp::IcResp response) {
        response.header.type = static_cast<std::uint8_t>(PduType::IcResp);
        response.header.hlen = sizeof(response);
        response.header.plen = std::uint32_t{sizeof(response)};
        target.on_pdu = [this, response](FakeConnection& connection, const CommonHeader& header,
                                         std::span<const std::byte>) {
            if (header.type != static_cast<std::uint8_t>(PduType::IcReq) ||
                target.connections_made > 1) {
                return false;
            }
            connection.send(core::as_bytes_of(response));
            return true;
        };
    }
    void expect_recovery_with(FatalError status) {
        with_volume(options(), [&, this](BlockClient& client) -> Task<> {
            EXPECT_EQ(target.term_requests.size(), 1U);
            EXPECT_EQ(target.term_requests.at(0).fes, static_cast<std::uint16_t>(status));
            co_await expect_round_trip(client, 0, 9, 3);
        });
    }
};

TEST_F(HostileWireTest, IcResp_unknownFormatVersion_isRefused) {
    nvme::tcp::IcResp response;
    response.pfv = 1;
    response.maxh2cdata = 65536;
    answer_ic_req_with(response);
    expect_recovery_with(FatalError::UnsupportedParameter);
}

TEST_F(HostileWireTest, IcResp_digestNobodyAskedFor_isRefused) {
    nvme::tcp::IcResp response;
    response.dgst = 3;
    response.maxh2cdata = 65536;
    answer_ic_req_with(response);
    expect_recovery_with(FatalError::InvalidHeaderField);
}

TEST_F(HostileWireTest, IcResp_tinyMaxh2cdata_isRefused) {
    nvme::tcp::IcResp response;
    response.maxh2cdata = 0;
    answer_ic_req_with(response);
    expect_recovery_with(FatalError::InvalidHeaderField);
}

TEST_F(HostileWireTest, AnswerBeforeIcResp_isASequenceError) {
    target.on_pdu = [this](FakeConnection& connection, const CommonHeader& header,
                           std::span<const std::byte>) {
        if (header.type != static_cast<std::uint8_t>(PduType::IcReq) ||
            target.connections_made > 1) {
            return false;
        }
        connection.respond(0, 0);
        return true;
    };
    expect_recovery_with(FatalError::SequenceError);
}

TEST_F(HostileWireTest, Bytes_oneByOne_areUnderstood) {
    target.on_io = [](FakeConnection& connection, const Command& command,
                      std::span<const std::byte> data) {
        connection.dribble = true;
        connection.serve_io(command, data);
        return true;
    };
    target.digests = 3;
    ControllerOptions with = options();
    with.header_digest = true;
    with.data_digest = true;
    with_volume(with, [](BlockClient& client) -> Task<> {
        co_await expect_round_trip(client, 0, 1, 3);
        co_await expect_round_trip(client, 3, 3, 4);
    });
}

TEST_F(HostileWireTest, HeaderDigest_wrong_endsTheConnection) {
    target.digests = 1;
    bool once = true;
    target.on_io = [&once](FakeConnection& connection, const Command&, std::span<const std::byte>) {
        connection.spoil_header_digest = std::exchange(once, false);
        return false;
    };
    ControllerOptions with = options();
    with.header_digest = true;
    with_volume(with, [this](BlockClient& client) -> Task<> {
        co_await expect_round_trip(client, 0, 9, 3);
        EXPECT_EQ(target.connects, 2);
        co_await until([this] { return !target.term_requests.empty(); });
        EXPECT_EQ(target.term_requests.at(0).fes,
                  static_cast<std::uint16_t>(FatalError::HeaderDigestError));
    });
}

TEST_F(HostileWireTest, DataDigest_wrong_readsThatAgain) {
    target.digests = 2;
    bool once = true;
    target.on_io = [&once](FakeConnection& connection, const Command&, std::span<const std::byte>) {
        connection.spoil_data_digest = std::exchange(once, false);
        return false;
    };
    ControllerOptions with = options();
    with.data_digest = true;
    with_volume(with, [this](BlockClient& client) -> Task<> {
        OwnedRequest bad(Opcode::Read, 0, 8, some(4096));
        OwnedRequest good(Opcode::Read, 8, 8, some(4096));
        client.start(bad.request);
        client.start(good.request);
        Status status = co_await BlockClient::finish(bad.request);
        EXPECT_EQ(status, Status::Ok);
        status = co_await BlockClient::finish(good.request);
        EXPECT_EQ(status, Status::Ok);
        EXPECT_EQ(target.connects, 1);
    });
}

TEST_F(HostileWireTest, ShortRead_thatClaimsSuccess_isAnError) {
    target.on_io = [](FakeConnection& connection, const Command& command,
                      std::span<const std::byte>) {
        connection.send_data(command.cid, 0, some(512), nvme::tcp::kLastPdu | nvme::tcp::kSuccess);
        return true;
    };
    with_volume(options(), [](BlockClient& client) -> Task<> {
        OwnedRequest read(Opcode::Read, 0, 8, some(4096));
        client.start(read.request);
        const Status status = co_await BlockClient::finish(read.request);
        EXPECT_EQ(status, Status::IoError);
    });
}

TEST_F(HostileWireTest, Termination_byTheController_isFollowedByAnotherConnection) {
    bool once = true;
    target.on_io = [&once](FakeConnection& connection, const Command&, std::span<const std::byte>) {
        if (!std::exchange(once, false)) {
            return false;
        }
        nvme::tcp::TermReq request;
        request.header.type = static_cast<std::uint8_t>(PduType::C2hTermReq);
        request.header.hlen = sizeof(request);
        request.header.plen = std::uint32_t{sizeof(request)};
        request.fes = std::uint16_t{4};
        connection.send(core::as_bytes_of(request));
        return true;
    };
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        co_await expect_round_trip(client, 0, 9, 3);
        EXPECT_EQ(target.connects, 2);
        EXPECT_TRUE(target.term_requests.empty());
    });
}

TEST_F(HostileWireTest, NamespaceList_outOfOrder_doesNotLoop) {
    target.on_pdu = [this](FakeConnection& connection, const CommonHeader& header,
                           std::span<const std::byte> pdu) {
        if (header.type != static_cast<std::uint8_t>(PduType::CapsuleCmd) || target.connects > 1) {
            return false;
        }
        nvme::tcp::CapsuleCmd capsule;
        std::memcpy(&capsule, pdu.data(), sizeof(capsule));
        if (capsule.command.opcode != 0x06 || (capsule.command.cdw10 & 0xffU) != 2) {
            return false;
        }
        std::vector<std::byte> page(4096, std::byte{1});  // the same number all over
        connection.send_data(capsule.command.cid, 0, page,
                             nvme::tcp::kLastPdu | nvme::tcp::kSuccess);
        return true;
    };
    with_volume(options(), [this](BlockClient& client) -> Task<> {
        EXPECT_EQ(target.connects, 2);
        co_await expect_round_trip(client, 0, 9, 3);
    });
}

}  // namespace
}  // namespace remora::test
