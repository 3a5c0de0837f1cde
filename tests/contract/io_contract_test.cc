// SPDX-License-Identifier: Apache-2.0
// What every reactor::Io must do beside streams: connects and listeners, events, shared memory.
#include <array>

#include "tests/contract/io_fixture.h"

namespace remora::test {
namespace {

using Family = Endpoint::Family;
class ConnectContract : public IoContract {};
class ListenContract : public IoContract {};
class EventContract : public IoContract {};
class MemoryContract : public IoContract {};

TEST_P(ConnectContract, Connect_nobodyListens_isRefused) {
    const auto stream = try_connect(world().free_tcp());
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind, ErrorKind::Unavailable);
}

TEST_P(ConnectContract, Connect_pathThatIsNot_isNotFound) {
    const auto stream = try_connect(Endpoint::unix_path(world().path("none")));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind, ErrorKind::NotFound);
}

TEST_P(ConnectContract, Connect_pathOfADeadListener_isRefused) {
    world().leave_dead_listener(world().path("dead"));
    const auto stream = try_connect(Endpoint::unix_path(world().path("dead")));
    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind, ErrorKind::Unavailable);
}

TEST_P(ConnectContract, Connect_beforeTheAcceptorRuns_waitsInItsBacklog) {
    for (const Family family : {Family::Tcp, Family::Unix}) {
        Accepting accepting;
        auto acceptor = io(1).listen(endpoint(family), accepting);
        ASSERT_TRUE(acceptor);
        std::array<Waiting, 3> waiters;
        std::vector<std::unique_ptr<reactor::Connecting>> connecting;
        for (Waiting& waiter : waiters) {
            connecting.push_back(io(0).connect((*acceptor)->local(), waiter));
        }
        EXPECT_TRUE(accepting.connections.empty()) << "never from within a call";

        run_until([&] { return accepting.connections.size() == 3; });
        for (Waiting& waiter : waiters) {
            run_until([&] { return waiter.calls == 1; });
            EXPECT_TRUE(*waiter.result);
        }
        for (const Handle handle : accepting.connections) {
            io(1).close(handle);
        }
    }
}

TEST_P(ConnectContract, Destroy_connectingWhenever_callsNobodyAndClosesTheStream) {
    // Given up from the acceptor's handler, before or after it is connected by its own account.
    for (int round = 0; round < 8; ++round) {
        for (const Family family : {Family::Tcp, Family::Unix}) {
            Accepting accepting;
            Waiting waiter;
            auto acceptor = io(1).listen(endpoint(family), accepting);
            ASSERT_TRUE(acceptor);
            auto connecting = io(0).connect((*acceptor)->local(), waiter);
            int calls = -1;
            accepting.then = [&] {
                connecting.reset();
                calls = waiter.calls;
            };
            run_until([&] { return calls >= 0; });
            auto server = io(1).adopt_stream(accepting.connections[0]);
            ASSERT_TRUE(server);
            Talker talker(**server);
            if (calls == 1) {
                waiter.result.reset();  // it was connected already: close it
            }
            run_until([&] { return talker.ended.has_value(); });
            EXPECT_EQ(waiter.calls, calls);
        }
    }
}

TEST_P(ConnectContract, Destroy_connectingAtOnce_callsNobody) {
    Accepting accepting;
    Waiting waiter;
    auto acceptor = io(1).listen(endpoint(Family::Tcp), accepting);
    ASSERT_TRUE(acceptor);

    io(0).connect((*acceptor)->local(), waiter).reset();
    io(0).connect(world().free_tcp(), waiter).reset();
    world().settle();

    EXPECT_EQ(waiter.calls, 0);
    for (const Handle handle : accepting.connections) {
        io(1).close(handle);  // Linux has connected to it by then
    }
}

TEST_P(ConnectContract, Adopt_connectionWhoseClientIsGone_ends) {
    for (const Family family : {Family::Tcp, Family::Unix}) {
        auto [client, handle] = half_pair(family);
        EXPECT_EQ(send(*client, "left behind"), 11);
        client.reset();
        world().settle();

        auto server = io(1).adopt_stream(handle);
        ASSERT_TRUE(server);
        Talker talker(**server);

        run_until([&] { return talker.ended.has_value(); });
        EXPECT_EQ(talker.heard, "left behind");
        EXPECT_EQ(talker.ended, 0);
    }
}

TEST_P(ConnectContract, Adopt_noSocket_isRefused) {
    EXPECT_FALSE(io(1).adopt_stream(world().make_event(1)));
}

TEST_P(ListenContract, Listen_endpointInUse_isRefusedUntilItsListenerIsGone) {
    for (const Family family : {Family::Tcp, Family::Unix}) {
        Accepting accepting;
        auto first = io(1).listen(endpoint(family), accepting);
        ASSERT_TRUE(first);
        const Endpoint at = (*first)->local();
        const auto second = io(0).listen(at, accepting);
        ASSERT_FALSE(second);
        EXPECT_EQ(second.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_TRUE(try_connect(at)) << "the first goes on";

        first->reset();

        auto third = io(0).listen(at, accepting);
        ASSERT_TRUE(third) << third.error().message;
        EXPECT_TRUE(try_connect(at));
        for (const Handle handle : accepting.connections) {
            io(1).close(handle);
            break;  // the second one is program 0's
        }
        io(0).close(accepting.connections.back());
    }
}

TEST_P(ListenContract, Listen_portZero_picksAFreeOne) {
    Accepting accepting;
    Endpoint any = world().free_tcp();
    any.port = 0;
    auto first = io(1).listen(any, accepting);
    auto second = io(1).listen(any, accepting);
    ASSERT_TRUE(first && second);

    EXPECT_NE((*first)->local().port, 0);
    EXPECT_NE((*second)->local().port, 0);
    EXPECT_NE((*first)->local().port, (*second)->local().port);
    EXPECT_TRUE(try_connect((*second)->local()));
    io(1).close(accepting.connections.at(0));
}

TEST_P(ListenContract, Listen_addressOfAnotherMachine_isRefused) {
    Accepting accepting;
    EXPECT_FALSE(io(1).listen(world().foreign_tcp(), accepting));
}

TEST_P(ListenContract, Listen_pathOfADeadListener_isTakenOver) {
    const Endpoint at = Endpoint::unix_path(world().path("taken"));
    world().leave_dead_listener(at.address);
    Accepting accepting;

    auto acceptor = io(1).listen(at, accepting);

    ASSERT_TRUE(acceptor) << acceptor.error().message;
    EXPECT_TRUE(try_connect(at));
    io(1).close(accepting.connections.at(0));
}

TEST_P(ListenContract, Destroy_acceptorOfAPath_unlinksIt) {
    const Endpoint at = Endpoint::unix_path(world().path("gone"));
    Accepting accepting;
    io(1).listen(at, accepting)->reset();

    const auto stream = try_connect(at);

    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind, ErrorKind::NotFound);
}

TEST_P(ListenContract, Destroy_acceptorOfTcp_refusesConnects) {
    Accepting accepting;
    auto acceptor = io(1).listen(world().free_tcp(), accepting);
    ASSERT_TRUE(acceptor);
    const Endpoint at = (*acceptor)->local();
    acceptor->reset();

    const auto stream = try_connect(at);

    ASSERT_FALSE(stream);
    EXPECT_EQ(stream.error().kind, ErrorKind::Unavailable);
}

TEST_P(ListenContract, Close_connectionNobodyAdopted_endsThePeersStream) {
    for (const Family family : {Family::Tcp, Family::Unix}) {
        auto [client, handle] = half_pair(family);
        Talker talker(*client);

        io(1).close(handle);

        run_until([&] { return talker.ended.has_value(); });
        EXPECT_EQ(talker.ended, 0);
    }
}

TEST_P(EventContract, Signal_beforeTheHandler_counts) {
    auto event = io(0).adopt_event(world().make_event(0));
    ASSERT_TRUE(event);
    (*event)->signal();
    world().settle();
    Counting counting;

    (*event)->set_handler(&counting);

    EXPECT_EQ(counting.calls, 0) << "never from within a call";
    run_until([&] { return counting.calls > 0; });
    world().settle();
    EXPECT_EQ(counting.calls, 1);
}

TEST_P(EventContract, Signal_burst_isClearedByItsEvents) {
    auto event = io(0).adopt_event(world().make_event(0));
    ASSERT_TRUE(event);
    Counting counting;
    (*event)->set_handler(&counting);
    for (int i = 0; i < 10; ++i) {
        (*event)->signal();
    }
    EXPECT_EQ(counting.calls, 0) << "never from within a call";
    world().settle();

    // Over Linux a second write of the counter may follow the first event.
    EXPECT_GE(counting.calls, 1);
    EXPECT_LE(counting.calls, 2);
    const int before = counting.calls;
    (*event)->signal();
    run_until([&] { return counting.calls > before; });
    world().settle();
    EXPECT_EQ(counting.calls, before + 1);
}

TEST_P(EventContract, Signal_ofAnotherProgram_isHeard) {
    const Pair pair = connect_pair(Family::Unix);
    const Handle handle = world().make_event(0);
    EXPECT_EQ(send(*pair.client, "e", std::span(&handle, 1)), 1);
    world().settle();
    std::string heard;
    HandleBox box;
    ASSERT_EQ(receive(*pair.server, heard, 1, &box), 1);
    ASSERT_EQ(box.count, 1U);
    auto ours = io(0).adopt_event(handle);
    auto theirs = io(1).adopt_event(box.handles[0]);
    ASSERT_TRUE(ours && theirs);
    Counting counting;
    (*theirs)->set_handler(&counting);

    (*ours)->signal();
    run_until([&] { return counting.calls == 1; });
    ours->reset();  // its own duplicate only
    (*theirs)->signal();
    run_until([&] { return counting.calls == 2; });
    world().settle();

    EXPECT_EQ(counting.calls, 2);
}

TEST_P(EventContract, SetHandlerNullOrDestroy_signalOnItsWay_isNotDelivered) {
    auto event = io(0).adopt_event(world().make_event(0));
    ASSERT_TRUE(event);
    Counting counting;
    (*event)->set_handler(&counting);
    world().settle();
    (*event)->signal();
    (*event)->set_handler(nullptr);
    world().settle();
    EXPECT_EQ(counting.calls, 0);
    (*event)->set_handler(&counting);
    run_until([&] { return counting.calls == 1; });

    (*event)->signal();
    event->reset();
    world().settle();

    EXPECT_EQ(counting.calls, 1);
}

TEST_P(EventContract, Adopt_noEvent_isRefusedAndClosed) {
    auto [client, handle] = half_pair(Family::Unix);
    Talker talker(*client);

    const auto event = io(1).adopt_event(handle);

    ASSERT_FALSE(event);
    EXPECT_EQ(event.error().kind, ErrorKind::InvalidArgument);
    run_until([&] { return talker.ended.has_value(); });
}

TEST_P(MemoryContract, Create_memory_isZeros) {
    const auto handle = io(0).create_shared_memory(8192);
    ASSERT_TRUE(handle);
    const auto mapping = io(0).map(*handle, 0, 8192);
    ASSERT_TRUE(mapping);

    for (const std::byte byte : (*mapping)->bytes()) {
        ASSERT_EQ(byte, std::byte{0});
    }
    EXPECT_EQ((*mapping)->bytes().size(), 8192U);
    EXPECT_FALSE((*mapping)->poisoned());
    io(0).close(*handle);
}

TEST_P(MemoryContract, Map_rangeBeyondTheMemory_isRefused) {
    const auto handle = io(0).create_shared_memory(8192);
    ASSERT_TRUE(handle);
    EXPECT_TRUE(io(0).map(*handle, 4096, 4096));
    EXPECT_TRUE(io(0).map(*handle, 4000, 1000)) << "any offset";
    EXPECT_FALSE(io(0).map(*handle, 4096, 4097));
    EXPECT_FALSE(io(0).map(*handle, 8192, 1));
    EXPECT_FALSE(io(0).map(*handle, 0, 0));
    EXPECT_FALSE(io(0).map(*handle, ~0ULL, 4096));
    EXPECT_FALSE(io(0).map(*handle, 4096, ~0ULL));
    io(0).close(*handle);
}

TEST_P(MemoryContract, Map_noMemory_isRefusedAndTheHandleStaysTheCallers) {
    const Handle event = world().make_event(0);
    EXPECT_FALSE(io(0).map(event, 0, 4096));
    EXPECT_TRUE(io(0).adopt_event(event));
}

TEST_P(MemoryContract, Map_twice_eachSeesTheOthersBytesAfterTheClose) {
    const auto handle = io(0).create_shared_memory(8192);
    ASSERT_TRUE(handle);
    auto whole = io(0).map(*handle, 0, 8192);
    const auto part = io(0).map(*handle, 5000, 100);
    ASSERT_TRUE(whole && part);
    io(0).close(*handle);

    (*whole)->bytes()[5001] = std::byte{1};
    EXPECT_EQ((*part)->bytes()[1], std::byte{1});
    (*part)->bytes()[2] = std::byte{2};
    EXPECT_EQ((*whole)->bytes()[5002], std::byte{2});
    whole->reset();
    EXPECT_EQ((*part)->bytes()[1], std::byte{1});
}

INSTANTIATE_TEST_SUITE_P(Io, ConnectContract, kWorlds, world_name);
INSTANTIATE_TEST_SUITE_P(Io, ListenContract, kWorlds, world_name);
INSTANTIATE_TEST_SUITE_P(Io, EventContract, kWorlds, world_name);
INSTANTIATE_TEST_SUITE_P(Io, MemoryContract, kWorlds, world_name);

}  // namespace
}  // namespace remora::test
