// SPDX-License-Identifier: Apache-2.0
// I/O queues: data in and out in every way the transport has, and every refusal of a command.
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

class TargetIo : public TargetFixture {
  public:
    /// Writes and reads back `blocks` blocks at `lba`; EXPECTs the data.
    static Task<> round_trip(RawHost& io,
                             std::uint64_t lba,
                             std::uint32_t blocks,
                             bool in_capsule) {
        const auto data = pattern(std::size_t{blocks} * 512, lba + blocks);
        const Outcome written =
            co_await io.perform(make_rw(IoOpcode::Write, lba, blocks, in_capsule), data);
        EXPECT_EQ(written.status, 0);
        EXPECT_EQ(written.r2ts, in_capsule ? 0U : 1U);
        const Outcome read = co_await io.perform(make_rw(IoOpcode::Read, lba, blocks));
        EXPECT_EQ(read.status, 0);
        EXPECT_EQ(read.data, data);
    }
};

TEST_F(TargetIo, RoundTrip_everyDigestAndFlowControl_dataComesBack) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        std::uint16_t qid = 1;
        for (const std::uint8_t dgst :
             {std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{3}}) {
            for (const std::uint8_t attributes :
                 {std::uint8_t{0}, spec::kConnectDisableFlowControl}) {
                ConnectOptions options;
                options.attributes = attributes;
                auto io = co_await io_queue(admin->cntlid, qid++, dgst, options);
                co_await round_trip(*io, 1, 1, true);
                co_await round_trip(*io, 100, 32, true);    // 16 KiB, all that fits a capsule
                co_await round_trip(*io, 200, 8, false);    // R2T
                co_await round_trip(*io, 300, 512, false);  // 256 KiB, MDTS
            }
        }
        co_await stop();
    });
}

TEST_F(TargetIo, Read_flowControlOff_usesSuccessFlagAndNoSqhd) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.attributes = spec::kConnectDisableFlowControl;
        auto io = co_await io_queue(admin->cntlid, 1, 0, options);
        const Outcome read = co_await io->perform(make_rw(IoOpcode::Read, 0, 8));
        EXPECT_TRUE(read.success_flag);
        auto plain = co_await io_queue(admin->cntlid, 2);
        const Outcome second = co_await plain->perform(make_rw(IoOpcode::Read, 0, 8));
        EXPECT_FALSE(second.success_flag);
        EXPECT_EQ(second.completion.sqhd, 2);  // Connect was the first
        EXPECT_EQ(second.completion.sqid, 2);
        co_await stop();
    });
}

TEST_F(TargetIo, Read_hostAlignment_padsTheData) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        for (const std::uint8_t hpda : {std::uint8_t{3}, std::uint8_t{31}}) {
            auto io = co_await RawHost::open(endpoint_);
            const bool greeted = co_await io->handshake(3, hpda);
            EXPECT_TRUE(greeted);
            ConnectOptions options;
            options.qid = hpda;
            options.cntlid = admin->cntlid;
            const Outcome connected = co_await io->connect(options);
            EXPECT_EQ(connected.status, 0);
            spec::Command command = make_rw(IoOpcode::Read, 0, 1);
            command.cid = 99;
            io->send(io->capsule(command));
            const auto pdu = co_await io->next();
            EXPECT_TRUE(pdu.has_value());
            EXPECT_EQ(pdu->header.pdo, hpda == 3 ? 32 : 128);
            EXPECT_EQ(pdu->data().size(), 512U);
        }
        co_await stop();
    });
}

TEST_F(TargetIo, ManyWrites_oneTurn_becomeOneBatch) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 127;
        auto io = co_await io_queue(admin->cntlid, 1, 0, options);
        std::vector<std::byte> all;
        const auto data = pattern(512, 5);
        for (std::uint16_t i = 0; i < 100; ++i) {
            spec::Command command = make_rw(IoOpcode::Write, i, 1, true);
            command.cid = static_cast<std::uint16_t>(1000 + i);
            const auto bytes = io->capsule(command, data);
            all.insert(all.end(), bytes.begin(), bytes.end());
        }
        io->send(all);
        for (std::uint16_t i = 0; i < 100; ++i) {
            const auto pdu = co_await io->next();
            EXPECT_TRUE(pdu.has_value());
            EXPECT_EQ(pdu->as<tcp::CapsuleResp>().completion.status(), 0);
        }
        EXPECT_EQ(device_.largest_batch, 100);
        const TargetStats stats = co_await target_->stats();
        EXPECT_EQ(stats.connections.size(), 2U);
        EXPECT_EQ(stats.connections[1].commands, 101U);
        EXPECT_LE(stats.connections[1].send_calls, 5U);  // ICResp, Connect, and two of 64 PDUs
        co_await stop();
    });
}

TEST_F(TargetIo, BytewiseSegments_stillParse) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid, 1, 3);
        spec::Command command = make_rw(IoOpcode::Write, 7, 1, true);
        command.cid = 77;
        const auto data = pattern(512, 9);
        const auto bytes = io->capsule(command, data);
        for (const std::byte byte : bytes) {
            io->send(std::span(&byte, 1));
            co_await reactor::sleep_for(core::Nanos(1));
        }
        const Outcome written = co_await io->finish(77);
        EXPECT_EQ(written.status, 0);
        EXPECT_EQ(std::memcmp(device_.memory().data() + 7 * 512, data.data(), 512), 0);
        co_await stop();
    });
}

TEST_F(TargetIo, FlushZeroesDiscardFua_reachTheDevice) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        std::ranges::fill(device_.memory(), std::byte{0xaa});

        const Outcome flushed = co_await io->perform(make_command(0x00, 1, 0, false));
        EXPECT_EQ(flushed.status, 0);
        EXPECT_EQ(device_.flushes, 1);

        spec::Command fua = make_rw(IoOpcode::Write, 0, 1, true);
        fua.cdw12 = fua.cdw12 | spec::kCdw12ForceUnitAccess;
        const auto data = pattern(512, 1);
        const Outcome durable = co_await io->perform(fua, data);
        EXPECT_EQ(durable.status, 0);
        EXPECT_EQ(device_.durable_writes, 1);

        spec::Command zeroes = make_rw(IoOpcode::WriteZeroes, 10, 6);
        zeroes.sgl.length = 0U;
        const Outcome zeroed = co_await io->perform(zeroes);
        EXPECT_EQ(zeroed.status, 0);
        EXPECT_EQ(device_.memory()[10 * 512], std::byte{0});
        EXPECT_EQ(device_.memory()[16 * 512], std::byte{0xaa});

        // Three ranges, the middle one empty.
        std::array<spec::DsmRange, 3> ranges{};
        ranges[0].lba = 20U;
        ranges[0].block_count = 2U;
        ranges[2].lba = 30U;
        ranges[2].block_count = 1U;
        spec::Command discard = make_command(0x09, 1, sizeof(ranges), true);
        discard.cdw10 = 2U;
        discard.cdw11 = spec::kDsmDeallocate;
        const Outcome discarded = co_await io->perform(discard, core::as_bytes_of(ranges));
        EXPECT_EQ(discarded.status, 0);
        EXPECT_EQ(device_.discards, 2);
        EXPECT_EQ(device_.memory()[21 * 512], std::byte{0});
        EXPECT_EQ(device_.memory()[30 * 512], std::byte{0});
        EXPECT_EQ(device_.memory()[31 * 512], std::byte{0xaa});

        // Linux sends a buffer for 256 ranges; what is behind the last one counts for nothing.
        std::array<spec::DsmRange, 256> list{};
        list[0].lba = 40U;
        list[0].block_count = 1U;
        list[1].lba = 41U;
        list[1].block_count = 1U;
        spec::Command one = make_command(0x09, 1, sizeof(list), true);
        one.cdw11 = spec::kDsmDeallocate;
        const Outcome full = co_await io->perform(one, core::as_bytes_of(list));
        EXPECT_EQ(full.status, 0);
        EXPECT_EQ(device_.discards, 3);
        EXPECT_EQ(device_.memory()[40 * 512], std::byte{0});
        EXPECT_EQ(device_.memory()[41 * 512], std::byte{0xaa});

        ranges[2].lba = 8192U;
        const Outcome outside = co_await io->perform(discard, core::as_bytes_of(ranges));
        EXPECT_EQ(outside.code(), StatusCode::LbaOutOfRange);
        co_await stop();
    });
}

TEST_F(TargetIo, BadCommands_getTheirStatusAndNothingElseHappens) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const auto data = pattern(262144 + 512, 3);
        const auto expect = [&](spec::Command command, StatusCode code,
                                std::size_t bytes = 0) -> Task<> {
            const Outcome outcome = co_await io->perform(command, std::span(data).first(bytes));
            EXPECT_EQ(static_cast<int>(outcome.code()), static_cast<int>(code));
        };
        co_await expect(make_command(0x55, 1, 0, false), StatusCode::InvalidOpcode);
        co_await expect(make_command(0x06, 1, 0, false), StatusCode::InvalidOpcode);
        co_await expect(make_rw(IoOpcode::Read, 0, 1, false, 2), StatusCode::InvalidNamespace);
        co_await expect(make_rw(IoOpcode::Read, 0, 1, false, 0), StatusCode::InvalidNamespace);
        co_await expect(make_rw(IoOpcode::Read, 0, 1, false, 0xffffffff),
                        StatusCode::InvalidNamespace);
        co_await expect(make_rw(IoOpcode::Read, 8191, 2), StatusCode::LbaOutOfRange);
        co_await expect(make_rw(IoOpcode::Read, 8192, 1), StatusCode::LbaOutOfRange);
        co_await expect(make_rw(IoOpcode::Read, ~0ULL, 2), StatusCode::LbaOutOfRange);
        co_await expect(make_rw(IoOpcode::Write, 8192, 1, true), StatusCode::LbaOutOfRange, 512);
        co_await expect(make_rw(IoOpcode::Read, 0, 513), StatusCode::InvalidField);  // MDTS

        spec::Command wrong = make_rw(IoOpcode::Read, 0, 2);
        wrong.sgl.length = 512U;
        co_await expect(wrong, StatusCode::DataSglLengthInvalid);
        wrong = make_rw(IoOpcode::Write, 0, 2, true);
        co_await expect(wrong, StatusCode::DataSglLengthInvalid, 512);  // capsule has half of it
        wrong = make_rw(IoOpcode::Read, 0, 1);
        wrong.sgl.identifier = 0x00;
        co_await expect(wrong, StatusCode::SglTypeInvalid);
        wrong = make_rw(IoOpcode::Read, 0, 1);
        wrong.flags = 0;
        co_await expect(wrong, StatusCode::InvalidField);  // PRPs
        wrong.flags = spec::kFlagsSgl | 1U;
        co_await expect(wrong, StatusCode::InvalidField);  // fused
        wrong = make_rw(IoOpcode::Write, 0, 1, true);
        wrong.sgl.address = 8U;
        co_await expect(wrong, StatusCode::SglOffsetInvalid, 512);
        wrong = make_rw(IoOpcode::Read, 0, 1, true);
        co_await expect(wrong, StatusCode::SglTypeInvalid);
        wrong = make_rw(IoOpcode::Read, 0, 1);
        wrong.cdw12 = wrong.cdw12 | (1U << 26U);
        co_await expect(wrong, StatusCode::InvalidField);  // protection information
        co_await expect(make_command(spec::kFabricsOpcode, 0x04, 0, false),
                        StatusCode::InvalidOpcode);  // Property Get on an I/O queue

        EXPECT_EQ(device_.batches, 0);
        co_await round_trip(*io, 0, 4, true);  // the queue is as good as before
        co_await stop();
    });
}

TEST_F(TargetIo, ReadOnlyVolume_refusesWritesAndDiscards) {
    run([&]() -> Task<> {
        block::Geometry geometry = device_.geometry();
        geometry.read_only = true;
        device_.set_geometry(geometry);
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        const auto data = pattern(512, 3);
        const Outcome write = co_await io->perform(make_rw(IoOpcode::Write, 0, 1, true), data);
        EXPECT_EQ(write.code(), StatusCode::NamespaceWriteProtected);
        const Outcome read = co_await io->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(read.status, 0);
        co_await stop();
    });
}

TEST_F(TargetIo, DeviceFailure_becomesAnNvmeStatus) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.fail_with = block::Status::IoError;
        const auto data = pattern(512, 3);
        const Outcome read = co_await io->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(read.code(), StatusCode::UnrecoveredReadError);
        EXPECT_TRUE(read.data.empty());
        const Outcome write = co_await io->perform(make_rw(IoOpcode::Write, 0, 1, true), data);
        EXPECT_EQ(write.code(), StatusCode::WriteFault);
        co_await stop();
    });
}

TEST_F(TargetIo, Disconnect_withIoInFlight_closesOnlyAfterTheDeviceIsDone) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.hold = true;
        const auto data = pattern(4096, 3);
        spec::Command command = make_rw(IoOpcode::Write, 0, 8, true);
        command.cid = 5;
        io->send(io->capsule(command, data));
        command = make_rw(IoOpcode::Read, 64, 8);
        command.cid = 6;
        io->send(io->capsule(command));
        while (device_.held_count() < 2) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        io->shutdown_send();
        const bool early = co_await io->wait_end(std::chrono::milliseconds(50));
        EXPECT_FALSE(early);  // the write may still run: the host must not send it again yet
        device_.release();
        const bool end = co_await io->wait_end();
        EXPECT_TRUE(end);
        EXPECT_EQ(std::memcmp(device_.memory().data(), data.data(), 4096), 0);
        co_await stop();
    });
}

TEST_F(TargetIo, RemoveNamespace_withIoInFlight_waitsForIt) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        device_.hold = true;
        spec::Command command = make_rw(IoOpcode::Read, 0, 8);
        command.cid = 6;
        io->send(io->capsule(command));
        while (device_.held_count() < 1) {
            co_await reactor::sleep_for(std::chrono::milliseconds(1));
        }
        auto removal = target_->remove_namespace(kSubsystem, 1);
        while (true) {  // until the table has changed
            const Outcome active = co_await admin->identify(0x02);
            if (active.data[0] == std::byte{0}) {
                break;
            }
        }
        const Outcome refused = co_await io->perform(make_rw(IoOpcode::Read, 0, 1));
        EXPECT_EQ(refused.code(), StatusCode::InvalidNamespace);
        EXPECT_EQ(device_.open_channels, 1);
        device_.release();
        const Outcome late = co_await io->finish(6);
        EXPECT_EQ(late.status, 0);
        const auto removed = co_await removal;
        EXPECT_TRUE(removed.has_value());
        EXPECT_EQ(device_.open_channels, 0);
        co_await stop();
    });
}

TEST_F(TargetIo, WriteWaitingForData_namespaceReplaced_neverReachesTheNewVolume) {
    run([&]() -> Task<> {
        co_await start();
        auto admin = co_await admin_queue();
        auto io = co_await io_queue(admin->cntlid);
        spec::Command command = make_rw(IoOpcode::Write, 0, 64);
        command.cid = 6;
        io->send(io->capsule(command));
        const auto pdu = co_await io->next();
        const auto r2t = pdu->as<tcp::R2t>();
        const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
        EXPECT_TRUE(removed.has_value());
        MemoryDevice other("other");
        NamespaceOptions options;
        options.device = &other;
        options.nsid = 1;
        const auto added = co_await target_->add_namespace(kSubsystem, options);
        EXPECT_TRUE(added.has_value());
        const auto data = pattern(64 * 512, 4);
        io->send(io->h2c_data(6, r2t.ttag, 0, data, true));
        const Outcome outcome = co_await io->finish(6);
        EXPECT_EQ(outcome.code(), StatusCode::InvalidNamespace);
        EXPECT_EQ(other.batches, 0);
        co_await stop();
        EXPECT_EQ(other.open_channels, 0);
    });
}

}  // namespace
}  // namespace remora::test
