// SPDX-License-Identifier: Apache-2.0
// The world itself: it repeats, its processes die as real ones do, its network fails as asked.
#include "tests/sim/world/world.h"

#include <array>
#include <bit>

#include "tests/sim/world/world_fixture.h"

namespace remora::sim {
namespace {

/// A little of everything, with faults; what it comes to.
std::uint64_t hash_of(std::uint64_t seed) {
    Town& town = make_town(seed, std::initializer_list<Fault>{Fault::Split, Fault::Delay});
    town.connect();
    Talker client(*town.client);
    Talker server(*town.server);
    client.say(std::string(50'000, 'q'));
    server.say(std::string(20'000, 'a'));
    EXPECT_TRUE(town.run_until(
        [&] { return server.heard.size() == 50'000 && client.heard.size() == 20'000; }));
    town.world.trace().note("heard", "test", static_cast<std::uint64_t>(town.world.now().count()));
    town.world.kill(*town.processes[1]);
    EXPECT_TRUE(town.run_until([&] { return client.ended.has_value(); }));
    town.settle();
    return town.world.trace().hash();
}

TEST(World, Run_sameSeedTwice_tracesTheSame) {
    EXPECT_EQ(hash_of(7), hash_of(7));
    EXPECT_EQ(hash_of(8), hash_of(8));
}

TEST(World, Run_otherSeed_tracesOtherwise) {
    EXPECT_NE(hash_of(7), hash_of(8));
}

/// Receives one byte an event; nothing on its stack is left behind when it dies in the call.
class OneByte final : public reactor::ReadyHandler {
  public:
    explicit OneByte(Stream& stream) : stream_(stream) {}
    void on_ready(reactor::Readiness /*readiness*/) override {
        ++entered;
        std::byte byte{};
        const core::Segment into{&byte, 1};
        (void)stream_.recv(std::span(&into, 1));
        ++left;
    }
    int entered = 0;
    int left = 0;

  private:
    Stream& stream_;
};

reactor::FileOptions made() {
    reactor::FileOptions options;
    options.create = true;
    options.size = 4096;
    return options;
}

/// What the dying server has made is the program's, and stays where it is.
void hand_over(Town& town, std::unique_ptr<reactor::File> file = nullptr) {
    struct Program {
        std::unique_ptr<reactor::Acceptor> acceptor;
        std::unique_ptr<Stream> server;
        std::unique_ptr<reactor::File> file;
    };
    town.processes[1]->program = std::make_shared<Program>(std::move(town.acceptor),
                                                           std::move(town.server), std::move(file));
}

TEST(Process, KillIn_call_neverRunsAgainAndGivesEverythingBack) {
    Town& town = make_town(1);
    town.connect();
    OneByte handler(*town.server);
    town.server->set_handler(&handler);
    auto file = town.io(1).open_file("/disk", made());
    ASSERT_TRUE(file);
    hand_over(town, std::move(*file));
    int deaths = 0;
    town.processes[1]->on_death = [&deaths] { ++deaths; };
    Talker client(*town.client);
    town.processes[1]->kill_in(1);

    client.say("last words");
    ASSERT_TRUE(town.run_until([&] { return client.ended.has_value(); }));
    town.settle();

    EXPECT_EQ(handler.entered, 1);
    EXPECT_EQ(handler.left, 0) << "it died in the middle";
    EXPECT_FALSE(town.processes[1]->alive());
    EXPECT_EQ(deaths, 1);
    Process& next = town.start("next", 1);
    SimIo& io = *next.cores().front()->io;
    Accepting accepting;
    EXPECT_TRUE(io.listen(Town::kPlace, accepting)) << "the place is free";
    EXPECT_TRUE(io.open_file("/disk", {})) << "the file is unlocked";
}

TEST(Process, KillIn_callsBeyond_staysAlive) {
    Town& town = make_town(1);
    town.connect();
    OneByte handler(*town.server);
    town.server->set_handler(&handler);
    Talker client(*town.client);
    town.processes[1]->kill_in(2);

    client.say("x");
    town.settle();

    EXPECT_EQ(handler.left, 1);
    EXPECT_TRUE(town.processes[1]->alive());
}

TEST(Process, Kill_whatItSent_stillArrives) {
    Town& town = make_town(2);
    town.connect();
    Talker client(*town.client);
    EXPECT_EQ(test::send(*town.server, "testament"), 9);
    hand_over(town);

    town.world.kill(*town.processes[1]);
    ASSERT_TRUE(town.run_until([&] { return client.ended.has_value(); }));

    EXPECT_EQ(client.heard, "testament");
    EXPECT_EQ(client.ended, 0);
}

TEST(Process, Kill_connectOnItsWay_endsTheStreamAtThePeer) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
        Town& town = make_town(seed);
        town.acceptor = std::move(*town.io(1).listen(Town::kPlace, town.accepting));
        auto& waiting = *new Waiting;  // the dying program's
        town.processes[0]->program =
            std::shared_ptr<reactor::Connecting>(town.io(0).connect(Town::kPlace, waiting));
        town.accepting.then = [&] { town.world.kill(*town.processes[0]); };
        ASSERT_TRUE(town.run_until([&] { return !town.accepting.connections.empty(); }));
        if (waiting.calls > 0) {
            (void)(**waiting.result).release();  // abandoned with its program
        }

        town.server = std::move(*town.io(1).adopt_stream(town.accepting.connections[0]));
        Talker server(*town.server);

        EXPECT_TRUE(town.run_until([&] { return server.ended.has_value(); })) << seed;
    }
}

TEST(World, CutPower_peer_hearsNothingAnyMore) {
    Town& town = make_town(3);
    town.connect();
    Talker client(*town.client);
    hand_over(town);

    town.world.cut_power(*town.machines[1]);
    client.say("anybody there?");
    town.settle();

    EXPECT_FALSE(client.ended) << "nobody is there to say so";
    EXPECT_FALSE(town.processes[1]->alive());
}

TEST(Network, TakeDown_link_holdsBytesAndDeliversThemInOrderAfterwards) {
    Town& town = make_town(4);
    town.connect();
    Talker client(*town.client);
    Talker server(*town.server);
    client.say("before ");
    ASSERT_TRUE(town.run_until([&] { return server.heard.size() == 7; }));

    town.world.network().take_down(*town.machines[0], *town.machines[1]);
    std::string said;
    for (int i = 0; i < 20; ++i) {
        said += "during" + std::to_string(i) + " ";
        client.say("during" + std::to_string(i) + " ");
    }
    server.say("back");
    town.settle();
    EXPECT_EQ(server.heard, "before ");
    EXPECT_EQ(client.heard, "");
    Waiting waiting;
    const auto connecting = town.io(0).connect(Town::kPlace, waiting);
    town.settle();
    EXPECT_EQ(waiting.calls, 0) << "a connect gets no answer";

    town.world.network().bring_up(*town.machines[0], *town.machines[1]);
    client.say("after");

    EXPECT_TRUE(town.run_until([&] {
        return server.heard == "before " + said + "after" && client.heard == "back" &&
               waiting.calls == 1;
    })) << server.heard;
}

TEST(Network, Reset_atAByte_deliversExactlyTheBytesBefore) {
    std::size_t inside = 0;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Town& town = make_town(seed, std::initializer_list<Fault>{Fault::Reset});
        town.connect();
        Talker server(*town.server);
        Talker client(*town.client);
        std::string said;
        constexpr std::size_t kPiece = 100;
        while (town.world.faults().struck(Fault::Reset) == 0) {
            const std::string piece(kPiece, static_cast<char>('a' + said.size() / kPiece % 26));
            client.say(piece);
            said += piece;
            ASSERT_TRUE(town.run_until([&] {
                return server.ended || server.heard.size() == said.size() ||
                       town.world.faults().struck(Fault::Reset) > 0;
            }));
        }
        town.world.faults().stop();
        client.say("x");
        said += "x";
        ASSERT_TRUE(town.run_until([&] { return server.ended && client.ended; })) << seed;

        // The piece that drew the reset is the last but the x: its bytes up to a point arrive.
        EXPECT_GE(server.heard.size() + kPiece + 1, said.size());
        EXPECT_LT(server.heard.size(), said.size());
        EXPECT_EQ(server.heard, said.substr(0, server.heard.size()));
        EXPECT_EQ(server.ended, -ECONNRESET);
        EXPECT_EQ(client.ended, -ECONNRESET);
        inside += server.heard.size() % kPiece == 0 ? 0 : 1;
    }
    EXPECT_GT(inside, 10U) << "at any byte";
}

/// What opens an NVMe/TCP stream: 128 bytes with the digests in byte 11.
std::string opening(char digests) {
    std::string text(128, '\0');
    text[11] = digests;
    return text;
}

/// How many bits of what the client says arrive changed, after both openings.
std::size_t flipped_bits(Town& town, char client_digests, char server_digests) {
    town.connect();
    Talker client(*town.client);
    Talker server(*town.server);
    std::string said = opening(client_digests);
    client.say(said);
    server.say(opening(server_digests));
    EXPECT_TRUE(
        town.run_until([&] { return server.heard.size() == 128 && client.heard.size() == 128; }));
    EXPECT_EQ(server.heard, said);
    for (int i = 0; i < 2000; ++i) {
        const std::string piece(50, static_cast<char>(i));
        client.say(piece);
        said += piece;
    }
    EXPECT_TRUE(town.run_until([&] { return server.heard.size() == said.size(); }));
    std::size_t bits = 0;
    for (std::size_t i = 0; i < said.size() && i < server.heard.size(); ++i) {
        bits += static_cast<std::size_t>(
            std::popcount(static_cast<unsigned char>(said[i] ^ server.heard[i])));
    }
    return bits;
}

TEST(Network, BitFlip_bothAgreedOnDigests_changesSingleBits) {
    Town& town = make_town(5, std::initializer_list<Fault>{Fault::BitFlip});
    const std::size_t bits = flipped_bits(town, 3, 3);
    EXPECT_GT(bits, 0U);
    EXPECT_EQ(bits, town.world.faults().struck(Fault::BitFlip));
}

TEST(Network, BitFlip_notBothDigestsOfBoth_neverStrikes) {
    for (const auto& [client, server] :
         std::array<std::pair<char, char>, 5>{{{0, 0}, {3, 0}, {0, 3}, {3, 1}, {2, 3}}}) {
        Town& town = make_town(5, std::initializer_list<Fault>{Fault::BitFlip});
        EXPECT_EQ(flipped_bits(town, client, server), 0U);
        EXPECT_EQ(town.world.faults().struck(Fault::BitFlip), 0U);
    }
}

class Alarm final : public reactor::TimerHandler {
  public:
    explicit Alarm(World& world) : world_(world) {}
    void on_timer(reactor::Timer& /*timer*/) override { rang = world_.now(); }
    Nanos rang{};

  private:
    World& world_;
};

TEST(World, Leap_sleepingProcess_looksAtItsTimersAnew) {
    Town& town = make_town(6);
    Alarm alarm(town.world);
    reactor::Timer timer(alarm);
    town.processes[0]->cores().front()->reactor->arm(timer, town.machines[0]->clock.now() + 1000s);
    town.settle();
    EXPECT_EQ(alarm.rang, Nanos{});
    const Nanos before = town.world.now();

    town.world.leap(*town.machines[0], 950s);

    EXPECT_TRUE(town.run_until([&] { return alarm.rang > Nanos{}; }));
    EXPECT_LT(alarm.rang - before, 51s);
    EXPECT_LT(town.machines[1]->clock.now(), 1000s) << "the other machine's clock does not leap";
}

/// Flushes a file again and again.
class Flusher final : public reactor::FileHandler {
  public:
    explicit Flusher(Town& town)
        : world_(town.world),
          file_(*town.io(0).open_file("/disk/f", {.create = true, .size = 4096})) {
        next();
    }

    void on_file_done(reactor::FileOp& op) override {
        if (op.result != 0) {
            ++failed;
            slow += world_.now() - began_ > 1s ? 1 : 0;
            // In the turn after: what a disk says has been told when somebody can hear it.
            EXPECT_LT(world_.now() - world_.faults().last_strike(Fault::FlushError), 1ms);
        }
        if (++done < 1000) {
            next();
        }
    }
    int done = 0;
    int failed = 0;
    int slow = 0;

  private:
    void next() {
        op_ = reactor::FileOp{};
        op_.kind = reactor::FileOp::Kind::Flush;
        op_.handler = this;
        began_ = world_.now();
        file_->submit(op_);
    }

    World& world_;
    std::unique_ptr<reactor::File> file_;
    reactor::FileOp op_;
    core::Nanos began_{};
};

TEST(SimFile, Flush_failsOnASlowDisk_strikesWhenItIsTold) {
    Town& town = make_town(8, std::initializer_list<Fault>{Fault::DiskSlow, Fault::FlushError});
    Flusher flusher(town);
    EXPECT_TRUE(
        town.world.run_until([&] { return flusher.done == 1000; }, town.world.now() + 2000s));
    EXPECT_GT(flusher.failed, 50);
    EXPECT_GT(flusher.slow, 3);
}

TEST(World, RunUntil_nothingLeftToHappen_saysSo) {
    Town& town = make_town(7);
    EXPECT_FALSE(town.run_until([] { return false; }));
    EXPECT_FALSE(town.world.failed());
}

TEST(World, RunUntil_eventBudgetSpent_isAViolation) {
    Town& town = make_town(7);
    town.connect();
    Talker client(*town.client);
    Talker server(*town.server);
    client.say("x");
    town.world.set_event_budget(town.world.events().ran() + 1);

    EXPECT_FALSE(town.run_until([] { return false; }));

    EXPECT_NE(town.world.failure().find("budget"), std::string::npos);
}

}  // namespace
}  // namespace remora::sim
