// SPDX-License-Identifier: Apache-2.0
// Courier: carries requests from one lane to another and finished ones back, in batches, without
// allocation: one message is on its way at a time, and what comes meanwhile goes with the next.
#pragma once

#include "block/request.h"
#include "reactor/mailbox.h"
#include "reactor/reactor.h"

namespace remora::backends::nvme_tcp {

class Lane;

/// One direction between two lanes; owned by `from`, used on its reactor.
class Courier final : private reactor::Message {
  public:
    Courier(Lane& from, Lane& to) : from_(from), to_(to), back_(*this) {}
    ~Courier() override { CHECK(!away_ && requests_.empty() && finished_.empty()); }

    void carry(block::RequestBatch& requests) {
        requests_.append(requests);
        send();
    }
    void carry_finished(block::Request& request) {
        finished_.push_back(request);
        send();
    }
    [[nodiscard]] bool idle() const { return !away_ && requests_.empty() && finished_.empty(); }

  private:
    struct Back final : reactor::Message {
        explicit Back(Courier& owner) : courier(owner) {}
        void run() override {
            courier.away_ = false;
            courier.send();
        }
        Courier& courier;
    };

    void send();
    void run() override;

    Lane& from_;
    Lane& to_;
    Back back_;
    bool away_ = false;
    block::RequestBatch requests_;  // on `from`: gathered for the next trip
    block::RequestBatch finished_;
    block::RequestBatch requests_away_;  // on `to`, while away
    block::RequestBatch finished_away_;
};

}  // namespace remora::backends::nvme_tcp
