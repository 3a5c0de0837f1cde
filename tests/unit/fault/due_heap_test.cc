// SPDX-License-Identifier: Apache-2.0
#include "services/fault/due_heap.h"

#include <algorithm>
#include <deque>
#include <vector>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::services::fault {
namespace {

using block::Request;
using block::Status;
using core::Nanos;

TEST(DueHeap, Empty_isNeverDue) {
    const DueHeap heap;
    EXPECT_TRUE(heap.empty());
    EXPECT_EQ(heap.size(), 0U);
    EXPECT_EQ(heap.next(), core::kNever);
}

TEST(DueHeap, OneTime_comesOutInTheOrderOfArrival) {
    DueHeap heap;
    std::deque<Request> requests(100);
    for (Request& request : requests) {
        heap.push(request, Nanos(5), Status::Ok);
    }
    for (Request& request : requests) {
        EXPECT_EQ(heap.next(), Nanos(5));
        EXPECT_EQ(heap.pop().request, &request);
        EXPECT_EQ(request.depth, 0) << "its frame is gone";
    }
    EXPECT_TRUE(heap.empty());
}

TEST(DueHeap, Status_comesOutAsItWasPushed) {
    DueHeap heap;
    std::deque<Request> requests(3);
    heap.push(requests[0], Nanos(1), Status::Ok);
    heap.push(requests[1], Nanos(2), Status::DataCorrupt);
    heap.push(requests[2], Nanos(3), Status::IoError);
    EXPECT_EQ(heap.pop().status, Status::Ok);
    EXPECT_EQ(heap.pop().status, Status::DataCorrupt);
    EXPECT_EQ(heap.pop().status, Status::IoError);
}

// Beside a stable sort, with pushes and pops in between as a channel makes them.
TEST(DueHeap, AnyTimes_comeOutInTheirOrder) {
    core::Prng prng(1);
    for (int round = 0; round < 50; ++round) {
        DueHeap heap;
        std::deque<Request> requests(1000);
        std::vector<std::pair<Nanos, Request*>> waiting;
        std::size_t pushed = 0;
        while (pushed < requests.size() || !waiting.empty()) {
            if (pushed < requests.size() && prng.below(5) < 3) {
                Request& request = requests[pushed++];
                const Nanos due(static_cast<std::int64_t>(prng.below(100)));
                heap.push(request, due, Status::Ok);
                const auto at =
                    std::ranges::upper_bound(waiting, due, {}, &std::pair<Nanos, Request*>::first);
                waiting.emplace(at, due, &request);
            } else if (!waiting.empty()) {
                ASSERT_EQ(heap.next(), waiting.front().first);
                ASSERT_EQ(heap.pop().request, waiting.front().second);
                waiting.erase(waiting.begin());
            }
            ASSERT_EQ(heap.size(), waiting.size());
        }
        EXPECT_TRUE(heap.empty());
    }
}

}  // namespace
}  // namespace remora::services::fault
