// SPDX-License-Identifier: Apache-2.0
// Reads that the volume lends its memory for: what a host gets, and who waits for it.
#include "backends/ram/ram_device.h"
#include "reactor/call.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {
namespace {

constexpr std::uint8_t kBothDigests = tcp::kDgstHeader | tcp::kDgstData;

/// Namespace 2 is a RAM volume of 1 MiB; a connection may have 64 MiB of the pool for reads.
class TargetLoan : public TargetFixture {
  public:
    TargetLoan() : TargetFixture(std::size_t{256} << 20U) {}

    Task<> start_with_ram() {
        co_await start();
        ram_ = std::move(*backends::ram::RamDevice::create("ram", {}, 512, 2048));
        NamespaceOptions options;
        options.device = ram_.get();
        const auto nsid = co_await target_->add_namespace(kSubsystem, options);
        CHECK(nsid.has_value() && *nsid == kRam);
    }

    static constexpr std::uint32_t kRam = 2;
    std::unique_ptr<backends::ram::RamDevice> ram_;
};

spec::Command ram_read(std::uint64_t lba, std::uint32_t blocks) {
    return make_rw(IoOpcode::Read, lba, blocks, false, TargetLoan::kRam);
}

TEST_F(TargetLoan, Read_lentOrCopied_bringsWhatWasWritten) {
    run([&]() -> Task<> {
        co_await start_with_ram();
        auto admin = co_await admin_queue();
        const auto data = pattern(8192, 3);
        for (const auto digests : {std::uint8_t{0}, kBothDigests}) {
            auto io = co_await io_queue(admin->cntlid, digests == 0 ? 1 : 2, digests);
            const Outcome written =
                co_await io->perform(make_rw(IoOpcode::Write, 8, 16, true, kRam), data);
            EXPECT_EQ(written.status, 0);
            for (const std::uint32_t blocks : {1U, 8U, 16U}) {
                const Outcome read = co_await io->perform(ram_read(8, blocks));
                EXPECT_EQ(read.status, 0);
                EXPECT_TRUE(std::ranges::equal(read.data, std::span(data).first(blocks * 512)));
            }
        }
        co_await stop();
    });
}

// Its socket is full, so its answers stay here: as copies, which no writer waits for.
TEST_F(TargetLoan, DeafHost_keepsNoWriterWaitingAndGetsWhatItRead) {
    run([&]() -> Task<> {
        co_await start_with_ram();
        auto admin = co_await admin_queue();
        ConnectOptions options;
        options.sqsize = 255;
        auto deaf = co_await io_queue(admin->cntlid, 1, 0, options);
        auto other = co_await io_queue(admin->cntlid, 2);
        const auto before = pattern(4096, 1);
        const auto after = pattern(4096, 2);
        Outcome written =
            co_await other->perform(make_rw(IoOpcode::Write, 0, 8, true, kRam), before);
        EXPECT_EQ(written.status, 0);

        deaf->deaf = true;
        for (std::uint16_t i = 0; i < 100; ++i) {  // 25 MiB, more than any socket takes
            spec::Command command = make_rw(IoOpcode::Read, 0, 512);
            command.cid = i;
            deaf->send(deaf->capsule(command));
        }
        constexpr std::uint16_t kFirst = 200;
        constexpr std::uint16_t kReads = 100;
        for (std::uint16_t i = 0; i < kReads; ++i) {
            spec::Command command = ram_read(0, 8);
            command.cid = static_cast<std::uint16_t>(kFirst + i);
            deaf->send(deaf->capsule(command));
        }
        std::uint64_t taken = 0;
        while (taken < 1 + 100 + kReads) {  // Connect is one, too
            co_await reactor::sleep_for(std::chrono::milliseconds(5));
            const TargetStats stats = co_await target_->stats();
            taken = stats.connections[1].commands;
        }
        written = co_await other->perform(make_rw(IoOpcode::Write, 0, 8, true, kRam), after);
        EXPECT_EQ(written.status, 0);

        const TargetStats stats = co_await target_->stats();
        EXPECT_LT(stats.connections[1].send_pdus, 100U) << "the socket takes no more";
        deaf->hear_again();
        std::uint16_t seen = 0;
        while (seen < kReads) {
            const auto pdu = co_await deaf->next();
            CHECK(pdu.has_value());
            if (pdu->type() == tcp::PduType::C2hData && pdu->as<tcp::DataPdu>().cccid >= kFirst) {
                EXPECT_TRUE(std::ranges::equal(pdu->data(), before));
                ++seen;
            }
        }
        const Outcome read = co_await other->perform(ram_read(0, 8));
        EXPECT_TRUE(std::ranges::equal(read.data, after));
        co_await stop();
    });
}

// The connection ends while answers with loans wait: they are given back.
TEST_F(TargetLoan, HostGoneWithAnswersUnderWay_keepsNoWriterWaiting) {
    run([&]() -> Task<> {
        co_await start_with_ram();
        auto admin = co_await admin_queue();
        auto other = co_await io_queue(admin->cntlid, 2);
        for (std::uint16_t round = 0; round < 20; ++round) {
            ConnectOptions options;
            options.sqsize = 255;
            auto gone = co_await io_queue(admin->cntlid, 1, 0, options);
            std::vector<std::byte> all;
            for (std::uint16_t i = 0; i < 200; ++i) {
                spec::Command command = ram_read(8U * (i % 16U), 8);
                command.cid = i;
                const auto bytes = gone->capsule(command);
                all.insert(all.end(), bytes.begin(), bytes.end());
            }
            gone->send(all);
            if (round % 2 == 0) {
                co_await reactor::sleep_for(std::chrono::microseconds(50));
            }
            gone.reset();
            const Outcome written = co_await other->perform(
                make_rw(IoOpcode::Write, 0, 16, true, kRam), pattern(8192, round));
            EXPECT_EQ(written.status, 0);
            co_await reactor::sleep_for(std::chrono::milliseconds(5));
        }
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
