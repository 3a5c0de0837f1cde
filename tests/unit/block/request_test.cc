// SPDX-License-Identifier: Apache-2.0
#include "block/request.h"

#include <array>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "block/deferred.h"
#include "tests/unit/block/still_world.h"

namespace remora::block {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Notes each batch it gets back as the requests' LBAs.
class Recorder final : public Completer {
  public:
    void complete(RequestBatch& batch) override {
        std::vector<std::uint64_t> lbas;
        while (Request* request = batch.pop_front()) {
            request->pop_frame();
            lbas.push_back(request->lba);
            statuses.push_back(request->status);
        }
        batches.push_back(lbas);
    }
    std::vector<std::vector<std::uint64_t>> batches;
    std::vector<Status> statuses;
};

class Requests : public StillWorld {
  public:
    Requests() {
        for (std::uint64_t i = 0; i < requests.size(); ++i) {
            requests[i].lba = i;
        }
    }
    Recorder first;
    Recorder second;
    std::array<Request, 6> requests;
};

using CompleteBatch = Requests;

TEST_F(CompleteBatch, OneCompleter_getsAllAtOnceInOrder) {
    RequestBatch batch;
    for (Request& request : requests) {
        request.push_frame(first);
        batch.push_back(request);
    }

    complete_batch(batch);

    EXPECT_THAT(first.batches, ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5)));
    EXPECT_TRUE(batch.empty());
}

TEST_F(CompleteBatch, MixedCompleters_getWholeRuns) {
    RequestBatch batch;
    for (Request& request : requests) {  // first: 0 1, second: 2, first: 3 4 5
        request.push_frame(request.lba == 2 ? second : first);
        batch.push_back(request);
    }

    complete_batch(batch);

    EXPECT_THAT(first.batches, ElementsAre(ElementsAre(0, 1), ElementsAre(3, 4, 5)));
    EXPECT_THAT(second.batches, ElementsAre(ElementsAre(2)));
}

TEST_F(CompleteBatch, TopFrameDecides) {
    requests[0].push_frame(first);
    requests[0].push_frame(second);
    RequestBatch batch;
    batch.push_back(requests[0]);

    complete_batch(batch);

    EXPECT_THAT(first.batches, IsEmpty());
    EXPECT_THAT(second.batches, ElementsAre(ElementsAre(0)));
    EXPECT_EQ(requests[0].depth, 1);
}

TEST_F(CompleteBatch, Empty_callsNobody) {
    RequestBatch batch;
    complete_batch(batch);
    EXPECT_THAT(first.batches, IsEmpty());
}

TEST(RequestFrames, PushAndPop_eachStageFindsItsOwn) {
    Recorder completer;
    Request request;
    for (std::uint64_t stage = 0; stage < Request::kMaxStages; ++stage) {
        request.push_frame(completer).scratch[3] = stage;
    }
    for (std::uint64_t stage = Request::kMaxStages; stage-- > 0;) {
        EXPECT_EQ(request.top_frame().scratch[3], stage);
        request.pop_frame();
    }
    EXPECT_EQ(request.depth, 0);
}

TEST(RequestFramesDeathTest, OneStageTooMany_dies) {
    Recorder completer;
    Request request;
    request.depth = Request::kMaxStages;
    EXPECT_DEATH(request.push_frame(completer), "CHECK failed");
}

using Deferred = Requests;

TEST_F(Deferred, Push_completesLaterInOneBatchWithItsStatus) {
    DeferredCompletions deferred(reactor);
    on_reactor([&] {
        for (std::size_t i = 0; i < 3; ++i) {
            requests[i].push_frame(first);
            deferred.push(requests[i], i == 1 ? Status::IoError : Status::Ok);
        }
        EXPECT_THAT(first.batches, IsEmpty());
    });

    EXPECT_THAT(first.batches, ElementsAre(ElementsAre(0, 1, 2)));
    EXPECT_THAT(first.statuses, ElementsAre(Status::Ok, Status::IoError, Status::Ok));
}

/// Submits the next request from within the completion of the one before.
class Chainer final : public Completer {
  public:
    Chainer(DeferredCompletions& deferred, std::span<Request> requests)
        : deferred_(deferred), requests_(requests) {}
    void complete(RequestBatch& batch) override {
        while (Request* request = batch.pop_front()) {
            request->pop_frame();
            ++completions;
        }
        next();
    }
    void next() {
        if (next_ < requests_.size()) {
            Request& request = requests_[next_++];
            request.push_frame(*this);
            const int before = completions;
            deferred_.push(request, Status::Ok);
            EXPECT_EQ(completions, before);  // never from within
        }
    }
    int completions = 0;

  private:
    DeferredCompletions& deferred_;
    std::span<Request> requests_;
    std::size_t next_ = 0;
};

TEST_F(Deferred, Push_fromACompletion_isTheNextBatch) {
    DeferredCompletions deferred(reactor);
    Chainer chainer(deferred, requests);
    on_reactor([&] { chainer.next(); });
    EXPECT_EQ(chainer.completions, 6);
}

TEST(StatusText, EachStatus_hasItsOwn) {
    std::set<std::string_view> names;
    for (int value = 0; value <= static_cast<int>(Status::DataCorrupt); ++value) {
        names.insert(to_string(static_cast<Status>(value)));
    }
    EXPECT_EQ(names.size(), static_cast<std::size_t>(Status::DataCorrupt) + 1);
    EXPECT_FALSE(names.contains("unknown"));
}

}  // namespace
}  // namespace remora::block
