// SPDX-License-Identifier: Apache-2.0
// What every reactor::Stream must do, over TCP and unix sockets of Linux and of the simulator.
#include <algorithm>
#include <tuple>

#include "tests/contract/io_fixture.h"

namespace remora::test {
namespace {

using Family = Endpoint::Family;

class StreamContract : public IoContractBase,
                       public testing::WithParamInterface<std::tuple<WorldKind, Family>> {
  public:
    StreamContract() : IoContractBase(std::get<0>(GetParam())) {}
    Pair connected() { return connect_pair(std::get<1>(GetParam())); }
};

std::string pattern(std::size_t size, unsigned step) {
    std::string text(size, '\0');
    unsigned value = step;
    for (char& letter : text) {
        value = value * 1664525 + 1013904223;
        letter = static_cast<char>(value >> 24U);
    }
    return text;
}

TEST_P(StreamContract, Talk_muchBothWays_arrivesWholeAndInOrder) {
    const Pair pair = connected();
    Talker client(*pair.client);
    Talker server(*pair.server, 3001);
    const std::string there = pattern(std::size_t{6} << 20U, 1);
    const std::string back = pattern(1'234'567, 2);

    client.say(there);
    server.say(back);
    run_until(
        [&] { return server.heard.size() >= there.size() && client.heard.size() >= back.size(); });

    EXPECT_TRUE(server.heard == there);
    EXPECT_TRUE(client.heard == back);
    EXPECT_FALSE(client.ended || server.ended);
}

TEST_P(StreamContract, Recv_nothingThere_wouldBlockAndAnEventFollows) {
    const Pair pair = connected();
    Listening listening;
    std::string heard;
    EXPECT_EQ(receive(*pair.server, heard, 16), -EAGAIN);
    pair.server->set_handler(&listening);
    world().settle();
    EXPECT_EQ(listening.events, 0);

    EXPECT_EQ(send(*pair.client, "!"), 1);
    EXPECT_EQ(listening.events, 0) << "never from within a call";
    run_until([&] { return listening.readable; });

    EXPECT_FALSE(listening.hangup);
    EXPECT_EQ(receive(*pair.server, heard, 16), 1);
    EXPECT_EQ(receive(*pair.server, heard, 16), -EAGAIN);
    EXPECT_EQ(heard, "!");
}

TEST_P(StreamContract, Recv_scattered_fillsTheSegmentsInOrder) {
    const Pair pair = connected();
    EXPECT_EQ(send(*pair.client, "a"), 1);
    EXPECT_EQ(send(*pair.client, "b"), 1);
    EXPECT_EQ(send(*pair.client, "c"), 1);
    world().settle();
    char into[4] = {};
    const Segment segments[] = {{reinterpret_cast<std::byte*>(into), 1},
                                {nullptr, 0},
                                {reinterpret_cast<std::byte*>(into + 1), 3}};

    EXPECT_EQ(pair.server->recv(segments), 3);

    EXPECT_EQ(std::string_view(into), "abc");
}

TEST_P(StreamContract, SetHandler_bytesWaiting_makeAnEvent) {
    const Pair pair = connected();
    EXPECT_EQ(send(*pair.client, "waiting"), 7);
    world().settle();
    Listening listening;

    pair.server->set_handler(&listening);

    EXPECT_EQ(listening.events, 0) << "never from within a call";
    run_until([&] { return listening.readable; });
}

TEST_P(StreamContract, SetHandler_null_endsEvents) {
    const Pair pair = connected();
    Listening listening;
    pair.server->set_handler(&listening);
    world().settle();
    EXPECT_EQ(send(*pair.client, "x"), 1);
    pair.server->set_handler(nullptr);
    EXPECT_EQ(send(*pair.client, "y"), 1);
    world().settle();
    EXPECT_EQ(listening.events, 0);

    pair.server->set_handler(&listening);

    run_until([&] { return listening.readable; });
}

TEST_P(StreamContract, Send_noRoom_wouldBlockAndWritableFollowsWhenThereIs) {
    const Pair pair = connected();
    Listening listening;
    pair.client->set_handler(&listening);
    const std::string piece = pattern(std::size_t{64} * 1024, 3);
    std::string sent;
    std::ptrdiff_t last = 0;
    while (last >= 0 && sent.size() < (std::size_t{256} << 20U)) {
        sent.append(piece, 0, static_cast<std::size_t>(last));
        last = send(*pair.client, piece);
    }
    ASSERT_EQ(last, -EAGAIN);
    EXPECT_EQ(listening.events, 0) << "never from within a call";

    Talker server(*pair.server, std::size_t{64} * 1024);
    run_until([&] { return server.heard.size() >= sent.size() && listening.writable; });

    EXPECT_TRUE(server.heard == sent);
    EXPECT_FALSE(listening.readable);
    EXPECT_GT(send(*pair.client, piece), 0);
}

TEST_P(StreamContract, ShutdownSend_bytesBefore_areDeliveredAndTheOtherWayStaysOpen) {
    const Pair pair = connected();
    Talker client(*pair.client);
    Talker server(*pair.server);
    const std::string text = pattern(100'000, 4);
    client.say(text);
    run_until([&] { return client.said(); });

    pair.client->shutdown_send();
    EXPECT_EQ(send(*pair.client, "more"), -EPIPE);
    run_until([&] { return server.ended.has_value(); });

    EXPECT_TRUE(server.heard == text);
    EXPECT_EQ(server.ended, 0);
    EXPECT_TRUE(server.hangup);
    EXPECT_FALSE(client.ended);
    server.say("answer");
    run_until([&] { return client.heard == "answer"; });
    std::string none;
    EXPECT_EQ(receive(*pair.server, none, 16), 0) << "the end stays the end";
}

TEST_P(StreamContract, End_withTheLastBytes_raisesHangup) {
    Pair pair = connected();
    EXPECT_EQ(send(*pair.client, "last"), 4);
    pair.client.reset();
    world().settle();
    Listening listening;

    pair.server->set_handler(&listening);
    run_until([&] { return listening.events > 0; });

    // Both in one event: a reader that stops after a short receive still hears of the end.
    EXPECT_TRUE(listening.readable && listening.hangup);
    std::string heard;
    EXPECT_EQ(receive(*pair.server, heard, 16), 4);
    EXPECT_EQ(receive(*pair.server, heard, 16), 0);
    EXPECT_EQ(heard, "last");
}

TEST_P(StreamContract, End_afterTheLastBytes_raisesHangup) {
    Pair pair = connected();
    Listening listening;
    pair.server->set_handler(&listening);
    EXPECT_EQ(send(*pair.client, "last"), 4);
    world().settle();
    EXPECT_FALSE(listening.hangup);

    pair.client.reset();

    run_until([&] { return listening.hangup; });
}

TEST_P(StreamContract, Destroy_eventOnItsWay_isNeverDelivered) {
    Pair pair = connected();
    Listening listening;
    pair.server->set_handler(&listening);
    EXPECT_EQ(send(*pair.client, "unread"), 6);

    pair.server.reset();
    Talker client(*pair.client);
    run_until([&] { return client.ended.has_value(); });

    world().settle();
    EXPECT_EQ(listening.events, 0);
    EXPECT_TRUE(client.hangup);
}

TEST_P(StreamContract, Destroy_byAnotherStreamsHandler_endsItsEventsAtOnce) {
    Pair one = connected();
    Pair other = connected();
    Listening first;
    Listening second;
    first.then = [&] { other.server.reset(); };
    second.then = [&] { one.server.reset(); };
    one.server->set_handler(&first);
    other.server->set_handler(&second);
    EXPECT_EQ(send(*one.client, "x"), 1);
    EXPECT_EQ(send(*other.client, "x"), 1);

    run_until([&] { return first.events + second.events > 0; });
    world().settle();

    EXPECT_NE(first.events > 0, second.events > 0);
}

TEST_P(StreamContract, Destroy_inItsOwnHandler_isAllowed) {
    Pair pair = connected();
    Listening listening;
    listening.then = [&] { pair.server.reset(); };
    pair.server->set_handler(&listening);
    EXPECT_EQ(send(*pair.client, "x"), 1);

    run_until([&] { return pair.server == nullptr; });
    world().settle();

    EXPECT_EQ(listening.events, 1);
}

TEST_P(StreamContract, Close_inputUnread_resetsThePeer) {
    Pair pair = connected();
    Talker client(*pair.client);
    client.say("never read");
    world().settle();

    pair.server.reset();
    run_until([&] { return client.ended.has_value(); });

    // Over TCP on Linux the end overtakes the reset: a stream is shut down before it is closed.
    const bool tcp = std::get<1>(GetParam()) == Family::Tcp;
    EXPECT_TRUE(client.ended == -ECONNRESET || (tcp && client.ended == 0)) << *client.ended;
    EXPECT_TRUE(client.hangup);
    std::string none;
    std::ptrdiff_t last = 0;
    run_until([&] { return receive(*pair.client, none, 16) == 0; });  // the error is told once
    // Which of the two a sender hears depends on what was told before.
    run_until([&] {
        last = send(*pair.client, "more");
        return last < 0;
    });
    EXPECT_TRUE(last == -EPIPE || last == -ECONNRESET) << last;
}

TEST_P(StreamContract, Close_allRead_endsThePeersStreamAndLaterItsSends) {
    Pair pair = connected();
    Talker client(*pair.client);
    EXPECT_EQ(send(*pair.server, "bye"), 3);

    pair.server.reset();
    run_until([&] { return client.ended.has_value(); });

    EXPECT_EQ(client.heard, "bye");
    EXPECT_EQ(client.ended, 0);
    // TCP learns of it by the answer to the first bytes, a unix socket at once.
    std::ptrdiff_t sent = 0;
    run_until([&] {
        sent = send(*pair.client, "x");
        return sent < 0;
    });
    EXPECT_TRUE(sent == -EPIPE || sent == -ECONNRESET) << sent;
}

INSTANTIATE_TEST_SUITE_P(Io,
                         StreamContract,
                         testing::Combine(kWorlds, testing::Values(Family::Tcp, Family::Unix)),
                         [](const testing::TestParamInfo<std::tuple<WorldKind, Family>>& info) {
                             return std::string(std::get<0>(info.param).name) +
                                    (std::get<1>(info.param) == Family::Tcp ? "_tcp" : "_unix");
                         });

// Handles: between programs of one machine, over unix sockets.

class HandleContract : public IoContract {
  public:
    HandleContract() : pair_(connect_pair(Family::Unix)) {}

  protected:
    Pair pair_;
};

TEST_P(HandleContract, Send_handle_isDuplicatedAndTheReceiversOwn) {
    const auto sent = io(0).create_shared_memory(8192);
    ASSERT_TRUE(sent);
    EXPECT_EQ(send(*pair_.client, "m", std::span(&*sent, 1)), 1);
    world().settle();
    std::string heard;
    HandleBox box;
    EXPECT_EQ(receive(*pair_.server, heard, 16, &box), 1);
    ASSERT_EQ(box.count, 1U);

    const auto theirs = io(1).map(box.handles[0], 4096, 4096);
    ASSERT_TRUE(theirs);
    io(1).close(box.handles[0]);
    const auto ours = io(0).map(*sent, 0, 8192);  // our handle is as good as before
    ASSERT_TRUE(ours);
    io(0).close(*sent);

    (*ours)->bytes()[4096] = std::byte{0x5a};
    EXPECT_EQ((*theirs)->bytes()[0], std::byte{0x5a});
}

TEST_P(HandleContract, Send_handleClosedBeforeItArrives_arrives) {
    const Handle event = world().make_event(0);
    EXPECT_EQ(send(*pair_.client, "e", std::span(&event, 1)), 1);
    io(0).close(event);
    world().settle();
    std::string heard;
    HandleBox box;
    EXPECT_EQ(receive(*pair_.server, heard, 16, &box), 1);
    ASSERT_EQ(box.count, 1U);

    EXPECT_TRUE(io(1).adopt_event(box.handles[0]));
}

TEST_P(HandleContract, Recv_handlesOfTwoMessages_areNeverJoined) {
    const std::array events{world().make_event(0), world().make_event(0)};
    EXPECT_EQ(send(*pair_.client, "x"), 1);
    EXPECT_EQ(send(*pair_.client, "a", std::span(events).first(1)), 1);
    EXPECT_EQ(send(*pair_.client, "b", std::span(events).last(1)), 1);
    EXPECT_EQ(send(*pair_.client, "y"), 1);
    world().settle();
    std::string heard;
    std::vector<std::string> with_handles;
    while (heard.size() < 4) {
        std::string now;
        HandleBox box;
        const std::ptrdiff_t got = receive(*pair_.server, now, 16, &box);
        ASSERT_GT(got, 0);
        heard += now;
        ASSERT_LE(box.count, 1U);
        if (box.count == 1) {
            with_handles.push_back(now);
            io(1).close(box.handles[0]);
        } else {
            // Shorter than asked and without handles: there is nothing more.
            EXPECT_EQ(heard.size(), 4U);
        }
    }

    EXPECT_EQ(heard, "xaby");
    ASSERT_EQ(with_handles.size(), 2U);
    // Bytes sent before may come with the handles of a later message, never bytes sent after.
    EXPECT_EQ(with_handles[0], "xa");
    EXPECT_EQ(with_handles[1], "b");
    for (const Handle event : events) {
        io(0).close(event);
    }
}

TEST_P(HandleContract, Recv_boxFull_closesTheRest) {
    auto [kept_witness, kept] = half_pair(Family::Tcp);
    auto [lost_witness, lost] = half_pair(Family::Tcp);
    Talker kept_talker(*kept_witness);
    Talker lost_talker(*lost_witness);
    const std::array handles{kept, lost};
    EXPECT_EQ(send(*pair_.server, "h", handles), 1);
    io(1).close(kept);
    io(1).close(lost);
    world().settle();
    EXPECT_FALSE(kept_talker.ended || lost_talker.ended) << "they are on their way";
    HandleBox box;
    box.count = HandleBox::kMax - 1;
    std::string heard;

    EXPECT_EQ(receive(*pair_.client, heard, 16, &box), 1);

    EXPECT_EQ(box.count, HandleBox::kMax);
    run_until([&] { return lost_talker.ended.has_value(); });
    EXPECT_FALSE(kept_talker.ended);
    io(0).close(box.handles[HandleBox::kMax - 1]);
    run_until([&] { return kept_talker.ended.has_value(); });
}

TEST_P(HandleContract, Recv_noBox_closesThem) {
    auto [witness, handle] = half_pair(Family::Tcp);
    Talker talker(*witness);
    EXPECT_EQ(send(*pair_.server, "h", std::span(&handle, 1)), 1);
    io(1).close(handle);
    std::string heard;
    world().settle();

    EXPECT_EQ(receive(*pair_.client, heard, 16), 1);

    run_until([&] { return talker.ended.has_value(); });
}

TEST_P(HandleContract, Destroy_handlesUnread_closesThem) {
    auto [witness, handle] = half_pair(Family::Tcp);
    Talker talker(*witness);
    EXPECT_EQ(send(*pair_.server, "h", std::span(&handle, 1)), 1);
    io(1).close(handle);
    world().settle();

    pair_.client.reset();

    run_until([&] { return talker.ended.has_value(); });
}

INSTANTIATE_TEST_SUITE_P(Io, HandleContract, kWorlds, world_name);

}  // namespace
}  // namespace remora::test
