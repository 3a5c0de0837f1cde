// SPDX-License-Identifier: Apache-2.0
// DeferredCompletions: what a leaf that is done at once uses to keep the contract "never before
// submit() has returned": it gathers requests and gives them back from the run queue.
#pragma once

#include "block/request.h"
#include "reactor/reactor.h"

namespace remora::block {

/// One per channel, on its reactor. Empty before it dies.
class DeferredCompletions final : private reactor::Runnable {
  public:
    explicit DeferredCompletions(reactor::Reactor& reactor) : reactor_(reactor) {}
    ~DeferredCompletions() { CHECK(batch_.empty()); }

    void push(Request& request, Status status) {
        request.status = status;
        batch_.push_back(request);
        if (!linked()) {
            reactor_.run_soon(*this);
        }
    }

  private:
    void run() override {
        RequestBatch batch = std::move(batch_);
        complete_batch(batch);
    }

    reactor::Reactor& reactor_;
    RequestBatch batch_;
};

}  // namespace remora::block
