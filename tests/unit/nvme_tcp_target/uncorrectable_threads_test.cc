// SPDX-License-Identifier: Apache-2.0
// Write Uncorrectable over two data reactors with threads of their own.
#include "reactor/gate.h"
#include "tests/unit/nvme_tcp_target/threads_fixture.h"
#include "tests/unit/nvme_tcp_target/uncorrectable_fixture.h"

namespace remora::test {
namespace {

class TargetUncorrectableThreads : public TargetThreads {
  public:
    /// Two queues of one host, one on each reactor.
    Task<> connect() {
        target_->set_uncorrectable_keeper(&marks_);
        admin_ = co_await queue(0, spec::kDynamicController);
        for (std::uint16_t qid = 1; qid <= 3; ++qid) {
            ios_.push_back(co_await queue(qid, admin_->cntlid));
        }
        const TargetStats stats = co_await target_->stats();
        std::map<std::uint16_t, std::uint32_t> reactor_of;
        for (const auto& connection : stats.connections) {
            reactor_of[connection.qid] = connection.reactor;
        }
        EXPECT_NE(reactor_of[1], reactor_of[2]);
    }

    /// Marks a block and writes it again, and looks each time from the other reactor.
    static Task<> turn_by_turn(RawHost* io, RawHost* other, std::uint64_t lba, int rounds) {
        for (int i = 0; i < rounds; ++i) {
            EXPECT_EQ(co_await mark(*io, lba), 0);
            EXPECT_EQ(co_await read(*other, lba), kUnreadable);
            EXPECT_EQ(co_await write(*other, lba, static_cast<std::uint64_t>(i)), 0);
            EXPECT_EQ(co_await read(*io, lba), 0);
        }
    }
    /// Writes blocks beside it, and reads them.
    struct Bystander {
        bool end = false;
        int rounds = 0;

        static Task<> run(Bystander* self, RawHost* io) {
            while (!self->end) {
                EXPECT_EQ(co_await write(*io, 101, 7), 0);
                EXPECT_EQ(co_await read(*io, 101), 0);
                ++self->rounds;
            }
        }
    };

    MemoryMarkKeeper marks_;
    std::unique_ptr<RawHost> admin_;
    std::vector<std::unique_ptr<RawHost>> ios_;
};

TEST_F(TargetUncorrectableThreads, AfterTheAnswer_everyReactorKnows) {
    run([&]() -> Task<> {
        co_await start();
        co_await connect();
        Bystander bystander;
        reactor::Gate gate;
        EXPECT_TRUE(gate.spawn(&Bystander::run, &bystander, ios_[2].get()));
        co_await turn_by_turn(ios_[0].get(), ios_[1].get(), 100, 60);
        co_await turn_by_turn(ios_[1].get(), ios_[0].get(), 100, 60);
        EXPECT_GT(bystander.rounds, 0);
        bystander.end = true;
        co_await gate.close();
        EXPECT_EQ((marks_.kept[{kSubsystem, 1}]), Ranges());
        ios_.clear();
        admin_.reset();
        co_await stop();
    });
}

// ThreadSanitizer sees whether a write of one reactor meets a change of marks by the other.
TEST_F(TargetUncorrectableThreads, MarksAndWritesOfBothReactors_loseNothing) {
    run([&]() -> Task<> {
        co_await start();
        co_await connect();
        for (int round = 0; round < 40; ++round) {
            // Each block is marked by one reactor and written by the other, at the same time.
            for (std::uint16_t i = 0; i < 2; ++i) {
                RawHost& marking = *ios_[i];
                RawHost& writing = *ios_[1U - i];
                spec::Command marks = mark_command(i, 1);
                marks.cid = 1;
                send_command(marking, marks);
                spec::Command writes = make_rw(IoOpcode::Write, i, 1, true);
                writes.cid = 2;
                send_command(writing, writes, block_of(1));
            }
            for (std::uint16_t i = 0; i < 2; ++i) {
                for (int ends = 0; ends < 2; ++ends) {
                    const auto pdu = co_await ios_[i]->next();
                    EXPECT_TRUE(pdu && pdu->as<tcp::CapsuleResp>().completion.status() == 0);
                }
            }
            // Whichever came last: all reactors and the store say the same.
            const auto& kept = marks_.kept[{kSubsystem, 1}];
            for (std::uint64_t lba = 0; lba < 2; ++lba) {
                const bool marked = std::ranges::any_of(
                    kept, [lba](const BlockRange& one) { return one.overlaps({lba, 1}); });
                for (const auto& io : ios_) {
                    EXPECT_EQ(co_await read(*io, lba), marked ? kUnreadable : 0);
                }
            }
            EXPECT_EQ(co_await mark(*ios_[0], 0, 2), 0);
            EXPECT_EQ(co_await write(*ios_[0], 0, 0), 0);
            EXPECT_EQ(co_await write(*ios_[1], 1, 0), 0);
        }
        ios_.clear();
        admin_.reset();
        co_await stop();
    });
}

TEST_F(TargetUncorrectableThreads, NamespacesComeAndGo_withCommandsUnderWay) {
    run([&]() -> Task<> {
        co_await start();
        co_await connect();
        for (int round = 0; round < 20; ++round) {
            for (std::uint16_t i = 0; i < 4; ++i) {
                for (std::size_t own = 0; own < ios_.size(); ++own) {
                    const std::size_t other = (own + 1) % ios_.size();
                    spec::Command marks = mark_command(8 * other + i, 2);
                    marks.cid = static_cast<std::uint16_t>(2 * i);
                    send_command(*ios_[own], marks);
                    spec::Command writes = make_rw(IoOpcode::Write, 8 * own + i, 1, true);
                    writes.cid = static_cast<std::uint16_t>(2 * i + 1);
                    send_command(*ios_[own], writes, block_of(1));
                }
            }
            const auto removed = co_await target_->remove_namespace(kSubsystem, 1);
            EXPECT_TRUE(removed.has_value());
            EXPECT_EQ(device_.open_channels, 0);
            for (const auto& io : ios_) {
                for (int ends = 0; ends < 8; ++ends) {
                    const auto pdu = co_await io->next();
                    EXPECT_TRUE(pdu.has_value());
                    const auto code = code_of(pdu->as<tcp::CapsuleResp>().completion.status());
                    EXPECT_TRUE(code == StatusCode::Success ||
                                code == StatusCode::InvalidNamespace);
                }
            }
            NamespaceOptions options;
            options.device = &device_;
            const auto added = co_await target_->add_namespace(kSubsystem, options);
            EXPECT_TRUE(added.has_value());
            EXPECT_EQ(co_await read(*ios_[0], 0, 24), 0);
        }
        ios_.clear();
        admin_.reset();
        co_await stop();
    });
}

}  // namespace
}  // namespace remora::test
