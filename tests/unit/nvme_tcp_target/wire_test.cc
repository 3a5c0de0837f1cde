// SPDX-License-Identifier: Apache-2.0
// Hosts that lie: each gets the right TermReq, or a closed connection, and harms no other.
#include <functional>

#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

constexpr std::uint16_t kInvalidField = 1;
constexpr std::uint16_t kSequence = 2;
constexpr std::uint16_t kHeaderDigestError = 3;
constexpr std::uint16_t kOutOfRange = 4;
constexpr std::uint16_t kLimit = 5;
constexpr std::uint16_t kUnsupported = 6;

tcp::IcReq ic_req() {
    tcp::IcReq request{};
    request.header = {static_cast<std::uint8_t>(tcp::PduType::IcReq), 0, 128, 0, 128U};
    return request;
}

class TargetWire : public TargetFixture {
  public:
    /// Whether the healthy I/O queue still works.
    Task<> expect_alive(RawHost& io) {
        const Outcome read = co_await io.perform(make_rw(IoOpcode::Read, 0, 8));
        EXPECT_EQ(read.status, 0);
    }

    /// A new connection says `bytes` first; EXPECTs the termination.
    Task<> expect_refused(std::vector<std::byte> bytes,
                          std::uint16_t fes,
                          std::uint32_t fei,
                          bool greet) {
        auto host = co_await RawHost::open(endpoint_);
        if (greet) {
            const bool greeted = co_await host->handshake();
            EXPECT_TRUE(greeted);
        }
        host->send(bytes);
        const std::uint16_t got = co_await host->wait_termination();
        EXPECT_EQ(got, fes);
        EXPECT_EQ(host->termination_information, fei);
    }

    static std::vector<std::byte> raw(std::uint8_t type,
                                      std::uint8_t flags,
                                      std::uint8_t hlen,
                                      std::uint8_t pdo,
                                      std::uint32_t plen,
                                      std::size_t bytes) {
        std::vector<std::byte> out(bytes);
        const tcp::CommonHeader header{type, flags, hlen, pdo, plen};
        std::memcpy(out.data(), &header, std::min(bytes, sizeof(header)));
        return out;
    }

    static constexpr std::uint32_t kAsked = 32768;
    using MakePdus = std::function<std::vector<std::byte>(RawHost& io, std::uint16_t tag)>;

    /// A new I/O queue has one write of kAsked bytes, cid 50, whose R2T has come; what `make` says
    /// then EXPECTs the termination.
    Task<> expect_h2c_refused(RawHost& admin, MakePdus make, std::uint16_t fes, std::uint32_t fei) {
        auto io = co_await io_queue(admin.cntlid, next_qid_++);
        spec::Command command = make_rw(IoOpcode::Write, 0, kAsked / 512);
        command.cid = 50;
        io->send(io->capsule(command));
        const auto pdu = co_await io->next();
        CHECK(pdu.has_value() && pdu->type() == tcp::PduType::R2t);
        const auto r2t = pdu->as<tcp::R2t>();
        EXPECT_EQ(r2t.r2tl, kAsked);
        EXPECT_EQ(r2t.r2to, 0U);
        io->send(make(*io, r2t.ttag));
        const std::uint16_t got = co_await io->wait_termination();
        EXPECT_EQ(got, fes);
        EXPECT_EQ(io->termination_information, fei);
    }

    static std::vector<std::byte> joined(std::vector<std::byte> one,
                                         const std::vector<std::byte>& other) {
        one.insert(one.end(), other.begin(), other.end());
        return one;
    }

    std::uint16_t next_qid_ = 2;

    template <typename T>
    static std::vector<std::byte> bytes_of(const T& value) {
        const auto bytes = core::as_bytes_of(value);
        return {bytes.begin(), bytes.end()};
    }
};

TEST_F(TargetWire, Handshake_badRequests_areTerminated) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        tcp::IcReq request = ic_req();
        request.pfv = 1;
        co_await expect_refused(bytes_of(request), kUnsupported, 8, false);
        request = ic_req();
        request.hpda = 32;
        co_await expect_refused(bytes_of(request), kInvalidField, 10, false);
        request = ic_req();
        request.header.hlen = 24;
        co_await expect_refused(bytes_of(request), kInvalidField, 2, false);
        request = ic_req();
        request.header.plen = 4096;
        co_await expect_refused(bytes_of(request), kInvalidField, 4, false);
        // A command before ICReq, a second ICReq, a PDU of the other direction, no such type.
        co_await expect_refused(raw(0x04, 0, 72, 0, 72, 72), kSequence, 0, false);
        co_await expect_refused(bytes_of(ic_req()), kSequence, 0, true);
        co_await expect_refused(raw(0x07, 0, 24, 24, 536, 24), kInvalidField, 0, true);
        co_await expect_refused(raw(0x42, 0, 24, 0, 24, 24), kInvalidField, 0, true);
        co_await expect_alive(*io);
        const TargetStats stats = co_await target_->stats();
        EXPECT_EQ(stats.protocol_errors, 8U);
        co_await stop();
    });
}

TEST_F(TargetWire, Capsule_badLengths_areTerminated) {
    run([&]() -> Task<> {
        co_await start();
        co_await expect_refused(raw(0x04, 0, 72, 0, 0, 72), kInvalidField, 4, true);
        co_await expect_refused(raw(0x04, 0, 72, 0, 71, 72), kInvalidField, 4, true);
        co_await expect_refused(raw(0x04, 0, 64, 0, 64, 72), kInvalidField, 2, true);
        co_await expect_refused(raw(0x04, 0, 72, 70, 172, 72), kInvalidField, 3, true);
        co_await expect_refused(raw(0x04, 1, 72, 0, 76, 76), kInvalidField, 1, true);
        co_await expect_refused(raw(0x04, 0, 72, 72, 0xffffffff, 72), kLimit, 0, true);
        co_await expect_refused(raw(0x04, 0, 72, 72, 72 + 8193, 72), kLimit, 0, true);
        // Data before any queue exists.
        co_await expect_refused(raw(0x06, 4, 24, 24, 536, 24), kSequence, 0, true);
        co_await stop();
    });
}

TEST_F(TargetWire, SilentPeers_areDroppedAtTheDeadline) {
    run([&]() -> Task<> {
        limits_.handshake = std::chrono::seconds(1);
        co_await start();
        auto mute = co_await RawHost::open(endpoint_);
        auto half = co_await RawHost::open(endpoint_);
        const tcp::IcReq request = ic_req();
        half->send(core::as_bytes_of(request).first(60));
        auto greeted = co_await RawHost::open(endpoint_);
        const bool good = co_await greeted->handshake();
        EXPECT_TRUE(good);
        for (RawHost* host : {mute.get(), half.get(), greeted.get()}) {
            const bool ended = co_await host->wait_end();
            EXPECT_TRUE(ended);
        }
        co_await stop();
    });
}

TEST_F(TargetWire, FirstCommandIsNoConnect_isASequenceError) {
    run([&]() -> Task<> {
        co_await start();
        auto host = co_await RawHost::open(endpoint_);
        const bool greeted = co_await host->handshake();
        EXPECT_TRUE(greeted);
        const Outcome read = co_await host->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(read.code(), StatusCode::CommandSequenceError);
        // With in-capsule data of another size than Connect's.
        const auto data = pattern(512, 1);
        ConnectOptions options;
        spec::Command connect = RawHost::connect_command(options);
        connect.sgl.length = 512U;
        const Outcome small = co_await host->perform(connect, data);
        EXPECT_EQ(small.code(), StatusCode::DataSglLengthInvalid);
        const Outcome good = co_await host->connect(options);
        EXPECT_EQ(good.status, 0);
        const Outcome again = co_await host->connect(options);
        EXPECT_EQ(again.code(), StatusCode::InvalidField);  // data nobody asked for
        co_await stop();
    });
}

TEST_F(TargetWire, H2cData_withWrongNames_isTerminated) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto healthy = co_await io_queue(admin->cntlid, 1);
        const auto data = pattern(kAsked, 1);
        const std::span<const std::byte> all = data;
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                return io.h2c_data(50, static_cast<std::uint16_t>(tag + 1), 0, all, true);
            },
            kInvalidField, 10);
        // The tag of an R2T that this command never had.
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                return io.h2c_data(50, static_cast<std::uint16_t>(tag ^ 0x8000U), 0, all, true);
            },
            kInvalidField, 10);
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) { return io.h2c_data(51, tag, 0, all, true); },
            kInvalidField, 8);
        EXPECT_EQ(device_.batches, 0);
        co_await expect_alive(*healthy);
        co_await stop();
    });
}

TEST_F(TargetWire, H2cData_outsideItsR2t_isTerminated) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const auto data = pattern(kAsked, 1);
        const std::span<const std::byte> all = data;
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                return io.h2c_data(50, tag, 512, all.first(512), false);  // a hole
            },
            kOutOfRange, 0);
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                return joined(io.h2c_data(50, tag, 0, all.first(16384), false),
                              io.h2c_data(50, tag, 0, all.first(16384), true));  // again
            },
            kOutOfRange, 0);
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                return joined(io.h2c_data(50, tag, 0, all.first(512), false),
                              io.h2c_data(50, tag, 512, all, true));  // too much
            },
            kOutOfRange, 0);
        EXPECT_EQ(device_.batches, 0);
        co_await stop();
    });
}

TEST_F(TargetWire, H2cData_withWrongEndOrLength_isTerminated) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        const auto data = pattern(kAsked, 1);
        const std::span<const std::byte> all = data;
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                return io.h2c_data(50, tag, 0, all.first(512), true);  // last too early
            },
            kInvalidField, 1);
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) { return io.h2c_data(50, tag, 0, all, false); },
            kInvalidField, 1);
        co_await expect_h2c_refused(
            *admin,
            [&](RawHost& io, std::uint16_t tag) {
                auto out = io.h2c_data(50, tag, 0, all, true);
                out[16] = std::byte{1};  // DATAL is not what PLEN says
                return out;
            },
            kInvalidField, 16);
        EXPECT_EQ(device_.batches, 0);
        co_await stop();
    });
}

TEST_F(TargetWire, MoreCommandsThanTheQueueHas_isTerminated) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 3;
        auto io = co_await io_queue(admin->cntlid, 1, 0, options);
        device_.hold = true;
        for (std::uint16_t i = 0; i < 5; ++i) {
            spec::Command command = make_rw(IoOpcode::Read, 0, 1);
            command.cid = i;
            io->send(io->capsule(command));
        }
        const auto pdu = co_await io->next();
        CHECK(pdu.has_value() && pdu->type() == tcp::PduType::C2hTermReq);
        EXPECT_EQ(pdu->as<tcp::TermReq>().fes, kSequence);
        device_.release();
        co_await stop();
    });
}

TEST_F(TargetWire, HeaderDigestWrong_isTerminatedWithTheDigest) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1, tcp::kDgstHeader);
        auto bytes = io->capsule(make_rw(IoOpcode::Read, 0, 1));
        bytes[20] ^= std::byte{1};
        io->send(bytes);
        const std::uint16_t fes = co_await io->wait_termination();
        EXPECT_EQ(fes, kHeaderDigestError);
        EXPECT_EQ(io->termination_information, tcp::load_digest(std::span(bytes).subspan(72)));
        EXPECT_EQ(device_.batches, 0);
        co_await stop();
    });
}

TEST_F(TargetWire, DataDigestWrong_failsTheCommandAlone) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1, tcp::kDgstData);
        const auto data = pattern(32768, 1);
        spec::Command command = make_rw(IoOpcode::Write, 0, 1, true);
        command.cid = 40;
        auto bytes = io->capsule(command, std::span(data).first(512));
        bytes[100] ^= std::byte{1};
        io->send(bytes);
        const Outcome in_capsule = co_await io->finish(40);
        EXPECT_EQ(in_capsule.code(), StatusCode::TransientTransportError);
        EXPECT_EQ(in_capsule.status & spec::kDoNotRetry, 0);

        command = make_rw(IoOpcode::Write, 0, 64);
        command.cid = 41;
        io->send(io->capsule(command));
        const auto pdu = co_await io->next();
        const std::uint16_t tag = pdu->as<tcp::R2t>().ttag;
        bytes = io->h2c_data(41, tag, 0, std::span(data).first(16384), false);
        bytes[100] ^= std::byte{1};
        io->send(bytes);
        io->send(io->h2c_data(41, tag, 16384, std::span(data).subspan(16384), true));
        const Outcome solicited = co_await io->finish(41);
        EXPECT_EQ(solicited.code(), StatusCode::TransientTransportError);
        EXPECT_EQ(device_.batches, 0);
        const Outcome good =
            co_await io->perform(make_rw(IoOpcode::Write, 0, 1, true), std::span(data).first(512));
        EXPECT_EQ(good.status, 0);
        co_await stop();
    });
}

TEST_F(TargetWire, HostTerminates_closesQuietly) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        io->send(raw(0x02, 0, 24, 0, 24, 24));
        const bool ended = co_await io->wait_end();
        EXPECT_TRUE(ended);
        const TargetStats stats = co_await target_->stats();
        EXPECT_EQ(stats.protocol_errors, 0U);
        co_await stop();
    });
}

TEST_F(TargetWire, RandomBytes_neverHarmOthers) {
    run([&]() -> Task<> {
        limits_.linger = std::chrono::milliseconds(20);
        co_await start();
        auto admin = co_await admin_queue();
        auto healthy = co_await io_queue(admin->cntlid, 1);
        core::Prng prng(42);
        for (std::uint16_t round = 0; round < 60; ++round) {
            auto io = co_await io_queue(admin->cntlid, 2, static_cast<std::uint8_t>(round % 4));
            std::vector<std::byte> all;
            for (int i = 0; i < 20; ++i) {
                spec::Command command;
                const auto noise = pattern(512, prng.next());
                std::memcpy(&command, noise.data(), sizeof(command));
                command.opcode = static_cast<std::uint8_t>(prng.below(10));
                command.nsid = 1U;
                command.sgl.identifier =
                    prng.below(2) == 0 ? spec::kSglTransport : spec::kSglInCapsule;
                auto bytes =
                    io->capsule(command, prng.below(2) == 0 ? std::span<const std::byte>(noise)
                                                            : std::span<const std::byte>());
                if (prng.below(8) == 0) {
                    bytes[prng.below(bytes.size())] ^= static_cast<std::byte>(1 + prng.below(255));
                }
                all.insert(all.end(), bytes.begin(), bytes.end());
            }
            io->send(all);
            io->shutdown_send();
            const bool ended = co_await io->wait_end();
            EXPECT_TRUE(ended);
            io.reset();
            // Its queue id is free again once the target has noticed.
            while (true) {
                const TargetStats stats = co_await target_->stats();
                if (stats.connections.size() == 2) {
                    break;
                }
            }
        }
        co_await expect_alive(*healthy);
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
