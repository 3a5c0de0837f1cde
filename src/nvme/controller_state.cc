// SPDX-License-Identifier: Apache-2.0
#include "nvme/controller_state.h"

#include <algorithm>

#include "nvme/controller.h"

namespace remora::nvme {

ControllerState Controller::save() const {
    CHECK(pcie() && closing_ == Closing::No);
    ControllerState state{.cc = cc_,
                          .csts = csts_,
                          .event_config = event_config_,
                          .namespace_pending = namespace_notice_.pending,
                          .namespace_masked = namespace_notice_.masked,
                          .changed_overflow = changed_overflow_,
                          .error_pending = error_notice_.pending,
                          .error_masked = error_notice_.masked,
                          .error_event = error_event_,
                          .changed = changed_,
                          .features = {},
                          .not_coalesced = {},
                          .event_requests = {}};
    for (const Stored& stored : stored_) {
        state.features.push_back(stored.value);
    }
    for (std::uint16_t vector = 0; vector < kMaxVectors; ++vector) {
        if (not_coalesced_.test(vector)) {
            state.not_coalesced.push_back(vector);
        }
    }
    for (std::size_t i = 0; i < event_request_count_; ++i) {
        state.event_requests.push_back(event_requests_[i].cid);
    }
    return state;
}

void Controller::restore(const ControllerState& from, std::span<const CommandToken> requests) {
    CHECK(pcie() && cc_ == 0 && requests.size() <= kMaxEventRequests &&
          requests.size() <= from.event_requests.size());
    cc_ = from.cc;
    csts_ = from.csts;
    event_config_ = from.event_config;
    namespace_notice_ = {.pending = from.namespace_pending, .masked = from.namespace_masked};
    error_notice_ = {.pending = from.error_pending, .masked = from.error_masked};
    error_event_ = from.error_event;
    changed_ = from.changed;
    changed_.resize(std::min(changed_.size(), kMaxChanged));
    changed_overflow_ = from.changed_overflow || from.changed.size() > kMaxChanged;
    for (std::size_t i = 0; i < std::min(stored_.size(), from.features.size()); ++i) {
        stored_[i].value = from.features[i];
    }
    for (const std::uint16_t vector : from.not_coalesced) {
        if (vector < kMaxVectors) {
            not_coalesced_.set(vector);
        }
    }
    for (std::size_t i = 0; i < requests.size(); ++i) {
        event_requests_[i] = {requests[i], from.event_requests[i]};
    }
    event_request_count_ = requests.size();
    deliver_events();
}

}  // namespace remora::nvme
